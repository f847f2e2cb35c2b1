"""Several images of each place: which of them belong to one volume.

A series may hold two acquisitions, many b-values, a cine. Its images are distinguished by marks
that differ between images of one place and repeat from place to place; then by the order in which
they were taken; by instance numbers only where these follow a rule. Nothing is guessed: an image
that may belong to either of two volumes is left out; a volume keeps a gap where a slice is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cyclegan.reading.dicom.frames import Frame
from cyclegan.reading.dicom.order import divide_by_order

# Marks that one volume never mixes; taken first, and also where each place has one image only.
_PHYSICAL = ("b-value", "direction", "inversion time", "flip angle")
_REPEATED = ("time point", "acquisition", "trigger time", "time offset", "echo", "repetition time")
_LAST = (
    *("label", "saturation", "contrast", "directionality", "sequence", "averages", "coil"),
    *("description", "protocol", "derivation", "comment", "time", "creation"),
)
_ORDERED = ("time", "time point", "acquisition", "trigger time", "time offset", "inversion time")
_EPISODES = ("time point", "acquisition", "time")
_PAUSE = 30.0  # s between two acquisitions; the times of one may be rounded to whole seconds
_ROUNDED = frozenset(["b-value", "inversion time", "flip angle", "repetition time"])
_SAME = 1e-3  # relative, of numbers that programs round differently
_ABSENT_MEANS = ("b-value", "direction")  # without them it is b = 0, no forgotten attribute


@dataclass(frozen=True)
class Part:
    """Images that belong to one volume.

    Attributes:
        members: indices into the images.
        marks: what distinguishes it from the other parts, as far as marks do; None for one that it
            lacks.
        ambiguous: number of images that may belong to it or to another part, and are in neither.
        is_decided: whether each place has one image; False where nothing distinguishes them.
    """

    members: list[int]
    marks: dict[str, Hashable | None]
    ambiguous: int = 0
    is_decided: bool = True


def parts(frames: Sequence[Frame], places: Sequence[int]) -> list[Part]:
    """Divide images into parts with one image per place, in the order of their marks and ranks.

    Args:
        frames: images of one series, plane and size.
        places: number of the place of each.
    """
    marks = _Marks(frames, list(places))
    chosen = _choose(marks)
    classes = marks.classes(range(len(frames)), chosen)
    result: list[Part] = []
    for members in _with_forgetful(marks, chosen, classes):
        values = {name: marks.value(members, name) for name in chosen}
        if marks.excess([members]) == 0:
            result.append(Part(members, values))
        else:
            result += _by_order(marks, members, values)
    return sorted(result, key=lambda part: _order(frames, part, chosen))


def divisions(frames: Sequence[Frame]) -> list[list[list[int]]]:
    """Ways to divide images by one mark each, best first; for images whose places are in question.

    Each part has at least three images, and none is left over.
    """
    marks = _Marks(frames, list(range(len(frames))))
    ways = []
    for name in (*_PHYSICAL, *_REPEATED, *_LAST):
        classes = marks.classes(range(len(frames)), [name])
        if len(classes) > 1 and min(map(len, classes)) >= 3:
            ways.append(classes)
    return ways


class _Marks:
    """The marks of images as whole numbers, equal where values are equal but for rounding."""

    def __init__(self, frames: Sequence[Frame], places: list[int]):
        self.frames = frames
        self.places = places
        names = dict.fromkeys(name for frame in frames for name in frame.marks)
        self.levels = {name: _levels(name, [f.marks.get(name) for f in frames]) for name in names}

    def classes(self, members: Sequence[int], names: Sequence[str]) -> list[list[int]]:
        groups: dict[tuple, list[int]] = {}
        for index in members:
            key = tuple(self.levels[name][index] for name in names if name in self.levels)
            groups.setdefault(key, []).append(index)
        return list(groups.values())

    def excess(self, classes: list[list[int]]) -> int:
        """How many images share their place with another one of their class."""
        return sum(len(c) - len({self.places[index] for index in c}) for c in classes)

    def value(self, members: Sequence[int], name: str) -> Hashable | None:
        """The mark of a part, of its first image that has it."""
        values = (self.frames[index].marks.get(name) for index in members)
        return next((value for value in values if value is not None), None)

    def repeats(self, name: str, least: float) -> bool:
        """Whether the values of most images are those of at least `least` places."""
        where: dict[int, set[int]] = {}
        for level, place in zip(self.levels[name], self.places, strict=True):
            where.setdefault(level, set()).add(place)
        shared = sum(len(where[level]) >= least for level in self.levels[name])
        return 2 * shared > len(self.places)

    def is_of_packages(self, name: str) -> bool:
        """Whether a volume holds several values of a mark, as packages of its slices were taken."""
        values = [frame.marks.get(name) for frame in self.frames]
        most = max(Counter(self.places).values())
        if None in values or len(set(values)) <= most:
            return False
        if len({*zip(values, self.places, strict=True)}) < len(values):
            return False
        labels = divide_by_order(name, np.array(values, dtype=np.float64), self.places)
        return labels is not None and -1 not in labels

    def is_patchwork(self, name: str) -> bool:
        """Whether images with one place each are those of several acquisitions in no order.

        Packages of slices lie behind each other or take turns.
        """
        levels = self.levels.get(name, [-1])
        count = len(set(levels))
        if -1 in levels or count == 1 or min(Counter(levels).values()) < 2:
            return False
        if name == "time":
            moments = sorted({float(frame.marks[name]) for frame in self.frames})
            if min(np.diff(moments)) < _PAUSE:
                return False
        grid = _grid(self.frames, self.places)
        ordered = [level for _, level in sorted(zip(grid, levels, strict=True))]
        blocks = 1 + sum(one != other for one, other in pairwise(ordered))
        turns = {(place % count, level) for place, level in zip(grid, levels, strict=True)}
        return blocks != count and len(turns) != count


def _grid(frames: Sequence[Frame], places: list[int]) -> list[int]:
    """Places as multiples of the smallest distance, so that lost slices are counted."""
    if frames[0].cosines is None:
        return places
    normal = np.cross(*frames[0].cosines)
    heights = np.array([frame.position @ normal for frame in frames])
    step = float(np.diff(np.sort(heights)).min()) or 1.0
    return np.rint((heights - heights.min()) / step).astype(int).tolist()


def _levels(name: str, values: list[Hashable | None]) -> list[int]:
    """A whole number for each value, -1 for none."""
    known = {value for value in values if value is not None}
    if all(isinstance(value, float) for value in known):
        number, before, levels = -1, None, {None: -1}
        for value in sorted(known):  # type: ignore[type-var] # floats, as was just seen
            near = name in _ROUNDED and before is not None and value - before <= _SAME * abs(value)
            number += not near
            before, levels[value] = value, number
    else:
        levels = {value: at for at, value in enumerate(sorted(known, key=str))} | {None: -1}
    return [levels[value] for value in values]


def _choose(marks: _Marks) -> list[str]:
    """Names of the marks by which images are divided: the fewest that leave one image per place."""
    everything = list(range(len(marks.frames)))
    count = len(set(marks.places))
    chosen = [
        name
        for name in _PHYSICAL
        if name in marks.levels
        and len(set(marks.levels[name]) - {-1}) > 1
        and marks.repeats(name, min(2, count))
    ]
    dimensions = sorted(name for name in marks.levels if name.startswith("dimension"))
    names = [name for name in (*_PHYSICAL, *_REPEATED, *dimensions, *_LAST) if name in marks.levels]
    if not chosen and count == len(marks.frames):
        chosen = [name for name in _EPISODES if marks.is_patchwork(name)][:1]
    excess = marks.excess(marks.classes(everything, chosen))
    candidates = [n for n in names if n not in chosen and marks.repeats(n, count // 2 + 1)]
    candidates = [n for n in candidates if not (n in _ORDERED and marks.is_of_packages(n))]
    while excess and candidates:
        trials = []
        for preference, name in enumerate(candidates):
            classes = marks.classes(everything, [*chosen, name])
            trials.append((marks.excess(classes), len(classes), preference, name))
        left, *_, best = min(trials)
        if left == excess:
            break
        excess = left
        chosen.append(best)
        candidates.remove(best)
    return chosen


def _with_forgetful(marks: _Marks, chosen: list[str], classes: list[list[int]]) -> list[list[int]]:
    """Classes, with the few images that lack a mark put where only they can belong."""
    count = len(set(marks.places))
    keys = [tuple(marks.levels[name][members[0]] for name in chosen) for members in classes]
    places = [{marks.places[index] for index in members} for members in classes]
    moved = set()
    for at, key in enumerate(keys):
        absent = [name for name, level in zip(chosen, key, strict=True) if level == -1]
        if not absent or set(absent) & set(_ABSENT_MEANS) or 2 * len(places[at]) >= count:
            continue
        homes = [
            other
            for other, known in enumerate(keys)
            if other != at
            and other not in moved
            and all(mine in (-1, its) for mine, its in zip(key, known, strict=True))
            and not places[at] & places[other]
        ]
        if len(homes) == 1:
            classes[homes[0]] = sorted(classes[homes[0]] + classes[at])
            places[homes[0]] |= places[at]
            moved.add(at)
    return [members for at, members in enumerate(classes) if at not in moved]


def _by_order(
    marks: _Marks, members: list[int], part_marks: dict[str, Hashable | None]
) -> list[Part]:
    """Divide images that no mark divides by the order in which they were taken, else numbered."""
    frames = [marks.frames[index] for index in members]
    places = [marks.places[index] for index in members]
    attempts = [(name, [frame.marks.get(name) for frame in frames]) for name in _ORDERED]
    attempts += [("creation", [frame.marks.get("creation") for frame in frames])]
    attempts += [("number", _numbers(frames))]
    best: list[int] | None = None
    for name, values in attempts:
        if None in values or len({*zip(values, places, strict=True)}) < len(places):
            continue
        labels = divide_by_order(name, np.array(values, dtype=np.float64), places)
        if labels is None:
            continue
        if best is None:
            best = labels
        elif all(mine in (-1, its) or its == -1 for mine, its in zip(best, labels, strict=True)):
            best = [its if mine == -1 else mine for mine, its in zip(best, labels, strict=True)]
        if -1 not in best:
            break
    if best is None:
        return _by_rare_marks(marks, members, part_marks)
    groups: dict[int, list[int]] = {}
    for index, label in zip(members, best, strict=True):
        groups.setdefault(label, []).append(index)
    ambiguous = len(groups.pop(-1, []))
    return [Part(groups[label], part_marks, ambiguous) for label in sorted(groups)]


def _numbers(frames: Sequence[Frame]) -> list[float | None]:
    """Instance numbers; the order in their objects of frames of multi-frame ones."""
    if len({frame.source for frame in frames}) == len(frames):
        return [frame.number for frame in frames]
    order = sorted(range(len(frames)), key=lambda index: frames[index].rank)
    at = {index: float(number) for number, index in enumerate(order)}
    return [at[index] for index in range(len(frames))]


def _by_rare_marks(
    marks: _Marks, members: list[int], part_marks: dict[str, Hashable | None]
) -> list[Part]:
    """The last resort: a mark that divides, although each of its values is rare (slabs that
    overlap); else nothing distinguishes the images."""
    for name in (*_REPEATED, *_LAST):
        if name in marks.levels and marks.repeats(name, 2):
            classes = marks.classes(members, [name])
            if marks.excess(classes) == 0:
                return [Part(c, {**part_marks, name: marks.value(c, name)}) for c in classes]
    return [Part(members, part_marks, is_decided=False)]


def _order(frames: Sequence[Frame], part: Part, chosen: list[str]) -> tuple:
    """Parts as users expect them: by their marks, then by their first image."""
    values = (part.marks[name] for name in chosen)
    key = [(value is not None, 0 if value is None else value) for value in values]
    return (*key, min(frames[index].rank for index in part.members))
