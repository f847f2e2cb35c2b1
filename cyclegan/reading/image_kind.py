"""Whether something that can be read is an MR image: what its header, name and values say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pydicom
from pydicom.uid import UID

from cyclegan.reading.volume import ReadError

MOST_LABELS = 512  # FreeSurfer's wmparc has 180 labels, fine atlases 400
FEW_LABELS = 64  # beyond them values must lie far apart or be very flat: an image of 8 bits has 256
SPARSE = 0.2  # share of the numbers between lowest and highest that an atlas uses up to
# Share of equal neighbours. Measured: label maps of heads 0.81 to 0.94 at 1 mm, 0.65 or more at
# 2 mm; 400 real slices in 8 bits 0.53 at most, squeezed to 64 grey values 0.61 at most, 0.28 in
# the median.
FLAT, VERY_FLAT = 0.6, 0.85
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
    def labels(self) -> int:
        """Number of labels if its values are those of a mask or label map, else 0."""
        try:
            return count_labels(self.planes()) if self.planes else 0
        except ReadError:  # said when it is read
            return 0

    @property
    def not_mr(self) -> str:
        """Why it is certainly no MR image, as in "its modality is CT", or ""."""
        if self.foreign:
            return self.foreign
        if self.labels and (self.is_named_labels or self.labels <= 2):
            return f"it is a mask or label map of {self.labels} values"
        return ""


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


def count_labels(planes: Iterable[np.ndarray]) -> int:
    """Number of different values if they are labels: few whole numbers in flat areas; else 0.

    A real image of few grey values is not flat: noise and shading change it from pixel to pixel.

    Args:
        planes: (H, W) each, of one volume; only as many are taken as needed.
    """
    values: set[float] = set()
    equal = pairs = 0
    ground = None
    for plane in planes:
        if plane.dtype.kind == "f" and not np.array_equal(plane, np.round(plane)):  # or NaN
            return 0
        values.update(np.unique(plane).tolist())
        if len(values) > MOST_LABELS:
            return 0
        ground = plane[0, 0] if ground is None else ground
        for one, other in ((plane[1:], plane[:-1]), (plane[:, 1:], plane[:, :-1])):
            inside = (one != ground) & (other != ground)
            pairs += np.count_nonzero(inside)
            equal += np.count_nonzero(inside & (one == other))
        if len(values) > FEW_LABELS and pairs > ENOUGH and equal < FLAT * pairs:
            return 0  # soon, of most images
    count = len(values)
    if count <= 2:
        return count if count == 2 else 0
    sparse = count <= SPARSE * (max(values) - min(values) + 1)
    least = FLAT if count <= FEW_LABELS or sparse else VERY_FLAT
    return count if pairs and equal >= least * pairs else 0
