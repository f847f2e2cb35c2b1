"""From slices to a style code: how a scanner shows a contrast."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from cyclegan.model.head import AIR


class StyleEncoder(nn.Module):
    """A few numbers for how a scanner shows a contrast: its grey values, sharpness, suppression.

    Four strided convolutions, the mean and deviation of their features over the head, and quantiles
    of grey values and of gradients: nothing in it knows where anything lies, and `numbers` in
    [-1, 1] are too few to carry a slice.

    Maps (B, 1, H, W) in [0, 1] to (B, numbers).
    """

    LEVELS = 16  # quantiles

    def __init__(self, numbers: int, channels: tuple[int, ...] = (16, 24, 32, 48)):
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise((1, *channels))
        )
        self.mix = nn.Linear(2 * channels[-1] + 2 * self.LEVELS, 64)
        self.code = nn.Linear(64, numbers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.float()
        head = (F.avg_pool2d(x, 5, stride=1, padding=2) > AIR).float()
        gradient = (x.diff(dim=2)[..., :-1].square() + x.diff(dim=3)[..., :-1, :].square()).sqrt()
        h = 2 * x - 1
        for step in self.steps:
            h = F.silu(step(h))
        h, inside = h.float(), F.adaptive_avg_pool2d(head, h.shape[-2:])
        total = inside.sum((2, 3)).clamp_min(1e-3)
        mean = (h * inside).sum((2, 3)) / total
        deviation = ((h - mean[..., None, None]).square() * inside).sum((2, 3)) / total
        statistics = [mean, (deviation + 1e-6).sqrt()]
        statistics += [
            _quantiles(v, head, self.LEVELS) for v in (x, 4 * F.pad(gradient, (0, 1, 0, 1)))
        ]
        return torch.tanh(self.code(F.silu(self.mix(torch.cat(statistics, 1)))).float())


@torch.no_grad()
def _quantiles(values: torch.Tensor, inside: torch.Tensor, count: int) -> torch.Tensor:
    """(B, count) evenly spaced quantiles of (B, 1, H, W) where `inside` is 1, 1 at most; ones where
    it is 1 nowhere. No gradient."""
    levels, quantiles = torch.linspace(0.02, 0.98, count), []
    for image, head in zip(values, inside > 0.5, strict=True):
        pixels = image[head].clamp_max(1).cpu().numpy()
        if pixels.size == 0:
            quantiles.append(torch.ones(count))
            continue
        ranks = (levels * (pixels.size - 1)).round().long().numpy()
        # A sort of all pixels took a third of the encoder's time.
        quantiles.append(torch.from_numpy(np.partition(pixels, ranks)[ranks]))
    return torch.stack(quantiles).to(values.device)
