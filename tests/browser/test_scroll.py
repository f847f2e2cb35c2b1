"""Scrolling a translated volume shows slices that the browser holds already, and only those."""

import re

import nibabel as nib
import numpy as np
import pytest
from frames import wait_until_drawn, wait_until_ready

SLICES = 6
PIXELS = """(name) => {
  const canvas = document.querySelector(`[data-panel=${name}] canvas`);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.reduce((sum, value, i) => (sum * 31 + value * (1 + (i % 7))) % 1000003, 7);
}"""
PANELS = ("original", "translated", "reconstructed", "difference")
KEEPS_ALL = """(count) => [...Array(count).keys()].every(
  (index) => document.querySelector(".viewer").keeps(index + 1)
)"""


@pytest.fixture(scope="module")
def volume_file(tmp_path_factory):
    """Small, so that slices differ and translate fast."""
    path = tmp_path_factory.mktemp("files") / "volume.nii"
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    head = [np.hypot(rows, columns) < 0.5 + 0.05 * index for index in range(SLICES)]
    array = np.stack(head, axis=-1) * np.random.default_rng(0).uniform(200, 900, (64, 64, SLICES))
    nib.save(nib.Nifti1Image(array.astype(np.int16), np.diag([3.0, 3.0, 5.0, 1.0])), path)
    return path


def pixels(page):
    wait_until_drawn(page)
    return [page.evaluate(PIXELS, name) for name in PANELS]


def go_to(page, index):
    page.locator(".scrubber input").fill(str(index + 1))
    page.wait_for_selector(f".viewer[data-index='{index}']")


def translate_all(page, volume_file):
    page.get_by_role("button", name="Four images").click()
    page.set_input_files("#upload input[type=file]", str(volume_file))
    page.get_by_role("button", name=f"All {SLICES} slices").click()
    page.locator(f"#status [role=status]:has-text('all {SLICES} slices')").wait_for()


def fetched(page):
    """Addresses of the slices that were fetched for their translation, the last ones."""
    return [url for url in page.requests if re.search(r"/slices/[\w-]+/\d+$", url)]


def test_translated_slices_are_fetched_ahead_and_shown_without_asking(page, volume_file):
    translate_all(page, volume_file)
    page.wait_for_function(KEEPS_ALL, arg=SLICES)
    before = fetched(page)
    assert len(set(before)) == SLICES - 1  # the shown one came through Gradio
    seen = []
    for index in range(SLICES):
        go_to(page, index)
        seen.append(pixels(page))
    assert len({tuple(each) for each in seen}) == SLICES
    assert fetched(page) == before

    # Where they cannot be fetched, each comes when it is asked for, and is the same.
    blocked = page.context.new_page()
    blocked.set_default_timeout(60_000)
    blocked.route("**/slices/**", lambda route: route.abort())
    blocked.goto(page.url)
    wait_until_ready(blocked)
    translate_all(blocked, volume_file)
    for index in (4, 1):
        assert not blocked.evaluate(f"document.querySelector('.viewer').keeps({index + 1})")
        go_to(blocked, index)
        assert pixels(blocked) == seen[index]


def test_an_answer_that_comes_late_does_not_replace_the_slice_that_was_gone_back_to(
    page, volume_file
):
    page.route("**/slices/**", lambda route: route.abort())  # one slice is here, and no other
    page.set_input_files("#upload input[type=file]", str(volume_file))
    page.get_by_role("button", name="Translate", exact=True).click()
    page.wait_for_selector("[data-panel=translated].filled")
    number = page.locator(".scrubber input")
    number.fill(str(SLICES))  # has to be translated
    number.fill(str(SLICES // 2 + 1))
    page.wait_for_function(f"document.querySelector('.viewer').keeps({SLICES})")
    page.wait_for_selector(f".viewer[data-index='{SLICES // 2}'][data-found=all]")
    go_to(page, SLICES - 1)
    page.wait_for_selector(".viewer[data-found=all]")


def test_what_is_held_belongs_to_the_scan_on_screen(page, volume_file):
    translate_all(page, volume_file)
    page.wait_for_function(KEEPS_ALL, arg=SLICES)
    page.get_by_role("button", name="Simulated T1", exact=True).click()
    page.wait_for_selector(".viewer-caption:has-text('Simulated T1')")
    held = page.evaluate(
        "[...Array(6).keys()].map((index) => document.querySelector('.viewer').keeps(index + 1))"
    )
    assert held == [True] + [False] * 5  # the one slice of the example
    kept = page.evaluate("[Object.keys(localStorage), Object.keys(sessionStorage)]")
    assert kept == [["translate-at-once"], []]
    assert page.evaluate("caches.keys()") == []
