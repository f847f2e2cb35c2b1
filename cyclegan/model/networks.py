"""The networks: a lean modified U-Net (the product), ResNet-9 (the reference), a patch critic.

All generators map (B, 1, H, W) in [0, 1] to (B, 1, H, W) in [0, 1] and are fully convolutional.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, repeat

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

AIR = 0.02  # of white; darker is no tissue
LOG_ERRORS = (-6.0, 0.0)  # range of what a generator may predict: 0.0025 of white to all of it
LEAST_SLOPE = 1e-4  # of a grey value on its way back from black or white


Film = tuple[torch.Tensor, torch.Tensor] | None  # scale and shift, (B, C, 1, 1) each


def modulated(x: torch.Tensor, film: Film) -> torch.Tensor:
    """Scale and shift every channel, (B, C, H, W), or leave it (FiLM, Perez et al. 2018)."""
    return x if film is None else torch.addcmul(film[1], x, 1 + film[0]).to(x.dtype)


class Grey(torch.autograd.Function):
    """A sigmoid that can be left again.

    Far from zero a sigmoid has no slope: a generator that a few bad steps made black everywhere
    (seen from nothing, with logits of -24) stayed so, as all its gradients were 1e-11. So towards
    the middle the slope is at least `LEAST_SLOPE`, which Adam makes full steps of. Away from it the
    slope is the true one, or black air would drive the logits ever further.
    """

    @staticmethod
    def forward(ctx, logits: torch.Tensor) -> torch.Tensor:
        grey = torch.sigmoid(logits)
        ctx.save_for_backward(grey)
        return grey

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        (grey,) = ctx.saved_tensors
        slope = grey * (1 - grey)
        to_middle = gradient * (grey - 0.5) > 0  # descent goes against the gradient
        return gradient * torch.where(to_middle, slope.clamp_min(LEAST_SLOPE), slope)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of every pixel (Ba et al. 2016; Liu et al. 2022).

    Unlike instance normalisation it does not depend on how much air surrounds the head, and in
    bfloat16 on a CPU it is three times faster (measured: 3.6 against 12 ms for 4x32x128x128).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor, film: Film = None) -> torch.Tensor:  # (B, C, H, W)
        x = x.permute(0, 2, 3, 1)  # a view when the memory is channels-last
        x = F.layer_norm(x, x.shape[-1:], self.weight.to(x.dtype), self.bias.to(x.dtype))
        return modulated(x.permute(0, 3, 1, 2), film)


class ResidualBlock(nn.Module):
    """x + conv(SiLU(conv(norm(x)))), both convolutions 3x3."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.expand = nn.Conv2d(channels, channels, 3, padding=1)
        self.project = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.project.weight)  # starts as the identity: trains fast from step one
        nn.init.zeros_(self.project.bias)

    def forward(self, x: torch.Tensor, film: Film = None) -> torch.Tensor:
        return x + self.project(F.silu(self.expand(self.norm(x, film))))


class SelfAttention(nn.Module):
    """Multi-head self-attention over all pixels of the coarsest level (Zhang et al. 2019)."""

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm = ChannelNorm(channels)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: torch.Tensor, film: Film = None) -> torch.Tensor:
        batch, channels, height, width = x.shape
        qkv = self.to_qkv(self.norm(x, film)).reshape(batch, 3, self.heads, -1, height * width)
        query, key, value = qkv.transpose(-1, -2).unbind(1)  # each (B, heads, H*W, C/heads)
        out = F.scaled_dot_product_attention(query, key, value)
        out = out.transpose(-1, -2).reshape(batch, channels, height, width)
        return x + self.project(out)


class StyleEncoder(nn.Module):
    """A few numbers for how a scanner shows a contrast: its grey values, sharpness, suppression.

    Four strided convolutions, the mean and deviation of what they find over the head, and quantiles
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
        found = [mean, (deviation + 1e-6).sqrt()]
        found += [_quantiles(v, head, self.LEVELS) for v in (x, 4 * F.pad(gradient, (0, 1, 0, 1)))]
        return torch.tanh(self.code(F.silu(self.mix(torch.cat(found, 1)))).float())


@torch.no_grad()
def _quantiles(values: torch.Tensor, inside: torch.Tensor, count: int) -> torch.Tensor:
    """(B, count) evenly spaced quantiles of (B, 1, H, W) where `inside` is 1, 1 at most; ones where
    it is 1 nowhere. No gradient."""
    levels, found = torch.linspace(0.02, 0.98, count), []
    for image, head in zip(values, inside > 0.5, strict=True):
        held = image[head].clamp_max(1).cpu().numpy()
        if held.size == 0:
            found.append(torch.ones(count))
            continue
        ranks = (levels * (held.size - 1)).round().long().numpy()
        # A sort of all pixels took a third of the encoder's time.
        found.append(torch.from_numpy(np.partition(held, ranks)[ranks]))
    return torch.stack(found).to(values.device)


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


class ResnetGenerator(nn.Module):
    """ResNet generator of Zhu et al. 2017 (appendix 7.2), nine blocks by default: the yardstick."""

    def __init__(self, channels: int = 64, blocks: int = 9):
        super().__init__()

        def convolution(a: int, b: int, kernel: int, **options) -> list[nn.Module]:
            return [nn.Conv2d(a, b, kernel, **options), nn.InstanceNorm2d(b), nn.ReLU(True)]

        def block(width: int) -> nn.Module:
            reflect = {"padding": 1, "padding_mode": "reflect"}
            return _Residual(
                *convolution(width, width, 3, **reflect),
                *convolution(width, width, 3, **reflect)[:-1],
            )

        def upsample(a: int, b: int) -> list[nn.Module]:
            transposed = nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1)
            return [transposed, nn.InstanceNorm2d(b), nn.ReLU(True)]

        self.model = nn.Sequential(
            *convolution(1, channels, 7, padding=3, padding_mode="reflect"),
            *convolution(channels, 2 * channels, 3, stride=2, padding=1),
            *convolution(2 * channels, 4 * channels, 3, stride=2, padding=1),
            *(block(4 * channels) for _ in range(blocks)),
            *upsample(4 * channels, 2 * channels),
            *upsample(2 * channels, channels),
            nn.Conv2d(channels, 1, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, 0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % 4, 0, -height % 4))
        return (self.model(2 * x - 1)[..., :height, :width] + 1) / 2


class _Residual(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


class PatchDiscriminator(nn.Module):
    """70x70 PatchGAN (Isola et al. 2017) on the 2x2 pixel-unshuffled image.

    Channel instead of instance normalisation: the brightness of a tissue is part of a contrast's
    style, and instance normalisation would remove it.

    Args:
        channels: width of the first convolution.
        sources: when positive, the score also asks whether a patch fits its data source, by a
            projection (Miyato & Koyama 2018). The generator then has to answer an image of one
            scanner with that scanner's other contrast, not with the average of all.

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


GENERATORS = {"unet": UNetGenerator, "resnet": ResnetGenerator}
