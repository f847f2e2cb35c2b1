"""Find the slices of two unpaired stacks that belong together.

Folders that were collected as unpaired often hold both contrasts of some slices. How well a slice
agrees with the translation of another, once one is laid over the other (`model/registration.py`),
tells partners from other people, and mostly from the next slice of the same person.

Slices are (N, 1, S, S) in [0, 1] on the network's grid, framed alike (`Frame.fit`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from cyclegan.release.affine import (
    BATCH,
    Sides,
    Views,
    agreement,
    details,
    follow,
    smaller,
    transforms_of,
)

EACH = 4  # candidates of a slice that are registered
ALIKE = 0.35  # correlation before registration below which none is worth it
SAME = 0.97  # and from which on two slices of one contrast are copies of one slice
# Agreement on validation, measured with version 0.8.0: true partners 0.64 to 0.94, medians of the
# groups 0.82 to 0.94; the likest of other people 0.70 at most; the next slice of the same person,
# 3 to 6 mm on, medians 0.35 to 0.79, 0.87 at most.
CERTAIN = 0.82
LIKELY, LEAD = 0.7, 0.1  # enough where no other candidate comes near


class Match(NamedTuple):
    """Rows of partners, the transform (2, 3) that lays the T2 over the T1, and how they agree."""

    t1: int
    t2: int
    transform: torch.Tensor
    agreement: float


def find_partners(
    t1: Views, t2: Views, progress: Callable[[Iterable], Iterable] = iter
) -> list[Match]:
    """The slices of `t1` and `t2` that are likely to be the same slice of the same person.

    Each is the other's best candidate; most slices have no partner. Not tolerated: mirrored or
    upside down, more than about 10 degrees of rotation.

    Args:
        t1, t2: of one data source; each with everything of the other would only take longer.
        progress: wraps the batches of candidates, for progress bars.
    """
    pairs = _candidates(t1, t2)
    parameters, agreements = torch.zeros(len(pairs), 6), torch.zeros(len(pairs))

    def go_on(chosen: np.ndarray, level: int, factor: int) -> None:
        for part in progress(list(_batches(chosen))):
            sides = Sides.of(*(_rows(v, pairs[part, k]) for k, v in enumerate((t1, t2))))
            parameters[part] = follow(sides, level, parameters[part])
            agreements[part] = agreement(sides, parameters[part], factor)

    chosen = np.arange(len(pairs))
    go_on(chosen, 0, 4)
    chosen = _best(pairs, agreements.numpy())
    go_on(chosen, 1, 1)
    chosen = chosen[_mutual(pairs[chosen], agreements[chosen].numpy())]
    go_on(chosen, 2, 1)
    chosen = chosen[agreements[chosen].numpy() >= LIKELY]
    transforms, values = transforms_of(parameters[chosen]), agreements[chosen].tolist()
    found = zip(pairs[chosen].tolist(), transforms, values, strict=True)
    return [Match(a, b, transform, value) for (a, b), transform, value in found]


def copies(slices: torch.Tensor, of: torch.Tensor) -> np.ndarray:
    """(N,) bool: which slices occur in `of`, a stack of the same contrast, too."""
    if not len(slices) or not len(of):
        return np.zeros(len(slices), bool)
    a, b = (_unit(details(smaller(stack.float(), 4), 4)) for stack in (slices, of))
    return (torch.einsum("icp,jcp->ij", a, b).amax(1) > SAME).numpy()


def _candidates(t1: Views, t2: Views) -> np.ndarray:
    """(N, 2) rows of `t1` and `t2` that are alike where they lie, or a few pixels beside it."""
    if not len(t1.own) or not len(t2.own):
        return np.empty((0, 2), int)
    fixed, moving = (details(side, 4) for side in Sides.of(t1, t2).smaller(4))
    fixed = _unit(fixed)
    alike = torch.full((len(fixed), len(moving)), -1.0)
    for shift in [(dy, dx) for dy in (-2, 0, 2) for dx in (-2, 0, 2)]:
        moved = _unit(moving.roll(shift, (2, 3)))
        alike = torch.maximum(alike, torch.einsum("icp,jcp->ij", fixed, moved) / 2)
    likely = torch.zeros_like(alike, dtype=torch.bool)
    for dim in (0, 1):
        likely.scatter_(dim, alike.topk(min(EACH, alike.shape[dim]), dim).indices, True)
    return (likely & (alike > ALIKE)).nonzero().numpy()


def _best(pairs: np.ndarray, agreements: np.ndarray) -> np.ndarray:
    """Which of the candidates are among the two best of one of their slices."""
    best = np.zeros(len(pairs), bool)
    for column in (0, 1):
        seen: Counter[int] = Counter()
        for k in np.argsort(-agreements):
            seen[pairs[k, column]] += 1
            best[k] |= seen[pairs[k, column]] <= 2
    return np.flatnonzero(best & (agreements > ALIKE))


def _mutual(pairs: np.ndarray, agreements: np.ndarray) -> np.ndarray:
    """Which of the candidates are partners."""
    partners = []
    for k, (a, b) in enumerate(pairs):
        others = agreements[
            ((pairs[:, 0] == a) | (pairs[:, 1] == b)) & (np.arange(len(pairs)) != k)
        ]
        lead = agreements[k] - others.max(initial=0.0)
        if lead >= 0 and (agreements[k] >= CERTAIN or (agreements[k] >= LIKELY and lead >= LEAD)):
            partners.append(k)
    return np.array(partners, int)


def _rows(views: Views, rows: np.ndarray) -> Views:
    return Views(views.own[rows], views.translated[rows])


def _unit(images: torch.Tensor) -> torch.Tensor:
    """(N, C, pixels), each channel of length one."""
    return F.normalize(images.flatten(2), dim=2)


def _batches(rows: np.ndarray) -> Iterator[np.ndarray]:
    yield from (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))
