"""From physical pixels to the network's grid and back, exactly on the same pixels.

Two steps, both remembered: `Scale` brings any real dtype to [0, 1], and `Frame` crops to
the head and resizes to the square grid of the network. `Frame.restore` resamples what the network
outputs onto the native matrix, pixel on pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from cyclegan.model.arrays import checked_spacing
from cyclegan.model.head import FOREGROUND, head_mask

# Measured on half of the 1,873 training slices: in 8-bit exports this percentile of the foreground
# is 0.93 to 1.00 of white (medians of the sources; one T1 source 0.78), so little changes.
HIGH_PERCENTILE = 99.8
# An image that fills one of these ranges was exported at the window someone chose for the whole
# series, and a top slice without bright fluid is dim there on purpose.
EXPORTED = (1, 255, 65535)
FILLED = 0.7  # share of the range that the high value must reach
MARGIN = 1.06  # the frame's side over the head's longer side
SQUARE = 1.005  # longer over shorter side of a pixel; up to here it counts as square
MOST_OBLONG = 8.0  # beyond it a spacing is a mistake, or the slice holds nothing to translate
LARGEST_RASTER = 1024  # pixels; finer than any grid of the network
SMALLEST_FRAME = 0.6  # of the image's longer side: a small top slice is not blown up to full size


@dataclass(frozen=True)
class Scale:
    """The physical values that become 0 and 1."""

    low: float
    high: float

    @classmethod
    def fit(cls, pixels: np.ndarray) -> Scale:
        """Fit to pixels of any shape and real dtype: a slice, or a whole volume.

        0 is the 0.5th percentile (air), 1 the 99.8th percentile of the foreground. An image that
        fills the range of an export ([0, 1], 8 or 16 bits) is taken as it is. Non-finite pixels do
        not count. `low == high` when the image is constant or empty.
        """
        values = _float32(pixels).ravel()
        values = values[np.isfinite(values)]
        if values.size > 4_000_000:  # every nth voxel gives the same percentiles sooner
            values = values[:: values.size // 2_000_000]
        if values.size == 0:
            return cls(0.0, 0.0)
        low, high = (float(v) for v in np.percentile(values, [0.5, 99.9]))
        if high > low and values.min() >= 0:
            for white in EXPORTED:
                if values.max() <= white and high >= FILLED * white:
                    return cls(0.0, float(white))
        foreground = values[values > low + FOREGROUND * (high - low)]
        if foreground.size == 0:  # fewer than 0.1 % of the pixels differ
            return cls(float(values.min()), float(values.max()))
        return cls(low, float(np.percentile(foreground, HIGH_PERCENTILE)))

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Scale to float32 in [0, 1], same shape; non-finite pixels become 0."""
        values = _float32(pixels)
        if not self.high > self.low:
            return np.zeros(values.shape, np.float32)
        scaled = np.clip((values - self.low) / (self.high - self.low), 0, 1)
        return np.nan_to_num(scaled, nan=0.0, copy=False)


def _float32(pixels: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and is dealt with
        return np.asarray(pixels, dtype=np.float32)


def scale_intensity(pixels: np.ndarray) -> np.ndarray:
    """Scale a slice or a volume to float32 in [0, 1] by its own percentiles; see `Scale`."""
    return Scale.fit(pixels).apply(pixels)


@dataclass(frozen=True)
class Frame:
    """A square window around the head in a native (height, width) matrix.

    `top`, `left` may be negative and `side` larger than the matrix: outside is air. Where pixels
    are not square, the window counts in the pixels of the `raster`, as many millimetres wide as
    high; the network never sees a stretched head.
    """

    height: int
    width: int
    top: int
    left: int
    side: int
    size: int
    raster: tuple[int, int] | None = None  # (height, width) in square pixels; None: the matrix

    @classmethod
    def fit(
        cls, image: np.ndarray, size: int = 256, spacing: tuple[float, float] | None = None
    ) -> Frame:
        """Fit a frame to the head in `image`.

        Args:
            image: (H, W) or (Z, H, W) in [0, 1]; a volume gets one frame around the head in all
                its slices, so that the anatomy keeps one scale.
            size: side of the network's grid in pixels.
            spacing: (row, column) distance between pixel centres, in any unit; None for square
                pixels. Only their proportion counts.
        """
        projection = image if image.ndim == 2 else image.max(axis=0)
        height, width = projection.shape
        raster = square_raster(height, width, spacing)
        if raster is not None:
            projection = _resample(torch.from_numpy(projection[None, None]).float(), raster)
            projection = projection[0, 0].clamp(0, 1).numpy()
        mask = head_mask(projection)
        rows, columns = mask.shape
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        else:
            rows, columns = np.arange(rows), np.arange(columns)
        extent = max(np.ptp(rows), np.ptp(columns)) + 1
        side = round(max(MARGIN * extent, SMALLEST_FRAME * max(mask.shape)))
        top = round((rows[0] + rows[-1] + 1 - side) / 2)
        left = round((columns[0] + columns[-1] + 1 - side) / 2)
        return cls(height, width, top, left, side, size, raster)

    def apply(self, images: np.ndarray) -> torch.Tensor:
        """Bring (N, H, W) in [0, 1] onto the grid: (N, 1, size, size) float32."""
        if self.raster is not None:
            native = torch.from_numpy(np.ascontiguousarray(images))[:, None].float()
            images = _resample(native, self.raster)[:, 0].numpy()
        inside, covered = self._overlap()
        window = torch.zeros(len(images), 1, self.side, self.side)
        window[:, 0, *covered] = torch.from_numpy(np.ascontiguousarray(images[:, *inside])).float()
        return _resize(window, self.size).clamp(0, 1)  # bicubic weights overshoot at edges

    def restore(self, grids: torch.Tensor) -> np.ndarray:
        """Resample (N, C, size, size) of any values onto the native matrix: (N, C, H, W) float32,
        zero outside the frame."""
        window = _resize(grids.float(), self.side)
        inside, covered = self._overlap()
        native = np.zeros((*grids.shape[:2], *self._raster()), np.float32)
        native[..., *inside] = window[..., *covered].cpu().numpy()
        if self.raster is not None:
            native = _resample(torch.from_numpy(native), (self.height, self.width)).numpy()
        return native

    @property
    def sides(self) -> tuple[float, float]:
        """(row, column) sides of a native pixel in pixels of the raster."""
        rows, columns = self._raster()
        return rows / self.height, columns / self.width

    def _raster(self) -> tuple[int, int]:
        return self.raster or (self.height, self.width)

    def _overlap(self) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Rows and columns that frame and raster share: in the raster, and in the frame."""
        inside, covered = [], []
        for start, length in zip((self.top, self.left), self._raster(), strict=True):
            first, last = max(start, 0), min(start + self.side, length)
            inside.append(slice(first, last))
            covered.append(slice(first - start, last - start))
        return tuple(inside), tuple(covered)


def square_raster(
    height: int, width: int, spacing: tuple[float, float] | None
) -> tuple[int, int] | None:
    """Height and width of a matrix in square pixels, None where it has them already.

    The finer of the two spacings is that of the result, up to `LARGEST_RASTER` pixels a side.

    Raises:
        ValueError: spacings that are not two positive numbers.
    """
    if spacing is None:
        return None
    row, column = checked_spacing(spacing)
    if not SQUARE < max(row, column) / min(row, column) <= MOST_OBLONG:
        return None
    fine = min(row, column)
    sides = height * row / fine, width * column / fine
    shrink = min(1.0, max(LARGEST_RASTER, height, width) / max(sides))
    rows, columns = (max(1, round(side * shrink)) for side in sides)
    return None if (rows, columns) == (height, width) else (rows, columns)


def _resample(images: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """As `_resize`, (N, C, H, W) -> (N, C, *shape), for pixels that change their proportion."""
    return F.interpolate(images, size=shape, mode="bicubic", align_corners=False, antialias=True)


def _resize(images: torch.Tensor, size: int) -> torch.Tensor:
    """Bicubic with antialiasing, (N, C, S, S) -> (N, C, size, size).

    Both ways use half-pixel centres, so that going there and back moves no structure.
    """
    return images if images.shape[-1] == size else _resample(images, (size, size))
