"""Lesions that training implants: shapes, and how they show in T1 and T2, on real slices too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from cyclegan.simulation.augment import RandomStream, local_mean, per_image

LARGEST_NUMBER = 5  # lesions in a slice
# A contrast is a lesion's mean less that of what surrounds it, in standard deviations of the brain.
# 388 real lesions of glioma patients (BraTS 2020, 1,064 planes): T2 = 1.01 - 0.75 T1, rest 0.68; T1
# from -0.97 to 0.82, T2 from -0.15 to 2.38 (5th and 95th percentiles). Below are the contrasts of a
# lesion's middle, edges and texture take a third: implanted in training pairs of such patients they
# measure T2 = 0.98 - 0.72 T1, rest 0.49. Only of lesions that the T1 shows: what it does not show
# can only be guessed.
T1_CONTRAST = (-0.15, -1.8)  # mostly nearer to the first
T2_AT_ZERO, T2_SLOPE, T2_REST = 1.5, -0.75, 0.5
T2_CONTRAST = (0.35, 3.2)
BANK_SHARE = 0.5  # of the slices get a real lesion, where there is a bank


class Implanted(NamedTuple):
    """Slices with the same lesions, and where these are; all (B, 1, S, S) in [0, 1].

    `lesion` is soft at its edges; `around` has a margin of four pixels more.
    """

    source: torch.Tensor
    target: torch.Tensor
    lesion: torch.Tensor
    around: torch.Tensor


class LesionBank:
    """Real lesions that show in both contrasts, as patches to implant.

    Args:
        t1, t2: (N, P, P) contrast to the tissue around, in standard deviations of the brain.
        masks: (N, P, P) in [0, 1], the lesion with a soft edge.
    """

    def __init__(self, t1: torch.Tensor, t2: torch.Tensor, masks: torch.Tensor):
        self.patches = torch.stack([t1, t2, masks], 1).float()

    def __len__(self) -> int:
        return len(self.patches)

    @classmethod
    def load(cls, path: str | Path) -> LesionBank:
        """Read patches of T1, T2 and FLAIR, which shows where a lesion ends.

        Args:
            path: .npz file with `t1`, `t2` and `flair`, (N, planes, P, P) each, z-scored per
                volume, zero outside the brain.

        Raises:
            ValueError: no such file, other arrays, or no lesion that both contrasts show.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                stacks = [np.asarray(file[k], np.float32) for k in ("t1", "t2", "flair")]
        except FileNotFoundError:
            raise ValueError(f"{path}: no such file") from None
        except (OSError, KeyError, ValueError):
            raise ValueError(f"{path}: not a file of lesions; {_BANK_FORMAT}") from None
        if stacks[0].ndim != 4 or any(s.shape != stacks[0].shape for s in stacks):
            raise ValueError(f"{path}: t1, t2 and flair differ in shape; {_BANK_FORMAT}")
        side = stacks[0].shape[-1]
        planes = zip(*(s.reshape(-1, side, side) for s in stacks), strict=True)
        usable = [patch for plane in planes for patch in _patches(*plane)]
        if not usable:
            raise ValueError(f"{path}: no lesion in it is dark in T1 and bright in T2")
        return cls(*(torch.from_numpy(np.stack(p)) for p in zip(*usable, strict=True)))

    def sample(self, rng: RandomStream, seeds: torch.Tensor, size: int) -> torch.Tensor:
        """A lesion for each image, turned, mirrored, from a tenth to a quarter of a side wide.

        Args:
            rng: of B images.
            seeds: (B,), the pixel of each flattened image that becomes the lesion's centre.
            size: side of the images.

        Returns:
            (B, 3, size, size): contrasts in T1 and T2, and the mask.
        """
        pick = rng.integer(len(self))
        sides = (rng.uniform(0.06, 0.25) * size).round().int().clamp_min(8).tolist()
        turns, mirrored = rng.integer(4).tolist(), rng.integer(2).tolist()
        canvas = torch.zeros(len(pick), 3, size, size)
        for k, (row, seed) in enumerate(zip(pick.tolist(), seeds.tolist(), strict=True)):
            patch = self.patches[row : row + 1].rot90(turns[k], (2, 3))
            patch = patch.flip(3) if mirrored[k] else patch
            patch = F.interpolate(patch, (sides[k], sides[k]), mode="bilinear", antialias=True)[0]
            top, left = seed // size - sides[k] // 2, seed % size - sides[k] // 2
            rows = slice(max(top, 0), min(top + sides[k], size))
            columns = slice(max(left, 0), min(left + sides[k], size))
            inner = patch[:, rows.start - top :, columns.start - left :]
            canvas[k, :, rows, columns] = inner[
                :, : rows.stop - rows.start, : columns.stop - columns.start
            ]
        return canvas.to(rng.device)


_BANK_FORMAT = "expected .npz with t1, t2 and flair, (N, planes, P, P) each"


def _patches(
    t1: np.ndarray, t2: np.ndarray, flair: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Contrasts and mask of the lesion in the middle of a plane, if both contrasts show it."""
    brain = (t1 != 0) | (t2 != 0) | (flair != 0)
    parts, count = ndimage.label(ndimage.binary_opening((flair > 1) & brain))
    side = len(t1)
    middle = parts[3 * side // 8 : 5 * side // 8, 3 * side // 8 : 5 * side // 8]
    if count == 0 or not middle.any():
        return
    lesion = parts == np.bincount(middle[middle > 0]).argmax()
    near = ndimage.binary_dilation(parts > 0, iterations=2)
    ring = ndimage.binary_dilation(lesion, iterations=6) & ~near
    ring &= ndimage.binary_erosion(brain, iterations=2)
    if min(lesion.sum(), ring.sum()) < 20:
        return
    contrasts = [image - image[ring].mean() for image in (t1, t2)]
    means = [c[lesion].mean() for c in contrasts]
    if means[0] <= T1_CONTRAST[0] and means[1] >= T2_CONTRAST[0]:
        # Many go on beyond the patch: they fade over its last four pixels, instead of ending there.
        edge = np.minimum(np.arange(side), np.arange(side)[::-1]) / 4
        soft = ndimage.gaussian_filter(lesion.astype(np.float32), 0.7)
        yield *contrasts, soft * np.minimum(np.minimum.outer(edge, edge), 1).astype(np.float32)


def sample_lesions(
    inside: torch.Tensor, rng: RandomStream, probability: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Soft masks of up to five lesions in the brain.

    Args:
        inside: (B, 1, H, W), the brain.
        probability: that an image has any.

    Returns:
        Masks (B, 5, H, W), all zero where there is no lesion; cores of the first, (B, 1, H, W);
        and the middle pixel of the first in the flattened image, (B,).
    """
    size = inside.shape[-1]
    axis = torch.arange(size, device=inside.device, dtype=torch.float32)
    core = torch.zeros_like(inside)
    if probability == 0:
        seeds = torch.zeros(len(inside), dtype=torch.int64, device=inside.device)
        return core.expand(-1, LARGEST_NUMBER, -1, -1), core, seeds
    present = rng.chance(probability)
    warp = rng.field(size, 12) * 0.35 + rng.field(size, 40) * 0.15
    warp = warp * rng.factor(0.1, 1)  # tumours are rounder than what was infarcted
    rank = inside.flatten(1).cumsum(1)  # the nth brain pixel is where this first reaches n
    is_mass = rng.chance(0.6)
    masks, seeds_of = [], []
    for k in range(LARGEST_NUMBER):
        wish = rng.uniform(0, 1, 1) * rank[:, -1:]
        seeds = torch.searchsorted(rank, wish).clamp_max(size * size - 1)[:, 0]
        seeds_of.append(seeds)
        y = axis[None, None, :, None] - per_image((seeds // size).float())
        x = axis[None, None, None, :] - per_image((seeds % size).float())
        # The first is a mass more often than not, of up to 10 cm, the rest are spots of white
        # matter: 20 to 170 pixels.
        share = rng.uniform(0, 1)
        radius = 0.9 + 1.1 * share
        if k == 0:
            radius = torch.where(is_mass > 0, 1.2 + 2.7 * share**0.6, radius)
        radius = per_image(radius.exp()) * size / 256
        ratio = rng.factor(-0.35, 0.35).exp()
        distance = ((y * ratio) ** 2 + (x / ratio) ** 2).sqrt() / radius * (1 + warp)
        where = per_image(present * (rng.chance(0.5) if k else 1.0)) * inside
        masks.append(where * torch.sigmoid((1 - distance) * 8))
        if k == 0:
            has_core = rng.switch(0.3) * (radius > 10 * size / 256)
            core = where * has_core * torch.sigmoid((0.5 - distance) * 14)
    return torch.cat(masks, 1), core, seeds_of[0]


def implant_lesions(
    source: torch.Tensor,
    target: torch.Tensor,
    masks: torch.Tensor,
    to: str,
    rng: RandomStream,
    bank: LesionBank | None = None,
) -> Implanted:
    """Implant the same lesions in real slices and in their other contrast.

    Oedema and gliosis lengthen T1 and T2 together: a patch that is a little darker in T1 is much
    brighter in T2, by the relation above. Half of the lesions wash out what lies under them, so
    that a mass as bright as its surroundings in T1 can be recognised by that.

    Args:
        source: (B, 1, S, S) in [0, 1], the other contrast than `to`.
        target: (B, 1, S, S) in [0, 1], the same slices in `to`, or translated to it.
        masks: (B, 1, S, S), the head.
        to: "T1" or "T2", the contrast of `target`.
        bank: real lesions, which some of the slices get instead of the first simulated one.
    """
    size = source.shape[-1]
    reach = size // 16  # from the head's outline; first along columns, then along rows, for time
    outside = F.max_pool2d(1 - masks, (2 * reach + 1, 1), stride=1, padding=(reach, 0))
    interior = 1 - F.max_pool2d(outside, (1, 2 * reach + 1), stride=1, padding=(0, reach))
    shapes, core, seeds = sample_lesions(interior, rng, 1.0)
    t1, t2 = _contrasts(shapes, rng)
    washed_out = rng.switch(0.5) * rng.factor(0.5, 1) * shapes.amax(1, keepdim=True)
    if bank is not None:
        real = rng.switch(BANK_SHARE)
        *contrasts, mask = bank.sample(rng, seeds, size).split(1, 1)
        mask = mask * interior * real
        others = 1 - mask
        t1, t2 = (old * others + new * mask for old, new in zip((t1, t2), contrasts, strict=True))
        shapes = torch.cat([shapes[:, :1] * (1 - real), shapes[:, 1:], mask], 1)
        core, washed_out = core * (1 - real), torch.maximum(washed_out * others, mask)
        t1, t2 = (c * shapes.amax(1, keepdim=True).sign() for c in (t1, t2))
    lesion = shapes.amax(1, keepdim=True)

    def changed(image: torch.Tensor, contrast: torch.Tensor) -> torch.Tensor:
        mean = local_mean(image, interior, 2)
        count = interior.sum((1, 2, 3), keepdim=True).clamp_min(1)
        centre = (image * interior).sum((1, 2, 3), keepdim=True) / count
        deviation = (
            ((image - centre) * interior).square().sum((1, 2, 3), keepdim=True) / count
        ) ** 0.5
        return image + washed_out * (mean - image) + contrast * deviation

    def as_t1(image: torch.Tensor) -> torch.Tensor:
        return (changed(image, t1) * (1 - 0.6 * core)).clamp(0, 1)

    def as_t2(image: torch.Tensor) -> torch.Tensor:
        # As bright as the fluid of the slice, at most.
        rank = (0.02 * masks.flatten(1).sum(1, keepdim=True)).long()
        fluid = per_image(
            image.flatten(1).sort(dim=1, descending=True).values.gather(1, rank)[:, 0]
        )
        bright = torch.minimum(changed(image, t2), torch.maximum(fluid, image))
        return (bright + 0.9 * core * (fluid - bright).clamp_min(0)).clamp(0, 1)

    around = F.max_pool2d(lesion, 9, stride=1, padding=4)
    if to == "T2":
        return Implanted(as_t1(source), as_t2(target), lesion, around)
    return Implanted(as_t2(source), as_t1(target), lesion, around)


def _contrasts(shapes: torch.Tensor, rng: RandomStream) -> tuple[torch.Tensor, torch.Tensor]:
    """Contrasts of lesions in T1 and T2, (B, 1, S, S) each, that belong together as real ones do.

    Texture is shared: where a lesion is darker in T1 it is brighter in T2.
    """
    count, (first, last) = shapes.shape[1], T1_CONTRAST
    t1 = first + (last - first) * rng.uniform(0, 1, count) ** 1.7
    t2 = T2_AT_ZERO + T2_SLOPE * t1 + T2_REST * rng.normal(count)
    texture = 1 + 0.25 * rng.field(shapes.shape[-1], 40)
    largest = shapes.argmax(1, keepdim=True)  # where two overlap, the nearer one's
    weight = shapes.amax(1, keepdim=True) * texture

    def laid_out(contrast: torch.Tensor) -> torch.Tensor:
        return contrast[..., None, None].expand_as(shapes).gather(1, largest) * weight

    return laid_out(t1), laid_out(t2.clamp(*T2_CONTRAST))
