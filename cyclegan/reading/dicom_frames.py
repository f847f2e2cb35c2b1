"""Which images of DICOM objects form stacks, in which order, and where they lie.

An image is a classic object or a frame of a multi-frame one; classic objects describe themselves
in the data set, enhanced ones in functional groups, shared or per frame (PS3.3 C.7.6.16).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pydicom

from cyclegan.reading.geometry import Turn, is_usable, leafed_axis, turn_for_reading

MAX_UNEVEN = 0.05  # of the slice distance; scanners round positions, a missing slice is off by 1
_SAME_PLANE = 2e-3  # largest difference of direction cosines; scanners round them to 4 digits
_SAME_ECHO = 1e-3  # relative; no protocol has two echoes so close, but programs round differently
_TIMES = ("TemporalPositionIdentifier", "AcquisitionNumber", "AcquisitionTime", "TriggerTime")
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


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
        traits: what differs between stacks: series, matrix, spacing, echo time, kind of image.
        rank: what orders images of one position: time, then their order in file and series.
        aspect: (row, column) sides of a pixel in proportion where `spacing` is None, or None.
        location: SliceLocation, for images that do not say where they lie.
        number: InstanceNumber.
        time: what differs between images of one position that were taken one after the other.
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
    time: tuple[str, ...] = ()
    thickness: float | None = None


@dataclass(frozen=True, eq=False)
class Stack:
    """Images to leaf through, in order along the slice normal.

    Attributes:
        frames: one per slice.
        affine: (4, 4) taking (column, row, slice, 1) to RAS+ mm, or None. Where the slices are
            not `even` it tells the plane and its directions only.
        even: whether the slices lie in a row at one distance, so that an affine places them.
        spacing: (slice, row, column) mm, or None.
        notes: sentences for the reader.
        repeat: (which, of how many) where there are several images of the same place, else None.
    """

    frames: list[Frame]
    affine: np.ndarray | None
    even: bool
    spacing: tuple[float, float, float] | None
    notes: tuple[str, ...]
    repeat: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, H, W) as acquired."""
        rows, columns = self.frames[0].traits["matrix"]  # type: ignore[misc] # traits are of any type
        return len(self.frames), rows, columns

    @property
    def turn(self) -> Turn | None:
        """How the stack is turned for reading, and cut axially where it is a volume; None where
        it is not known how it lies."""
        if self.affine is None:
            return None
        return turn_for_reading(self.affine, self.shape, self._leafed)

    @property
    def is_cut(self) -> bool:
        """Whether the shown slices lie across the acquired ones."""
        return self._leafed != 2

    @property
    def _leafed(self) -> int:
        if self.affine is None or not self.even:
            return 2
        thickness = self.frames[0].thickness
        return leafed_axis(self.affine, self.shape[::-1], acquired=2, thickness=thickness)


def count(dataset: pydicom.Dataset) -> int:
    """NumberOfFrames, 1 where it is absent."""
    return int(dataset.get("NumberOfFrames") or 1)


def attribute(dataset: pydicom.Dataset, index: int, macro: str, keyword: str):
    """One attribute of a frame: per-frame group, else shared group, else data set, else None."""
    places = [found[0] for group in _groups(dataset, index) if (found := group.get(macro))]
    values = (place.get(keyword) for place in (*places, dataset))
    return next((value for value in values if value not in (None, "")), None)


def items(dataset: pydicom.Dataset, index: int, macro: str) -> list[pydicom.Dataset]:
    """Items of a functional group of a frame: its own ones, else shared ones."""
    found = (group.get(macro) for group in _groups(dataset, index))
    return next((list(each) for each in found if each), [])


def _groups(dataset: pydicom.Dataset, index: int) -> list[pydicom.Dataset]:
    """The functional groups of a frame, its own before the shared ones."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    own = [per_frame[index]] if index < len(per_frame) else []
    return own + list(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]


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
        content = {
            keyword: attribute(dataset, index, "FrameContentSequence", keyword)
            for keyword in ("StackID", "TemporalPositionIndex", "FrameAcquisitionNumber")
        }
        echo = attribute(dataset, index, "MREchoSequence", "EffectiveEchoTime")
        kind = attribute(dataset, index, "MRImageFrameTypeSequence", "FrameType")
        traits = {
            **series,
            "stack": str(content["StackID"] or ""),
            "pixel": tuple(np.round(spacing[1:], 4)) if spacing else None,
            "echo": number_of(echo if echo is not None else dataset.get("EchoTime")),
            "kind": tuple(
                map(str, values_of(kind if kind is not None else dataset.get("ImageType")))
            ),
        }
        rank = (
            content["TemporalPositionIndex"],
            dataset.get("TemporalPositionIdentifier"),
            content["FrameAcquisitionNumber"],
            dataset.get("AcquisitionNumber"),
            dataset.get("InstanceNumber"),
            source,
            index,
        )
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
                number=number_of(dataset.get("InstanceNumber")),
                thickness=_thickness(dataset, index),
                time=tuple(str(dataset.get(keyword) or "") for keyword in _TIMES),
                rank=tuple(number_of(value) or 0.0 for value in rank),
            )
        )
    return frames


def stacks(frames: Iterable[Frame]) -> list[Stack]:
    """Group images by their traits and plane, and sort each group along its normal.

    Images of the same place (a time series, repeated scans) come apart into stacks with one image
    per place, in order of time.
    """
    groups: dict[tuple, list[list[Frame]]] = {}
    frames = list(frames)
    echo = _one_echo(frames)
    for frame in frames:
        traits = {**frame.traits, "echo": echo[frame.traits["echo"]]}
        alike = groups.setdefault(tuple(traits.values()), [])
        for group in alike:
            if _same_plane(frame, group[0]):
                group.append(frame)
                break
        else:
            alike.append([frame])
    found = []
    for group in (group for alike in groups.values() for group in alike):
        ordered = sorted(group, key=lambda frame: frame.rank)
        if ordered[0].cosines is None:
            ordered, notes = _listed(ordered)
            found.append(Stack(ordered, None, False, ordered[0].spacing, notes))
            continue
        places = _places(ordered)
        if len(places) == 1 and (listed := _told_apart(ordered)):
            found.append(_unplaced(*listed))
            continue
        repeats = max(map(len, places))
        for which in range(repeats):
            chosen = [place[which] for place in places if which < len(place)]
            found.append(_placed(chosen, (which + 1, repeats) if repeats > 1 else None))
    return found


def _listed(frames: list[Frame]) -> tuple[list[Frame], tuple[str, ...]]:
    """Images without a place in the patient, in the best order there is, and a note on it."""
    if len(frames) == 1 or len({frame.source for frame in frames}) == 1:  # the file's own order
        return frames, ()
    if told := _told_apart(frames):
        return told
    note = "Nothing in the files tells the order of the slices; they are in the order of the files."
    return frames, (note,)


def _told_apart(frames: list[Frame]) -> tuple[list[Frame], tuple[str, ...]] | None:
    """Images in the order of their slice locations or numbers, or None where neither tells.

    Numbers alone do not make a stack of images that were taken one after the other.
    """
    count = len(frames)
    if count == 1 or len({frame.source for frame in frames}) < count:
        return None
    at_one_time = frames[0].cosines is None or len({frame.time for frame in frames}) == 1
    for keyword, values in (
        ("SliceLocation", [frame.location for frame in frames]),
        ("InstanceNumber", [frame.number for frame in frames] if at_one_time else []),
    ):
        if None not in values and len(set(values)) == count:
            order = sorted(range(count), key=values.__getitem__)
            note = f"No usable positions of the slices: they are in the order of {keyword}."
            return [frames[index] for index in order], (note,)
    return None


def _unplaced(frames: list[Frame], notes: tuple[str, ...]) -> Stack:
    """A stack of images that all claim one place: their plane is known, their distance is not."""
    one = _placed(frames[:1], None)
    return Stack(frames, one.affine, False, one.spacing, notes)


def _same_plane(frame: Frame, other: Frame) -> bool:
    if frame.cosines is None or other.cosines is None:
        return frame.cosines is other.cosines
    return bool(np.abs(frame.cosines - other.cosines).max() <= _SAME_PLANE)


def _places(frames: list[Frame]) -> list[list[Frame]]:
    """Parallel images by height along their normal, those of one height together, in order."""
    normal = np.cross(*frames[0].cosines)
    heights = np.array([frame.position @ normal for frame in frames])
    tolerance = 0.01 * (frames[0].spacing[0] if frames[0].spacing else 1.0)
    order = np.argsort(heights, kind="stable")
    places: list[list[Frame]] = []
    for before, at in zip([None, *order[:-1]], order, strict=True):
        if before is None or heights[at] - heights[before] > tolerance:
            places.append([])
        places[-1].append(frames[at])
    return [sorted(place, key=lambda frame: frame.rank) for place in places]


def _placed(frames: list[Frame], repeat: tuple[int, int] | None) -> Stack:
    """Affine of sorted, parallel frames; PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1."""
    size, (along_row, along_column) = frames[0].spacing, frames[0].cosines
    spacing = size or (1.0, *(frames[0].aspect or (1.0, 1.0)))
    positions = np.array([frame.position for frame in frames])
    step = spacing[0] * np.cross(along_row, along_column)
    even, notes = True, ()
    if len(frames) > 1:
        step = (positions[-1] - positions[0]) / (len(frames) - 1)
        regular = positions[0] + np.arange(len(frames))[:, None] * step
        even = np.abs(positions - regular).max() <= MAX_UNEVEN * np.linalg.norm(step)
        gaps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
        # The commonest distance is one that was measured; a mean over a gap would be made up.
        spacing = (float(gaps.mean() if even else np.median(gaps)), *spacing[1:])
        if not even:
            notes = (
                f"The distance between slices varies, {gaps.min():.1f} to {gaps.max():.1f} mm (a "
                "slice may be missing); each slice is right, but the stack has no single geometry.",
            )
    affine = np.eye(4)
    axes = np.stack([along_row * spacing[2], along_column * spacing[1], step], axis=1)
    affine[:3, :3] = _LPS_TO_RAS @ axes
    affine[:3, 3] = _LPS_TO_RAS @ positions[0]
    if size is None:  # the plane is known all the same, and with it the letters
        spacing, even = None, False
        notes += ("The file does not tell the size of a pixel: size unknown.",)
    usable = is_usable(affine)
    return Stack(frames, affine if usable else None, bool(even), spacing, notes, repeat)


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


def _one_echo(frames: list[Frame]) -> dict[float | None, float | None]:
    """The echo time that each one counts as: the lowest of those that hardly differ; for images
    that tell none, the only one that there is."""
    counts_as: dict[float | None, float | None] = {}
    times = {frame.traits["echo"] for frame in frames if frame.traits["echo"] is not None}
    before = None
    for time in sorted(times):  # type: ignore[type-var] # traits are of any type
        near = before is not None and time - before <= _SAME_ECHO * time
        counts_as[time] = counts_as[before] if near else time
        before = time
    only = set(counts_as.values())
    return {**counts_as, None: only.pop() if len(only) == 1 else None}


def values_of(element) -> list:
    """The values of an attribute that may have none, one or several."""
    return [] if element is None else [element] if isinstance(element, str) else list(element)


def number_of(value) -> float | None:
    """A number, or None where the header holds something else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
