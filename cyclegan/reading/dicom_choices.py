"""DICOM objects that came together, as a choice of stacks."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pydicom

from cyclegan.reading import dicom
from cyclegan.reading.archive import Member
from cyclegan.reading.deadline import check_time
from cyclegan.reading.dicom_frames import Frame, frames_of
from cyclegan.reading.dicom_marks import MAGNITUDE
from cyclegan.reading.dicom_parse import parse, quiet
from cyclegan.reading.dicom_stacks import Stack, stacks, without
from cyclegan.reading.geometry import plane_of
from cyclegan.reading.header_contrast import header_contrast
from cyclegan.reading.image_kind import ImageKind, dicom_foreign
from cyclegan.reading.notes import names_patient, quoted
from cyclegan.reading.numbered import Choice, size_label
from cyclegan.reading.sequence_names import read_names
from cyclegan.reading.volume import ReadError, Volume, checked, damage_refused

NAMED = 4  # files that a note names before it only counts
_PLAIN_TYPES = frozenset(["ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "MIXED", "NONE"])


def dicom_choices(
    objects: list[tuple[Member, pydicom.Dataset]],
    left_out: dict[str, list[str]],
    notes: list[str],
) -> list[Choice]:
    """One choice for each stack of the objects.

    Args:
        objects: files and their parsed headers, in the order they came.
        left_out: names of files by reason; grows by duplicates and damaged headers.
        notes: grows by a sentence for each group of images that is no volume.
    """
    frames: list[Frame] = []
    seen: set[tuple] = set()
    members, headers = [], []
    for member, header in objects:
        check_time()
        try:
            with quiet(), damage_refused(member.name, "DICOM"):
                found = frames_of(header, len(members))
        except ReadError as error:
            left_out["damaged header"].append(str(error).partition(":")[0])
            continue
        # Some programs give a whole series one UID; only what also lies the same is a duplicate.
        # Others give a copy new ones: of a series that was sent twice the pixels are the same.
        first = found[0]
        plane = () if first.position is None else (*first.position, *first.cosines.ravel())
        alike = (first.number, tuple(np.round(plane, 3)), *sorted(first.marks.items()))
        keys = {
            (first.instance[1], *alike),
            (header.pixels_sha256, first.traits["series"], *alike),
        }
        if first.instance[1] and keys & seen:
            left_out["repeats another image"].append(member.name)
            continue
        seen |= keys
        frames += found
        members.append(member)
        headers.append(header)
    choices = []
    found = stacks(frames)
    components: dict[object, set[object]] = {}  # of each series
    for stack in found:
        traits = stack.frames[0].traits
        components.setdefault(traits["series"], set()).add(traits["component"])
    for stack in found:
        if stack.refusal:
            files = list(dict.fromkeys(members[frame.source].name for frame in stack.frames))
            more = f" and {len(files) - 1} more" * (len(files) > 1)
            notes.append(f"{files[0]}{more}: {stack.refusal}")
        else:
            several = len(components[stack.frames[0].traits["series"]]) > 1
            choices.append(_stack_choice(stack, members, headers, several))
    return choices


def _stack_choice(
    stack: Stack, members: list[Member], headers: list[pydicom.Dataset], names_component: bool
) -> Choice:
    sources = {frame.source: members[frame.source] for frame in stack.frames}
    first = stack.frames[0]
    name = sources[first.source].name
    if len(sources) > 1 and sources[first.source].archive:
        name = sources[first.source].archive

    def source(index: int) -> pydicom.Dataset:
        return parse(io.BytesIO(sources[index].data), sources[index].name)

    def load() -> Volume:
        with damage_refused(name, "DICOM"):
            try:
                return checked(dicom.read_stack(stack, source, name))
            except dicom.DamagedObjects as error:
                return checked(_without(stack, error, source, sources, name))

    plane = plane_of(stack.affine) if stack.affine is not None else ""
    title = " ".join(filter(None, [_title(headers[first.source]), plane]))
    short = frozenset(s for s in sources if headers[s].ends_early)
    shown = (without(stack, short) if short else None) or stack
    title += ", cut axially" * shown.is_cut
    shape = shown.turn.shape if shown.is_cut and shown.turn else shown.shape
    details = {}
    if first.traits["echo"] is not None:
        details["echo"] = f"echo time {first.traits['echo']:g} ms"
    kind = [part for part in first.traits["kind"] if part not in _PLAIN_TYPES]
    if kind:
        details["kind"] = "type " + " ".join(kind)
    if first.traits["number"] is not None:
        details["series"] = f"series {first.traits['number']:g}"
    component = str(first.traits["component"])
    names_component |= component not in ("", MAGNITUDE)
    words = [component] * (names_component and bool(component)) + list(stack.details.values())
    if stack.repeat and not stack.details:
        words.append("image {} of {} per position".format(*stack.repeat))
    label = ", ".join([title, size_label(*shape), *words])
    middle = stack.frames[len(stack.frames) // 2]
    with quiet():
        what = _image_kind(headers[middle.source], middle.index, members[middle.source])
    return Choice(label, shape[0], load, component in ("", MAGNITUDE), details, what)


def _image_kind(header: pydicom.Dataset, frame: int, member: Member) -> ImageKind:
    """What an image is by its header, and where that tells no contrast, by its file's names."""
    foreign, is_unknown = dicom_foreign(header)
    rank = header_contrast(header, frame).rank
    return ImageKind(rank if rank != 1 else read_names(member.names).rank, foreign, is_unknown)


def _without(
    stack: Stack,
    error: dicom.DamagedObjects,
    load: Callable[[int], pydicom.Dataset],
    sources: dict[int, Member],
    name: str,
) -> Volume:
    """What is left of a stack without its damaged objects, which a note names."""
    left = without(stack, error.sources)
    if left is None:
        raise error
    named = sorted(sources[index].name for index in error.sources)
    shown = ", ".join(map(quoted, named[:NAMED])) + ", ..." * (len(named) > NAMED)
    note = (
        f"{len(named)} of {len(sources)} files left out (damaged or truncated): {shown}; "
        "the slices are missing here and in what is exported."
    )
    volume = dicom.read_stack(left, load, name)
    return replace(volume, notes=(note, *volume.notes))


def _title(header: pydicom.Dataset) -> str:
    """What the scanner's user called the series, unless that names the patient."""
    for keyword in ("SeriesDescription", "ProtocolName", "SequenceName"):
        text = "".join(c if c.isprintable() else " " for c in str(header.get(keyword) or ""))
        if text.strip() and not names_patient(header, text):
            return text.strip()[:64]
    return str(header.get("Modality") or "DICOM")[:16]
