"""Time and memory of training data that is much larger than memory.

    python tests/many_volumes.py 500 [--slices 150] [--side 256] [--grid 256] [--folder DIR]

Writes N small made-up NIfTI volumes, then in a fresh process each: fills the cache, starts again
with the cache filled, and draws batches. Prints a table. `peak` is the process's largest
resident memory, imports included, and with it what is mapped from the cache, which the system takes
back when it needs the memory; `own` is what is not mapped, at the end (Linux).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from peak_memory import peak_bytes
from tqdm import tqdm

from cyclegan.data.dataset import SliceDataset
from cyclegan.data.decoding import recipe
from cyclegan.simulation.phantom import draw_volume

PEOPLE = 4  # heads that the volumes are variations of; drawing one for each would take hours
BATCH, BATCHES = 4, 500


def write_volumes(folder: Path, count: int, slices: int, side: int) -> None:
    """Write `count` different NIfTI volumes of (side, side, slices) int16, half T1 and half T2."""
    heads = [draw_volume(seed, min(slices, 24), side) % 251 for seed in range(PEOPLE)]
    rng = np.random.default_rng(0)
    for contrast in ("T1", "T2"):
        (folder / contrast).mkdir(parents=True)
    for number in tqdm(range(count), desc="writing", unit="file", leave=False, disable=None):
        head = heads[number % PEOPLE]
        head = head[np.linspace(0, len(head) - 1, slices).round().astype(int)]
        values = head * rng.uniform(2, 5) + rng.integers(0, 20, head.shape)
        image = nib.Nifti1Image(values.astype(np.int16).transpose(2, 1, 0)[:, ::-1], np.eye(4))
        place = folder / ("T1", "T2")[number % 2] / f"sub-{number:04d}_{number}.nii.gz"
        nib.save(image, place)


def own_mib() -> float:
    """Resident memory of this process that is its own, not mapped from a file."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    own = [line.split()[1] for line in lines if line.startswith("RssAnon")]
    return int(own[0]) / 2**10 if own else float("nan")


def measure(data: str, cache: str | None, grid: int, batches: int) -> dict[str, float]:
    """Load a data set in this process and draw batches from it: seconds, MiB and counts."""
    recipe()  # what scaling and framing import and allocate once
    before, start = peak_bytes() / 2**20, time.perf_counter()
    dataset = SliceDataset.load([data], grid, tqdm, cache)
    loaded = time.perf_counter()
    after = peak_bytes() / 2**20
    rng = torch.Generator().manual_seed(0)
    for _ in range(batches):
        dataset.draw(BATCH, rng)
    drawn = time.perf_counter()
    slices = sum(len(stack) for stack in dataset.slices.values())
    return {
        "slices": slices,
        "data": slices * grid**2 * 2 / 2**20,
        "seconds": loaded - start,
        "before": before,
        "peak": after,
        "draw": 1000 * (drawn - loaded) / max(batches, 1),
        "drawn": peak_bytes() / 2**20,
        "own": own_mib(),
    }


def measured_apart(data: Path, cache: Path | None, grid: int, batches: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    arguments = ["--measure", str(data), str(cache or ""), str(grid), str(batches)]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, help="number of volumes")
    parser.add_argument("--slices", type=int, default=150, help="of a volume")
    parser.add_argument("--side", type=int, default=256, help="of a slice, in pixels")
    parser.add_argument("--grid", type=int, default=256, help="side of the network's grid")
    parser.add_argument("--folder", help="where to write; default: the temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        data, cache = Path(folder) / "data", Path(folder) / "cache"
        write_volumes(data, options.count, options.slices, options.side)
        rows = [
            ("first start", measured_apart(data, cache, options.grid, 0)),
            ("second start", measured_apart(data, cache, options.grid, 0)),
            (f"{BATCHES} batches", measured_apart(data, cache, options.grid, BATCHES)),
        ]
        on_disk = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
    first = rows[0][1]
    print(
        f"{options.count} volumes of {options.slices} slices {options.side} x {options.side}: "
        f"{first['slices']:.0f} slices kept, {first['data']:.0f} MiB as float16 at {options.grid} "
        f"x {options.grid}, cache {on_disk / 2**20:.0f} MiB"
    )
    batch = f"batch of {BATCH}"
    print(f"{'':14} {'load':>10} {'peak, loaded':>14} {batch:>12} {'peak':>10} {'own':>10}")
    for name, row in rows:
        draw = f"{row['draw']:9.2f} ms" if row["draw"] else ""
        print(
            f"{name:14} {row['seconds']:8.1f} s {row['peak']:10.0f} MiB {draw:>12} "
            f"{row['drawn']:6.0f} MiB {row['own']:6.0f} MiB"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        data, cache, grid, batches = sys.argv[2:]
        print(json.dumps(measure(data, cache or None, int(grid), int(batches))))
    else:
        main()
