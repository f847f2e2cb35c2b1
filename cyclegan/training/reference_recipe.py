"""The training of Zhu et al. 2017 as published, to measure ours against: speed, not images.

Two ResNet-9 generators and two 70x70 PatchGANs in float32, one pair of images a step, each decoded
from its PNG file, enlarged to 286 and cropped to 256 pixels by worker processes; section 4 and
appendix 7 of the paper. One channel instead of three.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cyclegan import CONTRASTS, OTHER
from cyclegan.model.networks import GENERATORS
from cyclegan.training.image_pool import ImagePool
from cyclegan.training.pace import Pace

ENLARGED = 286 / 256  # before the crop
WEIGHT_CYCLE, WEIGHT_IDENTITY = 10.0, 5.0


class UnpairedFiles(Dataset):
    """An image of each contrast, drawn independently: contrast -> (1, size, size) float32."""

    def __init__(self, files: dict[str, Sequence[Path]], size: int):
        self.files = files
        self.transform = transforms.Compose(
            [
                transforms.Resize(round(ENLARGED * size), transforms.InterpolationMode.BICUBIC),
                transforms.RandomCrop(size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        return max(map(len, self.files.values()))

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        first = self.files["T1"][index % len(self.files["T1"])]
        paths = {"T1": first, "T2": random.choice(self.files["T2"])}
        return {c: self.transform(Image.open(path).convert("L")) for c, path in paths.items()}


class ReferenceRecipe:
    """Networks, optimisers and one step after another.

    Args:
        generator: name in `networks.GENERATORS`; the paper's is "resnet".
        files: contrast -> square images.
        device: where to train.
        size: side of the crops in pixels.
        workers: processes that decode; the authors' software has 4.
    """

    def __init__(
        self,
        generator: str,
        files: dict[str, Sequence[Path]],
        device: torch.device,
        size: int = 256,
        workers: int = 4,
    ):
        self.device, self.pace = device, Pace()
        self.generators = {c: GENERATORS[generator]().to(device) for c in CONTRASTS}
        self.discriminators = {c: patch_discriminator().to(device) for c in CONTRASTS}
        self.pools = {c: ImagePool(50) for c in CONTRASTS}
        self.rng = torch.Generator().manual_seed(0)
        self.optimizer_G, self.optimizer_D = (
            torch.optim.Adam(
                itertools.chain.from_iterable(n.parameters() for n in networks.values()),
                lr=2e-4,
                betas=(0.5, 0.999),
            )
            for networks in (self.generators, self.discriminators)
        )
        loader = DataLoader(UnpairedFiles(files, size), 1, shuffle=True, num_workers=workers)
        self.batches = _endless(loader)

    def train_step(self) -> None:
        """One step of the generators, then one of the discriminators."""
        with self.pace.waiting():
            real = {c: images.to(self.device) for c, images in next(self.batches).items()}
        for discriminator in self.discriminators.values():
            discriminator.requires_grad_(False)
        self.optimizer_G.zero_grad()
        loss, fake = torch.zeros((), device=self.device), {}
        for c in CONTRASTS:
            given = real[OTHER[c]]
            fake[c] = self.generators[c](given)
            loss = loss + _squared(self.discriminators[c](fake[c]), 1.0)
            back = self.generators[OTHER[c]](fake[c])
            loss = loss + WEIGHT_CYCLE * (back - given).abs().mean()
            same = self.generators[c](real[c])
            loss = loss + WEIGHT_IDENTITY * (same - real[c]).abs().mean()
        loss.backward()
        self.optimizer_G.step()
        self.optimizer_D.zero_grad()
        for c, discriminator in self.discriminators.items():
            discriminator.requires_grad_(True)
            label = torch.zeros(len(fake[c]), dtype=torch.long)
            old, _ = self.pools[c].query(fake[c], label, self.rng)
            right, wrong = discriminator(real[c]), discriminator(old)
            (0.5 * (_squared(right, 1.0) + _squared(wrong, 0.0))).backward()
        self.optimizer_D.step()


def patch_discriminator(channels: int = 64) -> nn.Sequential:
    """The 70x70 PatchGAN of appendix 7.2: (B, 1, H, W) to (B, 1, about H/8, about W/8) scores."""
    layers = [nn.Conv2d(1, channels, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for k, stride in ((1, 2), (2, 2), (4, 1)):
        layers += [
            nn.Conv2d(k * channels, 2 * k * channels, 4, stride, 1),
            nn.InstanceNorm2d(2 * k * channels),
            nn.LeakyReLU(0.2, True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(8 * channels, 1, 4, 1, 1))


def _squared(scores: torch.Tensor, wanted: float) -> torch.Tensor:
    return (scores - wanted).square().mean()


def _endless(loader: DataLoader) -> Iterator[dict[str, torch.Tensor]]:
    while True:
        yield from loader
