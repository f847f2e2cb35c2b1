"""What a folder of volumes takes, from files to files, beside the network alone on this machine.

    PYTHONPATH=tests python -m benchmarks.batch [--volumes 40] [--slices 24] [--workers N ...]

Simulates NIfTI volumes of 256x256, has them translated by `python -m cyclegan.translate`, and
prints slices per second, start included. The network alone gets the same slices from memory, on all
cores. --workers adds Dask's processes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from cyclegan.batch.translation import Network
from cyclegan.model.translator import Translator
from cyclegan.reading.read import read_volume
from cyclegan.simulation.phantom import draw_volume
from cyclegan.translate import main as translate

SIDE = 256  # pixels


def write_volumes(folder: Path, count: int, slices: int) -> None:
    """Write `count` different NIfTI volumes of (256, 256, slices) int16."""
    head = draw_volume(0, slices=slices, size=SIDE) % 251
    rng = np.random.default_rng(0)
    for number in range(count):
        values = (head * rng.uniform(2, 5) + rng.integers(0, 20, head.shape)).astype(np.int16)
        image = nib.Nifti1Image(values.transpose(2, 1, 0)[:, ::-1], np.eye(4))
        nib.save(image, folder / f"volume{number:03}.nii.gz")


def ways(folder: Path, weights: str, workers: list[int]) -> dict[str, Callable[[], object]]:
    """Ways to translate the volumes of a folder, by name."""
    volumes = [read_volume(path) for path in sorted(folder.iterdir())]
    threads = torch.get_num_threads()

    def alone() -> None:
        torch.set_num_threads(1)
        network = Network(Translator.from_pretrained(weights), threads)
        for volume in volumes:
            network.translate(volume, "T2")
        torch.set_num_threads(threads)

    def command(*options: str) -> None:
        with tempfile.TemporaryDirectory() as out:
            assert not translate(
                [str(folder), "--to", "T2", "--out", out, "--weights", weights, *options]
            )

    commands = {f"{n} workers": lambda n=n: command("--workers", str(n)) for n in workers}
    return {f"network alone, {threads} threads": alone, "the command": command} | commands


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
    add("--workers", type=int, nargs="*", default=[], metavar="N", help="of Dask, for example 1 2")
    options = parser.parse_args(arguments)
    count = options.volumes * options.slices
    with tempfile.TemporaryDirectory() as folder:
        write_volumes(Path(folder), options.volumes, options.slices)
        rates = {}
        for name, call in ways(Path(folder), options.weights, options.workers).items():
            started = time.perf_counter()
            call()
            rates[name] = count / (time.perf_counter() - started)
    for name, rate in rates.items():
        print(f"{name}: {rate:.3g} slices/s")
    print(f"{count} slices of {SIDE}x{SIDE}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
