"""Real or generated, patch by patch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from cyclegan.model.networks.layers import ChannelNorm


class PatchDiscriminator(nn.Module):
    """70x70 PatchGAN (Isola et al. 2017) on the 2x2 pixel-unshuffled image.

    Channel instead of instance normalisation: the brightness of a tissue is part of a contrast's
    style, and instance normalisation would remove it.

    Args:
        channels: width of the first convolution.
        sources: when positive, the score also asks whether a patch fits its data source, by a
            projection (Miyato & Koyama 2018). The generator then has to translate an image of one
            scanner to that scanner's other contrast, not with the average of all.

    Maps (B, 1, H, W) to (B, 1, about H/8, about W/8) unbounded scores, for a least-squares loss.
    """

    def __init__(self, channels: int = 64, sources: int = 0):
        super().__init__()

        def layer(a: int, b: int, stride: int) -> list[nn.Module]:
            convolution = nn.Conv2d(a, b, 4, stride=stride, padding=1)
            return [convolution, ChannelNorm(b), nn.LeakyReLU(0.2, True)]

        self.body = nn.Sequential(
            nn.Conv2d(4, channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, True),
            *layer(channels, 2 * channels, stride=2),
            *layer(2 * channels, 4 * channels, stride=1),
        )
        self.score = nn.Conv2d(4 * channels, 1, 4, padding=1)
        self.embedding = nn.Embedding(sources, 4 * channels) if sources else None
        if self.embedding is not None:
            nn.init.zeros_(self.embedding.weight)

    def forward(self, x: torch.Tensor, source: torch.Tensor | None = None) -> torch.Tensor:
        h = self.body(F.pixel_unshuffle(2 * x - 1, 2))
        score = self.score(h)
        if self.embedding is not None and source is not None:
            weight = self.embedding(source).to(h.dtype)[:, :, None, None]  # (B, C, 1, 1)
            projection = (h * weight).sum(1, keepdim=True) / h.shape[1] ** 0.5
            score = score + projection[..., : score.shape[-2], : score.shape[-1]]
        return score
