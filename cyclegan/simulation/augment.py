"""Random geometry and intensity on batches of images, on whatever device they live.

Every random number goes back to CPU generators, one for a batch or one for each image, so equal
seeds give equal batches on the same kind of device. Images are (B, C, H, W) float32 in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

BLOCK = 128  # uniform numbers made ahead for each image: one copy to the device instead of many


class RandomStream:
    """Random numbers of a batch: one value per image, or one smooth field per image.

    Args:
        batch: number of images, B.
        rng: one CPU generator for the batch, or one for each image. With one for each, an image's
            numbers do not depend on which others share its batch.
        device: where the numbers are needed. On a GPU normal numbers are made there, from
            generators that `rng` seeds: a CPU is slower at noise than a GPU is at a training step.
    """

    def __init__(
        self,
        batch: int,
        rng: torch.Generator | Sequence[torch.Generator],
        device: torch.device | str = "cpu",
    ):
        self.batch, self.device = batch, torch.device(device)
        self.rngs = [rng] if isinstance(rng, torch.Generator) else list(rng)
        self.each = batch // len(self.rngs)  # images of a generator
        if self.each * len(self.rngs) != batch:
            raise ValueError(
                f"{len(self.rngs)} generators for {batch} images; give one, or one each"
            )
        self.normal_rngs = self.rngs
        if self.device.type != "cpu":
            seeds = [int(torch.randint(2**62, (), generator=g)) for g in self.rngs]
            self.normal_rngs = [torch.Generator(self.device).manual_seed(s) for s in seeds]
        self._ready = torch.empty(batch, 0, device=self.device)

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """Uniform in [low, high): (B, *shape)."""
        count = math.prod(shape)
        if count > self._ready.shape[1]:
            fresh = [torch.rand(self.each, max(BLOCK, count), generator=g) for g in self.rngs]
            self._ready = torch.cat(fresh).to(self.device)
        values, self._ready = self._ready[:, :count], self._ready[:, count:]
        return values.reshape(self.batch, *shape) * (high - low) + low

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal: (B, *shape)."""
        shape = (self.each, *shape)
        normal = [torch.randn(shape, generator=g, device=self.device) for g in self.normal_rngs]
        return torch.cat(normal)

    def integer(self, high: int) -> torch.Tensor:
        """Uniform among 0 to `high` - 1, on the CPU: (B,) int64."""
        return torch.cat([torch.randint(high, (self.each,), generator=g) for g in self.rngs])

    def chance(self, probability: float) -> torch.Tensor:
        """1.0 with the given probability, else 0.0: (B,)."""
        return (self.uniform(0, 1) < probability).float()

    def factor(self, low: float, high: float) -> torch.Tensor:
        """Uniform in [low, high), to multiply images by: (B, 1, 1, 1)."""
        return per_image(self.uniform(low, high))

    def switch(self, probability: float) -> torch.Tensor:
        """`chance`, to multiply images by: (B, 1, 1, 1)."""
        return per_image(self.chance(probability))

    def field(self, size: int, cells: int, channels: int = 1) -> torch.Tensor:
        """Smooth unit-variance noise with about `cells` bumps a side: (B, channels, size, size)."""
        coarse = self.normal(channels, cells + 3, cells + 3)
        fine = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)
        return fine / fine.std(dim=(2, 3), keepdim=True).clamp_min(1e-6)

    def white(self, size: int, channels: int = 1) -> torch.Tensor:
        """White unit-variance noise: (B, channels, size, size)."""
        return self.normal(channels, size, size)


def per_image(values: torch.Tensor) -> torch.Tensor:
    """(B,) -> (B, 1, 1, 1), to multiply images by one value each."""
    return values[:, None, None, None]


def sampling_grid(
    rng: RandomStream,
    size: int,
    centre: torch.Tensor,
    half_side: torch.Tensor,
    *,
    rotation: float,
    stretch: float,
    shift: float,
    elastic: float = 0.0,
) -> torch.Tensor:
    """Coordinates for `F.grid_sample` of a randomly rotated, stretched, shifted, mirrored window.

    Args:
        size: side of the output grid in pixels.
        centre, half_side: (B, 2) x, y and (B,), the window in normalised coordinates of the input.
        rotation: largest angle in degrees.  stretch: largest relative change of either axis.
        shift: largest shift as a share of the window's half side.
        elastic: largest standard deviation of a smooth displacement, same unit as `shift`.

    Returns:
        (B, size, size, 2).
    """
    angle = rng.uniform(-rotation, rotation) * math.pi / 180
    mirror = 1 - 2 * rng.chance(0.5)
    scale = half_side[:, None] * (1 + rng.uniform(-stretch, stretch, 2))
    offset = centre + half_side[:, None] * rng.uniform(-shift, shift, 2)
    cos, sin = angle.cos(), angle.sin()
    rows = torch.stack(
        [
            torch.stack([cos * mirror * scale[:, 0], -sin * scale[:, 1], offset[:, 0]], 1),
            torch.stack([sin * mirror * scale[:, 0], cos * scale[:, 1], offset[:, 1]], 1),
        ],
        1,
    )  # (B, 2, 3)
    grid = F.affine_grid(rows, [rng.batch, 1, size, size], align_corners=False)
    if elastic:
        amount = per_image(half_side * rng.uniform(0, elastic))
        grid = grid + (amount * rng.field(size, 6, 2)).permute(0, 2, 3, 1)
    return grid


def resample(images: torch.Tensor, grid: torch.Tensor, outside: str = "zeros") -> torch.Tensor:
    """Bilinear sampling of (B, C, H, W) at `grid`; `outside` is "zeros" (air) or "border"."""
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)


def blur(images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Gaussian blur of (B, C, H, W); sigma in pixels per image, (B,) or (B, 2) for y and x."""
    batch, channels, height, width = images.shape
    if sigma.ndim == 1:
        sigma = sigma[:, None].expand(-1, 2)
    radius = 4
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    kernels = torch.exp(-0.5 * (offsets / sigma[..., None].clamp_min(1e-2)) ** 2)
    kernels = (kernels / kernels.sum(-1, keepdim=True)).repeat_interleave(channels, 0)
    stacked = images.reshape(1, batch * channels, height, width)
    groups = batch * channels
    stacked = F.conv2d(stacked, kernels[:, 0, None, :, None], padding=(radius, 0), groups=groups)
    stacked = F.conv2d(stacked, kernels[:, 1, None, None, :], padding=(0, radius), groups=groups)
    return stacked.reshape(images.shape)


def local_mean(images: torch.Tensor, weights: torch.Tensor, rounds: int) -> torch.Tensor:
    """Weighted mean of what lies around each pixel, nearly Gaussian from two rounds on.

    Args:
        images, weights: (B, 1, S, S).
        rounds: of smoothing; the standard deviation is 16 pixels times their square root.
    """
    # On an eighth of the grid: a pool costs the square of its reach.
    sums, totals = (F.avg_pool2d(t, 8, ceil_mode=True) for t in (images * weights, weights))
    for _ in range(rounds):
        sums, totals = (F.avg_pool2d(t, 7, stride=1, padding=3) for t in (sums, totals))
    mean = sums / totals.clamp_min(1e-3)
    return F.interpolate(mean, size=images.shape[-2:], mode="bilinear", align_corners=False)


def add_rician_noise(images: torch.Tensor, sigma: torch.Tensor, rng: RandomStream) -> torch.Tensor:
    """Magnitude of the image plus complex Gaussian noise (Gudbjartsson & Patz 1995)."""
    size, channels = images.shape[-1], images.shape[1]
    real = images + per_image(sigma) * rng.white(size, channels)
    imaginary = per_image(sigma) * rng.white(size, channels)
    return (real**2 + imaginary**2).sqrt()


def move_real(
    images: torch.Tensor, masks: torch.Tensor, size: int, rng: RandomStream
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move framed real slices about without changing what they show.

    Mirror left-right, turn by up to 8 degrees, stretch by 8 %, shift by 3 %; a gamma and a bias
    field just strong enough that a discriminator cannot know a slice by its grey values.

    Args:
        images: (B, 1, S, S) in [0, 1].
        masks: (B, 1, S, S), the head.
        size: side of the result.

    Returns:
        Images and masks, moved alike: (B, 1, size, size) in [0, 1], and 0 or 1.
    """
    centre = torch.zeros(rng.batch, 2, device=images.device)
    half = rng.uniform(0.92, 1.12)
    grid = sampling_grid(rng, size, centre, half, rotation=8, stretch=0.08, shift=0.03)
    out, moved_masks = resample(torch.cat([images, masks.float()], 1), grid).split(1, 1)
    out = out.clamp(0, 1) ** rng.factor(-0.08, 0.08).exp()
    out = out * (rng.factor(0, 0.04) * rng.field(size, 2)).exp()
    return out.clamp(0, 1), (moved_masks > 0.5).float()


def disturb(images: torch.Tensor, masks: torch.Tensor, rng: RandomStream) -> torch.Tensor:
    """Another scanner, another export: gain, gamma, bias field, blur and noise, differentiable.

    For the input of a generator, never for its target: so it learns to output a clean image in the
    usual window, whatever the window of its input, and cannot read the target off a grey value or
    off faint detail.

    Args:
        images: (B, 1, S, S) in [0, 1].
        masks: (B, 1, S, S), the head; outside stays as it is.
    """
    size = images.shape[-1]
    out = images.clamp_min(1e-3) ** rng.factor(-0.25, 0.25).exp()  # finite slope at zero
    out = out * (rng.factor(0, 0.12) * rng.field(size, 2)).exp()
    out = out * rng.factor(0.8, 1.05)
    out = blur(out, rng.chance(0.4) * rng.uniform(0, 0.8))
    out = out + rng.factor(0, 0.025) * rng.white(size)
    return torch.where(masks > 0.5, out, images).clamp(0, 1)


def fading_rim(masks: torch.Tensor, rng: RandomStream, probability: float) -> torch.Tensor:
    """Weights that cut a slice smaller and let it fade towards its new outline.

    Brain masks are tight or loose, and interpolation leaves them soft. What fades away looks like a
    thin rim of fluid in T1, and a generator that knows sharp and loose masks only paints it bright
    in T2. Multiplied to a slice and to its translation alike, these weights say that what fades in
    one contrast fades in the other.

    Args:
        masks: (B, 1, S, S), what is cut smaller.
        probability: that an image is changed at all.

    Returns:
        (B, 1, S, S) in [0, 1]: 0 outside the mask, 1 from 14 pixels inside it on, or 1 everywhere.
    """
    size = masks.shape[-1]
    # Pixels from the outline, as a king walks, by twos for time.
    left = (F.avg_pool2d(masks.float(), 2, ceil_mode=True) > 0.5).float()
    depth = torch.zeros_like(left)
    for _ in range(7):
        depth = depth + 2 * left
        left = 1 - F.max_pool2d(1 - left, 3, stride=1, padding=1)
    depth = F.interpolate(depth, size=(size, size), mode="bilinear", align_corners=False)
    ragged = (rng.factor(0, 1) * rng.field(size, 24)).clamp(-2, 2)
    start, width = rng.factor(0, 6) + ragged, rng.factor(0.5, 6)
    weights = ((depth - start) / width).clamp(0, 1) * masks
    return torch.where(rng.switch(probability) > 0, weights, torch.ones_like(weights))
