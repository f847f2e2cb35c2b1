"""Find the slices of two unpaired stacks that belong together, and register them.

Folders that were collected as unpaired often hold both contrasts of some slices. Two contrasts are
hard to compare; a slice and the translation of its partner are of one contrast. How well their
details correlate, once one is registered onto the other by an affine transform (SimpleITK), tells
partners from other subjects, and mostly from the next slice of the same subject. It works where the
translation does; heads that bend differently in two scans stay a pixel apart here and there.

Slices are (N, S, S) float32 in [0, 1] on the network's grid, framed alike (`Frame.fit`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from scipy import ndimage

from cyclegan.evaluation.registration import LEVELS, mutual_information
from cyclegan.model.head import FOREGROUND

EACH = 4  # candidates of a slice that are registered
ALIKE = 0.35  # correlation before registration below which none is worth it
SAME = 0.97  # and from which on two slices of one contrast are copies of one slice
# Agreement on validation, measured with version 0.8.0: true partners 0.64 to 0.94, medians of the
# groups 0.82 to 0.94; the likest of other subjects 0.70 at most; the next slice of the same
# subject, 3 to 6 mm on, medians 0.35 to 0.79, 0.87 at most.
CERTAIN = 0.82
LIKELY, LEAD = 0.7, 0.1  # enough where no other candidate comes near
NO_MOTION = np.eye(2, 3, dtype=np.float32)


class Views(NamedTuple):
    """Slices of one contrast as they are, and translated to the other: (N, S, S) each."""

    own: np.ndarray
    translated: np.ndarray


class Match(NamedTuple):
    """Rows of partners, the (2, 3) transform that brings the T2 onto the T1, and how they agree."""

    t1: int
    t2: int
    transform: np.ndarray
    agreement: float


def find_partners(
    t1: Views, t2: Views, progress: Callable[[Iterable], Iterable] = iter
) -> list[Match]:
    """The slices of `t1` and `t2` that are likely to be the same slice of the same subject.

    Each is the other's best candidate; most slices have no partner. Not tolerated: mirrored or
    upside down, more than about 10 degrees of rotation.

    Args:
        t1, t2: of one data source; each with everything of the other would only take longer.
        progress: wraps the lists of candidates, for progress bars.
    """
    rough = [register(t1, t2, int(a), int(b), LEVELS[:1]) for a, b in progress(_candidates(t1, t2))]
    fine = [
        register(t1, t2, match.t1, match.t2, LEVELS[1:], match.transform)
        for match in progress(_best(rough))
    ]
    return _mutual(fine)


def register(
    t1: Views,
    t2: Views,
    a: int,
    b: int,
    levels: Sequence[tuple[int, float]] = LEVELS,
    start: np.ndarray = NO_MOTION,
) -> Match:
    """Register row `b` of `t2`, translated to T1, onto row `a` of `t1`.

    Args:
        levels: shrink factor and blur of each, as `registration.mutual_information` takes them.
        start: transform to begin with.
    """
    size = t1.own.shape[-1]
    transform = sitk.AffineTransform(2)
    transform.SetCenter([(size - 1) / 2] * 2)
    transform.SetMatrix(start[:, :2].ravel().astype(float).tolist())
    transform.SetTranslation((start[:, 2] * size / 2).astype(float).tolist())
    images = [sitk.GetImageFromArray(image) for image in (t1.own[a], t2.translated[b])]
    try:
        mutual_information(transform, levels).Execute(*images)
    except RuntimeError:  # the images left each other: ITK says so by an exception
        return Match(a, b, start, 0.0)
    matrix = np.reshape(transform.GetMatrix(), (2, 2))
    shift = np.array(transform.GetTranslation()) * 2 / size
    onto = np.column_stack([matrix, shift]).astype(np.float32)
    moved = resample(np.stack([t2.translated[b], t2.own[b]]), onto)
    fixed = np.stack([t1.own[a], t1.translated[a]])
    return Match(a, b, onto, _agreement(fixed, moved, is_rough=levels[-1][0] > 1))


def resample(slices: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Resample slices (N, S, S), on a grid of any size, onto their partner; bicubic, in [0, 1].

    Args:
        transform: (2, 3) from x, y and 1 of the partner to x and y of the slices, where the sides
            of the grid lie at -1 and 1 (as `torch.nn.functional.affine_grid` has it).
    """
    moving = torch.from_numpy(slices)[None]
    grid = F.affine_grid(torch.from_numpy(transform)[None], list(moving.shape), align_corners=False)
    return F.grid_sample(moving, grid, mode="bicubic", align_corners=False)[0].clamp(0, 1).numpy()


def are_copies(slices: np.ndarray, of: np.ndarray) -> np.ndarray:
    """(N,) bool: which slices occur in `of`, a stack of the same contrast, too."""
    if not len(slices) or not len(of):
        return np.zeros(len(slices), bool)
    a, b = (_unit(_details(_quarter(stack), 4)) for stack in (slices, of))
    return (a @ b.T).max(1) > SAME


def _agreement(fixed: np.ndarray, moved: np.ndarray, is_rough: bool) -> float:
    """Correlation of the details of two stacks (2, S, S), mean of both, over both heads."""
    factor = 4 if is_rough else 1
    if is_rough:
        fixed, moved = _quarter(fixed), _quarter(moved)
    own = np.maximum(fixed[0], moved[1])
    head = ndimage.gaussian_filter(own, 1.5 / factor + 0.3) > FOREGROUND
    if head.sum() < 2:
        return 0.0
    pairs = zip(_details(fixed, factor), _details(moved, factor), strict=True)
    return float(np.mean([np.corrcoef(a[head], b[head])[0, 1] for a, b in pairs]))


def _details(images: np.ndarray, factor: int = 1) -> np.ndarray:
    """What is about two to twelve pixels wide in the full grid, of which this is a part."""
    fine, coarse = (
        ndimage.gaussian_filter(images, (0, sigma, sigma)) for sigma in (0.7, 6 / factor + 0.5)
    )
    return fine - coarse


def _quarter(images: np.ndarray) -> np.ndarray:
    """(N, S, S) at a quarter of the resolution."""
    count, size = images.shape[0], images.shape[-1] // 4
    return images[:, : 4 * size, : 4 * size].reshape(count, size, 4, size, 4).mean((2, 4))


def _unit(images: np.ndarray) -> np.ndarray:
    """(N, pixels), each row of length one."""
    rows = images.reshape(len(images), -1)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _candidates(t1: Views, t2: Views) -> np.ndarray:
    """(N, 2) rows of `t1` and `t2` that are alike where they lie, or a few pixels beside it."""
    if not len(t1.own) or not len(t2.own):
        return np.empty((0, 2), int)
    fixed = [_unit(_details(_quarter(stack), 4)) for stack in t1]
    moving = [_details(_quarter(stack), 4) for stack in (t2.translated, t2.own)]
    alike = np.full((len(t1.own), len(t2.own)), -1.0)
    for shift in [(dy, dx) for dy in (-2, 0, 2) for dx in (-2, 0, 2)]:
        moved = [_unit(np.roll(stack, shift, (1, 2))) for stack in moving]
        both = [a @ b.T for a, b in zip(fixed, moved, strict=True)]
        alike = np.maximum(alike, np.mean(both, axis=0))
    likely = np.zeros_like(alike, dtype=bool)
    for axis in (0, 1):
        best = np.argsort(-alike, axis=axis).take(range(min(EACH, alike.shape[axis])), axis)
        np.put_along_axis(likely, best, True, axis)
    return np.argwhere(likely & (alike > ALIKE))


def _best(matches: list[Match]) -> list[Match]:
    """The matches that are among the two best of one of their slices."""
    seen: Counter[tuple[str, int]] = Counter()
    best = []
    for match in sorted(matches, key=lambda match: -match.agreement):
        slices = ("T1", match.t1), ("T2", match.t2)
        seen.update(slices)
        if min(seen[slice_] for slice_ in slices) <= 2 and match.agreement > ALIKE:
            best.append(match)
    return best


def _mutual(matches: list[Match]) -> list[Match]:
    """The matches that are partners: certain, or likely and well before any other of theirs."""
    partners = []
    for match in matches:
        others = [m for m in matches if (m.t1 == match.t1) != (m.t2 == match.t2)]
        lead = match.agreement - max((m.agreement for m in others), default=0.0)
        enough = match.agreement >= CERTAIN or (match.agreement >= LIKELY and lead >= LEAD)
        if lead >= 0 and enough:
            partners.append(match)
    return partners
