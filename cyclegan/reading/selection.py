"""Everything that was dropped together, as a choice of volumes: files, series, archives, pairs.

Names serve for messages and for matching the halves of a pair; contents decide everything else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cyclegan.reading.archive import NO_IMAGE, Member, members_of
from cyclegan.reading.choice import Choice
from cyclegan.reading.deadline import check_time
from cyclegan.reading.formats import (
    DICOM,
    GZIP_MAGIC,
    PAIR,
    ZIP_MAGIC,
    format_of,
    is_nifti,
    unread_format,
)
from cyclegan.reading.numbered import stacked
from cyclegan.reading.volume import (
    MOST_NAMED,
    NoMRImage,
    ReadError,
    Volume,
    damage_refused,
    first_of,
    split_name,
)

MAX_CHOICES = 64  # more cannot be distinguished in a list
_NESTED = "an archive inside another: unpack it first"
# Reasons to leave a file out that cost an image; the others do not.
_LOST = frozenset(
    ["damaged header", "damaged in the archive", "encrypted", "packed by a rare method", _NESTED]
)


@dataclass(frozen=True, eq=False)
class Selection:
    """What can be opened of the files that came together.

    Attributes:
        sources: what the choices are read from.
        notes: sentences on what was left out and why.
        best: index of the choice to open first: MR before other modalities, images before masks
            and label maps, T1 and T2 before other contrasts, magnitude before phase and maps,
            then the one with the most slices.
        size: bytes in memory to read from.
        failures: those of the notes that are of images, or archives, which could not be read.
        foreign: those of the notes that are of files which hold no MR image.
    """

    sources: tuple[Choice, ...]
    notes: tuple[str, ...]
    best: int
    size: int
    failures: tuple[str, ...]
    foreign: tuple[str, ...]

    @property
    def choices(self) -> tuple[str, ...]:
        """One plain label each, different from each other; no header field that identifies the
        patient is in it."""
        return tuple(source.label for source in self.sources)

    @property
    def texts(self) -> tuple[str, ...]:
        """The labels without the size."""
        return tuple(source.text for source in self.sources)

    @property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(Z, H, W) of each choice as it is shown."""
        return tuple(source.shape for source in self.sources)

    def not_mr(self, index: int, is_beside_image: bool = False) -> str:
        """Why choice `index` is no MR image, as in "its modality is CT", or "".

        Args:
            is_beside_image: whether an image of its size lies beside it, outside this selection;
                what only looks like a label map is one then.
        """
        kind = self.sources[index].kind
        if reason := kind.not_mr:
            return reason
        if kind.is_unknown and any(other.kind.is_mr for other in self.sources):
            return "it does not say that it is MR, as others beside it do"
        is_beside_image = is_beside_image or any(
            other.shape == self.shapes[index] and not other.kind.looks_like_labels
            for other in self.sources
            if other is not self.sources[index]
        )
        if is_beside_image and kind.values.are_labels:
            return f"it looks like a label map of {kind.values.count} values beside an image"
        return ""

    def looks_like_labels(self, index: int) -> bool:
        """Whether the values of choice `index` are few whole numbers in flat areas."""
        return self.sources[index].kind.looks_like_labels

    def read(self, index: int) -> Volume:
        """Read choice `index`. The files are not needed any more.

        Raises:
            ReadError: its pixels are missing, damaged or hold no image.
        """
        return self.sources[index].load()


@dataclass
class Report:
    """What there is to say of files beside the choices; see `Selection`."""

    left_out: dict[str, list[str]]  # names by reason
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


def open_files(paths: Sequence[Path | Member], most: int | None = MAX_CHOICES) -> Selection:
    """Look through files that came together and offer every volume or series in them.

    DICOM objects are grouped by series, plane, matrix, echo and kind of image, and sorted by their
    position along the slice normal. At most `MAX_FILE_BYTES` are read, into memory only.

    Args:
        paths: files of any supported format, zip archives of them, or the halves of .hdr/.img
            pairs, on disk or in memory.
        most: choices that are offered; None for all.

    Raises:
        NoMRImage: the files are whole, and none of them holds an image.
        ReadError: none of the files can be read, or together they are too large.
    """
    sent = [path if isinstance(path, Member) else Path(path) for path in paths]
    members, skipped = members_of(sent)
    report = Report(skipped)
    choices = _choices(members, report)
    notes = [*report.notes, *report.failures, *report.foreign]
    for reason, names in report.left_out.items():
        files = f"{len(names)} file{'s' * (len(names) > 1)}"
        notes.append(f"{files} left out ({reason}): {first_of(names)}.")
        if reason in _LOST:
            report.failures.append(notes[-1])
    if not choices:
        error = NoMRImage if report.foreign and not report.failures else ReadError
        if len(members) == 1 and not members[0].archive and not report.left_out:
            raise error(notes[0])
        name = sent[0].name if sent else "the selection"
        why = " ".join(notes[:MOST_NAMED]) or "Choose an MR image."
        raise error(f"{name}: nothing in it can be read as an MR image. {why}")
    if most is not None and len(choices) > most:
        notes.append(f"Only the first {most} of {len(choices)} images are offered.")
        choices = choices[:most]
    return Selection(
        sources=tuple(unique_labels(choices)),
        notes=tuple(notes),
        best=_best(choices),
        size=sum(len(member.data) for member in members),
        failures=tuple(report.failures),
        foreign=tuple(report.foreign),
    )


def _choices(members: list[Member], report: Report) -> list[Choice]:
    """Choices in the order of the files, those of DICOM first; what is none is added to `report`.

    A module of a format has `choices(member, alone)` of one file; that of DICOM, whose series span
    files, `header_of(member)` and `choices(objects, report)`.
    """
    is_disc = any(member.name.upper() == "DICOMDIR" for member in members)
    objects = []
    others: list[tuple[Member | None, Choice]] = []
    alone = len(members) == 1 and not members[0].archive
    for member in _joined(members):
        check_time()
        head = member.data[:1024]
        try:
            file_format = format_of(head, member.name)
        except ReadError as error:
            if alone:
                report.failures.append(str(error))
            else:
                nested = _NESTED if head.startswith((ZIP_MAGIC, GZIP_MAGIC)) else ""
                report.left_out[nested or unread_format(head) or NO_IMAGE].append(member.name)
            continue
        try:
            with damage_refused(member.name, file_format.name):
                if file_format is DICOM and member.name.upper() == "DICOMDIR":
                    report.left_out[NO_IMAGE].append(member.name)
                elif file_format is DICOM:
                    objects.append(DICOM.module.header_of(member))
                elif file_format.is_picture and is_disc:  # its maker's logo, icons of a viewer
                    report.left_out["a picture on a patient's disc"].append(member.name)
                else:
                    choices = file_format.module.choices(member, alone)
                    picture = member if file_format.is_picture else None
                    others += [(picture, choice) for choice in choices]
                    report.notes += dict.fromkeys(c.note for c in choices if c.note)
        except NoMRImage as error:
            report.foreign.append(str(error))
        except ReadError as error:
            report.failures.append(str(error))
    of_dicom = DICOM.module.choices(objects, report) if objects else []
    return of_dicom + stacked(others)


def _joined(members: Iterable[Member]) -> list[Member]:
    """Members, each .img that belongs to a .hdr of its folder and stem put into that one."""
    by_name = {(member.folder, *split_name(member.name)): member for member in members}
    images = {}
    for (folder, stem, suffix), header in by_name.items():
        image = by_name.get((folder, stem, PAIR[1])) if suffix == PAIR[0] else None
        if image and not is_nifti(image.data[:4]):
            images[header] = image
    halves = set(images.values())
    return [replace(each, image=images.get(each)) for each in members if each not in halves]


def _best(choices: list[Choice]) -> int:
    """Index of the choice to open first. Values are only examined where a label map would win."""

    def key(index: int) -> tuple:
        choice = choices[index]
        kind = choice.kind
        level = (bool(kind.foreign), kind.is_unknown, kind.is_named_labels)
        return (*level, kind.rank, not choice.is_magnitude, -choice.shape[0], index)

    order = sorted(range(len(choices)), key=key)
    if len(order) == 1:
        return 0
    first = choices[order[0]].kind
    alike = [index for index in order if choices[index].kind.foreign == first.foreign]
    return next((index for index in alike if not choices[index].kind.looks_like_labels), order[0])


def unique_labels(choices: list[Choice]) -> list[Choice]:
    """Choices whose labels differ: where several are equal, by the details in which they do, else
    by their numbers."""
    groups = defaultdict(list)
    for choice in choices:
        groups[choice.label].append(choice.if_ambiguous)
    labelled = []
    for choice in choices:
        differing = [
            text
            for key, text in choice.if_ambiguous.items()
            if len({other.get(key) for other in groups[choice.label]}) > 1
        ]
        labelled.append(replace(choice, details=(*choice.details, *differing)))
    total, so_far = Counter(choice.label for choice in labelled), Counter[str]()
    for index, choice in enumerate(labelled):
        so_far[choice.label] += 1
        if total[choice.label] > 1:
            number = f" ({so_far[choice.label]} of {total[choice.label]})"
            labelled[index] = replace(choice, number=number)
    return labelled
