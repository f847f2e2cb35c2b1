"""The command `python -m cyclegan.translate`: files and folders without a browser."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cyclegan.model.checkpoint import CheckpointError
from cyclegan.model.translator import BATCH, Translator
from cyclegan.reading.series import open_files
from cyclegan.reading.volume import ReadError, Volume, file_head, file_kind
from cyclegan.results.derived import derived_dicom
from cyclegan.results.export import labelled_png, nifti
from cyclegan.results.provenance import CAVEAT, provenance, synthetic_label

# Endings that say what a file is; names such as 1.2.840.113619.2 have none of them and stay whole.
_ENDINGS = (
    *(".nii.gz", ".nii", ".mgz", ".mgh", ".hdr", ".img", ".dcm", ".dicom", ".ima", ".zip"),
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"),
)
# What lies beside images in folders and holds none.
_SIDECARS = {
    *(".json", ".txt", ".md", ".csv", ".tsv", ".xml", ".html", ".pdf", ".log"),
    *(".bval", ".bvec", ".mat", ".py", ".sh"),
}


@dataclass(frozen=True)
class Job:
    """Files that are read together, and where their result goes.

    Attributes:
        files: one file, the DICOM files of one folder, or a .hdr with its .img.
        base: of the results' names, relative to the output folder.
    """

    files: tuple[Path, ...]
    base: Path


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 when every result is there, 1 when some failed, 2 when nothing could be started and 130
        when interrupted. What was complete by then is kept, and the next run goes on from there.
    """
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan.translate",
        description="Translate slices and volumes between T1 and T2. Results that exist are kept, "
        "so the same command goes on where it was stopped.",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="files, or folders with everything below; the DICOM files of a folder are its series",
    )
    parser.add_argument("--to", required=True, choices=("T1", "T2"), help="the wanted contrast")
    parser.add_argument("--out", required=True, metavar="DIR", type=Path)
    parser.add_argument(
        "--weights", default="weights", help="folder or Hub repository (default: weights)"
    )
    parser.add_argument("--force", action="store_true", help="replace existing results")
    parser.add_argument(
        "--keep-identity",
        action="store_true",
        help="file derived DICOM under the source's patient and study, for local use only "
        "(default: nobody's)",
    )
    options = parser.parse_args(arguments)
    jobs, failures = plan(options.inputs, options.out)
    try:
        translator = Translator.from_pretrained(options.weights)
        options.out.mkdir(parents=True, exist_ok=True)
    except (CheckpointError, OSError) as error:
        print(f"translate: {error}", file=sys.stderr)
        return 2
    try:
        for job in jobs:
            failures += _run(job, translator, options)
    except KeyboardInterrupt:
        print("translate: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    for sentence in failures:
        print(f"translate: {sentence}", file=sys.stderr)
    if failures:
        print(f"translate: {len(failures)} failed", file=sys.stderr)
    return 1 if failures else 0


def plan(inputs: list[str], out: Path) -> tuple[list[Job], list[str]]:
    """What to translate, in order, and sentences about inputs that cannot be.

    Folders are searched with everything below them, and their shape is kept below `out`; with
    several folders the name of each comes first. Hidden files, files that hold no image by their
    name, and everything in `out` are passed over.
    """
    failures, jobs = [], []
    folders = [path for path in map(Path, inputs) if path.is_dir()]
    single = [path for path in map(Path, inputs) if not path.is_dir()]
    for path in [path for path in single if not path.is_file()]:
        failures.append(f"{path}: there is no such file or folder")
    jobs += _jobs([path for path in single if path.is_file()], None)
    for folder in folders:
        found = [p for p in sorted(folder.rglob("*")) if _is_candidate(p, folder, out)]
        if not found:
            failures.append(f"{folder}: there is no image in this folder")
        below = _jobs(found, folder)
        if len(folders) > 1:
            below = [Job(j.files, Path(folder.resolve().name) / j.base) for j in below]
        jobs += below
    # Where endings alone tell names apart, as in a.png and a.nii, they stay.
    count = Counter(job.base for job in jobs)
    jobs = [
        Job(job.files, job.base.with_name(job.files[0].name))
        if count[job.base] > 1 and len(job.files) == 1
        else job
        for job in jobs
    ]
    count = Counter(job.base for job in jobs)
    for job in jobs:
        if count[job.base] > 1:
            failures.append(
                f"{job.files[0].name}: its result would have the name of another one's, "
                f"{job.base}; translate one of them into another folder"
            )
    return [job for job in jobs if count[job.base] == 1], failures


def _is_candidate(path: Path, folder: Path, out: Path) -> bool:
    if not path.is_file() or path.suffix.lower() in _SIDECARS or path.name == "DICOMDIR":
        return False
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and out.resolve() not in path.resolve().parents


def _jobs(files: list[Path], folder: Path | None) -> Iterator[Job]:
    """Group files that belong together; names are relative to `folder`, if there is one."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in files:
        key = path.name
        if path.suffix.lower() in (".hdr", ".img"):
            key = f"{path.stem}.hdr"
        elif _is_dicom(path):
            key = ""
        groups.setdefault((path.parent, key), []).append(path)
    for (parent, key), group in groups.items():
        if len(group) > 1 and not key:  # a series goes by the name of its folder
            inside = parent.relative_to(folder) if folder else Path()
            base = inside if inside.name else Path(parent.resolve().name)
        else:
            base = group[0].relative_to(folder) if folder else Path(group[0].name)
            base = base.with_name(_stem(base.name))
        yield Job(tuple(group), base)


def _is_dicom(path: Path) -> bool:
    try:
        return file_kind(file_head(path), path.name) == "DICOM"
    except ReadError:  # said when its turn comes
        return False


def _stem(name: str) -> str:
    """The name without an ending that says what the file is."""
    ending = next((e for e in _ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)] or name


def _run(job: Job, translator: Translator, options: argparse.Namespace) -> list[str]:
    """Translate everything in the files of a job; sentences about what failed."""
    done = _target(options, job.base)
    if done.exists() and not options.force:
        _say_existing(done)
        return []
    try:
        selection = open_files(job.files)
    except (ReadError, OSError, MemoryError) as error:
        return [_sentence(job, error)]
    for note in selection.notes:
        tqdm.write(f"note: {note}")
    failures = []
    for index in range(len(selection.choices)):
        base = job.base
        if len(selection.choices) > 1:
            base = base.with_name(f"{base.name}_{index + 1}")
        target = _target(options, base)
        if target.exists() and not options.force:
            _say_existing(target)
            continue
        try:
            volume = selection.read(index)
            translated = translate_volume(translator, volume, options.to)
            write_results(target, translated, volume, translator, options.to, options.keep_identity)
            tqdm.write(str(target))
        except (ReadError, OSError, MemoryError) as error:
            failures.append(_sentence(job, error))
    return failures


def translate_volume(translator: Translator, volume: Volume, to: str) -> np.ndarray:
    """Translate all slices, `BATCH` at a time: (Z, H, W) float32 in [0, 1]."""
    prepared = translator.prepare(volume.pixels, volume.pixel_spacing)
    translated = np.empty(volume.pixels.shape, np.float32)
    with tqdm(
        total=len(translated), desc=volume.name, unit="slice", leave=False, disable=None
    ) as bar:
        for start in range(0, len(translated), BATCH):
            part = slice(start, start + BATCH)
            translated[part] = translator.translate(volume.pixels[part], to, prepared=prepared)
            bar.update(len(translated[part]))
    return translated


def write_results(
    target: Path,
    translated: np.ndarray,
    volume: Volume,
    translator: Translator,
    to: str,
    keep_identity: bool,
) -> None:
    """Write `target`, a .nii.gz, and beside it a PNG of a lone slice and derived DICOM.

    Each appears under its name only when it is complete, the NIfTI last: where it is, all is.

    Raises:
        OSError: the folder cannot be written to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    name = target.name.removesuffix(".nii.gz")
    origin, label = (
        provenance(volume, translator.version, translator.checksum, to),
        synthetic_label(to),
    )
    if volume.dicom is not None:
        files, removed = derived_dicom(
            translated, volume, to=to, provenance=origin, keep_identity=keep_identity
        )
        if len(files) == 1:
            _write(target.with_name(f"{name}.dcm"), files[0])
        else:
            _write_folder(target.with_name(f"{name}_dicom"), files)
        tqdm.write(f"{volume.name}: not in the DICOM results: {'; '.join(removed)}")
    if len(translated) == 1:
        picture = labelled_png(
            translated[0],
            label=label,
            spacing=volume.spacing,
            provenance={**origin.lines(), "Caveat": CAVEAT},
        )
        _write(target.with_name(f"{name}.png"), picture)
    _write(target, nifti(translated, volume, description=f"{label}. {CAVEAT} {origin}"))


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def _write_folder(folder: Path, files: list[bytes]) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    for stale in (partial, folder):  # of a run that was stopped, or the result to replace
        shutil.rmtree(stale, ignore_errors=True)
    partial.mkdir()
    for number, data in enumerate(files, 1):
        (partial / f"{number:04}.dcm").write_bytes(data)
    partial.replace(folder)


def _target(options: argparse.Namespace, base: Path) -> Path:
    return options.out / base.with_name(f"{base.name}_synthetic-{options.to}.nii.gz")


def _say_existing(target: Path) -> None:
    tqdm.write(f"{target}: exists already and was kept; --force replaces it")


def _sentence(job: Job, error: Exception) -> str:
    if isinstance(error, ReadError):
        return str(error)
    reason = getattr(error, "strerror", None) or "there is not enough memory"
    return f"{job.files[0].name}: its result could not be made ({reason})"


if __name__ == "__main__":
    sys.exit(main())
