"""One server and one browser for all browser tests."""

from __future__ import annotations

import pytest
from made import Made
from serve import READY, Server

SIZE = {"width": 1440, "height": 900}


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server.of_weights(tmp_path_factory.mktemp("weights"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def url(server):
    return server.url


@pytest.fixture
def opened(chromium, url):
    """A function that opens the page in a new context; `page.faults` lists what went wrong."""
    contexts = []

    def open_page(made: Made | None = None, at: str = url, **properties):
        context = chromium.new_context(**{"viewport": SIZE, **properties})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # two busy cores
        page.faults = []
        page.on("pageerror", lambda fault: page.faults.append(str(fault)))
        if made:
            made.take_place(page)
        page.goto(at)
        page.wait_for_selector(READY)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(opened):
    """The page as it opens, with its example."""
    page = opened()
    yield page
    assert page.faults == []


@pytest.fixture
def made():
    """A scan whose every pixel is known."""
    return Made()


@pytest.fixture
def viewer(opened, made):
    """The page with `made` in place of what the server holds."""
    page = opened(made)
    yield page
    assert page.faults == []
