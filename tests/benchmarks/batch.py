"""What a folder of volumes takes, from files to files, beside the network alone on this machine.

    PYTHONPATH=tests python -m benchmarks.batch [--volumes 40] [--slices 24] [--repeats 3]
        [--workers N ...]

Simulates NIfTI volumes of 256x256, has them translated by what `python -m cyclegan.translate` runs,
and prints slices per second and processor time for each slice. The network alone gets the same
slices from memory, on all cores. All take turns, and the median counts, so that whatever else the
machine does slows all. --workers adds Dask's processes of one thread each; their start is not
counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from peak_memory import peak_bytes

from cyclegan.batch.jobs import Job, find_jobs
from cyclegan.batch.translation import Network, Options, translate_here
from cyclegan.model.hub import weights_folder
from cyclegan.model.translator import Translator
from cyclegan.reading.read import read_volume
from cyclegan.simulation.phantom import draw_volume

SIDE = 256  # pixels


class Taken(NamedTuple):
    """Wall-clock and processor seconds of one run over all volumes."""

    wall: float
    processor: float


def write_volumes(folder: Path, count: int, slices: int) -> list[Path]:
    """Write `count` different NIfTI volumes of (256, 256, slices) int16."""
    head = draw_volume(0, slices=slices, size=SIDE) % 251
    rng = np.random.default_rng(0)
    paths = [folder / f"volume{number:03}.nii.gz" for number in range(count)]
    for path in paths:
        values = (head * rng.uniform(2, 5) + rng.integers(0, 20, head.shape)).astype(np.int16)
        nib.save(nib.Nifti1Image(values.transpose(2, 1, 0)[:, ::-1], np.eye(4)), path)
    return paths


def timed(run: Callable[[], object], processor: Callable[[], float]) -> Taken:
    """Time a call; `processor` tells the processor seconds spent so far by whoever works."""
    started, spent = time.perf_counter(), processor()
    run()
    return Taken(time.perf_counter() - started, processor() - spent)


def measure(
    folder: Path, weights: str, repeats: int, workers: list[int], scratch: Path
) -> dict[str, list[Taken]]:
    """Time each way of translating the volumes of `folder`, in turns; name -> one of each turn."""
    threads = torch.get_num_threads()
    translator = Translator.from_pretrained(weights)
    volumes = [read_volume(path) for path in sorted(folder.iterdir())]
    jobs = [job for job in find_jobs([folder], scratch) if isinstance(job, Job)]
    options = Options("T2", scratch, force=True)

    def alone() -> None:
        torch.set_num_threads(1)
        network = Network(translator, threads)
        for volume in volumes:
            network.translate(volume, options.to)
        torch.set_num_threads(threads)

    def command() -> None:
        for _, outcome in translate_here(jobs, options, translator):
            assert not outcome.failures, outcome.failures

    calls = {
        f"network alone, {threads} threads": lambda: timed(alone, time.process_time),
        "the command": lambda: timed(command, time.process_time),
    }
    with ExitStack() as stack:
        for count in workers:
            calls |= _cluster_call(
                stack, count, jobs, options, weights_folder(weights), translator.checksum
            )
        taken: dict[str, list[Taken]] = {name: [] for name in calls}
        for repeat in range(repeats):
            print(f"turn {repeat + 1} of {repeats}", file=sys.stderr)
            for name, call in calls.items():
                taken[name].append(call())
    return taken


def _cluster_call(
    stack: ExitStack, count: int, jobs: list[Job], options: Options, weights: Path, checksum: str
) -> dict[str, Callable[[], Taken]]:
    from cyclegan.batch import cluster

    client = stack.enter_context(cluster.connected(count, None, threads=1))
    name = cluster.send_weights(client, weights, checksum, options.out)

    def run(some: list[Job]) -> None:
        for _, outcome in cluster.translate_on(client, some, options, name):
            assert not outcome.failures, outcome.failures

    def processor() -> float:
        return sum(client.run(time.process_time).values())

    run(jobs[: 2 * count])  # the networks are built with the first
    return {f"{count} workers of one thread": lambda: timed(lambda: run(jobs), processor)}


def as_table(taken: dict[str, list[Taken]], slices: int) -> str:
    """A Markdown table of medians; ratios against the first row."""
    rows = [
        "| | slices/s | to the network alone | processor time of a slice |",
        "|---|---|---|---|",
    ]
    base = next(iter(taken.values()))
    for name, turns in taken.items():
        wall = statistics.median(turn.wall for turn in turns)
        ratio = statistics.median(b.wall / turn.wall for b, turn in zip(base, turns, strict=True))
        processor = statistics.median(turn.processor for turn in turns) / slices
        rows.append(f"| {name} | {slices / wall:.3g} | {ratio:.2f} | {1000 * processor:.0f} ms |")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--weights", default="weights", help="folder (default: weights)")
    add("--volumes", type=int, default=40, metavar="N", help="default: 40")
    add("--slices", type=int, default=24, metavar="N", help="of each; default: 24")
    add("--repeats", type=int, default=3, metavar="N", help="turns; default: 3")
    add("--workers", type=int, nargs="*", default=[], metavar="N", help="of Dask, for example 1 2")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "volumes"
        folder.mkdir()
        write_volumes(folder, options.volumes, options.slices)
        out = Path(scratch) / "results"
        out.mkdir()
        taken = measure(folder, options.weights, options.repeats, options.workers, out)
        size = sum(path.stat().st_size for path in out.iterdir()) / options.volumes / options.slices
    print(as_table(taken, options.volumes * options.slices))
    print(
        f"\n{options.volumes} volumes of {options.slices} slices, {SIDE}x{SIDE}; "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; peak memory "
        f"{peak_bytes() / 1e6:.0f} MB; results {size / 1e6:.2f} MB a slice"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
