"""Where the head is in a slice: the one place for thresholds of air and for head masks.

Three masks, for three questions. `head_mask`: what is framed, translated and trained on, on any
matrix. `head_without_rim`: what of it a translation may fill. `foreground`, `joint_head`: what
counts in a score, at the slice's own resolution, the same for everyone who compares.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

AIR = 0.02  # of white; a pixel by itself that is darker is no tissue
FOREGROUND = 0.06  # of white; what is brighter after a blur is tissue: Rician noise stays below
BLACK = 0.005  # of white: less than two of 255 grey values
MASKED = 512  # pixels of the longer side from which on masks are computed on a coarser grid
SMOOTHING = 1.5 / 256  # blur of the image, of its longer side
SCORE_BLUR = 1.5  # pixels; the same where a score is taken


def head_mask(image: np.ndarray, sides: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """The head to be framed: smoothed above `FOREGROUND`, holes (skull, sinuses) filled.

    Args:
        image: (H, W) in [0, 1].
        sides: (row, column) sides of a pixel in any unit; smoothing is round in that unit.

    Returns:
        (H, W) bool; specks smaller than 2 % of the largest part are dropped. Of an image of more
        than `MASKED` pixels a side the outline is as fine as the smoothing that it comes from.
    """
    coarse, step = _coarse(image)
    return _refined(_head_mask(coarse, sides), step, image.shape)


def head_without_rim(image: np.ndarray, sides: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """`head_mask` without the black rim that smoothing adds around it: there, air stays black.

    Around a skull-stripped brain nothing is left to translate, and a generator's output reaches a
    pixel or two beyond its source. Only what is black and near the outline goes: dark fluid inside
    stays.

    Args:
        image, sides: as `head_mask` takes them.

    Returns:
        (H, W) bool.
    """
    coarse, step = _coarse(image)
    head = _head_mask(coarse, sides)
    reach = [max(1, round(pixels)) for pixels in _in_pixels(2 * SMOOTHING, coarse, sides)]
    inner = ndimage.binary_erosion(head, iterations=min(reach), border_value=1)
    if further := max(reach) - min(reach):  # along the axis whose pixels are short
        line = np.ones((3, 1) if reach[0] > reach[1] else (1, 3))
        inner = ndimage.binary_erosion(inner, line, iterations=further, border_value=1)
    head, inner = (_refined(mask, step, image.shape) for mask in (head, inner))
    return head & (inner | (image >= BLACK))


def foreground(image: np.ndarray) -> np.ndarray:
    """Pixels of `image` ((H, W), [0, 1]) that are not air, holes filled: (H, W) bool."""
    return _fill_holes(_above_air(image))


def joint_head(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The head in two registered contrasts of one slice.

    `a` and `b`: (H, W) in [0, 1]. Returns (H, W) bool, true where either is above air, small gaps
    closed and holes filled, so that bone and fluid count in both contrasts. Empty when both are.
    """
    either = _above_air(np.maximum(a, b))
    return _fill_holes(ndimage.binary_closing(either, iterations=2))


def _above_air(image: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(np.asarray(image, np.float64), SCORE_BLUR) > FOREGROUND


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


def _coarse(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Means of `step` x `step` pixels, the last rows and columns repeated where some lack; and
    `step`."""
    step = max(1, max(image.shape) // MASKED)
    if step == 1:
        return image, 1
    lacking = [(0, -side % step) for side in image.shape]
    padded = np.pad(image, lacking, "edge")
    rows, columns = (side // step for side in padded.shape)
    return padded.reshape(rows, step, columns, step).mean((1, 3)), step


def _refined(mask: np.ndarray, step: int, shape: tuple[int, ...]) -> np.ndarray:
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
