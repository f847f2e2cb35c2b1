"""Label map -> T1w and T2w slice of the same anatomy, by the signal equations, randomised.

The inputs vary as scanners and heads do (tissue values, sequence, resolution, bias field, noise,
stripped or not, lesions); the targets are clean and in one moderate style. A generator trained on
such pairs knows which tissue is which before it sees a real image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cyclegan.model.head import FOREGROUND
from cyclegan.model.preprocess import HIGH_PERCENTILE, MARGIN, SMALLEST_FRAME
from cyclegan.simulation.augment import (
    RandomStream,
    add_rician_noise,
    blur,
    per_image,
    resample,
    sampling_grid,
)
from cyclegan.simulation.lesions import sample_lesions
from cyclegan.simulation.tissues import TISSUES, Tissue, inversion_recovery, spin_echo

# How much the tissues' values vary -> PD, T1 and T2 in ms, (B, 1, H, W) each.
TissueMaps = Callable[[float], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class SimulatedPair:
    """(B, 1, S, S) float32 in [0, 1]: what a scanner might give, and the clean targets."""

    t1: torch.Tensor
    t2: torch.Tensor
    t1_target: torch.Tensor
    t2_target: torch.Tensor
    lesion: torch.Tensor  # bool
    brain: torch.Tensor  # bool: brain, cerebellum, brainstem and the fluid around them


class Simulator:
    """Simulates batches of pairs from a stack of label maps.

    Args:
        labels: (N, H, W) integer label maps, 1 mm, square, anterior up.
        tissues: label -> Tissue. Labels without an entry become air.
        device: where the batches are made.
        origin: of the label maps, in words: recorded with the weights.
    """

    def __init__(
        self,
        labels: np.ndarray,
        tissues: dict[int, Tissue] = TISSUES,
        device: torch.device | str = "cpu",
        origin: str = "label maps",
    ):
        self.origin = origin
        codes = [0, *sorted(tissues)]
        lookup = np.zeros(int(max(labels.max(), codes[-1])) + 1, np.uint8)
        lookup[codes] = np.arange(len(codes))
        self.indices = torch.from_numpy(lookup[labels])  # (N, H, W) uint8: row of the table
        air = Tissue(0.0, 1000.0, 10.0, False)
        rows = [air, *(tissues[c] for c in codes[1:])]
        self.table = torch.tensor([[t.pd, t.t1, t.t2] for t in rows], device=device)
        self.inside = torch.tensor([t.inside_brain for t in rows], device=device).float()
        self.outside = torch.tensor(  # fat, skin, muscle: what surface coils and suppression change
            [not t.inside_brain and t.pd > 0.2 for t in rows], device=device
        )
        self.device = device
        inside = self.inside.bool().cpu()[self.indices.long()]
        self.head_boxes = torch.stack([_box(m) for m in self.indices > 0])
        self.brain_boxes = torch.stack([_box(m) for m in inside])
        self.has_brain = inside.flatten(1).sum(1) > 400
        for name in ("indices", "head_boxes", "brain_boxes", "has_brain"):
            setattr(self, name, getattr(self, name).to(device))

    def __len__(self) -> int:
        return len(self.indices)

    def sample(
        self,
        batch: int,
        size: int,
        rngs: torch.Generator | Sequence[torch.Generator],
        *,
        lesions: float = 0.5,
        stripped: float = 0.45,
        degrade: bool = True,
        pick: torch.Tensor | None = None,
    ) -> SimulatedPair:
        """Simulate a batch.

        Args:
            batch: number of pairs.  size: side of the images in pixels.
            rngs: source of every random choice, one for the batch or one for each pair.
            lesions, stripped: probability that a pair has lesions; that it is skull-stripped.
            degrade: False leaves out noise, bias field, blur and the random view.
            pick: (B,) indices of the label maps; random when omitted.
        """
        rng = RandomStream(batch, rngs, self.device)
        if pick is None:
            pick = rng.integer(len(self))
        pick = pick.to(self.device)
        is_stripped = rng.chance(stripped) * self.has_brain[pick]
        index = self.indices[pick].long()  # (B, H, W)
        signals, lesion = self._signals(index, rng, lesions, vary=degrade)
        keep = self._keep(index, is_stripped, rng)
        brain, head = self.brain_boxes[pick], self.head_boxes[pick]
        box = torch.where(is_stripped[:, None].bool(), brain, head)
        half = (MARGIN * box[:, 2]).clamp_min(SMALLEST_FRAME)
        if degrade:
            half = half * rng.uniform(0.92, 1.25)
        most = {"rotation": 12, "stretch": 0.08, "shift": 0.05, "elastic": 0.02}
        grid = sampling_grid(
            rng, size, box[:, :2], half, **(most if degrade else dict.fromkeys(most, 0.0))
        )
        brain = self._brain(index)
        moved = resample(torch.cat([signals, lesion, brain], 1), grid)
        images, lesion, brain = moved.split([4, 1, 1], 1)
        keep = resample(keep, grid, outside="border")  # there is noise beside the label map, too
        # Real voxels mix tissues; bilinear sampling does part of that, this the rest.
        sigma = torch.full((batch,), 0.45, device=self.device)
        clean = blur(images[:, 2:], sigma * size / 256) * keep
        t1_target, t2_target = (_normalise(c) for c in clean.split(1, 1))
        inputs = []
        for image in images[:, :2].split(1, 1):
            inputs.append(_degrade(image * keep, keep, rng) if degrade else _normalise(image))
        return SimulatedPair(*inputs, t1_target, t2_target, lesion > 0.5, brain > 0.5)

    def _signals(
        self, index: torch.Tensor, rng: RandomStream, lesions: float, vary: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Signals (B, 4, H, W): t1, t2, t1 target, t2 target; and the lesions (B, 1, H, W)."""
        tissue_maps, lesion = self._tissue(index, rng, lesions)
        nominal = tissue_maps(0.0)
        echo, recovery = spin_echo(*nominal, 550, 12), inversion_recovery(*nominal, 2000, 900, 4)
        t1_target = 0.5 * echo + 0.5 * recovery
        t2_target = spin_echo(*nominal, 4000, 95)
        t1, t2 = self._acquired(index, rng, tissue_maps) if vary else (t1_target, t2_target)
        return torch.cat([t1, t2, t1_target, t2_target], 1), lesion

    def _tissue(
        self, index: torch.Tensor, rng: RandomStream, lesions: float
    ) -> tuple[TissueMaps, torch.Tensor]:
        """What makes maps of PD, T1 and T2 of the same heads again and again, each time with other
        values of the tissues; and the lesions, (B, 1, H, W)."""
        size = index.shape[-1]
        inside = self.inside[index][:, None]
        shapes, core, _ = sample_lesions(inside, rng, lesions)
        lesion = shapes.amax(1, keepdim=True)
        # Tissue is never flat: water content varies slowly, and moves T1 and T2 together. This is
        # in the targets too, so the network learns to follow the source rather than a mean value.
        water = rng.field(size, 6) * 0.4 + rng.field(size, 24) * 0.4 + rng.field(size, 90) * 0.4
        water = water * rng.factor(0.01, 0.09)
        # Oedema that is faint in T1 is plain in T2: that must be learnt, or it is lost.
        stretch_t1 = 1 + lesion * rng.factor(0.1, 0.9) * (1 + 3 * water)
        stretch_t2 = 1 + lesion * rng.factor(0.7, 2.5) * (1 + 3 * water)
        wet = 1 + lesion * rng.factor(0.05, 0.2)
        # A tumour takes the place of what was there: no grey and white matter shows through.
        mass, mass_pd, mass_t1, mass_t2 = torch.zeros_like(lesion), 0.0, 0.0, 0.0
        if lesions:
            mass = lesion * rng.switch(0.5) * rng.factor(0.6, 1)
            mass_pd, mass_t1 = rng.factor(0.78, 0.9), rng.factor(1000, 2200)
            mass_t2 = mass_t1 * rng.factor(0.09, 0.14)

        def tissue_maps(jitter: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            table = self.table * (jitter * rng.normal(*self.table.shape)).exp()  # (B, K, 3)
            places = torch.arange(len(index), device=index.device)[:, None, None]
            pd, t1, t2 = table[places, index].permute(3, 0, 1, 2)[:, :, None]  # (B, 1, H, W) each
            t1 = t1 * (1.2 * water).exp() * stretch_t1
            t2 = t2 * (1.5 * water).exp() * stretch_t2
            pd = pd * (0.3 * water).exp() * wet
            pd = pd + mass * (mass_pd - pd)
            t1 = t1 + mass * (mass_t1 * (1.2 * water).exp() - t1)
            t2 = t2 + mass * (mass_t2 * (1.5 * water).exp() - t2)
            # Necrotic or cystic cores are nearly fluid.
            t1, t2 = t1 + core * (3000 - t1), t2 + core * (500 - t2)
            return pd.clamp_max(1.1), t1, t2

        return tissue_maps, lesion

    def _acquired(
        self, index: torch.Tensor, rng: RandomStream, tissue_maps: TissueMaps
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """T1 and T2 signals, (B, 1, H, W), as some scanner's sequences give them."""
        outside = self.outside[index][:, None].float()

        def outer_gain(low: float, high: float) -> torch.Tensor:
            """Surface coils brighten the scalp, fat suppression darkens it."""
            return 1 + outside * (rng.factor(low, high) - 1)

        mixed = tissue_maps(0.07)
        is_gradient_echo = rng.switch(0.5)
        echo = spin_echo(*mixed, rng.factor(350, 850), rng.factor(6, 20))
        inversion = inversion_recovery(
            *mixed, rng.factor(1500, 2600), rng.factor(650, 1050), rng.factor(2, 6)
        )
        t1 = echo + is_gradient_echo * (inversion * 1.2 - echo)
        t1 = t1 * outer_gain(0.5, 1.6)
        t2 = spin_echo(*tissue_maps(0.07), rng.factor(2500, 7000), rng.factor(70, 125))
        suppressed = rng.switch(0.4)
        t2 = t2 * (suppressed * outer_gain(0.15, 0.7) + (1 - suppressed) * outer_gain(0.6, 1.3))
        return t1, t2

    def _brain(self, index: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) in [0, 1], the brain with a soft edge."""
        inside = self.inside[index][:, None]
        return blur(inside, torch.full((len(index),), 2.0, device=self.device))

    def _keep(
        self, index: torch.Tensor, is_stripped: torch.Tensor, rng: RandomStream
    ) -> torch.Tensor:
        """1 where the image stays: everywhere, or inside a slightly sloppy brain mask."""
        brain = (self._brain(index) > rng.factor(0.35, 0.7)).float()
        return torch.where(per_image(is_stripped).bool(), brain, torch.ones_like(brain))


def simulate_pair(
    labels: np.ndarray,
    rng: np.random.Generator,
    *,
    lesion: bool = False,
    clean: bool = False,
) -> SimulatedPair:
    """One simulated T1w and T2w slice of a label map, in its own matrix.

    Args:
        labels: (S, S) integer label map.
        rng: decides sequence, tissue values, noise and lesions.
        lesion: add lesions of long T1 and T2.
        clean: leave out noise, bias field, blur and variation of the sequence.

    Returns:
        `SimulatedPair` with (S, S) numpy arrays: float32 in [0, 1], and bool masks.
    """
    seed = torch.Generator().manual_seed(int(rng.integers(2**62)))
    simulator = Simulator(labels[None])
    rng = RandomStream(1, seed)
    signals, mask = simulator._signals(simulator.indices.long(), rng, float(lesion), vary=not clean)
    keep = torch.ones_like(mask)
    targets = [_normalise(blur(c, torch.tensor([0.45]))) for c in signals[:, 2:].split(1, 1)]
    inputs = targets if clean else [_degrade(c, keep, rng) for c in signals[:, :2].split(1, 1)]
    brain = simulator._brain(simulator.indices.long())
    return SimulatedPair(
        *(image[0, 0].numpy() for image in (*inputs, *targets, mask > 0.5, brain > 0.5))
    )


def _box(mask: torch.Tensor) -> torch.Tensor:
    """Centre x, y and half side of a mask's bounding square, in normalised coordinates."""
    height, width = mask.shape
    rows, columns = torch.where(mask.any(1))[0], torch.where(mask.any(0))[0]
    if len(rows) == 0:
        return torch.tensor([0.0, 0.0, 1.0])
    top, bottom = rows[0].item(), rows[-1].item() + 1
    left, right = columns[0].item(), columns[-1].item() + 1
    half = max((bottom - top) / height, (right - left) / width)
    return torch.tensor([(left + right) / width - 1, (top + bottom) / height - 1, half])


def _degrade(image: torch.Tensor, keep: torch.Tensor, rng: RandomStream) -> torch.Tensor:
    """What a scanner and an export do to a clean signal (B, 1, S, S); result in [0, 1]."""
    size = image.shape[-1]
    image = image * (rng.factor(0, 0.25) * rng.field(size, 2)).exp()
    image = _normalise(blur(image, rng.uniform(0, 1.2, 2) * size / 256))
    image = image ** rng.factor(-0.35, 0.5).exp()
    image = add_rician_noise(image, rng.uniform(0, 0.035), rng) * (keep > 0.5)
    # Some archives saturate the scalp, and some leave head room.
    image = _normalise(image) * per_image(rng.uniform(0.92, 1.08) + rng.chance(0.12) * 0.5)
    return image.clamp(0, 1)


def _normalise(image: torch.Tensor) -> torch.Tensor:
    """`preprocess.scale_intensity` for a batch: each image's high foreground percentile becomes 1.

    The foreground threshold is relative to the maximum here, as simulated images have no outliers.
    """
    flat = image.flatten(1)
    count = (flat > FOREGROUND * flat.amax(1, keepdim=True)).sum(1, keepdim=True)
    rank = (HIGH_PERCENTILE / 100 * count.double()).round().long().clamp_min(1)
    # Counted from above, the percentile is among the first few values whatever the foreground.
    top = flat.topk(math.ceil((1 - HIGH_PERCENTILE / 100) * flat.shape[1]) + 1, dim=1).values
    high = top.gather(1, (count - rank).clamp_min(0))[:, 0]
    high = torch.where(count[:, 0] > 0, high, torch.ones_like(high))
    return (image / per_image(high.clamp_min(1e-6))).clamp(0, 1)
