"""The optimisation loop: simulated pairs first, then CycleGAN on unpaired real slices.

Budget, stages, logging and checkpoints. What is optimised is `objective.py`'s, how it is optimised
`optimisation.py`'s, how a step is shared out `sharing.py`'s, what resuming needs
`training_state.py`'s.
"""

from __future__ import annotations

import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from tqdm import tqdm

from cyclegan import CONTRASTS, __version__
from cyclegan.model.checkpoint import CheckpointError, export_weights, save_state
from cyclegan.model.networks import load_older
from cyclegan.report.run_output import RunOutput, writing
from cyclegan.simulation.simulate import Simulator
from cyclegan.slices.data import Drawn, SliceDataset
from cyclegan.slices.paired_slices import PairedSlices
from cyclegan.training.back_translation import BackTranslation
from cyclegan.training.config import TrainConfig
from cyclegan.training.interruption import Interrupted, StopSignals
from cyclegan.training.look_lessons import soften_codes
from cyclegan.training.objective import Batch, Objective
from cyclegan.training.optimisation import (
    learning_rates,
    mean_of,
    new_optimizer,
    optimise,
    update_average,
)
from cyclegan.training.pace import Pace
from cyclegan.training.refinement import Refinement
from cyclegan.training.sharing import Share
from cyclegan.training.training_state import (
    STATE,
    Stored,
    add_sources,
    collect_state,
    describe_data,
    restore_state,
)

Validate = Callable[[dict[str, nn.Module], dict[str, Any]], dict[str, float]]


class Trainer:
    """Builds the networks, and trains them until the budget is spent.

    A step sees `samples_per_step` slices of each contrast, drawn alike and shared out among the
    processes and their accumulated passes; see `sharing.py`.

    Args:
        config: the run.
        out: folder for checkpoints, logs and samples; created when missing.
        dataset: real slices, or None.
        simulator: simulated pairs, or None.
        paired: real pairs, or None; one of the three is needed.
        accelerator: device, precision and processes.
        validate: called with the EMA generators and `weights_config()`; returns numbers to log.
        report: called whenever validation is due, after it.

    Raises:
        ValueError: no data, no budget, an empty batch, or `config.compile` where nothing can be
            compiled.
    """

    def __init__(
        self,
        config: TrainConfig,
        out: str | Path,
        *,
        dataset: SliceDataset | None = None,
        simulator: Simulator | None = None,
        paired: PairedSlices | None = None,
        accelerator: Accelerator | None = None,
        validate: Validate | None = None,
        report: Callable[[], object] | None = None,
    ):
        if dataset is None and simulator is None and paired is None:
            raise ValueError("nothing to train on: give real slices, label maps, pairs, or several")
        if config.steps is None and config.minutes is None:
            raise ValueError("no budget: give steps, minutes, or both")
        if min(config.batch, config.accumulate) < 1:
            raise ValueError("--batch and --accumulate count from 1")
        self.config, self.out = config, Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.dataset, self.simulator, self.paired = dataset, simulator, paired
        self.validate, self.report = validate, report
        self.accelerator = accelerator or Accelerator(cpu=not torch.cuda.is_available())
        torch.manual_seed(config.seed)  # the same initial weights in every process
        self.step, self.seconds = 0, 0.0
        self.warmup = 1.0 if dataset is None else config.warmup
        taught = config.refine or config.back_translation  # by a frozen copy of the start
        if dataset is not None and (simulator is None or taught):
            self.warmup = 0.0
        kind = Refinement if config.refine else BackTranslation if taught else Objective
        self.objective = kind(config, dataset, simulator, self.accelerator, paired)
        self.ema = self.objective.frozen_copies()
        self.optimizer_G = new_optimizer(self.objective.generators)
        self.optimizer_D = new_optimizer(self.objective.discriminators)
        self.output = RunOutput(self.out, self.accelerator)
        self.samples = self._fixed_samples()
        self.saw = {
            "sources": list(dataset.names) if dataset else [],
            "paired_sources": list(paired.names) if paired else [],
            "simulated_from": [simulator.origin] if simulator else [],
        }
        self._reader = ThreadPoolExecutor(1, "slices")
        self._ahead: dict[int, list[Future]] = {}  # step -> the slices of its shares
        self.pace = Pace()

    # The loop

    def fit(self) -> Path:
        """Train until the budget is spent, then export the EMA generators.

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
                with self.pace.step():
                    terms = self.train_step()
                self.step += 1
                elapsed = before + time.monotonic() - started
                self.seconds, stop = self._agree(elapsed, signals.received)
                bar.update()
                if self._is_due(self.config.log_every):
                    values = self._add_up(terms)
                    bar.set_postfix({k: f"{v:.3f}" for k, v in values.items()})
                    self.output.log_losses(self.step, self.seconds, self.pace.take() | values)
                if main and self._is_due(self.config.sample_every):
                    self.write_samples()
                if main and self._is_due(self.config.validate_every):
                    self._validate()
                # Last, so that a run which resumes here has all that belongs to this step.
                if stop or self._is_due(self.config.save_every):
                    self.save()
                if stop:
                    raise Interrupted(
                        stop,
                        f"stopped by {signal.Signals(stop).name} after step {self.step}, which is "
                        "saved; continue with --resume",
                    )
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
        steps, minutes = self.config.steps, self.config.minutes
        seconds = None if minutes is None else 60 * minutes
        return max(_spent(self.step, steps), _spent(self.seconds, seconds))

    @property
    def samples_per_step(self) -> int:
        """Slices of each contrast in a step: batch x accumulated passes x processes."""
        return self.config.batch * self.config.accumulate * self.accelerator.num_processes

    def train_step(self) -> dict[str, torch.Tensor]:
        """One step of whichever stage it is.

        Returns:
            The losses of this process's share of the step, detached; over the processes they add up
            to means over the step's samples.
        """
        objective, progress = self.objective, self.progress
        rates = learning_rates(self.config, self.warmup, progress, self.step)
        for optimizer, rate in zip((self.optimizer_G, self.optimizer_D), rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate
        with self.pace.waiting():
            batches = self._draw(progress)
        terms: dict[str, torch.Tensor] = {}

        def backward(loss: torch.Tensor, found: dict[str, torch.Tensor]) -> None:
            loss.backward()
            for name, value in found.items():
                terms[name] = terms.get(name, 0) + value.detach()

        fakes = []
        self.optimizer_G.zero_grad(set_to_none=True)
        for batch in batches:
            if batch.real is None:
                backward(*objective.supervised_loss(batch))
            else:
                loss, found, fake = objective.generator_loss(batch)
                backward(loss, found)
                if fake:
                    fakes.append({c: images.detach() for c, images in fake.items()})
        self._optimise(self.optimizer_G)
        if fakes:
            self.optimizer_D.zero_grad(set_to_none=True)
            recalled = objective.recall(self.step, batches, fakes)
            for batch, old in zip(batches, recalled, strict=True):
                loss = objective.discriminator_loss(batch, old)
                backward(loss, {"loss_D": loss})
            self._optimise(self.optimizer_D)
        for c in CONTRASTS:
            update_average(self.ema[c], objective.generators[c], self.config.ema, self.step)
        return terms

    def _draw(self, progress: float) -> list[Batch]:
        """This process's batches of the step, one for each accumulated pass."""
        config = self.config
        size = config.start_size if progress < config.start_share else config.size
        shares = self._shares(self.step)
        if progress < self.warmup:
            return [self.objective.draw(share, size, None) for share in shares]
        reads = self._ahead.pop(self.step, None) or self._read(self.step)
        # While this step computes, the next one's slices are fetched from the disk.
        self._ahead = {self.step + 1: self._read(self.step + 1)}
        return [
            self.objective.draw(share, size, read.result())
            for share, read in zip(shares, reads, strict=True)
        ]

    def _shares(self, step: int) -> list[Share]:
        """This process's shares of a step, one for each accumulated pass."""
        config, processes = self.config, self.accelerator.num_processes
        dealt = Share.deal(config.seed, step, config.batch, config.accumulate * processes)
        return dealt[self.accelerator.process_index :: processes]

    def _read(self, step: int) -> list[Future[dict[str, Drawn]]]:
        return [self._reader.submit(self.objective.read_real, s) for s in self._shares(step)]

    def _optimise(self, optimizer: torch.optim.Optimizer) -> None:
        try:
            optimise(optimizer, self.accelerator)
        except FloatingPointError as error:
            raise FloatingPointError(
                f"{error} at step {self.step}; the last checkpoint is intact: resume with a lower "
                "--lr"
            ) from None

    # What a run leaves behind

    def weights_config(self) -> dict[str, Any]:
        """Arguments of `export_weights` that say what the generators are."""
        return {
            "generator": self.config.generator,
            "generator_options": self.config.network_options(),
            "size": self.config.size,
        }

    def export(self) -> Path:
        """Write the EMA generators as a weights folder."""
        training = {
            "steps": self.step,
            "minutes": round(self.seconds / 60, 1),
            "config": dataclasses.asdict(self.config),
            **self.saw,
        }
        with writing(self.out / "weights"):
            return export_weights(
                self.out / "weights",
                self.ema,
                **self.weights_config(),
                version=__version__,
                training=training,
            )

    def save(self) -> None:
        """Write everything that `resume` needs to `out/state.safetensors`, atomically."""
        if self.accelerator.is_main_process:
            with writing(self.out / STATE):
                self.output.sync()  # a state on the disk has its rows on the disk
                save_state(self.out / STATE, collect_state(self.stored()))

    def stored(self) -> Stored:
        """What of this run goes to the disk and comes back."""
        objective = self.objective
        return Stored(
            config=self.config,
            samples=self.samples_per_step,
            data=describe_data(self.dataset, self.paired, self.simulator),
            precision=self.accelerator.mixed_precision,
            networks={
                "teacher": objective.teacher,
                "generators": objective.generators,
                "ema": self.ema,
                "discriminators": objective.discriminators,
            },
            optimizers=(self.optimizer_G, self.optimizer_D),
            pools=objective.pools,
            step=self.step,
            seconds=self.seconds,
            saw=self.saw,
        )

    def resume(self, allow: Collection[str] = ()) -> None:
        """Continue from `out/state.safetensors`: networks, optimisers, EMA, pools and step.

        Args:
            allow: settings that may differ though they change the run; also "data", "precision".

        Raises:
            CheckpointError: no state, or one of other settings, data or networks.
        """
        device = self.objective.device
        self.step, self.seconds = restore_state(self.stored(), self.out / STATE, device, allow)
        self.output.drop_rows_after(self.step)

    def start_from(
        self, starts: Sequence[dict[str, nn.Module]], records: Iterable[dict[str, Any]] = ()
    ) -> None:
        """Start from trained generators ("T1", "T2" -> network) instead of random weights.

        Args:
            starts: from one, or from the mean of several: what runs from one start have learnt of
                different lessons adds up better than a longer run (Wortsman et al. 2022).
            records: `training` of the starts' configs. What they saw, the weights of this run
                saw, too, and say so.

        Raises:
            CheckpointError: generators of another kind or width.
        """
        for record in records:
            add_sources(self.saw, record)
        try:
            means = {c: mean_of([start[c].state_dict() for start in starts]) for c in CONTRASTS}
            for state in means.values():
                soften_codes(state, self.config.look_gain)
            for networks in (self.objective.generators, self.ema, self.objective.teacher):
                for c, network in networks.items():
                    load_older(network, means[c])
        except RuntimeError:
            raise CheckpointError(
                "--init: these weights are of another generator; give the same "
                "--generator and width"
            ) from None

    def _agree(self, seconds: float, stop: int) -> tuple[float, int]:
        """The same time and wish to stop in all processes, so that they stop after the same step.

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

    def _is_due(self, interval: int) -> bool:
        return self.step % interval == 0

    def _validate(self) -> None:
        if self.validate:
            scores = self.validate(self.ema, self.weights_config())
            self.output.log_scores(self.step, self.seconds, scores)
        if self.report:
            self.report()

    def _fixed_samples(self) -> dict[str, torch.Tensor]:
        """Slices of both contrasts for the sample sheets, the same for the whole run."""
        rng = torch.Generator().manual_seed(1234)
        if self.dataset is None and self.paired is not None:
            streams = [torch.Generator().manual_seed(1234 + k) for k in range(6)]
            images = self.paired.draw(streams).images
            return {c: image.to(self.accelerator.device) for c, image in images.items()}
        if self.dataset is None:
            pair = self.simulator.draw(4, self.config.size, rng)
            return {"T1": pair.t1, "T2": pair.t2}
        drawn = self.dataset.draw(6, rng)
        return {c: d.images.to(self.accelerator.device) for c, d in drawn.items()}

    def write_samples(self) -> None:
        """Write `samples/STEP.png` with the EMA generators."""
        self.output.write_samples(self.step, self.ema, self.samples)


def _spent(done: float, budget: float | None) -> float:
    """The share of a budget that is spent; a budget of nothing is spent at once."""
    if budget is None:
        return 0.0
    return done / budget if budget else 1.0
