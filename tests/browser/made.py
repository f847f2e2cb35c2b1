"""A scan that is made here, in place of the server's: every pixel is known, nothing is slow."""

from __future__ import annotations

import itertools
import json
import math
import re
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from playwright.sync_api import Page, Route

_tokens = itertools.count()
FITS = {"label": "T1", "word": "fits", "sentence": "Looks like T1.", "switch_to": None}


def head(size: int, shift: float = 0.0) -> np.ndarray:
    """(size, size) float in [0, 1]: bright scalp around a brain that fades to the right."""
    rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    radius = np.hypot(rows, columns)
    brain = 0.3 + 0.1 * columns + shift
    return np.where(radius < 0.6, brain, np.where(radius < 0.7, 0.95, 0.0))


SERIES = [
    {"number": n, "label": f"AX T{n + 1}", "contrast": f"T{n + 1}", "plane": "axial", "slices": 24}
    for n in range(2)
]
# A real image, as the server's state of a scan has it.
REAL = {
    "label": "real.png",
    "title": "real T2",
    "contrast": "T2",
    "registered": True,
    "notes": [],
    "warning": None,
}


class Made:
    """What the routes of `cyclegan/server` answer, for one scan.

    Args:
        slices, size: of the scan.
        changes: of the state.

    Attributes:
        state: as the server would answer it.
        asked: paths of the images that were fetched.
        choices: what was sent as choices.
    """

    def __init__(self, slices: int = 3, size: int = 128, **changes: Any):
        self.state = {
            "server": "made",
            "scan": f"made{next(_tokens)}",
            "version": 1,
            "name": "made here",
            "drawn": False,
            "series": [{"number": 0, "label": "made here", "slices": slices}],
            "chosen": 0,
            "slices": slices,
            "width": size,
            "height": size,
            "aspect": 1.0,
            "spacing": [5.0, 2.0, 2.0],
            "affine": [[-2, 0, 0, 100], [0, -2, 0, 80], [0, 0, 5, -20], [0, 0, 0, 1]],
            "units": [0, 1000],
            "window": {"center": 0.4, "width": 0.8},
            "directions": ["R", "L", "A", "P"],
            "box": [math.floor(0.15 * size)] * 2 + [math.ceil(0.85 * size)] * 2,
            "dicom": False,
            "notes": [],
            "to": "T2",
            "styles": [],
            "style": "",
            "key": "0",
            "ready": [[0, slices - 1]],
            "translating": False,
            "place": None,
            "seconds": None,
            "halted": None,
            "check": FITS,
            "companion": None,
            "real": None,
            "save": None,
            "message": None,
        } | changes
        self.asked: list[str] = []
        self.choices: list[dict] = []
        self._waiting: list[Route] = []
        self._delayed: list[Route] = []

    def image(self, name: str, index: int) -> np.ndarray:
        """(size, size) float in [0, 1]."""
        source = head(self.state["width"], shift=0.01 * index)
        return {
            "original": source,
            "translated": np.where(source > 0, 1 - source, 0),
            "reconstructed": source**1.2,
            "real": np.where(source > 0, 0.9 - source, 0),
            # Half of the head is less sure than a lesion's contrast.
            "uncertainty": np.where(source > 0, np.where(source < 0.3, 0.2, 0.05), 0),
        }[name]

    def findings(self, index: int) -> dict[str, Any]:
        """Of slice `index`."""
        number = {"name": "nmi", "title": "Anatomy match", "value": 1.2 + index / 100}
        words = {"expected": [1.1, 1.3], "text": f"{number['value']:.3f}", "worth": "", "rank": 0.6}
        return {
            "numbers": [number | words | {"unusual": False, "short": f"{number['value']:.2f}"}],
            "fits": {"word": "fits", "sentence": "Looks like T1."},
            "interval_words": "Nine of ten true values lay within it.",
            "lesion_contrast": 0.1,
            "map": {"words": "", "meaning": "", "rank": 0.5},
            "true_error": {"ssim": 0.9, "psnr": 21.5, "mae": 0.1} if self.state["real"] else None,
            "true_warning": "",
            "report": f"Synthetic T2 from T1: made here, slice {index + 1}",
        }

    def take_place(self, page: Page) -> None:
        """Answer for the server whatever `page` asks of scans, as a scan from before a reload."""
        page.unroute_all(behavior="ignoreErrors")
        page.route(re.compile("/(scans|examples)(/|$|[?])"), self._answer)

    def change(self, **changes: Any) -> None:
        """The state is another from now on, and the page is told."""
        self.state |= changes | {"version": self.state["version"] + 1}
        waiting, self._waiting = self._waiting, []
        for route in waiting:
            self._json(route, self.state)

    def finish(self, **changes: Any) -> None:
        """Answer what takes the server long, a real image, by a state with `changes`."""
        self.state |= changes | {"version": self.state["version"] + 1}
        self._json(self._delayed.pop(), self.state)

    def _json(self, route: Route, answer: dict, status: int = 200) -> None:
        route.fulfill(status=status, body=json.dumps(answer), content_type="application/json")

    def _answer(self, route: Route) -> None:
        address = urlsplit(route.request.url)
        what = address.path.split("/")[1:]
        if what[:1] == ["examples"] or len(what) == 1:
            return self._json(route, self.state, 201)
        if len(what) == 2:
            after = int(re.sub(r".*after=", "", address.query) or -1)
            if after < self.state["version"]:
                return self._json(route, self.state)
            self._waiting.append(route)  # until there is news
            return None
        kind, rest = what[2], what[3:]
        if kind == "images":
            self.asked.append("/".join(rest))
            _, name, index = rest
            values = np.rint(self.image(name, int(index)) * 65535).astype("<u2")
            return route.fulfill(body=values.tobytes(), content_type="application/octet-stream")
        if kind == "findings":
            return self._json(route, self.findings(int(rest[1])))
        if kind == "choices":
            self.choices.append(route.request.post_data_json)
        if kind in ("real", "companion"):
            return self._delayed.append(route)
        return self._json(route, self.state)
