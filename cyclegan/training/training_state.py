"""What a run needs to continue to the last bit, and whether a new start may continue it.

Ctrl-C and SIGTERM (Slurm, Spaces and containers send it) end a run after the step at hand.

No random state: every random number follows from seed, step and place (`sharing.py`). All processes
have the same networks, optimisers and pools, so a run may go on with another number of them.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from cyclegan.model.checkpoint import CheckpointError, load_state
from cyclegan.training.config import SETTINGS

STATE = "state.safetensors"
FORMAT = 4  # raised when older states cannot be continued
# Settings that a resumed run may change: how long, how fast, when to write, how to compute.
# `batch` and `accumulate` may change as long as their product with the processes stays.
FREE = {"steps", "minutes", "lr", "batch", "accumulate", "log_every", "save_every"}
BESIDE_SETTINGS = ["data", "precision"]  # what `--allow-change` may name, too


def collect(parts: Any) -> Any:
    """`state_dict` of each of `parts`: nested dicts and tuples of networks, optimisers, pools."""
    if isinstance(parts, dict):
        return {name: collect(part) for name, part in parts.items()}
    if isinstance(parts, tuple):
        return [collect(part) for part in parts]
    return parts.state_dict()


def restore(parts: Any, state: Any) -> None:
    """Put what `collect` returned back into `parts`, in place.

    Raises:
        KeyError, ValueError, RuntimeError: it is of other parts.
    """
    if isinstance(parts, dict):
        for name, part in parts.items():
            restore(part, state[name])
    elif isinstance(parts, tuple):
        for part, of_part in zip(parts, state, strict=True):
            restore(part, of_part)
    else:
        parts.load_state_dict(state)
        if isinstance(parts, torch.optim.Optimizer):
            _restride(parts)


def read_state(
    path: Path, run: dict[str, Any], device: torch.device, allow: Collection[str] = ()
) -> dict[str, Any]:
    """The state of a run that a new start may continue.

    Args:
        path: of the training state.
        run: of the new start: `config`, `samples` in a step, `data`
            (`TrainingData.described`) and `precision`.
        device: where its tensors go.
        allow: settings outside `FREE` that may differ all the same, "data" or "precision".

    Raises:
        CheckpointError: no state, one of another version, or of other settings or data.
    """
    state = load_state(path, device)
    if state.get("format") != FORMAT:
        raise unfit(path)
    if different := _differences(run, state, allow):
        raise CheckpointError(
            f"{path}: made with other settings ({'; '.join(different)}); resume with the old "
            "ones, start in another folder, or name what may differ with --allow-change"
        )
    return state


def unfit(path: Path) -> CheckpointError:
    """The error for a state of other networks or another version."""
    return CheckpointError(
        f"{path}: made by another version of this software, or with other networks or data "
        "sources; start in another folder"
    )


def add_sources(seen: dict[str, list[str]], record: dict[str, Any]) -> None:
    """Add to the sources that weights saw those recorded of older weights that they come from.

    Args:
        seen: kind of data -> names of sources; changed in place.
        record: of older weights; kinds that it lacks they saw nothing of.
    """
    for kind, names in seen.items():
        names += [name for name in record.get(kind) or [] if name not in names]


def _differences(new: dict[str, Any], old: dict[str, Any], allow: Collection[str]) -> list[str]:
    """One phrase for each setting that must not differ, and does."""
    # A setting that an older run did not have counts as what changes nothing.
    neutral = {n: 0 if s.metadata["by_data"] else s.default for n, s in SETTINGS.items()}
    settings = neutral | old["config"]
    compared = {n: (settings[n], v) for n, v in new["config"].items() if n not in {*FREE, *allow}}
    if "batch" not in allow:
        compared["batch x accumulate x processes"] = old["samples"], new["samples"]
    if "precision" not in allow:
        compared["precision"] = old["precision"], new["precision"]
    if "data" not in allow:
        for source in dict.fromkeys([*old["data"], *new["data"]]):
            compared[source] = tuple(data["data"].get(source, "absent") for data in (old, new))
    pairs = ((name, *values) for name, values in compared.items())
    return [f"{name}: {then} then, {now} now" for name, then, now in pairs if then != now]


def _restride(optimizer: torch.optim.Optimizer) -> None:
    """Give moments the strides of their weights: the fused kernel walks memory."""
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(value)


class Interrupted(Exception):
    """A run that was asked to stop, and has saved its state.

    Attributes:
        signal: its number; a shell expects the exit code 128 + this.
    """

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.signal = number


class StopSignals:
    """While entered, SIGINT and SIGTERM are noted in `received` instead of ending the process.

    A second Ctrl-C ends it at once, by KeyboardInterrupt. Outside the main thread, where Python
    allows no handlers, signals do what they did before.
    """

    def __init__(self) -> None:
        self.received = 0  # number of the first signal

    def __enter__(self) -> StopSignals:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        # `accelerate launch` answers Ctrl-C with a SIGTERM of its own: that is no second Ctrl-C.
        if number == signal.SIGINT == self.received:
            raise KeyboardInterrupt
        self.received = self.received or number
