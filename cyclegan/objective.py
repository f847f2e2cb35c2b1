"""The networks in training and the losses of one batch; the optimisation is `trainer.py`'s.

Zhu et al. 2017 ("Unpaired image-to-image translation using cycle-consistent adversarial networks")
with a supervised loss on simulated pairs and a structure loss between source and translation.
"""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import nn

from cyclegan import CONTRASTS, OTHER, losses
from cyclegan.augment import Draw, disturb, move_real
from cyclegan.config import TrainConfig
from cyclegan.data import Drawn, ImagePool, SliceDataset
from cyclegan.lesions import implant_lesions
from cyclegan.networks import GENERATORS, PatchDiscriminator
from cyclegan.simulate import Simulator


class Objective:
    """Generators, discriminators and history pools, one of each per wanted contrast.

    Args:
        config: loss weights and network choice.
        dataset, simulator: real slices and simulated pairs; either may be None.
        accelerator: decides device and precision.
        rng: the source of every random choice in the losses.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: SliceDataset | None,
        simulator: Simulator | None,
        accelerator: Accelerator,
        rng: torch.Generator,
    ):
        self.config, self.dataset, self.simulator = config, dataset, simulator
        self.accelerator, self.device, self.rng = accelerator, accelerator.device, rng
        sources = len(dataset.names) if dataset and config.conditional else 0
        self.generators = {c: self.new_generator() for c in CONTRASTS}
        self.discriminators = {
            c: self._place(PatchDiscriminator(sources=sources)) for c in CONTRASTS
        }
        self.pools = {c: ImagePool(config.pool) for c in CONTRASTS}

    def new_generator(self) -> nn.Module:
        """A generator as the config describes it, on the device."""
        return self._place(GENERATORS[self.config.generator](**self.config.generator_options))

    def pairs_loss(self, batch: int, size: int) -> torch.Tensor:
        """Supervised loss on freshly simulated pairs, both directions: L1 + half of (1 - SSIM)."""
        config = self.config
        pair = self.simulator.draw(
            batch, size, self.rng, lesions=config.lesions, stripped=config.stripped
        )
        loss = torch.zeros((), device=self.device)
        for c, given, target in (("T2", pair.t1, pair.t2_target), ("T1", pair.t2, pair.t1_target)):
            loss = loss + losses.unlikeness(self._generate(c, given), target)
        return loss

    def draw_real(self, size: int) -> dict[str, Drawn]:
        """Augmented unpaired slices on the device: contrast -> `Drawn` of side `size`."""
        drawn = {}
        for c, (images, masks, sources) in self.dataset.draw(self.config.batch, self.rng).items():
            draw = Draw(len(images), self.rng, self.device)
            moved = move_real(images.to(self.device), masks.to(self.device), size, draw)
            drawn[c] = Drawn(*moved, sources.to(self.device))
        return drawn

    def generator_loss(
        self, real: dict[str, Drawn]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """GAN, cycle, identity, structure, intensity and anchor losses.

        Translations are cut to the source's head, as `Translator` does: nobody sees the rest.

        Returns:
            (weighted sum, the terms by name, translations by wanted contrast).
        """
        config = self.config
        size = real["T1"].images.shape[-1]
        for discriminator in self.discriminators.values():
            discriminator.requires_grad_(False)
        weights = {
            "loss_G": config.weight_gan,
            "cycle": config.weight_cycle,
            "cycle_ssim": config.weight_cycle_ssim,
            "structure": config.weight_structure,
            "intensity": config.weight_intensity,
            "idt": config.weight_identity,
            "pairs": config.weight_pairs,
            "lesions": config.weight_lesions,
        }
        terms: dict[str, torch.Tensor] = {}

        def add(name: str, value: torch.Tensor) -> None:
            terms[name] = terms.get(name, 0) + value

        fake = {}
        for c in CONTRASTS:  # c is the wanted contrast, OTHER[c] the given one
            given, mask, source = real[OTHER[c]]
            fake[c] = self._generate(c, self._disturb(given, mask)) * mask
            # A network can hide the source in faint detail (Chu et al. 2017) or in the brightness
            # of a tissue; noise and another window drown both.
            reconstructed = self._generate(OTHER[c], self._disturb(fake[c], mask)) * mask
            score = self._judge(c, fake[c], source)
            add("loss_G", losses.lsgan(score, fake[c], real=True))
            add("cycle", losses.l1(reconstructed, given))
            if config.weight_cycle_ssim:
                add("cycle_ssim", losses.ssim_loss(reconstructed, given))
            add("structure", losses.gradient_field(given, fake[c]))
            if config.weight_intensity:
                add("intensity", losses.intensity_distribution(fake[c], real[c].images))
            if config.weight_identity:
                add("idt", losses.l1(self._generate(c, real[c].images), real[c].images))
            if config.weight_lesions:
                add("lesions", self._lesions_loss(c, given, fake[c], mask))
        if self.simulator is not None and config.anchor_batch:
            add("pairs", self.pairs_loss(config.anchor_batch, size))
        total = sum(weights[name] * value for name, value in terms.items())
        return total, terms, fake

    def discriminator_loss(
        self, real: dict[str, Drawn], fake: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """Least-squares loss of both discriminators on real slices and the history of fakes."""
        loss = torch.zeros((), device=self.device)
        for c in CONTRASTS:
            self.discriminators[c].requires_grad_(True)
            images, _, source = real[c]
            old, old_source = self.pools[c].query(fake[c], real[OTHER[c]].sources, self.rng)
            loss_real = losses.lsgan(self._judge(c, images, source), images, real=True)
            loss_fake = losses.lsgan(self._judge(c, old, old_source), old, real=False)
            loss = loss + 0.5 * (loss_real + loss_fake)  # halved, as in the paper
        return loss

    def _disturb(self, images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if not self.config.disturb:
            return images
        return disturb(images, mask, Draw(len(images), self.rng, self.device))

    def _lesions_loss(
        self, to: str, given: torch.Tensor, fake: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Lesions implanted in the source must show in the translation, and change nothing else."""
        half = (len(given) + 1) // 2  # of the batch, for time
        given, fake, mask = given[:half], fake[:half].detach(), mask[:half]
        source, target = implant_lesions(given, fake, mask, to, Draw(half, self.rng, self.device))
        return losses.unlikeness(self._generate(to, self._disturb(source, mask)) * mask, target)

    def _place(self, network: nn.Module) -> nn.Module:
        return network.to(self.device, memory_format=torch.channels_last)

    def _generate(self, contrast: str, images: torch.Tensor) -> torch.Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with self.accelerator.autocast():
            return self.generators[contrast](images).float()

    def _judge(self, contrast: str, images: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        with self.accelerator.autocast():
            return self.discriminators[contrast](images, source)
