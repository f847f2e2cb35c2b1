"""Images of the same places, divided into volumes by the order in which they were taken."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np

_PAUSE = 3.0  # times the usual distance in time, and 2 more than lost images explain


def divide_by_order(name: str, values: np.ndarray, places: list[int]) -> list[int] | None:
    """Divide images of the same places into volumes by a value that rises as they were taken.

    Volumes follow each other, or, of acquisition times and numbers, all images of one place do.
    Numbers at random do neither; they would mix volumes.

    Args:
        name: of the mark (`frames.marks_of`), or "number".
        values: (N,) of the images; no two are equal at one place.
        places: number of the place of each image, rising along the normal.

    Returns:
        The volume of each image, -1 where it may be one of two; None where the values cannot
        decide.
    """
    labels = _runs(values, places)
    # Times are what happened; other values may be anything, if each image has its own.
    is_certain = name == "time" or len(set(values)) < len(values)
    if labels is not None and (is_certain or _same_sequence(values, places, labels)):
        return labels
    if name in ("creation", "number"):
        return _place_after_place(values, places)
    if name == "time" and len(set(Counter(places).values())) == 1:
        return _ranks(values, places)
    return None


def _ranks(values: np.ndarray, places: list[int]) -> list[int]:
    """Which image of its place each is in the order of the values."""
    labels, seen = [0] * len(places), Counter()
    for index in np.argsort(values, kind="stable"):
        labels[index] = seen[places[index]]
        seen[places[index]] += 1
    return labels


def _runs(values: np.ndarray, places: list[int]) -> list[int] | None:
    """Cut images in the order of a value into runs that hold each place once at most.

    Images of equal value stay together.

    Returns:
        The run of each image, -1 where it may be the end of one or the start of the next; None
        where that takes more runs than a place has images.
    """
    moments, which = np.unique(values, return_inverse=True)
    at: list[set[int]] = [set() for _ in moments]
    for moment, place in zip(which.tolist(), places, strict=True):
        at[moment].add(place)
    most = max(Counter(places).values())
    lost = most * len(set(places)) - len(places)
    first_fit, last_fit = _cut(at), [most - 1 - run for run in _cut(at[::-1])[::-1]]
    if first_fit[-1] + 1 != most:
        return None
    runs = [low if low == high else -1 for low, high in zip(first_fit, last_fit, strict=True)]
    direction = _direction(at, runs)
    for run in range(most - 1):
        # The cut is behind `start` or a later moment, and before `end`.
        start = max(i for i, label in enumerate(last_fit) if label <= run)
        end = min(i for i, label in enumerate(first_fit) if label > run)
        cut = _pause(moments, start, end, lost)
        cut = _turning_point(at, start, end, direction) if cut is None else cut
        for i in range(start + 1, end if cut is not None else 0):
            if runs[i] == -1:
                runs[i] = run if i <= cut else run + 1
    return [runs[moment] for moment in which.tolist()]


def _cut(at: list[set[int]]) -> list[int]:
    """Runs of moments, each as long as it holds no place twice."""
    labels, run, seen = [], 0, set()
    for places in at:
        if places & seen:
            run, seen = run + 1, set()
        seen |= places
        labels.append(run)
    return labels


def _pause(moments: np.ndarray, start: int, end: int, lost: int) -> int | None:
    """Behind which of the moments from `start` to before `end` there is a pause, if one that is
    longer than `lost` images leave."""
    steps = np.diff(moments)
    possible = steps[start:end]
    widest = [*np.sort(possible)[::-1], 0.0]
    clear = widest[0] >= max(_PAUSE, lost + 2) * np.median(steps) and widest[0] >= 2 * widest[1]
    return start + int(np.argmax(possible)) if clear else None


def _direction(at: list[set[int]], runs: list[int]) -> int:
    """1 or -1 where all runs go place by place up or down, else 0."""
    if any(len(places) > 1 for places in at):
        return 0
    steps = {
        int(np.sign(min(at[i + 1]) - min(at[i])))
        for i in range(len(at) - 1)
        if runs[i] == runs[i + 1] != -1
    }
    return steps.pop() if len(steps) == 1 else 0


def _turning_point(at: list[set[int]], start: int, end: int, direction: int) -> int | None:
    """The only cut from `start` to before `end` that leaves both runs in their direction."""
    rises = {i: direction * (min(at[i + 1]) - min(at[i])) > 0 for i in range(start, end)}
    cuts = [cut for cut in rises if all(rises[i] for i in rises if i != cut)]
    return cuts[0] if len(cuts) == 1 and direction else None


def _same_sequence(numbers: np.ndarray, places: list[int], labels: list[int]) -> bool:
    """Whether the numbers of each volume go through the places in the same order."""
    runs: dict[int, list[int]] = {}
    for index in np.argsort(numbers):
        if labels[index] != -1:
            runs.setdefault(labels[index], []).append(places[index])
    first, *others = runs.values()
    return all(
        [place for place in first if place in other] == [place for place in other if place in first]
        for other in others
    )


def _place_after_place(numbers: np.ndarray, places: list[int]) -> list[int] | None:
    """All images of a place, then all of the next one; gaps in the numbers tell which is lost."""
    order = np.argsort(numbers)
    at = [places[index] for index in order]
    if sum(one != other for one, other in pairwise(at)) + 1 != len(set(at)):
        return None
    counts = Counter(places)
    most = max(counts.values())
    if set(counts.values()) == {most}:
        return _ranks(numbers, places)
    full = [numbers[i] for i in order if counts[places[i]] == most]
    starts, ends = full[::most], full[most - 1 :: most]
    start = starts[0] % most
    if any(e - s != most - 1 or s % most != start for s, e in zip(starts, ends, strict=True)):
        return None
    # Nothing lies beyond the first and last place that tells which image of theirs is lost.
    open_ended = {place for place in (at[0], at[-1]) if counts[place] < most}
    return [
        -1 if place in open_ended else int((number - start) % most)
        for number, place in zip(numbers, places, strict=True)
    ]
