"""The loop: a step, its schedule, logging and checkpoints, until the budget is spent.

What a step trains on is `samples.py`'s, what is optimised `objective.py`'s, how it is optimised and
on which schedule `optimisation.py`'s, how a step is shared out `sharing.py`'s, what resuming needs
`training_state.py`'s.
"""

from __future__ import annotations

import copy
import dataclasses
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from cyclegan import CONTRASTS, __version__
from cyclegan.data.dataset import SliceBatch
from cyclegan.model.checkpoint import CheckpointError, export_weights, save_state
from cyclegan.report.runlog import DATA_WAIT, STEPS_PER_SECOND, RunOutput, writing
from cyclegan.training.config import UNPAIRED, TrainConfig, TrainingData, resolved
from cyclegan.training.objective import Objective
from cyclegan.training.optimisation import (
    adversary_strength,
    learning_rate,
    new_optimizer,
    optimise,
    update_average,
)
from cyclegan.training.samples import Batch, Samples
from cyclegan.training.sharing import Share, counts
from cyclegan.training.training_state import (
    FORMAT,
    STATE,
    Interrupted,
    StopSignals,
    add_sources,
    collect,
    read_state,
    restore,
    unfit,
)

SMALL = 0.25  # share of the run at `start_size`
# Of the generators given by --init in what is exported (Wortsman et al. 2022, "Robust fine-tuning
# of zero-shot models"). Measured when 1.0.0 was made from 0.9.0: fine-tuning alone kept 37 of 39
# lesions, not 30, and lost 0.015 SSIM in T1 to T2; with 0.6 of the start 35 are kept for 0.003
# (all without a default style).
KEPT_OF_START = 0.6
AVERAGED = 0.75  # share of the run after which the exported average takes a snapshot at each save


class Trainer:
    """Builds the networks, and trains them until the budget is spent.

    A step sees `samples_per_step` samples, of all kinds of data that there are, shared out among
    the processes and their accumulated passes; see `sharing.py`.

    Args:
        config: the run.
        out: folder for checkpoints, logs and samples; created when missing.
        data: what to train on.
        accelerator: device, precision and processes.
        validate: called with the EMA generators and `weights_config()`; returns numbers to log.
        report: called whenever the state was saved, after it.

    Raises:
        ValueError: no data, no budget, an empty batch, or a setting that has no effect with what
            there is.
    """

    def __init__(
        self,
        config: TrainConfig,
        out: str | Path,
        data: TrainingData,
        *,
        accelerator: Accelerator | None = None,
        validate: Callable[[dict[str, nn.Module], dict[str, Any]], dict[str, float]] | None = None,
        report: Callable[[], object] | None = None,
    ):
        if config.steps is None and config.minutes is None:
            raise ValueError("no budget: give steps, minutes, or both")
        self.config, self.out, self.data = resolved(config, data.kinds), Path(out), data
        self.out.mkdir(parents=True, exist_ok=True)
        self.accelerator = accelerator or Accelerator(cpu=not torch.cuda.is_available())
        self.validate, self.report = validate, report
        counts(self.samples_per_step, data.kinds, self.config.unpaired)  # raises for too few
        self.samples = Samples(self.config, data, self.accelerator.device)
        torch.manual_seed(config.seed)  # the same initial weights in every process
        self.step, self.seconds = 0, 0.0
        self.objective = Objective(self.config, data, self.accelerator)
        self.ema = self.objective.frozen_copies()
        # Of the EMA generators at the saves of the last quarter (Izmailov et al. 2018): one run's
        # snapshots take the place of several runs' mean.
        self.average = {c: AveragedModel(network) for c, network in self.ema.items()}
        self.start: dict[str, nn.Module] = {}  # the generators given by --init
        self.optimizer_G = new_optimizer(self.objective.generators)
        adversaries = self.objective.discriminators
        self.optimizer_D = new_optimizer(adversaries) if adversaries else None
        self.output = RunOutput(self.out, self.accelerator)
        self.sheet = self.samples.for_sheets()
        self.seen = data.sources  # by these weights, here and in their starts
        self.started_from: dict[str, str] | None = None  # version and SHA-256 of other weights
        self.default_style: dict[str, list[float]] = {}  # theirs
        self._reader = ThreadPoolExecutor(1, "slices")
        self._ahead: dict[tuple, list[Future]] = {}  # (step, kinds) -> the slices of its shares
        self.pace: Counter[str] = Counter()  # steps, their seconds, those waited, since a log row

    # The loop

    def fit(self) -> Path:
        """Train until the budget is spent, then export the averaged generators.

        Returns:
            The folder of the exported weights, `out/weights`.

        Raises:
            FloatingPointError: a loss or gradient is no number any more.
            CheckpointError: something could not be written.
            Interrupted: SIGINT or SIGTERM came; the state is saved.
        """
        main = self.accelerator.is_main_process
        if self.step == 0:  # so that there is always something to resume from
            self.output.drop_rows_after(0)
            self.save()
        bar = tqdm(
            initial=self.step,
            total=self.config.steps,
            disable=not main or not sys.stderr.isatty(),
            unit="step",
        )
        started, before = time.monotonic(), self.seconds
        with bar, StopSignals() as signals:
            while self.progress < 1:
                step_started = time.perf_counter()
                terms = self.train_step()
                self.pace += Counter(steps=1, seconds=time.perf_counter() - step_started)
                self.step += 1
                elapsed = before + time.monotonic() - started
                self.seconds, stop = self._agree(elapsed, signals.received)
                bar.update()
                if self.step % self.config.log_every == 0:
                    values = self._add_up(terms)
                    bar.set_postfix({k: f"{v:.3f}" for k, v in values.items()})
                    self.output.log_losses(self.step, self.seconds, self._take_pace() | values)
                due = self.step % self.config.save_every == 0
                if due and self.progress >= AVERAGED:
                    self._add_to(self.average)
                if due and main:
                    self.write_samples()
                    if self.validate:
                        scores = self.validate(self.ema, self.weights_config())
                        self.output.log_scores(self.step, self.seconds, scores)
                    if self.report:
                        self.report()
                # Last, so that a run which resumes here has all that belongs to this step.
                if stop or due:
                    self.save()
                if stop:
                    raise Interrupted(
                        stop,
                        f"stopped by {signal.Signals(stop).name} after step {self.step}, which is "
                        "saved; continue with --resume",
                    )
        self.save()
        if main:
            self.write_samples()
            self.export()
        self.accelerator.wait_for_everyone()
        return self.out / "weights"

    @property
    def progress(self) -> float:
        """Share of the budget spent, by steps or by time, whichever is further."""
        budgets = (self.step, self.config.steps), (self.seconds / 60, self.config.minutes)
        # A budget of nothing is spent at once.
        return max(done / total if total else 1.0 for done, total in budgets if total is not None)

    @property
    def samples_per_step(self) -> int:
        """Samples in a step: batch x accumulated passes x processes."""
        return self.config.batch * self.config.accumulate * self.accelerator.num_processes

    def train_step(self) -> dict[str, torch.Tensor]:
        """One step: the generators on all samples, the discriminators on the unpaired ones.

        Returns:
            The losses of this process's share of the step, detached; over the processes they add up
            to means over the step's samples.
        """
        objective, progress = self.objective, self.progress
        for optimizer in filter(None, (self.optimizer_G, self.optimizer_D)):
            optimizer.param_groups[0]["lr"] = learning_rate(self.config, progress, self.step)
        started = time.perf_counter()
        batches = self._batches(progress)
        self.pace["waited"] += time.perf_counter() - started
        adversary = adversary_strength(self.config, objective.published, progress)
        nothing = torch.zeros((), device=objective.device)
        unpaired = batches[0].unpaired is not None
        terms = dict.fromkeys(objective.terms(unpaired), nothing)  # the same in every process

        def backward(loss: torch.Tensor, parts: dict[str, torch.Tensor]) -> None:
            if loss.requires_grad:  # a share of a step may be empty
                loss.backward()
            for name, value in parts.items():
                terms[name] = terms[name] + value.detach()

        fakes = []
        self.optimizer_G.zero_grad(set_to_none=True)
        for batch in batches:
            loss, parts, fake = objective.generator_loss(batch, adversary)
            backward(loss, parts)
            fakes.append({c: images.detach() for c, images in fake.items()})
        optimise(self.optimizer_G, self.accelerator, self.step)
        if "loss_D" in terms:
            self.optimizer_D.zero_grad(set_to_none=True)
            recalled = objective.recall(self.step, batches, fakes)
            for batch, from_pool in zip(batches, recalled, strict=True):
                if batch.share:
                    loss = objective.discriminator_loss(batch, from_pool)
                    backward(loss, {"loss_D": loss})
            optimise(self.optimizer_D, self.accelerator, self.step)
        for c in CONTRASTS:
            update_average(self.ema[c], objective.generators[c], self.config.ema, self.step)
        return terms

    def _batches(self, progress: float) -> list[Batch]:
        """This process's batches of the step, one for each accumulated pass."""
        size = self.config.start_size if progress < SMALL else self.config.size
        kinds, shares = self.samples.kinds_at(progress), self._shares(self.step)
        if UNPAIRED not in kinds:
            return [self.samples.batch(share, size, kinds, {}) for share in shares]
        reads = self._ahead.pop((self.step, kinds), None) or self._read(self.step, kinds)
        # While this step computes, the next one's slices are fetched from the disk.
        self._ahead = {(self.step + 1, kinds): self._read(self.step + 1, kinds)}
        return [
            self.samples.batch(share, size, kinds, read.result())
            for share, read in zip(shares, reads, strict=True)
        ]

    def _shares(self, step: int) -> list[Share]:
        """This process's shares of a step, one for each accumulated pass."""
        config, processes = self.config, self.accelerator.num_processes
        dealt = Share.deal(config.seed, step, config.batch, config.accumulate * processes)
        return dealt[self.accelerator.process_index :: processes]

    def _read(self, step: int, kinds: tuple[str, ...]) -> list[Future[dict[str, SliceBatch]]]:
        return [self._reader.submit(self.samples.read, s, kinds) for s in self._shares(step)]

    def _agree(self, seconds: float, stop: int) -> tuple[float, int]:
        """The same time and signal to stop in all processes, so that they stop after the same step.

        Returns:
            (mean seconds, a signal's number or 0).
        """
        if self.accelerator.num_processes == 1:
            return seconds, stop
        mine = torch.tensor([seconds, float(stop > 0)], device=self.accelerator.device)
        seconds, stopped = self.accelerator.reduce(mine, "mean").tolist()
        return seconds, (stop or int(signal.SIGTERM)) if stopped else 0

    def _add_up(self, terms: dict[str, torch.Tensor]) -> dict[str, float]:
        """The losses of the whole step, over all processes."""
        values = torch.stack(list(terms.values())).float()
        if self.accelerator.num_processes > 1:
            values = self.accelerator.reduce(values, "sum")
        return dict(zip(terms, values.tolist(), strict=True))

    def _take_pace(self) -> dict[str, float]:
        """Steps per second, and the share of their time spent waiting for the batch.

        That is reading slices as far as it was not done ahead, simulating, copying and augmenting;
        on a GPU the last two are launched, not awaited. Samples, validation and saving are between
        the steps and count for neither.
        """
        pace, self.pace = self.pace, Counter()
        seconds = pace["seconds"]
        return {STEPS_PER_SECOND: pace["steps"] / seconds, DATA_WAIT: pace["waited"] / seconds}

    # What a run leaves behind

    def weights_config(self) -> dict[str, Any]:
        """Arguments of `export_weights` that say what the generators are."""
        return {
            "generator": self.config.generator,
            "generator_options": self.config.network_options(),
            "size": self.config.size,
            "default_style": self.default_style,
        }

    def export(self) -> Path:
        """Write the mean of the EMA generators at the saves of the last quarter and at the end, as
        a weights folder; in a run with --init, `KEPT_OF_START` of it are the start."""
        average = copy.deepcopy(self.average)
        self._add_to(average)
        for c, network in self.start.items():
            pairs = list(average[c].module.parameters()), list(network.parameters())
            torch._foreach_lerp_(*pairs, KEPT_OF_START)
        training = {
            "steps": self.step,
            "minutes": round(self.seconds / 60, 1),
            "config": dataclasses.asdict(self.config),
            "data": self.data.described(),
            "started_from": self.started_from,
            "kept_of_start": KEPT_OF_START if self.start else 0.0,
            **self.seen,
        }
        with writing(self.out / "weights"):
            return export_weights(
                self.out / "weights",
                {c: network.module for c, network in average.items()},
                **self.weights_config(),
                version=__version__,
                training=training,
            )

    def _add_to(self, average: dict[str, AveragedModel]) -> None:
        for c, network in average.items():
            network.update_parameters(self.ema[c])

    def save(self) -> None:
        """Write everything that `resume` needs to `out/state.safetensors`, atomically."""
        if self.accelerator.is_main_process:
            state = self._identity() | {
                "format": FORMAT,
                "step": self.step,
                "seconds": self.seconds,
                "seen": self.seen,
                "started_from": self.started_from,
                "default_style": self.default_style,
                "parts": collect(self._parts()),
            }
            with writing(self.out / STATE):
                self.output.sync()  # a state on the disk has its rows on the disk
                save_state(self.out / STATE, state)

    def resume(self, allow: Collection[str] = ()) -> None:
        """Continue from `out/state.safetensors`: networks, optimisers, averages, pools and step.

        Args:
            allow: settings that may differ though they change the run; also "data", "precision".

        Raises:
            CheckpointError: no state, or one of other settings, data or networks.
        """
        path = self.out / STATE
        state = read_state(path, self._identity(), self.accelerator.device, allow)
        if state["started_from"]:
            self.start = self.objective.frozen_copies()
        try:
            restore(self._parts(), state["parts"])
        except (KeyError, ValueError, RuntimeError):
            raise unfit(path) from None
        self.step, self.seconds = state["step"], state["seconds"]
        self.started_from = state["started_from"]
        self.default_style = state["default_style"]
        add_sources(self.seen, state["seen"])
        self.output.drop_rows_after(self.step)

    def _identity(self) -> dict[str, Any]:
        """What must be the same when a run goes on; see `read_state`."""
        return {
            "config": dataclasses.asdict(self.config),
            "samples": self.samples_per_step,
            "data": self.data.described(),
            "precision": self.accelerator.mixed_precision,
        }

    def _parts(self) -> dict[str, Any]:
        """What has a state: networks, optimisers, averages, pools."""
        return {
            "generators": self.objective.generators,
            "ema": self.ema,
            "discriminators": self.objective.discriminators,
            "average": self.average,
            "start": self.start,
            "optimizers": tuple(filter(None, (self.optimizer_G, self.optimizer_D))),
            "pools": self.objective.pools,
        }

    def start_from(self, start: dict[str, nn.Module], config: dict[str, Any]) -> None:
        """Start from trained generators ("T1", "T2" -> network) instead of random weights.

        Args:
            start: the generators.
            config: theirs, as `load_weights` returns it. What they saw, the weights of this run
                saw, too, and say so.

        Raises:
            CheckpointError: generators of another kind or width.
        """
        add_sources(self.seen, config.get("training") or {})
        self.started_from = {name: config[name] for name in ("version", "sha256")}
        self.default_style = config.get("default_style", {})
        self.start = self.objective.frozen_copies()
        try:
            for networks in (self.objective.generators, self.ema, self.start):
                for c, network in networks.items():
                    network.load_state_dict(start[c].state_dict())
        except RuntimeError:
            raise CheckpointError(
                "--init: these weights are of another generator; give the same "
                "--generator and width"
            ) from None

    def write_samples(self) -> None:
        """Write `samples/STEP.png` with the EMA generators."""
        self.output.write_samples(self.step, self.ema, self.sheet)
