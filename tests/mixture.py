"""What many different readers do, one thing after another, and what it leaves in memory.

python tests/mixture.py [requests]
"""

from __future__ import annotations

import io
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import nibabel as nib
import numpy as np
from intact_files import intact_files
from PIL import Image
from server_process import ROOT, Program, ServerProcess, Tab

sys.path.insert(0, str(ROOT))
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair

MIB = 2**20
FAMILIES = ("png", "jpg", "bmp", "tif", "nii", "nii.gz", "plain.dcm", "JPEG2000Lossless.dcm", "zip")
SETTLE_S = 1.0  # until what has begun ends


def slice_png(side: int = 256, seed: int = 0) -> bytes:
    """A simulated T1 slice as a 16-bit PNG."""
    rng = np.random.default_rng(seed)
    head = simulate_pair(draw_slice(seed % 7, level=0.5), rng).t1
    image = Image.fromarray((head * 40_000).astype(np.uint16)).resize((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def volume_nifti(slices: int, side: int = 96) -> bytes:
    """A volume of noisy rings as .nii.gz; what it shows doesn't matter to the time it takes."""
    rows, columns = np.mgrid[:side, :side] - side / 2
    ring = np.clip(1 - np.abs(np.hypot(rows, columns) - side / 3) / (side / 4), 0, 1)
    noise = np.random.default_rng(0).normal(1, 0.1, (side, side, slices))
    voxels = (900 * ring[..., None] * noise).clip(0).astype(np.int16)
    return nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 4.0, 1.0])).to_bytes()


class Mixture:
    """All that people do, each a function that returns what went wrong, or "".

    Args:
        server: running.
        rng: chooses.
    """

    def __init__(self, server: ServerProcess, rng: random.Random):
        self.server, self.rng = server, rng
        files = intact_files()
        self.slices = {family: files[family] for family in FAMILIES}
        self.slices |= {f"{side}.png": slice_png(side) for side in (128, 181, 256, 512)}
        self.volume = volume_nifti(12)
        self.actions: dict[str, tuple[int, Callable[[], str]]] = {
            "slice": (30, self.slice),
            "volume": (8, self.scrolled_volume),
            "bad file": (15, self.bad_file),
            "cut upload": (10, self.cut_upload),
            "closed tab": (12, self.closed_tab),
            "API": (10, self.api),
            "save, fetched": (8, self.fetched),
            "save, not fetched": (7, self.not_fetched),
        }

    def one(self) -> tuple[str, str]:
        """Do one thing at random: its kind, and what went wrong."""
        weights = [weight for weight, _ in self.actions.values()]
        (kind,) = self.rng.choices(list(self.actions), weights)
        return kind, self.actions[kind][1]()

    def _slice(self, tab: Tab) -> None:
        family = self.rng.choice(list(self.slices))
        tab.open(f"slice.{family}", self.slices[family])
        tab.until(lambda state: state["check"])
        tab.choose(to=self.rng.choice(("T1", "T2")))
        tab.translated()

    def slice(self) -> str:
        """A slice of some size and format, translated and measured."""
        with Tab(self.server.url) as tab:
            self._slice(tab)
            tab.image("translated")
            return "" if tab.measurements()["report"] else "no report"

    def scrolled_volume(self) -> str:
        """A volume, translated and scrolled through."""
        with Tab(self.server.url) as tab:
            tab.open("volume.nii", self.volume)
            for index in (6, 7, 8, 9):
                tab.image("original", index)
                tab.translated(index)
                tab.image("translated", index)
            return ""

    def bad_file(self) -> str:
        """A damaged file is refused."""
        with Tab(self.server.url) as tab:
            family = self.rng.choice(list(self.slices))
            data = self.slices[family][:60] + secrets.token_bytes(20)
            return "" if "error" in tab.open(f"bad.{family}", data) else "accepted"

    def cut_upload(self) -> str:
        """A connection that is lost in the middle of a file."""

        def half() -> Iterator[bytes]:
            yield b'--cut\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
            yield secrets.token_bytes(MIB)
            raise ConnectionAbortedError

        kind = {"Content-Type": "multipart/form-data; boundary=cut"}
        where = self.rng.choice(("/scans", "/gradio_api/upload"))
        try:
            httpx.post(f"{self.server.url}{where}", content=half(), headers=kind)
        except ConnectionAbortedError:
            return ""
        return "the upload was not cut"

    def closed_tab(self) -> str:
        """A tab that closes before its volume is translated."""
        with Tab(self.server.url) as tab:
            tab.open("volume.nii", self.volume)
            tab.translated(6)
        return ""

    def api(self) -> str:
        """The documented API."""
        with Program(self.server.url) as program:
            file = program.upload("a.png", self.slices["128.png"])
            return program.call(file, "T2")[1]

    def fetched(self) -> str:
        """A result that is saved."""
        with Tab(self.server.url) as tab:
            self._slice(tab)
            return "" if tab.save(self.rng.choice(("nifti", "everything"))) else "nothing was saved"

    def not_fetched(self) -> str:
        """A result that the browser never asks for."""
        with Tab(self.server.url) as tab:
            self._slice(tab)
            tab.order("nifti")
            return ""


class Soaked(NamedTuple):
    """What many requests left.

    Attributes:
        memory: (number of requests, resident bytes).
        kinds: how many of which kind there were.
        errors: what went wrong.
    """

    memory: list[tuple[int, int]]
    kinds: Counter
    errors: list[str]

    @property
    def growth_bytes(self) -> int:
        """From the first to the last measurement."""
        return self.memory[-1][1] - self.memory[0][1]

    def markdown(self) -> str:
        """The table of the soak test."""
        start = self.memory[0][1]
        lines = ["| requests | memory, MiB | since the start |", "|--:|--:|--:|"]
        for number, used in self.memory:
            lines.append(f"| {number} | {used / MIB:.0f} | {(used - start) / MIB:+.0f} |")
        of = ", ".join(f"{number} {kind}" for kind, number in self.kinds.most_common())
        return "\n".join([*lines, "", f"Of them {of}; {len(self.errors)} failed."])


def soak(server: ServerProcess, count: int, seed: int = 0, warm_up: int = 40) -> Soaked:
    """Make `count` requests of all kinds, one after another."""
    mixture = Mixture(server, random.Random(seed))
    errors: list[str] = []
    kinds: Counter = Counter()
    memory = []
    for number in range(-warm_up, count + 1):
        if number >= 0 and (number % 100 == 0 or number == count):
            time.sleep(SETTLE_S)
            memory.append((number, server.resident_bytes()))
        if number < count:
            kind, error = mixture.one()
            if number >= 0:
                kinds[kind] += 1
            if error:
                errors.append(f"{kind}: {error}")
    return Soaked(memory, kinds, errors)


def main() -> int:
    """Make the requests and print what they left in memory."""
    with tempfile.TemporaryDirectory() as folder, ServerProcess(Path(folder)) as server:
        soaked = soak(server, int(sys.argv[1]) if len(sys.argv) > 1 else 500)
        print(soaked.markdown(), *soaked.errors, sep="\n")
        return 1 if soaked.errors or server.uploads() else 0


if __name__ == "__main__":
    sys.exit(main())
