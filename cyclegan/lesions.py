"""Lesions that training draws: shapes, and their look in T1 and T2, on real slices too."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from cyclegan.augment import Draw, view


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
    rank = inside.flatten(1).cumsum(1)  # the nth brain pixel is where this first reaches n
    for k in range(5):
        wish = draw.uniform(0, 1, 1) * rank[:, -1:]
        seeds = torch.searchsorted(rank, wish).clamp_max(size * size - 1)[:, 0]
        y = axis[None, None, :, None] - view((seeds // size).float())
        x = axis[None, None, None, :] - view((seeds % size).float())
        # The first may be a mass of up to 4 cm, the rest are white-matter spots.
        sizes = (1.2, 3.7) if k == 0 else (0.7, 2.0)
        radius = view(draw.uniform(*sizes).exp()) * size / 256
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
) -> tuple[torch.Tensor, torch.Tensor]:
    """Implant the same lesions in real slices and in their translations.

    Oedema and gliosis lengthen T1 and T2 together: a patch that is a little darker in T1 is much
    brighter in T2. Unpaired slices alone never say so, and a generator then reads a lesion as grey
    matter; these pairs do say it, in the look of real slices.

    Args:
        source: (B, 1, S, S) in [0, 1], the other contrast than `to`.
        translated: (B, 1, S, S), `source` translated to `to`.
        masks: (B, 1, S, S), the head.
        to: "T1" or "T2", the contrast of `translated`.

    Returns:
        `source` and `translated` with lesions.
    """
    size = source.shape[-1]
    reach = size // 16  # from the head's outline; first along columns, then along rows, for time
    outside = F.max_pool2d(1 - masks, (2 * reach + 1, 1), stride=1, padding=(reach, 0))
    interior = 1 - F.max_pool2d(outside, (1, 2 * reach + 1), stride=1, padding=(0, reach))
    lesion, core = draw_lesions(interior, draw, 1.0)
    shape = (lesion * (1 + 0.2 * draw.field(size, 40)) * 0.9).clamp(0, 1)
    strength = draw.uniform(0, 1)
    darker = view(0.05 + 0.3 * strength + 0.05 * draw.uniform(0, 1)) * shape
    brighter = view(0.45 + 0.3 * strength + 0.2 * draw.uniform(0, 1)) * shape
    darker, brighter = torch.maximum(darker, 0.6 * core), torch.maximum(brighter, 0.9 * core)

    def as_t1(images: torch.Tensor) -> torch.Tensor:
        return images * (1 - darker)

    def as_t2(images: torch.Tensor) -> torch.Tensor:
        # As bright as the fluid of the slice, at most.
        fluid = view(torch.quantile(images.flatten(1), 0.98, dim=1))
        return images + brighter * (fluid - images).clamp_min(0)

    return (as_t1(source), as_t2(translated)) if to == "T2" else (as_t2(source), as_t1(translated))
