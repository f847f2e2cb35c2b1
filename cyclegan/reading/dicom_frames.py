"""The images of DICOM objects, as far as sorting needs to know them.

An image is a classic object or a frame of a multi-frame one; classic objects describe themselves
in the data set, enhanced ones in functional groups, shared or per frame (PS3.3 C.7.6.16).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import pydicom

from cyclegan.reading.dicom_attributes import attribute, count, number_of, values_of
from cyclegan.reading.dicom_marks import component_of, marks_of


@dataclass(frozen=True, eq=False)
class Frame:
    """One image, as far as sorting needs to know it.

    Attributes:
        source: place of its object in the list of objects.
        index: frame within that object, from 0.
        instance: SOP class UID, SOP instance UID, frame number from 1 or None (single-frame).
        position: (3,) of the first pixel in LPS+ mm, or None.
        cosines: (2, 3) unit directions along a row and down a column in LPS+, or None.
        spacing: (slice, row, column) mm, or None.
        traits: what differs between stacks: series, matrix, echo time, kind of image.
        rank: what orders images where nothing else does: their order in series and file.
        aspect: (row, column) sides of a pixel in proportion where `spacing` is None, or None.
        location: SliceLocation, for images that do not say where they lie.
        number: InstanceNumber.
        marks: which measurement of its place it is; see `dicom_marks.marks_of`.
        thickness: SliceThickness in mm, or None.
    """

    source: int
    index: int
    instance: tuple[str, str, int | None]
    position: np.ndarray | None
    cosines: np.ndarray | None
    spacing: tuple[float, float, float] | None
    traits: dict[str, object]
    rank: tuple[float, ...]
    aspect: tuple[float, float] | None = None
    location: float | None = None
    number: float | None = None
    marks: dict[str, Hashable] = field(default_factory=dict)
    thickness: float | None = None


def frames_of(dataset: pydicom.Dataset, source: int = 0) -> list[Frame]:
    """The images of one object; `source` is its place among the objects."""
    total = count(dataset)
    enhanced = "PerFrameFunctionalGroupsSequence" in dataset
    many = total > 1 or enhanced
    uids = str(dataset.get("SOPClassUID") or ""), str(dataset.get("SOPInstanceUID") or "")
    series = {
        "series": str(dataset.get("SeriesInstanceUID") or ""),
        "number": number_of(dataset.get("SeriesNumber")),
        # A multi-frame object is a stack of its own, unless it is a part of one (C.7.6.16.2.2.4).
        "object": str(dataset.get("ConcatenationUID") or uids[1] or source) if total > 1 else None,
        "matrix": (int(dataset.Rows), int(dataset.Columns)),
        "grey": str(dataset.get("PhotometricInterpretation")),
    }
    frames = []
    for index in range(total):
        position, cosines = _plane(dataset, index) if enhanced or total == 1 else (None, None)
        spacing = _spacing(dataset, index)
        stack = attribute(dataset, index, "FrameContentSequence", "StackID")
        echo = attribute(dataset, index, "MREchoSequence", "EffectiveEchoTime")
        kind = attribute(dataset, index, "MRImageFrameTypeSequence", "FrameType")
        traits = {
            **series,
            "stack": str(stack or ""),
            "echo": number_of(echo if echo is not None else dataset.get("EchoTime")),
            "kind": tuple(
                map(str, values_of(kind if kind is not None else dataset.get("ImageType")))
            ),
            "component": component_of(dataset, index),
        }
        number = number_of(dataset.get("InstanceNumber"))
        frames.append(
            Frame(
                source=source,
                index=index,
                instance=(*uids, index + 1 if many else None),
                position=position,
                cosines=cosines,
                spacing=spacing,
                traits=traits,
                aspect=None if spacing else _aspect(dataset),
                location=number_of(dataset.get("SliceLocation")),
                number=number,
                thickness=_thickness(dataset, index),
                marks=marks_of(dataset, index),
                rank=(number or 0.0, source, index),
            )
        )
    return frames


def _plane(dataset: pydicom.Dataset, index: int) -> tuple[np.ndarray, np.ndarray] | tuple:
    """`Frame.position` and `Frame.cosines`, or two Nones."""
    position = attribute(dataset, index, "PlanePositionSequence", "ImagePositionPatient")
    cosines = attribute(dataset, index, "PlaneOrientationSequence", "ImageOrientationPatient")
    if position is None or cosines is None or len(position) != 3 or len(cosines) != 6:
        return None, None
    position = np.array(position, dtype=np.float64)
    cosines = np.array(cosines, dtype=np.float64).reshape(2, 3)
    lengths = np.linalg.norm(cosines, axis=1)
    if not np.isfinite(position).all() or not np.abs(lengths - 1).max() <= 0.01:
        return None, None
    return position, cosines / lengths[:, None]


def _spacing(dataset: pydicom.Dataset, index: int) -> tuple[float, float, float] | None:
    """(slice, row, column) mm; a lone slice without thickness counts as 1 mm."""
    candidates = (
        attribute(dataset, index, "PixelMeasuresSequence", "PixelSpacing"),
        dataset.get("NominalScannedPixelSpacing"),
        dataset.get("ImagerPixelSpacing"),
    )
    pixel = next((c for c in candidates if _is_pair(c)), None)
    if pixel is None:
        return None
    between = attribute(dataset, index, "PixelMeasuresSequence", "SpacingBetweenSlices")
    thickness = _thickness(dataset, index)
    spacing = (abs(float(between or 0)) or thickness or 1.0, *map(float, pixel))
    return spacing if all(np.isfinite(spacing)) and min(spacing) > 0 else None


def _thickness(dataset: pydicom.Dataset, index: int) -> float | None:
    thickness = number_of(attribute(dataset, index, "PixelMeasuresSequence", "SliceThickness"))
    return thickness if thickness and 0 < thickness < float("inf") else None


def _aspect(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    """PixelAspectRatio: vertical and horizontal side of a pixel (PS3.3 C.7.6.3.1.7)."""
    sides = dataset.get("PixelAspectRatio")
    return tuple(map(float, sides)) if _is_pair(sides) else None


def _is_pair(values) -> bool:
    """Whether an attribute holds two positive numbers."""
    numbers = [number_of(value) for value in values_of(values)] if _is_multiple(values) else []
    return len(numbers) == 2 and all(n is not None and 0 < n < float("inf") for n in numbers)


def _is_multiple(values) -> bool:
    return values is not None and not isinstance(values, str) and hasattr(values, "__len__")
