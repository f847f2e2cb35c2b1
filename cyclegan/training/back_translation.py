"""Real slices without a partner as truth: the frozen start makes the source that goes with each.

A generator that is taught by its own answers learns their blur. Turned round, the real slice is the
truth and the answer of the frozen generator the source (back-translation: Sennrich et al. 2016,
"Improving neural machine translation models with monolingual data"). So every slice counts, of
people of whom no pair exists, and its scanner's look with it.

Sources that are made show less than real ones, so these lessons stand beside real and simulated
pairs, and count less. Lesions are implanted in both contrasts, as in real pairs.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from cyclegan import CONTRASTS, OTHER
from cyclegan.model.guided import guided_grid
from cyclegan.slices.data import Drawn
from cyclegan.slices.paired_slices import DrawnPairs
from cyclegan.training.look_lessons import seen_elsewhere
from cyclegan.training.objective import Batch, Objective
from cyclegan.training.paired_lessons import PairedLessons
from cyclegan.training.sharing import Share

WEIGHT = 0.5  # of a step's real slices, beside its real pairs


class BackTranslation(Objective):
    """`Objective` of this stage, same arguments; discriminators and history pools stay unused.

    A step's places are shared out: real pairs first, as without unpaired slices, then simulated
    pairs (`config.anchors` of what is left), then real slices of both contrasts.

    Raises:
        ValueError: no place is left for real slices.
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.teacher = self.frozen_copies()
        self.returned = PairedLessons(self.config, None, self.device)
        parts = self.config.accumulate * self.accelerator.num_processes
        if not any(self._places(s)[2] for s in Share.deal(0, 0, self.config.batch, parts)):
            raise ValueError(
                "--back-translation: no slice of a step is left for unpaired ones; give a larger "
                "--batch or a smaller --paired"
            )

    def _places(self, share: Share) -> tuple[Share, Share, Share]:
        """What of a share are real pairs, simulated ones, and real slices."""
        paired = self.lessons.share(share) if self.lessons else share.first(0)
        left = share.total - paired.total
        anchors = min(math.ceil(left * self.config.anchors), left - 1) if self.simulator else 0
        known = paired.total + max(anchors, 0)
        return paired, share.first(known).rest(paired.total), share.rest(known)

    def read_real(self, share: Share) -> dict[str, Drawn]:
        """As `Objective.read_real`, for the places that real slices have."""
        slices = self._places(share)[2]
        return super().read_real(slices) if slices else {}

    def draw(self, share: Share, size: int, real: dict[str, Drawn] | None) -> Batch:
        """The batch of a share; its `share` is that of the real slices."""
        paired, simulated, slices = self._places(share)
        return Batch(
            slices,
            self._moved(slices, size, real or {}),
            self._draw_pairs(simulated, size) if simulated else None,
            simulated,
            self.lessons.draw(paired, size) if paired else None,
            paired,
        )

    def generator_loss(
        self, batch: Batch
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """`supervised_loss`, and that of the real slices.

        Returns:
            (loss, the terms by name, no translations for a discriminator).
        """
        total, terms = self.supervised_loss(batch)
        returned = torch.zeros((), device=self.device)
        if batch.share:
            for c in CONTRASTS:
                pair = self._made_pair(c, batch)
                # Its errors are not those of a real pair: they say nothing of what to expect.
                found = self.returned.loss_of(c, pair, batch.share, self._answer_alone)
                returned = returned + found["paired"]
        return total + WEIGHT * returned, terms | {"returned": returned}, {}

    @torch.no_grad()
    def _made_pair(self, to: str, batch: Batch) -> DrawnPairs:
        """Real slices of the wanted contrast, and sources for them in the looks of real ones."""
        truth, mask, _ = batch.real[to]
        reference = None
        if self.config.look:
            draw, looked = self._looks(f"look of a source of {to}", batch.share)
            reference = seen_elsewhere(batch.real[OTHER[to]].images, draw) * looked
        made = self._generate(OTHER[to], truth, reference, self.teacher)
        images = {to: truth, OTHER[to]: guided_grid(made, truth) * mask}
        return DrawnPairs(images, dict.fromkeys(CONTRASTS, mask))

    def _answer_alone(
        self, to: str, images: torch.Tensor, reference: torch.Tensor | None
    ) -> tuple[torch.Tensor, None]:
        return self._generate(to, images, reference), None
