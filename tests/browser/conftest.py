"""One server and one browser for all browser tests."""

import threading
import time

import pytest
from frames import wait_until_ready
from serve import serve, weights_folder

from cyclegan.web.session import Session

# Most tests press Translate themselves, and look at the page before.
ASKED_FOR = "localStorage.setItem('translate-at-once', 'no')"


@pytest.fixture(scope="session")
def uploads(tmp_path_factory):
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="session")
def url(tmp_path_factory, uploads):
    with serve(weights_folder(tmp_path_factory.mktemp("weights")), uploads) as address:
        yield address


@pytest.fixture
def page(chromium, url):
    """A ready page; `page.requests` lists the addresses it asked for."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    context.add_init_script(ASKED_FOR)
    page = context.new_page()
    page.set_default_timeout(60_000)  # two busy cores
    page.requests = []
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(url)
    wait_until_ready(page)
    yield page
    context.close()


@pytest.fixture
def opened(chromium, url):
    """A function that opens the page in a new context with the given properties."""
    contexts = []

    def open_page(**properties):
        context = chromium.new_context(
            **{"viewport": {"width": 1400, "height": 900}, **properties},
        )
        contexts.append(context)
        context.add_init_script(ASKED_FOR)
        page = context.new_page()
        page.set_default_timeout(90_000)  # two busy cores
        page.goto(url)
        wait_until_ready(page)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def go_on(monkeypatch):
    """Holds each volume after two batches, until it is cancelled or this function is called.

    Else a fast network would be done before a busy browser has shown that it is at work.
    """
    may_end, done = threading.Event(), []

    def held(session, model, indices, to, translate_slices=Session.translate_slices):
        job = session.job
        while len(done) >= 2 and session.job == job and not may_end.is_set():
            time.sleep(0.02)
        translate_slices(session, model, indices, to)
        done.append(indices)

    monkeypatch.setattr(Session, "translate_slices", held)
    yield may_end.set
    may_end.set()
