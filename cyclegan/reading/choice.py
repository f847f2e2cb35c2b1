"""One of the volumes that can be opened of the files that came together, and what kind it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from cyclegan.reading.volume import ReadError, Volume, damage_refused

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


@dataclass(frozen=True, eq=False)
class ImageKind:
    """What an image is, as far as it is known before it is read.

    Attributes:
        rank: of its contrast: 0 for a plain T1 or T2, 1 where nothing tells, 2 for any other.
        foreign: what it is instead of MR by its header, as in "its modality is CT", or "".
        is_unknown: whether a DICOM header leaves open what it is, as that of a screen capture.
        is_named_labels: whether its name or header calls it a mask or label map.
        planes: gives its values, (H, W) each; None where they need not be examined.
    """

    rank: int = 1
    foreign: str = ""
    is_unknown: bool = False
    is_named_labels: bool = False
    planes: Callable[[], Iterable[np.ndarray]] | None = None

    @property
    def is_mr(self) -> bool:
        """Whether it is MR, as far as a header says."""
        return not self.foreign and not self.is_unknown

    @cached_property
    def values(self) -> ValueStatistics:
        """What its values are; examined once."""
        try:
            with damage_refused("an image", "image"):  # named when it is read
                return value_statistics(self.planes()) if self.planes else ValueStatistics()
        except ReadError:
            return ValueStatistics()

    @property
    def looks_like_labels(self) -> bool:
        """Whether its values are rather those of a mask or label map than of an image."""
        values, named = self.values, self.is_named_labels
        return values.are_labels or values.may_be_labels or (named and values.equal > FLAT_IF_NAMED)

    @property
    def not_mr(self) -> str:
        """Why it is certainly no MR image, as in "its modality is CT", or ""."""
        if self.foreign:
            return self.foreign
        if self.values.count == 2 or (self.is_named_labels and self.looks_like_labels):
            return f"it is a mask or label map of {self.values.count} values"
        return ""


@dataclass(frozen=True, eq=False)
class Choice:
    """One volume that can be opened.

    Attributes:
        title: the file's name or the series' description, and the plane where it is known.
        shape: (Z, H, W) as it is shown.
        load: reads it; raises ReadError.
        details: what follows the size in the label.
        number: what ends it where several would be equal, as in " (1 of 2)".
        if_ambiguous: what follows where labels are equal and these differ, by what it is about.
        is_magnitude: whether it is no phase, real or imaginary part.
        kind: what kind of image it is.
        note: what to know of the file that it comes from, or "".
        why_main: why it is the one to read of its file if no choice is named, or "".
    """

    title: str
    shape: tuple[int, int, int]
    load: Callable[[], Volume]
    details: tuple[str, ...] = ()
    number: str = ""
    if_ambiguous: dict[str, str] = field(default_factory=dict)
    is_magnitude: bool = True
    kind: ImageKind = field(default_factory=ImageKind)
    note: str = ""
    why_main: str = ""

    @property
    def text(self) -> str:
        """The label without the size."""
        return ", ".join([self.title, *self.details]) + self.number

    @property
    def label(self) -> str:
        """What stands in a list of choices; nothing in it identifies the patient."""
        slices, rows, columns = self.shape
        size = f"{slices} slice{'s' * (slices != 1)}, {columns} x {rows}"
        return ", ".join([self.title, size, *self.details]) + self.number
