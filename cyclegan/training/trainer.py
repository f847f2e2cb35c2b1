"""The loop: a step, its schedule, logging and checkpoints, until the budget is spent.

What a step trains on is `samples.py`'s, what is optimised `objective.py`'s, how it is optimised and
on which schedule `optimisation.py`'s, how a step is shared out `sharing.py`'s, what resuming needs
`training_state.py`'s.
"""

from __future__ import annotations

import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from tqdm import tqdm

from cyclegan import CONTRASTS, __version__
from cyclegan.data.dataset import Drawn, SliceDataset
from cyclegan.data.paired_slices import PairedSlices
from cyclegan.model.checkpoint import CheckpointError, export_weights, save_state
from cyclegan.report.runlog import RunOutput, writing
from cyclegan.simulation.lesions import LesionBank
from cyclegan.simulation.simulate import Simulator
from cyclegan.training.config import UNPAIRED, TrainConfig, resolved
from cyclegan.training.interruption import Interrupted, StopSignals
from cyclegan.training.objective import Objective
from cyclegan.training.optimisation import (
    Average,
    adversary_strength,
    learning_rate,
    new_optimizer,
    optimise,
    update_average,
)
from cyclegan.training.pace import Pace
from cyclegan.training.samples import Batch, Samples, counts, kinds_of
from cyclegan.training.sharing import Share, stream
from cyclegan.training.training_state import (
    STATE,
    Stored,
    add_sources,
    collect_state,
    describe_data,
    restore_state,
)

Validate = Callable[[dict[str, nn.Module], dict[str, Any]], dict[str, float]]
SMALL = 0.25  # share of the run at `start_size`
AVERAGED = 0.75  # share of the run after which the exported average takes a snapshot at each save


class Trainer:
    """Builds the networks, and trains them until the budget is spent.

    A step sees `samples_per_step` samples, of all kinds of data that there are, shared out among
    the processes and their accumulated passes; see `sharing.py`.

    Args:
        config: the run.
        out: folder for checkpoints, logs and samples; created when missing.
        unpaired: real slices, or None.
        pairs: registered real pairs, or None.
        simulator: of simulated pairs, or None; one of the three is needed.
        bank: real lesions to implant, or None.
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
        *,
        unpaired: SliceDataset | None = None,
        pairs: PairedSlices | None = None,
        simulator: Simulator | None = None,
        bank: LesionBank | None = None,
        accelerator: Accelerator | None = None,
        validate: Validate | None = None,
        report: Callable[[], object] | None = None,
    ):
        if config.steps is None and config.minutes is None:
            raise ValueError("no budget: give steps, minutes, or both")
        kinds = kinds_of(unpaired, pairs, simulator)
        self.config, self.out = resolved(config, kinds), Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.accelerator = accelerator or Accelerator(cpu=not torch.cuda.is_available())
        self.validate, self.report = validate, report
        counts(self.samples_per_step, kinds, self.config.unpaired)  # raises where there are too few
        self.samples = Samples(
            self.config, self.accelerator.device, unpaired, pairs, simulator, bank
        )
        torch.manual_seed(config.seed)  # the same initial weights in every process
        self.step, self.seconds = 0, 0.0
        sources = len(unpaired.names) if unpaired else 0
        self.objective = Objective(self.config, kinds, sources, self.accelerator, bank)
        self.ema = self.objective.frozen_copies()
        self.average = Average()
        self.optimizer_G = new_optimizer(self.objective.generators)
        adversaries = self.objective.discriminators
        self.optimizer_D = new_optimizer(adversaries) if adversaries else None
        self.output = RunOutput(self.out, self.accelerator)
        self.sheet = self._fixed_samples()
        self.saw = {
            "sources": list(unpaired.names) if unpaired else [],
            "paired_sources": list(pairs.names) if pairs else [],
            "simulated_from": [simulator.origin] if simulator else [],
        }
        self._reader = ThreadPoolExecutor(1, "slices")
        self._ahead: dict[tuple, list[Future]] = {}  # (step, kinds) -> the slices of its shares
        self.pace = Pace()

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
                due = self._is_due(self.config.save_every)
                if due and self.progress >= AVERAGED:
                    self.average.add(self.ema)
                if due and main:
                    self.write_samples()
                    self._validate()
                # Last, so that a run which resumes here has all that belongs to this step.
                if stop or due:
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
        """Samples in a step: batch x accumulated passes x processes."""
        return self.config.batch * self.config.accumulate * self.accelerator.num_processes

    @property
    def optimizers(self) -> tuple[torch.optim.Optimizer, ...]:
        """Of the generators and, where there are any, of the discriminators."""
        return tuple(filter(None, (self.optimizer_G, self.optimizer_D)))

    def train_step(self) -> dict[str, torch.Tensor]:
        """One step: the generators on all samples, the discriminators on the unpaired ones.

        Returns:
            The losses of this process's share of the step, detached; over the processes they add up
            to means over the step's samples.
        """
        objective, progress = self.objective, self.progress
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = learning_rate(self.config, progress, self.step)
        with self.pace.waiting():
            batches = self._draw(progress)
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
        self._optimise(self.optimizer_G)
        if "loss_D" in terms:
            self.optimizer_D.zero_grad(set_to_none=True)
            recalled = objective.recall(self.step, batches, fakes)
            for batch, old in zip(batches, recalled, strict=True):
                if batch.share:
                    loss = objective.discriminator_loss(batch, old)
                    backward(loss, {"loss_D": loss})
            self._optimise(self.optimizer_D)
        for c in CONTRASTS:
            update_average(self.ema[c], objective.generators[c], self.config.ema, self.step)
        return terms

    def _draw(self, progress: float) -> list[Batch]:
        """This process's batches of the step, one for each accumulated pass."""
        size = self.config.start_size if progress < SMALL else self.config.size
        kinds, shares = self.samples.kinds_at(progress), self._shares(self.step)
        if UNPAIRED not in kinds:
            return [self.samples.draw(share, size, kinds, {}) for share in shares]
        reads = self._ahead.pop((self.step, kinds), None) or self._read(self.step, kinds)
        # While this step computes, the next one's slices are fetched from the disk.
        self._ahead = {(self.step + 1, kinds): self._read(self.step + 1, kinds)}
        return [
            self.samples.draw(share, size, kinds, read.result())
            for share, read in zip(shares, reads, strict=True)
        ]

    def _shares(self, step: int) -> list[Share]:
        """This process's shares of a step, one for each accumulated pass."""
        config, processes = self.config, self.accelerator.num_processes
        dealt = Share.deal(config.seed, step, config.batch, config.accumulate * processes)
        return dealt[self.accelerator.process_index :: processes]

    def _read(self, step: int, kinds: tuple[str, ...]) -> list[Future[dict[str, Drawn]]]:
        return [self._reader.submit(self.samples.read, s, kinds) for s in self._shares(step)]

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

    def exported(self) -> dict[str, nn.Module]:
        """The generators that are exported: the mean of the moving averages at the saves of the
        last quarter and at the end."""
        generators = self.objective.frozen_copies()
        average = Average()
        average.load_state_dict(self.average.state_dict(), self.accelerator.device)
        average.add(self.ema)
        average.copy_to(generators)
        return generators

    def export(self) -> Path:
        """Write the averaged generators as a weights folder."""
        training = {
            "steps": self.step,
            "minutes": round(self.seconds / 60, 1),
            "config": dataclasses.asdict(self.config),
            **self.saw,
        }
        with writing(self.out / "weights"):
            return export_weights(
                self.out / "weights",
                self.exported(),
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
        objective, samples = self.objective, self.samples
        return Stored(
            config=self.config,
            samples=self.samples_per_step,
            data=describe_data(samples.unpaired, samples.pairs, samples.simulator, samples.bank),
            precision=self.accelerator.mixed_precision,
            networks={
                "generators": objective.generators,
                "ema": self.ema,
                "discriminators": objective.discriminators,
            },
            optimizers=self.optimizers,
            pools=objective.pools,
            average=self.average,
            step=self.step,
            seconds=self.seconds,
            saw=self.saw,
        )

    def resume(self, allow: Collection[str] = ()) -> None:
        """Continue from `out/state.safetensors`: networks, optimisers, averages, pools and step.

        Args:
            allow: settings that may differ though they change the run; also "data", "precision".

        Raises:
            CheckpointError: no state, or one of other settings, data or networks.
        """
        device = self.objective.device
        self.step, self.seconds = restore_state(self.stored(), self.out / STATE, device, allow)
        self.output.drop_rows_after(self.step)

    def start_from(self, start: dict[str, nn.Module], record: dict[str, Any]) -> None:
        """Start from trained generators ("T1", "T2" -> network) instead of random weights.

        Args:
            start: the generators.
            record: `training` of their config. What they saw, the weights of this run saw, too,
                and say so.

        Raises:
            CheckpointError: generators of another kind or width.
        """
        add_sources(self.saw, record)
        try:
            for networks in (self.objective.generators, self.ema):
                for c, network in networks.items():
                    network.load_state_dict(start[c].state_dict())
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
        samples = self.samples
        if samples.unpaired is not None:
            images = {c: drawn.images for c, drawn in samples.unpaired.draw(6, rng).items()}
        elif samples.pairs is not None:
            images = samples.pairs.draw([stream(1234, k, "sheet") for k in range(6)]).images
        else:
            pair = samples.simulator.draw(4, self.config.size, rng)
            images = {"T1": pair.t1, "T2": pair.t2}
        return {c: image.to(self.accelerator.device) for c, image in images.items()}

    def write_samples(self) -> None:
        """Write `samples/STEP.png` with the EMA generators."""
        self.output.write_samples(self.step, self.ema, self.sheet)


def _spent(done: float, budget: float | None) -> float:
    """The share of a budget that is spent; a budget of nothing is spent at once."""
    if budget is None:
        return 0.0
    return done / budget if budget else 1.0
