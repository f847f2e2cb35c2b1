"""Where parallel images lie to each other: behind, at one place, or side by side.

Positions decide; SliceThickness may be that of a whole slab.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from cyclegan.reading.dicom.frames import Frame
from cyclegan.reading.dicom.volumes import divisions

_SAME_PLACE = 0.05  # mm between heights; programs round positions, no scanner steps as finely
_FAR = 4.0  # times as far to the next place as between repeated images of one
_BESIDE = 2.0  # mm and pixels; a patient who moves shifts a time series less from scan to scan
_SHEARED = 0.1  # mm from a straight line; slices of a tilted gantry shift evenly
_IN_STEP = 0.1  # of the smallest distance, by which others may differ from its multiples
_MOST = 0.6  # of the distances; in two stacks that lie a third beside each other it is half
_SIDES = (("right", "left"), ("anterior", "posterior"), ("inferior", "superior"))  # LPS+


def places_by_height(frames: Sequence[Frame]) -> list[int]:
    """Number of the place of each of parallel images, from 0, rising along their normal."""
    heights = _heights(frames)
    order = np.argsort(heights, kind="stable")
    steps = np.diff(heights[order], prepend=heights[order[0]])
    places = np.empty(len(frames), dtype=int)
    places[order] = np.cumsum(steps > _nearest(steps))
    return places.tolist()


def _nearest(steps: np.ndarray) -> float:
    """The largest step between images of one place.

    A second acquisition may lie a little beside the first: then steps come in two sizes.
    """
    sizes = np.sort(steps[steps > _SAME_PLACE])
    if len(sizes) < 2:
        return _SAME_PLACE
    cut = int(np.argmax(sizes[1:] / sizes[:-1])) + 1
    small, large = sizes[:cut], sizes[cut:]
    is_repeated = len(large) >= 3 and len(small) >= len(large) / 2
    if not is_repeated or large[0] < _FAR * small[-1]:
        return _SAME_PLACE
    usual = float(np.median(large))
    multiples = np.maximum(np.rint(large / usual), 1) * usual
    return float(small[-1]) if np.abs(large - multiples).max() <= usual / _FAR else _SAME_PLACE


def side_by_side(frames: list[Frame]) -> list[tuple[dict[str, str], list[Frame]]]:
    """Parallel images in stacks that lie beside each other, each with words on which it is.

    The words are empty where there is one stack.
    """
    normal_plane = np.stack(frames[0].cosines)
    positions = np.array([frame.position for frame in frames])
    across = positions @ normal_plane.T  # (N, 2) mm along a row and down a column
    pixel = max(frames[0].spacing[1:]) if frames[0].spacing else 1.0
    labels = _clusters(across, _BESIDE * max(1.0, pixel))
    count = labels.max() + 1
    heights = _heights(frames)
    if count == 1 or (np.ptp(heights) > _SAME_PLACE and _is_line(heights, across)):
        return [({}, frames)]
    if count > max(len(frames) // 2, 2 * (np.ptp(heights) <= _SAME_PLACE)):
        return [({}, frames)]  # each lies elsewhere: no stacks
    centres = np.array([positions[labels == label].mean(axis=0) for label in range(count)])
    axis = int(np.ptp(centres @ normal_plane.T @ normal_plane, axis=0).argmax())
    low, high = _SIDES[axis]
    stacks = []
    for number, label in enumerate(np.argsort(centres[:, axis]), 1):
        words = {"beside": f"stack {number} of {count} from {low} to {high}"}
        stacks.append((words, [f for f, its in zip(frames, labels, strict=True) if its == label]))
    return stacks


def in_step(frames: list[Frame]) -> list[list[Frame]]:
    """Images behind each other whose heights are out of step, in groups that differ in a mark
    and that are in step; all as one group otherwise.

    Two acquisitions between which the patient or the table moved lie between each other's slices.
    """
    if _is_in_step(frames):
        return [frames]
    for way in divisions(frames):
        groups = [[frames[index] for index in members] for members in way]
        if all(_is_in_step(group) for group in groups):
            return groups
    return _sweeps(frames)


def _sweeps(frames: list[Frame]) -> list[list[Frame]]:
    """Images in groups whose numbers go through them from one end to the other, if these are in
    step and of three images at least; all as one group otherwise."""
    ordered = sorted(frames, key=lambda frame: frame.rank)
    rises = np.sign(np.diff(_heights(ordered)))
    direction = 1 if (rises > 0).sum() * 2 > len(rises) else -1
    cuts = [0, *(np.flatnonzero(rises != direction) + 1).tolist(), len(ordered)]
    groups = [ordered[start:end] for start, end in pairwise(cuts)]
    if min(map(len, groups)) < 3 or not all(_is_in_step(group) for group in groups):
        return [frames]
    return groups


def _heights(frames: Sequence[Frame]) -> np.ndarray:
    """(N,) mm along the normal of the first image."""
    normal = np.cross(*frames[0].cosines)
    return np.array([frame.position @ normal for frame in frames])


def _is_in_step(frames: Sequence[Frame]) -> bool:
    """Whether most distances of places are the smallest one, and the others multiples of it, as
    where a few slices are missing."""
    heights, places = _heights(frames), np.array(places_by_height(frames))
    if places.max() < 2:
        return True
    steps = np.diff([heights[places == place].mean() for place in range(places.max() + 1)])
    times = np.rint(steps / steps.min())
    is_regular = np.abs(steps - times * steps.min()).max() <= _IN_STEP * steps.min()
    return bool(is_regular and (times == 1).mean() >= _MOST)


def _is_line(heights: np.ndarray, across: np.ndarray) -> bool:
    """Whether images shift evenly from slice to slice."""
    matrix = np.stack([heights, np.ones_like(heights)], axis=1)
    line = matrix @ np.linalg.lstsq(matrix, across, rcond=None)[0]
    return bool(np.abs(across - line).max() <= _SHEARED)


def _clusters(points: np.ndarray, near: float) -> np.ndarray:
    """Label of each (N, 2) point; points nearer than `near` to one of a cluster belong to it."""
    quarters = np.round(points / near * 4).astype(int)  # many images share a place
    unique, inverse = np.unique(quarters, axis=0, return_inverse=True)
    if len(unique) == 1:
        return np.zeros(len(points), dtype=int)
    return fcluster(linkage(unique, "single"), 4, "distance")[inverse.ravel()] - 1
