"""The networks in training and the losses of one batch; the optimisation is `trainer.py`'s.

Zhu et al. 2017 ("Unpaired image-to-image translation using cycle-consistent adversarial networks")
with a supervised loss on simulated pairs and a structure loss between source and translation.

Every loss is a mean over the samples of the step's whole batch. What is computed here for one share
of it is weighted by the share's size, so gradients and losses of the shares only have to be added.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import nn

from cyclegan import CONTRASTS, OTHER
from cyclegan.model.networks import GENERATORS, PatchDiscriminator
from cyclegan.simulation.augment import Draw, disturb, move_real, view
from cyclegan.simulation.lesions import implant_lesions
from cyclegan.simulation.simulate import SimulatedPair, Simulator
from cyclegan.slices.data import Drawn, SliceDataset
from cyclegan.slices.paired_slices import DrawnPairs, PairedSlices
from cyclegan.training import losses
from cyclegan.training.config import TrainConfig
from cyclegan.training.image_pool import ImagePool
from cyclegan.training.look_lessons import code_of, seen_elsewhere, simulated_look
from cyclegan.training.paired_lessons import PAIRED_TERMS, PairedLessons
from cyclegan.training.sharing import Share, stream


class Batch(NamedTuple):
    """What a share of a step trains on, on the device; None: nothing of that kind."""

    share: Share
    real: dict[str, Drawn] | None
    pairs: SimulatedPair | None
    pairs_share: Share
    paired: DrawnPairs | None
    paired_share: Share


class Objective:
    """Generators, discriminators and history pools, one of each per wanted contrast.

    Args:
        config: loss weights and network choice.
        dataset, simulator: real slices and simulated pairs; either may be None.
        accelerator: decides device and precision.
        paired: real pairs, or None.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: SliceDataset | None,
        simulator: Simulator | None,
        accelerator: Accelerator,
        paired: PairedSlices | None = None,
    ):
        self.config, self.dataset, self.simulator = config, dataset, simulator
        self.accelerator, self.device = accelerator, accelerator.device
        self.lessons = PairedLessons(config, paired, self.device) if paired else None
        sources = len(dataset.names) if dataset and config.conditional else 0
        self.generators = {c: self.new_generator() for c in CONTRASTS}
        self.discriminators = {
            c: self._place(PatchDiscriminator(sources=sources)) for c in CONTRASTS
        }
        self.pools = {c: ImagePool(config.pool) for c in CONTRASTS}
        self.teacher: dict[str, nn.Module] = {}  # see `refinement.py`, `back_translation.py`
        if config.compile:
            _require_compiler(self.device)
            for network in (*self.generators.values(), *self.discriminators.values()):
                network.compile()  # in place: the names in its state stay as they are

    def new_generator(self) -> nn.Module:
        """A generator as the config describes it, on the device."""
        return self._place(GENERATORS[self.config.generator](**self.config.network_options()))

    def frozen_copies(self) -> dict[str, nn.Module]:
        """The generators as they are now, not to be trained: by wanted contrast."""
        copies = {c: self.new_generator().requires_grad_(False).eval() for c in self.generators}
        for c, network in copies.items():
            network.load_state_dict(self.generators[c].state_dict())
        return copies

    # Data

    def read_real(self, share: Share) -> dict[str, Drawn]:
        """Unpaired slices of a share as they lie in memory; safe in a thread beside the training.

        A sample's source and slices depend on its own random stream only.
        """
        drawn = [self.dataset.draw(1, rng) for rng in share.streams("slices")]
        read = {}
        for c in CONTRASTS:
            parts = [torch.cat(part) for part in zip(*(d[c] for d in drawn), strict=True)]
            if self.device.type == "cuda":  # a copy from pinned memory runs beside the computation
                with torch.cuda.device(self.device):  # or the thread would wake the first GPU
                    parts = [part.pin_memory() for part in parts]
            read[c] = Drawn(*parts)
        return read

    def draw(self, share: Share, size: int, real: dict[str, Drawn] | None) -> Batch:
        """The batch of a share, augmented on the device.

        Args:
            share: which samples.
            size: side of the images in pixels.
            real: from `read_real`; None in the stage of simulated pairs alone.
        """
        none = share.first(0)
        paired_share = self.lessons.share(share) if self.lessons else none
        paired = self.lessons.draw(paired_share, size) if paired_share else None
        if real is None:  # real pairs and simulated ones share the places
            rest = share.rest(paired_share.total) if self.simulator else none
            simulated = self._draw_pairs(rest, size) if rest else None
            return Batch(share, None, simulated, rest, paired, paired_share)
        anchors = share.first(self._anchors(share.total))
        moved = self._moved(share, size, real)
        simulated = self._draw_pairs(anchors, size) if anchors else None
        return Batch(share, moved, simulated, anchors, paired, paired_share)

    def _moved(self, share: Share, size: int, real: dict[str, Drawn]) -> dict[str, Drawn]:
        """Real slices of a share on the device, moved and cut to `size`."""
        moved = {}
        for c, drawn in real.items():
            images, masks, sources = (t.to(self.device, non_blocking=True) for t in drawn)
            draw = Draw(len(share), share.streams(f"move {c}"), self.device)
            moved[c] = Drawn(*move_real(images, masks, size, draw), sources)
        return moved

    def _anchors(self, total: int) -> int:
        return math.ceil(total * self.config.anchors) if self.simulator else 0

    def _draw_pairs(self, share: Share, size: int) -> SimulatedPair:
        return self.simulator.draw(
            len(share),
            size,
            share.streams("pairs"),
            lesions=self.config.lesions,
            stripped=self.config.stripped,
        )

    # Losses

    def pairs_loss(self, batch: Batch) -> torch.Tensor:
        """Supervised loss on simulated pairs, both directions: L1 + half of (1 - SSIM)."""
        loss = torch.zeros((), device=self.device)
        if batch.pairs is None:
            return loss
        pair, share = batch.pairs, batch.pairs_share
        for c, given, target in (("T2", pair.t1, pair.t2_target), ("T1", pair.t2, pair.t1_target)):
            reference = None
            if self.config.look:
                draw, looked = self._looks(f"simulated look {c}", share)
                target, reference = simulated_look(target, draw, looked)
            answer, log_error = self._answer_lesson(c, given, reference)
            loss = loss + losses.unlikeness(answer, target)
            if log_error is not None:
                head = (target > losses.AIR).float()
                loss = loss + losses.WEIGHT_BAND * losses.laplace(answer, target, log_error, head)
        return loss * share.weight

    def _looks(self, purpose: str, share: Share) -> tuple[Draw, torch.Tensor]:
        """What draws the looks of a share, and which samples get a reference."""
        draw = Draw(len(share), share.streams(purpose), self.device)
        return draw, view(draw.chance(self.config.looked))

    def supervised_loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Simulated and real pairs, in the proportion of their weights.

        Returns:
            (sum, the terms by name).
        """
        loss = self.pairs_loss(batch)
        if self.lessons is None:
            return loss, {"pairs": loss}
        terms = self.paired_loss(batch)
        total = loss * (self.config.weight_pairs / self.config.weight_paired) + terms["paired"]
        return total, ({"pairs": loss} if self.simulator else {}) | terms

    def paired_loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        """`PairedLessons.loss` of the batch's real pairs; a share may have none."""
        if batch.paired is None:
            return dict.fromkeys(PAIRED_TERMS, torch.zeros((), device=self.device))
        return self.lessons.loss(batch.paired, batch.paired_share, self._answer_lesson)

    def generator_loss(
        self, batch: Batch
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """GAN, cycle, identity, structure, intensity and anchor losses.

        Translations are cut to the source's head, as `Translator` does: nobody sees the rest.

        Returns:
            (weighted sum, the terms by name, translations by wanted contrast).
        """
        config, real, share = self.config, batch.real, batch.share
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
            terms[name] = terms.get(name, 0) + value * share.weight

        fake = {}
        for c in CONTRASTS:  # c is the wanted contrast, OTHER[c] the given one
            given, mask, source = real[OTHER[c]]
            looks = self._looks_of_source(c, real, share)
            disturbed = self._disturb(given, mask, share, f"given {c}")
            fake[c] = self._generate(c, disturbed, looks[c]) * mask
            # A network can hide the source in faint detail (Chu et al. 2017) or in the brightness
            # of a tissue; noise and another window drown both.
            back = self._disturb(fake[c], mask, share, f"back {c}")
            reconstructed = self._generate(OTHER[c], back, looks[OTHER[c]]) * mask
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
                lesions = self._lesions_loss(c, given, fake[c], mask, share)
                terms["lesions"] = terms.get("lesions", 0) + lesions
        if self.simulator is not None and config.anchors:
            terms["pairs"] = self.pairs_loss(batch)
        if self.lessons is not None:
            terms |= self.paired_loss(batch)
            weights |= dict.fromkeys(PAIRED_TERMS, 0.0) | {"paired": config.weight_paired}
        nothing = torch.zeros((), device=self.device)
        total = sum((weights[name] * value for name, value in terms.items()), nothing)
        return total, terms, fake

    def recall(
        self, step: int, batches: list[Batch], fakes: list[dict[str, torch.Tensor]]
    ) -> list[dict[str, tuple[torch.Tensor, torch.Tensor]]]:
        """Swap the translations of a step with the history, alike in all processes.

        Every process holds the same history and asks it for the step's whole batch in the order of
        the places, so what comes back does not depend on how the batch was shared out.

        Args:
            step: of the run.
            batches, fakes: of this process, as `generator_loss` took and gave them.

        Returns:
            For each batch: wanted contrast -> images and their sources, to show to the
            discriminator as generated.
        """
        count, processes = len(batches), self.accelerator.num_processes
        recalled: list[dict] = [{} for _ in batches]
        for c in CONTRASTS:
            images = self._in_order([f[c].detach() for f in fakes])
            sources = self._in_order([b.real[OTHER[c]].sources for b in batches])
            rng = stream(self.config.seed, step, f"pool {c}")
            old = self.pools[c].query(images, sources, rng)
            images, sources = (t[self.accelerator.process_index :: processes] for t in old)
            for k, found in enumerate(recalled):
                found[c] = images[k::count], sources[k::count]
        return recalled

    def discriminator_loss(
        self, batch: Batch, recalled: dict[str, tuple[torch.Tensor, torch.Tensor]]
    ) -> torch.Tensor:
        """Least-squares loss of both discriminators on real slices and the history of fakes."""
        loss = torch.zeros((), device=self.device)
        for c in CONTRASTS:
            self.discriminators[c].requires_grad_(True)
            images, _, source = batch.real[c]
            old, old_source = recalled[c]
            loss_real = losses.lsgan(self._judge(c, images, source), images, real=True)
            loss_fake = losses.lsgan(self._judge(c, old, old_source), old, real=False)
            loss = loss + 0.5 * (loss_real + loss_fake)  # halved, as in the paper
        return loss * batch.share.weight

    def _in_order(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """The whole batch of a step in the order of its places, from this process's shares.

        `Share.deal` deals first to the processes and then to their passes, like cards; this undoes
        it, on either level, by taking one sample of each in turn.
        """
        own = torch.stack(parts, 1).flatten(0, 1)
        if self.accelerator.num_processes == 1:
            return own
        gathered = self.accelerator.gather(own.contiguous())  # one process after another
        return gathered.unflatten(0, (-1, len(own))).transpose(0, 1).flatten(0, 1)

    def _disturb(
        self, images: torch.Tensor, mask: torch.Tensor, share: Share, purpose: str
    ) -> torch.Tensor:
        if not self.config.disturb:
            return images
        return disturb(images, mask, Draw(len(images), share.streams(purpose), self.device))

    def _lesions_loss(
        self, to: str, given: torch.Tensor, fake: torch.Tensor, mask: torch.Tensor, share: Share
    ) -> torch.Tensor:
        """Lesions implanted in the source must show in the translation.

        What lies around them counts for little: there the target is the network's own answer, and
        would hold it to what it makes of the real lesions in the slice.
        """
        half = share.first((share.total + 1) // 2)  # of the batch, for time
        if not half:
            return torch.zeros((), device=self.device)
        given, fake, mask = (t[: len(half)] for t in (given, fake.detach(), mask))
        draw = Draw(len(half), half.streams(f"lesions {to}"), self.device)
        source, target, where = implant_lesions(given, fake, mask, to, draw)
        disturbed = self._disturb(source, mask, half, f"lesions given {to}")
        answer = self._generate(to, disturbed) * mask
        return losses.unlikeness(answer, target, 0.05 + 0.95 * where) * half.weight

    def _place(self, network: nn.Module) -> nn.Module:
        return network.to(self.device, memory_format=torch.channels_last)

    def _generate(
        self,
        contrast: str,
        images: torch.Tensor,
        reference: torch.Tensor | None = None,
        generators: dict[str, nn.Module] | None = None,
    ) -> torch.Tensor:
        """Answers to `images`, in the look of `reference` where that is not black."""
        return self._run((generators or self.generators)[contrast], images, reference).float()

    def _answer_lesson(
        self, contrast: str, images: torch.Tensor, reference: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As `_generate`, and the logs of the likely errors from generators that tell them."""
        network = self.generators[contrast]
        if getattr(network, "doubt", None) is None:
            return self._generate(contrast, images, reference), None
        answer, log_error = self._run(network, images, reference, band=True)
        return answer.float(), log_error.float()

    def _run(
        self, network: nn.Module, images: torch.Tensor, reference: torch.Tensor | None, **more: bool
    ) -> Any:
        images = images.contiguous(memory_format=torch.channels_last)
        code = code_of(network, reference)
        with self.accelerator.autocast():
            # Generators of other kinds take images alone.
            return network(images, **more) if code is None else network(images, code, **more)

    def _looks_of_source(
        self, to: str, real: dict[str, Drawn], share: Share
    ) -> dict[str, torch.Tensor] | dict[str, None]:
        """References of either contrast, some black: on the way there a slice of the same source
        and the wanted contrast, on the way back the slice that was given."""
        if not self.config.look:
            return dict.fromkeys(CONTRASTS)
        draw, looked = self._looks(f"looks {to}", share)
        return {c: seen_elsewhere(real[c].images, draw) * looked for c in CONTRASTS}

    def _judge(self, contrast: str, images: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        with self.accelerator.autocast():
            return self.discriminators[contrast](images, source)


def _require_compiler(device: torch.device) -> None:
    """Compile something small now: the first step of a run is late to learn that nothing can."""
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=device))
    except Exception as error:  # Dynamo, Inductor, Triton and the linker each have their own
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"--compile: nothing can be compiled here ({reason}); install a C++ compiler (Debian: "
            "apt install g++) and for a GPU Triton, or leave --compile out"
        ) from None
