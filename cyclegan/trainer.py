"""The optimisation loop: simulated pairs first, then CycleGAN on unpaired real slices.

Budget, learning rates, EMA of the generators, logging, checkpoints and resuming; what is optimised
is `objective.py`'s.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from tqdm import tqdm

from cyclegan import CONTRASTS, __version__
from cyclegan.checkpoint import CheckpointError, export_weights, load_state, save_state
from cyclegan.config import TrainConfig
from cyclegan.data import SliceDataset
from cyclegan.objective import Objective
from cyclegan.runlog import CsvLog, write_sample_sheet
from cyclegan.simulate import Simulator

STATE = "state.safetensors"
MAX_GRADIENT_NORM = 1.0  # a rare batch must not undo hundreds of steps
# Settings without which the saved networks, optimisers and pools do not fit.
FIXED = ("generator", "generator_options", "size", "batch", "conditional", "pool")

Validate = Callable[[dict[str, nn.Module], dict[str, Any]], dict[str, float]]


class Trainer:
    """Builds the networks, and trains them until the budget is spent.

    Args:
        config: the run.
        out: folder for checkpoints, logs and samples; created when missing.
        dataset: real slices, or None.
        simulator: simulated pairs, or None; one of the two is needed.
        accelerator: device, precision and processes.
        validate: called with the EMA generators and `weights_config()`; returns numbers to log.
        report: called whenever validation is due, after it.
    """

    def __init__(
        self,
        config: TrainConfig,
        out: str | Path,
        *,
        dataset: SliceDataset | None = None,
        simulator: Simulator | None = None,
        accelerator: Accelerator | None = None,
        validate: Validate | None = None,
        report: Callable[[], object] | None = None,
    ):
        if dataset is None and simulator is None:
            raise ValueError("nothing to train on: give real slices, label maps, or both")
        if config.steps is None and config.minutes is None:
            raise ValueError("no budget: give steps, minutes, or both")
        self.config, self.out = config, Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.dataset, self.simulator = dataset, simulator
        self.validate, self.report = validate, report
        self.accelerator = accelerator or Accelerator(cpu=not torch.cuda.is_available())
        torch.manual_seed(config.seed)  # the same initial weights in every process
        self.rng = torch.Generator().manual_seed(config.seed + self.accelerator.process_index)
        self.step, self.seconds = 0, 0.0
        self.warmup = 0.0 if simulator is None else 1.0 if dataset is None else config.warmup
        self.objective = Objective(config, dataset, simulator, self.accelerator, self.rng)
        self.ema = {c: self.objective.new_generator() for c in CONTRASTS}
        for c in CONTRASTS:
            self.ema[c].load_state_dict(self.objective.generators[c].state_dict())
            self.ema[c].requires_grad_(False).eval()
        # fused: one pass over the weights instead of one for each operation
        self.optimizer_G, self.optimizer_D = (
            torch.optim.Adam(_parameters(n), betas=(0.5, 0.999), fused=True)
            for n in (self.objective.generators, self.objective.discriminators)
        )
        self.log = CsvLog(self.out / "log.csv")
        self.validation = CsvLog(self.out / "validation.csv")
        self.samples = self._fixed_samples()

    # The loop

    def fit(self) -> Path:
        """Train until the budget is spent, then export the EMA generators.

        Returns:
            The folder of the exported weights, `out/weights`.
        """
        main = self.accelerator.is_main_process
        bar = tqdm(
            initial=self.step,
            total=self.config.steps,
            disable=not main or not sys.stderr.isatty(),
            unit="step",
        )
        started, before = time.monotonic(), self.seconds
        with bar:
            while self.progress < 1:
                terms = self.train_step()
                self.step += 1
                self.seconds = self._agree(before + time.monotonic() - started)
                bar.update()
                if main and self._is_due(self.config.log_every):
                    values = {k: v.item() for k, v in terms.items()}
                    self._append(self.log, values)
                    bar.set_postfix({k: f"{v:.3f}" for k, v in values.items()})
                if main and self._is_due(self.config.sample_every):
                    self.write_samples()
                if self._is_due(self.config.save_every):
                    self.save()
                if main and self._is_due(self.config.validate_every):
                    self._validate()
        if main:
            self.write_samples()
        self.save()
        if main:
            self.export()
        self.accelerator.wait_for_everyone()
        return self.out / "weights"

    @property
    def progress(self) -> float:
        """Share of the budget spent, by steps or by time, whichever is further."""
        by_steps = self.step / self.config.steps if self.config.steps else 0.0
        by_time = self.seconds / (60 * self.config.minutes) if self.config.minutes else 0.0
        return max(by_steps, by_time)

    def train_step(self) -> dict[str, torch.Tensor]:
        """One step of whichever stage it is; returns the losses, detached."""
        config, progress, objective = self.config, self.progress, self.objective
        size = config.start_size if progress < config.start_share else config.size
        self._set_learning_rates(progress)
        if progress < self.warmup:
            terms = {"pairs": objective.pairs_loss(config.batch, size)}
            self._optimise(self.optimizer_G, objective.generators, terms["pairs"])
        else:
            real = objective.draw_real(size)
            total, terms, fake = objective.generator_loss(real)
            self._optimise(self.optimizer_G, objective.generators, total)
            terms["loss_D"] = objective.discriminator_loss(real, fake)
            self._optimise(self.optimizer_D, objective.discriminators, terms["loss_D"])
        self._update_ema()
        return {k: v.detach() for k, v in terms.items()}

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
        """Cosine over the warm-up, then constant, then linear to zero over the last half."""
        config = self.config
        falling = min(1.0, 2 * (1 - progress) / max(1 - self.warmup, 1e-9))
        lr_G, lr_D = config.lr * falling, config.lr_discriminator * falling
        if progress < self.warmup:
            # With an adaptation stage to come, the cosine ends at its learning rate, else at zero.
            floor = config.lr if self.warmup < 1 else 0.0
            cosine = 0.5 * (1 + math.cos(math.pi * progress / self.warmup))
            first_steps = min(1.0, (self.step + 1) / 100)
            lr_G = (floor + (config.lr_warmup - floor) * cosine) * first_steps
        for optimizer, lr in ((self.optimizer_G, lr_G), (self.optimizer_D, lr_D)):
            for group in optimizer.param_groups:
                group["lr"] = max(lr, 0.0)

    @torch.no_grad()
    def _update_ema(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))  # follows fast at first
        for c in CONTRASTS:
            averaged, current = self.ema[c].parameters(), self.objective.generators[c].parameters()
            torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    # What a run leaves behind

    def weights_config(self) -> dict[str, Any]:
        """Arguments of `export_weights` that say what the generators are."""
        return {
            "generator": self.config.generator,
            "generator_options": self.config.generator_options,
            "size": self.config.size,
        }

    def export(self) -> Path:
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
            version=__version__,
            training=training,
        )

    def save(self) -> None:
        """Write everything that `resume` needs to `out/state.safetensors`, atomically."""
        state = {
            "config": dataclasses.asdict(self.config),
            "step": self.step,
            "seconds": self.seconds,
            "rng": gather_object([self.rng.get_state()]),  # each process draws its own data
            "networks": {
                kind: {c: network.state_dict() for c, network in networks.items()}
                for kind, networks in self._networks().items()
            },
            "optimizers": [o.state_dict() for o in (self.optimizer_G, self.optimizer_D)],
            "pools": {c: pool.state_dict() for c, pool in self.objective.pools.items()},
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
        different = [f"{k}: {old.get(k)} then, {new[k]} now" for k in FIXED if old.get(k) != new[k]]
        if different:
            raise CheckpointError(
                f"{self.out / STATE}: made with other settings ({'; '.join(different)}); "
                "resume with the old ones, or start in another folder"
            )
        if len(state["rng"]) != self.accelerator.num_processes:
            raise CheckpointError(
                f"{self.out / STATE}: made with {len(state['rng'])} processes; resume with as many"
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
        for c, pool in self.objective.pools.items():
            pool.load_state_dict(state["pools"][c])
        self.rng.set_state(state["rng"][self.accelerator.process_index])
        self.step, self.seconds = state["step"], state["seconds"]
        for log in (self.log, self.validation):
            log.truncate(self.step)

    def start_from(self, generators: dict[str, nn.Module]) -> None:
        """Start from trained generators ("T1", "T2" -> network) instead of random weights."""
        for c in CONTRASTS:
            for network in (self.objective.generators[c], self.ema[c]):
                try:
                    network.load_state_dict(generators[c].state_dict())
                except RuntimeError:
                    raise CheckpointError(
                        "--init: these weights are of another generator; give the same "
                        "--generator and width"
                    ) from None

    def _networks(self) -> dict[str, dict[str, nn.Module]]:
        return {
            "generators": self.objective.generators,
            "ema": self.ema,
            "discriminators": self.objective.discriminators,
        }

    def _agree(self, seconds: float) -> float:
        """The same time in all processes, so that they stop after the same step."""
        if self.accelerator.num_processes == 1:
            return seconds
        elapsed = torch.tensor(seconds, device=self.accelerator.device)
        return self.accelerator.reduce(elapsed, "mean").item()

    def _is_due(self, interval: int) -> bool:
        return self.step % interval == 0

    def _validate(self) -> None:
        if self.validate:
            self._append(self.validation, self.validate(self.ema, self.weights_config()))
        if self.report:
            self.report()

    def _append(self, log: CsvLog, values: dict[str, float]) -> None:
        log.append({"step": self.step, "minutes": round(self.seconds / 60, 2), **values})
        named = {f"{log.path.stem}/{k.replace(' ', '_')}": v for k, v in values.items()}
        self.accelerator.log(named, step=self.step)  # to the trackers, when there are any

    def _fixed_samples(self) -> dict[str, torch.Tensor]:
        """Slices of both contrasts for the sample sheets, the same for the whole run."""
        rng = torch.Generator().manual_seed(1234)
        if self.dataset is None:
            pair = self.simulator.draw(4, self.config.size, rng)
            return {"T1": pair.t1, "T2": pair.t2}
        drawn = self.dataset.draw(6, rng)
        return {c: d.images.to(self.accelerator.device) for c, d in drawn.items()}

    def write_samples(self) -> None:
        """Write `samples/STEP.png` with the EMA generators."""
        write_sample_sheet(self.out / "samples" / f"{self.step:07d}.png", self.ema, self.samples)


def _parameters(networks: dict[str, nn.Module]) -> list[nn.Parameter]:
    return [p for network in networks.values() for p in network.parameters()]
