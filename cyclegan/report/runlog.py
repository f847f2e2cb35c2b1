"""What a run writes while it goes on: CSV logs that survive a resume, sample sheets, settings.

`run_report` reads all of it back.
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from tqdm import tqdm

from cyclegan import CONTRASTS, OTHER, __version__
from cyclegan.model.checkpoint import CheckpointError, replace_file

LOG, VALIDATION, SAMPLES = "log.csv", "validation.csv", "samples"
STEPS_PER_SECOND, DATA_WAIT = "steps_per_second", "data_wait"  # columns of the log
RUN, DATA, EVALUATION, REPORT = "run.json", "data.json", "evaluation.json", "report.html"
MODEL = "this run"  # among the predictors of the final evaluation
PACKAGES = ("torch", "accelerate", "numpy", "safetensors", "pydicom", "nibabel")


class RecordError(ValueError):
    """No run, or a damaged file of one; the message says which, and what would work."""


def read_csv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a log, also one that a spreadsheet has saved.

    That may have put a byte order mark before it, and in many languages separates by ";" and
    writes decimal commas. A row that a killed run left unfinished is left out.
    """
    if not path.is_file():
        return [], []
    lines = path.read_bytes().decode("utf-8-sig", "replace").splitlines(keepends=True)
    semicolons = ";" in (lines or [""])[0]
    whole = [line for line in lines if line.endswith(("\n", "\r"))]
    reader = csv.DictReader(whole, delimiter=";" if semicolons else ",")
    rows = [{k: v for k, v in row.items() if k} for row in reader]
    if semicolons:
        rows = [{k: (v or "").replace(",", ".") for k, v in row.items()} for row in rows]
    return list(filter(None, reader.fieldnames or [])), rows


class CsvLog:
    """Rows of numbers by step, in one CSV file."""

    def __init__(self, path: Path):
        self.path = path
        self._columns: list[str] = []  # of the file, once this process has written it whole

    def rows(self) -> list[dict[str, str]]:
        """All rows but one that a killed run left unfinished."""
        return read_csv(self.path)[1]

    def append(self, row: dict[str, float]) -> None:
        """Add a row, and print it where there is no progress bar.

        A new column (later samples have losses of their own) is added to the earlier rows, empty.
        Nine digits distinguish any two float32 values.
        """
        digits, header = _with_digits(row, 9), b""
        if self.path.is_file():
            with self.path.open("rb") as file:
                header = file.readline().strip()
        # Another header: a new column, or a spreadsheet has saved the file in its own way.
        if header == ",".join(self._columns).encode() and set(row) <= set(self._columns):
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(digits)
        else:
            columns, rows = read_csv(self.path)
            self._write(list(dict.fromkeys([*columns, *row])), [*rows, digits])
        if not sys.stderr.isatty():
            tqdm.write(" ".join(f"{k} {v}" for k, v in _with_digits(row, 5).items()))

    def truncate(self, step: int) -> None:
        """Drop rows that a killed run wrote after its last checkpoint."""
        columns, rows = read_csv(self.path)
        if columns:
            self._write(columns, [row for row in rows if int(row["step"]) <= step])

    def sync(self) -> None:
        """Wait until the rows are on the disk."""
        if self.path.is_file():
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())

    def _write(self, columns: list[str], rows: list[dict]) -> None:
        written = io.StringIO(newline="")
        writer = csv.DictWriter(written, columns)
        writer.writeheader()
        writer.writerows(rows)
        replace_file(self.path, lambda part: Path(part).write_bytes(written.getvalue().encode()))
        self._columns = columns


def _with_digits(row: dict[str, float], digits: int) -> dict[str, Any]:
    return {k: f"{v:.{digits}g}" if isinstance(v, float) else v for k, v in row.items()}


@torch.no_grad()
def write_sample_sheet(
    path: Path, generators: dict[str, nn.Module], samples: dict[str, torch.Tensor]
) -> None:
    """Write rows of source, translation and reconstruction, for T1 and then for T2.

    Args:
        path: a PNG file; its folder is created.
        generators: target contrast -> network.
        samples: contrast -> (N, 1, S, S) in [0, 1].
    """
    from torchvision.utils import save_image  # takes a second, and the page has no use for it

    rows = []
    for contrast in CONTRASTS:
        translated = generators[OTHER[contrast]](samples[contrast])
        rows += [samples[contrast], translated, generators[contrast](translated)]
    path.parent.mkdir(exist_ok=True)
    save_image(torch.cat(rows).cpu(), path, nrow=len(rows[0]))


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
            "intact: make room, or repair the disk, and continue with --resume"
        ) from None


class RunOutput:
    """The logs and sample sheets of a run; written by its main process only.

    Args:
        out: folder of the run.
        accelerator: Accelerate's; its trackers, when there are any, get the rows, too.

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
        """Write `samples/STEP.png`; see `write_sample_sheet`."""
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


def read_json(path: Path) -> dict[str, Any] | None:
    """What `write_json` wrote; None when there is no such file.

    Raises:
        RecordError: it is damaged.
    """
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text("utf-8"))
        if isinstance(value, dict):
            return value
    except ValueError:
        pass
    raise RecordError(f"{path}: this file is damaged; delete it, and the run goes on without it")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write JSON with one value a line, for `read_json`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")


def record_run(
    out: Path, config: dict[str, Any], accelerator: Accelerator, arguments: Sequence[str]
) -> None:
    """Write `out/run.json`: settings, versions, hardware, and each start of the run.

    Args:
        out: folder of the run; created when missing.
        config: the settings by name.
        accelerator: Accelerate's, for device, precision and processes.
        arguments: of the command line; absolute paths are cut to their last part, as the report may
            be handed on and says nothing about the machine's folders.
    """
    before = read_json(out / RUN) or {"starts": []}
    device = accelerator.device
    cpu = f"{_processor()}, {os.cpu_count()} cores"
    start = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["train.py", *map(_without_folders, arguments)]),
    }
    record = {
        "config": config,
        "versions": {"cyclegan-t1t2": __version__, "python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu,
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "precision": accelerator.mixed_precision,
        "system": platform.system(),
        "starts": [*before["starts"], start],
    }
    write_json(out / RUN, record)


def _without_folders(argument: str) -> str:
    """`argument`, with an absolute path in it (also after "=") cut to its last part."""
    option, equals, value = argument.rpartition("=")
    if value.startswith(("/", "~", "\\")) or value[1:3] in (":\\", ":/"):
        value = value.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return f"{option}{equals}{value}"


def _processor() -> str:
    """The processor's name as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
