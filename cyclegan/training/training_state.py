"""What a run needs to continue to the last bit, and whether a new start may continue it.

No random state: every draw follows from seed, step and place (`sharing.py`). All processes hold the
same networks, optimisers and pools, so a run may go on with another number of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cyclegan import CONTRASTS
from cyclegan.data.dataset import SliceDataset
from cyclegan.data.paired_slices import PairedSlices
from cyclegan.model.checkpoint import CheckpointError, load_state
from cyclegan.simulation.lesions import LesionBank
from cyclegan.simulation.simulate import Simulator
from cyclegan.training.config import TrainConfig, neutral
from cyclegan.training.image_pool import ImagePool
from cyclegan.training.optimisation import Average

STATE = "state.safetensors"
FORMAT = 2  # raised when older states cannot be continued
# Settings that a resumed run may change: how long, how fast, when to write, how to compute.
# `batch` and `accumulate` may change as long as their product with the processes stays.
FREE = {"steps", "minutes", "lr", "batch", "accumulate", "log_every", "save_every"}
BESIDE_SETTINGS = [DATA := "data", PRECISION := "precision"]  # what `--allow-change` may name, too


@dataclasses.dataclass
class Stored:
    """What of a run is stored: what must be the same when it goes on, and what is put back.

    Attributes:
        config: the settings.
        samples: samples in a step.
        data: from `describe_data`.
        precision: Accelerate's name of it.
        networks: kind -> target contrast -> network.
        optimizers: of the generators and of the discriminators.
        pools: target contrast -> history of translations.
        average: of the EMA generators.
        step, seconds: how far the run is.
        saw: kind of data -> names of the sources that the weights saw, here or in their starts.
    """

    config: TrainConfig
    samples: int
    data: dict[str, str]
    precision: str
    networks: dict[str, dict[str, nn.Module]]
    optimizers: tuple[torch.optim.Optimizer, ...]
    pools: dict[str, ImagePool]
    average: Average
    step: int
    seconds: float
    saw: dict[str, list[str]]


def collect_state(run: Stored) -> dict[str, Any]:
    """Everything that `restore_state` needs, for `checkpoint.save_state`."""
    return {
        "format": FORMAT,
        "config": dataclasses.asdict(run.config),
        "samples": run.samples,
        "data": run.data,
        "precision": run.precision,
        "step": run.step,
        "seconds": run.seconds,
        "saw": run.saw,
        "networks": {
            kind: {c: network.state_dict() for c, network in networks.items()}
            for kind, networks in run.networks.items()
        },
        "optimizers": [o.state_dict() for o in run.optimizers],
        "pools": {c: pool.state_dict() for c, pool in run.pools.items()},
        "average": run.average.state_dict(),
    }


def restore_state(
    run: Stored, path: Path, device: torch.device, allow: Collection[str] = ()
) -> tuple[int, float]:
    """Put networks, optimisers, EMA and pools back into a new run.

    Args:
        run: built with the settings and the data of now; its networks, optimisers and pools are
            filled in place, what the stored run saw is added to `saw`.
        path: of the training state.
        device: where the pools' images go.
        allow: settings outside `FREE` that may differ all the same, "data" or "precision".

    Returns:
        (step, seconds) of the stored run.

    Raises:
        CheckpointError: no state, or one of other settings, data or networks.
    """
    state = load_state(path)
    try:
        if state["format"] != FORMAT:
            raise KeyError("format")
        different = _differences(run, state, allow)
        if different:
            raise CheckpointError(
                f"{path}: made with other settings ({'; '.join(different)}); resume with the old "
                "ones, start in another folder, or name what may differ with --allow-change"
            )
        for kind, networks in run.networks.items():
            for c, network in networks.items():
                network.load_state_dict(state["networks"][kind][c])
        for optimizer, saved in zip(run.optimizers, state["optimizers"], strict=True):
            _restore_optimizer(optimizer, saved)
        for c, pool in run.pools.items():
            pool.load_state_dict({k: v.to(device) for k, v in state["pools"][c].items()})
        run.average.load_state_dict(state["average"], device)
        add_sources(run.saw, state["saw"])
        return state["step"], state["seconds"]
    except (KeyError, RuntimeError):
        raise CheckpointError(
            f"{path}: made by another version of this software, or with other networks or data "
            "sources; start in another folder"
        ) from None


def add_sources(saw: dict[str, list[str]], record: dict[str, Any]) -> None:
    """Add to what weights saw what is recorded of older ones that they come from.

    Args:
        saw: kind of data -> names of sources; changed in place.
        record: of older weights; kinds that it lacks it saw nothing of.
    """
    for kind, names in saw.items():
        names += [name for name in record.get(kind) or [] if name not in names]


def _differences(run: Stored, state: dict[str, Any], allow: Collection[str]) -> list[str]:
    """One phrase for each setting that must not differ, and does."""
    new = dataclasses.asdict(run.config)
    old = {name: state["config"].get(name, neutral(name)) for name in new}
    fixed = [name for name in new if name not in FREE and name not in allow]
    different = [f"{k}: {old[k]} then, {new[k]} now" for k in fixed if old[k] != new[k]]
    samples = state["samples"], run.samples
    if samples[0] != samples[1] and "batch" not in allow:
        different.append(f"batch x accumulate x processes: {samples[0]} then, {samples[1]} now")
    if state["precision"] != run.precision and PRECISION not in allow:
        different.append(f"precision: {state['precision']} then, {run.precision} now")
    if DATA not in allow:
        then, now = state["data"], run.data
        different += [
            f"{source}: {then.get(source, 'absent')} then, {now.get(source, 'absent')} now"
            for source in dict.fromkeys([*then, *now])
            if then.get(source) != now.get(source)
        ]
    return different


def describe_data(
    unpaired: SliceDataset | None,
    pairs: PairedSlices | None,
    simulator: Simulator | None,
    bank: LesionBank | None,
) -> dict[str, str]:
    """What there is of each data source, in words; the same data gives the same words."""
    described = {}
    for index, name in enumerate(unpaired.names if unpaired else []):
        counts = [f"{int((unpaired.sources[c] == index).sum())} {c}" for c in CONTRASTS]
        described[f"data source {name}"] = f"{' and '.join(counts)} slices"
    for index, name in enumerate(pairs.names if pairs else []):
        described[f"pairs {name}"] = f"{int((pairs.sources == index).sum())} pairs"
    if pairs:
        described["stripped copies of pairs"] = f"of {len(pairs.copies)} pairs"
    if bank:
        described["real lesions"] = f"{len(bank)} to implant"
    if simulator:
        described["simulated pairs"] = f"from {len(simulator)} label maps"
    return described


def _restore_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    optimizer.load_state_dict(saved)
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape:
                # The fused kernel walks memory, so the moments need the weights' strides.
                moments[name] = torch.empty_like(parameter).copy_(value)
