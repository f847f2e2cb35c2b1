"""Whether the values of a volume are those of a mask or label map rather than of an image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

MOST_LABELS = 512  # FreeSurfer's wmparc has 180 labels, fine atlases 400
FEW_LABELS = 64  # beyond them values must lie far apart or be very flat: an image of 8 bits has 256
FEW_TISSUES = 8  # up to here neighbours differ little: no real image has so few grey values
SPARSE = 0.2  # share of the numbers between lowest and highest that an atlas uses up to
# Share of equal neighbours, and of the others those further apart than two values. Measured, lowest
# and median: label maps of heads 0.81, 0.86 at 1 mm, 0.65, 0.73 at 2 mm, 0.44, 0.56 at 4 mm, and
# 0.15, 0.53; 300 real slices in 8 bits 0.53 at most, squeezed to 64 grey values 0.28 in the median.
# 2 % of those and 11 % of those squeezed to 16 pass FLAT and FAR.
FLAT, VERY_FLAT, FAR = 0.6, 0.85, 0.12
FLAT_IF_FAR, VERY_FAR = 0.5, 0.3  # enough to open another image first, not to leave it out
FLAT_IF_NAMED = 0.4
ENOUGH = 100_000  # neighbours that tell whether an image is flat


class ValueStatistics(NamedTuple):
    """What the values of an image are, if they are few whole numbers; else all zero.

    Attributes:
        count: how many different ones there are.
        equal: share of neighbours, background aside, that are equal.
        far: share of the others with more than one value between theirs.
        is_sparse: whether few of the numbers between the lowest and the highest are used.
    """

    count: int = 0
    equal: float = 0.0
    far: float = 0.0
    is_sparse: bool = False

    @property
    def are_labels(self) -> bool:
        """Whether they lie in flat areas, as labels do. A real image of few grey values is not
        flat: noise and shading change it from pixel to pixel."""
        if self.count <= FEW_TISSUES:
            return self.count == 2 or self.equal >= FLAT
        least = FLAT if self.count <= FEW_LABELS or self.is_sparse else VERY_FLAT
        return self.equal >= least and self.far >= FAR

    @property
    def may_be_labels(self) -> bool:
        """Whether they are those of a coarse label map, or of an image that is nearly as flat."""
        few = self.count <= FEW_LABELS or self.is_sparse
        return few and self.equal >= FLAT_IF_FAR and self.far >= VERY_FAR


def value_statistics(planes: Iterable[np.ndarray]) -> ValueStatistics:
    """Examine the planes of one volume, (H, W) each, as many as are needed."""
    values: set[float] = set()
    equal = pairs = far = 0
    ground = None
    for plane in planes:
        if plane.dtype.kind == "f" and not np.array_equal(plane, np.round(plane)):  # or NaN
            return ValueStatistics()
        levels, ranks = np.unique(plane, return_inverse=True)
        values.update(levels.tolist())
        if len(values) > MOST_LABELS:
            return ValueStatistics()
        ground = plane[0, 0] if ground is None else ground
        ranks, inside = ranks.reshape(plane.shape), plane != ground
        for axis in (0, 1):
            steps = np.abs(np.diff(ranks, axis=axis))
            both = np.delete(inside, 0, axis) & np.delete(inside, -1, axis)
            pairs += np.count_nonzero(both)
            equal += np.count_nonzero(both & (steps == 0))
            far += np.count_nonzero(both & (steps > 2))
        if len(values) > FEW_LABELS and pairs > ENOUGH and equal < FLAT_IF_NAMED * pairs:
            return ValueStatistics()  # soon, of most images
    if len(values) < 2:
        return ValueStatistics()
    sparse = len(values) <= SPARSE * (max(values) - min(values) + 1)
    return ValueStatistics(len(values), equal / max(1, pairs), far / max(1, pairs - equal), sparse)
