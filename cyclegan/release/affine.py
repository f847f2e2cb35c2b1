"""Lay one contrast of a slice over the other, by way of a translation.

Two contrasts are hard to compare; a slice and the translation of its partner are of one contrast,
and the correlation of their details says how near they lie. Six affine parameters follow it, from
large to small (Adam). So it works where the translation does, and brings as near as an affine
transform can: heads that bend differently in two scans stay a pixel apart here and there.

Slices are (B, 1, S, S) in [0, 1]; in fixed and in moving ones alike, S is the side of the network's
grid, or near it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from cyclegan.model.head import FOREGROUND

# Levels: a quarter, a half, and all of the grid's pixels.
STEPS = (30, 20, 20)  # of Adam
RATES = (0.015, 0.006, 0.002)
STIFFNESS = 0.3  # price of turning and stretching; both slices were framed alike
BATCH = 32


class Views(NamedTuple):
    """Slices of one contrast as they are, and translated to the other."""

    own: torch.Tensor
    translated: torch.Tensor


class Sides(NamedTuple):
    """What is compared, (B, 2, S, S) each: the contrast of the fixed slices, then the other."""

    fixed: torch.Tensor
    moving: torch.Tensor

    @classmethod
    def of(cls, fixed: Views, moving: Views) -> Sides:
        """Of slices of the two contrasts: equal rows are partners."""
        return cls(torch.cat(fixed, 1).float(), torch.cat(moving[::-1], 1).float())

    def smaller(self, factor: int) -> Sides:
        """At a part of the resolution."""
        return Sides(*(smaller(side, factor) for side in self))


def register(fixed: Views, moving: Views) -> tuple[torch.Tensor, torch.Tensor]:
    """Register slices that belong together.

    Returns:
        (B, 2, 3) transforms for `laid_over`, and (B,) how well the details agree then, 1 at most.
    """
    transforms, agreements = [], []
    for start in range(0, len(fixed.own), BATCH):
        rows = slice(start, start + BATCH)
        sides = Sides.of(*(Views(v.own[rows], v.translated[rows]) for v in (fixed, moving)))
        parameters = None
        for level in range(len(STEPS)):
            parameters = follow(sides, level, parameters)
        transforms.append(transforms_of(parameters))
        agreements.append(agreement(sides, parameters))
    return torch.cat(transforms), torch.cat(agreements)


def laid_over(moving: torch.Tensor, transforms: torch.Tensor) -> torch.Tensor:
    """Lay slices (B, C, S, S), on a grid of any size, over their partners; bicubic."""
    grid = F.affine_grid(transforms, list(moving.shape), align_corners=False)
    return F.grid_sample(moving, grid, mode="bicubic", align_corners=False).clamp(0, 1)


def follow(sides: Sides, level: int, start: torch.Tensor | None = None) -> torch.Tensor:
    """One level of the registration.

    Args:
        start: (B, 6) where to begin; default: where the slices lie.

    Returns:
        (B, 6): angle, log of the two scales, shear, and shift in halves of the grid.
    """
    found = torch.zeros(len(sides.fixed), 6) if start is None else start.clone()
    found.requires_grad_()
    factor = 4 >> level
    coarse = sides.smaller(factor)
    fixed, moving = (details(side, factor) for side in coarse)
    head = _head(coarse.fixed[:, :1], factor)
    adam = torch.optim.Adam([found], RATES[level])
    for _ in range(STEPS[level]):
        adam.zero_grad()
        grid = F.affine_grid(transforms_of(found), list(moving.shape), align_corners=False)
        moved = F.grid_sample(moving, grid, align_corners=False)
        loss = STIFFNESS * found[:, :4].square().sum(1) - _correlation(fixed, moved, head)
        loss.sum().backward()
        adam.step()
    return found.detach()


def transforms_of(parameters: torch.Tensor) -> torch.Tensor:
    """(B, 6) of `follow` -> (B, 2, 3), as `affine_grid` takes them."""
    angle, wider, higher, shear, x, y = parameters.unbind(1)
    cos, sin, wide, high = angle.cos(), angle.sin(), wider.exp(), higher.exp()
    rows = [cos * wide, -sin * high + shear, x, sin * wide, cos * high, y]
    return torch.stack(rows, 1).view(-1, 2, 3)


def agreement(sides: Sides, parameters: torch.Tensor, factor: int = 1) -> torch.Tensor:
    """(B,) correlation of the details in both contrasts, over both heads together."""
    fixed, moving = sides.smaller(factor)
    moved = laid_over(moving, transforms_of(parameters))
    head = torch.maximum(_head(fixed[:, :1], factor), _head(moved[:, 1:], factor))
    return _correlation(details(fixed, factor), details(moved, factor), head)


def details(images: torch.Tensor, factor: int = 1) -> torch.Tensor:
    """What is about two to twelve pixels wide in the full grid, of which this is a part."""
    return _blurred(images, 0.7) - _blurred(images, 6 / factor + 0.5)


def smaller(images: torch.Tensor, factor: int) -> torch.Tensor:
    """(B, C, S, S) at a part of the resolution."""
    return F.avg_pool2d(images, factor) if factor > 1 else images


def _correlation(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    inside, total = (2, 3), weight.sum((2, 3), keepdim=True).clamp_min(1)
    a, b = (x - (x * weight).sum(inside, keepdim=True) / total for x in (a, b))
    squares = (a * a * weight).sum(inside) * (b * b * weight).sum(inside)
    return ((a * b * weight).sum(inside) / squares.clamp_min(1e-12).sqrt()).mean(1)


def _head(images: torch.Tensor, factor: int) -> torch.Tensor:
    return (_blurred(images, 1.5 / factor + 0.3) > FOREGROUND).float()


def _blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    reach = round(3 * sigma)
    weights = torch.exp(-torch.arange(-reach, reach + 1).square() / (2 * sigma**2))
    channels = images.shape[1]
    row = (weights / weights.sum()).view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    images = F.conv2d(F.pad(images, (reach, reach, 0, 0), "replicate"), row, groups=channels)
    column = row.transpose(2, 3)
    return F.conv2d(F.pad(images, (0, 0, reach, reach), "replicate"), column, groups=channels)
