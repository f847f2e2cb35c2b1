"""How fast the page opens a volume and scrolls through it, measured in the browser.

    python tests/browser/scroll.py [--slices N] [--size N]

Opens a simulated volume in the real page, translates all of it, then goes through it with the arrow
keys. A step counts from the key's own time stamp until the frame after the one in which the
translated panel's canvas holds other pixels.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from serve import opened_page

from cyclegan.simulation.phantom import draw_volume
from cyclegan.simulation.simulate import simulate_pair

# Watches the canvas of the synthetic image and resolves in the frame after its pixels changed.
WATCH = """() => {
  const canvas = document.querySelector("[data-panel=translated] canvas");
  const row = () => {
    const { width, height } = canvas;
    if (!width) return "";
    const context = canvas.getContext("2d", { willReadFrequently: true });
    return context.getImageData(0, height >> 1, width, 1).data.join();
  };
  window.paintedAfter = (arm) => new Promise((resolve) => {
    const before = row();
    const look = () => {
      if (row() === before) return requestAnimationFrame(look);
      requestAnimationFrame((now) => resolve(now));
    };
    arm();
    requestAnimationFrame(look);
  });
}"""
ARM_KEY = """() => {
  let pressed = null;
  const note = (event) => { pressed ??= event.timeStamp; };
  window.step = window.paintedAfter(() => {
    window.addEventListener("keydown", note, { capture: true, once: true });
  }).then((now) => now - pressed);
}"""


def write_volume(path: Path, slices: int, size: int) -> None:
    """A simulated T1 head of (slices, size, size) as a 16-bit NIfTI file."""
    images = [
        simulate_pair(labels, np.random.default_rng(3)).t1
        for labels in draw_volume(6, slices=slices, size=size)
    ]
    # Rows run posterior and columns left in the simulated slices; NIfTI is (x, y, z) in RAS+.
    array = np.stack([image[::-1, ::-1].T for image in images], axis=-1)
    spacing = np.diag([256 / size, 256 / size, 150 / slices, 1.0])
    nib.save(nib.Nifti1Image((array * 900).astype(np.int16), spacing), path)


def open_and_translate(page: Page, path: Path, slices: int) -> dict[str, float]:
    """Choose the file and translate all of it, by the buttons.

    Returns:
        What happened: seconds since the file was chosen, but the last since the button was pressed.
    """
    times = {}
    page.evaluate(WATCH)
    chosen = time.perf_counter()
    page.set_input_files("#upload input[type=file]", str(path))
    page.wait_for_selector("[data-panel=original].filled")
    times["original shown"] = time.perf_counter() - chosen
    button = page.get_by_role("button", name=f"All {slices} slices")
    button.wait_for()
    page.evaluate("() => { window.step = window.paintedAfter(() => {}); }")
    button.click()
    pressed = time.perf_counter()
    page.evaluate("window.step")
    painted = time.perf_counter()
    times["first translated slice painted"] = painted - chosen
    page.get_by_text(f"all {slices} slices.").wait_for()
    times["all slices ready"] = time.perf_counter() - chosen
    times["from the button to the first slice"] = painted - pressed
    return times


def scroll(page: Page, slices: int) -> list[float]:
    """Go through the volume and back by key; milliseconds of each step."""
    page.locator("[data-panel=translated] canvas").focus()
    middle = slices // 2
    ways = ("ArrowUp", middle), ("ArrowDown", slices - 1), ("ArrowUp", slices - 1)
    steps = []
    for key, count in ways:
        for _ in range(count):
            page.evaluate(ARM_KEY)
            page.keyboard.press(key)
            steps.append(page.evaluate("window.step"))
    return steps


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=48)
    parser.add_argument("--size", type=int, default=256, help="rows and columns")
    arguments = parser.parse_args()
    viewport = {"width": 1400, "height": 900}
    with opened_page(parser.error, viewport=viewport) as (page, folder):
        path = folder / "volume.nii.gz"
        write_volume(path, arguments.slices, arguments.size)
        times = open_and_translate(page, path, arguments.slices)
        steps = scroll(page, arguments.slices)
    size = arguments.size
    print(f"{arguments.slices} slices of {size} x {size}, times since the file was chosen:")
    for name, seconds in times.items():
        print(f"{name:36} {seconds:6.2f} s")
    print(
        f"{len(steps)} steps by key, until painted: p50 {statistics.median(steps):.0f} ms, "
        f"p95 {np.percentile(steps, 95):.0f} ms, max {max(steps):.0f} ms"
    )


if __name__ == "__main__":
    main()
