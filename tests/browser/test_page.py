"""The real page in Chromium: real files in, canvas pixels out."""

import gc
import io
import json
import re
import time
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import skimage.data
from frames import wait_until_drawn, wait_until_ready
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from scipy import ndimage

from cyclegan.simulation.phantom import draw_slice, draw_volume
from cyclegan.simulation.simulate import simulate_pair
from cyclegan.web.session import Session

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
CALIBRATION = json.loads((ROOT / "weights" / "trust.json").read_text("utf-8"))
# Grey values that are drawn: mean and spread of a panel's red channel.
STATISTICS = """(name) => {
  const canvas = document.querySelector(`[data-panel=${name}] canvas`);
  const { width, height } = canvas;
  const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  const red = Array.from({ length: width * height }, (_, i) => data[4 * i]);
  const mean = red.reduce((a, b) => a + b, 0) / red.length;
  const spread = Math.sqrt(red.reduce((a, b) => a + (b - mean) ** 2, 0) / red.length);
  return [mean, spread];
}"""
PRESS = """(name) =>
  [...document.querySelectorAll("button")].find((each) => each.innerText === name)?.click()"""
PANELS = ("original", "translated", "reconstructed", "difference")


def simulated(contrast, labels, seed=3):
    pair = simulate_pair(labels, np.random.default_rng(seed))
    return pair.t1 if contrast == "T1" else pair.t2


@pytest.fixture(scope="module")
def slice_file(tmp_path_factory):
    """A 16-bit PNG without a file extension, as many archives have it."""
    path = tmp_path_factory.mktemp("files") / "slice"
    pixels = (simulated("T1", draw_slice(5, level=0.5)) * 30_000).astype(np.uint16)
    Image.fromarray(pixels).save(path, format="PNG")
    return path


@pytest.fixture(scope="module")
def volume_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "volume.nii.gz"
    slices = [simulated("T2", labels) for labels in draw_volume(6, slices=5, size=128)]
    # Rows run posterior and columns left in the simulated slices; NIfTI is (x, y, z) in RAS+.
    array = np.stack([s[::-1, ::-1].T for s in slices], axis=-1)
    nib.save(nib.Nifti1Image((array * 900).astype(np.int16), np.diag([2.0, 2.0, 5.0, 1.0])), path)
    return path


def write_series(folder, contrast, slices, person):
    """An axial MR series as scanners send it: names in no order, a window, a patient."""
    folder.mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    levels = draw_volume(person, slices=slices, size=128)
    for index, labels in enumerate(levels):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Doe^Jane", "MRN-4711", "19700101"
        ds.Modality, ds.SeriesDescription, ds.SeriesNumber = "MR", f"{contrast} TSE", person
        ds.ImageType, ds.InstanceNumber = ["ORIGINAL", "PRIMARY", "M"], index + 1
        ds.Rows = ds.Columns = 128
        ds.PixelSpacing, ds.SliceThickness = [2, 2], 4
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient = [-127, -127, 4 * index]
        ds.WindowCenter, ds.WindowWidth = 400, 1000
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.PixelData = (simulated(contrast, labels) * 900).astype("<u2").tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.save_as(folder / f"{(index * 7) % 11:02}", enforce_file_format=True)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def series_files(tmp_path_factory):
    return write_series(tmp_path_factory.mktemp("series") / "t1", "T1", slices=6, person=7)


@pytest.fixture(scope="module")
def two_series(tmp_path_factory, series_files):
    """A zip with a longer and a shorter series, in one folder each."""
    folder = tmp_path_factory.mktemp("zip")
    path = folder / "study.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in series_files:
            archive.write(file, f"long/{file.name}")
        for file in write_series(folder / "t2", "T2", slices=3, person=8):
            archive.write(file, f"short/{file.name}")
    return path


def statistics(page, name):
    wait_until_drawn(page)
    return page.evaluate(STATISTICS, name)


def key(page):
    return page.get_attribute(".viewer", "data-key")


def wait_until_translated(page, to):
    page.wait_for_function(
        f"document.querySelector('[data-panel=translated] h3').textContent === 'Synthetic {to}'"
    )


def show_four(page):
    """Four images, of one size whatever the lines above them say."""
    page.add_style_tag(content=".lightbox-body { flex: none !important; height: 500px !important }")
    page.get_by_role("button", name="Four images").click()


def open_file(page, *paths):
    before = key(page)
    page.set_input_files("#upload input[type=file]", [str(path) for path in paths])
    wait_until_opened(page, before)


def wait_until_opened(page, before):
    page.wait_for_function(
        "(before) => (document.querySelector('.viewer').dataset.key ?? null) !== before",
        arg=before,
    )


def save(page, button):
    """Press a download button; the bytes and the name that arrive."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    return download.value.path().read_bytes(), download.value.suggested_filename


def wait_for_status(page, text):
    page.wait_for_function(
        "(text) => document.querySelector('#status').innerText.includes(text)", arg=text
    )


def translate(page, to):
    page.get_by_label("T1 → T2" if to == "T2" else "T2 → T1", exact=True).check()
    page.get_by_role("button", name="Translate", exact=True).click()
    wait_until_translated(page, to)


def test_the_browser_is_held_to_this_origin_and_nothing_of_the_page_breaks(chromium, url):
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    page, complaints = context.new_page(), []
    page.on("console", lambda line: complaints.append(line.text))
    answer = page.goto(url)
    policy = answer.headers["content-security-policy"]
    assert "connect-src 'self'" in policy
    assert "https://huggingface.co" in policy.split("frame-ancestors")[1]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    wait_until_ready(page)
    page.get_by_role("button", name="Simulated T1", exact=True).click()
    page.wait_for_selector("[data-panel=translated].filled", timeout=60_000)
    assert [text for text in complaints if "Content Security Policy" in text] == []
    sent = page.evaluate("fetch('https://example.org').then(() => 'sent', () => 'refused')")
    assert sent == "refused"
    assert any("Content Security Policy" in text for text in complaints)  # that was the reason
    context.close()


def test_a_slice_is_translated_both_ways(page, url, uploads, slice_file):
    show_four(page)
    open_file(page, slice_file)
    assert "orientation unknown" in page.inner_text(".viewer-caption")
    assert page.inner_text("[data-panel=original] .edge-left") == ""
    assert statistics(page, "translated")[1] == 0  # nothing is shown before it is there

    seen = {}
    for to in ("T2", "T1"):
        translate(page, to)
        seen[to] = {name: statistics(page, name) for name in PANELS}
        for name in PANELS:
            assert seen[to][name][1] > 3, f"{name} is blank"
        assert len({tuple(v) for v in seen[to].values()}) == 4, "two panels show the same"
    assert seen["T2"]["translated"] != seen["T1"]["translated"]
    # The same image, but for the contrast in its label.
    assert seen["T2"]["original"] == pytest.approx(seen["T1"]["original"], abs=0.5)

    assert "not for diagnosis" in page.inner_text(".viewer-notice")
    assert "not translation error" in page.inner_text("[data-panel=difference] figcaption")
    assert "sha256" in page.inner_text(".viewer-provenance")
    outside = [r for r in page.requests if not r.startswith((url.rstrip("/"), "blob:", "data:"))]
    assert outside == []
    assert [path for path in uploads.rglob("*") if path.is_file()] == []


def say(page, words):
    """Wait until the notice says `words`; the notice."""
    page.wait_for_function(
        "(words) => document.querySelector('#notice').innerText.includes(words)", arg=words
    )
    return page.locator("#notice p")


def png(folder, name, pixels):
    path = folder / name
    Image.fromarray(np.asarray(pixels)).save(path)
    return path


def as_bytes(image):
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def test_the_wrong_direction_is_noticed_and_switched_with_one_click(page, slice_file):
    open_file(page, slice_file)
    assert page.get_by_label("T1 → T2", exact=True).is_checked()
    assert say(page, "Looks like T1").get_attribute("role") == "status"
    assert not page.locator("#switch").is_visible()
    translate(page, "T1")  # it warns and does not block
    assert say(page, "The chosen direction is T2 → T1").get_attribute("role") == "alert"
    page.get_by_role("button", name="Switch to T1 → T2").click()
    wait_until_translated(page, "T2")
    assert page.get_by_label("T1 → T2", exact=True).is_checked()
    assert page.locator("#notice p").get_attribute("role") == "status"
    assert not page.locator("#switch").is_visible()


@pytest.mark.parametrize("kind", ["FLAIR", "photograph", "rotated head"])
def test_what_the_model_does_not_know_is_noticed(page, tmp_path, kind):
    if kind == "photograph":
        pixels = skimage.data.camera()
    elif kind == "rotated head":
        pixels = as_bytes(ndimage.rotate(simulated("T2", draw_slice(5, level=0.5)), 90, order=1))
    else:
        found = sorted((SHARED / "val_other" / "FLAIR").glob("*.png"))
        if not found:
            pytest.skip("the FLAIR slices of ../shared/data are not here")
        with Image.open(found[len(found) // 2]) as image:
            pixels = np.asarray(image.convert("L"))
    open_file(page, png(tmp_path, "upload.png", pixels))
    assert say(page, "means nothing").get_attribute("role") == "alert"
    assert not page.locator("#switch").is_visible()
    translate(page, "T2")  # it warns and does not block
    assert page.locator("#notice p").get_attribute("role") == "alert"


def test_a_blank_image_is_refused_in_one_sentence(page, tmp_path):
    blank = png(tmp_path, "blank.png", np.full((128, 128), 90, np.uint8))
    page.set_input_files("#upload input[type=file]", str(blank))
    alert = page.wait_for_selector("#status [role=alert]")
    assert "blank.png" in alert.inner_text()


def test_numbers_follow_the_translation_and_the_report_is_copied(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Simulated T1").click()
    wait_until_translated(page, "T2")
    page.wait_for_selector(".viewer[data-found=all]")
    titles = page.locator(".viewer-findings li strong").all_inner_texts()
    assert titles[:4] == ["Input check", "Cycle error", "Cycle robustness", "Structure agreement"]
    # What is usual in people is nothing to measure a drawn head by.
    assert "drawn" in page.inner_text(".viewer-findings li[data-name=structure]")
    assert page.locator(".viewer-findings .gauge").count() == 0

    page.get_by_role("button", name="Copy report").click()
    page.get_by_role("button", name="Copied").wait_for()
    report = page.evaluate("navigator.clipboard.readText()")
    for words in ("Synthetic T2 from T1", "Cycle robustness: ", "Weights-SHA256", "Looks"):
        assert words in report
    page.get_by_text("What this shows, and what it does not").click()
    meaning = page.inner_text(".viewer-meaning")
    assert "not cleared or approved" in meaning
    assert "T1 and T2 of the same slices of" in meaning


def test_a_map_is_offered_where_one_is_worth_it_and_else_the_page_says_why(page):
    known = {}
    for example, to in (("Simulated T1", "T2"), ("Simulated T2", "T1")):
        page.get_by_role("button", name=example).click()
        wait_until_translated(page, to)
        page.wait_for_selector(".viewer[data-found=all]")
        known[to] = CALIBRATION["directions"][to]["map"]
        button = page.get_by_role("button", name="Uncertainty", exact=True)
        if known[to] is None:
            assert not button.is_visible()
            assert "No uncertainty map" in page.text_content(".map-words")
            before = statistics(page, "translated")
            page.locator("[data-panel=translated] canvas").press("h")
            page.get_by_text(re.compile(r"^\d+ % of the head hatched$")).wait_for(state="attached")
            assert statistics(page, "translated") != before
            page.locator("[data-panel=translated] canvas").press("h")
            page.locator("[data-panel=translated] canvas").hover()
            value = page.inner_text("[data-panel=translated] .corner-value")
            assert re.fullmatch(r"0\.\d\d ± 0\.[0-4]\d \(9 in 10\)", value)
            assert "not translation error" in page.text_content(".map-words")
            continue
        page.get_by_role("button", name="Cycle error", exact=True).click()
        cycle = statistics(page, "difference")
        button.click()
        seen = statistics(page, "difference")
        assert seen != cycle
        assert seen[1] > 1
        worth = f"{CALIBRATION['directions'][to]['maps'][known[to]]:.2f}"
        assert worth in page.inner_text("[data-panel=difference] .panel-sub")
        page.get_by_role("button", name="Cycle error", exact=True).click()
        assert statistics(page, "difference") == cycle


def test_numbers_belong_to_the_slice_on_screen(page, volume_file):
    open_file(page, volume_file)
    translate(page, "T1")
    page.wait_for_selector(".viewer[data-found=all]")
    first = page.inner_text(".viewer-findings ul")
    page.locator("[data-panel=original] canvas").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_selector(".viewer[data-index='3'][data-found=all]")
    assert page.inner_text(".viewer-findings ul") != first
    page.keyboard.press("ArrowUp")
    page.wait_for_selector(".viewer[data-index='2'][data-found=all]")
    assert page.inner_text(".viewer-findings ul") == first


def test_the_true_error_appears_when_the_truth_is_dropped_in(page, uploads, slice_file, tmp_path):
    open_file(page, slice_file)
    translate(page, "T2")
    page.wait_for_selector(".viewer[data-found=all]")
    assert not page.locator(".viewer-truth").is_visible()
    page.get_by_text("I have the real T2").click()

    wrong = png(tmp_path, "wrong.png", np.eye(100, dtype=np.uint8) * 255)
    page.set_input_files("#truth-upload input[type=file]", str(wrong))
    page.get_by_text("wrong.png: its matrix is 1 × 100 × 100").wait_for()
    assert not page.locator(".viewer-truth").is_visible()

    real = png(tmp_path, "real.png", as_bytes(simulated("T2", draw_slice(5, level=0.5))))
    page.set_input_files("#truth-upload input[type=file]", str(real))
    page.wait_for_selector("[data-panel=truth].filled")
    page.wait_for_selector(".truth-numbers dd")
    values = page.locator(".truth-numbers dd").all_inner_texts()
    assert 0 < float(values[0]) < 1
    assert values[1].endswith(" dB")
    names = [each.get_attribute("data-panel") for each in page.locator(".panel:visible").all()]
    assert sorted(names) == ["translated", "truth"]  # side by side by themselves
    assert statistics(page, "truth")[1] > 3
    page.get_by_role("button", name="True error").click()
    assert statistics(page, "trueDifference")[1] > 1

    page.get_by_text("Make it look like").click()
    page.set_input_files("#look-upload input[type=file]", str(real))
    page.get_by_text("has the look “Like a slice of mine”").wait_for()
    assert page.get_by_role("combobox", name="Look").input_value() == "Like a slice of mine"
    page.wait_for_function("!document.querySelector('#connection').innerText")
    assert "arriving" not in page.get_attribute("body", "class")
    assert "True error" in page.inner_text("[data-panel=trueDifference] h3")
    assert [path for path in uploads.rglob("*") if path.is_file()] == []
    translate(page, "T1")
    assert not page.locator(".viewer-truth").is_visible()  # it is the truth of T2
    translate(page, "T2")
    page.get_by_role("button", name="Remove the real image").click()
    page.locator(".viewer-truth").wait_for(state="hidden")


def test_dragging_changes_the_window_and_reset_takes_it_back(page, slice_file):
    show_four(page)
    open_file(page, slice_file)
    translate(page, "T2")
    opening = page.inner_text("[data-panel=original] .corner-window")
    fresh = {name: statistics(page, name) for name in PANELS}
    canvas = page.locator("[data-panel=original] canvas")
    box = canvas.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag(dx, dy):
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + dx, middle[1] + dy, steps=4)
        page.mouse.up()
        page.mouse.move(5, 5)  # off the panels: no cross-hair in the pixels

    drag(-box["width"] / 4, box["height"] / 5)
    changed = {name: statistics(page, name) for name in PANELS}
    assert changed["original"] != fresh["original"]
    assert changed["reconstructed"] != fresh["reconstructed"]  # one window for both
    assert changed["translated"] == fresh["translated"]
    assert page.inner_text("[data-panel=original] .corner-window") != opening

    page.get_by_role("button", name="Reset", exact=True).click()
    page.mouse.move(5, 5)
    assert {name: statistics(page, name) for name in PANELS} == fresh

    page.get_by_role("button", name="Zoom in").click()
    zoomed = {name: statistics(page, name) for name in PANELS}
    assert all(zoomed[name] != fresh[name] for name in PANELS)  # linked
    page.get_by_role("button", name="Pan", exact=True).click()
    drag(40, 25)
    assert all(statistics(page, name) != zoomed[name] for name in PANELS)
    assert page.inner_text("[data-panel=original] .corner-window") == opening

    canvas.focus()
    page.keyboard.press("0")
    assert {name: statistics(page, name) for name in PANELS} == fresh
    page.keyboard.press("w")
    assert statistics(page, "original") != fresh["original"]


def test_a_volume_scrolls_by_wheel_keys_and_scrubber(page, volume_file):
    show_four(page)
    open_file(page, volume_file)
    assert page.get_attribute(".viewer", "data-index") == "2"
    edges = [
        page.inner_text(f"[data-panel=original] .edge-{side}")
        for side in ("left", "right", "top", "bottom")
    ]
    assert edges == ["R", "L", "A", "P"]
    translate(page, "T1")
    page.wait_for_selector(".viewer[data-found=all]")  # numbers that come move the images
    before = {name: statistics(page, name) for name in PANELS}

    page.locator("[data-panel=translated] canvas").hover()
    page.mouse.wheel(0, 100)
    page.wait_for_selector(".viewer[data-index='3']")
    page.mouse.move(5, 5)
    after = {name: statistics(page, name) for name in PANELS}
    assert all(after[name] != before[name] for name in PANELS)
    assert "slice 4 of 5" in page.inner_text(".viewer-caption")

    page.locator("[data-panel=original] canvas").focus()
    page.keyboard.press("ArrowUp")
    page.wait_for_selector(".viewer[data-index='2'][data-found=all]")
    assert {name: statistics(page, name) for name in PANELS} == before

    page.locator(".scrubber input").focus()
    page.keyboard.press("Home")
    page.wait_for_selector(".viewer[data-index='0']")


def test_a_wrong_file_is_one_sentence_and_the_result_stays(page, uploads, tmp_path):
    show_four(page)
    page.get_by_role("button", name="Simulated T1").click()
    wait_until_translated(page, "T2")
    before = {name: statistics(page, name) for name in PANELS}
    wrong = tmp_path / "report.txt"
    wrong.write_text("Findings: none.")
    page.set_input_files("#upload input[type=file]", str(wrong))
    alert = page.wait_for_selector("#status [role=alert]")
    assert "report.txt" in alert.inner_text()
    assert "Traceback" not in page.inner_text("body")
    assert {name: statistics(page, name) for name in PANELS} == before
    assert [path for path in uploads.rglob("*") if path.is_file()] == []
    page.get_by_role("button", name="Translate", exact=True).click()  # still works
    page.wait_for_selector("#status [role=status]:has-text('T1 → T2')")


@pytest.mark.parametrize("name", ["Simulated T1", "Simulated T2", "T1 volume", "T2 with lesion"])
def test_examples_take_one_click(page, name):
    show_four(page)
    page.get_by_role("button", name=name, exact=True).click()
    wait_until_translated(page, "T1" if "T2" in name else "T2")
    assert all(statistics(page, panel)[1] > 3 for panel in PANELS)


def test_results_are_saved_without_a_file_on_the_server(page, uploads, tmp_path):
    page.get_by_role("button", name="T2 with lesion").click()
    wait_until_translated(page, "T1")
    data, name = save(page, "PNG of this slice")
    assert re.fullmatch(r"synthetic_T1_[0-9a-f]{6}_slice1\.png", name)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size[1] > image.size[0]
        assert "not for diagnosis" in image.text["Caveat"]
    data, name = save(page, "NIfTI")
    assert re.fullmatch(r"synthetic_T1_[0-9a-f]{6}\.nii\.gz", name)
    (tmp_path / name).write_bytes(data)
    assert nib.load(tmp_path / name).get_fdata().max() > 0
    assert not page.get_by_role("button", name="DICOM", exact=True).is_visible()
    assert page.get_by_role("button", name="All 1 slices").count() == 0
    assert [path for path in uploads.rglob("*") if path.is_file()] == []


def test_a_series_of_files_is_one_volume_and_comes_back_as_dicom(
    page, uploads, series_files, tmp_path
):
    open_file(page, *series_files)
    assert "slice 4 of 6" in page.inner_text(".viewer-caption")
    assert page.inner_text("[data-panel=original] .edge-left") == "R"
    assert not page.locator("#series").is_visible()
    opening = page.inner_text("[data-panel=original] .corner-window")
    assert "file" not in opening  # a window inside the head
    page.locator("[data-panel=original] canvas").focus()
    page.keyboard.press("w")
    wait_until_drawn(page)
    assert page.inner_text("[data-panel=original] .corner-window") != opening
    page.get_by_label("Window", exact=True).select_option("File's own")
    wait_until_drawn(page)
    assert page.inner_text("[data-panel=original] .corner-window") == "W 1000  L 400  file's own"
    page.locator("[data-panel=original] canvas").focus()
    page.keyboard.press("w")
    wait_until_drawn(page)
    assert "file" not in page.inner_text("[data-panel=original] .corner-window")
    page.get_by_role("button", name="Reset", exact=True).click()
    wait_until_drawn(page)
    assert page.inner_text("[data-panel=original] .corner-window") == opening

    page.get_by_label("T1 → T2", exact=True).check()
    page.get_by_role("button", name="All 6 slices").click()
    wait_for_status(page, "T1 → T2, all 6 slices")
    assert page.inner_text("[data-panel=translated] .corner-window") != "W 1.00  L 0.50"

    data, name = save(page, "DICOM")
    assert re.fullmatch(r"synthetic_T2_[0-9a-f]{6}_dicom\.zip", name)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        derived = [pydicom.dcmread(io.BytesIO(archive.read(n))) for n in archive.namelist()]
    sources = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, series_files)}
    assert len(derived) == 6
    for ds in derived:
        source = sources[ds.SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert ds.ImagePositionPatient == source.ImagePositionPatient
        assert ds.pixel_array.shape == (128, 128)
        assert "Doe" not in str(ds)
        assert "MRN-4711" not in str(ds)
    page.wait_for_function("document.querySelector('#saved').innerText.includes('Patient')")

    data, name = save(page, "NIfTI")
    (tmp_path / name).write_bytes(data)
    image = nib.load(tmp_path / name)
    assert image.shape == (128, 128, 6)
    assert sorted(image.header.get_zooms()) == [2, 2, 4]

    data, name = save(page, "Everything (zip)")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        readme = next(n for n in names if n.endswith("README.txt"))
        assert "not for diagnosis" in archive.read(readme).decode()
    assert [sum(n.endswith(end) for n in names) for end in (".png", ".csv", ".dcm")] == [7, 1, 6]
    assert [path for path in uploads.rglob("*") if path.is_file()] == []


def test_of_a_zip_with_two_series_the_other_can_be_chosen(page, two_series):
    open_file(page, two_series)
    assert "of 6" in page.inner_text(".viewer-caption")
    before = key(page)
    page.get_by_label("Series", exact=True).click()
    options = page.locator("[role=listbox] [role=option]")
    assert options.count() == 2
    options.filter(has_text="3 slices").click()
    wait_until_opened(page, before)
    assert "of 3" in page.inner_text(".viewer-caption")
    assert page.get_by_label("T2 → T1", exact=True).is_checked()  # as its header suggests
    page.get_by_role("button", name="All 3 slices").wait_for()


def test_the_page_answers_while_a_volume_is_translated_and_cancel_keeps_what_is_done(page, go_on):
    page.get_by_role("button", name="T1 volume").click()
    wait_until_translated(page, "T2")
    page.get_by_role("button", name="All 24 slices").click()
    page.wait_for_selector("#status progress")
    page.locator("[data-panel=original] canvas").focus()
    for _ in range(9):  # to a slice that the volume reaches last
        page.keyboard.press("PageDown")
    page.wait_for_function("document.querySelector('.viewer').dataset.index === '21'")
    assert page.locator("#status progress").count() == 1  # still running
    assert statistics(page, "translated")[1] > 3

    page.get_by_role("button", name="Cancel").click()
    wait_for_status(page, "Stopped")
    done = int(page.inner_text("#status").split("Stopped; ")[1].split(" of 24")[0])
    assert 2 <= done < 24
    bar = page.locator("#status progress")
    for _ in range(120):
        # Gradio takes no press of a button until the end of what it began before has arrived, which
        # comes a moment after its last words.
        if bar.count():
            break
        page.evaluate(PRESS, "All 24 slices")
        page.wait_for_timeout(500)
    assert bar.get_attribute("value") != "0"
    go_on()
    wait_for_status(page, "all 24 slices")


def test_closing_the_tab_forgets_the_scan(chromium, url, slice_file, tmp_path):
    named = tmp_path / "farewell.png"
    named.write_bytes(slice_file.read_bytes())

    def held():
        sessions = [each for each in gc.get_objects() if type(each) is Session]
        return [s for s in sessions if s.volume is not None and s.volume.name == named.name]

    page = chromium.new_page()
    page.goto(url)
    wait_until_ready(page)
    open_file(page, named)
    assert len(held()) == 1
    page.close()
    deadline = time.monotonic() + 30
    while held() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert held() == []


def test_panels_are_described_to_assistive_technology(page, slice_file):
    show_four(page)
    open_file(page, slice_file)
    translate(page, "T2")
    labels = [
        c.get_attribute("aria-label") for c in page.locator(".viewer-panels canvas:visible").all()
    ]
    assert labels == [
        "Original slice as T1",
        "Synthetic T2 made from the original",
        "Reconstruction of the original from the synthetic T2",
        "Map of the absolute difference between original and reconstruction; "
        "cycle error, not translation error",
    ]
    assert page.locator(".viewer-panels canvas[tabindex='0']:visible").count() == 4
