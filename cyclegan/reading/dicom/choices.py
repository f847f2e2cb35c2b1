"""DICOM objects that came together, as a choice of stacks, and which series a file belongs to."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom

from cyclegan.reading.archive import Member
from cyclegan.reading.choice import Choice, ImageKind
from cyclegan.reading.deadline import check_time
from cyclegan.reading.dicom import decoder
from cyclegan.reading.dicom.contrast import foreign_modality, header_contrast
from cyclegan.reading.dicom.frames import Frame, frames_of
from cyclegan.reading.dicom.header import MAGNITUDE, FrameHeader, names_patient
from cyclegan.reading.dicom.parse import ends_early, parse, quiet
from cyclegan.reading.dicom.read import read_stack, shades
from cyclegan.reading.dicom.stacks import Stack, stacks, without
from cyclegan.reading.formats import DICOM, file_head, format_of
from cyclegan.reading.geometry import plane_of
from cyclegan.reading.selection import Report
from cyclegan.reading.sequence_names import read_names
from cyclegan.reading.volume import ReadError, Volume, checked, damage_refused

_PLAIN_TYPES = frozenset(["ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "MIXED", "NONE"])


class Series(NamedTuple):
    """What the images of one series have in common."""

    patient: str
    study: str
    series: str


def series_of(path: Path) -> Series | None:
    """The series of a DICOM image, for grouping many files before any of them is opened; None for
    other files and images that do not name one."""
    keywords = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"]
    try:
        if format_of(file_head(path), path.name) is not DICOM:
            return None
        with quiet():
            header = pydicom.dcmread(
                path, force=True, stop_before_pixels=True, specific_tags=keywords
            )
            series = Series(*(str(header.get(keyword) or "") for keyword in keywords))
    except Exception:  # of a damaged header anything; the message comes when it is read
        return None
    return series if series.series else None


class DicomObject(NamedTuple):
    """One file and what sorting needs to know of it.

    Attributes:
        member: the file.
        header: its attributes without the pixels.
        ends_early: whether it is too short for its pixels.
        pixels_sha256: by which copies are recognised.
    """

    member: Member
    header: pydicom.Dataset
    ends_early: bool
    pixels_sha256: bytes


def header_of(member: Member) -> DicomObject:
    """The header of one object, with what sorting needs to know of its pixels.

    Raises:
        NoMRImage: it is in colour, or holds no image.
        ReadError: its header is damaged.
    """
    header = parse(member.data, member.name, header_only=True)
    pixels = memoryview(member.data)[header.header_bytes :]
    if not str(header.PhotometricInterpretation).startswith("MONOCHROME"):
        dataset, first = parse(member.data, member.name), None
        with quiet():
            for stored in decoder.frames(dataset):  # to the end, or the decoder is started anew
                first = stored if first is None else first
            if first is not None:
                shades(dataset, first, member.name)
    is_short = ends_early(header, len(pixels))
    return DicomObject(member, header, is_short, hashlib.sha256(pixels).digest())


def choices(objects: list[DicomObject], report: Report) -> list[Choice]:
    """One choice for each stack of the objects.

    Args:
        objects: in the order they came.
        report: grows by duplicates, damaged headers and groups of images that are no volume.
    """
    frames: list[Frame] = []
    seen: set[tuple] = set()
    unique: list[DicomObject] = []
    for item in objects:
        check_time()
        try:
            with quiet(), damage_refused(item.member.name, "DICOM"):
                own = frames_of(item.header, len(unique))
        except ReadError as error:
            report.left_out["damaged header"].append(str(error).partition(":")[0])
            continue
        # Some programs give a whole series one UID; only what also lies the same is a duplicate.
        # Others give a copy new ones: of a series that was sent twice the pixels are the same.
        first = own[0]
        plane = () if first.position is None else (*first.position, *first.cosines.ravel())
        alike = (first.number, tuple(np.round(plane, 3)), *sorted(first.marks.items()))
        keys = {
            (first.instance[1], *alike),
            (item.pixels_sha256, first.traits.series, *alike),
        }
        if first.instance[1] and keys & seen:
            report.left_out["repeats another image"].append(item.member.name)
            continue
        seen |= keys
        frames += own
        unique.append(item)
    all_stacks = stacks(frames)
    components: dict[str, set[str]] = defaultdict(set)  # of each series
    for stack in all_stacks:
        components[stack.frames[0].traits.series].add(stack.frames[0].traits.component)
    main, why_main = _main_stack(all_stacks) if len(unique) == 1 else (None, "")
    result = []
    for stack in all_stacks:
        if stack.refusal:
            names = list(dict.fromkeys(unique[frame.source].member.name for frame in stack.frames))
            more = f" and {len(names) - 1} more" * (len(names) > 1)
            report.failures.append(f"{names[0]}{more}: {stack.refusal}")
        else:
            several = len(components[stack.frames[0].traits.series]) > 1
            choice = _stack_choice(stack, unique, several)
            result.append(replace(choice, why_main=why_main if stack is main else ""))
    return result


def _stack_choice(stack: Stack, objects: list[DicomObject], names_component: bool) -> Choice:
    sources = {frame.source: objects[frame.source] for frame in stack.frames}
    first, middle = stack.frames[0], stack.frames[len(stack.frames) // 2]
    traits, member = first.traits, sources[first.source].member
    name = (member.archive if len(sources) > 1 else "") or member.name

    def load() -> Volume:
        with damage_refused(name, "DICOM"):
            members = {source: item.member for source, item in sources.items()}
            return checked(read_stack(stack, members, name))

    short = frozenset(index for index, item in sources.items() if item.ends_early)
    shown = (without(stack, short) if short else None) or stack
    plane = plane_of(stack.affine) if stack.affine is not None else ""
    title = " ".join(filter(None, [_title(sources[first.source].header), plane]))
    is_magnitude = traits.component in ("", MAGNITUDE)
    details = [traits.component] * (names_component or not is_magnitude)
    details = [*filter(None, details), *stack.details.values()]
    if stack.repeat and not stack.details:
        details.append("image {} of {} per position".format(*stack.repeat))
    if_ambiguous = {}
    if traits.echo is not None:
        if_ambiguous["echo"] = f"echo time {traits.echo:g} ms"
    if types := [part for part in traits.image_type if part not in _PLAIN_TYPES]:
        if_ambiguous["type"] = "type " + " ".join(types)
    if traits.series_number is not None:
        if_ambiguous["series"] = f"series {traits.series_number:g}"
    return Choice(
        title=title + ", cut axially" * shown.is_cut,
        shape=(shown.reorientation or shown).shape,
        load=load,
        details=tuple(details),
        if_ambiguous=if_ambiguous,
        is_magnitude=is_magnitude,
        kind=_image_kind(sources[middle.source], middle.index),
    )


def _image_kind(item: DicomObject, frame: int) -> ImageKind:
    """What an image is by its header, and where that tells no contrast, by its file's names."""
    with quiet():
        foreign, is_unknown = foreign_modality(item.header)
        rank = header_contrast(FrameHeader(item.header, frame)).rank
    return ImageKind(rank if rank != 1 else read_names(item.member.names).rank, foreign, is_unknown)


def _title(header: pydicom.Dataset) -> str:
    """What the scanner's user called the series, unless that names the patient."""
    for keyword in ("SeriesDescription", "ProtocolName", "SequenceName"):
        text = "".join(c if c.isprintable() else " " for c in str(header.get(keyword) or ""))
        if text.strip() and not names_patient(header, text):
            return text.strip()[:64]
    return str(header.get("Modality") or "DICOM")[:16]


def _main_stack(candidates: list[Stack]) -> tuple[Stack | None, str]:
    """The stack to read of one object that holds several, and why: the magnitude images, or the
    most images of one plane. None where none stands out."""
    magnitude = [stack for stack in candidates if stack.frames[0].traits.component == MAGNITUDE]
    if len(magnitude) == 1:
        note = f"The file holds {len(candidates)} images per slice; the magnitude is shown."
        return magnitude[0], note
    if any(_are_parallel(one, other) for one, other in combinations(candidates, 2)):
        return None, ""
    largest = max(candidates, key=lambda stack: len(stack.frames))
    is_placed = all(stack.affine is not None for stack in candidates)
    why = "lie in other planes" if is_placed else "do not say where they lie"
    total = sum(len(stack.frames) for stack in candidates)
    return largest, f"{len(largest.frames)} of {total} images are shown; the others {why}."


def _are_parallel(one: Stack, other: Stack) -> bool:
    """Whether the planes of two stacks are parallel, or both are unknown."""
    cosines = one.frames[0].cosines, other.frames[0].cosines
    if any(plane is None for plane in cosines):
        return all(plane is None for plane in cosines)
    normals = [np.cross(*plane) for plane in cosines]
    return bool(abs(normals[0] @ normals[1]) >= 0.99)
