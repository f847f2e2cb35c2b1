"""The last stage: trained generators learn what is known of their answers, without adversaries.

The generators of the start, frozen, are the teacher. They answer a real slice; slice and answer are
then changed together in ways whose effect is known, and the student has to give the changed answer:

- faint texture goes: what adversaries have taught of it lies elsewhere than in the truth;
- a mirrored slice has the mirrored answer;
- where the source is shaded, so is the answer: coil and field shade both contrasts of a person;
- a rim that fades in the source fades in the answer, as skull-stripping cuts both contrasts alike;
- implanted lesions are dark in T1 and bright in T2;
- another scanner and export (`augment.disturb`) change nothing.

Nothing else moves the student, so it keeps its teacher's look: self-training with consistency
(Laine & Aila 2017, "Temporal ensembling"; Sohn et al. 2020, "FixMatch").
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from cyclegan import CONTRASTS, OTHER
from cyclegan.simulation.augment import Draw, denoise_tv, fading_rim, local_mean
from cyclegan.simulation.lesions import implant_lesions
from cyclegan.training import losses
from cyclegan.training.objective import Batch, Objective

SHADING = 0.7  # of the shading of the source; 1 gave the same scores
# Grey values: the height of faint texture that goes, of white. A synthetic T1 gains nothing by it
# on validation once its finest detail follows the source (`guided`).
TEXTURE = {"T1": 0.0, "T2": 0.015}
DARK = 0.05  # below this a ratio of grey values says nothing


class Refinement(Objective):
    """`Objective` of this stage, same arguments; discriminators and history pools stay unused."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.teacher = self.frozen_copies()

    def generator_loss(
        self, batch: Batch
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """L1 + half of (1 - SSIM) against the changed answers, most of it at lesions and rims.

        Returns:
            (loss, the loss by its name, no translations for a discriminator).
        """
        share, total = batch.share, torch.zeros((), device=self.device)
        for c in CONTRASTS:  # c is the wanted contrast, OTHER[c] the given one
            images, mask, _ = batch.real[OTHER[c]]
            source, target, weight = self._lesson(c, images, mask, batch)
            answer = self._generate(c, source) * mask
            total = total + losses.unlikeness(answer, target, weight) * share.weight
        if self.lessons is None:
            return total, {"refine": total}, {}
        terms = {"refine": total} | self.paired_loss(batch)
        # Pairs know more than the teacher; the ratio is that of pairs to the cycle before.
        return total + self.config.weight_paired / 3 * terms["paired"], terms, {}

    def _anchors(self, total: int) -> int:
        return 0  # no simulated pairs: their look is not the teacher's

    @torch.no_grad()
    def _lesson(
        self, to: str, images: torch.Tensor, mask: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the student is given, what it should answer, and how much each pixel counts."""
        share = batch.share
        source, target, weight = images, self._taught(to, images, mask), mask
        half = share.first((share.total + 1) // 2)  # of the batch has lesions
        if half:
            n = len(half)
            draw = Draw(n, half.streams(f"lesions {to}"), self.device)
            given, wanted, where = implant_lesions(source[:n], target[:n], mask[:n], to, draw)
            source, target = torch.cat([given, source[n:]]), torch.cat([wanted, target[n:]])
            weight = torch.cat([mask[:n] * (0.3 + 2 * where), mask[n:]])
        draw = Draw(len(share), share.streams(f"rims {to}"), self.device)
        fade = fading_rim(mask, draw, 0.7)
        weight = weight * (1 + 2 * (fade < 1))
        return self._disturb(source, mask, share, f"given {to}") * fade, target * fade, weight

    def _taught(self, to: str, images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The teacher's answer without faint texture, with the shading of the source."""
        answer = self._answer(to, images) * mask
        back = self._answer(OTHER[to], answer) * mask
        if TEXTURE[to]:
            answer = denoise_tv(answer, TEXTURE[to]) * mask
        return (answer * (SHADING * shading(images, back, mask)).exp()).clamp(0, 1)

    def _answer(self, to: str, images: torch.Tensor) -> torch.Tensor:
        """What the teacher answers, averaged with what it answers to the mirror image: a brightness
        that drifts over one side is the generator's own."""
        answers = self._generate(to, torch.cat([images, images.flip(-1)]), None, self.teacher)
        answer, mirrored = answers.chunk(2)
        return (answer + mirrored.flip(-1)) / 2


def shading(source: torch.Tensor, unshaded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Log of the smooth part of `source` over `unshaded`, zero in the mean over the mask.

    Args:
        source: (B, 1, S, S) in [0, 1].
        unshaded: the same slices from a generator, which gives slices without shading.
        mask: (B, 1, S, S), the head.
    """
    inner = 1 - F.max_pool2d(1 - mask, 7, stride=1, padding=3)
    inner = inner * (source > DARK) * (unshaded > DARK)
    ratio = (source.clamp_min(DARK) / unshaded.clamp_min(DARK)).log()
    smooth = local_mean(ratio, inner, 3)
    mean = (smooth * mask).sum((1, 2, 3), keepdim=True)
    return smooth - mean / mask.sum((1, 2, 3), keepdim=True).clamp_min(1)
