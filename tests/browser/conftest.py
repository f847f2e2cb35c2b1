"""One server and one browser for all browser tests, and one page on each device for most."""

from __future__ import annotations

import pytest
from files import drop
from made import Made
from pixels import DEVICES, tool
from serve import READY, Server

SIZE = {"width": 1440, "height": 900}


@pytest.fixture(scope="session")
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def url(server):
    return server.url


def new_page(chromium, url, made=None, **properties):
    """The page in a new context; `page.faults` lists what went wrong."""
    page = chromium.new_context(**{"viewport": SIZE, **properties}).new_page()
    page.set_default_timeout(60_000)  # two busy cores
    page.faults = []
    page.on("pageerror", lambda fault: page.faults.append(str(fault)))
    if made:
        page.add_init_script(f"sessionStorage.setItem('scan', '{made.state['scan']}')")
        made.take_place(page)
    page.goto(url)
    page.wait_for_selector(READY)
    return page


@pytest.fixture
def opened(chromium, url):
    """A function that opens the page in a new context, with a `Made` in place of the server's."""
    pages = []

    def open_page(made: Made | None = None, at: str = url, **properties):
        pages.append(new_page(chromium, at, made, **properties))
        return pages[-1]

    yield open_page
    for page in pages:
        page.context.close()


@pytest.fixture
def page(opened):
    """The page as it opens, with its example."""
    page = opened()
    yield page
    assert page.faults == []


@pytest.fixture(scope="module")
def devices(chromium, url):
    """A page on each device, for `show`."""
    pages = {}

    def on(device):
        if device not in pages:
            options = {"permissions": ["clipboard-read", "clipboard-write"]}
            pages[device] = new_page(chromium, url, **options, **DEVICES[device])
            pages[device].is_phone = device == "phone"
        return pages[device]

    yield on
    for page in pages.values():
        page.context.close()


@pytest.fixture
def show(devices):
    """A function that has a page show a `Made`, everything else as in a page just opened."""
    used = []

    def show_made(made: Made, device: str = "desk"):
        page = devices(device)
        used.append(page)
        page.set_viewport_size(DEVICES[device]["viewport"])
        page.keyboard.press("Escape")
        made.take_place(page)
        drop(page, {"scan": b""})
        token = made.state["scan"]
        page.wait_for_function("(token) => sessionStorage.getItem('scan') === token", arg=token)
        page.wait_for_selector(".panel.filled")
        tool(page, "layout2" if page.is_phone else "layout3")
        tool(page, "window")
        return page

    yield show_made
    assert [fault for page in used for fault in page.faults] == []


@pytest.fixture
def viewer(show):
    """A scan of three slices whose every pixel is known."""
    return show(Made())


@pytest.fixture(params=DEVICES)
def anywhere(request, show):
    """The same on each device."""
    return show(Made(), request.param)
