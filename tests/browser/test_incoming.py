"""Files come in from anywhere on the page, folders and CDs too, and are translated at once."""

import base64

import numpy as np
import pytest
from dicom_files import mr_image
from frames import wait_until_ready
from intact_files import dicom_bytes
from PIL import Image
from pydicom.uid import generate_uid

from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair

# Lets files fall on a part of the page, as from a folder of the reader's.
DROP = """([selector, files]) => {
  const transfer = new DataTransfer();
  for (const [name, data] of files) {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
  const event = (name) => new DragEvent(name, options);
  const target = document.querySelector(selector);
  target.dispatchEvent(event("dragover"));
  const dropping = document.body.classList.contains("dropping");
  target.dispatchEvent(event("drop"));
  return dropping;
}"""
GIVE = """(files) => window.incoming.give(files.map(([path, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  return { file: new File([bytes], path.split("/").pop()), path };
}), "#upload")"""
# Gives the page a file in the moment in which it can take one.
GIVE_FIRST = """(data) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  new MutationObserver((_, observer) => {
    if (!document.querySelector("#upload input[type=file]")) return;
    observer.disconnect();
    window.incoming.give([{ file: new File([bytes], "slice.png"), path: "slice.png" }], "#upload");
  }).observe(document, { childList: true, subtree: true });
}"""
WATCH = """() => {
  window.said = [];
  new MutationObserver(() => {
    const line = document.querySelector("#connection")?.innerText;
    if (line) window.said.push([line, document.querySelector("#work").inert]);
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


def encoded(data):
    return base64.b64encode(data).decode()


@pytest.fixture
def fresh(chromium, url):
    """A page as a first visitor finds it."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(90_000)  # two busy cores
    page.goto(url)
    wait_until_ready(page)
    yield page
    context.close()


@pytest.fixture(scope="module")
def slice_file(tmp_path_factory):
    pixels = simulate_pair(draw_slice(5, level=0.5), np.random.default_rng(3)).t1
    path = tmp_path_factory.mktemp("files") / "slice.png"
    Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8)).save(path)
    return path


def test_files_dropped_on_a_panel_are_opened_and_translated_at_once(fresh, slice_file):
    fresh.evaluate(WATCH)
    dropping = fresh.evaluate(
        DROP, ["[data-panel=translated]", [["slice.png", encoded(slice_file.read_bytes())]]]
    )
    assert dropping
    fresh.get_by_role("heading", name="Synthetic T2").wait_for()  # nothing was pressed
    said = fresh.evaluate("window.said")
    assert any(line.startswith("Sending the files: ") and line.endswith(" %") for line, _ in said)
    assert all(inert for _, inert in said)  # no Translate of the scan before
    assert not fresh.evaluate("document.querySelector('#work').inert")

    fresh.get_by_label("T2 → T1", exact=True).check()
    fresh.get_by_role("heading", name="Synthetic T1").wait_for()  # redrawn


def test_the_switch_is_remembered_and_is_one_for_all_tabs(fresh, slice_file):
    other = fresh.context.new_page()
    other.set_default_timeout(90_000)
    other.goto(fresh.url)
    other.get_by_label("Translate at once").uncheck()
    fresh.wait_for_selector("#at-once input:not(:checked)")
    fresh.set_input_files("#upload input[type=file]", str(slice_file))
    fresh.get_by_text("slice.png is loaded. Check the direction").wait_for()

    # Also for what comes before the switch is drawn as it was left.
    given = encoded(slice_file.read_bytes())
    other.add_init_script(f"({GIVE_FIRST})({given!r})")
    other.reload()
    other.get_by_text("slice.png is loaded. Check the direction").wait_for()
    other.wait_for_selector("#at-once input:not(:checked)")
    other.get_by_label("Translate at once").check()
    fresh.wait_for_selector("#at-once input:checked")


def test_a_real_image_dropped_on_its_closed_area_opens_it(fresh, slice_file):
    data = encoded(slice_file.read_bytes())
    fresh.evaluate(DROP, ["[data-panel=translated]", [["slice.png", data]]])
    fresh.get_by_role("heading", name="Synthetic T2").wait_for()
    assert not fresh.locator("#truth-upload").is_visible()
    fresh.evaluate(DROP, ["#truth button", [["real.png", data]]])
    fresh.locator(".truth-numbers dd").first.wait_for()
    assert fresh.locator("#truth-status").is_visible()


def test_of_a_whole_cd_the_series_that_fit_are_opened(fresh):
    files = [["CD/AUTORUN.INF", encoded(b"[autorun]")], ["CD/VIEWER/viewer.exe", encoded(b"MZ")]]
    for title, slices in (("T2 FLAIR", 5), ("AX T1 SE", 3)):
        series, frame = generate_uid(), generate_uid()
        for index in range(slices):
            noise = np.random.default_rng(index).integers(0, 900, (64, 64), dtype=np.uint16)
            ds = mr_image(noise)
            ds.SeriesDescription, ds.SeriesInstanceUID = title, series
            ds.FrameOfReferenceUID, ds.SOPInstanceUID = frame, generate_uid()
            ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            ds.ImagePositionPatient, ds.InstanceNumber = [0, 0, 5 * index], index + 1
            files.append([f"CD/DICOM/{title}/IM{index:04}", encoded(dicom_bytes(ds))])
    # More than may be sent together: as the CD of a patient, only smaller.
    fresh.evaluate("window.gradio_config.max_file_size = 45_000")
    fresh.evaluate(GIVE, files)
    fresh.wait_for_selector(".viewer[data-key]")
    assert "of 3" in fresh.inner_text(".viewer-caption")
    fresh.get_by_text("Not sent, as it is too much at once: T2 FLAIR.").wait_for()
