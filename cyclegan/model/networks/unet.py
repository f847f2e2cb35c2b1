"""The generator: a modified U-Net."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, repeat

import torch
import torch.nn.functional as F
from torch import nn

from cyclegan.model.networks.layers import Film, Grey, ResidualBlock, SelfAttention, modulated
from cyclegan.model.networks.style_encoder import StyleEncoder

LOG_ERRORS = (-6.0, 0.0)  # range of what a generator may predict: 0.0025 of white to all of it


class UNetGenerator(nn.Module):
    """Modified U-Net (Ronneberger et al. 2015), one channel in and out.

    What is modified: the image enters and leaves through a 2x2 pixel (un)shuffle, so the widest
    maps are at half resolution; residual blocks with channel normalisation; strided convolutions
    down, nearest-neighbour and 1x1 convolution up (no transposed convolution, no checkerboard);
    skips are added, not concatenated; self-attention at the coarsest level sees the whole head;
    a last 3x3 convolution at full resolution mixes the shuffled pixels with the input.

    Args:
        channels: width of each level, from half resolution downwards.
        blocks: residual blocks per level, on each side; twice as many at the coarsest.
        style: numbers in a style code (`StyleEncoder`), which scales and shifts every normalised
            channel and the last ones; 0 for a generator without styles.
        error: whether it predicts its absolute error, too.

    Input sides that are no multiple of `2 ** len(channels)` are padded with air and cropped again.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (32, 64, 128, 176),
        blocks: int = 1,
        style: int = 0,
        error: bool = False,
    ):
        super().__init__()
        self.multiple = 2 ** len(channels)
        detail = 8  # channels at full resolution

        def stage(width: int) -> nn.Sequential:
            return nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))

        self.stem = nn.Conv2d(4, channels[0], 3, padding=1)
        self.encoder = nn.ModuleList(stage(c) for c in channels[:-1])
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(channels)
        )
        self.bottleneck = nn.Sequential(
            stage(channels[-1]), SelfAttention(channels[-1]), stage(channels[-1])
        )
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(channels))
        self.decoder = nn.ModuleList(stage(c) for c in channels[:-1])
        self.unfold = nn.Conv2d(channels[0], 4 * detail, 3, padding=1)
        self.head = nn.Conv2d(detail + 1, 1, 3, padding=1)
        down = [c for c in channels[:-1] for _ in range(blocks)]
        self.widths = [*down, *[channels[-1]] * (2 * blocks + 1), *reversed(down), detail]
        self.style_encoder = StyleEncoder(style) if style else None
        # No bias: the code of zeros changes nothing, and is the source's own guess.
        self.film = nn.Linear(style, 2 * sum(self.widths), bias=False) if style else None
        if self.film is not None:
            nn.init.zeros_(self.film.weight)  # starts as the generator without styles
        self.error_head = _error_head(channels[0] + 8) if error else None

    def forward(
        self, x: torch.Tensor, style: torch.Tensor | None = None, error: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Translate.

        Args:
            x: (B, 1, H, W) in [0, 1].
            style: (B, numbers) of `style_encoder`; rows of zeros, or None: what suits the source.
            error: whether to predict the absolute error, too.

        Returns:
            (B, 1, H, W) in [0, 1]; with `error` also the log of the predicted absolute error,
            (B, 1, H, W), from which no gradient reaches the translation.
        """
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple))
        film = self._films(style)
        h = self.stem(F.pixel_unshuffle(2 * x - 1, 2))  # (B, C0, H/2, W/2)
        skips = []
        for stage, down in zip(self.encoder, self.down, strict=True):
            h = _through(stage, h, film)
            skips.append(h)
            h = down(h)
        first, attention, second = self.bottleneck
        h = attention(_through(first, h, film), next(film))  # (B, C, H/16, W/16), four levels
        h = _through(second, h, film)
        for stage, up, skip in zip(
            reversed(self.decoder), reversed(self.up), reversed(skips), strict=True
        ):
            h = _through(stage, F.interpolate(up(h), scale_factor=2, mode="nearest") + skip, film)
        wide = F.silu(h)
        h = F.silu(modulated(F.pixel_shuffle(self.unfold(wide), 2), next(film)))  # (B, 8, H, W)
        # In float32 whatever the rest runs in: bfloat16 has 128 grey values from 0.5 to 1.
        with torch.autocast(x.device.type, enabled=False):
            out = Grey.apply(self.head(torch.cat([h.float(), 2 * x.float() - 1], dim=1)))
        if not error:
            return out[..., :height, :width]
        return out[..., :height, :width], self._log_error(wide, x, out)[..., :height, :width]

    def _films(self, style: torch.Tensor | None) -> Iterator[Film]:
        """Scale and shift of each normalisation, in the order of their use, and of the last
        channels."""
        if style is None or self.film is None:
            return repeat(None)
        parts = self.film(style)[..., None, None].split([2 * w for w in self.widths], 1)
        return iter([tuple(part.chunk(2, 1)) for part in parts])

    def _log_error(self, wide: torch.Tensor, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        images = [F.pixel_unshuffle(2 * image - 1, 2) for image in (x, out)]
        features = torch.cat([wide, *(i.to(wide.dtype) for i in images)], 1).detach()
        return F.pixel_shuffle(self.error_head(features).float(), 2).clamp(*LOG_ERRORS)


def _through(stage: nn.Sequential, h: torch.Tensor, film: Iterator[Film]) -> torch.Tensor:
    for block in stage:
        h = block(h, next(film))
    return h


def _error_head(channels: int) -> nn.Sequential:
    """Features at half resolution -> four pixels each: log of the predicted absolute error."""
    last = nn.Conv2d(24, 4, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, -3.0)  # 0.05 of white
    first, second = nn.Conv2d(channels, 24, 3, padding=1), nn.Conv2d(24, 24, 3, padding=1)
    return nn.Sequential(first, nn.SiLU(), second, nn.SiLU(), last)
