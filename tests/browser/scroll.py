"""How fast the page opens and goes through a volume that was just opened, in the browser.

    python tests/browser/scroll.py [--slices N] [--size N]

Opens a simulated volume in the real page and goes through it with the arrow keys at once, while it
is being translated, then through the slices that are translated. A step counts from the key's own
time stamp until the frame that follows the one in which the image was drawn.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))
from files import open_files, write_volume
from serve import opened_page

# `window.step` is, after each `window.watch()`, the time from a key's own time stamp until the
# frame that follows the drawing.
PREPARE = """(name) => import(new URL("viewer/state.js", document.baseURI)).then(({ onChange }) => {
  const canvas = document.querySelector(`[data-panel=${name}] canvas`);
  const row = () => canvas.getContext("2d")
    .getImageData(0, canvas.height >> 1, canvas.width, 1).data.join();
  let [pressed, before, done] = [null, "", null];
  addEventListener("keydown", ({ timeStamp }) => (pressed ??= timeStamp), true);
  onChange(() => {
    if (!done || pressed === null || row() === before) return;
    const [finish, from] = [done, pressed];
    done = null;
    requestAnimationFrame((now) => finish(now - from));
  });
  window.watch = () => {
    [pressed, before] = [null, row()];
    window.step = new Promise((finish) => (done = finish));
  };
})"""
# First and last of the longest run of translated slices.
READY = """() => import(new URL("viewer/state.js", document.baseURI)).then(({ openScan }) =>
  openScan().ready.reduce((a, b) => (b[1] - b[0] > a[1] - a[0] ? b : a), [0, -1]))"""
STEPS = 40  # through translated slices


def step(page, key: str) -> float:
    """Press a key: ms until the image has changed."""
    page.evaluate("window.watch()")
    page.keyboard.press(key)
    return page.evaluate("window.step")


def report(steps: list[float], what: str) -> None:
    """Print a line of quantiles."""
    middle, high = np.percentile(steps, [50, 95])
    print(
        f"{len(steps)} steps by key, until the {what} is painted: p50 {middle:.0f} ms, "
        f"p95 {high:.0f} ms, max {max(steps):.0f} ms"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=160)
    parser.add_argument("--size", type=int, default=256, help="rows and columns")
    arguments = parser.parse_args()
    slices, size = arguments.slices, arguments.size
    with opened_page(parser.error, viewport={"width": 1440, "height": 900}) as (page, folder):
        path = folder / "volume.nii.gz"
        write_volume(path, slices, "T1", size)
        chosen = time.perf_counter()
        open_files(page, path)
        opened = time.perf_counter() - chosen
        page.evaluate(PREPARE, "original")
        originals, ready = [], None
        for _ in range(slices - slices // 2 - 1):
            originals.append(step(page, "ArrowDown"))
            if ready is None and time.perf_counter() - chosen > 5:
                ready = page.evaluate(READY)
        if ready is None:
            page.wait_for_timeout(1000 * max(0, 5 - time.perf_counter() + chosen))
            ready = page.evaluate(READY)
        first, last = page.evaluate(READY)
        for _ in range(slices - 1 - first):
            page.keyboard.press("ArrowUp")
        page.wait_for_selector("[data-panel=translated].filled")
        page.wait_for_timeout(1000)  # its neighbours are fetched
        page.evaluate(PREPARE, "translated")
        synthetics = [step(page, "ArrowDown") for _ in range(min(STEPS, last - first))]
    print(f"{slices} slices of {size} x {size}: original on screen after {opened:.2f} s")
    print(f"{ready[1] - ready[0] + 1} slices translated 5 s after the file was chosen")
    report(originals, "original")
    if synthetics:
        report(synthetics, "synthetic image")


if __name__ == "__main__":
    main()
