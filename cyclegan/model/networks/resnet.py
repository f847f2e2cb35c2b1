"""The generator of the CycleGAN paper, for comparison."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ResnetGenerator(nn.Module):
    """ResNet generator of Zhu et al. 2017 (appendix 7.2), nine blocks by default: the yardstick."""

    style_encoder = error_head = None

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

    def forward(self, x: torch.Tensor, style: None = None) -> torch.Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % 4, 0, -height % 4))
        return (self.model(2 * x - 1)[..., :height, :width] + 1) / 2


class _Residual(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)
