"""Files and folders become jobs, one after the other, while the first are being translated.

In memory are the listing of one folder and the names of folders still to be searched: an archive of
a million files needs no more memory than its largest folder.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from cyclegan.export.provenance import is_result
from cyclegan.reading.dicom.choices import series_of
from cyclegan.reading.formats import DICOM, FORMATS, file_head, format_of
from cyclegan.reading.volume import ReadError

# Endings that say what a file is; names such as 1.2.840.113619.2 have none of them and stay whole.
_PICTURES = tuple(ending for f in FORMATS if f.is_picture for ending in f.endings)
_ENDINGS = (*(ending for f in FORMATS for ending in f.endings), ".zip")
# What lies beside images in folders and holds none; the last lines come with patients' discs.
_SIDECARS = {
    *(".json", ".txt", ".md", ".csv", ".tsv", ".xml", ".html", ".pdf", ".log"),
    *(".bval", ".bvec", ".mat", ".py", ".sh"),
    *(".exe", ".dll", ".msi", ".cab", ".bat", ".cmd", ".com", ".jar", ".inf", ".ini", ".cfg"),
    *(".ico", ".icns", ".gif", ".svg", ".css", ".js", ".htm", ".chm", ".hlp", ".rtf", ".lnk"),
    *(".url", ".db", ".dmg"),
}
_DISC = ("DICOMDIR", "AUTORUN.INF")  # what a patient's disc has at its root
MARK = "_synthetic-"  # in the names of results
_OPENED = 16  # files at once: on a network drive each waits for its answer


@dataclass(frozen=True)
class Job:
    """Files that are read together, and where their result goes.

    Attributes:
        files: one file, the DICOM files of one folder, or a .hdr with its .img.
        base: of the results' names, relative to the output folder; no two jobs have the same.
    """

    files: tuple[Path, ...]
    base: Path


@dataclass(frozen=True)
class Refused:
    """Files that cannot become a job; `reason` is a sentence without names."""

    path: Path
    reason: str


def find_jobs(inputs: Iterable[str | Path], out: Path) -> Iterator[Job | Refused]:
    """What to translate, in order, and what cannot be.

    Folders are searched with everything below them, and their shape is preserved below `out`; with
    several folders the last names of each come first, as many as make them differ. Hidden files,
    files that hold no image by their name, pictures on a patient's disc (its maker's logo), and
    everything in `out` are passed over. Where `out` is the folder that is searched, or above it,
    earlier results are recognised by what is written in them.
    """
    with ThreadPoolExecutor(_OPENED) as pool:
        yield from _Search(out, pool).jobs(inputs)


def count_files(inputs: Iterable[str | Path], out: Path) -> int:
    """About how many files the jobs of `find_jobs` will have, from names alone: none is opened."""
    count, out = 0, out.resolve()
    for path in map(Path, inputs):
        count += path.is_file()
        for folder, folders, files in os.walk(path):
            folders[:] = [
                name for name in folders if name[0] != "." and Path(folder, name).resolve() != out
            ]
            if MARK not in Path(folder).name:
                count += sum(MARK not in name and _may_be_image(name) for name in files)
    return count


class _Search:
    """A search for jobs.

    Args:
        out: folder of the results.
        pool: opens files.
    """

    def __init__(self, out: Path, pool: ThreadPoolExecutor):
        self.out, self.pool = out.resolve(), pool
        self.joined: set[Path] = set()  # folders whose DICOM files belong to a job already

    def jobs(self, inputs: Iterable[str | Path]) -> Iterator[Job | Refused]:
        paths = list(dict.fromkeys(map(Path, inputs)))
        folders = [path for path in paths if path.is_dir()]
        single = [path for path in paths if path.is_file()]
        for path in paths:
            if not (path.is_dir() or path.is_file()):
                yield Refused(path, "there is no such file or folder")
        named = _resolve_name_clashes(self._merge(self._group(single, Path())), ())
        yield from named
        taken = [job.base for job in named if isinstance(job, Job)]
        for number, (folder, prefix) in enumerate(zip(folders, _prefixes(folders), strict=True)):
            is_empty = folder not in self.joined
            for job in self._below(folder, prefix, taken, folders[number + 1 :]):
                is_empty = False
                yield job
            if is_empty:
                yield Refused(folder, "there is no image in this folder")

    def _below(
        self, top: Path, prefix: Path, taken: list[Path], later: list[Path]
    ) -> Iterator[Job | Refused]:
        """The jobs of a folder and of those below it, depth first; links are not followed.

        A series that goes on in the next folders beside it, or in those named `later`, is one job.

        Args:
            taken: bases of other inputs, which no job may have.
        """
        holds_out = self.out == top.resolve() or self.out in top.resolve().parents
        left = [(top, False)]
        while left:
            folder, disc = left.pop()
            try:
                disc = disc or any((folder / name).is_file() for name in _DISC)
                files, inside = _listing(folder)
                if disc:
                    files = [path for path in files if not path.name.lower().endswith(_PICTURES)]
                if holds_out:
                    files = [path for path in files if not _is_result(path)]
            except OSError as error:
                yield Refused(folder, f"this folder cannot be searched ({error.strerror})")
                continue
            more: list[Path] = []
            if folder in self.joined:
                files = self._dicom_of(files, is_dicom=False)
            else:
                siblings = (path for path, _ in reversed(left))
                beside = [path for path in siblings if path.parent == folder.parent]
                more = self._continuation(files, later if folder == top else beside)
            place = prefix / folder.relative_to(top)
            # The whole name of the top folder serves only for a series right in it.
            jobs = list(self._group(files, place, top.resolve().name, more))
            below = {place / path.name: path for path in inside}
            clashing = {job.base for job in jobs} & set(below)
            series = [base for base in clashing if self._holds_series(below[base])]
            yield from _resolve_name_clashes(jobs, [*taken, *series])
            left += [(path, disc) for path in reversed(inside) if path.resolve() != self.out]

    def _group(
        self, files: list[Path], place: Path, top: str = "", more: Iterable[Path] = ()
    ) -> Iterator[Job]:
        """Group files that belong together, of folders whose results go below `place`.

        Args:
            top: name for a series right in the top folder.
            more: DICOM files of other folders that continue a series of these.
        """
        groups: dict[tuple[Path, str], list[Path]] = {}
        for path, dicom in zip(files, self._are_dicom(files), strict=True):
            key = path.name
            if path.suffix.lower() in (".hdr", ".img"):
                key = f"{path.stem}.hdr"
            elif dicom:
                key = ""
            groups.setdefault((path.parent, key), []).append(path)
        for (parent, key), group in groups.items():
            group += [] if key else more
            if len(group) > 1 and not key:  # a series goes by the name of its folder
                base = place if place.name else Path(top or parent.resolve().name)
            else:
                base = place / _stem(group[0].name)
            yield Job(tuple(group), base)

    def _continuation(self, files: list[Path], beside: list[Path]) -> list[Path]:
        """DICOM files of the next folders, as far as they go on with the last series of `files`."""
        last = self._dicom_of(files)[-1:] if beside else []
        series, more = series_of(last[0]) if last else None, []
        for folder in beside if series is not None else ():
            theirs = _listing(folder)[0]
            first = next((path for path in theirs if _is_dicom(path)), None)
            if first is None or series_of(first) != series:
                break
            more += self._dicom_of(theirs)
            self.joined.add(folder)
        return more

    def _merge(self, jobs: Iterable[Job]) -> list[Job]:
        """Jobs of files that were named one by one, one for a series in several folders."""
        merged: dict[object, Job] = {}
        for number, job in enumerate(jobs):
            key = series_of(job.files[0]) or number
            if key in merged:
                job = Job((*merged[key].files, *job.files), merged[key].base)
            merged[key] = job
        return list(merged.values())

    def _dicom_of(self, files: list[Path], is_dicom: bool = True) -> list[Path]:
        """The files that are DICOM, or those that are not."""
        return [
            p for p, dicom in zip(files, self._are_dicom(files), strict=True) if dicom is is_dicom
        ]

    def _are_dicom(self, files: list[Path]) -> list[bool]:
        return list(self.pool.map(_is_dicom, files))

    def _holds_series(self, folder: Path) -> bool:
        try:
            return sum(self._are_dicom(_listing(folder)[0])) > 1
        except OSError:  # reported when its turn comes
            return False


def _prefixes(folders: list[Path]) -> list[Path]:
    """What makes the names of folders differ: of one nothing, of several their last names."""
    names = [folder.resolve().parts[1:] for folder in folders]
    if len(folders) < 2:
        return [Path() for _ in folders]
    deep = next(n for n in range(1, 1000) if len({p[-n:] for p in names}) == len(set(names)))
    return [Path(*parts[-deep:]) for parts in names]


def _listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files that may hold images, and folders, both sorted."""
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(folder / entry.name)
            elif _may_be_image(entry.name) and entry.is_file():
                files.append(folder / entry.name)
    return sorted(files), sorted(folders)


def _is_result(path: Path) -> bool:
    """Whether a file is a result by the names of its folder and itself, and by its content."""
    return any(MARK in name for name in (path.name, path.parent.name)) and is_result(path)


def _may_be_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() not in _SIDECARS and name != "DICOMDIR"


def _resolve_name_clashes(jobs: list[Job], taken: Sequence[Path]) -> list[Job | Refused]:
    """Jobs of one folder with bases that differ; no result is to overwrite another one."""
    count = Counter([*taken, *(job.base for job in jobs)])
    # Where only their endings differ, as in a.png and a.nii, the names keep them.
    jobs = [
        replace(job, base=job.base.with_name(job.files[0].name))
        if count[job.base] > 1 and len(job.files) == 1
        else job
        for job in jobs
    ]
    count = Counter([*taken, *(job.base for job in jobs)])
    reason = "its result would have the name of another one's; translate one of them into another "
    return [
        job if count[job.base] == 1 else Refused(job.files[0], f"{reason}folder") for job in jobs
    ]


def _is_dicom(path: Path) -> bool:
    try:
        return format_of(file_head(path), path.name) is DICOM
    except ReadError:  # reported when its turn comes
        return False


def _stem(name: str) -> str:
    """The name without an ending that says what the file is."""
    ending = next((e for e in _ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)] or name
