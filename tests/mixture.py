"""What many different readers do, one thing after another, and what it leaves in memory."""

from __future__ import annotations

import io
import json
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import nibabel as nib
import numpy as np
from intact_files import intact_files
from PIL import Image
from server_process import Answer, ServerProcess, Tab

from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair

MIB = 2**20
WINDOW = json.dumps({"center": 0.5, "width": 1})
FAMILIES = ("png", "jpg", "bmp", "tif", "nii", "nii.gz", "plain.dcm", "JPEG2000Lossless.dcm", "zip")
SETTLE_S = 8.0  # until closed tabs are forgotten


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


def told(answer: Answer) -> str:
    """What was said in place of a result."""
    return answer.sentence or answer.status or "an empty answer"


class Mixture:
    """All that people do, each a function that returns what went wrong, or "".

    Args:
        server: running.
        rng: chooses.
    """

    def __init__(self, server: ServerProcess, rng: random.Random):
        self.server, self.rng = server, rng
        with Tab(server.url) as tab:
            self.config = tab.config
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

    def _tab(self) -> Tab:
        return Tab(self.server.url, self.config)

    def _slice(self, tab: Tab) -> Answer:
        family = self.rng.choice(list(self.slices))
        tab.open(f"slice.{family}", self.slices[family])
        return tab.do("Translate", self.rng.choice(("T1", "T2")), 1)

    def slice(self) -> str:
        """A slice of some size and format, there and looked at again."""
        with self._tab() as tab:
            answer = self._slice(tab)
            tab.do("look_again")
            return "" if "translated" in answer.panels else told(answer)

    def scrolled_volume(self) -> str:
        """A volume, translated and scrolled through."""
        with self._tab() as tab:
            tab.open("volume.nii", self.volume)
            tab.do("Translate", "T2", 6)
            for position in (7, 8, 9):
                answer = tab.do("slice", position, False)
            return "" if "translated" in answer.panels else told(answer)

    def bad_file(self) -> str:
        """A damaged file is refused."""
        with self._tab() as tab:
            family = self.rng.choice(list(self.slices))
            answer = tab.open(f"bad.{family}", self.slices[family][:60] + secrets.token_bytes(20))
            return "" if "alert" in answer.status else f"accepted: {told(answer)}"

    def cut_upload(self) -> str:
        """A connection that is lost in the middle of a file."""

        def half() -> Iterator[bytes]:
            yield b'--cut\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
            yield secrets.token_bytes(MIB)
            raise ConnectionAbortedError

        tab = self._tab()
        kind = {"Content-Type": "multipart/form-data; boundary=cut"}
        try:
            tab.http.post("/gradio_api/upload", content=half(), headers=kind)
        except ConnectionAbortedError:
            return ""
        finally:
            tab.close()
        return "the upload was not cut"

    def closed_tab(self) -> str:
        """A tab that closes before its answer is there."""
        tab = self._tab()
        tab.open("volume.nii", self.volume)
        tab.join("Translate", "T2", 1)
        tab.close()
        return ""

    def api(self) -> str:
        """The documented API."""
        with self._tab() as tab:
            answer = tab.do("translate", tab.upload("a.png", self.slices["128.png"]), "T2", None)
            return "" if answer.parts else told(answer)

    def _saved(self, tab: Tab) -> dict | None:
        self._slice(tab)
        answer = tab.do(self.rng.choice(("nifti", "everything")), 1, WINDOW)
        files = [v for v in answer.parts.values() if isinstance(v, dict) and "token" in v]
        return files[0] if files else None

    def fetched(self) -> str:
        """A result that is saved."""
        with self._tab() as tab:
            file = self._saved(tab)
            if file is None:
                return "nothing was saved"
            return str(tab.http.get(f"/results/{file['token']}").status_code).replace("200", "")

    def not_fetched(self) -> str:
        """A result that the browser never asks for."""
        with self._tab() as tab:
            return "" if self._saved(tab) else "nothing was saved"


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
