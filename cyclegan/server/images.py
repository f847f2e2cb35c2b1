"""What was made of a series, slice by slice, bounded; and pixels as they go to the browser."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from cyclegan.model.preprocess import scale_intensity
from cyclegan.reading.volume import Volume
from cyclegan.server.limits import SERIES_RESULT_BYTES

if TYPE_CHECKING:
    from cyclegan.model.style import Style
    from cyclegan.server.fit import Fit

THUMBNAIL = 96  # pixels: 64 on a screen of higher density


class Target(NamedTuple):
    """What a series is translated to."""

    to: str
    style: Style | None


class Measured(NamedTuple):
    """Of one slice.

    Attributes:
        numbers: by the names of `calibration.MEASURES`.
        map: (H, W) float32 in shares of the grey range: the uncertainty, or where no map is worth
            it the interval around each value (`Calibration.shows_interval`), or None.
        fit: whether the slice by itself is what the direction needs, or None without a check.
    """

    numbers: dict[str, float]
    map: np.ndarray | None
    fit: Fit | None = None


@dataclass
class SliceResult:
    """There and back, (H, W) float32 in [0, 1], and what was measured of it."""

    translated: np.ndarray
    reconstructed: np.ndarray
    measured: Measured | None = None

    @property
    def nbytes(self) -> int:
        """Of its images."""
        error_map = self.measured.map if self.measured else None
        map_bytes = 0 if error_map is None else error_map.nbytes
        return self.translated.nbytes + self.reconstructed.nbytes + map_bytes


class Results:
    """Translated slices; those used least recently go first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slices: OrderedDict[tuple[Target, int], SliceResult] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Of all images."""
        with self._lock:
            return sum(result.nbytes for result in self._slices.values())

    def get(self, target: Target, index: int) -> SliceResult | None:
        """A slice, if it is there."""
        with self._lock:
            result = self._slices.get((target, index))
            if result is not None:
                self._slices.move_to_end((target, index))
            return result

    def indices(self, target: Target) -> set[int]:
        """Slices that are there."""
        with self._lock:
            return {index for key, index in self._slices if key == target}

    def add(self, target: Target, index: int, result: SliceResult) -> None:
        """Remember a slice."""
        with self._lock:
            self._slices[target, index] = result
            self._slices.move_to_end((target, index))
            total = sum(result.nbytes for result in self._slices.values())
            while total > SERIES_RESULT_BYTES and len(self._slices) > 1:
                total -= self._slices.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Forget everything; it can be computed again."""
        with self._lock:
            self._slices.clear()


def encode_uint16(pixels: np.ndarray) -> bytes:
    """(H, W) real in [0, 1] as little-endian uint16, row by row, 65535 standing for 1.

    Sixteen bits keep the depth that a narrow window shows; eight would band.
    """
    return np.rint(np.clip(pixels, 0, 1) * 65535).astype("<u2").tobytes()


def encode_png(pixels: np.ndarray, size: tuple[int, int] | None = None) -> bytes:
    """A grey PNG of (H, W) in [0, 1], resized to (width, height)."""
    picture = Image.fromarray(np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8))
    buffer = io.BytesIO()
    (picture.resize(size, Image.Resampling.BOX) if size else picture).save(buffer, "PNG")
    return buffer.getvalue()


def thumbnail(volume: Volume) -> bytes:
    """PNG of the middle slice, `THUMBNAIL` pixels on its longer side, in its proportions."""
    pixels = volume.pixels[len(volume.pixels) // 2]
    row, column = volume.pixel_spacing or (1.0, 1.0)
    height, width = pixels.shape[0] * row, pixels.shape[1] * column
    share = THUMBNAIL / max(height, width)
    size = max(1, round(share * width)), max(1, round(share * height))
    return encode_png(scale_intensity(pixels), size)
