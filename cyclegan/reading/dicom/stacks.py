"""Which images of DICOM objects form stacks, in which order, and where these lie."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from cyclegan.reading.dicom.frames import Frame, marks_in_words
from cyclegan.reading.dicom.places import in_step, places_by_height, side_by_side
from cyclegan.reading.dicom.volumes import parts
from cyclegan.reading.geometry import Reorientation, is_usable, reorient, slice_axis

MAX_UNEVEN = 0.05  # of the slice distance; scanners round positions, a missing slice is off by 1
_SAME_PLANE = 2e-3  # largest difference of direction cosines; scanners round them to 4 digits
_SAME_ECHO = 1e-3  # relative; no protocol has two echoes so close, but programs round differently
_SAME_SIZE = 1e-3  # relative, of pixels; likewise
_LOST = "{0} of {1} slices {2} missing here; other images of the series lie there."
_AMBIGUOUS = "{0} image{1} left out: nothing tells to which of two volumes of the series."
_UNDECIDED = (
    "{0} images lie at {1} places, and nothing in their headers tells which of them belong "
    "together; export each volume as a series of its own."
)
_NO_ORDER = (
    "Nothing in the files tells the order of the slices; they are in the order of the files."
)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Stack:
    """Images that follow each other, in order along the slice normal.

    Attributes:
        frames: one per slice.
        affine: (4, 4) taking (column, row, slice, 1) to RAS+ mm, or None. Where the slices are
            not `even` it tells the plane and its directions only.
        even: whether the slices lie in a row at one distance, so that an affine places them.
        spacing: (slice, row, column) mm, or None.
        notes: sentences for the user.
        repeat: (which, of how many) of the volumes that the images of a series come apart into, or
            None where it is the only one.
        details: words that distinguish it from the others, by what they are about.
        refusal: why the images are no volume and cannot be read, else empty.
    """

    frames: list[Frame]
    affine: np.ndarray | None
    even: bool
    spacing: tuple[float, float, float] | None
    notes: tuple[str, ...]
    repeat: tuple[int, int] | None = None
    details: dict[str, str] = field(default_factory=dict)
    refusal: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, H, W) as acquired."""
        return len(self.frames), *self.frames[0].traits.matrix

    @property
    def reorientation(self) -> Reorientation | None:
        """How the stack is turned for reading, and cut axially where it is a volume; None where
        it is not known how it lies."""
        if self.affine is None:
            return None
        return reorient(self.affine, self.shape, self._slice_axis)

    @property
    def is_cut(self) -> bool:
        """Whether the shown slices lie across the acquired ones."""
        return self._slice_axis != 2

    @property
    def _slice_axis(self) -> int:
        if self.affine is None or not self.even:
            return 2
        thickness = self.frames[0].thickness
        return slice_axis(self.affine, self.shape[::-1], acquired=2, thickness=thickness)


def without(stack: Stack, sources: Collection[int]) -> Stack | None:
    """A stack without the images of some objects, its notes and geometry as they are then; None
    where nothing is left."""
    rest = [frame for frame in stack.frames if frame.source not in sources]
    if not rest:
        return None
    if stack.affine is None or len(set(places_by_height(rest))) < len(rest):  # all claim one place
        return replace(stack, frames=rest)
    placed = _placed(rest, stack.repeat)
    own = tuple(note for note in stack.notes if note not in _placed(stack.frames).notes)
    return replace(placed, notes=(*placed.notes, *own), details=stack.details)


def stacks(frames: Iterable[Frame]) -> list[Stack]:
    """Group images by their traits and plane, and sort each group along its normal.

    Images of the same place (b-values, a time series, repeated scans) come apart into stacks with
    one image per place at most; see `volumes.parts`.
    """
    result: list[Stack] = []
    related: dict[tuple, list[int]] = {}  # where in `result` the volumes of the same places are
    for group in _groups(list(frames)):
        if (size := group[0].spacing) is not None:  # the only one, of images that tell none, too
            group = [f if f.spacing else replace(f, spacing=size, aspect=None) for f in group]
        ordered = sorted(group, key=lambda frame: frame.rank)
        if ordered[0].cosines is None:
            result += _unpositioned(ordered)
            continue
        for words, beside in side_by_side(ordered):
            steps = in_step(beside)
            for number, volume in enumerate(steps):
                key = (*_shared(volume[0]), *words.values(), (number, len(steps)))
                volumes = _volumes(volume, words)
                related.setdefault(key, []).extend(range(len(result), len(result) + len(volumes)))
                result += volumes
    for indices in related.values():
        volumes = [result[at] for at in indices]
        depth = max(places_by_height([frame for stack in volumes for frame in stack.frames])) + 1
        if all(stack.affine is not None for stack in volumes):
            for at in indices:
                result[at] = _noting_loss(result[at], depth)
    return result


def _groups(frames: list[Frame]) -> list[list[Frame]]:
    """Images of equal traits, parallel planes and one size of pixels."""
    groups: dict[tuple, list[list[Frame]]] = {}
    echo = _one_echo(frames)
    for frame in frames:
        alike = groups.setdefault(frame.traits._replace(echo=echo[frame.traits.echo]), [])
        for group in alike:
            if _is_alike(frame, group[0]):
                is_first = frame.spacing is not None and group[0].spacing is None
                group.insert(0 if is_first else len(group), frame)
                break
        else:
            alike.append([frame])
    return [group for alike in groups.values() for group in alike]


def _one_echo(frames: list[Frame]) -> dict[float | None, float | None]:
    """The echo time that each one counts as: the lowest of those that hardly differ; for images
    that tell none, the only one that there is."""
    counts_as: dict[float | None, float | None] = {}
    before = None
    for time in sorted({f.traits.echo for f in frames if f.traits.echo is not None}):
        is_near = before is not None and time - before <= _SAME_ECHO * time
        counts_as[time] = counts_as[before] if is_near else time
        before = time
    only = set(counts_as.values())
    return {**counts_as, None: only.pop() if len(only) == 1 else None}


def _is_alike(frame: Frame, other: Frame) -> bool:
    """Whether the planes are parallel and the pixels, as far as the files say, of one size."""
    if frame.spacing and other.spacing:
        sides, others = np.array(frame.spacing[1:]), np.array(other.spacing[1:])
        if np.abs(sides - others).max() > _SAME_SIZE * others.max():
            return False
    if frame.cosines is None or other.cosines is None:
        return frame.cosines is other.cosines
    return bool(np.abs(frame.cosines - other.cosines).max() <= _SAME_PLANE)


def _shared(frame: Frame) -> tuple:
    """What images of all echoes, components and types of one measurement have in common."""
    normal = np.cross(*frame.cosines).round(2) + 0.0
    traits = frame.traits._replace(photometric="", echo=None, component="")
    return (*traits._replace(image_type=traits.image_type[:1]), *normal.tolist())


def _noting_loss(stack: Stack, depth: int) -> Stack:
    """A stack with a note where it has no slice at a place of the others."""
    lost = 0 if stack.refusal else depth - len(stack.frames)
    note = _LOST.format(lost, depth, "is" if lost == 1 else "are")
    return replace(stack, notes=(*stack.notes, note)) if lost > 0 else stack


def _volumes(frames: list[Frame], details: dict[str, str]) -> list[Stack]:
    """The stacks of images of one plane that lie behind each other."""
    places = places_by_height(frames)
    if len(set(places)) == 1 and (listed := _sorted_by_header(frames)):
        ordered, notes = listed  # the plane is known, the distance is not
        one = _placed(ordered[:1])
        return [Stack(ordered, one.affine, False, one.spacing, notes)]
    divided = _divided(frames, places, _placed)
    return [replace(stack, details={**details, **stack.details}) for stack in divided]


def _unpositioned(frames: list[Frame]) -> list[Stack]:
    """The stacks of images that do not say where they lie; slice locations count as places."""
    locations = [frame.location for frame in frames if frame.location is not None]
    heights = sorted(set(locations)) if len(locations) == len(frames) else []
    if len(heights) > 1 and _are_of_one_frame(frames):
        divided = _divided(frames, [heights.index(at) for at in locations], _in_order)
        return [_noting_loss(stack, len(heights)) for stack in divided]
    return _divided(frames, list(range(len(frames))), _in_order)


def _divided(
    frames: list[Frame],
    places: list[int],
    stacked: Callable[[list[Frame], tuple[int, int] | None], Stack],
) -> list[Stack]:
    """A stack for each part of images of numbered places."""
    divided = parts(frames, places)
    result = []
    for number, part in enumerate(divided, 1):
        members = sorted(part.members, key=lambda index: places[index])
        repeat = (number, len(divided)) if len(divided) > 1 else None
        stack = stacked([frames[index] for index in members], repeat)
        notes = stack.notes
        if part.ambiguous:
            notes += (_AMBIGUOUS.format(part.ambiguous, "s" * (part.ambiguous > 1)),)
        depth = len({places[index] for index in part.members})
        refusal = "" if part.is_decided else _UNDECIDED.format(len(members), depth)
        words = marks_in_words(part.marks) if repeat else {}
        result.append(replace(stack, notes=notes, details=words, refusal=refusal))
    return result


def _in_order(frames: list[Frame], repeat: tuple[int, int] | None) -> Stack:
    """Images without a place in the patient, in the best order there is, and a note on it."""
    notes: tuple[str, ...] = ()
    if len({frame.source for frame in frames}) > 1:  # else in the file's own order
        frames, notes = _sorted_by_header(frames) or (frames, (_NO_ORDER,))
    return Stack(frames, None, False, frames[0].spacing, notes, repeat)


def _are_of_one_frame(frames: list[Frame]) -> bool:
    return len({frame.source for frame in frames}) == len(frames)


def _sorted_by_header(frames: list[Frame]) -> tuple[list[Frame], tuple[str, ...]] | None:
    """Images in the order of their slice locations or numbers and a note on it, or None where
    neither tells.

    Numbers alone do not make a stack of images that were taken one after the other.
    """
    count = len(frames)
    if count == 1 or not _are_of_one_frame(frames):
        return None
    moments = {tuple(m for m in sorted(f.marks.items()) if m[0] != "creation") for f in frames}
    at_one_time = frames[0].cosines is None or len(moments) == 1
    for keyword, values in (
        ("SliceLocation", [frame.location for frame in frames]),
        ("InstanceNumber", [frame.number for frame in frames] if at_one_time else []),
    ):
        if None not in values and len(set(values)) == count:
            order = sorted(range(count), key=values.__getitem__)
            note = f"No usable positions of the slices: they are in the order of {keyword}."
            return [frames[index] for index in order], (note,)
    return None


def _placed(frames: list[Frame], repeat: tuple[int, int] | None = None) -> Stack:
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
