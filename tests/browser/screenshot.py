"""Take the README's pictures of the real page: as it opens, the planes of a volume, and a
region measured under the map of uncertainty.

python tests/browser/screenshot.py [--out FOLDER] [--dark] [--example NAME]
"""

import argparse
import io
from pathlib import Path

from PIL import Image
from serve import READY, opened_page

# The keys to the middle of a region, and to its edge.
START = ["Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowUp"]
ACROSS = ["Shift+ArrowRight"] * 3 + ["Shift+ArrowDown"] * 2


def save(page, path: Path) -> None:
    """What is seen, as wide as a README shows it, in few colours, rare ones among them."""
    page.mouse.move(5, 5)
    before, now = b"", page.screenshot()
    while now != before:  # slices still come in
        page.wait_for_timeout(4000)
        before, now = now, page.screenshot()
    seen = Image.open(io.BytesIO(now)).convert("RGB")
    seen.thumbnail((1100, 1100), Image.Resampling.LANCZOS)
    seen.quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        path, optimize=True
    )


def main() -> None:
    """Open an example, wait until all of it is translated, and save what is seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "docs")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--example", default="T1 volume", help="the example to open")
    arguments = parser.parse_args()
    scheme = "dark" if arguments.dark else "light"
    size = {"width": 1440, "height": 900}
    with opened_page(parser.error, viewport=size, color_scheme=scheme) as (page, _):
        page.wait_for_selector(READY)
        save(page, arguments.out / "page.png")
        page.locator(".split .more").click()
        page.locator(".examples button", has_text=arguments.example).click()
        page.wait_for_function("document.querySelector('.scan-name').textContent !== ''")
        page.wait_for_selector(".viewer[data-phase=open] progress[hidden]", state="attached")
        page.keyboard.press("p")
        save(page, arguments.out / "planes.png")
        for key in ("2", "e", "e", "c", *START, "r", *ACROSS, "r"):
            page.keyboard.press(key)
        page.keyboard.press("c")
        save(page, arguments.out / "region.png")


if __name__ == "__main__":
    main()
