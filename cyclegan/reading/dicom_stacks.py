"""Which images of DICOM objects form stacks, in which order, and where these lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from cyclegan.reading.dicom_frames import Frame
from cyclegan.reading.geometry import Turn, is_usable, leafed_axis, turn_for_reading

MAX_UNEVEN = 0.05  # of the slice distance; scanners round positions, a missing slice is off by 1
_SAME_PLANE = 2e-3  # largest difference of direction cosines; scanners round them to 4 digits
_SAME_ECHO = 1e-3  # relative; no protocol has two echoes so close, but programs round differently
_SAME_SIZE = 1e-3  # relative, of pixels; likewise
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


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
            if _alike(frame, group[0]):
                first = frame.spacing is not None and group[0].spacing is None
                group.insert(0 if first else len(group), frame)
                break
        else:
            alike.append([frame])
    found = []
    for group in (group for alike in groups.values() for group in alike):
        if (size := group[0].spacing) is not None:  # the only one, of images that tell none, too
            group = [f if f.spacing else replace(f, spacing=size, aspect=None) for f in group]
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


def _alike(frame: Frame, other: Frame) -> bool:
    """Whether the planes are parallel and the pixels, as far as that is told, of one size."""
    if frame.spacing and other.spacing:
        sides, others = np.array(frame.spacing[1:]), np.array(other.spacing[1:])
        if np.abs(sides - others).max() > _SAME_SIZE * others.max():
            return False
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
