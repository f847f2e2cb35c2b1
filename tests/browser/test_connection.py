"""Nothing is lost: a connection that is cut, a page that is reloaded or copied, a new server."""

import pytest
from cuttable import Cuttable
from files import drop, give, open_files, png, write_volume
from pixels import drawn, says, shown, statistics
from serve import READY

COUNT = "document.querySelector('.scrubber output')?.innerText"


@pytest.fixture(scope="module")
def volume_file(tmp_path_factory):
    return write_volume(tmp_path_factory.mktemp("files") / "volume.nii", slices=8)


@pytest.fixture
def cuttable(url):
    with Cuttable(url) as cuttable:
        yield cuttable


def all_translated(page):
    page.wait_for_function(
        """() => import(new URL("viewer/state.js", document.baseURI)).then(({ openScan }) => {
          const { ready, slices } = openScan();
          return JSON.stringify(ready) === JSON.stringify([[0, slices - 1]]);
        })"""
    )


def test_a_cut_connection_keeps_the_page_and_its_work_goes_on(opened, cuttable, volume_file):
    page = opened(at=cuttable.url)
    open_files(page, volume_file)
    page.wait_for_selector("[data-panel=translated].filled")
    cuttable.cut()
    says(page, "^The connection is lost")
    page.evaluate("window.mark = true")
    before = statistics(page, "original")
    page.keyboard.press("ArrowDown")  # its original is here
    assert page.locator("[data-panel=original].filled").count() == 1
    assert statistics(page, "original") != before
    assert page.get_by_role("button", name="Save", exact=True).is_disabled()
    cuttable.mend()
    page.wait_for_function("!document.querySelector('.line .status.wrong')")
    all_translated(page)
    assert page.evaluate("window.mark")
    # Gradio's part follows, and works again, too.
    page.wait_for_function("document.querySelector('#direction input:checked').value === 'T1'")
    key = page.get_attribute(".viewer", "data-key")
    page.locator("#direction label", has_text="→ T2").click()
    page.wait_for_selector(f".viewer:not([data-key='{key}'])")


def test_a_browser_that_is_offline_says_so_at_once_and_returns(opened, volume_file):
    page = opened()
    open_files(page, volume_file)
    page.context.set_offline(True)
    says(page, "^The connection is lost")
    page.context.set_offline(False)
    page.wait_for_function("!document.querySelector('.line .status.wrong')")
    all_translated(page)


def test_a_reload_finds_the_scan_and_a_duplicate_gets_its_own(opened, volume_file):
    page = opened()
    open_files(page, volume_file)
    page.wait_for_selector("[data-panel=translated].filled")
    token = page.evaluate("sessionStorage.getItem('scan')")
    page.reload()
    page.wait_for_selector(READY)
    assert page.evaluate("sessionStorage.getItem('scan')") == token
    assert page.evaluate(COUNT).endswith("of 8")
    page.wait_for_function(
        "document.querySelector('#direction input:checked').value === 'T1'"  # Gradio follows
    )
    with page.context.expect_page() as popup:
        page.evaluate("window.open(location.href)")  # has a copy of the tab's storage
    popup.value.wait_for_selector(READY)
    popup.value.wait_for_function(f"sessionStorage.getItem('scan') !== '{token}'")
    popup.value.close()
    all_translated(page)


def test_after_a_restart_in_the_middle_of_a_volume_the_page_says_so_once(
    opened, server, volume_file
):
    page = opened()
    page.wait_for_function("document.querySelector('.viewer').dataset.phase === 'open'")
    open_files(page, volume_file)
    page.wait_for_selector("[data-panel=translated].filled")
    index = page.get_attribute(".viewer", "data-index")
    server.stop()
    says(page, "^The connection is lost")
    server.start()
    says(page, "^The server was restarted; open the file again")
    drawn(page)
    assert shown(page) == ["original", "translated", "reconstructed"]
    assert page.locator(".panel.filled:visible").count() == 3  # what is here can be read
    page.keyboard.press("w")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert page.get_attribute(".viewer", "data-index") == index
    assert page.get_by_role("button", name="Save", exact=True).is_disabled()
    give(page, lambda: drop(page, {"slice.png": png()}))
    page.wait_for_selector("[data-panel=translated].filled")
    assert page.locator(".line .status.wrong").count() == 0
