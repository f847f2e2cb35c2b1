"""Training samples of three kinds, on one grid: unpaired slices, registered and simulated pairs.

Pairs of both kinds become the same thing, a `Sample` for each direction. Real ones are few, and
lesions in them fewer: a share has lesions implanted in both contrasts, and the lesions count as
much as the whole slice; the outline of some fades, as brain masks are tight or loose; the source of
some is changed as another scanner would (`augment.disturb`).

How bright, sharp and fat-suppressed a scanner makes a contrast is not in the source. So in most
samples the target is in a tone of its own, and a reference in the same tone goes through the style
encoder. The reference lies elsewhere, so its code carries the tone and nothing else. Without one a
generator outputs what suits the source.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

import torch
import torch.nn.functional as F

from cyclegan import CONTRASTS, OTHER
from cyclegan.data.dataset import SliceBatch
from cyclegan.data.paired_slices import PairBatch
from cyclegan.model.head import AIR
from cyclegan.simulation.augment import (
    RandomStream,
    blur,
    disturb,
    fading_rim,
    move_real,
    resample,
    sampling_grid,
)
from cyclegan.simulation.lesions import implant_lesions
from cyclegan.simulation.simulate import SimulatedPair
from cyclegan.training.config import PAIRS, SIMULATED, UNPAIRED, TrainConfig, TrainingData
from cyclegan.training.sharing import Share, counts

STYLED = 0.7  # share of the samples with a reference; in the others the source has to guess
DISTURBED = 0.4  # share of real pairs whose source is changed; with 0, other scanners lose 0.1 SSIM
STRIPPED = 0.3  # share of head-in pairs that are skull-stripped copies
FADING = 0.25  # share of the real pairs whose outline is cut smaller and fades, in both contrasts
SIMULATED_LESIONS, SIMULATED_STRIPPED = 0.7, 0.45  # shares of the simulated pairs
CROP = 0.75  # of the side, of unpaired slices beside pairs: patches are judged, in half the time
TOLERANCE = 2  # pixels by which the target of a real pair may lie beside its source
LARGEST_WEIGHT = 100.0  # of a pixel in or around a lesion; of any other: 1


class Sample(NamedTuple):
    """One direction of a batch of pairs; images (B, 1, S, S) in [0, 1].

    Attributes:
        source, clean: the generator's input, and the same without disturbance.
        target: what it should output.
        mask: 0 or 1, the head in the source.
        weight: from 0 up, how much each pixel counts.
        lesion: where lesions are known to be.
        reference: in the style of the target; black where the source has to guess it.
        tolerance: pixels by which the target may lie beside the source.
    """

    source: torch.Tensor
    clean: torch.Tensor
    target: torch.Tensor
    mask: torch.Tensor
    weight: torch.Tensor
    lesion: torch.Tensor
    reference: torch.Tensor
    tolerance: int


class Batch(NamedTuple):
    """What a share of a step trains on, on the device.

    Attributes:
        supervised: kind of pairs -> their share, and target contrast -> sample.
        share, unpaired: of unpaired slices, by contrast; maybe none of this share, or None: none in
            this step.
        references: target contrast -> contrast -> in whose style the translation to the target, and
            the reconstruction, shall be; black where the source has to guess it.
    """

    supervised: dict[str, tuple[Share, dict[str, Sample]]]
    share: Share
    unpaired: dict[str, SliceBatch] | None
    references: dict[str, dict[str, torch.Tensor | None]]


class Samples:
    """Samples what a step trains on, from whichever kinds of data there are.

    Args:
        config: resolved for these kinds.
        data: what there is.
        device: where the samples are needed.
    """

    def __init__(self, config: TrainConfig, data: TrainingData, device: torch.device):
        self.config, self.data, self.kinds, self.device = config, data, data.kinds, device
        self.styled = bool(config.network_options().get("style"))

    def kinds_at(self, progress: float) -> tuple[str, ...]:
        """Kinds that a step sees after `progress`, a share of the run: supervised ones first."""
        if progress < self.config.supervised and self.kinds != (UNPAIRED,):
            return tuple(kind for kind in self.kinds if kind != UNPAIRED)
        return self.kinds

    def parts(self, share: Share, kinds: Collection[str]) -> dict[str, Share]:
        """What of a share belongs to each kind: the same number in every step."""
        start, parts = 0, {UNPAIRED: share.part(0, 0)}
        for kind, count in counts(share.total, kinds, self.config.unpaired).items():
            parts[kind] = share.part(start, start + count)
            start += count
        return parts

    def read(self, share: Share, kinds: Collection[str]) -> dict[str, SliceBatch]:
        """Unpaired slices of a share as they lie in memory; safe in a thread beside the training.

        A sample's source and slices depend on its own random stream only.
        """
        rngs = self.parts(share, kinds)[UNPAIRED].streams("slices")
        each = [self.data.unpaired.sample(1, rng) for rng in rngs]
        read = {}
        for c in CONTRASTS if each else ():
            stacks = [torch.cat(stack) for stack in zip(*(one[c] for one in each), strict=True)]
            if self.device.type == "cuda":  # a copy from pinned memory runs beside the computation
                with torch.cuda.device(self.device):  # or the thread would wake the first GPU
                    stacks = [stack.pin_memory() for stack in stacks]
            read[c] = SliceBatch(*stacks)
        return read

    def batch(
        self, share: Share, size: int, kinds: Collection[str], read: dict[str, SliceBatch]
    ) -> Batch:
        """The batch of a share, augmented on the device.

        Args:
            share: which samples.
            size: side of the images in pixels.
            kinds: as `kinds_at` returns them.
            read: the unpaired slices, from `read`.
        """
        parts, supervised = self.parts(share, kinds), {}
        if part := parts.get(PAIRS):
            pairs = self.sample_pairs(part, size)
            supervised[PAIRS] = part, {c: self.real_sample(c, pairs, part) for c in CONTRASTS}
        if part := parts.get(SIMULATED):
            shares = {"lesions": SIMULATED_LESIONS, "stripped": SIMULATED_STRIPPED}
            pair = self.data.simulator.sample(len(part), size, part.streams("simulated"), **shares)
            supervised[SIMULATED] = (
                part,
                {c: self.simulated_sample(c, pair, part) for c in CONTRASTS},
            )
        unpaired = parts[UNPAIRED]
        if UNPAIRED not in kinds:
            return Batch(supervised, unpaired, None, {})
        slices = self._moved(unpaired, size, read)
        references = {c: self._references(c, slices, unpaired) for c in CONTRASTS}
        return Batch(supervised, unpaired, slices, references)

    def sample_pairs(self, share: Share, size: int) -> PairBatch:
        """The pairs of a share, each moved alike in both contrasts: (B, 1, size, size)."""
        pairs = self.data.pairs.sample(share.streams("pairs"), STRIPPED)
        images, masks = (
            {c: stack.to(self.device) for c, stack in stacks.items()} for stacks in pairs
        )
        return move_pairs(images, masks, size, self._random(share, "move pairs"))

    @torch.no_grad()
    def real_sample(self, to: str, pairs: PairBatch, share: Share) -> Sample:
        """Registered pairs as samples of one direction."""
        source, target, mask = pairs.images[OTHER[to]], pairs.images[to], pairs.masks[OTHER[to]]
        target, reference = self._toned(to, target, share)
        weight, lesion = torch.maximum(mask, pairs.masks[to]), torch.zeros_like(mask)
        rng = self._random(share, f"implanted {to}")
        present = rng.switch(self.config.implanted)
        if self.config.implanted:
            implanted = implant_lesions(source, target, mask, to, rng, self.data.bank)
            source = torch.where(present > 0, implanted.source, source)
            target = torch.where(present > 0, implanted.target, target)
            lesion = implanted.lesion * present
            weight = _with_lesions(weight, implanted.around * present)
        fade = fading_rim(mask, rng, FADING)
        source, target = source * fade, target * fade
        rng = self._random(share, f"source of {to}")
        disturbed = disturb(source, mask, rng)
        shown = torch.where(rng.switch(DISTURBED) > 0, disturbed, source)
        return Sample(shown, source, target, mask, weight, lesion * mask, reference, TOLERANCE)

    @torch.no_grad()
    def simulated_sample(self, to: str, pair: SimulatedPair, share: Share) -> Sample:
        """Simulated pairs as samples of one direction."""
        images = {"T1": (pair.t1, pair.t1_target), "T2": (pair.t2, pair.t2_target)}
        (source, clean), (_, target) = images[OTHER[to]], images[to]
        mask = _closed((torch.maximum(clean, target) > AIR).float())
        target, reference = self._toned(to, target, share)
        lesion = pair.lesion.float() * mask
        return Sample(source, clean, target, mask, mask, lesion, reference, 0)

    def for_sheets(self) -> dict[str, torch.Tensor]:
        """Slices of both contrasts for the sample sheets, the same for the whole run."""
        rng = torch.Generator().manual_seed(1234)
        if self.data.unpaired is not None:
            images = {c: s.images for c, s in self.data.unpaired.sample(6, rng).items()}
        elif self.data.pairs is not None:
            images = self.data.pairs.sample(
                Share(1234, 0, tuple(range(6)), 6).streams("sheet")
            ).images
        else:
            pair = self.data.simulator.sample(4, self.config.size, rng)
            images = {"T1": pair.t1, "T2": pair.t2}
        return {c: image.to(self.device) for c, image in images.items()}

    def _random(self, share: Share, purpose: str) -> RandomStream:
        return RandomStream(len(share), share.streams(purpose), self.device)

    def _moved(self, share: Share, size: int, read: dict[str, SliceBatch]) -> dict[str, SliceBatch]:
        """Unpaired slices on the device, moved, and beside pairs cropped."""
        side = size if self.kinds == (UNPAIRED,) else max(round(CROP * size / 16), 2) * 16
        if not share:
            nothing = torch.zeros(0, 1, side, side, device=self.device)
            labels = torch.zeros(0, dtype=torch.int64, device=self.device)
            return dict.fromkeys(CONTRASTS, SliceBatch(nothing, nothing, labels))
        moved = {}
        for c, slices in read.items():
            images, masks, sources = (t.to(self.device, non_blocking=True) for t in slices)
            rng = self._random(share, f"move {c}")
            both = torch.cat(move_real(images, masks, size, rng), 1)
            if side < size:
                corners = zip(*(rng.integer(size - side + 1).tolist() for _ in "yx"), strict=True)
                crops = [
                    image[:, y : y + side, x : x + side]
                    for image, (y, x) in zip(both, corners, strict=True)
                ]
                both = torch.stack(crops)
            images, masks = both.split(1, 1)
            moved[c] = SliceBatch(images, masks, sources)
        return moved

    def _references(
        self, to: str, slices: dict[str, SliceBatch], share: Share
    ) -> dict[str, torch.Tensor | None]:
        """References of either contrast for unpaired slices, black in a share of them.

        For the translation to `to` a slice of the same data source, for the reconstruction the
        source.
        """
        if not self.styled or self.kinds == (UNPAIRED,) or not share:
            return dict.fromkeys(CONTRASTS)
        rng = self._random(share, f"style to {to}")
        styled = rng.switch(STYLED)
        return {c: seen_elsewhere(slices[c].images, rng) * styled for c in CONTRASTS}

    def _toned(
        self, to: str, target: torch.Tensor, share: Share
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The target, in a share of the samples in a tone of its own, and a reference in it."""
        if not self.styled:
            return target, torch.zeros_like(target)
        rng = self._random(share, f"style {to}")
        styled = rng.switch(STYLED)
        target = torch.where(styled > 0, toned(target, rng), target)
        # Not another sample's anatomy: a share may hold one alone, and must learn the same from it.
        return target, seen_elsewhere(target, rng) * styled


def move_pairs(
    images: dict[str, torch.Tensor],
    masks: dict[str, torch.Tensor],
    size: int,
    rng: RandomStream,
) -> PairBatch:
    """Mirror, turn, stretch and shift both contrasts alike, as `augment.move_real` does one.

    Bicubic, as a bilinear target would be a blurred one; grey values stay.

    Args:
        images, masks: "T1" and "T2" -> (B, 1, S, S) in [0, 1], and bool.
        size: side of the result.
    """
    centre = torch.zeros(rng.batch, 2, device=rng.device)
    half = rng.uniform(0.92, 1.12)
    grid = sampling_grid(rng, size, centre, half, rotation=10, stretch=0.08, shift=0.04)

    def moved(stacks: dict[str, torch.Tensor], mode: str) -> dict[str, torch.Tensor]:
        both = torch.cat([stacks[c].float() for c in CONTRASTS], 1)
        result = F.grid_sample(both, grid, mode=mode, padding_mode="zeros", align_corners=False)
        return dict(zip(CONTRASTS, result.clamp(0, 1).split(1, 1), strict=True))

    heads = {c: (mask > 0.5).float() for c, mask in moved(masks, "bilinear").items()}
    return PairBatch(moved(images, "bicubic"), heads)


def toned(images: torch.Tensor, rng: RandomStream) -> torch.Tensor:
    """Another scanner's brightness, contrast and sharpness: gain, gamma and blur.

    Args:
        images: (B, 1, S, S) in [0, 1].
        rng: equal ones give equal tones.
    """
    softer = blur(images, rng.chance(0.5) * rng.uniform(0, 1.0))
    out = softer.clamp(1e-4, 1) ** rng.factor(-0.4, 0.4).exp() * (images > 0)
    return (out * rng.factor(0.75, 1.05)).clamp(0, 1)


def seen_elsewhere(images: torch.Tensor, rng: RandomStream) -> torch.Tensor:
    """The slices turned, mirrored, stretched and half covered: a style, not a place.

    Args:
        images: (B, 1, S, S) in [0, 1].
    """
    size = images.shape[-1]
    centre = torch.zeros(rng.batch, 2, device=rng.device)
    half = rng.uniform(0.85, 1.15)
    grid = sampling_grid(rng, size, centre, half, rotation=40, stretch=0.15, shift=0.08)
    moved = resample(images, grid)
    angle = rng.factor(0, 2 * math.pi)
    ramp = torch.linspace(-1, 1, size, device=images.device)
    side = ramp[:, None] * angle.sin() + ramp[None, :] * angle.cos()
    covered = side > rng.factor(-0.3, 0.3)
    return moved * ~(covered & (rng.switch(0.5) > 0))


def _with_lesions(weight: torch.Tensor, around: torch.Tensor) -> torch.Tensor:
    """Let lesions count as much as the whole slice together; a few small spots alone must not."""
    around = around * weight
    inside, total = (w.sum((1, 2, 3), keepdim=True) for w in (around, weight))
    return weight * (1 + around * (total / inside.clamp_min(1)).clamp_max(LARGEST_WEIGHT))


def _closed(mask: torch.Tensor) -> torch.Tensor:
    """The mask with gaps of up to eight pixels filled: bone is silent in both contrasts."""
    grown = F.max_pool2d(mask, 9, stride=1, padding=4)
    return 1 - F.max_pool2d(1 - grown, 9, stride=1, padding=4)
