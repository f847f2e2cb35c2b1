"""Start the real page for tests and for the pictures, and find a browser for it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:  # not everybody who runs the tests has a browser
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
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
# A user can use every part of the page: the viewer is there, and something is painted.
READY = ".viewer[data-ready] .panel[data-shows=translated].filled"


def find_chromium() -> str | None:
    """Path of the system's Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Server:
    """A page, served by this process at a port of its own; it can be stopped and begun anew.

    Args:
        make: gives a page; by default that of the shipped weights.
    """

    def __init__(self, make: Callable[[], Any] | None = None):
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        self._make = make
        self._port = 0
        self.start()

    def start(self) -> None:
        """Begin with nothing held, at the same port as before."""
        import app

        self.page = (self._make or app.create_app)()
        listening = app.listen("127.0.0.1", self._port)
        self._port = listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        options = {"log_level": "critical", "timeout_graceful_shutdown": 1}
        self._server = uvicorn.Server(uvicorn.Config(app.serve(self.page), **options))
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.02)
            assert self._thread.is_alive()

    def stop(self) -> None:
        """Cut every connection, and forget all scans."""
        self._server.should_exit = True
        self._thread.join(20)


@contextmanager
def running(page: Any) -> Iterator[str]:
    """Run a page of `create_app` in this process; yields its address."""
    server = Server(lambda: page)
    try:
        yield f"{server.url}/"
    finally:
        server.stop()


@contextmanager
def opened_page(refuse: Callable[[str], object], **options: Any) -> Iterator[tuple[Page, Path]]:
    """The real page in a browser, for commands, and a folder for files until it is closed.

    Args:
        refuse: ends the command with a sentence.
        options: of Playwright's `browser.new_page`.
    """
    from playwright.sync_api import sync_playwright

    executable = find_chromium()
    if executable is None:
        refuse("no Chromium found (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server()
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(**options)
        page.set_default_timeout(600_000)  # a busy machine
        page.goto(server.url)
        page.wait_for_selector(READY)
        yield page, Path(folder)
        browser.close()
        server.stop()
