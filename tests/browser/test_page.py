"""The real page in Chromium: real files in, canvas pixels and saved bytes out."""

import base64
import io
import re
import zipfile

import nibabel as nib
import numpy as np
import pydicom
import pytest
from files import DROP_FIRST, drop, give, open_files, png, write_series, write_volume, write_zip
from PIL import Image
from pixels import away, canvas, drawn, press, row, says, shown, spoken, statistics, written

from cyclegan.server import limits

PANELS = ("original", "translated", "reconstructed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def slice_file(folder):
    """A 16-bit PNG without a file extension, as many archives have it."""
    path = folder / "slice"
    path.write_bytes(png(deep=True))
    return path


@pytest.fixture(scope="module")
def volume_file(folder):
    return write_volume(folder / "volume.nii.gz")


@pytest.fixture(scope="module")
def series_files(folder):
    return write_series(folder / "study" / "a", "T1", slices=6, number=1)


@pytest.fixture(scope="module")
def study(folder, series_files):
    """A zip with both contrasts of a head."""
    write_series(folder / "study" / "b", "T2", slices=6, number=2)
    return write_zip(folder / "study.zip", folder / "study")


def translated(page, to):
    """Wait until the synthetic image of a contrast is on screen."""
    page.wait_for_function(
        """(to) => [...document.querySelectorAll("[data-panel=translated].filled option:checked")]
          .some((option) => option.text === "Synthetic " + to)""",
        arg=to,
    )
    drawn(page)


def choose_direction(page, to):
    page.locator("#direction label", has_text=f"→ {to}").click()


def true_ssim(page):
    """The similarity to the real image, as the page says it once it is measured."""
    page.wait_for_selector(".line progress", state="hidden")
    text = page.locator("#menu-trust p").filter(has_text="SSIM")
    text.wait_for(state="attached")
    return float(text.text_content().split()[1])


def save(page, kind):
    """Choose an entry of the menu; the bytes and the name that arrive."""
    page.get_by_role("button", name="Save", exact=True).click()
    with page.expect_download() as download:
        page.locator(f"#menu-save [data-save={kind}]").click()
    return download.value.path().read_bytes(), download.value.suggested_filename


def test_first_sight_is_a_drawn_example_that_invites(opened, url):
    page = opened()
    complaints, requests = [], []
    page.on("console", lambda line: line.type == "error" and complaints.append(line.text))
    page.on("request", lambda request: requests.append(request.url))
    page.reload()
    page.wait_for_selector("[data-panel=reconstructed].filled")
    assert [
        address for address in requests if not address.startswith((url, "data:", "blob:"))
    ] == []
    assert complaints == []
    assert shown(page) == list(PANELS)
    assert all(statistics(page, name)[1] > 20 for name in PANELS)
    assert "simulated example" in page.locator(".scan-name").inner_text()
    assert page.get_by_text("Research demo, not for diagnosis").first.is_visible()
    for click in (
        lambda: page.get_by_role("button", name="Open a scan").click(),
        lambda: canvas(page, "translated").click(),
    ):
        with page.expect_file_chooser() as chooser:
            click()
        assert chooser.value.is_multiple()
    # The one button that shouts.
    loud = """() => [...document.querySelectorAll("button")].filter((e) => e.checkVisibility())
      .filter((e) => getComputedStyle(e).backgroundColor === "rgb(11, 99, 150)")
      .map((e) => e.innerText).filter(Boolean)"""
    assert page.evaluate(loud) == ["Open a scan"]
    give(page, lambda: drop(page, {"slice.png": png()}))
    drawn(page)
    assert page.evaluate(loud) == []  # once a scan is open, nothing shouts
    says(page, "256 × 256 pixels, size and orientation unknown")


def test_a_drop_works_from_the_first_moment_and_anywhere(chromium, url, slice_file):
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    data = base64.b64encode(slice_file.read_bytes()).decode()
    context.add_init_script(f"({DROP_FIRST})([['first.png', '{data}']])")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(url)
    translated(page, "T2")
    assert page.locator(".scan-name").inner_text() == "first.png"
    page.locator("#direction label:has(:checked)", has_text="T1 → T2").wait_for()
    give(page, lambda: drop(page, {"second.png": png("T2")}, on="#direction"))
    translated(page, "T1")
    assert page.locator(".scan-name").inner_text() == "second.png"
    context.close()


def test_a_wrong_file_is_one_sentence_and_the_result_stays(page, slice_file):
    open_files(page, slice_file)
    translated(page, "T2")
    away(page)
    before = [statistics(page, name) for name in PANELS]
    drop(page, {"report.txt": b"Findings: none."})
    says(page, "report.txt")
    assert "Traceback" not in page.inner_text("body")
    assert [statistics(page, name) for name in PANELS] == before
    # Three at once, of which the last is good.
    drop(page, {"large.jpg": b"\xff\xd8" + bytes(3_000_000)})
    drop(page, {"empty.zip": b"PK\x05\x06" + bytes(18)})
    drop(page, {"good.png": png("T2")})
    translated(page, "T1")
    page.wait_for_timeout(500)
    assert page.locator(".scan-name").inner_text() == "good.png"
    assert page.locator(".line .status.wrong").count() == 0


def test_the_other_direction_is_offered_not_taken_and_can_be(page, slice_file):
    open_files(page, slice_file)
    translated(page, "T2")
    drawn(page)
    assert page.locator(".trust:visible").get_attribute("data-grade") != "bad"
    choose_direction(page, "T1")
    page.get_by_role("button", name="Switch to T1 → T2").wait_for()
    assert page.locator("[data-panel=translated].filled").count() == 0
    assert page.get_by_role("button", name="Save", exact=True).is_disabled()
    assert page.locator("[data-panel=original].filled").count() == 1
    page.get_by_role("button", name="Translate anyway").click()
    translated(page, "T1")
    assert page.locator(".trust:visible").get_attribute("data-grade") == "bad"
    choose_direction(page, "T2")
    translated(page, "T2")


def test_a_volume_is_translated_by_itself_and_lies_as_its_file_says(page, volume_file):
    open_files(page, volume_file)
    assert page.locator(".scrubber output").inner_text() == "4\nof 6"
    translated(page, "T1")
    page.wait_for_function("!document.querySelector('.viewer progress:not([hidden])')")
    away(page)
    seen = [tuple(statistics(page, name)) for name in PANELS]
    press(page, "ArrowDown")
    away(page)
    assert all(tuple(statistics(page, n)) != s for n, s in zip(PANELS, seen, strict=True))
    # Bright scalp in front and behind; the letters tell which is which.
    alt = canvas(page, "original").get_attribute("aria-label")
    assert alt == "Original slice, axial slice 5 of 6"
    assert "2.00 × 2.00 × 5.00 mm" in page.locator(".line .status").inner_text()


def test_of_a_study_series_are_seen_and_chosen_and_both_contrasts_compared(page, study):
    open_files(page, study)
    translated(page, "T2")
    page.locator(".bar .series").click()
    entries = page.locator("#menu-series .entry")
    assert entries.count() == 2
    assert re.search("T1.*6 slices", entries.nth(0).inner_text(), re.DOTALL)
    page.wait_for_function(
        "[...document.querySelectorAll('#menu-series img')].every((e) => e.naturalWidth >= 40)"
    )
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Compare with the real T2").click()
    page.wait_for_selector("[data-panel=real].filled")
    assert shown(page) == ["original", "translated", "real"]
    press(page, "4")
    assert shown(page) == ["original", "translated", "reconstructed", "real"]
    page.locator(".panel-name select").nth(2).select_option(label="True error")
    page.wait_for_selector("[data-panel=trueError].filled")
    assert statistics(page, "trueError")[1] > 1
    page.locator(".trust:visible").click()
    page.locator(".trust-true").get_by_text(re.compile(r"SSIM 0\.\d+ · PSNR")).wait_for()
    page.keyboard.press("Escape")
    page.locator(".bar .series").click()
    entries.nth(1).click()
    translated(page, "T1")
    assert "T2" in page.locator(".bar .series").inner_text()


def test_a_real_image_and_a_style_of_ones_own(page, slice_file, folder):
    open_files(page, slice_file)
    translated(page, "T2")
    page.locator("#side .toggle-button").click()
    wrong = folder / "wrong.png"
    Image.fromarray(np.eye(100, dtype=np.uint8) * 255).save(wrong)
    button = page.get_by_role("button", name="Choose the real T2")
    with page.expect_file_chooser() as chooser:
        button.click()
    chooser.value.set_files(str(wrong))
    says(page, "wrong.png")
    real = folder / "real.png"
    moved = np.roll(Image.open(io.BytesIO(png("T2"))), 6, axis=1)
    Image.fromarray(moved).save(real)
    with page.expect_file_chooser() as chooser:
        button.click()
    chooser.value.set_files(str(real))
    page.wait_for_selector("[data-panel=real].filled")
    registered = true_ssim(page)
    switch = page.get_by_label("Register onto the scan")
    switch.click()
    says(page, "Taking the real image as it is")
    assert true_ssim(page) < registered - 0.1
    switch.click()
    says(page, "registering it onto the scan")
    assert true_ssim(page) == registered
    page.get_by_role("button", name="Remove the real image").click()
    page.wait_for_function("!document.querySelector('[data-panel=real]')")
    away(page)
    before = statistics(page, "translated")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Take the style of a real slice").click()
    key = page.get_attribute(".viewer", "data-key")
    chooser.value.set_files(str(real))
    page.wait_for_selector(f".viewer:not([data-key='{key}']) [data-panel=translated].filled")
    away(page)
    assert statistics(page, "translated") != before


def test_results_are_saved_as_they_are_seen(page, series_files, tmp_path):
    open_files(page, *series_files)
    translated(page, "T2")
    data, name = save(page, "png")
    assert re.fullmatch(r"synthetic_T2_[0-9a-f]{6}_slice4\.png", name)
    with Image.open(io.BytesIO(data)) as image:
        assert "not for diagnosis" in image.text["Caveat"]
    data, name = save(page, "nifti")
    (tmp_path / name).write_bytes(data)
    image = nib.load(tmp_path / name)
    assert image.shape == (128, 128, 6)
    assert sorted(image.header.get_zooms()) == [2, 2, 4]
    data, name = save(page, "dicom")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        derived = [pydicom.dcmread(io.BytesIO(archive.read(n))) for n in archive.namelist()]
    sources = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, series_files)}
    assert len(derived) == 6
    for ds in derived:
        source = sources[ds.SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert ds.ImagePositionPatient == source.ImagePositionPatient
        assert not re.search("Doe|MRN-4711", str(ds))
    says(page, "Removed: .*Patient")
    data, name = save(page, "everything")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert any(each.endswith("README.txt") for each in archive.namelist())


def test_leaving_the_page_forgets_the_scan_and_another_file_does_at_once(
    opened, server, slice_file
):
    page = opened()
    open_files(page, slice_file)
    first = server.page.scans.get(page.evaluate("sessionStorage.getItem('scan')"), used=False)
    give(page, lambda: drop(page, {"second.png": png("T2")}))
    scan = server.page.scans.get(page.evaluate("sessionStorage.getItem('scan')"), used=False)
    before = scan.last_seen
    page.goto("about:blank")
    for _ in range(100):
        if scan.last_seen < before:
            break
        page.wait_for_timeout(50)
    assert first.is_closed
    scan.last_seen -= limits.RELOAD_S  # the page may only have been reloaded
    server.page.scans.sweep()
    assert scan.is_closed


# By keyboard.


def tab_to(page, selector):
    """Press Tab until what `selector` finds has the keys."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("(s) => document.activeElement.matches(s)", selector):
            return
    raise AssertionError(f"no tab stop {selector}")


def test_a_whole_session_by_keyboard_alone(opened, volume_file):
    page = opened()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choosers = []  # listened for from the start: a key is quicker than Chromium's switch for it
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    page.wait_for_timeout(300)
    tab_to(page, "[data-do=skip]")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.matches('.panel canvas')")
    tab_to(page, "[data-do=open]")
    page.keyboard.press("Enter")
    for _ in range(100):
        page.wait_for_timeout(50 if choosers else 100)
        if choosers:
            break
    give(page, lambda: choosers[0].set_files(str(volume_file)))
    translated(page, "T1")
    spoken(page, "volume.nii.gz, slice 4 of 6")
    assert page.evaluate("document.activeElement.matches('.panel canvas')")
    page.keyboard.press("ArrowDown")  # wherever the focus is
    page.wait_for_selector(".viewer[data-index='4']")
    spoken(page, "^Slice 5 of 6")
    page.wait_for_function("document.querySelector('#direction input:checked').value === 'T1'")
    key = page.get_attribute(".viewer", "data-key")
    tab_to(page, "#direction input[value=T2]")
    page.keyboard.press("Space")
    page.wait_for_selector(f".viewer:not([data-key='{key}'])")
    tab_to(page, "#direction input[value=T1]")
    page.keyboard.press("Space")
    translated(page, "T1")
    tab_to(page, "[data-panel=original] canvas")
    described = page.evaluate(
        "document.getElementById(document.activeElement.getAttribute('aria-describedby')).innerText"
    )
    assert all(word in described for word in ("slice", "window", "level", "zoom", "pan", "reset"))
    fresh = written(page, "original", "window")
    page.keyboard.press("w")
    width = written(page, "original", "window").split()[1]
    assert written(page, "original", "window") != fresh
    spoken(page, f"^Window {width}, level")
    page.keyboard.press("0")
    spoken(page, "View reset")
    assert written(page, "original", "window") == fresh
    before = row(page, "original")
    page.keyboard.press("Shift+ArrowLeft")
    assert row(page, "original") != before
    tab_to(page, ".trust")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-do=copyReport]:not([disabled])")
    tab_to(page, "[data-do=copyReport]")
    page.keyboard.press("Enter")
    spoken(page, "Report copied")
    assert "Synthetic T1 from T2" in page.evaluate("navigator.clipboard.readText()")
    page.keyboard.press("Escape")
    tab_to(page, "[popovertarget=menu-save]")
    page.keyboard.press("Enter")
    tab_to(page, "[data-save=png]")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert re.fullmatch(r"synthetic_T1_\w{6}_slice5\.png", download.value.suggested_filename)
