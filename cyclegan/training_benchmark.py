"""Training speed: our recipe beside that of Zhu et al. 2017, on this machine.

    python -m cyclegan.training_benchmark [--data DIR ...] [--pairs DIR] [--steps N]
    python -m cyclegan.training_benchmark --to-quality --data DIR --val PAIRS [--labelmaps DIR]
        [--pairs DIR]

Prints steps and slices per second of our recipe with the U-Net and of the reference with either
generator, and the share of the time in which steps wait for data. Without --data it draws slices.
Ours runs as `train.py` does, with its default settings: the supervised part of the run, and the
part with unpaired slices, each alone; --pairs brings real pairs into both.
The reference decodes PNG files of the same slices at every step. OMP_NUM_THREADS sets the number of
threads; let nothing else run.

With --to-quality both train until the last of --marks, one after the other, and a table tells at
each mark how good they are on pairs: masked SSIM, and lesions kept. Reading, label maps,
skull-stripping and scoring do not count as time. Ours fits its schedule to that time. With --pairs
ours learns from real pairs, too, in a run of its own, from nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image

from cyclegan import CONTRASTS
from cyclegan.model.precision import multiplies_bfloat16
from cyclegan.report.runlog import DATA_WAIT, STEPS_PER_SECOND
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import Simulator, simulate_pair
from cyclegan.simulation.tissues import read_label_maps
from cyclegan.slices.data import SliceDataset
from cyclegan.slices.paired_slices import PairedSlices
from cyclegan.slices.stripping import train_masker
from cyclegan.training.config import TrainConfig
from cyclegan.training.pace import Pace
from cyclegan.training.quality import Mark, our_step, reference_step, scores_over_time
from cyclegan.training.quality import as_table as quality_table
from cyclegan.training.reference_recipe import ReferenceRecipe
from cyclegan.training.trainer import Trainer

WARM_UP = 3  # steps that are not counted: the first ones allocate, choose kernels, start workers
DRAWN = 24  # heads drawn where no data is given
WRITTEN = 200  # slices of each contrast written for the reference, at most


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
    workers: int,
    pairs: Sequence[Path] = (),
) -> Iterator[Speed]:
    """Measure our recipe with its U-Net, then the reference with the U-Net and with its ResNet-9.

    Args:
        folders, pairs: as `SliceDataset.load` and `PairedSlices.load` take them.
        scratch: for the cache, PNG files and runs.
        size: side of the slices in pixels.
        steps: counted steps of each.
        precision: of our networks, "bf16" or "no"; the reference has float32.
        workers: processes that decode for the reference.
    """
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=precision)
    dataset = SliceDataset.load(folders, size, cache=scratch / "cache")
    labels = np.stack([draw_slice(seed, 0.5) for seed in range(DRAWN // 3)])
    simulator = Simulator(labels, device=accelerator.device)
    files = write_slices(dataset, scratch / "files")
    paired = PairedSlices.load(pairs, size, cache=scratch / "cache") if pairs else None
    for name, supervised in (("supervised", 1.0), ("all samples", 0.0)):
        config = TrainConfig(size=size, start_size=size, steps=10**6, supervised=supervised)
        trainer = Trainer(
            config,
            scratch / name,
            unpaired=dataset,
            pairs=paired,
            simulator=simulator,
            accelerator=accelerator,
        )

        def step(trainer: Trainer = trainer) -> None:
            trainer.train_step()
            trainer.step += 1

        yield Speed(
            f"ours, {name}", "unet", trainer.config.batch, *_time(step, trainer.pace, steps)
        )
    for name in ("unet", "resnet"):
        reference = ReferenceRecipe(name, files, accelerator.device, size, workers)
        yield Speed("reference", name, 1, *_time(reference.train_step, reference.pace, steps))


def quality(options: argparse.Namespace, scratch: Path, precision: str) -> Iterator[Mark]:
    """Train our recipe, then the reference, on the same data; scores at the marks of each."""
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=precision)
    dataset = SliceDataset.load([Path(f) for f in options.data], options.size, cache=scratch / "c")
    files = write_slices(dataset, scratch / "files")  # before skull-stripping, which is ours
    if options.labelmaps:
        labels, tissues = read_label_maps(options.labelmaps)
        simulator = Simulator(labels, tissues, accelerator.device)
    else:
        labels = np.stack([draw_slice(seed, 0.5) for seed in range(DRAWN // 3)])
        simulator = Simulator(labels, device=accelerator.device)
    config = TrainConfig(size=options.size, minutes=max(options.marks))
    masker = train_masker(simulator, torch.Generator().manual_seed(config.seed)).eval()
    dataset.add_stripped(masker)
    common = {"unpaired": dataset, "simulator": simulator, "accelerator": accelerator}

    def with_pairs() -> Trainer:
        paired = PairedSlices.load(options.pairs, options.size, cache=scratch / "c")
        paired.add_stripped(masker)
        return Trainer(config, scratch / "pairs", pairs=paired, **common)

    def unpaired() -> Trainer:
        return Trainer(config, scratch / "ours", **common)

    recipes = [("ours", unpaired)]
    if options.pairs:
        recipes.insert(0, ("ours, with pairs", with_pairs))
    how = sorted(options.marks), options.val, options.size, options.every
    for name, make in recipes:
        trainer = make()
        yield from scores_over_time(name, our_step(trainer), trainer.ema, *how)
    reference = ReferenceRecipe("resnet", files, accelerator.device, options.size, options.workers)
    step = reference_step(reference)
    yield from scores_over_time("Zhu et al. 2017, ResNet-9", step, reference.generators, *how)


def _time(step: Callable[[], None], pace: Pace, steps: int) -> tuple[float, float]:
    """Steps per second, and the share of the time spent waiting for data."""
    for _ in range(WARM_UP):
        step()
    _synchronise()
    pace.take()
    for k in range(steps):
        with pace.step():
            step()
            if k == steps - 1:
                _synchronise()
    taken = pace.take()
    return taken[STEPS_PER_SECOND], taken[DATA_WAIT]


def _synchronise() -> None:
    """Wait for what a GPU was told to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def draw_data(folder: Path) -> Path:
    """Write `DRAWN` simulated slices of each contrast as 8-bit PNG files: a training folder."""
    for seed in range(DRAWN):
        pair = simulate_pair(draw_slice(seed, 0.5), np.random.default_rng(seed))
        for contrast in CONTRASTS:
            _write_png(folder / contrast / f"drawn_{seed}.png", getattr(pair, contrast.lower()))
    return folder


def write_slices(dataset: SliceDataset, folder: Path) -> dict[str, list[Path]]:
    """Write up to `WRITTEN` slices of each contrast as 8-bit PNG files; contrast -> files."""
    files: dict[str, list[Path]] = {c: [] for c in CONTRASTS}
    for contrast, written in files.items():
        stack = dataset.slices[contrast]
        for k in range(min(WRITTEN, len(stack))):
            path = folder / contrast / f"{k}.png"
            _write_png(path, np.asarray(stack[k], dtype=np.float32)[0])
            written.append(path)
    return files


def _write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * pixels).round().astype(np.uint8)).save(path)


def as_table(speeds: Sequence[Speed]) -> str:
    """A Markdown table; ratios of slices per second against the reference with its own ResNet-9."""
    base = next(s for s in speeds if (s.recipe, s.generator) == ("reference", "resnet"))
    rows = [
        "| recipe | generators | batch | steps/s | slices/s | to the reference | waits for data |",
        "|---|---|---|---|---|---|---|",
    ]
    for s in speeds:
        slices = s.batch * s.steps_per_second
        rows.append(
            f"| {s.recipe} | {s.generator} | {s.batch} | {s.steps_per_second:.3g} | {slices:.3g} | "
            f"{slices / (base.batch * base.steps_per_second):.2f} x | {s.data_wait:.1%} |"
        )
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan.training_benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", nargs="+", metavar="DIR", help="training folders; default: drawn")
    parser.add_argument("--pairs", nargs="+", metavar="DIR", default=[], help="slices in both "
                        "contrasts, by equal names")  # fmt: skip
    parser.add_argument("--steps", type=int, default=8, metavar="N", help="of each; default: 8")
    parser.add_argument("--size", type=int, default=256, help="of the slices; default: 256 pixels")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="processes that decode "
                        "for the reference; default: 4, as published")  # fmt: skip
    parser.add_argument("--precision", choices=("no", "bf16"), help="of ours; default: bf16 where "
                        "the hardware has it")  # fmt: skip
    parser.add_argument("--to-quality", action="store_true", help="scores over time, not speed")
    parser.add_argument("--val", metavar="DIR", type=Path, help="pairs to score on")
    parser.add_argument("--labelmaps", metavar="DIR", help="to simulate from; default: drawn")
    parser.add_argument("--marks", type=float, nargs="+", metavar="MIN", default=[5, 10, 20, 40],
                        help="minutes of training of each; default: 5 10 20 40")  # fmt: skip
    parser.add_argument("--every", type=int, default=4, metavar="N", help="score on each N-th "
                        "pair; default: 4")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.to_quality and not (options.data and options.val):
        parser.error("--to-quality needs --data and --val")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = options.precision or ("bf16" if multiplies_bfloat16(device) else "no")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            if options.to_quality:
                marks = []
                for mark in quality(options, Path(scratch), precision):
                    marks.append(mark)
                    print(quality_table(marks[-1:]).splitlines()[-1], file=sys.stderr)
                print(quality_table(marks))
                return 0
            folders = [Path(f) for f in options.data or [draw_data(Path(scratch) / "drawn")]]
            speeds = []
            for speed in measure(
                folders,
                Path(scratch),
                size=options.size,
                steps=options.steps,
                precision=precision,
                workers=options.workers,
                pairs=[Path(f) for f in options.pairs],
            ):
                print(f"{speed.recipe}, {speed.generator}: done", file=sys.stderr)
                speeds.append(speed)
        except ValueError as error:  # DataError, too
            print(f"training_benchmark: {error}", file=sys.stderr)
            return 1
    print(as_table(speeds))
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    number_format = "bfloat16" if precision == "bf16" else "float32"
    threads = torch.get_num_threads()
    ours = f"ours in {number_format}"
    print(f"\n{where}, {threads} threads, {ours}, {options.steps} steps each")
    return 0


if __name__ == "__main__":
    sys.exit(main())
