"""One server and one browser for all browser tests."""

import pytest
from frames import wait_until_ready
from serve import serve, weights_folder

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
