"""The logs and sample sheets of a run, written by its main process; `run_report` reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from cyclegan.model.checkpoint import CheckpointError
from cyclegan.report.runlog import LOG, SAMPLES, VALIDATION, CsvLog, write_sample_sheet


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around the writing of `path`: says what to do when that fails.

    Raises:
        CheckpointError: an OSError inside, as a sentence.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror or error}); the last checkpoint is "
            "intact: make room, or mend the disk, and continue with --resume"
        ) from None


class RunOutput:
    """What a run tells while it goes on; silent in all processes but the main one.

    Args:
        out: folder of the run.
        accelerator: Accelerate's; its trackers, when there are any, are told, too.

    Every method that writes raises `CheckpointError` when it cannot.
    """

    def __init__(self, out: Path, accelerator: Accelerator):
        self.out, self.accelerator = out, accelerator
        self.losses, self.scores = CsvLog(out / LOG), CsvLog(out / VALIDATION)

    def log_losses(self, step: int, seconds: float, values: dict[str, float]) -> None:
        """Add a row to `log.csv`."""
        self._append(self.losses, step, seconds, values)

    def log_scores(self, step: int, seconds: float, values: dict[str, float]) -> None:
        """Add a row to `validation.csv`."""
        self._append(self.scores, step, seconds, values)

    def write_samples(
        self, step: int, generators: dict[str, nn.Module], samples: dict[str, torch.Tensor]
    ) -> None:
        """Write `samples/STEP.png`; see `runlog.write_sample_sheet`."""
        path = self.out / SAMPLES / f"{step:07d}.png"
        with writing(path):
            write_sample_sheet(path, generators, samples)

    def drop_rows_after(self, step: int) -> None:
        """Drop the rows of steps that are not done, or, after a kill, no longer."""
        if self.accelerator.is_main_process:
            for log in (self.losses, self.scores):
                with writing(log.path):
                    log.truncate(step)

    def sync(self) -> None:
        """Wait until all rows are on the disk."""
        for log in (self.losses, self.scores):
            log.sync()

    def _append(self, log: CsvLog, step: int, seconds: float, values: dict[str, float]) -> None:
        if not self.accelerator.is_main_process:
            return
        with writing(log.path):
            log.append({"step": step, "minutes": round(seconds / 60, 2), **values})
        named = {f"{log.path.stem}/{k.replace(' ', '_')}": v for k, v in values.items()}
        self.accelerator.log(named, step=step)
