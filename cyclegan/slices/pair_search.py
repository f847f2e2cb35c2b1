"""Find the slices of two unpaired stacks that belong together, and lay one over the other.

Folders that were collected as unpaired often hold both contrasts of some slices. Two contrasts of
one slice are hard to compare; a slice and the translation of its partner are of one contrast, and a
correlation of their details tells partners from other people and mostly from the next slice. The
same correlation registers them, from large to small (Adam over six affine parameters).

Slices are (N, 1, S, S) in [0, 1] on the network's grid, framed alike (`Frame.fit`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from cyclegan.model.preprocess import FOREGROUND

STEPS = (30, 20, 20)  # of Adam, at a quarter, a half, and all of the grid's pixels
RATES = (0.015, 0.006, 0.002)
STIFFNESS = 0.3  # price of turning and stretching; both slices were framed alike
EACH = 4  # candidates of a slice that are registered
ALIKE = 0.35  # correlation before registration below which none is worth it
SAME = 0.97  # and from which on two slices of one contrast are copies of one slice
# Agreement on validation, measured with version 0.8.0: true partners 0.64 to 0.94, medians of the
# groups 0.82 to 0.94; the likest of other people 0.70 at most; the next slice of the same person,
# 3 to 6 mm on, medians 0.35 to 0.79, 0.87 at most.
CERTAIN = 0.82
LIKELY, LEAD = 0.7, 0.1  # enough where no other candidate comes near
BATCH = 32


class Views(NamedTuple):
    """Slices of one contrast as they are, and translated to the other."""

    own: torch.Tensor
    translated: torch.Tensor

    def chosen(self, rows: np.ndarray) -> Views:
        return Views(*(stack[rows] for stack in self))


class Match(NamedTuple):
    """Rows of partners, the transform (2, 3) that `laid_over` takes, and their agreement, 1 at
    most."""

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
        progress: wraps the batches of candidates, for a progress bar.
    """
    pairs = _candidates(t1, t2)
    tried = []
    for rows in progress(_batches(pairs)):
        fixed, moving = _sides(t1, t2, rows)
        parameters = _register(fixed, moving, 0)
        tried.append((parameters, _agreement(fixed, moving, parameters, 4)))
    found: list[tuple[int, int, float]] = []
    keep = _best_of(pairs, torch.cat([a for _, a in tried])) if tried else np.empty(0, int)
    starts = torch.cat([p for p, _ in tried]) if tried else torch.empty(0, 6)
    for chosen in progress(_batches(keep)):
        fixed, moving = _sides(t1, t2, pairs[chosen])
        starts[chosen] = _register(fixed, moving, 1, starts[chosen])
        agreement = _agreement(fixed, moving, starts[chosen], 1).tolist()
        found += [(*map(int, pairs[k]), a) for k, a in zip(chosen, agreement, strict=True)]
    partners = np.array([keep[k] for k in _mutual(found)], int)
    matches = []
    for chosen in _batches(partners):
        matches += _registered(t1, t2, pairs[chosen], starts[chosen])
    return [match for match in matches if match.agreement >= LIKELY]


def register_pairs(t1: Views, t2: Views) -> list[Match]:
    """Register known partners: equal rows of `t1` and `t2`."""
    matches = []
    for rows in _batches(np.arange(len(t1.own))):
        both = np.stack([rows, rows], 1)
        fixed, moving = _sides(t1, t2, both)
        start = _register(fixed, moving, 1, _register(fixed, moving, 0))
        matches += _registered(t1, t2, both, start)
    return matches


def _registered(t1: Views, t2: Views, rows: np.ndarray, start: torch.Tensor) -> list[Match]:
    """The last level of the registration of partners, rows (B, 2)."""
    fixed, moving = _sides(t1, t2, rows)
    parameters = _register(fixed, moving, 2, start)
    agreement = _agreement(fixed, moving, parameters, 1).tolist()
    found = zip(rows.tolist(), _transforms(parameters), agreement, strict=True)
    return [Match(a, b, transform, value) for (a, b), transform, value in found]


def laid_over(images: torch.Tensor, transforms: torch.Tensor) -> torch.Tensor:
    """Lay T2 slices (B, C, S, S), on a grid of any size, over their T1 partners; bicubic."""
    grid = F.affine_grid(transforms, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bicubic", align_corners=False).clamp(0, 1)


def copies(slices: torch.Tensor, of: torch.Tensor) -> np.ndarray:
    """(N,) bool: which slices occur in `of`, a stack of the same contrast, too."""
    if not len(slices) or not len(of):
        return np.zeros(len(slices), bool)
    a, b = (_unit(_details(_smaller(stack.float(), 4), 4)) for stack in (slices, of))
    return (torch.einsum("icp,jcp->ij", a, b).amax(1) > SAME).numpy()


def _candidates(t1: Views, t2: Views) -> np.ndarray:
    """(N, 2) rows of `t1` and `t2` that are alike where they lie, or a few pixels beside it."""
    if not len(t1.own) or not len(t2.own):
        return np.empty((0, 2), int)
    fixed = _smaller(torch.cat([t1.own, t1.translated], 1).float(), 4)
    moving = _smaller(torch.cat([t2.translated, t2.own], 1).float(), 4)
    fixed, moving = _unit(_details(fixed, 4)), _details(moving, 4)
    shifts = [(dy, dx) for dy in (-2, 0, 2) for dx in (-2, 0, 2)]
    alike = torch.full((len(fixed), len(moving)), -1.0)
    for shift in shifts:
        moved = _unit(moving.roll(shift, (2, 3)))
        alike = torch.maximum(alike, torch.einsum("icp,jcp->ij", fixed, moved) / 2)
    likely = torch.zeros_like(alike, dtype=torch.bool)
    for dim in (0, 1):
        best = alike.topk(min(EACH, alike.shape[dim]), dim).indices
        likely.scatter_(dim, best, True)
    return (likely & (alike > ALIKE)).nonzero().numpy()


def _best_of(pairs: np.ndarray, agreement: torch.Tensor) -> np.ndarray:
    """Which of the candidates are among the two best of one of their slices."""
    values, best = agreement.numpy(), np.zeros(len(pairs), bool)
    order = np.argsort(-values)
    for column in (0, 1):
        seen: Counter[int] = Counter()
        for k in order:
            seen[pairs[k, column]] += 1
            best[k] |= seen[pairs[k, column]] <= 2
    return np.flatnonzero(best & (values > ALIKE))


def _mutual(found: list[tuple[int, int, float]]) -> list[int]:
    """Which of the candidates (row, row, agreement) are partners."""
    others: dict[tuple[int, int], list[float]] = {}
    for *rows, value in found:
        for column, row in enumerate(rows):
            others.setdefault((column, row), []).append(value)
    partners = []
    for k, (a, b, value) in enumerate(found):
        near = sorted([*others[0, a], *others[1, b]])[:-2]  # the best is in both
        first, second = max(*others[0, a], *others[1, b]), max(near, default=0.0)
        sure = value >= CERTAIN or (value >= LIKELY and value - second >= LEAD)
        if value == first and sure:
            partners.append(k)
    return partners


def _sides(t1: Views, t2: Views, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """What is compared: (B, 2, S, S), in each a T1 and a T2 look of every slice."""
    a, b = t1.chosen(rows[:, 0]), t2.chosen(rows[:, 1])
    return torch.cat([a.own, a.translated], 1).float(), torch.cat([b.translated, b.own], 1).float()


def _register(
    fixed: torch.Tensor, moving: torch.Tensor, level: int, start: torch.Tensor | None = None
) -> torch.Tensor:
    """(B, 6): angle, log of the two scales, shear, and shift in halves of the grid."""
    found = torch.zeros(len(fixed), 6) if start is None else start.clone()
    found.requires_grad_()
    factor = 4 >> level
    a, b = (_details(_smaller(x, factor), factor) for x in (fixed, moving))
    head = _head(_smaller(fixed[:, :1], factor), factor)
    adam = torch.optim.Adam([found], RATES[level])
    for _ in range(STEPS[level]):
        adam.zero_grad()
        grid = F.affine_grid(_transforms(found), list(b.shape), align_corners=False)
        moved = F.grid_sample(b, grid, align_corners=False)
        loss = STIFFNESS * found[:, :4].square().sum(1) - _correlation(a, moved, head)
        loss.sum().backward()
        adam.step()
    return found.detach()


def _transforms(parameters: torch.Tensor) -> torch.Tensor:
    """(B, 2, 3), as `affine_grid` takes them."""
    angle, wider, higher, shear, x, y = parameters.unbind(1)
    cos, sin, wide, high = angle.cos(), angle.sin(), wider.exp(), higher.exp()
    rows = [cos * wide, -sin * high + shear, x, sin * wide, cos * high, y]
    return torch.stack(rows, 1).view(-1, 2, 3)


def _agreement(
    fixed: torch.Tensor, moving: torch.Tensor, parameters: torch.Tensor, factor: int
) -> torch.Tensor:
    """(B,) correlation of the details in both looks, over both heads together."""
    fixed, moving = _smaller(fixed, factor), _smaller(moving, factor)
    moved = laid_over(moving, _transforms(parameters))
    head = torch.maximum(_head(fixed[:, :1], factor), _head(moved[:, 1:], factor))
    return _correlation(_details(fixed, factor), _details(moved, factor), head)


def _correlation(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    inside, total = (2, 3), weight.sum((2, 3), keepdim=True).clamp_min(1)
    a, b = (x - (x * weight).sum(inside, keepdim=True) / total for x in (a, b))
    squares = (a * a * weight).sum(inside) * (b * b * weight).sum(inside)
    return ((a * b * weight).sum(inside) / squares.clamp_min(1e-12).sqrt()).mean(1)


def _details(images: torch.Tensor, factor: int) -> torch.Tensor:
    """What is about two to twelve pixels of the full grid wide."""
    return _blurred(images, 0.7) - _blurred(images, 6 / factor + 0.5)


def _head(images: torch.Tensor, factor: int) -> torch.Tensor:
    return (_blurred(images, 1.5 / factor + 0.3) > FOREGROUND).float()


def _smaller(images: torch.Tensor, factor: int) -> torch.Tensor:
    return F.avg_pool2d(images, factor) if factor > 1 else images


def _unit(images: torch.Tensor) -> torch.Tensor:
    """(N, C, pixels), each channel of length one."""
    return F.normalize(images.flatten(2), dim=2)


def _blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    reach = round(3 * sigma)
    weights = torch.exp(-torch.arange(-reach, reach + 1).square() / (2 * sigma**2))
    weights = weights / weights.sum()
    channels = images.shape[1]
    row = weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    images = F.conv2d(F.pad(images, (reach, reach, 0, 0), "replicate"), row, groups=channels)
    column = row.transpose(2, 3)
    return F.conv2d(F.pad(images, (0, 0, reach, reach), "replicate"), column, groups=channels)


def _batches(rows: np.ndarray) -> Iterator[np.ndarray]:
    yield from (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))
