"""Everything that was dropped together, as a choice of volumes: files, series, archives, pairs.

Names serve for messages and for matching the halves of a pair; contents decide everything else.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pydicom

from cyclegan.reading import dicom, nifti, tiff
from cyclegan.reading.archive import Member, members_of
from cyclegan.reading.deadline import check_time
from cyclegan.reading.decode import decoded
from cyclegan.reading.dicom_choices import NAMED, dicom_choices
from cyclegan.reading.dicom_parse import ends_early, parse
from cyclegan.reading.numbered import Choice, size_label, stacked
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


@dataclass(frozen=True, eq=False)
class Selection:
    """What can be opened of the files that came together.

    Attributes:
        choices: one plain label each, different from each other; no header field that identifies
            the patient is in it.
        notes: sentences on what was left out and why.
        best: index of the choice to open first: magnitude before phase and other parts of the
            signal, then the one with the most slices.
        size: bytes that are held in memory to read from.
    """

    choices: tuple[str, ...]
    notes: tuple[str, ...]
    best: int
    size: int
    _loaders: tuple[Callable[[], Volume], ...]

    def read(self, index: int) -> Volume:
        """Read choice `index`. The files are not needed any more.

        Raises:
            ReadError: its pixels are missing, damaged or hold no image.
        """
        return self._loaders[index]()


def open_files(paths: Sequence[Path]) -> Selection:
    """Look through files that came together and offer every volume or series in them.

    DICOM objects are grouped by series, plane, matrix, echo and kind of image, and sorted by their
    position along the slice normal. At most `MAX_FILE_BYTES` are held, in memory only.

    Args:
        paths: files of any supported kind, zip archives of them, or the halves of .hdr/.img pairs.

    Raises:
        ReadError: none of the files can be read, or together they are too large.
    """
    members, skipped = members_of([Path(path) for path in paths])
    left_out: dict[str, list[str]] = defaultdict(list, skipped)
    choices, notes = _choices(members, left_out)
    for reason, names in left_out.items():
        shown = ", ".join(names[:NAMED]) + ", ..." * (len(names) > NAMED)
        notes.append(f"{len(names)} file{'s' * (len(names) > 1)} left out ({reason}): {shown}.")
    if not choices:
        if len(members) == 1 and not members[0].archive and not left_out:
            raise ReadError(notes[0])
        name = Path(paths[0]).name if paths else "the selection"
        why = " ".join(notes[:NAMED]) or "Choose an MR image."
        raise ReadError(f"{name}: nothing in it can be read as an MR image. {why}")
    if len(choices) > MAX_CHOICES:
        notes.append(f"Only the first {MAX_CHOICES} of {len(choices)} images are offered.")
        choices = choices[:MAX_CHOICES]
    return Selection(
        choices=_told_apart(choices),
        notes=tuple(notes),
        best=max(
            range(len(choices)), key=lambda index: (choices[index].magnitude, choices[index].slices)
        ),
        size=sum(len(member.data) for member in members),
        _loaders=tuple(choice.load for choice in choices),
    )


def _choices(
    members: list[Member], left_out: dict[str, list[str]]
) -> tuple[list[Choice], list[str]]:
    """Choices in the order of the files, and refusals; fills `left_out` by reason."""
    pairs = _pairs(members)
    images = {id(image) for image in pairs.values()}
    disc = any(member.name.upper() == "DICOMDIR" for member in members)
    notes: list[str] = []
    objects: list[tuple[Member, pydicom.Dataset]] = []
    found: list[tuple[Member | None, Choice]] = []
    for member in members:
        if id(member) in images:
            continue
        check_time()
        try:
            kind = file_kind(member.data[:1024], member.name)
        except ReadError as error:
            if len(members) == 1 and not member.archive:
                notes.append(str(error))
            else:
                nested = _NESTED if member.data.startswith(_PACKED) else ""
                other = nested or named(member.data[:1024]) or "no image that can be read"
                left_out[other].append(member.name)
            continue
        try:
            with damage_refused(member.name, kind):
                if kind == "DICOM" and member.name.upper() == "DICOMDIR":
                    left_out["no image that can be read"].append(member.name)
                elif kind == "DICOM":
                    stream = io.BytesIO(member.data)
                    header = parse(stream, member.name, header_only=True)
                    behind = memoryview(member.data)[stream.tell() :]
                    header.ends_early = ends_early(header, len(behind))
                    header.pixels_sha256 = hashlib.sha256(behind).digest()
                    if not str(header.PhotometricInterpretation).startswith("MONOCHROME"):
                        dicom.refuse_colours(io.BytesIO(member.data), member.name)
                    objects.append((member, header))
                elif kind == "NIfTI":
                    volumes = _nifti_choices(member, pairs.get(id(member)), notes)
                    found += [(None, each) for each in volumes]
                elif disc:  # its maker's logo and the icons of a viewer
                    left_out["a picture on a patient's disc"].append(member.name)
                else:
                    found += [(member, each) for each in _picture_choices(member, kind)]
        except ReadError as error:
            notes.append(str(error))
    return dicom_choices(objects, left_out, notes) + stacked(found), notes


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


# NIfTI, Analyze and pictures


def _nifti_choices(member: Member, image: Member | None, notes: list[str]) -> list[Choice]:
    """One choice for each volume with content."""

    def streams() -> dict[str, io.BytesIO]:
        return {"image": io.BytesIO(image.data)} if image else {}

    def load(index: int) -> Volume:
        return decoded(io.BytesIO(member.data), member.name, index=index, **streams())

    layout = nifti.read_layout(io.BytesIO(member.data), member.name, **streams())
    look_in = layout.count > 1 or layout.coloured
    indices = nifti.volumes_with_content(member.name, layout) if look_in else [0]
    depth, height, width = layout.slices
    size = size_label(depth, height, width)
    if not indices:
        notes.append(f"{member.name}: none of its {layout.count} volumes has content.")
    elif len(indices) < layout.count:
        notes.append(
            f"{member.name}: {layout.count - len(indices)} of its {layout.count} volumes are empty."
        )
    if layout.count == 1:
        return [Choice(f"{member.name}, {size}", depth, partial(load, 0))]
    return [
        Choice(
            f"{member.name}, volume {index + 1} of {layout.count}, {size}",
            depth,
            partial(load, index),
        )
        for index in indices
    ]


def _picture_choices(member: Member, kind: str) -> list[Choice]:
    """A picture or stack of pages, one choice for each channel and time; decoded once to see
    whether it can be, and not kept."""

    def load(index: int | None) -> Volume:
        which = {} if index is None else {"index": index}
        return decoded(io.BytesIO(member.data), member.name, **which)

    parts = tiff.parts(io.BytesIO(member.data), member.name) if kind == "TIFF" else [""]
    choices = []
    for index, part in enumerate(parts[:MAX_CHOICES]):
        read = partial(load, index if len(parts) > 1 else None)
        shape = read().pixels.shape
        label = ", ".join(filter(None, [member.name, part, size_label(*shape)]))
        choices.append(Choice(label, shape[0], read))
    return choices


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
