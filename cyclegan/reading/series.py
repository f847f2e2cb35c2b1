"""Everything that was dropped together, as a choice of volumes: files, series, archives, pairs.

Names serve for messages and for matching the halves of a pair; contents decide everything else.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom

from cyclegan.reading import dicom
from cyclegan.reading.archive import Member, members_of
from cyclegan.reading.deadline import check_time
from cyclegan.reading.dicom_choices import NAMED, dicom_choices
from cyclegan.reading.dicom_parse import ends_early, parse
from cyclegan.reading.file_choices import nifti_choices, picture_choices
from cyclegan.reading.image_kind import ImageKind, NoMRImage
from cyclegan.reading.numbered import Choice, stacked
from cyclegan.reading.other_kinds import named
from cyclegan.reading.volume import (
    ZIP_MAGIC,
    ReadError,
    Volume,
    damage_refused,
    file_kind,
    is_nifti,
    split_name,
)

MAX_CHOICES = 64  # more cannot be told apart in a list
_PACKED = (ZIP_MAGIC, b"\x1f\x8b")
_NESTED = "an archive inside another: unpack it first"
_NO_IMAGE = "no image that can be read"
# Reasons to leave a file out that cost an image; the others do not.
_LOST = frozenset(
    ["damaged header", "damaged in the archive", "encrypted", "packed by a rare method", _NESTED]
)
_LABEL_SIZE = re.compile(r"\d+ slices?, \d+ x \d+")


@dataclass(frozen=True, eq=False)
class Selection:
    """What can be opened of the files that came together.

    Attributes:
        choices: one plain label each, different from each other; no header field that identifies
            the patient is in it.
        notes: sentences on what was left out and why.
        best: index of the choice to open first: MR before other modalities, images before masks
            and label maps, T1 and T2 before other contrasts, magnitude before phase and maps,
            then the one with the most slices.
        size: bytes that are held in memory to read from.
        failures: those of the notes that are of images, or archives, which could not be read.
        foreign: those of the notes that are of files which hold no MR image.
    """

    choices: tuple[str, ...]
    notes: tuple[str, ...]
    best: int
    size: int
    _loaders: tuple[Callable[[], Volume], ...]
    failures: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    _kinds: tuple[ImageKind, ...] = ()

    def not_mr(self, index: int, is_beside_image: bool = False) -> str:
        """Why choice `index` is no MR image, as in "its modality is CT", or "".

        Args:
            is_beside_image: whether an image of its size lies beside it, outside this selection;
                what only looks like a label map is one then.
        """
        kind = self._kinds[index]
        if reason := kind.not_mr:
            return reason
        if kind.is_unknown and any(_is_mr(other) for other in self._kinds):
            return "it does not say that it is MR, as others beside it do"
        is_beside_image = is_beside_image or any(
            self.size_of(other) == self.size_of(index) and not self._kinds[other].looks_like_labels
            for other in range(len(self.choices))
            if other != index
        )
        if is_beside_image and kind.values.are_labels:
            return f"it looks like a label map of {kind.values.count} values beside an image"
        return ""

    def looks_like_labels(self, index: int) -> bool:
        """Whether the values of choice `index` are few whole numbers in flat areas."""
        return self._kinds[index].looks_like_labels

    def size_of(self, index: int) -> str:
        """Slices, columns and rows of choice `index`, as its label says them."""
        return ", ".join(_LABEL_SIZE.findall(self.choices[index])[-1:])

    def read(self, index: int) -> Volume:
        """Read choice `index`. The files are not needed any more.

        Raises:
            ReadError: its pixels are missing, damaged or hold no image.
        """
        return self._loaders[index]()


def open_files(paths: Sequence[Path | Member], most: int | None = MAX_CHOICES) -> Selection:
    """Look through files that came together and offer every volume or series in them.

    DICOM objects are grouped by series, plane, matrix, echo and kind of image, and sorted by their
    position along the slice normal. At most `MAX_FILE_BYTES` are held, in memory only.

    Args:
        paths: files of any supported kind, zip archives of them, or the halves of .hdr/.img pairs,
            on disk or in memory.
        most: choices that are offered; None for all.

    Raises:
        NoMRImage: the files are whole, and none of them holds an image.
        ReadError: none of the files can be read, or together they are too large.
    """
    files = [path if isinstance(path, Member) else Path(path) for path in paths]
    members, skipped = members_of(files)
    found = _Found(defaultdict(list, skipped))
    choices = _choices(members, found)
    notes = [*found.notes, *found.failures, *found.foreign]
    for reason, names in found.left_out.items():
        shown = ", ".join(names[:NAMED]) + ", ..." * (len(names) > NAMED)
        notes.append(f"{len(names)} file{'s' * (len(names) > 1)} left out ({reason}): {shown}.")
        if reason in _LOST:
            found.failures.append(notes[-1])
    if not choices:
        refusal = NoMRImage if found.foreign and not found.failures else ReadError
        if len(members) == 1 and not members[0].archive and not found.left_out:
            raise refusal(notes[0])
        name = files[0].name if files else "the selection"
        why = " ".join(notes[:NAMED]) or "Choose an MR image."
        raise refusal(f"{name}: nothing in it can be read as an MR image. {why}")
    if most is not None and len(choices) > most:
        notes.append(f"Only the first {most} of {len(choices)} images are offered.")
        choices = choices[:most]
    return Selection(
        choices=_told_apart(choices),
        notes=tuple(notes),
        best=_best(choices),
        size=sum(len(member.data) for member in members),
        _loaders=tuple(choice.load for choice in choices),
        failures=tuple(found.failures),
        foreign=tuple(found.foreign),
        _kinds=tuple(choice.kind for choice in choices),
    )


def _is_mr(kind: ImageKind) -> bool:
    return not kind.foreign and not kind.is_unknown


def _best(choices: list[Choice]) -> int:
    """Index of the choice to open first. Values are only looked at where a label map would win."""

    def key(index: int) -> tuple:
        choice = choices[index]
        kind = choice.kind
        level = (bool(kind.foreign), kind.is_unknown, kind.is_named_labels)
        return (*level, kind.rank, not choice.magnitude, -choice.slices, index)

    order = sorted(range(len(choices)), key=key)
    if len(order) == 1:
        return 0
    first = choices[order[0]].kind
    alike = [index for index in order if choices[index].kind.foreign == first.foreign]
    return next((index for index in alike if not choices[index].kind.looks_like_labels), order[0])


@dataclass
class _Found:
    """What is said of files that came together beside the choices: see `Selection`."""

    left_out: dict[str, list[str]]  # names by reason
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


def _choices(members: list[Member], found: _Found) -> list[Choice]:
    """Choices in the order of the files; what is none is added to `found`."""
    pairs = _pairs(members)
    images = {id(image) for image in pairs.values()}
    disc = any(member.name.upper() == "DICOMDIR" for member in members)
    objects: list[tuple[Member, pydicom.Dataset]] = []
    pictures: list[tuple[Member | None, Choice]] = []
    for member in members:
        if id(member) in images:
            continue
        check_time()
        try:
            kind = file_kind(member.data[:1024], member.name)
        except ReadError as error:
            if len(members) == 1 and not member.archive:
                found.failures.append(str(error))
            else:
                nested = _NESTED if member.data.startswith(_PACKED) else ""
                other = nested or named(member.data[:1024]) or _NO_IMAGE
                found.left_out[other].append(member.name)
            continue
        try:
            with damage_refused(member.name, kind):
                if kind == "DICOM" and member.name.upper() == "DICOMDIR":
                    found.left_out[_NO_IMAGE].append(member.name)
                elif kind == "DICOM":
                    objects.append((member, _dicom_header(member)))
                elif kind == "NIfTI":
                    volumes = nifti_choices(member, pairs.get(id(member)), found.notes)
                    pictures += [(None, volume) for volume in volumes]
                elif disc:  # its maker's logo and the icons of a viewer
                    found.left_out["a picture on a patient's disc"].append(member.name)
                else:
                    pictures += [(member, choice) for choice in picture_choices(member, kind)]
        except NoMRImage as error:
            found.foreign.append(str(error))
        except ReadError as error:
            found.failures.append(str(error))
    return dicom_choices(objects, found.left_out, found.failures) + stacked(pictures)


def _dicom_header(member: Member) -> pydicom.Dataset:
    """The header of one object, with what sorting needs to know of its pixels.

    Raises:
        NoMRImage: it is in colour, or holds no image.
        ReadError: its header is damaged.
    """
    stream = io.BytesIO(member.data)
    header = parse(stream, member.name, header_only=True)
    behind = memoryview(member.data)[stream.tell() :]
    header.ends_early = ends_early(header, len(behind))
    header.pixels_sha256 = hashlib.sha256(behind).digest()
    if not str(header.PhotometricInterpretation).startswith("MONOCHROME"):
        dicom.refuse_colours(io.BytesIO(member.data), member.name)
    return header


def _pairs(members: Iterable[Member]) -> dict[int, Member]:
    """The .img member for each .hdr member of the same folder and stem, by the latter's id."""
    named = {(member.folder, *split_name(member.name)): member for member in members}
    return {
        id(header): named[folder, stem, ".img"]
        for (folder, stem, suffix), header in named.items()
        if suffix == ".hdr"
        and (folder, stem, ".img") in named
        and not is_nifti(named[folder, stem, ".img"].data[:4])
    }


# Labels


def _told_apart(choices: list[Choice]) -> tuple[str, ...]:
    """Labels, with the details that differ where several would read the same."""
    alike = defaultdict(list)
    for choice in choices:
        alike[choice.label].append(choice)
    labels = []
    for choice in choices:
        group = alike[choice.label]
        differing = [
            text
            for key, text in choice.details.items()
            if len({other.details.get(key) for other in group}) > 1
        ]
        labels.append(", ".join([choice.label, *differing]))
    total, so_far = Counter(labels), Counter()
    for index, label in enumerate(labels):
        so_far[label] += 1
        if total[label] > 1:
            labels[index] = f"{label} ({so_far[label]} of {total[label]})"
    return tuple(labels)
