"""Lesions that training draws: shapes, and their look in T1 and T2, on real slices too."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from cyclegan.simulation.augment import Draw, local_mean, view


def draw_lesions(
    inside: torch.Tensor, draw: Draw, probability: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Soft masks (B, 1, H, W) of up to five lesions in the brain, and of their cores."""
    size = inside.shape[-1]
    axis = torch.arange(size, device=inside.device, dtype=torch.float32)
    lesion, core = torch.zeros_like(inside), torch.zeros_like(inside)
    if probability == 0:
        return lesion, core
    wanted = draw.chance(probability)
    warp = draw.field(size, 12) * 0.35 + draw.field(size, 40) * 0.15
    warp = warp * view(draw.uniform(0.1, 1))  # tumours are rounder than what was infarcted
    rank = inside.flatten(1).cumsum(1)  # the nth brain pixel is where this first reaches n
    for k in range(5):
        wish = draw.uniform(0, 1, 1) * rank[:, -1:]
        seeds = torch.searchsorted(rank, wish).clamp_max(size * size - 1)[:, 0]
        y = axis[None, None, :, None] - view((seeds // size).float())
        x = axis[None, None, None, :] - view((seeds % size).float())
        # The first is a mass more often than not, of up to 10 cm, the rest are white-matter spots.
        share = draw.uniform(0, 1)
        radius = 1.2 + 2.7 * share**0.6 if k == 0 else 0.7 + 1.3 * share
        radius = view(radius.exp()) * size / 256
        ratio = view(draw.uniform(-0.35, 0.35).exp())
        distance = ((y * ratio) ** 2 + (x / ratio) ** 2).sqrt() / radius * (1 + warp)
        present = view(wanted * (draw.chance(0.5) if k else 1.0)) * inside
        lesion = torch.maximum(lesion, present * torch.sigmoid((1 - distance) * 8))
        if k == 0:
            has_core = view(draw.chance(0.3)) * (radius > 10 * size / 256)
            core = present * has_core * torch.sigmoid((0.5 - distance) * 14)
    return lesion, core


def implant_lesions(
    source: torch.Tensor, translated: torch.Tensor, masks: torch.Tensor, to: str, draw: Draw
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Implant the same lesions in real slices and in their translations.

    Oedema and gliosis lengthen T1 and T2 together: a patch that is a little darker in T1 is much
    brighter in T2. Unpaired slices alone never say so, and a generator then reads a lesion as grey
    matter; these pairs do say it, in the look of real slices. Half of the lesions wash out what
    lies under them, so that a mass as bright as its surroundings in T1 can be told by that.

    Args:
        source: (B, 1, S, S) in [0, 1], the other contrast than `to`.
        translated: (B, 1, S, S), `source` translated to `to`.
        masks: (B, 1, S, S), the head.
        to: "T1" or "T2", the contrast of `translated`.

    Returns:
        `source` and `translated` with lesions, and where these are: (B, 1, S, S) in [0, 1], with a
        margin of four pixels.
    """
    size = source.shape[-1]
    reach = size // 16  # from the head's outline; first along columns, then along rows, for time
    outside = F.max_pool2d(1 - masks, (2 * reach + 1, 1), stride=1, padding=(reach, 0))
    interior = 1 - F.max_pool2d(outside, (1, 2 * reach + 1), stride=1, padding=(0, reach))
    lesion, core = draw_lesions(interior, draw, 1.0)
    shape = (lesion * (1 + 0.2 * draw.field(size, 40)) * 0.9).clamp(0, 1)
    strength = draw.uniform(0, 1)
    darker = view(0.02 + 0.33 * strength + 0.05 * draw.uniform(0, 1)) * shape
    brighter = view(0.45 + 0.3 * strength + 0.2 * draw.uniform(0, 1)) * shape
    darker, brighter = torch.maximum(darker, 0.6 * core), torch.maximum(brighter, 0.9 * core)

    washed_out = view(draw.chance(0.5) * draw.uniform(0.5, 1)) * shape

    def wash_out(images: torch.Tensor) -> torch.Tensor:
        mean = local_mean(images, interior, 2)
        return images + washed_out * (mean - images)

    def as_t1(images: torch.Tensor) -> torch.Tensor:
        return wash_out(images) * (1 - darker)

    def as_t2(images: torch.Tensor) -> torch.Tensor:
        # As bright as the fluid of the slice, at most.
        rank = (0.04 * masks.flatten(1).sum(1, keepdim=True)).long()
        fluid = view(images.flatten(1).sort(dim=1, descending=True).values.gather(1, rank)[:, 0])
        images = wash_out(images)
        return images + brighter * (fluid - images).clamp_min(0)

    where = F.max_pool2d(shape, 9, stride=1, padding=4)
    if to == "T2":
        return as_t1(source), as_t2(translated), where
    return as_t2(source), as_t1(translated), where
