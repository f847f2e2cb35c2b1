"""Volumes for training, and the memory that loading them takes, measured in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from peak_memory import peak_bytes

from cyclegan.data.dataset import SliceDataset
from cyclegan.data.decoding import recipe
from cyclegan.simulation.phantom import draw_volume

HEADS = 4  # that the volumes are variations of; simulating one for each would take hours


def write_volumes(folder: Path, count: int, slices: int, side: int) -> None:
    """Write `count` different NIfTI volumes of (side, side, slices) int16, half T1 and half T2."""
    heads = [draw_volume(seed, min(slices, 24), side) % 251 for seed in range(HEADS)]
    rng = np.random.default_rng(0)
    for number in range(count):
        head = heads[number % HEADS]
        head = head[np.linspace(0, len(head) - 1, slices).round().astype(int)]
        values = head * rng.uniform(2, 5) + rng.integers(0, 20, head.shape)
        image = nib.Nifti1Image(values.astype(np.int16).transpose(2, 1, 0)[:, ::-1], np.eye(4))
        path = folder / ("T1", "T2")[number % 2] / f"sub-{number:04d}_{number}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(image, path)


def memory_of_loading(data: Path, cache: Path | None, grid: int) -> dict[str, float]:
    """In a process of its own, MiB: `grown`, by how much its resident memory did, and `data`."""
    done = subprocess.run(
        [sys.executable, __file__, str(data), str(cache or ""), str(grid)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


if __name__ == "__main__":
    folder, cache, grid = sys.argv[1], sys.argv[2] or None, int(sys.argv[3])
    recipe()  # what scaling and framing import and allocate once
    before = peak_bytes()
    dataset = SliceDataset.load([folder], grid, cache=cache)
    size = sum(len(stack) for stack in dataset.slices.values()) * grid**2 * 2
    print(json.dumps({"grown": (peak_bytes() - before) / 2**20, "data": size / 2**20}))
