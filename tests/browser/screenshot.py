"""Take the README's pictures of the real page: as it opens, and swiped.

python tests/browser/screenshot.py [--out FOLDER] [--dark] [--example NAME]
"""

import argparse
import io
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from serve import opened_page


def save(page, path: Path) -> None:
    """What is seen, in 256 colours, rare ones among them: half the bytes."""
    page.mouse.move(5, 5)
    page.wait_for_timeout(1500)  # Gradio's status fades
    seen = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    seen.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        path, optimize=True
    )


def main() -> None:
    """Open the volume example and save what is seen, side by side and with a line between."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--example", default="T1 volume", help="the example button to press")
    arguments = parser.parse_args()
    with opened_page(
        parser.error,
        viewport={"width": 1440, "height": 900},
        color_scheme="dark" if arguments.dark else "light",
    ) as (page, _):
        page.get_by_role("button", name=arguments.example, exact=True).click()
        page.wait_for_selector("[data-panel=translated].filled")
        page.wait_for_selector(".viewer[data-found=all]")
        save(page, arguments.out / "page.png")
        page.get_by_role("button", name="Swipe").click()
        save(page, arguments.out / "compare.png")


if __name__ == "__main__":
    main()
