"""The networks in training, and the objective: every loss of one batch with its weight.

Zhu et al. 2017 ("Unpaired image-to-image translation using cycle-consistent adversarial networks")
with a structure loss between source and translation, and supervised losses on pairs.
docs/training.md has it as one equation, with these names.

Every loss is a mean over the samples of its kind in the step. What is computed here for one share
of them is weighted by the share's size, so gradients and losses of the shares only have to be
added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from cyclegan import CONTRASTS, OTHER
from cyclegan.model.guided import guided_grid
from cyclegan.model.networks import GENERATORS, PatchDiscriminator
from cyclegan.simulation.augment import RandomStream, disturb
from cyclegan.simulation.lesions import implant_lesions
from cyclegan.training import losses
from cyclegan.training.config import PAIRS, TRUTH, UNPAIRED, TrainConfig
from cyclegan.training.losses import ImagePool
from cyclegan.training.samples import Batch, Sample, TrainingData
from cyclegan.training.sharing import Share, stream

POOL = 50  # translations in the history of either discriminator, as published
# Weights that are no settings, each beside what it belongs to.
CYCLE_SSIM = 0.5  # of weight_cycle, of 1 - SSIM beside pairs: sharp where L1 is content with a blur
INTENSITY = 10.0  # of the tissue's brightness, beside pairs: discriminators are slow to notice it
SHARP = 0.5  # of weight_pairs and weight_simulated: differences of detail at four sizes
ERROR = 0.02  # of the same: only has to be small, as the layers of the error have no other loss
IMPLANTED_UNPAIRED = 3.0  # of lesions implanted in unpaired slices, where no real pairs have them

Terms = dict[str, torch.Tensor]  # names of the log -> losses
# What is supervised beside L1 + half of (1 - SSIM): name in the log -> its loss, from an output,
# the target moved onto it, the sample, and the logs of the predicted errors.
SUPERVISED: dict[str, Callable[..., torch.Tensor]] = {
    "sharp": lambda output, target, s, _: losses.sharpness(output, target, s.weight),
    "faded": lambda output, target, s, _: losses.faded_spots(output, target, s.clean, s.weight),
    "lesions": lambda output, target, s, _: losses.lesion_contrast(
        output, target, s.lesion, s.mask
    ),
    "error": lambda output, target, s, logs: losses.laplace(output, target, logs, s.mask),
}


class Objective:
    """Generators, discriminators and history pools, one of each per target contrast.

    Args:
        config: resolved; loss weights and networks.
        data: what there is to train on.
        accelerator: decides device and precision.
    """

    def __init__(self, config: TrainConfig, data: TrainingData, accelerator: Accelerator):
        self.config, self.kinds, self.bank = config, data.kinds, data.bank
        self.accelerator, self.device = accelerator, accelerator.device
        self.published = self.kinds == (UNPAIRED,)
        self.generators = {c: self.new_generator() for c in CONTRASTS}
        # Discriminators that know the data source, where there are several: a translation has to
        # look like that scanner's other contrast, not like the average of all.
        sources = len(data.unpaired.names) if data.unpaired and not self.published else 0
        self.discriminators = {
            c: self._place(PatchDiscriminator(config.discriminator, sources if sources > 1 else 0))
            for c in (CONTRASTS if config.weight_gan else ())
        }
        self.pools = {c: ImagePool(POOL) for c in CONTRASTS}

    def new_generator(self) -> nn.Module:
        """A generator as the config describes it, on the device."""
        return self._place(GENERATORS[self.config.generator](**self.config.network_options()))

    def frozen_copies(self) -> dict[str, nn.Module]:
        """The generators as they are now, not to be trained: by target contrast."""
        copies = {c: self.new_generator().requires_grad_(False).eval() for c in self.generators}
        for c, network in copies.items():
            network.load_state_dict(self.generators[c].state_dict())
        return copies

    def weights(self, adversary: float = 1.0) -> dict[str, Any]:
        """Term of the log -> its weight in the generators' objective: the whole of it, one table.

        Args:
            adversary: share of the adversaries' weight, while they fade in.
        """
        config, beside_truth = self.config, 0.0 if self.published else 1.0
        return {
            "loss_G": config.weight_gan * adversary,
            "cycle": config.weight_cycle,
            "cycle_ssim": config.weight_cycle * CYCLE_SSIM * beside_truth,
            "idt": config.weight_identity,
            "structure": config.weight_structure,
            "intensity": INTENSITY * beside_truth,
            "implanted": 0.0 if self.published or PAIRS in self.kinds else IMPLANTED_UNPAIRED,
            "pairs": config.weight_pairs,
            "simulated": config.weight_simulated,
        }

    def supervised_weights(self) -> dict[str, Any]:
        """The same for the losses of `SUPERVISED`, within `pairs` and `simulated`."""
        lesions, has_error = self.config.weight_lesions, self.generators["T2"].error_head
        return {"sharp": SHARP, "faded": lesions, "lesions": lesions,
                "error": 0.0 if has_error is None else ERROR}  # fmt: skip

    def terms(self, unpaired: bool) -> list[str]:
        """What `generator_loss` and `discriminator_loss` log, where a step has unpaired slices or
        not; losses without weight are not computed."""
        kinds = [kind for kind in self.kinds if kind != UNPAIRED]
        weights = self.supervised_weights() if kinds else {}
        if unpaired:
            weights |= {k: v for k, v in self.weights().items() if k not in TRUTH}
        names = kinds + [name for name, weight in weights.items() if weight]
        return [*names, "loss_D"] if "loss_G" in names else names

    def generator_loss(
        self, batch: Batch, adversary: float = 1.0
    ) -> tuple[torch.Tensor, Terms, dict[str, torch.Tensor]]:
        """All losses of a share of a step.

        Args:
            batch: from `Samples.batch`.
            adversary: as `weights` takes it.

        Returns:
            (weighted sum, the terms of the log by name, translations of the unpaired slices by
            target contrast).
        """
        nothing = torch.zeros((), device=self.device)
        terms: Terms = defaultdict(lambda: nothing)
        kinds = len(TRUTH & set(self.kinds))
        for kind, (share, directions) in batch.supervised.items():
            for c, sample in directions.items():
                loss, parts = self.supervised_loss(c, sample)
                terms[kind] = terms[kind] + loss * share.weight
                for name, value in parts.items():  # mean of the kinds, to read
                    terms[name] = terms[name] + value.detach() * share.weight / kinds
        fakes = {}
        for c in CONTRASTS if batch.unpaired else ():
            fakes[c] = batch.unpaired[c].images
            if batch.share:
                parts, fakes[c] = self.unpaired_losses(c, batch)
                for name, value in parts.items():
                    terms[name] = terms[name] + value * batch.share.weight
        weights = self.weights(adversary)
        total = sum((weights.get(k, 0.0) * value for k, value in terms.items()), nothing)
        return total, {name: value.detach() for name, value in terms.items()}, fakes

    def supervised_loss(self, to: str, sample: Sample) -> tuple[torch.Tensor, Terms]:
        """L1 + half of (1 - SSIM), and the losses of `SUPERVISED` that have a weight.

        The output is judged as the product shows it, after the guided filter and cut to the head,
        against the target moved onto it by a pixel or two.

        Returns:
            (weighted sum, its parts by name).
        """
        weights = {name: weight for name, weight in self.supervised_weights().items() if weight}
        options = {"error": True} if "error" in weights else {}
        generated = self.generate(to, sample.source, sample.reference, **options)
        output, log_error = generated if options else (generated, None)
        output = guided_grid(output, sample.source) * sample.mask
        target = losses.aligned(sample.target, output, sample.tolerance)
        parts = {name: SUPERVISED[name](output, target, sample, log_error) for name in weights}
        total = losses.dissimilarity(output, target, sample.weight)
        return total + sum(weights[name] * value for name, value in parts.items()), parts

    def unpaired_losses(self, to: str, batch: Batch) -> tuple[Terms, torch.Tensor]:
        """GAN, cycle, identity, structure and intensity losses of one direction.

        Translations are cut to the source's head, as `Translator` does: nobody sees the rest.

        Returns:
            (the losses that have a weight by name, the translations).
        """
        for discriminator in self.discriminators.values():
            discriminator.requires_grad_(False)
        (source, mask, labels), real = batch.unpaired[OTHER[to]], batch.unpaired[to].images
        share, references = batch.share, batch.references[to]
        fake = self.generate(to, self._disturb(source, mask, share, f"to {to}"), references[to])
        fake = fake * mask

        @cache
        def reconstruction() -> torch.Tensor:
            # A network can hide the source in faint detail (Chu et al. 2017) or in the brightness
            # of a tissue; noise and another window drown both.
            noisy = self._disturb(fake, mask, share, f"back from {to}")
            return self.generate(OTHER[to], noisy, references[OTHER[to]]) * mask

        parts: dict[str, Callable[[], torch.Tensor]] = {
            "loss_G": lambda: losses.lsgan(self._judge(to, fake, labels), fake, real=True),
            "cycle": lambda: losses.l1(reconstruction(), source * mask),
            "cycle_ssim": lambda: losses.ssim_loss(reconstruction(), source * mask),
            "structure": lambda: losses.gradient_field(source, fake),
            "intensity": lambda: losses.intensity_distribution(fake, real),
            "idt": lambda: losses.l1(self.generate(to, real), real),
            "implanted": lambda: self._implanted_loss(to, source, fake, mask, share),
        }
        weights = self.weights()
        return {name: loss() for name, loss in parts.items() if weights[name]}, fake

    def recall(
        self, step: int, batches: list[Batch], fakes: list[dict[str, torch.Tensor]]
    ) -> list[dict[str, tuple[torch.Tensor, torch.Tensor]]]:
        """Swap the translations of a step with the history, alike in all processes.

        Every process has the same history and asks it for the step's whole batch in the order of
        the places, so what comes back does not depend on how the batch was shared out.

        Args:
            step: of the run.
            batches, fakes: of this process, as `generator_loss` took and returned them.

        Returns:
            For each batch: target contrast -> images and their sources, to show to the
            discriminator as generated.
        """
        recalled: list[dict] = [{} for _ in batches]
        positions = [p for batch in batches for p in batch.share.positions]
        for c in CONTRASTS:
            labels = [b.unpaired[OTHER[c]].sources.to(self.device) for b in batches]
            images, sources = (
                self._in_order(torch.cat(stacks), positions, batches[0].share.total)
                for stacks in ([f[c].detach() for f in fakes], labels)
            )
            rng = stream(self.config.seed, step, f"pool {c}")
            images, sources = self.pools[c].query(images, sources, rng)
            for batch, result in zip(batches, recalled, strict=True):
                result[c] = images[batch.share.positions], sources[batch.share.positions]
        return recalled

    def discriminator_loss(
        self, batch: Batch, recalled: dict[str, tuple[torch.Tensor, torch.Tensor]]
    ) -> torch.Tensor:
        """Least-squares loss of both discriminators on real slices and the history of fakes."""
        loss = torch.zeros((), device=self.device)
        for c in CONTRASTS:
            self.discriminators[c].requires_grad_(True)
            images, _, labels = batch.unpaired[c]
            fakes, fake_labels = recalled[c]
            loss_real = losses.lsgan(self._judge(c, images, labels), images, real=True)
            loss_fake = losses.lsgan(self._judge(c, fakes, fake_labels), fakes, real=False)
            loss = loss + 0.5 * (loss_real + loss_fake)  # halved, as in the paper
        return loss * batch.share.weight

    def generate(
        self, to: str, images: torch.Tensor, reference: torch.Tensor | None = None, **options: bool
    ) -> Any:
        """Translations of `images` in the style of `reference`, of the source where that is black.

        Args:
            reference: (B, 1, S, S) in [0, 1], or None.
            options: of the generator: with `error` the logs of the predicted errors, too.
        """
        network = self.generators[to]
        images = images.contiguous(memory_format=torch.channels_last)
        code = style_code(network, reference)
        with self.accelerator.autocast():
            output = network(images, code, **options)
        return tuple(o.float() for o in output) if options else output.float()

    def _judge(self, contrast: str, images: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with self.accelerator.autocast():
            return self.discriminators[contrast](images, source.to(self.device))

    def _disturb(
        self, images: torch.Tensor, mask: torch.Tensor, share: Share, purpose: str
    ) -> torch.Tensor:
        if self.published:
            return images
        return disturb(images, mask, RandomStream(len(images), share.streams(purpose), self.device))

    def _implanted_loss(
        self, to: str, source: torch.Tensor, fake: torch.Tensor, mask: torch.Tensor, share: Share
    ) -> torch.Tensor:
        """Lesions implanted in the source must show in the translation.

        What lies around them counts for little: there the target is the network's own output, and
        would tie it to what it makes of the real lesions in the slice.
        """
        rng = RandomStream(len(share), share.streams(f"implanted to {to}"), self.device)
        implanted = implant_lesions(source, fake.detach(), mask, to, rng, self.bank)
        output = self.generate(to, implanted.source) * mask
        weight = 0.05 + 0.95 * implanted.around
        contrast = losses.lesion_contrast(output, implanted.target, implanted.lesion * mask, mask)
        return losses.dissimilarity(output, implanted.target, weight) + contrast

    def _in_order(self, own: torch.Tensor, positions: list[int], total: int) -> torch.Tensor:
        """All `total` samples of a step in the order of their positions, from this process's.

        `Share.deal` gives each process as many as the others, or one more: what is missing is
        filled up for the exchange.
        """
        order, processes = (
            torch.tensor(positions, device=self.device),
            self.accelerator.num_processes,
        )
        if processes > 1:
            missing = -(-total // processes) - len(own)
            own = torch.cat([own, own.new_zeros(missing, *own.shape[1:])])
            order = torch.cat([order, order.new_full((missing,), -1)])
            own, order = (self.accelerator.gather(t.contiguous()) for t in (own, order))
            own, order = own[order >= 0], order[order >= 0]
        return own[order.argsort()]

    def _place(self, network: nn.Module) -> nn.Module:
        return network.to(self.device, memory_format=torch.channels_last)


def style_code(network: nn.Module, reference: torch.Tensor | None) -> torch.Tensor | None:
    """The style code of a reference.

    Args:
        network: a generator.
        reference: (B, 1, S, S) in [0, 1], or None.

    Returns:
        (B, numbers), zeros, which change nothing, where the reference is black; None without
        references and for generators without styles.
    """
    if reference is None or network.style_encoder is None:
        return None
    present = (reference.amax((1, 2, 3)) > 0).float()[:, None]
    return network.style_encoder(reference) * present
