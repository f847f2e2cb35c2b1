"""What a run needs to continue to the last bit, and whether a new start may continue it.

No random state: every draw follows from seed, step and place (`sharing.py`). All processes hold the
same networks, optimisers and pools, so a run may go on with another number of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cyclegan import CONTRASTS
from cyclegan.checkpoint import CheckpointError, load_state

if TYPE_CHECKING:
    from cyclegan.trainer import Trainer

STATE = "state.safetensors"
# Settings that a resumed run may change: how long, how fast, when to write, how to compute.
# `batch` and `accumulate` may change as long as their product with the processes stays.
FREE = {"steps", "minutes", "lr", "lr_discriminator", "lr_warmup", "batch", "accumulate", "compile"}
FREE |= {"log_every", "sample_every", "save_every", "validate_every"}
BESIDE_SETTINGS = [DATA := "data", PRECISION := "precision"]  # what `--allow-change` may name, too


def collect_state(trainer: Trainer) -> dict[str, Any]:
    """Everything that `restore_state` needs, for `checkpoint.save_state`."""
    return {
        "config": dataclasses.asdict(trainer.config),
        "samples": trainer.samples_per_step,
        "data": _describe_data(trainer),
        "precision": trainer.accelerator.mixed_precision,
        "step": trainer.step,
        "seconds": trainer.seconds,
        "networks": {
            kind: {c: network.state_dict() for c, network in networks.items()}
            for kind, networks in networks_of(trainer).items()
        },
        "optimizers": [o.state_dict() for o in (trainer.optimizer_G, trainer.optimizer_D)],
        "pools": {c: pool.state_dict() for c, pool in trainer.objective.pools.items()},
    }


def restore_state(trainer: Trainer, path: Path, allow: Collection[str] = ()) -> None:
    """Put networks, optimisers, EMA, pools, step and time back into a new trainer.

    Args:
        trainer: built with the settings and the data of now.
        path: of the training state.
        allow: settings outside `FREE` that may differ all the same, "data" or "precision".

    Raises:
        CheckpointError: no state, or one of other settings, data or networks.
    """
    state = load_state(path)
    try:
        different = _differences(trainer, state, allow)
        if different:
            raise CheckpointError(
                f"{path}: made with other settings ({'; '.join(different)}); resume with the old "
                "ones, start in another folder, or name what may differ with --allow-change"
            )
        for kind, networks in networks_of(trainer).items():
            for c, network in networks.items():
                network.load_state_dict(state["networks"][kind][c])
        optimizers = (trainer.optimizer_G, trainer.optimizer_D)
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            _restore_optimizer(optimizer, saved)
        for c, pool in trainer.objective.pools.items():
            kept = state["pools"][c].items()
            pool.load_state_dict({k: v.to(trainer.objective.device) for k, v in kept})
        trainer.step, trainer.seconds = state["step"], state["seconds"]
    except (KeyError, RuntimeError):
        raise CheckpointError(
            f"{path}: made by another version of this software, or with other networks or data "
            "sources; start in another folder"
        ) from None


def networks_of(trainer: Trainer) -> dict[str, dict[str, nn.Module]]:
    """Kind -> wanted contrast -> network."""
    return {
        "teacher": trainer.objective.teacher,
        "generators": trainer.objective.generators,
        "ema": trainer.ema,
        "discriminators": trainer.objective.discriminators,
    }


def _differences(trainer: Trainer, state: dict[str, Any], allow: Collection[str]) -> list[str]:
    """One phrase for each setting that must not differ, and does."""
    old, new = state["config"], dataclasses.asdict(trainer.config)
    kept = [k for k in dict.fromkeys([*old, *new]) if k not in FREE and k not in allow]
    different = [
        f"{k}: {old.get(k)} then, {new.get(k)} now" for k in kept if old.get(k) != new.get(k)
    ]
    samples = state["samples"], trainer.samples_per_step
    if samples[0] != samples[1] and "batch" not in allow:
        different.append(f"batch x accumulate x processes: {samples[0]} then, {samples[1]} now")
    precision = trainer.accelerator.mixed_precision
    if state["precision"] != precision and PRECISION not in allow:
        different.append(f"precision: {state['precision']} then, {precision} now")
    if DATA not in allow:
        then, now = state["data"], _describe_data(trainer)
        different += [
            f"{source}: {then.get(source, 'absent')} then, {now.get(source, 'absent')} now"
            for source in dict.fromkeys([*then, *now])
            if then.get(source) != now.get(source)
        ]
    return different


def _describe_data(trainer: Trainer) -> dict[str, str]:
    """What there is of each data source, in words; the same data gives the same words."""
    described = {}
    dataset = trainer.dataset
    for index, name in enumerate(dataset.names if dataset else []):
        counts = [f"{int((dataset.sources[c] == index).sum())} {c}" for c in CONTRASTS]
        described[f"data source {name}"] = f"{' and '.join(counts)} slices"
    paired = trainer.paired
    for index, name in enumerate(paired.names if paired else []):
        described[f"pairs {name}"] = f"{int((paired.sources == index).sum())} pairs"
    if paired:
        described["stripped copies of pairs"] = f"of {len(paired.copies)} pairs"
    if trainer.simulator:
        described["simulated pairs"] = f"from {len(trainer.simulator)} label maps"
    return described


def _restore_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    optimizer.load_state_dict(saved)
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape:
                # The fused kernel walks memory, so the moments need the weights' strides.
                moments[name] = torch.empty_like(parameter).copy_(value)
