"""Take the README's picture of the real page.

python tests/browser/screenshot.py [--out FILE] [--dark] [--example NAME]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from serve import CHROMIUM_ARGUMENTS, find_chromium, serve, weights_folder


def main() -> None:
    """Open the volume example and save what is seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("page.png"))
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--example", default="T1 volume", help="the example button to press")
    arguments = parser.parse_args()
    executable = find_chromium()
    if executable is None:
        parser.error("no Chromium found (Debian: apt install chromium)")
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(weights_folder(Path(folder, "weights")), Path(folder, "uploads")) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(
            viewport={"width": 1440, "height": 1080},
            color_scheme="dark" if arguments.dark else "light",
        )
        page.set_default_timeout(120_000)  # drawing the volume takes a while on a busy machine
        page.goto(url)
        page.wait_for_selector(".viewer[data-ready]")
        page.get_by_role("button", name=arguments.example, exact=True).click()
        page.wait_for_selector("[data-panel=translated].filled")
        page.wait_for_selector(".viewer[data-found=all]")
        page.mouse.move(5, 5)
        page.wait_for_timeout(1500)  # Gradio's status fades
        page.screenshot(path=arguments.out)
        browser.close()


if __name__ == "__main__":
    main()
