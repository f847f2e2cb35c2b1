"""What is shown of a series under one key, and pixels as they go to the browser."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from cyclegan.model.preprocess import scale_intensity
from cyclegan.model.translator import CycleResult
from cyclegan.reading.volume import Volume
from cyclegan.server.errors import GoneError, UserError
from cyclegan.server.results import SliceResult, Target
from cyclegan.server.series import Real, Series

THUMBNAIL = 96  # pixels: 64 on a screen of higher density


class View(NamedTuple):
    """What the images under one key are made of.

    Attributes:
        series: of them all.
        target: of the synthetic ones.
        real_number: of the `Real` that they are compared with, or None.
    """

    series: Series
    target: Target
    real_number: int | None

    @classmethod
    def of(cls, series: Series) -> View:
        """What is on screen of a series."""
        real = series.real
        return cls(series, series.target, real.number if real and real.to == series.to else None)

    @property
    def real(self) -> Real | None:
        """That they are compared with, unless it was removed."""
        real = self.series.real
        return real if real is not None and real.number == self.real_number else None

    def stored(self, index: int) -> SliceResult:
        """What is there of slice `index`.

        Raises:
            GoneError, UserError: there is no such slice; it is not translated yet.
        """
        if not 0 <= index < self.series.slices:
            raise GoneError("There is no such slice.")
        result = self.series.results.get(self.target, index)
        if result is None:
            raise UserError("This slice is not translated yet.", 409)
        return result

    def result(self, index: int) -> CycleResult:
        """Slice `index` there and back, (H, W) float32 in [0, 1]; raises as `stored`."""
        result = self.stored(index)
        return CycleResult(self.series.original(index), result.translated, result.reconstructed)

    def whole(self) -> CycleResult:
        """All slices there and back, (Z, H, W); raises as `stored`."""
        results = [self.result(index) for index in range(self.series.slices)]
        names = ("source", "translated", "reconstructed")
        return CycleResult(*(np.stack([getattr(r, name) for r in results]) for name in names))

    def image(self, name: str, index: int) -> np.ndarray:
        """One image of a slice, (H, W) float32 in [0, 1].

        Args:
            name: "original", "translated", "reconstructed", "uncertainty" or "real"; of the last
                one 0 says that it does not reach there.
            index: of the slice.

        Raises:
            GoneError, UserError: there is no such image; it is not computed yet.
        """
        if name == "original" and 0 <= index < self.series.slices:
            return self.series.original(index)
        if name in ("translated", "reconstructed"):
            return getattr(self.stored(index), name)
        if name == "uncertainty":
            measured = self.stored(index).measured
            if measured is None:
                raise UserError("This slice is not measured yet.", 409)
            if measured.map is not None:
                return measured.map
        if name == "real" and self.real is not None and 0 <= index < self.series.slices:
            pixels, covered = self.real.truth.slice(index, self.series.volume.pixels.shape[1:])
            return np.where(covered, np.maximum(pixels, 1 / 65535), 0)
        raise GoneError("There is no such image.")


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
