"""Where the frames of a DICOM image lie, in which order, and how their values are scaled.

Classic objects say it once in the data set; enhanced ones in functional groups, shared or per
frame (PS3.3 C.7.6.16).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pydicom

from .geometry import is_usable
from .volume import ReadError

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Frames:
    """Frames to show, in order along the slice normal.

    Attributes:
        indices: frame numbers, from 0, in the order of the stack.
        affine: (4, 4) taking (column, row, slice, 1) of that stack to RAS+ mm, or None.
        spacing: (slice, row, column) mm, or None.
        window: (center, width) in rescaled values, or None.
        notes: sentences for the reader.
    """

    indices: list[int]
    affine: np.ndarray | None
    spacing: tuple[float, float, float] | None
    window: tuple[float, float] | None
    notes: tuple[str, ...]


def count(dataset: pydicom.Dataset) -> int:
    """NumberOfFrames, 1 where it is absent."""
    return int(dataset.get("NumberOfFrames") or 1)


def attribute(dataset: pydicom.Dataset, index: int, macro: str, keyword: str):
    """One attribute of a frame: per-frame group, else shared group, else data set, else None."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    groups = [per_frame[index]] if index < len(per_frame) else []
    groups += list(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]
    for group in groups:
        for item in list(group.get(macro) or ())[:1]:
            value = item.get(keyword)
            if value not in (None, ""):
                return value
    value = dataset.get(keyword)
    return None if value in (None, "") else value


def rescale(dataset: pydicom.Dataset, index: int) -> tuple[float, float] | None:
    """Slope and intercept of a frame's own macro, or None where the data set's own apply."""
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        return None
    macro = "PixelValueTransformationSequence"
    slope = attribute(dataset, index, macro, "RescaleSlope")
    intercept = attribute(dataset, index, macro, "RescaleIntercept")
    return None if slope is None else (float(slope), float(intercept or 0.0))


def order(dataset: pydicom.Dataset, name: str) -> Frames:
    """Sort frames by position and find their common geometry.

    Raises:
        ReadError: the frames are a time series, several echoes or the like, not one stack.
    """
    total = count(dataset)
    indices = list(range(total))
    window = _window(dataset)
    planes = [_plane(dataset, index) for index in indices]
    spacing = _spacing(dataset)
    enhanced = "PerFrameFunctionalGroupsSequence" in dataset
    if any(plane is None for plane in planes) or (total > 1 and not enhanced):
        return Frames(indices, None, spacing, window, ())
    normal = np.cross(*planes[0][1])
    if any(np.abs(plane[1] - planes[0][1]).max() > 1e-3 for plane in planes):
        note = "The frames lie in different planes."
        return Frames(indices, None, spacing, window, (note,))
    heights = np.array([plane[0] @ normal for plane in planes])
    tolerance = 1e-3 * (spacing[0] if spacing else 1.0)
    places = len(np.unique(np.round(heights / max(tolerance, 1e-6))))
    notes: tuple[str, ...] = ()
    if places < total:
        indices = _magnitude_frames(dataset, total, places, name)
        notes = (f"The file holds {total // places} images per slice; the magnitude is shown.",)
    indices = sorted(indices, key=lambda index: heights[index])
    return _stack(indices, planes, heights, spacing, window, notes)


def _stack(indices, planes, heights, spacing, window, notes) -> Frames:
    """Affine of sorted, parallel frames; PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1."""
    if spacing is None:
        return Frames(indices, None, None, window, notes)
    first, last = (planes[i][0] for i in (indices[0], indices[-1]))
    along_row, along_column = planes[indices[0]][1]
    step = spacing[0] * np.cross(along_row, along_column)
    if len(indices) > 1:
        step = (last - first) / (len(indices) - 1)
        gaps = np.diff(heights[indices])
        if gaps.max() > 1.1 * gaps.min():
            notes += (
                f"The distance between slices varies, {gaps.min():.1f} to {gaps.max():.1f} mm.",
            )
        spacing = (float(gaps.mean()), *spacing[1:])
    affine = np.eye(4)
    axes = np.stack([along_row * spacing[2], along_column * spacing[1], step], axis=1)
    affine[:3, :3] = _LPS_TO_RAS @ axes
    affine[:3, 3] = _LPS_TO_RAS @ first
    return Frames(indices, affine if is_usable(affine) else None, spacing, window, notes)


def _magnitude_frames(dataset: pydicom.Dataset, total: int, places: int, name: str) -> list[int]:
    """Of several frames per position the magnitude ones, if that names exactly one per position."""

    def kind(index: int) -> str:
        frame_type = attribute(dataset, index, "MRImageFrameTypeSequence", "FrameType")
        return str(frame_type[3]) if frame_type and len(frame_type) > 3 else ""

    chosen = [index for index in range(total) if kind(index) == "M"]
    if len(chosen) != places:
        raise ReadError(
            f"{name}: the file holds {total} frames at {places} positions (a time series or "
            "several echoes); export one image per slice."
        )
    return chosen


def _plane(dataset: pydicom.Dataset, index: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Position (3,) and unit direction cosines (2, 3) of a frame in LPS+ mm, or None."""
    position = attribute(dataset, index, "PlanePositionSequence", "ImagePositionPatient")
    cosines = attribute(dataset, index, "PlaneOrientationSequence", "ImageOrientationPatient")
    if position is None or cosines is None or len(position) != 3 or len(cosines) != 6:
        return None
    position = np.array(position, dtype=np.float64)
    cosines = np.array(cosines, dtype=np.float64).reshape(2, 3)
    lengths = np.linalg.norm(cosines, axis=1)
    if not np.isfinite(position).all() or np.abs(lengths - 1).max() > 0.01:
        return None
    return position, cosines / lengths[:, None]


def _spacing(dataset: pydicom.Dataset) -> tuple[float, float, float] | None:
    """(slice, row, column) mm of the first frame; a lone slice without thickness counts as 1 mm."""
    pixel = attribute(dataset, 0, "PixelMeasuresSequence", "PixelSpacing")
    if pixel is None or len(pixel) != 2:
        return None
    between = attribute(dataset, 0, "PixelMeasuresSequence", "SpacingBetweenSlices")
    thickness = attribute(dataset, 0, "PixelMeasuresSequence", "SliceThickness")
    spacing = (abs(float(between or 0)) or float(thickness or 0) or 1.0, *map(float, pixel))
    return spacing if all(np.isfinite(spacing)) and min(spacing) > 0 else None


def _window(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    """The first VOI window of the middle frame, (center, width); PS3.3 C.11.2."""
    middle = count(dataset) // 2
    values = [
        attribute(dataset, middle, "FrameVOILUTSequence", keyword)
        for keyword in ("WindowCenter", "WindowWidth")
    ]
    if any(value is None for value in values):
        return None
    center, width = (
        float(value[0] if isinstance(value, list | pydicom.multival.MultiValue) else value)
        for value in values
    )
    return (center, width) if np.isfinite([center, width]).all() and width > 0 else None
