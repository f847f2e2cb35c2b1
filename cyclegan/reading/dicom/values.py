"""From stored DICOM values to the ones that are shown: modality transformation, padding, window."""

from __future__ import annotations

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, apply_modality_lut

from cyclegan.reading.dicom.header import FrameHeader, as_list, first_number
from cyclegan.reading.grey import grey
from cyclegan.reading.volume import NoMRImage, ReadError

_IGNORED_MAP = "The file's real-world value map is not one linear function; it is not applied."


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


def physical(header: FrameHeader, stored: np.ndarray) -> np.ndarray:
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


def window(header: FrameHeader) -> tuple[float, float] | None:
    """(center, width) of a frame's first VOI window, in the values of `physical`; PS3.3 C.11.2.

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


def notes(header: FrameHeader) -> tuple[str, ...]:
    """What to know of how a frame's values came about."""
    return (_IGNORED_MAP,) if _world_map(header)[1] else ()


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
