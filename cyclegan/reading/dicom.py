"""Read DICOM images: one object of one or many frames, or the objects of a series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import BinaryIO

import numpy as np
import pydicom

from cyclegan.reading import dicom_decode, dicom_values
from cyclegan.reading.deadline import check_time
from cyclegan.reading.dicom_frames import Frame, frames_of
from cyclegan.reading.dicom_marks import MAGNITUDE
from cyclegan.reading.dicom_parse import parse, quiet
from cyclegan.reading.dicom_stacks import Stack, stacks
from cyclegan.reading.geometry import Turn, plane_of, spacing_of
from cyclegan.reading.header_contrast import header_contrast
from cyclegan.reading.image_kind import dicom_foreign, modality_of
from cyclegan.reading.volume import (
    ORIENTATION_UNKNOWN,
    DicomSource,
    ReadError,
    Volume,
    check_claimed_size,
    damage_refused,
)

_NAMED = 4  # kinds of images that a refusal names
MAX_MENDED = 8  # sentences on numbers that could not be read; a broken writer breaks them all


class DamagedObjects(ReadError):
    """Some objects of a stack cannot be decoded.

    Attributes:
        sources: `Frame.source` of each.
    """

    def __init__(self, damaged: dict[int, str]):
        super().__init__(next(iter(damaged.values())))
        self.sources = frozenset(damaged)


def read(stream: BinaryIO, name: str) -> Volume:
    """Read the image object of one file; frames are sorted along the slice normal.

    Where it holds several stacks, the magnitude images or the largest of several planes are taken.

    Raises:
        ReadError: no such stack stands out, or as for `read_stack`.
    """
    dataset = parse(stream, name)
    with quiet():
        stack = _outstanding(stacks(frames_of(dataset)), name)
    return read_stack(stack, lambda source: dataset, name)


def refuse_colours(stream: BinaryIO, name: str) -> None:
    """Refuse the image object of one file if its first frame holds more than shades of grey.

    Raises:
        ReadError: it does, or as for `read`.
    """
    dataset, first = parse(stream, name), None
    with quiet():
        for stored in dicom_decode.frames(dataset):  # to the end, or the decoder is started anew
            first = stored if first is None else first
        if first is not None:
            dicom_values.shades(dataset, first, name)


def read_stack(stack: Stack, load: Callable[[int], pydicom.Dataset], name: str) -> Volume:
    """Decode the images of a stack, in order.

    Args:
        stack: what to read, from `dicom_stacks.stacks`.
        load: gives the parsed data set of a `Frame.source`; called once for each of a run.
        name: file name for messages and for the volume.

    Raises:
        DamagedObjects: some of several objects could not be read; the others may be.
        ReadError: pixels are missing, damaged or compressed in a way that has no decoder here.
    """
    with quiet():
        return _read_stack(stack, load, name)


def _read_stack(stack: Stack, load: Callable[[int], pydicom.Dataset], name: str) -> Volume:
    depth, rows, columns = stack.shape
    check_claimed_size(name, rows, columns, depth)
    turn = stack.turn
    pixels = np.empty(turn.shape if turn else stack.shape, dtype=np.float32)
    told = _decode(stack.frames, load, turn.stored_view(pixels) if turn else pixels, name)
    window = told.window
    if stack.frames[0].traits["grey"] == "MONOCHROME1":  # darkest value is the highest one
        np.subtract(np.float32(told.low + told.high), pixels, out=pixels)
        window = (told.low + told.high - window[0], window[1]) if window else None
    if told.low < told.high:  # padding is outside the scanned field: as dark as air
        for plane in pixels:  # PS3.3 C.7.5.1.1.2
            plane[np.isnan(plane)] = told.low
    spacing, aspect, notes = _sizes(stack, turn)
    instances = tuple(frame.instance for frame in stack.frames)
    return Volume(
        pixels=pixels,
        spacing=spacing,
        affine=turn.affine if turn and stack.even else None,
        directions=turn.directions if turn else None,
        window=window,
        contrast_hint=told.hint,
        other_contrast=told.other,
        name=name,
        notes=(*stack.notes, *told.notes, *notes),
        stored_affine=stack.affine if stack.even else None,
        dicom=DicomSource(
            told.common, instances[::-1] if turn and turn.reverses_slices else instances
        ),
        aspect=aspect,
    )


@dataclass
class _Told:
    """What the objects of a stack tell beside their pixels; see `Volume`."""

    common: pydicom.Dataset | None = None
    window: tuple[float, float] | None = None
    hint: str | None = None
    other: str | None = None
    notes: tuple[str, ...] = ()
    low: float = np.inf  # of all values but padding
    high: float = -np.inf


def _decode(
    frames: list[Frame],
    load: Callable[[int], pydicom.Dataset],
    stored: np.ndarray,
    name: str,
) -> _Told:
    """Write the physical values of each frame into `stored`, (Z, H, W), NaN for padding.

    Raises:
        DamagedObjects, ReadError: as `read_stack`.
    """
    places: dict[int, dict[int, int]] = {}  # by source: the slice that each of its frames becomes
    for place, frame in enumerate(frames):
        places.setdefault(frame.source, {})[frame.index] = place
    middle, told = frames[len(frames) // 2], _Told()
    mended: list[str] = []
    damaged: dict[int, str] = {}
    for source, wanted in places.items():
        try:
            with damage_refused(name, "DICOM"):
                dataset = load(source)
                mended += dataset.notes_of_mending
                for index, values in _images(dataset, sorted(wanted), name):
                    check_time()
                    stored[wanted[index]] = values
                    if not np.isnan(values).all():
                        told.low = min(told.low, float(np.nanmin(values)))
                        told.high = max(told.high, float(np.nanmax(values)))
        except ReadError as error:
            if len(places) == 1:
                raise
            damaged[source] = str(error)
            continue
        if source == frames[0].source:
            told.common = _without_pixels(dataset)
            if dicom_foreign(dataset)[0]:
                told.notes += (
                    f"The file's modality is {modality_of(dataset)}; the models learned MR images "
                    "only.",
                )
        if source == middle.source:
            told.window = dicom_values.window(dataset, middle.index)
            told.hint, told.other, _ = header_contrast(dataset, middle.index)
            told.notes += dicom_values.notes(dataset, middle.index)
    if damaged:
        raise DamagedObjects(damaged)
    component = middle.traits["component"]
    if component not in ("", MAGNITUDE):
        told.notes += (
            f"This is the {component} of the signal; the models learned magnitude images only.",
        )
    told.notes += tuple(dict.fromkeys(mended))[:MAX_MENDED]
    return told


def _sizes(
    stack: Stack, turn: Turn | None
) -> tuple[tuple[float, float, float] | None, tuple[float, float] | None, tuple[str, ...]]:
    """Spacing and aspect of the slices as they are shown, and notes on how they lie."""
    spacing, aspect = stack.spacing, stack.frames[0].aspect
    if turn is None:
        return spacing, None if spacing else aspect, (ORIENTATION_UNKNOWN,)
    between, row, column = spacing_of(turn.affine)  # the axes may have been exchanged
    if spacing is None:
        return None, (row, column) if aspect else None, turn.notes
    if not stack.is_cut:
        return (spacing[0], row, column), None, turn.notes
    note = (
        f"A {plane_of(stack.affine)} scan, shown and translated in axial cuts "
        f"({row:.1f} x {column:.1f} mm); exports lie on its own slices."
    )
    return (between, row, column), None, (*turn.notes, note)


def _outstanding(found: list[Stack], name: str) -> Stack:
    """The stack to take of one file's: the magnitude images, or the most images of one plane."""
    if len(found) == 1 and not found[0].refusal:
        return found[0]
    total = sum(len(stack.frames) for stack in found)
    magnitude = [stack for stack in found if stack.frames[0].traits["component"] == MAGNITUDE]
    if len(magnitude) == 1 and not magnitude[0].refusal:
        note = f"The file holds {len(found)} images per slice; the magnitude is shown."
        return replace(magnitude[0], notes=(*magnitude[0].notes, note))
    largest = max(found, key=lambda stack: len(stack.frames))
    if refusals := [stack.refusal for stack in found if stack.refusal]:
        raise ReadError(f"{name}: {refusals[0]}")
    if all(_cross(one, other) for one, other in combinations(found, 2)):
        placed = all(stack.affine is not None for stack in found)
        why = "lie in other planes" if placed else "do not say where they lie"
        note = f"{len(largest.frames)} of {total} images are shown; the others {why}."
        return replace(largest, notes=(*largest.notes, note))
    differing = dict.fromkeys(word for stack in found for word in _words(stack))
    words = ", ".join(list(differing)[:_NAMED]) + ", ..." * (len(differing) > _NAMED)
    raise ReadError(
        f"{name}: the file holds {total} frames at {len(largest.frames)} positions "
        f"({words or 'a time series or several echoes'}); export one image per slice."
    )


def _words(stack: Stack) -> list[str]:
    """What tells a stack of a file from the others."""
    component = stack.frames[0].traits["component"]
    return [str(component)] * bool(component) + list(stack.details.values())


def _cross(one: Stack, other: Stack) -> bool:
    """Whether the planes of two stacks are not parallel, or only one of them is known."""
    cosines = one.frames[0].cosines, other.frames[0].cosines
    if any(each is None for each in cosines):
        return any(each is not None for each in cosines)
    normals = [np.cross(*each) for each in cosines]
    return bool(abs(normals[0] @ normals[1]) < 0.99)


def _without_pixels(dataset: pydicom.Dataset) -> pydicom.Dataset:
    """A copy without pixel data, icons, overlays, curves, private and per-frame attributes."""
    kept = pydicom.Dataset()
    for tag in dataset.keys():  # raw elements are copied unparsed # noqa: SIM118
        repeating = tag.group in range(0x5000, 0x5100) or tag.group in range(0x6000, 0x6100)
        if not (tag.is_private or repeating or tag.group in (0x7FE0, 0xFFFC)):
            kept[tag] = dataset.get_item(tag)
    for keyword in ("PerFrameFunctionalGroupsSequence", "IconImageSequence"):
        kept.pop(keyword, None)
    kept.remove_private_tags()  # inside sequences
    return kept


def _images(
    dataset: pydicom.Dataset, indices: list[int], name: str
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield frame numbers, from 0 and rising, with their physical values, (H, W).

    Raises:
        ReadError: a frame is missing or cannot be decompressed; the compression is named.
    """
    syntax, wanted, done = dataset.file_meta.TransferSyntaxUID, set(indices), 0
    try:
        for index, stored in enumerate(dicom_decode.frames(dataset)):
            if index in wanted:
                single = dicom_values.shades(dataset, stored, name)
                yield index, dicom_values.physical(dataset, index, single)
                done += 1
    except Exception as error:
        if not syntax.is_encapsulated or isinstance(error, ReadError):
            raise
        raise ReadError(
            f"{name}: the compressed image ({syntax.name}) is damaged or of a variant that the "
            "decoder does not know; store it uncompressed, for example with gdcmconv --raw."
        ) from error
    if done != len(wanted):
        raise ReadError(
            f"{name}: the file ends after {done} of {len(wanted)} frames; copy it again."
        )
