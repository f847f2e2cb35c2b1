"""Start the real page for tests and for the screenshot, and find a browser for it."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:  # not everybody who runs the tests has a browser
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
# Flags that keep Chromium from talking to anybody but the page.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str | None:
    """Path of the system's Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def weights_folder(folder: Path) -> Path:
    """The shipped weights, or, before there are any, untrained ones written into `folder`."""
    shipped = ROOT / "weights"
    if (shipped / "model.safetensors").is_file():
        return shipped
    from cyclegan.model.checkpoint import export_weights
    from cyclegan.model.networks import UNetGenerator

    torch.manual_seed(0)
    generators = {to: UNetGenerator() for to in ("T1", "T2")}
    return export_weights(
        folder,
        generators,
        generator="unet",
        generator_options={},
        size=256,
        version="untrained",
    )


@contextmanager
def opened_page(refuse: Callable[[str], object], **options: Any) -> Iterator[tuple[Page, Path]]:
    """The real page in a browser, for commands, and a folder for files until it is closed.

    Args:
        refuse: ends the command with a sentence.
        options: of Playwright's `browser.new_page`.
    """
    from frames import wait_until_ready
    from playwright.sync_api import sync_playwright

    executable = find_chromium()
    if executable is None:
        refuse("no Chromium found (Debian: apt install chromium)")
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(weights_folder(Path(folder, "weights")), Path(folder, "uploads")) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(**options)
        page.set_default_timeout(600_000)  # a busy machine
        page.goto(url)
        wait_until_ready(page)
        yield page, Path(folder)
        browser.close()


@contextmanager
def serve(weights: Path, uploads: Path) -> Iterator[str]:
    """Run the page in this process; yields its address.

    Args:
        weights: folder for `create_app`.
        uploads: folder that Gradio takes for uploads; nothing should be written there.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import app

    # Gradio asks for it at every upload: a server that was there before gets its own back.
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    try:
        with running(app.create_app(str(weights))) as url:
            yield url
    finally:
        os.environ.pop("GRADIO_TEMP_DIR")
        if before is not None:
            os.environ["GRADIO_TEMP_DIR"] = before


@contextmanager
def running(page: Any) -> Iterator[str]:
    """Run a page of `create_app` in this process; yields its address."""
    import uvicorn

    import app

    listening = app.listen("127.0.0.1", 0)
    options = {"log_level": "warning", "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(app.serve(page), **options))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
            assert thread.is_alive()
        yield "http://{}:{}/".format(*listening.getsockname())
    finally:
        server.should_exit = True
        thread.join(10)
