"""Broken and hostile files: a sound image or a ReadError, within bounds of memory and time.

Whole batches are read in a process of its own, so that a crash, a hang or an allocation beyond the
cap shows up as such and nothing that other tests did hides it.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bombs import bombs
from intact_files import flipped, intact_files, truncated

from cyclegan.reading.read import read_volume
from cyclegan.reading.volume import MAX_VOXELS, ReadError

FILES = intact_files()
CHECKSUMMED = ("png", "nii.gz", "zip")
FLIPS = 24  # damaged copies of each family
CPU_SECONDS = 5.0  # for one file; the largest volume that is read takes about two
# The largest volume in float32, and a quarter of a gigabyte to decode it with.
MEMORY_BYTES = 4 * MAX_VOXELS + 2**28

WORKER = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from cyclegan.reading.formats import FORMATS
from cyclegan.reading.selection import open_files
from cyclegan.reading.read import read_volume
from cyclegan.reading.volume import ReadError

def opened(path):
    selection = open_files([path])
    return selection.read(selection.best)

modules = [each.module for each in FORMATS]  # loaded before memory is capped
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]),) * 2)
for path in sorted(Path(sys.argv[1]).iterdir()):
    if path.suffix == ".img":
        continue
    print(json.dumps([path.name]), flush=True)
    for read in (read_volume, opened):
        start = time.process_time()
        try:
            pixels = read(path).pixels
            sound = pixels.dtype == np.float32 and pixels.ndim == 3 and pixels.min() < pixels.max()
            outcome = "image" if sound and np.isfinite(pixels).all() else "unsound image"
            del pixels
        except ReadError as error:
            outcome = "refused: " + str(error)
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error}"
        print(json.dumps([path.name, outcome, time.process_time() - start]), flush=True)
"""


def outcomes(folder: Path) -> dict[str, list[str]]:
    """What reading gave, for every file in a folder; fails for what is neither image nor refusal.

    Memory is bounded to `MEMORY_BYTES` above what importing the readers takes.
    """
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(folder), str(MEMORY_BYTES)],
        capture_output=True,
        text=True,
        cwd=root,
        timeout=300,
        # Threads of libraries would each take address space.
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"died at {lines[-1:]}: {done.stderr[-1000:]}"
    results: dict[str, list[str]] = {}
    for name, outcome, seconds in (line for line in lines if len(line) == 3):
        assert outcome.startswith(("image", "refused: ")), f"{name}: {outcome}"
        assert "\n" not in outcome
        if outcome.startswith("refused: "):
            assert name in outcome, outcome
        assert seconds < CPU_SECONDS, f"{name}: {seconds:.1f} s"
        results.setdefault(name, []).append(outcome)
    assert results
    return results


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)


def test_truncated_at_every_tenth(tmp_path):
    write(tmp_path, truncated(FILES))
    for name, results in outcomes(tmp_path).items():
        assert "image" not in results, name


def test_flipped_bits(tmp_path):
    write(tmp_path, flipped(FILES, FLIPS))
    assert len(outcomes(tmp_path)) == FLIPS * len(FILES)


def test_flipped_bits_in_the_header_of_a_pair(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 4096, (36, 40, 2), dtype=np.int16)
    for kind, name in ((nib.Nifti1Pair, "nifti"), (nib.AnalyzeImage, "analyze")):
        nib.save(kind(voxels, None), tmp_path / f"{name}.img")
        header, image = ((tmp_path / f"{name}.{end}").read_bytes() for end in ("hdr", "img"))
        headers = flipped({f"{name}.hdr": header}, FLIPS)
        write(tmp_path, headers | {damaged[:-3] + "img": image for damaged in headers})
    assert outcomes(tmp_path)["nifti.hdr"][0] == "image"


def test_magic_followed_by_rubbish(tmp_path):
    for family, data in FILES.items():
        rubbish = random.Random(family).randbytes(5000)
        (tmp_path / f"magic.{family}").write_bytes(data[:16] + rubbish)
        start = 132 if family.endswith(".dcm") else 64
        (tmp_path / f"start.{family}").write_bytes(data[:start] + rubbish)
    for name, results in outcomes(tmp_path).items():
        if name.startswith("magic"):
            assert "image" not in results


@pytest.mark.parametrize("family", CHECKSUMMED)
def test_checksummed_families_never_show_damaged_pixels(tmp_path, family):
    path = tmp_path / f"whole.{family}"
    path.write_bytes(FILES[family])
    whole = read_volume(path).pixels
    for at in range(40, len(FILES[family]) - 12, max(1, len(FILES[family]) // 60)):
        data = bytearray(FILES[family])
        data[at] ^= 0x10
        path.write_bytes(bytes(data))
        try:
            pixels = read_volume(path).pixels
        except ReadError:
            continue
        np.testing.assert_array_equal(pixels, whole)


def test_bombs_are_refused_in_words(tmp_path):
    small = bombs()
    assert max(len(data) for data, _ in small.values()) < 2**20
    write(tmp_path, {name: data for name, (data, _) in small.items()})
    results = outcomes(tmp_path)
    assert results.keys() == small.keys()
    for name, (_, words) in small.items():
        for outcome in results[name]:
            assert outcome.startswith("refused: "), name
            assert words in outcome, outcome
