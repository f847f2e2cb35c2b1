"""The optimisation loop: simulated pairs first, then CycleGAN on unpaired real slices.

Zhu et al. 2017 ("Unpaired image-to-image translation using cycle-consistent adversarial networks")
with a warm-up and an anchor on simulated pairs, a structure loss, and an EMA of the generators.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torchvision.utils import save_image
from tqdm import tqdm

from cyclegan import __version__, losses
from cyclegan.augment import Draw, augment_real
from cyclegan.checkpoint import CheckpointError, export_weights, load_state, save_state
from cyclegan.data import CONTRASTS, ImagePool, SliceDataset
from cyclegan.networks import GENERATORS, PatchDiscriminator
from cyclegan.simulate import Simulator

OTHER = {"T1": "T2", "T2": "T1"}
STATE = "state.safetensors"
MAX_GRADIENT_NORM = 1.0  # a rare batch must not undo hundreds of steps


@dataclass
class TrainConfig:
    """Everything that decides a run, with the reason for each default."""

    generator: str = "unet"
    generator_options: dict[str, Any] = field(default_factory=dict)
    size: int = 256  # grid of the finished model; a head fills it at about 1 mm a pixel
    start_size: int = 160  # the first steps run at this size: 2.5 times as many in the same time
    start_share: float = 0.25  # share of the run at start_size
    batch: int = 4
    steps: int | None = None  # the run ends at whichever of the two comes first
    minutes: float | None = None
    warmup: float = 0.5  # share of the run on simulated pairs alone, when there is real data too
    lr: float = 2e-4  # Adam, as in the paper; falls linearly to zero over the last half
    lr_warmup: float = 5e-4  # 1e-3 sent the outputs to black within 50 steps
    weight_cycle: float = 10.0  # the paper's
    weight_identity: float = 0.0  # the paper's 5 holds a U-Net at copying, and costs a third
    weight_structure: float = 2.0  # normalised gradient field between source and translation
    weight_pairs: float = 4.0  # L1 + half of (1 - SSIM) on simulated pairs, beside the GAN losses
    anchor_batch: int = 2  # simulated pairs kept in every batch once real slices come in
    cycle_noise: float = (
        0.02  # on the translation before the way back: nothing hides in faint detail
    )
    pool: int = 50  # the paper's history of generated images
    ema: float = 0.998
    conditional: bool = True  # discriminators know the data source
    lesions: float = 0.5
    stripped: float = 0.45
    seed: int = 0
    log_every: int = 20
    sample_every: int = 500
    save_every: int = 500
    validate_every: int = 1000


class Trainer:
    """Builds the networks, and trains them until the budget is spent.

    Args:
        config: the run.
        out: folder for checkpoints, log and samples; created when missing.
        dataset: real slices, or None.
        simulator: simulated pairs, or None; one of the two is needed.
        accelerator: device, precision and processes.
        validate: called with {"T1", "T2" -> EMA generator} at intervals, returns numbers to log.
    """

    def __init__(
        self,
        config: TrainConfig,
        out: str | Path,
        *,
        dataset: SliceDataset | None = None,
        simulator: Simulator | None = None,
        accelerator: Accelerator | None = None,
        validate: Callable[[dict[str, nn.Module], dict], dict[str, float]] | None = None,
    ):
        if dataset is None and simulator is None:
            raise ValueError("nothing to train on: give real slices, label maps, or both")
        if config.steps is None and config.minutes is None:
            raise ValueError("no budget: give steps, minutes, or both")
        self.config, self.out = config, Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.dataset, self.simulator, self.validate = dataset, simulator, validate
        self.accelerator = accelerator or Accelerator(cpu=not torch.cuda.is_available())
        self.device = self.accelerator.device
        torch.manual_seed(config.seed)  # the same initial weights in every process
        self.rng = torch.Generator().manual_seed(config.seed + self.accelerator.process_index)
        self.step, self.seconds = 0, 0.0
        # Spent shares of steps and time decide; kept as a number so that resuming continues it.
        self.warmup = 0.0 if simulator is None else 1.0 if dataset is None else config.warmup
        self._build()

    def _build(self) -> None:
        config = self.config
        make = GENERATORS[config.generator]
        sources = len(self.dataset.names) if self.dataset and config.conditional else 0

        def place(network: nn.Module) -> nn.Module:
            return network.to(self.device, memory_format=torch.channels_last)

        self.generators = {c: place(make(**config.generator_options)) for c in CONTRASTS}
        self.ema = {c: place(make(**config.generator_options)) for c in CONTRASTS}
        for c in CONTRASTS:
            self.ema[c].load_state_dict(self.generators[c].state_dict())
            self.ema[c].requires_grad_(False).eval()
        self.discriminators = {c: place(PatchDiscriminator(sources=sources)) for c in CONTRASTS}
        self.pools = {c: ImagePool(config.pool) for c in CONTRASTS}
        # fused: one pass over the weights; three times faster on a CPU
        self.optimizer_G, self.optimizer_D = (
            torch.optim.Adam(_parameters(n), betas=(0.5, 0.999), fused=True)
            for n in (self.generators, self.discriminators)
        )

    # The loop

    def fit(self) -> Path:
        """Train until the budget is spent, then export the EMA generators.

        Returns:
            The folder of the exported weights, `out/weights`.
        """
        self.samples = self._fixed_samples()
        bar = tqdm(
            initial=self.step,
            total=self.config.steps,
            disable=not self.accelerator.is_main_process or not sys.stderr.isatty(),
            unit="step",
        )
        started, before = time.monotonic(), self.seconds
        try:
            while self.progress < 1:
                values = self.train_step()
                self.step += 1
                self.seconds = before + time.monotonic() - started
                if self.step % self.config.log_every == 0:
                    self._log({k: v.item() for k, v in values.items()})
                    bar.set_postfix({k: f"{v.item():.3f}" for k, v in values.items()})
                bar.update()
                if self.step % self.config.sample_every == 0:
                    self.write_samples()
                if self.step % self.config.save_every == 0:
                    self.save()
                if self.validate and self.step % self.config.validate_every == 0:
                    self._log(self.validate(self.ema, self.weights_config()), name="validation.csv")
        finally:
            bar.close()
        self.write_samples()
        self.save()
        return self.export()

    @property
    def progress(self) -> float:
        """Share of the budget spent, by steps or by time, whichever is further."""
        by_steps = self.step / self.config.steps if self.config.steps else 0.0
        by_time = self.seconds / (60 * self.config.minutes) if self.config.minutes else 0.0
        return max(by_steps, by_time)

    def train_step(self) -> dict[str, torch.Tensor]:
        """One step of whichever stage it is; returns the losses, detached."""
        progress = self.progress
        size = self.config.start_size if progress < self.config.start_share else self.config.size
        warming = progress < self.warmup
        self._set_learning_rates(progress)
        values = self._warmup_step(size) if warming else self._cyclegan_step(size)
        self._update_ema()
        return {k: v.detach() for k, v in values.items()}

    def _warmup_step(self, size: int) -> dict[str, torch.Tensor]:
        loss_pairs = self._pairs_loss(self.config.batch, size)
        self._optimise(self.optimizer_G, self.generators, loss_pairs)
        return {"pairs": loss_pairs}

    def _cyclegan_step(self, size: int) -> dict[str, torch.Tensor]:
        config = self.config
        real, source = {}, {}
        for c, (images, sources) in self.dataset.draw(config.batch, self.rng).items():
            draw = Draw(config.batch, self.rng, self.device)
            real[c] = augment_real(images.to(self.device), size, draw)
            source[c] = sources.to(self.device)

        # Generators
        for discriminator in self.discriminators.values():
            discriminator.requires_grad_(False)
        fake, values = {}, {}
        loss_gan = loss_cycle = loss_identity = loss_structure = torch.zeros((), device=self.device)
        for c in CONTRASTS:  # c is the wanted contrast, OTHER[c] the given one
            given = real[OTHER[c]]
            fake[c] = self._generate(c, given)
            noise = Draw(config.batch, self.rng, self.device).white(size) * config.cycle_noise
            reconstructed = self._generate(OTHER[c], fake[c] + noise)
            score = self._judge(c, fake[c], source[OTHER[c]])
            loss_gan = loss_gan + losses.lsgan(score, real=True)
            loss_cycle = loss_cycle + losses.l1(reconstructed, given)
            loss_structure = loss_structure + losses.gradient_field(given, fake[c])
            if config.weight_identity:
                identity = self._generate(c, real[c])
                loss_identity = loss_identity + losses.l1(identity, real[c])
        values["loss_G"] = loss_gan
        values["cycle"], values["structure"] = loss_cycle, loss_structure
        total = (
            loss_gan
            + config.weight_cycle * loss_cycle
            + config.weight_identity * loss_identity
            + config.weight_structure * loss_structure
        )
        if config.weight_identity:
            values["idt"] = loss_identity
        if self.simulator is not None and config.anchor_batch:
            values["pairs"] = self._pairs_loss(config.anchor_batch, size)
            total = total + config.weight_pairs * values["pairs"]
        self._optimise(self.optimizer_G, self.generators, total)

        # Discriminators
        loss_D = torch.zeros((), device=self.device)
        for c in CONTRASTS:
            self.discriminators[c].requires_grad_(True)
            old, old_source = self.pools[c].query(fake[c], source[OTHER[c]], self.rng)
            loss_real = losses.lsgan(self._judge(c, real[c], source[c]), real=True)
            loss_fake = losses.lsgan(self._judge(c, old, old_source), real=False)
            loss_D = loss_D + 0.5 * (loss_real + loss_fake)  # halved, as in the paper
        self._optimise(self.optimizer_D, self.discriminators, loss_D)
        values["loss_D"] = loss_D
        return values

    def _pairs_loss(self, batch: int, size: int) -> torch.Tensor:
        """Supervised loss on simulated pairs, both directions."""
        config = self.config
        pair = self.simulator.draw(
            batch, size, self.rng, lesions=config.lesions, stripped=config.stripped
        )
        loss = torch.zeros((), device=self.device)
        for c, given, target in (("T2", pair.t1, pair.t2_target), ("T1", pair.t2, pair.t1_target)):
            out = self._generate(c, given)
            loss = loss + losses.l1(out, target) + 0.5 * losses.ssim_loss(out, target)
        return loss

    def _generate(self, contrast: str, images: torch.Tensor) -> torch.Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with self.accelerator.autocast():
            return self.generators[contrast](images).float()

    def _judge(self, contrast: str, images: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        with self.accelerator.autocast():
            return self.discriminators[contrast](images, source)

    def _optimise(
        self, optimizer: torch.optim.Optimizer, networks: dict[str, nn.Module], loss: torch.Tensor
    ) -> None:
        """Backward, average the gradients over the processes, step.

        The networks run several times in one backward pass, which DistributedDataParallel does not
        allow without care; averaging by hand is as exact, and the same code runs on one process.
        """
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {self.step}; the last checkpoint is intact: "
                "resume with a lower --lr"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.accelerator.num_processes > 1:
            for parameter in _parameters(networks):
                if parameter.grad is not None:
                    parameter.grad = self.accelerator.reduce(parameter.grad, "mean")
        nn.utils.clip_grad_norm_(_parameters(networks), MAX_GRADIENT_NORM)
        optimizer.step()

    def _set_learning_rates(self, progress: float) -> None:
        config = self.config
        if progress < self.warmup:
            share = progress / self.warmup
            # With an adaptation stage to come, the cosine ends at its learning rate, else at zero.
            floor = config.lr if self.warmup < 1 else 0.0
            cosine = 0.5 * (1 + math.cos(math.pi * share))
            lr = (floor + (config.lr_warmup - floor) * cosine) * min(1.0, (self.step + 1) / 100)
        else:
            share = (progress - self.warmup) / max(1 - self.warmup, 1e-9)
            lr = config.lr * min(1.0, 2 * (1 - share))
        for optimizer in (self.optimizer_G, self.optimizer_D):
            for group in optimizer.param_groups:
                group["lr"] = max(lr, 0.0)

    @torch.no_grad()
    def _update_ema(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))  # follows fast at first
        for c in CONTRASTS:
            averaged, current = self.ema[c].parameters(), self.generators[c].parameters()
            torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    # What a run leaves behind

    def weights_config(self) -> dict[str, Any]:
        """Arguments of `export_weights` that say what the generators are."""
        return {
            "generator": self.config.generator,
            "generator_options": self.config.generator_options,
            "size": self.config.size,
        }

    def export(self, version: str = __version__) -> Path:
        """Write the EMA generators as a weights folder."""
        training = {
            "steps": self.step,
            "minutes": round(self.seconds / 60, 1),
            "config": dataclasses.asdict(self.config),
            "sources": self.dataset.names if self.dataset else [],
        }
        return export_weights(
            self.out / "weights",
            self.ema,
            **self.weights_config(),
            version=version,
            training=training,
        )

    def save(self) -> None:
        """Write everything that `resume` needs to `out/state.safetensors`, atomically."""
        state = {
            "config": dataclasses.asdict(self.config),
            "step": self.step,
            "seconds": self.seconds,
            "rng": self.rng.get_state(),
            "networks": {
                kind: {c: network.state_dict() for c, network in networks.items()}
                for kind, networks in self._networks().items()
            },
            "optimizers": [o.state_dict() for o in (self.optimizer_G, self.optimizer_D)],
            "pools": {c: pool.state_dict() for c, pool in self.pools.items()},
        }
        if self.accelerator.is_main_process:
            save_state(self.out / STATE, state)

    def resume(self) -> None:
        """Continue from `out/state.safetensors`: networks, optimisers, EMA, pools, RNG and step.

        Raises:
            CheckpointError: no state, or one of another network or discriminator.
        """
        state = load_state(self.out / STATE)
        old, new = state["config"], dataclasses.asdict(self.config)
        fixed = ("generator", "generator_options", "size", "batch", "conditional", "pool")
        different = [f"{k}: {old.get(k)} then, {new[k]} now" for k in fixed if old.get(k) != new[k]]
        if different:
            raise CheckpointError(
                f"{self.out / STATE}: made with other settings ({'; '.join(different)}); "
                "resume with the old ones, or start in another folder"
            )
        try:
            for kind, networks in self._networks().items():
                for c, network in networks.items():
                    network.load_state_dict(state["networks"][kind][c])
        except RuntimeError:
            raise CheckpointError(
                f"{self.out / STATE}: the networks differ; the number of data sources or the code "
                "has changed, start in another folder"
            ) from None
        for optimizer, saved in zip(
            (self.optimizer_G, self.optimizer_D), state["optimizers"], strict=True
        ):
            optimizer.load_state_dict(saved)
            for parameter, moments in optimizer.state.items():
                for name, value in moments.items():
                    if value.shape == parameter.shape:
                        # The fused kernel walks memory, so the moments need the weights' strides.
                        moments[name] = torch.empty_like(parameter).copy_(value)
        for c, pool in self.pools.items():
            pool.load_state_dict(state["pools"][c])
        self.rng.set_state(state["rng"])
        self.step, self.seconds = state["step"], state["seconds"]
        _truncate_log(self.out / "log.csv", self.step)
        _truncate_log(self.out / "validation.csv", self.step)

    def start_from(self, generators: dict[str, nn.Module]) -> None:
        """Start from trained generators ("T1", "T2" -> network) instead of random weights."""
        for c in CONTRASTS:
            for network in (self.generators[c], self.ema[c]):
                try:
                    network.load_state_dict(generators[c].state_dict())
                except RuntimeError:
                    raise CheckpointError(
                        "--init: these weights are of another generator; give the same "
                        "--generator and width"
                    ) from None

    def _networks(self) -> dict[str, dict[str, nn.Module]]:
        return {
            "generators": self.generators,
            "ema": self.ema,
            "discriminators": self.discriminators,
        }

    def _log(self, values: dict[str, float], name: str = "log.csv") -> None:
        """Append a row; a new column (the adaptation has losses of its own) starts a new header."""
        if not self.accelerator.is_main_process:
            return
        path = self.out / name
        row = {"step": self.step, "minutes": round(self.seconds / 60, 2), **values}
        rows = _read_log(path)
        columns = list(dict.fromkeys([*(rows[0] if rows else []), *row]))
        with path.open("a" if rows and columns == list(rows[0]) else "w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            if file.tell() == 0:
                writer.writeheader()
                writer.writerows(rows)
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})
        if not sys.stderr.isatty():
            tqdm.write(" ".join(f"{k} {v:.4g}" for k, v in row.items()))

    def _fixed_samples(self) -> dict[str, torch.Tensor]:
        """Slices of both contrasts for the sample sheets, the same for the whole run."""
        rng, size = torch.Generator().manual_seed(1234), self.config.size
        if self.dataset is None:
            pair = self.simulator.draw(4, size, rng)
            return {"T1": pair.t1, "T2": pair.t2}
        return {c: images.to(self.device) for c, (images, _) in self.dataset.draw(6, rng).items()}

    @torch.no_grad()
    def write_samples(self) -> None:
        """Write `samples/STEP.png`: rows of source, translation and cycle, for T1 and then T2."""
        if not self.accelerator.is_main_process:
            return
        rows = []
        for given in CONTRASTS:
            source = self.samples[given]
            translated = self.ema[OTHER[given]](source)
            rows += [source, translated, self.ema[given](translated)]
        folder = self.out / "samples"
        folder.mkdir(exist_ok=True)
        save_image(torch.cat(rows).cpu(), folder / f"{self.step:07d}.png", nrow=len(rows[0]))


def _parameters(networks: dict[str, nn.Module]) -> list[nn.Parameter]:
    return [p for network in networks.values() for p in network.parameters()]


def _read_log(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _truncate_log(path: Path, step: int) -> None:
    """Drop rows that a killed run wrote after its last checkpoint."""
    rows = [r for r in _read_log(path) if int(r["step"]) <= step]
    if not rows:
        path.unlink(missing_ok=True)
        return
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
