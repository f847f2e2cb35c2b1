"""One of the volumes that can be opened of the files that came together, and what kind it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cyclegan.reading.label_maps import FLAT_IF_NAMED, ValueStatistics, value_statistics
from cyclegan.reading.volume import ReadError, Volume, damage_refused


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
    if_ambiguous: dict[str, str] = field(default_factory=dict)
    is_magnitude: bool = True
    kind: ImageKind = field(default_factory=ImageKind)
    note: str = ""
    why_main: str = ""

    @property
    def text(self) -> str:
        """The label without the size."""
        return ", ".join([self.title, *self.details])

    @property
    def label(self) -> str:
        """What stands in a list of choices; nothing in it identifies the patient."""
        slices, rows, columns = self.shape
        size = f"{slices} slice{'s' * (slices != 1)}, {columns} x {rows}"
        return ", ".join([self.title, size, *self.details])
