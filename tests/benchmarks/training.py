"""Training speed: each part of our recipe beside the published setting, on this machine.

    PYTHONPATH=tests python -m benchmarks.training [--data DIR ...] [--pairs DIR] [--steps N]
        [--size N] [--precision no]

Prints steps and samples per second, and the share of the time in which steps wait for data: of the
supervised part of a run, of the part with unpaired slices, and of the published setting (Zhu et al.
2017, unpaired slices alone, one at a time) with our generator and with the paper's ResNet-9.
Without --data it simulates slices; --pairs brings real pairs into ours. OMP_NUM_THREADS sets the
number of threads; let nothing else run. How good a run is at which minute is in its validation.csv.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image

from cyclegan import CONTRASTS
from cyclegan.data.dataset import SliceDataset
from cyclegan.data.paired_slices import PairedSlices
from cyclegan.model.translator import multiplies_bfloat16
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import Simulator, simulate_pair
from cyclegan.training.config import TrainConfig, TrainingData
from cyclegan.training.trainer import Trainer

WARM_UP = 3  # steps that are not counted: the first ones allocate and choose kernels
HEADS = 24  # simulated where no data is given
PUBLISHED = "published setting"


class Speed(NamedTuple):
    """Of one recipe with one generator."""

    recipe: str
    generator: str
    batch: int
    steps_per_second: float
    data_wait: float


def measure(
    folders: Sequence[Path],
    scratch: Path,
    *,
    size: int,
    steps: int,
    precision: str,
    pairs: Sequence[Path] = (),
) -> Iterator[Speed]:
    """Measure both parts of our recipe, then the published setting with either generator.

    Args:
        folders, pairs: as `SliceDataset.load` and `PairedSlices.load` take them.
        scratch: for the cache and runs.
        size: side of the slices in pixels.
        steps: counted steps of each.
        precision: of the networks, "bf16" or "no".
    """
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=precision)
    unpaired = SliceDataset.load(folders, size, cache=scratch / "cache")
    labels = np.stack([draw_slice(seed, 0.5) for seed in range(HEADS // 3)])
    ours = {
        "unpaired": unpaired,
        "pairs": PairedSlices.load(pairs, size, cache=scratch / "cache") if pairs else None,
        "simulator": Simulator(labels, device=accelerator.device),
    }
    alone = {"unpaired": unpaired}
    for recipe, data, settings in (
        ("ours, supervised part", ours, {"supervised": 1.0}),
        ("ours, all samples", ours, {"supervised": 0.0}),
        (PUBLISHED, alone, {}),
        (PUBLISHED, alone, {"generator": "resnet"}),
    ):
        config = TrainConfig(size=size, start_size=size, steps=10**6, **settings)
        data = TrainingData(**data)
        trainer = Trainer(config, scratch / "run", data, accelerator=accelerator)
        speed = _time(trainer, steps)
        yield Speed(recipe, config.generator, trainer.config.batch, *speed)


def _time(trainer: Trainer, steps: int) -> tuple[float, float]:
    """Steps per second, and the share of the time spent waiting for data."""
    for k in range(WARM_UP + steps):
        if k == WARM_UP:
            _synchronise()
            started, waited = time.perf_counter(), trainer.pace["waited"]
        trainer.train_step()
        trainer.step += 1
    _synchronise()
    seconds = time.perf_counter() - started
    return steps / seconds, (trainer.pace["waited"] - waited) / seconds


def _synchronise() -> None:
    """Wait for what a GPU has been given to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def write_data(folder: Path) -> Path:
    """Write `HEADS` simulated slices of each contrast as 8-bit PNG files: a training folder."""
    for seed in range(HEADS):
        pair = simulate_pair(draw_slice(seed, 0.5), np.random.default_rng(seed))
        for contrast in CONTRASTS:
            path = folder / contrast / f"head_{seed}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = 255 * getattr(pair, contrast.lower())
            Image.fromarray(pixels.round().astype(np.uint8)).save(path)
    return folder


def as_table(speeds: Sequence[Speed]) -> str:
    """A Markdown table; ratios of samples per second against the published setting, ResNet-9."""
    base = next(s for s in speeds if (s.recipe, s.generator) == (PUBLISHED, "resnet"))
    rows = [
        "| recipe | generators | batch | steps/s | samples/s | to ResNet-9 | waits for data |",
        "|---|---|---|---|---|---|---|",
    ]
    for s in speeds:
        rate = s.batch * s.steps_per_second
        rows.append(
            f"| {s.recipe} | {s.generator} | {s.batch} | {s.steps_per_second:.3g} | {rate:.3g} | "
            f"{rate / (base.batch * base.steps_per_second):.2f} x | {s.data_wait:.1%} |"
        )
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", nargs="+", metavar="DIR", help="training folders; default: simulated"
    )
    parser.add_argument("--pairs", nargs="+", metavar="DIR", default=[], help="slices in both "
                        "contrasts, by equal names")  # fmt: skip
    parser.add_argument("--steps", type=int, default=8, metavar="N", help="of each; default: 8")
    parser.add_argument("--size", type=int, default=256, help="of the slices; default: 256 pixels")
    parser.add_argument("--precision", choices=("no", "bf16"), help="default: bf16 where the "
                        "hardware has it")  # fmt: skip
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = options.precision or ("bf16" if multiplies_bfloat16(device) else "no")
    how = {"size": options.size, "steps": options.steps, "precision": precision}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            folders = [Path(f) for f in options.data or [write_data(Path(scratch) / "simulated")]]
            pairs, speeds = [Path(f) for f in options.pairs], []
            for speed in measure(folders, Path(scratch), pairs=pairs, **how):
                print(f"{speed.recipe}, {speed.generator}: done", file=sys.stderr)
                speeds.append(speed)
        except ValueError as error:  # DataError, too
            print(f"benchmarks.training: {error}", file=sys.stderr)
            return 1
    print(as_table(speeds))
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    number_format = "bfloat16" if precision == "bf16" else "float32"
    print(
        f"\n{where}, {torch.get_num_threads()} threads, {number_format}, {options.steps} steps each"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
