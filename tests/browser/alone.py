"""The viewer in a page without a server: its own files, and slices that are made here."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import numpy as np
from frames import wait_until_ready
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from cyclegan.web import viewer

# What Gradio gives the viewer: its element, the last answer, and a call when another one comes. The
# slider that knows the slice is the page's; here it answers at once.
PAGE = """<!doctype html><html lang="en"><head><title>Viewer</title>
<meta name="viewport" content="width=device-width"><style>{style}</style></head>
<body><main><div id="status"></div><div id="slice"><input type="range" hidden></div>
<div id="viewer">{markup}</div></main></body></html>"""
START = """([scripts, values]) => {
  const props = { value: values[values.length >> 1] };
  let changed = () => {};
  const slider = document.querySelector("#slice input");
  const give = (value) => { props.value = value; changed(); };
  Object.assign(slider, { min: 1, max: Math.max(values.length, 2), value: props.value.index + 1 });
  slider.addEventListener("input", () => give(values[Number(slider.value) - 1]));
  window.connection = { opened: () => {}, received: () => {} };
  new Function("element", "props", "watch", scripts)(
    document.querySelector("#viewer"), props, (name, act) => { changed = act; }
  );
}"""


def head(size: int, shift: float = 0.0) -> np.ndarray:
    """(size, size) float in [0, 1]: bright scalp around a brain that fades to the right."""
    rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    radius = np.hypot(rows, columns)
    brain = 0.3 + 0.1 * columns + shift
    return np.where(radius < 0.6, brain, np.where(radius < 0.7, 0.95, 0.0))


def value(index: int, slices: int, size: int, truth: bool = False, **changes: object) -> dict:
    """A slice as `panels.view` tells it, in the direction T1 to T2."""
    source = head(size, shift=0.01 * index)
    images = {
        "original": (source, "Original", "as T1"),
        "translated": (np.where(source > 0, 1 - source, 0), "Synthetic T2", "T1 → T2"),
        "reconstructed": (source**1.2, "Cycle reconstruction", "T1 → T2 → T1"),
    }
    if truth:
        images["truth"] = (np.where(source > 0, 0.9 - source, 0), "Real T2", "acquired")
        error = 0.5 + 0.05 * (source > 0)
        images["trueDifference"] = (error, "True error: synthetic − real T2", "")
    panels = {
        name: {
            "title": title,
            "sub": sub,
            "note": "",
            "alt": f"{title}, slice {index + 1} of {slices}",
            "data": base64.b64encode(np.rint(pixels * 65535).astype("<u2").tobytes()).decode(),
        }
        for name, (pixels, title, sub) in images.items()
    }
    panels["difference"] = {"title": "Cycle error", "sub": "", "alt": "cycle error"}
    told = {
        "key": 1,
        "token": "none",
        "run": 1,
        "index": index,
        "slices": slices,
        "width": size,
        "height": size,
        "aspect": 1.0,
        "spacing": [5.0, 2.0, 2.0],
        "affine": [[-2, 0, 0, 100], [0, -2, 0, 80], [0, 0, 5, -20], [0, 0, 0, 1]],
        "units": [0, 1000],
        "window": {"center": 0.4, "width": 0.8},
        "directions": ["R", "L", "A", "P"],
        "caption": f"made here · slice {index + 1} of {slices}",
        "notes": "",
        "provenance": "",
        "saw": "",
        "panels": panels,
    }
    return told | changes


def open_viewer(page: Page, slices: int = 3, size: int = 128, **options: object) -> None:
    """Show the middle one of so many slices; the others come when they are asked for."""
    page.set_content(PAGE.format(style=viewer.style(), markup=viewer.markup()))
    values = [value(index, slices, size, **options) for index in range(slices)]
    page.evaluate(START, [viewer.script(), values])
    wait_until_ready(page)
