"""The real page in Chromium: real files in, canvas pixels and saved bytes out."""

import base64
import io
import re
import zipfile
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pydicom
import pytest
from files import DROP_FIRST, drop, give, open_files, png, write_series, write_volume, write_zip
from PIL import Image
from pixels import away, canvas, drawn, row, says, shown, spoken, statistics, written

from cyclegan.server import limits

PANELS = ("original", "translated", "reconstructed")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A 16-bit PNG without a file extension, as many archives have it; a volume; a series; and a
    zip with both contrasts of a head."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "slice").write_bytes(png(deep=True))
    series = write_series(folder / "study" / "a", "T1", slices=6, number=1)
    write_series(folder / "study" / "b", "T2", slices=6, number=2)
    return SimpleNamespace(
        slice=folder / "slice",
        volume=write_volume(folder / "volume.nii.gz"),
        series=series,
        study=write_zip(folder / "study.zip", folder / "study"),
    )


def translated(page, to):
    """Wait until the synthetic image of a contrast is on screen."""
    title = page.locator("[data-panel=translated].filled option:checked", has_text=to)
    title.wait_for(state="attached")
    drawn(page)


def choose_direction(page, to):
    page.locator("#direction label", has_text=f"→ {to}").click()


def choose_file(page, button, data):
    """Give a button of the page a file called "real.png"."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button).click()
    chooser.value.set_files({"name": "real.png", "mimeType": "", "buffer": data})


def true_ssim(page):
    """The similarity to the real image, as the page says it once it is measured."""
    page.wait_for_selector(".line progress", state="hidden")
    text = page.locator("#menu-trust p").filter(has_text=re.compile(r"SSIM 0\.\d+ · PSNR"))
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
    assert [each for each in requests if not each.startswith((url, "data:", "blob:"))] == []
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


def test_a_drop_works_from_the_first_moment_and_anywhere(chromium, url, files):
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    data = base64.b64encode(files.slice.read_bytes()).decode()
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


def test_a_wrong_file_is_one_sentence_and_the_result_stays(page, files):
    open_files(page, files.slice)
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


def test_the_other_direction_is_offered_not_taken_and_can_be(page, files):
    open_files(page, files.slice)
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


def test_a_volume_is_translated_by_itself_and_lies_as_its_file_says(page, files):
    open_files(page, files.volume)
    assert page.locator(".scrubber output").inner_text() == "4\nof 6"
    translated(page, "T1")
    alt = canvas(page, "original").get_attribute("aria-label")
    assert alt == "Original slice, axial slice 4 of 6"
    says(page, "2.00 × 2.00 × 5.00 mm")


def test_of_a_study_series_are_seen_and_chosen_and_both_contrasts_compared(page, files):
    open_files(page, files.study)
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
    assert 0.1 < true_ssim(page) < 1
    page.locator(".bar .series").click()
    entries.nth(1).click()
    translated(page, "T1")
    assert "T2" in page.locator(".bar .series").inner_text()


def test_a_real_image_and_a_style_of_ones_own(page, files):
    open_files(page, files.slice)
    translated(page, "T2")
    page.locator("#side .toggle-button").click()
    choose_file(page, "Choose the real T2", b"no image")
    says(page, "real.png")
    moved, real = np.roll(Image.open(io.BytesIO(png("T2"))), 6, axis=1), io.BytesIO()
    Image.fromarray(moved).save(real, "PNG")
    choose_file(page, "Choose the real T2", real.getvalue())
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
    own = page.get_attribute(".viewer", "data-key")
    choose_file(page, "Take the style of a real slice", real.getvalue())
    page.wait_for_selector(f".viewer:not([data-key='{own}']) [data-panel=translated].filled")
    away(page)
    assert statistics(page, "translated") != before
    page.get_by_label("Style of the synthetic image").click()
    page.get_by_role("option").first.click()  # as the source
    page.wait_for_selector(f".viewer[data-key='{own}'] [data-panel=translated].filled")
    assert statistics(page, "translated") == before


def test_results_are_saved_as_they_are_seen(page, files, tmp_path):
    open_files(page, *files.series)
    translated(page, "T2")
    data, name = save(page, "png")
    assert re.fullmatch(r"synthetic_T2_[0-9a-f]{6}_slice4\.png", name)
    with Image.open(io.BytesIO(data)) as image:
        assert "not for diagnosis" in image.text["Caveat"]
    data, name = save(page, "nifti")
    (tmp_path / name).write_bytes(data)
    assert nib.load(tmp_path / name).shape == (128, 128, 6)
    data, name = save(page, "dicom")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        derived = [pydicom.dcmread(io.BytesIO(archive.read(n))) for n in archive.namelist()]
    sources = {pydicom.dcmread(path).SOPInstanceUID for path in files.series}
    assert {ds.SourceImageSequence[0].ReferencedSOPInstanceUID for ds in derived} == sources
    assert not re.search("Doe|MRN-4711", "".join(map(str, derived)))
    says(page, "Removed: .*Patient")
    data, name = save(page, "everything")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert any(each.endswith("README.txt") for each in archive.namelist())


def test_leaving_the_page_forgets_the_scan_and_another_file_does_at_once(opened, server, files):
    def held():
        return server.page.scans.get(page.evaluate("sessionStorage.getItem('scan')"), used=False)

    page = opened()
    open_files(page, files.slice)
    first = held()
    give(page, lambda: drop(page, {"second.png": png("T2")}))
    scan = held()
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


def test_a_whole_session_by_keyboard_alone(opened, files):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
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
    give(page, lambda: choosers[0].set_files(str(files.volume)))
    translated(page, "T1")
    spoken(page, "volume.nii.gz, slice 4 of 6")
    assert page.evaluate("document.activeElement.matches('.panel canvas')")
    page.keyboard.press("ArrowDown")  # wherever the focus is
    page.wait_for_selector(".viewer[data-index='4']")
    spoken(page, "^Slice 5 of 6")
    page.wait_for_function("document.querySelector('#direction input:checked').value === 'T1'")
    for to in ("T2", "T1"):
        key = page.get_attribute(".viewer", "data-key")
        tab_to(page, f"#direction input[value={to}]")
        page.keyboard.press("Space")
        page.wait_for_selector(f".viewer:not([data-key='{key}'])")
    translated(page, "T1")
    tab_to(page, "[data-panel=original] canvas")
    described = page.evaluate(
        "document.getElementById(document.activeElement.getAttribute('aria-describedby')).innerText"
    )
    assert all(word in described for word in ("slice", "window", "level", "zoom", "pan", "reset"))
    fresh = written(page, "original", "window")
    page.keyboard.press("w")
    assert written(page, "original", "window") != fresh
    spoken(page, f"^Window {written(page, 'original', 'window').split()[1]}, level")
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
