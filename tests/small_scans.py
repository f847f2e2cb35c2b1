"""Small scans, what a check says of them, and waiting for what the server does with them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from cyclegan.reading.archive import Member
from cyclegan.reading.volume import Volume
from cyclegan.trust.calibration import MEASURES, Calibration
from cyclegan.trust.checks import LABELS, Assessment

WAIT_S = 30  # for what takes a moment on an idle machine


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it to its end; in a thread, as Playwright has a loop in this one after a browser test."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, coroutine).result()


def until(true, seconds=WAIT_S):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def head(side=64, slices=None, shift=0.0):
    """A bright ring around a grey disc, different in each slice: (H, W) or (Z, H, W) in [0, 1]."""
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    radius = np.hypot(rows, columns * 1.2)
    disc = np.where(radius < 0.6, 0.4 + 0.2 * columns + shift, np.where(radius < 0.75, 0.9, 0))
    image = np.clip(disc, 0, 1).astype(np.float32)
    if slices is None:
        return image
    return np.stack([image * (0.7 + 0.3 * z / slices) for z in range(slices)])


def png(pixels, dtype=np.uint16):
    """A PNG of (H, W) in [0, 1]."""
    top = np.iinfo(dtype).max
    buffer = io.BytesIO()
    Image.fromarray(np.rint(np.clip(pixels, 0, 1) * top).astype(dtype)).save(buffer, "PNG")
    return buffer.getvalue()


def nifti(volume, spacing=(4.0, 2.0, 1.0)):
    """A NIfTI of (Z, H, W) in [0, 1] that is shown in this order, anterior up."""
    slice_mm, row, column = spacing
    affine = np.diag([-column, -row, slice_mm, 1.0])
    return nib.Nifti1Image(
        np.rint(volume * 4000).astype(np.int16).transpose(2, 1, 0), affine
    ).to_bytes()


def volume_of(pixels, **known):
    """A Volume that says no more of itself than `known`."""
    nothing = dict.fromkeys(("spacing", "affine", "directions", "window", "contrast_hint"))
    pixels = np.asarray(pixels, np.float32)
    return Volume(**{"pixels": pixels, "name": "scan.nii", **nothing, **known})


def assessment(label, sure=0.98):
    """What a check says."""
    rest = (1 - sure) / (len(LABELS) - 1)
    probabilities = {each: sure if each == label else rest for each in LABELS}
    return Assessment(label, probabilities, "", f"Looks like {label}.", (0,))


class Sees:
    """An input check that always sees the same."""

    def __init__(self, label, sure=0.98):
        self.label, self.sure = label, sure

    def assess(self, image, spacing=None):
        return assessment(self.label, self.sure)


def calibration(**changes):
    """All numbers tell and the cycle error is shown as map, but for `changes` by direction."""
    direction = {
        "expected": {name: [0.9, 0.95] for name in MEASURES},
        "ranks": dict.fromkeys(MEASURES, 0.6),
        "maps": {"cycle error": 0.5, "brightness of the translation": 0.1},
        "map": "cycle error",
    }
    directions = {to: direction | changes.get(to, {}) for to in ("T1", "T2")}
    return Calibration({"subjects": ["anna"], "slices": 9, "directions": directions})


@contextlib.contextmanager
def busy(model):
    """Nothing else is translated meanwhile."""
    begun, go_on = threading.Event(), threading.Event()
    model.queue.submit(lambda: (begun.set(), go_on.wait(WAIT_S)))
    assert begun.wait(WAIT_S)
    try:
        yield
    finally:
        go_on.set()


def done(scan):
    """Wait until nothing of a scan waits for its turn."""
    until(lambda: not scan.is_translating)
    return scan


def members(*files):
    """Files as they arrive."""
    return [Member(name, data) for name, data in files]
