"""Label maps beside the brain, from code: the neck below it, the top of the head above it.

What the translation was never trained on, so that the input check can learn to say so. Labels as in
`phantom.py`; 256 mm field of view, anterior up.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cyclegan.simulation.phantom_head import (
    BONE,
    EYE_FLUID,
    FAT,
    FIELD_OF_VIEW_MM,
    MARROW,
    MUCOSA,
    MUSCLE,
    SKIN,
)

CORD = 16  # as the brainstem
AIR = 0


def sample_neck(rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """An axial slice through the neck, between the jaw and the thyroid.

    Muscles and fat around a vertebra with the spinal cord in its canal, the airway in front of it,
    large vessels beside it; half of the slices cut the jaw, too.

    Returns:
        (size, size) uint16 labels.
    """
    pixel = FIELD_OF_VIEW_MM / size
    y, x = (np.mgrid[:size, :size] - (size - 1) / 2) * pixel  # mm, y backwards
    x = x - rng.normal(0, 2)
    grain = _noise(rng, size, 3.0 / pixel)
    coarse = _noise(rng, size, 12.0 / pixel)
    half_width, half_depth = rng.uniform(48, 72), rng.uniform(50, 75)
    depth = (1 - np.hypot(x / half_width, y / half_depth)) * min(half_width, half_depth)
    depth = depth + rng.uniform(0, 2.5) * coarse
    labels = np.where(depth > 0, SKIN, AIR)
    labels = np.where(depth > 2, FAT, labels)
    rim = rng.uniform(3, 12) * np.where(y > 0, rng.uniform(1, 1.8), 1)  # thicker at the nape
    labels = np.where(depth > rim + coarse, MUSCLE, labels)
    strand = np.abs(grain) < rng.uniform(0.08, 0.3)
    labels = np.where((labels == MUSCLE) & strand, FAT, labels)
    # Vertebra: body, arch and spinous process around the canal.
    back = rng.uniform(-5, 12)
    body = np.hypot(x / rng.uniform(10, 15), (y - back) / rng.uniform(7, 11))
    labels = _bone(labels, body, grain)
    middle = back + rng.uniform(16, 20)
    arch = np.hypot(x / rng.uniform(17, 24), (y - middle) / rng.uniform(10, 14))
    labels = _bone(labels, arch, grain)
    if rng.random() < 0.6:
        spine = np.hypot(x / rng.uniform(3, 6), (y - middle - 18) / rng.uniform(12, 20))
        labels = _bone(labels, spine, grain)
    canal = np.hypot(x / rng.uniform(9, 13), (y - middle) / rng.uniform(6, 9))
    labels = np.where(canal < 1, EYE_FLUID, labels)
    cord = np.hypot(x / rng.uniform(5, 7.5), (y - middle) / rng.uniform(3.5, 5.5))
    labels = np.where(cord < 1, CORD, labels)
    # Airway, and glands or vessels on both sides.
    front = back - rng.uniform(16, 30)
    airway = np.hypot(x / rng.uniform(5, 15), (y - front) / rng.uniform(3, 9))
    labels = np.where(airway < 1.35, MUCOSA, labels)
    labels = np.where(airway < 1, BONE, labels)
    for side in (-1, 1):
        where = side * rng.uniform(20, 32), back - rng.uniform(-4, 14)
        for radius, label in ((rng.uniform(3, 6), BONE), (rng.uniform(2, 4), EYE_FLUID)):
            place = np.add(where, rng.normal(0, 5, 2))
            labels = np.where(np.hypot(x - place[0], y - place[1]) < radius, label, labels)
        gland = np.hypot((x - side * rng.uniform(26, 45)) / 12, (y - front) / rng.uniform(8, 18))
        if rng.random() < 0.6:
            labels = np.where((gland + 0.1 * grain < 1) & (depth > rim), MUCOSA, labels)
    if rng.random() < 0.5:
        jaw = np.hypot(x / rng.uniform(36, 46), (y - front) / rng.uniform(40, 52))
        wide = rng.uniform(0.18, 0.3)
        ahead = (y < front + 10) & (depth > 4)
        labels = np.where(ahead, _bone(labels, np.abs(jaw - 1) / wide, grain), labels)
    return labels.astype(np.uint16)


def sample_top(rng: np.random.Generator, labels: np.ndarray, pixel: float = 1.0) -> np.ndarray:
    """The top of a head whose highest slices are known: scalp and skull cut at a slant, no brain.

    Near the vertex a slice runs along the layers, so each is several times as wide as it is thick,
    and next to nothing is left of the inside.

    Args:
        labels: (S, S) label map of a high slice; its outline is used.
        pixel: side of a pixel in mm.

    Returns:
        (S, S) uint16 labels.
    """
    size = labels.shape[-1]
    outline = ndimage.binary_fill_holes(labels > AIR)
    depth = ndimage.distance_transform_edt(outline) * pixel
    depth = depth + rng.uniform(0.5, 2) * _noise(rng, size, 8.0 / pixel)
    grain = _noise(rng, size, 2.0 / pixel)
    scalp = rng.uniform(0.15, 1) * depth.max()  # as wide as it is cut
    # What is left of the inside, at most a twentieth of the slice: fluid, or the last gyri.
    inside = max(scalp, float(np.quantile(depth[outline], rng.uniform(0.95, 1))))
    table = rng.uniform(1, 5)
    top = np.where(outline, SKIN, AIR)
    top = np.where(outline & (depth > 2), FAT, top)
    if rng.random() < 0.5:
        top = np.where(depth > 0.8 * scalp, MUSCLE, top)
    top = np.where(depth > scalp, np.where(grain < rng.uniform(0, 3), MARROW, BONE), top)
    edge = np.minimum(depth - scalp, np.abs(inside - depth))
    top = np.where((depth > scalp) & (edge < table), BONE, top)
    top = np.where(depth > inside + table, rng.choice([EYE_FLUID, MUCOSA]), top)
    return top.astype(np.uint16)


def _bone(labels: np.ndarray, radius: np.ndarray, grain: np.ndarray) -> np.ndarray:
    """A bone where `radius` is below 1: marrow within a hard shell."""
    labels = np.where(radius < 1, BONE, labels)
    return np.where((radius < 0.82) & (grain < 1.2), MARROW, labels)


def _noise(rng: np.random.Generator, size: int, sigma: float) -> np.ndarray:
    """Smooth unit-variance noise, (size, size)."""
    field = ndimage.gaussian_filter(rng.standard_normal((size, size)), sigma)
    return field / field.std()
