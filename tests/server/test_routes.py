"""The contract with the browser, over HTTP: bytes in, pixels and sentences out."""

import asyncio
import io
import threading
import time

import nibabel as nib
import numpy as np
import pytest
from dicom_files import mr_image
from PIL import Image
from server_process import Tab
from small_scans import Sees, busy, head, nifti, png, until
from starlette.testclient import TestClient

from cyclegan.evaluation.metrics import mae
from cyclegan.model.head import joint_head
from cyclegan.model.preprocess import Scale
from cyclegan.server import limits
from cyclegan.server.examples import EXAMPLES
from cyclegan.server.pictures import levels
from cyclegan.server.receiving import Uploads
from cyclegan.server.routes import api


@pytest.fixture
def browser(scans, tmp_path):
    """A client in this process, and what it talks to."""
    with TestClient(api(scans, Uploads(tmp_path))) as client:
        yield client


class Page(Tab):
    """A tab that talks to a server in this process."""

    def __init__(self, client):
        self.http, self.state, self.status = client, {}, 0


@pytest.fixture
def page(browser):
    return Page(browser)


def dicom(pixels, **known):
    """A DICOM file of (H, W) in [0, 1]."""
    buffer = io.BytesIO()
    dataset = mr_image(np.rint(pixels * 4000).astype(np.uint16), **known)
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_sixteen_bits_arrive():
    ramp = np.linspace(0, 1, 40_000, dtype=np.float32).reshape(200, 200)
    values = np.frombuffer(levels(ramp), "<u2")
    assert len(np.unique(values)) == 40_000
    np.testing.assert_allclose(values / 65535, ramp.ravel(), atol=1e-5)


def test_a_volume_is_opened_drawn_translated_and_measured(page, model):
    volume = head(slices=5)
    told = page.open("d/scan.nii", nifti(volume, spacing=(4.0, 2.0, 1.0)))
    assert page.status == 201
    assert (told["name"], told["slices"], told["width"], told["height"]) == ("scan.nii", 5, 64, 64)
    assert told["spacing"] == pytest.approx([4, 2, 1])
    assert told["aspect"] == pytest.approx(2)
    assert told["directions"] == ["R", "L", "A", "P"]
    assert not told["drawn"]
    stored = np.rint(volume * 4000)
    scale = Scale.fit(stored)
    assert told["units"] == [scale.low, scale.high]
    # Where slice 3, row 2, column 1 lies, as the file says.
    np.testing.assert_allclose(np.array(told["affine"]) @ [1, 2, 3, 1], [-1, -4, 12, 1])
    left, top, right, bottom = told["box"]
    assert 0 < left < 16 < 48 < right < 64
    assert 0 < top < 16 < 48 < bottom < 64
    for index in (0, 3):
        expected = np.rint(scale.apply(stored[index]) * 65535)
        np.testing.assert_array_equal(page.image("original", index), expected)
    told = page.translated()
    assert (told["to"], told["translating"], told["halted"]) == ("T2", False, None)
    whole = model.translator.cycle(stored, to="T2", spacing=(2.0, 1.0))
    for name in ("translated", "reconstructed"):
        expected = getattr(whole, name)[3] * 65535
        np.testing.assert_allclose(page.image(name, 3), expected, atol=70)
    found = page.findings(3)
    assert found["fits"]["word"] == "fits"
    assert "slice 4 of 5" in found["report"]
    assert found["true_error"] is None
    answer = page.http.get(page._at(f"images/{told['key']}/original/3"))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_is_not_there_says_so(page):
    assert page.http.get("/scans/guessed").status_code == 404
    told = page.open("a.png", png(head()))
    at, key = page._at, told["key"]
    for below, status in (
        (f"images/{key}/original/0", 200),
        (f"images/{key}/original/1", 404),
        (f"images/{key}/../original/0", 404),
        (f"images/{key}/secret/0", 404),
        ("images/7/original/0", 404),
        ("images/x/original/0", 404),
        ("thumbnails/0", 200),
        ("thumbnails/1", 404),
        ("files/guessed", 404),
        ("findings/9/0", 404),
    ):
        answer = page.http.get(at(below))
        assert answer.status_code == status, below
        if status != 200 and ".." not in below:
            assert answer.json()["error"].endswith(".")


def test_an_image_that_is_not_made_yet_is_told_from_one_that_never_is(page, model):
    with busy(model):
        told = page.open("a.png", png(head()))
        for name in ("translated", "reconstructed"):
            answer = page.http.get(page._at(f"images/{told['key']}/{name}/0"))
            assert (answer.status_code, answer.json()["error"]) == (
                409,
                "This slice is not translated yet.",
            )
    page.translated()
    answer = page.http.get(page._at(f"images/{page.state['key']}/uncertainty/0"))
    assert answer.status_code == 409
    page.findings()
    assert page.http.get(page._at(f"images/{page.state['key']}/uncertainty/0")).status_code == 404


@pytest.mark.parametrize(
    "choices",
    [
        {"to": "T3"},
        {"to": 2},
        {"index": "1"},
        {"index": True},
        {"translate": 1},
        {"series": 5},
        {"series": True},
        {"style": "none"},
        {"unheard": 1},
        [],
        None,
        "to",
    ],
)
def test_a_choice_that_cannot_be_understood_changes_nothing(page, choices):
    page.open("a.png", png(head()))
    page.translated()
    before = page.state
    answer = page.http.post(page._at("choices"), json=choices)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert page.http.get(page._at()).json() == before


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\0", b"[" * 100_000, b" " * 3 * 2**20])
def test_a_body_that_is_no_json_is_refused_in_a_sentence(page, body):
    page.open("a.png", png(head()))
    for where in ("choices", "save"):
        answer = page.http.post(page._at(where), content=body)
        assert answer.status_code in (413, 422)
        assert answer.json()["error"].endswith(".")


def test_a_bad_file_is_one_sentence_and_leaves_the_scan_before(page):
    page.open("a.png", png(head()))
    before = dict(page.state)
    told = page.open("<b>notes.txt", b"no image at all")
    assert page.status == 422
    assert told["error"].startswith("<b>notes.txt: this is not an image")
    assert page.http.get(page._at()).json()["scan"] == before["scan"]
    for body, kind in ((b"x", "text/plain"), (b"--x--", "multipart/form-data; boundary=x")):
        answer = page.http.post("/scans", content=body, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["error"]) == (
            400,
            "This is no upload; send files from the page.",
        )


def test_files_of_folders_come_together_and_names_hold_no_path(page):
    volume = head(slices=4)
    files = [(f"Doe^Jane/t1\\s_{z}.png", png(volume[z])) for z in (2, 0, 3, 1)]
    told = page.open_all([*files, ("Doe^Jane/other/s_9.png", png(volume[0]))])
    assert told["series"][0]["slices"] == 4
    assert "Doe" not in told["name"]
    scale = Scale.fit(np.rint(volume * 65535))
    for index in range(4):
        expected = scale.apply(np.rint(volume[index] * 65535)) * 65535
        np.testing.assert_allclose(page.image("original", index), expected, atol=1)


def test_the_state_waits_for_what_is_new(page, model):
    page.open("a.png", png(head()))
    page.translated()
    version = page.state["version"]
    at_once = time.monotonic()
    assert page.http.get(page._at(), params={"after": version - 1}).json()["version"] == version
    assert time.monotonic() - at_once < 1
    told = []
    waiting = threading.Thread(target=lambda: told.append(page.poll()))
    waiting.start()
    time.sleep(0.05)
    assert not told
    page.choose(to="T1")
    waiting.join(10)
    assert told[0]["version"] > version
    assert told[0]["to"] == "T1"


def test_nothing_new_is_told_in_the_end(page, monkeypatch):
    monkeypatch.setattr(limits, "POLL_S", 0.05)
    page.open("a.png", png(head()))
    page.translated()
    version = page.state["version"]
    assert page.poll()["version"] == version
    monkeypatch.setattr(limits, "POLLS", 0)  # too many wait already: an answer at once
    monkeypatch.setattr(limits, "POLL_S", 100)
    assert page.poll()["version"] == version


def test_a_closed_tab_is_forgotten_but_not_one_that_is_loaded_anew(page, scans, monkeypatch):
    page.open("a.png", png(head()))
    token = page.state["scan"]
    monkeypatch.setattr(limits, "RELOAD_S", 0.0)
    page.http.post(page._at("close"))
    assert page.http.get(page._at()).status_code == 200  # loaded anew
    scans.sweep()
    assert scans.get(token)
    page.http.post(page._at("close"))
    scans.sweep()
    answer = page.http.get(page._at())
    assert answer.status_code == 404
    assert answer.json() == {
        "error": "This scan is not held any more; open the file again.",
        "server": scans.server,
    }


def test_a_request_that_still_waits_does_not_take_the_close_back(page, scans, monkeypatch):
    page.open("a.png", png(head()))
    page.translated()
    scan = scans.get(page.state["scan"])
    waiting = threading.Thread(target=page.poll)
    waiting.start()
    until(lambda: scan.changes._waiting)
    monkeypatch.setattr(limits, "RELOAD_S", 0.0)
    page.http.post(page._at("close"))
    scan.changes.announce()
    waiting.join(10)
    scans.sweep()
    assert scan.is_closed


def test_a_scan_can_be_forgotten_at_once(page, scans):
    page.open("a.png", png(head()))
    scan = scans.get(page.state["scan"])
    assert page.http.delete(page._at()).status_code == 204
    assert scan.is_closed
    assert page.http.delete(page._at()).status_code == 204
    assert page.http.get(page._at()).status_code == 404


def test_the_real_image_is_compared(page, model):
    volume = head(slices=3)
    page.open("scan.nii", nifti(volume))
    page.translated()
    key = page.state["key"]
    real = np.sqrt(volume)
    told = page.give("real", "real.nii", nifti(real))
    assert told["real"]["warning"] == "It should be a T2. Looks like T1."
    assert told["key"] != key
    page.choose(register=False)
    stored = np.rint(real * 4000)
    expected = Scale.fit(stored).apply(stored[1]) * 65535
    np.testing.assert_allclose(page.image("real", 1), np.maximum(expected, 1), atol=1)
    found = page.findings(1)
    names = ("original", "translated", "real")
    original, translated, shown = (page.image(name, 1) / 65535 for name in names)
    error = mae(translated, shown, joint_head(original, shown))
    assert found["true_error"]["mae"] == pytest.approx(error, abs=1e-3)
    assert found["true_warning"].startswith("It should be a T2.")
    assert "real.nii" not in found["report"]
    assert page.http.delete(page._at("real")).json()["real"] is None
    assert page.http.get(page._at(f"images/{key}/real/1")).status_code == 404
    assert page.give("real", "real.png", png(head(40)))["error"].startswith("real.png: its matrix")


def test_where_a_real_image_does_not_reach_it_is_nought(page):
    volume = head(slices=3)
    page.open("scan.nii", nifti(volume))
    page.give("real", "real.nii", nifti(volume[:2]))
    page.choose(register=False)
    assert page.image("real", 0).min() == 1
    assert page.image("real", 2).max() == 0


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_are_drawn_and_translated_once_for_all(page, browser, number, model):
    first = page.example(number)
    assert first["drawn"]
    assert first["to"] == EXAMPLES[number].to
    page.until(lambda state: state["ready"])
    other = Page(browser)
    told = other.example(number)
    assert told["scan"] != first["scan"]
    assert told["ready"]  # at once
    np.testing.assert_array_equal(
        page.image("translated", told["ready"][0][0]),
        other.image("translated", told["ready"][0][0]),
    )
    picture = browser.get(f"/examples/{number}/thumbnail").content
    assert Image.open(io.BytesIO(picture)).size == (96, 96)
    assert page.findings(page.state["ready"][0][0])["fits"]["word"] == "fits"
    assert browser.post("/examples/99").status_code == 404
    assert browser.get("/examples/99/thumbnail").status_code == 404


def test_the_first_example_is_translated_before_anybody_comes(browser, scans):
    until(lambda: 0 in scans._examples and not scans._examples[0].translation.is_running)
    assert scans._examples[0].series.results.nbytes > 0


def test_a_small_picture_has_the_proportions_of_the_slice(page):
    page.open("scan.nii", nifti(head(slices=3), spacing=(4.0, 2.0, 1.0)))
    answer = page.http.get(page._at("thumbnails/0"))
    assert answer.headers["content-type"] == "image/png"
    small = Image.open(io.BytesIO(answer.content))
    assert small.size == (48, 96)
    assert np.asarray(small).max() > 200


# Saving: from the bytes back to numbers.


def test_the_png_shows_its_slice_in_the_window_of_the_page(page):
    page.open("Doe^Jane.nii", nifti(head(slices=4), spacing=(4.0, 1.0, 1.0)))
    page.translated()
    data = page.save("png", index=2, window=(0.4, 0.5))
    name = page.state["save"]["name"]
    assert name.startswith("synthetic_T2_")
    assert name.endswith("_slice3.png")
    with Image.open(io.BytesIO(data)) as image:
        assert image.text["Window"] == "center 0.400, width 0.500"
        assert image.text["DigitalSourceType"].endswith("trainedAlgorithmicMedia")
        shown = np.asarray(image)[:512, :512][4::8, 4::8]
    seen = np.clip((page.image("translated", 2) / 65535 - 0.4) / 0.5 + 0.5, 0, 1) * 255
    inside = np.s_[2:-2, 8:-8]  # the letters of the sides stand at the rims
    np.testing.assert_allclose(shown[inside], seen[inside], atol=1)
    other = page.save("png", index=1, window=(0.4, 0.5))
    assert other != data


def test_the_nifti_lies_in_the_grid_of_its_source(page, tmp_path):
    page.open("Doe^Jane.nii", nifti(head(slices=4), spacing=(4.0, 2.0, 1.0)))
    page.translated()
    data = page.save("nifti")
    (tmp_path / "a.nii.gz").write_bytes(data)
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == np.float32
    np.testing.assert_allclose(image.affine, np.diag([-1, -2, 4, 1]), atol=1e-5)
    voxels = image.get_fdata(dtype=np.float32).transpose(2, 1, 0)
    for index in range(4):
        np.testing.assert_array_equal(
            np.rint(voxels[index] * 65535), page.image("translated", index)
        )


def test_the_progress_of_saving_is_told_and_the_file_can_be_fetched_twice(page, model):
    page.open("scan.nii", nifti(head(slices=4)))
    page.until(lambda state: state["ready"])
    page._told(page.http.post(page._at("save"), json={"kind": "nifti"}))
    first = page.state["save"]
    assert (first["kind"], first["of"], first["file"]) == ("nifti", 5, None)
    page.until(lambda state: state["save"]["file"])
    where = page._at(f"files/{page.state['save']['file']}")
    answers = [page.http.get(where) for _ in range(2)]
    assert answers[0].content == answers[1].content
    disposition = answers[0].headers["content-disposition"]
    assert disposition == f'attachment; filename="{page.state["save"]["name"]}"'
    page.save("png")
    assert page.http.get(where).status_code == 404  # one file at a time


def test_saving_ends_when_something_else_is_chosen(page, model):
    page.open("scan.nii", nifti(head(slices=6)))
    page.until(lambda state: state["ready"])
    with busy(model):
        page._told(page.http.post(page._at("save"), json={"kind": "nifti"}))
        page.choose(to="T1", translate=True)
        told = page.until(lambda state: state["save"]["error"])
    assert told["save"]["error"] == "Stopped: something else is on screen now. Save again."
    assert told["save"]["file"] is None


def test_a_dicom_gives_a_dicom(page):
    pydicom = pytest.importorskip("pydicom")
    page.open("IM0001", dicom(head()))
    assert page.state["dicom"]
    page.translated()
    data = page.save("dicom")
    assert page.state["save"]["name"].endswith(".dcm")
    assert page.state["save"]["removed"]
    dataset = pydicom.dcmread(io.BytesIO(data))
    expected = page.image("translated") / 65535 * 10_000
    np.testing.assert_allclose(dataset.pixel_array, expected, atol=1)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"kind": "dicom"}, "no DICOM"),
        ({"kind": "exe"}, "no such file"),
        ({"kind": "png", "index": "x"}, "no such file"),
        ({}, "no such file"),
        ([], "no such file"),
    ],
)
def test_what_cannot_be_saved_is_refused_in_a_sentence(page, order, words):
    page.open("scan.png", png(head()))
    page.translated()
    answer = page.http.post(page._at("save"), json=order)
    assert answer.status_code == 422
    assert words in answer.json()["error"]


def test_what_is_halted_cannot_be_saved(page, model):
    model.check = Sees("other")
    page.open("scan.png", png(head()))
    page.until(lambda state: state["halted"])
    answer = page.http.post(page._at("save"), json={"kind": "png"})
    assert (answer.status_code, answer.json()["error"][:35]) == (
        422,
        "There is no translation to save yet",
    )


def test_an_index_out_of_range_is_the_nearest(page):
    page.open("scan.nii", nifti(head(slices=3)))
    page.translated()
    page.save("png", index=99)
    assert page.state["save"]["name"].endswith("_slice3.png")
    page.choose(index=-5)
    assert page.status == 200


# The server itself.


def test_the_files_of_the_viewer_are_asked_for_again(browser):
    answer = browser.get("/viewer/main.js")
    assert answer.status_code == 200
    assert "javascript" in answer.headers["content-type"]
    assert answer.headers["cache-control"] == "no-cache"
    again = browser.get("/viewer/main.js", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    for outside in ("../server/limits.py", "%2e%2e/server/limits.py", "..%2f..%2fapp.py"):
        assert browser.get(f"/viewer/{outside}").status_code == 404


def test_a_wait_that_its_browser_gave_up_holds_nothing(scans, opened):
    scan = opened(head()[None])

    async def wait():
        task = asyncio.create_task(scan.changes.wait(scan.changes.version, 60))
        await asyncio.sleep(0.01)
        assert len(scan.changes._waiting) == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    until(lambda: not scan.translation.is_running)
    asyncio.run(wait())
    assert not scan.changes._waiting
    scan.changes.announce()
