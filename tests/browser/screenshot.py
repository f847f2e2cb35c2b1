"""Take the README's picture of the real page.

python tests/browser/screenshot.py [--out FILE] [--dark] [--example NAME]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from serve import opened_page


def main() -> None:
    """Open the volume example and save what is seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("page.png"))
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--example", default="T1 volume", help="the example button to press")
    arguments = parser.parse_args()
    with opened_page(
        parser.error,
        viewport={"width": 1440, "height": 1080},
        color_scheme="dark" if arguments.dark else "light",
    ) as (page, _):
        page.get_by_role("button", name=arguments.example, exact=True).click()
        page.wait_for_selector("[data-panel=translated].filled")
        page.wait_for_selector(".viewer[data-found=all]")
        page.mouse.move(5, 5)
        page.wait_for_timeout(1500)  # Gradio's status fades
        page.screenshot(path=arguments.out)


if __name__ == "__main__":
    main()
