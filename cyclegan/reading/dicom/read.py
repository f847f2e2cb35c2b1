"""Decode the images of a DICOM stack into a `Volume`: modality transformation, padding, window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, apply_modality_lut

from cyclegan.reading.archive import Member
from cyclegan.reading.deadline import check_time
from cyclegan.reading.dicom import decoder
from cyclegan.reading.dicom.contrast import foreign_modality, header_contrast, modality_of
from cyclegan.reading.dicom.frames import Frame
from cyclegan.reading.dicom.header import MAGNITUDE, FrameHeader, as_list, first_number
from cyclegan.reading.dicom.parse import parse, quiet
from cyclegan.reading.dicom.stacks import Stack, without
from cyclegan.reading.geometry import Reorientation, plane_of, spacing_of
from cyclegan.reading.volume import (
    ORIENTATION_UNKNOWN,
    DicomSource,
    NoMRImage,
    ReadError,
    Volume,
    check_claimed_size,
    damage_refused,
    first_of,
    grey,
    quoted,
)

MAX_REPAIR_NOTES = 8  # on numbers that could not be read; a broken writer breaks them all
_IGNORED_MAP = "The file's real-world value map is not one linear function; it is not applied."


def read_stack(stack: Stack, members: Mapping[int, Member], name: str) -> Volume:
    """Decode the images of a stack, in order; of several objects, those that are damaged are left
    out with a note.

    Args:
        stack: what to read, from `stacks.stacks`.
        members: the file of each `Frame.source`.
        name: file name for messages and for the volume.

    Raises:
        ReadError: pixels are missing, damaged or compressed in a way that has no decoder here.
    """
    depth, rows, columns = stack.shape
    check_claimed_size(name, rows, columns, depth)
    reorientation = stack.reorientation
    pixels = np.empty((reorientation or stack).shape, dtype=np.float32)
    stored = reorientation.stored_view(pixels) if reorientation else pixels
    with quiet():
        header, low, high = _decode(stack.frames, members, stored, name)
    if damaged := header["damaged"]:
        rest = without(stack, damaged.keys())
        if rest is None:
            raise next(iter(damaged.values()))
        volume = read_stack(rest, members, name)
        names = sorted(members[source].name for source in damaged)
        total = len({frame.source for frame in stack.frames})
        note = (
            f"{len(names)} of {total} files left out (damaged or truncated): "
            f"{first_of(map(quoted, names))}; the slices "
            "are missing here and in what is exported."
        )
        return replace(volume, notes=(note, *volume.notes))
    window = header.pop("window")
    if stack.frames[0].traits.photometric == "MONOCHROME1":  # darkest value is the highest one
        np.subtract(np.float32(low + high), pixels, out=pixels)
        window = (low + high - window[0], window[1]) if window else None
    if low < high:  # padding is outside the scanned field: as dark as air
        for plane in pixels:  # PS3.3 C.7.5.1.1.2
            plane[np.isnan(plane)] = low
    spacing, aspect, notes = _sizes(stack, reorientation)
    instances = tuple(frame.instance for frame in stack.frames)
    if reorientation and reorientation.reverses_slices:
        instances = instances[::-1]
    return Volume(
        pixels=pixels,
        spacing=spacing,
        affine=reorientation.affine if reorientation and stack.even else None,
        directions=reorientation.directions if reorientation else None,
        window=window,
        contrast_hint=header["hint"],
        other_contrast=header["other"],
        name=name,
        notes=(*stack.notes, *header["notes"], *notes),
        stored_affine=stack.affine if stack.even else None,
        dicom=DicomSource(header["common"], instances),
        aspect=aspect,
    )


def _decode(
    frames: list[Frame], members: Mapping[int, Member], stored: np.ndarray, name: str
) -> tuple[dict[str, Any], float, float]:
    """Write the physical values of each frame into `stored`, (Z, H, W), NaN for padding.

    Returns:
        What the objects say beside their pixels, with the error of each that is "damaged" where
        there are several; and the lowest and highest value but padding.
    """
    places: dict[int, dict[int, int]] = {}  # by source: the slice that each of its frames becomes
    for place, frame in enumerate(frames):
        places.setdefault(frame.source, {})[frame.index] = place
    middle, low, high = frames[len(frames) // 2], np.inf, -np.inf
    facts: dict[str, Any] = {}
    notes: list[str] = []
    repairs: list[str] = []
    damaged: dict[int, ReadError] = {}
    for source, slices in places.items():
        try:
            with damage_refused(name, "DICOM"):
                dataset = parse(members[source].data, members[source].name)
                repairs += dataset.repair_notes
                for index, physical in _images(dataset, slices, name):
                    check_time()
                    stored[slices[index]] = physical
                    low = min(low, float(np.fmin.reduce(physical, axis=None)))
                    high = max(high, float(np.fmax.reduce(physical, axis=None)))
        except ReadError as error:
            if len(places) == 1:
                raise
            damaged[source] = error
            continue
        if source == frames[0].source:
            facts["common"] = _without_pixels(dataset)
            if foreign_modality(dataset)[0]:
                modality = modality_of(dataset)
                notes.append(
                    f"The file's modality is {modality}; the models learned MR images only."
                )
        if source == middle.source:
            header = FrameHeader(dataset, middle.index)
            facts["window"] = _window(header)
            facts["hint"], facts["other"], _ = header_contrast(header)
            notes += (_IGNORED_MAP,) * _world_map(header)[1]
    component = middle.traits.component
    if component not in ("", MAGNITUDE):
        notes.append(
            f"This is the {component} of the signal; the models learned magnitude images only."
        )
    facts["damaged"] = damaged
    facts["notes"] = (*notes, *list(dict.fromkeys(repairs))[:MAX_REPAIR_NOTES])
    return facts, low, high


def _sizes(
    stack: Stack, reorientation: Reorientation | None
) -> tuple[tuple[float, float, float] | None, tuple[float, float] | None, tuple[str, ...]]:
    """Spacing and aspect of the slices as they are shown, and notes on how they lie."""
    spacing, aspect = stack.spacing, stack.frames[0].aspect
    if reorientation is None:
        return spacing, None if spacing else aspect, (ORIENTATION_UNKNOWN,)
    between, row, column = spacing_of(reorientation.affine)  # the axes may have been exchanged
    if spacing is None:
        return None, (row, column) if aspect else None, reorientation.notes
    if not stack.is_cut:
        return (spacing[0], row, column), None, reorientation.notes
    note = (
        f"A {plane_of(stack.affine)} scan, shown and translated in axial cuts "
        f"({row:.1f} x {column:.1f} mm); exports lie on its own slices."
    )
    return (between, row, column), None, (*reorientation.notes, note)


def _without_pixels(dataset: pydicom.Dataset) -> pydicom.Dataset:
    """A copy without pixel data, icons, overlays, curves, private and per-frame attributes."""
    copy = pydicom.Dataset()
    for tag in dataset.keys():  # raw elements are copied unparsed # noqa: SIM118
        repeating = tag.group in range(0x5000, 0x5100) or tag.group in range(0x6000, 0x6100)
        if not (tag.is_private or repeating or tag.group in (0x7FE0, 0xFFFC)):
            copy[tag] = dataset.get_item(tag)
    for keyword in ("PerFrameFunctionalGroupsSequence", "IconImageSequence"):
        copy.pop(keyword, None)
    copy.remove_private_tags()  # inside sequences
    return copy


def _images(
    dataset: pydicom.Dataset, indices: Iterable[int], name: str
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield frame numbers, from 0 and rising, with their physical values, (H, W).

    Raises:
        ReadError: a frame is missing or cannot be decompressed; the compression is named.
    """
    syntax, needed, done = dataset.file_meta.TransferSyntaxUID, set(indices), 0
    try:
        for index, stored in enumerate(decoder.frames(dataset)):
            if index in needed:
                single = shades(dataset, stored, name)
                yield index, _physical(FrameHeader(dataset, index), single)
                done += 1
    except Exception as error:
        if not syntax.is_encapsulated or isinstance(error, ReadError):
            raise
        raise ReadError(
            f"{name}: the compressed image ({syntax.name}) is damaged or of a variant that the "
            "decoder does not know; store it uncompressed, for example with gdcmconv --raw."
        ) from error
    if done != len(needed):
        raise ReadError(
            f"{name}: the file ends after {done} of {len(needed)} frames; copy it again."
        )


def shades(dataset: pydicom.Dataset, stored: np.ndarray, name: str) -> np.ndarray:
    """One channel of a frame: of screenshots and captures, which store shades of grey as colours.

    Args:
        dataset: the object.
        stored: (H, W), or (H, W, 3) RGB.
        name: file name for the message.

    Returns:
        (H, W), unchanged where there was one channel.

    Raises:
        NoMRImage: the colours are more than shades of grey.
    """
    colour = str(dataset.PhotometricInterpretation)
    try:
        if colour == "PALETTE COLOR":
            stored = apply_color_lut(stored, dataset)
        return grey(stored, name)
    except (ReadError, ValueError) as error:  # pydicom: there is no table of its colours
        raise NoMRImage(
            f"{name}: the DICOM image is in colour ({colour}); choose the original grey MR image."
        ) from error


def _physical(header: FrameHeader, stored: np.ndarray) -> np.ndarray:
    """Values of a frame after its real-world value map, else after its modality transformation.

    Args:
        header: of the frame.
        stored: (H, W) as stored.

    Returns:
        (H, W) of a real dtype; NaN where pixels are padding (PS3.3 C.7.5.1.1.2).
    """
    linear = _world_map(header)[0] or _rescale(header)
    if linear is None:
        values = apply_modality_lut(stored, header.dataset)
    elif linear == (1.0, 0.0):
        values = stored
    else:
        values = stored.astype(np.float64) * linear[0] + linear[1]
    padding = _padding(header.dataset, stored)
    if padding is not None and padding.any():
        values = values.astype(np.float64)
        values[padding] = np.nan
    return values


def _window(header: FrameHeader) -> tuple[float, float] | None:
    """(center, width) of a frame's first VOI window, in the values of `_physical`; PS3.3 C.11.2.

    LINEAR_EXACT and SIGMOID windows are taken like LINEAR ones: their shapes differ, their place
    on the scale does not.
    """
    center, width = (
        _first(header.first(("FrameVOILUTSequence", keyword)))
        for keyword in ("WindowCenter", "WindowWidth")
    )
    if center is None or width is None or not width > 0:
        return None
    if (world := _world_map(header)[0]) is not None:
        # The window counts in rescaled values (C.11.2.1.2.1), the picture in real-world ones.
        rescale = _rescale(header)
        if rescale is None or rescale[0] == 0:
            return None
        factor = world[0] / rescale[0]
        center, width = (center - rescale[1]) * factor + world[1], width * abs(factor)
    return center, width


def _rescale(header: FrameHeader) -> tuple[float, float] | None:
    """Slope and intercept of the modality transformation; None for a table (PS3.3 C.11.1)."""
    if header.dataset.get("ModalityLUTSequence"):
        return None
    macro = "PixelValueTransformationSequence"
    slope, intercept = (header.first((macro, f"Rescale{part}")) for part in ("Slope", "Intercept"))
    return (float(slope or 1.0), float(intercept or 0.0))  # a slope of 0 is one never set


def _world_map(header: FrameHeader) -> tuple[tuple[float, float] | None, bool]:
    """Slope and intercept of a single linear real-world value map, and whether others are left.

    PS3.3 C.7.6.16.2.11; tables and several maps (of several quantities) are not applied.
    """
    maps = header.items("RealWorldValueMappingSequence")
    if len(maps) != 1:
        return None, bool(maps)
    slope, intercept = (
        _first(maps[0].get(f"RealWorldValue{part}")) for part in ("Slope", "Intercept")
    )
    if not slope or intercept is None or "RealWorldValueLUTData" in maps[0]:
        return None, True
    return (slope, intercept), False


def _padding(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray | None:
    """Mask of PixelPaddingValue, or the range it spans with PixelPaddingRangeLimit."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return _undeclared_padding(stored)
    if stored.dtype.kind == "f":
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    # Writers get the sign of this element wrong; compare in the bits that are stored.
    bits = 8 * stored.dtype.itemsize
    ends = [int(value), int(value if limit is None else limit)]
    if stored.dtype.kind == "i":
        ends = [end - 2**bits if end >= 2 ** (bits - 1) else end for end in ends]
    else:
        ends = [end % 2**bits for end in ends]
    return (stored >= min(ends)) & (stored <= max(ends))


def _undeclared_padding(stored: np.ndarray) -> np.ndarray | None:
    """Mask of the lowest 16-bit number where it stands alone, far below all else."""
    lowest = -(2**15)
    if stored.dtype.kind != "i" or stored.min() != lowest:
        return None
    padding = stored == lowest
    rest = stored[~padding]
    return padding if rest.size and rest.min() > lowest // 2 else None


def _first(values) -> float | None:
    """The first of one or several numbers, None where it is not finite."""
    return first_number(as_list(values)[:1])
