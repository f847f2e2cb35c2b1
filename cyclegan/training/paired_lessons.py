"""What a generator learns from pairs: given one contrast of a slice, it should answer the other.

Pairs are few and lesions in them fewer. So most pairs have lesions implanted, in both contrasts
(`lesions.implant_lesions`), and their surroundings count as much as the whole slice; stripped
copies of head-in pairs keep stripped sources good; both contrasts move alike, and what the
generator is given is changed as another scanner would (`augment.disturb`).

An answer is judged as the product shows it, after the guided filter and cut to the head, against
the truth moved onto it by a pixel or two (`paired_losses.aligned`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from cyclegan import CONTRASTS, OTHER
from cyclegan.model.guided import guided_grid
from cyclegan.simulation.augment import Draw, disturb, fading_rim, sampling_grid, view
from cyclegan.simulation.lesions import implant_lesions
from cyclegan.slices.paired_slices import DrawnPairs, PairedSlices
from cyclegan.training import losses
from cyclegan.training.config import TrainConfig
from cyclegan.training.look_lessons import seen_elsewhere, toned
from cyclegan.training.paired_losses import aligned, faded_blobs, sharpness
from cyclegan.training.sharing import Share

FADING = 0.25  # share of the pairs whose outline is cut smaller and fades, in both contrasts
LARGEST_WEIGHT = 100.0  # of a pixel in or around a lesion; of any other: 1
PAIRED_TERMS = ("paired", "paired_sharp", "paired_faded", "paired_band")  # of `loss`

# (wanted contrast, images, reference of the look; black: none) -> answers, logs of likely errors
Generate = Callable[
    [str, torch.Tensor, torch.Tensor | None], tuple[torch.Tensor, torch.Tensor | None]
]


class Lesson(NamedTuple):
    """What the generator is given, what it should answer, and how much each pixel counts.

    All (B, 1, S, S): `given` and `clean` in [0, 1], the source with and without the disturbance;
    `truth` in [0, 1]; `mask` 0 or 1, the source's head; `weight` from 0 up; `reference` in [0, 1],
    in the look of the truth, black where the source has to guess it.
    """

    given: torch.Tensor
    clean: torch.Tensor
    truth: torch.Tensor
    mask: torch.Tensor
    weight: torch.Tensor
    reference: torch.Tensor


class PairedLessons:
    """Draws pairs and makes lessons of them; says what an answer is worth.

    Args:
        config: which share has lesions or is stripped, and the weights of the losses.
        pairs: to draw from; None for who brings pairs of his own.
        device: where the lessons are wanted.
    """

    def __init__(self, config: TrainConfig, pairs: PairedSlices | None, device: torch.device):
        self.config, self.pairs, self.device = config, pairs, device

    def share(self, share: Share) -> Share:
        """The places of a step that pairs take; the same number in every step."""
        return share.first(max(1, round(share.total * self.config.paired)))

    def draw(self, share: Share, size: int) -> DrawnPairs:
        """The pairs of a share, each moved alike in both contrasts: (B, 1, size, size)."""
        drawn = self.pairs.draw(share.streams("paired"), self.config.paired_stripped)
        draw = Draw(len(share), share.streams("move paired"), self.device)
        return move_pairs(
            {c: image.to(self.device) for c, image in drawn.images.items()},
            {c: mask.to(self.device) for c, mask in drawn.masks.items()},
            size,
            draw,
        )

    def loss(self, pairs: DrawnPairs, share: Share, generate: Generate) -> dict[str, torch.Tensor]:
        """The losses of both directions, weighted by the share's size.

        Returns:
            `paired`, the weighted sum; and detached, for the log: `paired_sharp`, `paired_faded`
            and `paired_band`, how ill the likely errors fit.
        """
        nothing = torch.zeros((), device=self.device)
        found = dict.fromkeys(PAIRED_TERMS, nothing)
        for c in CONTRASTS:
            for name, value in self.loss_of(c, pairs, share, generate).items():
                found[name] = found[name] + value
        return found

    def loss_of(
        self, to: str, pairs: DrawnPairs, share: Share, generate: Generate
    ) -> dict[str, torch.Tensor]:
        """The terms of `loss` for one wanted contrast; no band where `generate` tells no errors."""
        lesson = self.lesson(to, pairs, share)
        answer, log_error = generate(to, lesson.given, lesson.reference)
        answer = guided_grid(answer, lesson.given) * lesson.mask
        truth = aligned(lesson.truth, answer, self.config.tolerance)
        sharp = sharpness(answer, truth, lesson.weight)
        faded = faded_blobs(answer, truth, lesson.clean, lesson.weight)
        total = (
            losses.unlikeness(answer, truth, lesson.weight)
            + self.config.weight_sharp * sharp
            + self.config.weight_faded * faded
        )
        found = {"paired_sharp": sharp.detach(), "paired_faded": faded.detach()}
        if log_error is not None:
            band = losses.laplace(answer, truth, log_error, lesson.mask)
            total = total + losses.WEIGHT_BAND * band
            found["paired_band"] = band.detach()
        return {name: value * share.weight for name, value in (found | {"paired": total}).items()}

    @torch.no_grad()
    def lesson(self, to: str, pairs: DrawnPairs, share: Share) -> Lesson:
        """The lesson that a share's pairs make for one direction."""
        source, truth, mask = pairs.images[OTHER[to]], pairs.images[to], pairs.masks[OTHER[to]]
        truth, reference = self._look(to, truth, share)
        weight = torch.maximum(mask, pairs.masks[to])
        draw = Draw(len(share), share.streams(f"implanted {to}"), self.device)
        present = view(draw.chance(self.config.implanted))
        if self.config.implanted:
            with_lesions, true_lesions, where = implant_lesions(source, truth, mask, to, draw)
            source = torch.where(present > 0, with_lesions, source)
            truth = torch.where(present > 0, true_lesions, truth)
            where = where * present * weight
            # As much as the whole slice together; a few small spots alone must not count for it.
            inside, around = (w.sum((1, 2, 3), keepdim=True) for w in (where, weight))
            weight = weight * (1 + where * (around / inside.clamp_min(1)).clamp_max(LARGEST_WEIGHT))
        fade = fading_rim(mask, draw, FADING)
        source, truth = source * fade, truth * fade
        given = source
        if self.config.disturb:
            noise = Draw(len(share), share.streams(f"paired given {to}"), self.device)
            disturbed = disturb(source, mask, noise)
            given = torch.where(
                view(noise.chance(self.config.paired_disturbed)) > 0, disturbed, source
            )
        return Lesson(given, source, truth, mask, weight, reference)

    def _look(
        self, to: str, truth: torch.Tensor, share: Share
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The truth, in some lessons in a tone of its own, and a reference in that tone."""
        if not self.config.look:
            return truth, torch.zeros_like(truth)
        draw = Draw(len(share), share.streams(f"look {to}"), self.device)
        looked = view(draw.chance(self.config.looked))
        truth = torch.where(looked > 0, toned(truth, draw), truth)
        return truth, seen_elsewhere(truth, draw) * looked


def move_pairs(
    images: dict[str, torch.Tensor], masks: dict[str, torch.Tensor], size: int, draw: Draw
) -> DrawnPairs:
    """Mirror, turn, stretch and shift both contrasts alike, as `augment.move_real` does one.

    Bicubic, as a bilinear truth would be a blurred one; grey values stay.

    Args:
        images, masks: "T1" and "T2" -> (B, 1, S, S) in [0, 1], and bool.
        size: side of the result.
    """
    centre = torch.zeros(draw.batch, 2, device=draw.device)
    half = draw.uniform(0.92, 1.12)
    grid = sampling_grid(draw, size, centre, half, rotation=10, stretch=0.08, shift=0.04)

    def moved(stacks: dict[str, torch.Tensor], mode: str) -> dict[str, torch.Tensor]:
        both = torch.cat([stacks[c].float() for c in CONTRASTS], 1)
        found = F.grid_sample(both, grid, mode=mode, padding_mode="zeros", align_corners=False)
        return dict(zip(CONTRASTS, found.clamp(0, 1).split(1, 1), strict=True))

    heads = {c: (mask > 0.5).float() for c, mask in moved(masks, "bilinear").items()}
    return DrawnPairs(moved(images, "bicubic"), heads)
