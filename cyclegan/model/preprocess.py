"""From physical pixels to the network's grid and back, exactly on the same pixels.

Two steps, both remembered: `Scale` brings any real dtype to [0, 1], and `Frame` crops to
the head and resizes to the square grid of the network. `Frame.restore` lays a network output back
over the native matrix, pixel on pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from cyclegan.model.arrays import checked_spacing

# Measured on half of the 1,873 training slices: in 8-bit exports this percentile of the foreground
# is 0.93 to 1.00 of white (medians of the sources; one T1 source 0.78), so little changes.
HIGH_PERCENTILE = 99.8
# An image that fills one of these ranges was exported at the window someone chose for the whole
# series, and a top slice without bright fluid is dim there on purpose.
EXPORTED = (1, 255, 65535)
FILLED = 0.7  # share of the range that the high value must reach
FOREGROUND = 0.06  # share of the high value that counts as tissue once smoothed
BLACK = 0.005  # of the high value: less than two of 255 grey values
MASKED = 512  # pixels of the longer side from which on masks are found on a coarser grid
SMOOTHING = 1.5 / 256  # of the image's longer side
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


def head_mask(image: np.ndarray, sides: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Where the head is: smoothed above `FOREGROUND`, holes (skull, sinuses) filled.

    Args:
        image: (H, W) in [0, 1].
        sides: (row, column) sides of a pixel in any unit; smoothing is round in that unit.

    Returns:
        (H, W) bool; specks smaller than 2 % of the largest part are dropped. Of an image of more
        than `MASKED` pixels a side the outline is as fine as the smoothing that it comes from.
    """
    step = _step(image)
    return _refined(_head_mask(_coarse(image, step), sides), step, image.shape)


def _head_mask(image: np.ndarray, sides: tuple[float, float]) -> np.ndarray:
    sigma = _in_pixels(SMOOTHING, image, sides)
    mask = _fill_holes(ndimage.gaussian_filter(image, sigma) > FOREGROUND)
    parts, count = ndimage.label(mask)
    if count > 1:
        sizes = np.bincount(parts.ravel())[1:]
        mask = np.isin(parts, 1 + np.flatnonzero(sizes >= 0.02 * sizes.max()))
    return mask


def _in_pixels(share: float, image: np.ndarray, sides: tuple[float, float]) -> tuple[float, float]:
    """A share of the image's longer side as (rows, columns)."""
    (height, width), (row, column) = image.shape, sides
    length = share * max(height * row, width * column)
    return length / row, length / column


def head_without_rim(image: np.ndarray, sides: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """`head_mask` without the black rim that smoothing lays around it: there, air stays black.

    Around a skull-stripped brain nothing is left to translate, and a generator's answer reaches a
    pixel or two beyond its source. Only what is black and near the outline goes: dark fluid inside
    stays.

    Args:
        image, sides: as `head_mask` takes them.

    Returns:
        (H, W) bool.
    """
    step = _step(image)
    coarse = _coarse(image, step)
    head = _head_mask(coarse, sides)
    reach = [max(1, round(pixels)) for pixels in _in_pixels(2 * SMOOTHING, coarse, sides)]
    inner = ndimage.binary_erosion(head, iterations=min(reach), border_value=1)
    if further := max(reach) - min(reach):  # along the axis whose pixels are short
        line = np.ones((3, 1) if reach[0] > reach[1] else (1, 3))
        inner = ndimage.binary_erosion(inner, line, iterations=further, border_value=1)
    head, inner = (_refined(mask, step, image.shape) for mask in (head, inner))
    return head & (inner | (image >= BLACK))


def _step(image: np.ndarray) -> int:
    """How many pixels become one, each way, before a mask is looked for."""
    return max(1, max(image.shape) // MASKED)


def _coarse(image: np.ndarray, step: int) -> np.ndarray:
    """Means of `step` x `step` pixels; the last rows and columns are repeated where some lack."""
    if step == 1:
        return image
    lacking = [(0, -side % step) for side in image.shape]
    rows, columns = (
        (side + more) // step for side, (_, more) in zip(image.shape, lacking, strict=True)
    )
    return np.pad(image, lacking, "edge").reshape(rows, step, columns, step).mean((1, 3))


def _refined(mask: np.ndarray, step: int, shape: tuple[int, int]) -> np.ndarray:
    """A mask of `_coarse` pixels on those that they were made of."""
    return mask.repeat(step, 0).repeat(step, 1)[: shape[0], : shape[1]] if step > 1 else mask


def _fill_holes(mask: np.ndarray) -> np.ndarray:
    """As `scipy.ndimage.binary_fill_holes`, which dilates step by step and took most of the time
    of a head mask: here a hole is a gap that does not reach the border."""
    gaps, count = ndimage.label(~mask)
    outside = np.zeros(count + 1, bool)
    for border in (gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]):
        outside[border] = True
    outside[0] = False  # the mask itself
    return ~outside[gaps]


@dataclass(frozen=True)
class Frame:
    """A square window around the head in a native (height, width) matrix, and the way back.

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
        top, left, bottom, right = self._overlap()
        window = torch.zeros(len(images), 1, self.side, self.side)
        inside = torch.from_numpy(np.ascontiguousarray(images[:, top:bottom, left:right]))
        rows, columns = self._window(top, bottom, left, right)
        window[:, 0, rows, columns] = inside.float()
        return _resize(window, self.size).clamp(0, 1)  # bicubic weights overshoot at edges

    def restore(self, outputs: torch.Tensor) -> np.ndarray:
        """Lay (N, 1, size, size) back over the native matrix: (N, H, W) in [0, 1], air outside."""
        return self.lay(outputs)[:, 0].clip(0, 1)

    def lay(self, grids: torch.Tensor) -> np.ndarray:
        """Lay (N, C, size, size) of any values over the native matrix: (N, C, H, W) float32,
        zero outside."""
        window = _resize(grids.float(), self.side)
        top, left, bottom, right = self._overlap()
        rows, columns = self._window(top, bottom, left, right)
        laid = np.zeros((*grids.shape[:2], *self._raster()), np.float32)
        laid[..., top:bottom, left:right] = window[..., rows, columns].cpu().numpy()
        if self.raster is not None:
            laid = _resample(torch.from_numpy(laid), (self.height, self.width)).numpy()
        return laid

    @property
    def sides(self) -> tuple[float, float]:
        """(row, column) sides of a native pixel in pixels of the raster."""
        rows, columns = self._raster()
        return rows / self.height, columns / self.width

    def mirrored(self) -> Frame:
        """The frame of the images with left and right exchanged."""
        return replace(self, left=self._raster()[1] - self.left - self.side)

    def _raster(self) -> tuple[int, int]:
        return self.raster or (self.height, self.width)

    def _overlap(self) -> tuple[int, int, int, int]:
        """The part of the raster that the frame covers: top, left, bottom, right."""
        height, width = self._raster()
        return (
            max(self.top, 0),
            max(self.left, 0),
            min(self.top + self.side, height),
            min(self.left + self.side, width),
        )

    def _window(self, top: int, bottom: int, left: int, right: int) -> tuple[slice, slice]:
        """The same part inside the frame."""
        return (
            slice(top - self.top, bottom - self.top),
            slice(left - self.left, right - self.left),
        )


def square_raster(
    height: int, width: int, spacing: tuple[float, float] | None
) -> tuple[int, int] | None:
    """Height and width of a matrix in square pixels, None where it has them already.

    The finer of the two spacings is kept, up to `LARGEST_RASTER` pixels a side.

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
    if images.shape[-1] == size:
        return images
    return F.interpolate(
        images, size=(size, size), mode="bicubic", align_corners=False, antialias=True
    )
