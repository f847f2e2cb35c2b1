"""Whether something that can be read is an MR image: what its header, name and values say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.uid import UID

from cyclegan.reading.volume import ReadError, damage_refused

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
_INTENT_LABEL = 1002  # nifti1.h; 2 to 24 are statistics
_INTENTS_OF_STATISTICS = range(2, 25)
# What is not told (OT, or nothing) may be MR; a capture of a screen calls itself anything.
_UNKNOWN = ("", "OT", "SC", "HC")
_CAPTURE = "Secondary Capture"
_BY_CLASS = (  # part of a storage class's name, its modality (PS3.6 A, PS3.3 C.7.3.1.1.1)
    ("Segmentation", "SEG"),
    ("RT Dose", "RTDOSE"),
    ("MR ", "MR"),
    ("CT ", "CT"),
    ("Positron", "PT"),
    ("PET", "PT"),
    ("Ultrasound", "US"),
    ("Nuclear", "NM"),
    ("X-Ray", "XA"),
    ("Digital ", "DX"),
    ("Computed Radiography", "CR"),
)


class NoMRImage(ReadError):
    """A file is whole, and holds something else than an image of MR."""


@dataclass(frozen=True, eq=False)
class ImageKind:
    """What an image is, as far as it is known before it is read.

    Attributes:
        rank: of its contrast: 0 for a plain T1 or T2, 1 where nothing tells, 2 for any other.
        foreign: what it is instead of MR by its header, as in "its modality is CT", or "".
        is_unknown: whether a DICOM header leaves open what it is, as that of a screen capture.
        is_named_labels: whether its name or header calls it a mask or label map.
        planes: gives its values, (H, W) each, for a look at them; None: not worth a look.
    """

    rank: int = 1
    foreign: str = ""
    is_unknown: bool = False
    is_named_labels: bool = False
    planes: Callable[[], Iterable[np.ndarray]] | None = None

    @cached_property
    def values(self) -> Values:
        """What its values are; looked at once."""
        try:
            with damage_refused("an image", "image"):  # said with its name when it is read
                return look_at_values(self.planes()) if self.planes else Values()
        except ReadError:
            return Values()

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


class Values(NamedTuple):
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


def dicom_foreign(dataset: pydicom.Dataset) -> tuple[str, bool]:
    """`ImageKind.foreign` and `ImageKind.is_unknown` of a DICOM object."""
    modality = modality_of(dataset)
    foreign = f"its modality is {modality}" if modality not in ("MR", *_UNKNOWN) else ""
    capture = _CAPTURE in UID(str(dataset.get("SOPClassUID") or "")).name
    # What tells nothing at all is believed to be MR, as other files are.
    return foreign, not foreign and (capture or modality in _UNKNOWN[1:])


def modality_of(dataset: pydicom.Dataset) -> str:
    """The modality by Modality (0008,0060), else by the storage class; "" where neither tells."""
    modality = str(dataset.get("Modality") or "").strip().upper()
    storage = UID(str(dataset.get("SOPClassUID") or "")).name
    by_class = next((name for part, name in _BY_CLASS if part in storage), "")
    # A segmentation or a dose keeps the modality of its source in some programs.
    if by_class in ("SEG", "RTDOSE") or not modality:
        return by_class
    return modality


def holds_no_image(dataset: pydicom.Dataset) -> str:
    """The name of a storage class without images, such as a report, or ""."""
    storage = UID(str(dataset.get("SOPClassUID") or ""))
    is_image = not storage.is_private and ("Image" in storage.name or "Map" in storage.name)
    return "" if is_image or storage.name == storage or not storage.name else storage.name


def intent_says(code: int) -> tuple[str, bool]:
    """`ImageKind.foreign` and `ImageKind.is_named_labels` by a NIfTI intent code."""
    statistics = code in _INTENTS_OF_STATISTICS
    return f"it is a statistical map (intent code {code})" if statistics else "", (
        code == _INTENT_LABEL
    )


def look_at_values(planes: Iterable[np.ndarray]) -> Values:
    """Look at the planes of one volume, (H, W) each, as many as are needed."""
    values: set[float] = set()
    equal = pairs = far = 0
    ground = None
    for plane in planes:
        if plane.dtype.kind == "f" and not np.array_equal(plane, np.round(plane)):  # or NaN
            return Values()
        found, ranks = np.unique(plane, return_inverse=True)
        values.update(found.tolist())
        if len(values) > MOST_LABELS:
            return Values()
        ground = plane[0, 0] if ground is None else ground
        ranks, inside = ranks.reshape(plane.shape), plane != ground
        for axis in (0, 1):
            steps = np.abs(np.diff(ranks, axis=axis))
            both = np.take(inside, range(1, inside.shape[axis]), axis) & np.take(
                inside, range(inside.shape[axis] - 1), axis
            )
            pairs += np.count_nonzero(both)
            equal += np.count_nonzero(both & (steps == 0))
            far += np.count_nonzero(both & (steps > 2))
        if len(values) > FEW_LABELS and pairs > ENOUGH and equal < FLAT_IF_NAMED * pairs:
            return Values()  # soon, of most images
    if len(values) < 2:
        return Values()
    sparse = len(values) <= SPARSE * (max(values) - min(values) + 1)
    return Values(len(values), equal / max(1, pairs), far / max(1, pairs - equal), sparse)
