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
from cyclegan.data.dataset import Drawn, SliceDataset
from cyclegan.data.paired_slices import DrawnPairs, PairedSlices
from cyclegan.simulation.augment import (
    Draw,
    blur,
    disturb,
    fading_rim,
    move_real,
    sample,
    sampling_grid,
    view,
)
from cyclegan.simulation.lesions import LesionBank, implant_lesions
from cyclegan.simulation.simulate import SimulatedPair, Simulator
from cyclegan.training.config import PAIRS, SIMULATED, UNPAIRED, TrainConfig
from cyclegan.training.losses import AIR
from cyclegan.training.sharing import Share

SIMULATED_SHARE = 0.25  # of the places that real and simulated pairs have together
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
        source, clean: what the generator is given, and the same without disturbance.
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
            the way back, shall be; black where the source has to guess it.
        first: the first place in the step that unpaired slices have.
    """

    supervised: dict[str, tuple[Share, dict[str, Sample]]]
    share: Share
    unpaired: dict[str, Drawn] | None
    references: dict[str, dict[str, torch.Tensor | None]]
    first: int


class Samples:
    """Draws what a step trains on, from whichever kinds of data there are.

    Args:
        config: resolved for these kinds.
        device: where the samples are needed.
        unpaired, pairs, simulator: real slices, registered pairs and simulated pairs, or None.
        bank: real lesions to implant, or None for simulated ones.

    Raises:
        ValueError: no data, or more kinds of it than samples in a step.
    """

    def __init__(
        self,
        config: TrainConfig,
        device: torch.device,
        unpaired: SliceDataset | None = None,
        pairs: PairedSlices | None = None,
        simulator: Simulator | None = None,
        bank: LesionBank | None = None,
    ):
        self.config, self.device, self.bank = config, device, bank
        self.unpaired, self.pairs, self.simulator = unpaired, pairs, simulator
        self.styled = bool(config.network_options().get("style"))
        self.kinds = kinds_of(unpaired, pairs, simulator)

    def kinds_at(self, progress: float) -> tuple[str, ...]:
        """Kinds that a step sees after `progress`, a share of the run: supervised ones first."""
        if progress < self.config.supervised and self.kinds != (UNPAIRED,):
            return tuple(kind for kind in self.kinds if kind != UNPAIRED)
        return self.kinds

    def parts(self, share: Share, kinds: Collection[str]) -> dict[str, Share]:
        """What of a share belongs to each kind: the same number in every step."""
        start, parts = 0, {}
        for kind, count in counts(share.total, kinds, self.config.unpaired).items():
            parts[kind] = share.part(start, start + count)
            start += count
        return parts

    def read(self, share: Share, kinds: Collection[str]) -> dict[str, Drawn]:
        """Unpaired slices of a share as they lie in memory; safe in a thread beside the training.

        A sample's source and slices depend on its own random stream only.
        """
        drawn = [
            self.unpaired.draw(1, rng) for rng in self._unpaired(share, kinds).streams("slices")
        ]
        read = {}
        for c in CONTRASTS if drawn else ():
            stacks = [torch.cat(stack) for stack in zip(*(d[c] for d in drawn), strict=True)]
            if self.device.type == "cuda":  # a copy from pinned memory runs beside the computation
                with torch.cuda.device(self.device):  # or the thread would wake the first GPU
                    stacks = [stack.pin_memory() for stack in stacks]
            read[c] = Drawn(*stacks)
        return read

    def draw(
        self, share: Share, size: int, kinds: Collection[str], read: dict[str, Drawn]
    ) -> Batch:
        """The batch of a share, augmented on the device.

        Args:
            share: which samples.
            size: side of the images in pixels.
            kinds: as `kinds_at` says.
            read: the unpaired slices, from `read`.
        """
        parts = self.parts(share, kinds)
        supervised = {}
        if parts.get(PAIRS):
            pairs = self.draw_pairs(parts[PAIRS], size)
            real = {c: self.real_sample(c, pairs, parts[PAIRS]) for c in CONTRASTS}
            supervised[PAIRS] = parts[PAIRS], real
        if parts.get(SIMULATED):
            pair = self.simulator.draw(
                len(parts[SIMULATED]),
                size,
                parts[SIMULATED].streams("simulated"),
                lesions=SIMULATED_LESIONS,
                stripped=SIMULATED_STRIPPED,
            )
            made = {c: self.simulated_sample(c, pair, parts[SIMULATED]) for c in CONTRASTS}
            supervised[SIMULATED] = parts[SIMULATED], made
        unpaired = self._unpaired(share, kinds)
        if UNPAIRED not in kinds:
            return Batch(supervised, unpaired, None, {}, 0)
        slices = self._moved(unpaired, size, read)
        references = {c: self._references(c, slices, unpaired) for c in CONTRASTS}
        return Batch(supervised, unpaired, slices, references, share.total - unpaired.total)

    def draw_pairs(self, share: Share, size: int) -> DrawnPairs:
        """The pairs of a share, each moved alike in both contrasts: (B, 1, size, size)."""
        drawn = self.pairs.draw(share.streams("pairs"), STRIPPED)
        return move_pairs(
            {c: image.to(self.device) for c, image in drawn.images.items()},
            {c: mask.to(self.device) for c, mask in drawn.masks.items()},
            size,
            Draw(len(share), share.streams("move pairs"), self.device),
        )

    @torch.no_grad()
    def real_sample(self, to: str, pairs: DrawnPairs, share: Share) -> Sample:
        """What registered pairs say of one direction."""
        source, target, mask = pairs.images[OTHER[to]], pairs.images[to], pairs.masks[OTHER[to]]
        target, reference = self._toned(to, target, share)
        weight, lesion = torch.maximum(mask, pairs.masks[to]), torch.zeros_like(mask)
        draw = Draw(len(share), share.streams(f"implanted {to}"), self.device)
        present = view(draw.chance(self.config.implanted))
        if self.config.implanted:
            implanted = implant_lesions(source, target, mask, to, draw, self.bank)
            source = torch.where(present > 0, implanted.source, source)
            target = torch.where(present > 0, implanted.target, target)
            lesion = implanted.lesion * present
            weight = _with_lesions(weight, implanted.around * present)
        fade = fading_rim(mask, draw, FADING)
        source, target = source * fade, target * fade
        noise = Draw(len(share), share.streams(f"source of {to}"), self.device)
        disturbed = disturb(source, mask, noise)
        given = torch.where(view(noise.chance(DISTURBED)) > 0, disturbed, source)
        return Sample(given, source, target, mask, weight, lesion * mask, reference, TOLERANCE)

    @torch.no_grad()
    def simulated_sample(self, to: str, pair: SimulatedPair, share: Share) -> Sample:
        """What simulated pairs say of one direction."""
        images = {"T1": (pair.t1, pair.t1_target), "T2": (pair.t2, pair.t2_target)}
        (source, clean), (_, target) = images[OTHER[to]], images[to]
        mask = _closed((torch.maximum(clean, target) > AIR).float())
        target, reference = self._toned(to, target, share)
        lesion = pair.lesion.float() * mask
        return Sample(source, clean, target, mask, mask, lesion, reference, 0)

    def _unpaired(self, share: Share, kinds: Collection[str]) -> Share:
        return self.parts(share, kinds).get(UNPAIRED, share.part(0, 0))

    def _moved(self, share: Share, size: int, read: dict[str, Drawn]) -> dict[str, Drawn]:
        """Unpaired slices on the device, moved, and beside pairs cropped."""
        side = size if self.kinds == (UNPAIRED,) else max(round(CROP * size / 16), 2) * 16
        if not share:
            nothing, labels = torch.zeros(0, 1, side, side), torch.zeros(0, dtype=torch.int64)
            nothing, labels = nothing.to(self.device), labels.to(self.device)
            return dict.fromkeys(CONTRASTS, Drawn(nothing, nothing, labels))
        moved = {}
        for c, drawn in read.items():
            images, masks, sources = (t.to(self.device, non_blocking=True) for t in drawn)
            draw = Draw(len(share), share.streams(f"move {c}"), self.device)
            both = torch.cat(move_real(images, masks, size, draw), 1)
            if side < size:
                corners = [draw.integer(size - side + 1).tolist() for _ in range(2)]
                both = torch.stack(
                    [
                        b[:, y : y + side, x : x + side]
                        for b, y, x in zip(both, *corners, strict=True)
                    ]
                )
            images, masks = both.split(1, 1)
            moved[c] = Drawn(images, masks, sources)
        return moved

    def _references(
        self, to: str, slices: dict[str, Drawn], share: Share
    ) -> dict[str, torch.Tensor | None]:
        """References of either contrast for unpaired slices, black in a share of them.

        On the way to `to` it is a slice of the same data source, on the way back the source.
        """
        if not self.styled or self.kinds == (UNPAIRED,) or not share:
            return dict.fromkeys(CONTRASTS)
        draw = Draw(len(share), share.streams(f"style to {to}"), self.device)
        styled = view(draw.chance(STYLED))
        return {c: seen_elsewhere(slices[c].images, draw) * styled for c in CONTRASTS}

    def _toned(
        self, to: str, target: torch.Tensor, share: Share
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The target, in a share of the samples in a tone of its own, and a reference in it."""
        if not self.styled:
            return target, torch.zeros_like(target)
        draw = Draw(len(share), share.streams(f"style {to}"), self.device)
        styled = view(draw.chance(STYLED))
        target = torch.where(styled > 0, toned(target, draw), target)
        # Not another sample's anatomy: a share may hold one alone, and must learn the same from it.
        return target, seen_elsewhere(target, draw) * styled


def kinds_of(
    unpaired: SliceDataset | None, pairs: PairedSlices | None, simulator: Simulator | None
) -> tuple[str, ...]:
    """Which kinds of samples there are.

    Raises:
        ValueError: none.
    """
    present = {PAIRS: pairs, SIMULATED: simulator, UNPAIRED: unpaired}
    kinds = tuple(kind for kind, data in present.items() if data is not None)
    if not kinds:
        raise ValueError("nothing to train on: give --data, --pairs, --labelmaps, or several")
    return kinds


def counts(total: int, kinds: Collection[str], unpaired: float) -> dict[str, int]:
    """How many of a step's `total` samples are of each kind, at least one of each.

    Args:
        unpaired: share of them that are unpaired slices, where there are others.

    Raises:
        ValueError: there are more kinds than samples.
    """
    if total < len(kinds):
        raise ValueError(
            f"a step of {total} cannot hold {', '.join(kinds)} samples: raise --batch or "
            f"--accumulate to {len(kinds)} or more"
        )
    rest = [kind for kind in (PAIRS, SIMULATED) if kind in kinds]
    free = total - len(rest) if rest else 0
    apart = min(max(round(unpaired * total), 1), free) if UNPAIRED in kinds and rest else 0
    left = total - apart
    result = dict.fromkeys(rest, left)
    if len(rest) == 2:
        simulated = min(max(round(SIMULATED_SHARE * left), 1), left - 1)
        result = {PAIRS: left - simulated, SIMULATED: simulated}
    if UNPAIRED in kinds:
        result[UNPAIRED] = apart or total
    return result


def move_pairs(
    images: dict[str, torch.Tensor], masks: dict[str, torch.Tensor], size: int, draw: Draw
) -> DrawnPairs:
    """Mirror, turn, stretch and shift both contrasts alike, as `augment.move_real` does one.

    Bicubic, as a bilinear target would be a blurred one; grey values stay.

    Args:
        images, masks: "T1" and "T2" -> (B, 1, S, S) in [0, 1], and bool.
        size: side of the result.
    """
    centre = torch.zeros(draw.batch, 2, device=draw.device)
    half = draw.uniform(0.92, 1.12)
    grid = sampling_grid(draw, size, centre, half, rotation=10, stretch=0.08, shift=0.04)

    def moved(stacks: dict[str, torch.Tensor], mode: str) -> dict[str, torch.Tensor]:
        both = torch.cat([stacks[c].float() for c in CONTRASTS], 1)
        result = F.grid_sample(both, grid, mode=mode, padding_mode="zeros", align_corners=False)
        return dict(zip(CONTRASTS, result.clamp(0, 1).split(1, 1), strict=True))

    heads = {c: (mask > 0.5).float() for c, mask in moved(masks, "bilinear").items()}
    return DrawnPairs(moved(images, "bicubic"), heads)


def toned(images: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Another scanner's brightness, contrast and sharpness: gain, gamma and blur.

    Args:
        images: (B, 1, S, S) in [0, 1].
        draw: equal ones give equal tones.
    """
    softer = blur(images, draw.chance(0.5) * draw.uniform(0, 1.0))
    out = softer.clamp(1e-4, 1) ** view(draw.uniform(-0.4, 0.4).exp()) * (images > 0)
    return (out * view(draw.uniform(0.75, 1.05))).clamp(0, 1)


def seen_elsewhere(images: torch.Tensor, draw: Draw) -> torch.Tensor:
    """The slices turned, mirrored, stretched and half covered: a style, not a place.

    Args:
        images: (B, 1, S, S) in [0, 1].
    """
    size = images.shape[-1]
    centre = torch.zeros(draw.batch, 2, device=draw.device)
    half = draw.uniform(0.85, 1.15)
    grid = sampling_grid(draw, size, centre, half, rotation=40, stretch=0.15, shift=0.08)
    moved = sample(images, grid)
    angle = view(draw.uniform(0, 2 * math.pi))
    ramp = torch.linspace(-1, 1, size, device=images.device)
    side = ramp[:, None] * angle.sin() + ramp[None, :] * angle.cos()
    covered = (side > view(draw.uniform(-0.3, 0.3))) & (view(draw.chance(0.5)) > 0)
    return moved * ~covered


def _with_lesions(weight: torch.Tensor, around: torch.Tensor) -> torch.Tensor:
    """Let lesions count as much as the whole slice together; a few small spots alone must not."""
    around = around * weight
    inside, all_of_it = (w.sum((1, 2, 3), keepdim=True) for w in (around, weight))
    return weight * (1 + around * (all_of_it / inside.clamp_min(1)).clamp_max(LARGEST_WEIGHT))


def _closed(mask: torch.Tensor) -> torch.Tensor:
    """The mask with gaps of up to eight pixels filled: bone is silent in both contrasts."""
    grown = F.max_pool2d(mask, 9, stride=1, padding=4)
    return 1 - F.max_pool2d(1 - grown, 9, stride=1, padding=4)
