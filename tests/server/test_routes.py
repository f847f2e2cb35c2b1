"""The contract with the browser, over HTTP: bytes in, pixels and error messages out."""

import asyncio
import io
import threading
import time

import numpy as np
import pytest
from PIL import Image
from server_process import Tab
from small_scans import busy, done, head, nifti, png, run, until

from cyclegan.evaluation.metrics import mae
from cyclegan.model.head import joint_head
from cyclegan.model.preprocess import Scale
from cyclegan.server import limits
from cyclegan.server.examples import EXAMPLES
from cyclegan.server.state import state


def test_a_volume_is_opened_drawn_translated_and_measured(page, model):
    volume = head(slices=5)
    opened = page.open("d/scan.nii", nifti(volume, spacing=(4.0, 2.0, 1.0)))
    assert page.status == 201
    assert [opened[name] for name in ("name", "slices", "width", "height", "drawn")] == [
        *("scan.nii", 5, 64, 64, False)
    ]
    assert opened["spacing"] == pytest.approx([4, 2, 1])
    assert opened["aspect"] == pytest.approx(2)
    assert opened["directions"] == ["R", "L", "A", "P"]
    stored = np.rint(volume * 4000)
    scale = Scale.fit(stored)
    assert opened["units"] == [scale.low, scale.high]
    # Where slice 3, row 2, column 1 lies, as the file says.
    np.testing.assert_allclose(np.array(opened["affine"]) @ [1, 2, 3, 1], [-1, -4, 12, 1])
    left, top, right, bottom = opened["box"]
    assert 0 < left < 16 < 48 < right < 64
    assert 0 < top < 16 < 48 < bottom < 64
    for index in (0, 3):
        expected = np.rint(scale.apply(stored[index]) * 65535)
        np.testing.assert_array_equal(page.image("original", index), expected)
    opened = page.translated()
    assert (opened["to"], opened["translating"], opened["halted"]) == ("T2", False, None)
    whole = model.translator.cycle(stored, to="T2", spacing=(2.0, 1.0))
    for name in ("translated", "reconstructed"):
        expected = getattr(whole, name)[3] * 65535
        np.testing.assert_allclose(page.image(name, 3), expected, atol=70)
    measurements = page.measurements(3)
    assert measurements["fits"]["word"] == "fits"
    assert "slice 4 of 5" in measurements["report"]
    assert measurements["true_error"] is None
    headers = page.get(f"images/{opened['key']}/original/3").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_what_a_picture_does_not_say_is_null(page):
    state = page.open("a.png", png(head()))
    for unknown in ("directions", "spacing", "affine", "window"):
        assert state[unknown] is None


def test_what_is_not_there_is_told_from_what_is_not_ready(page, model):
    assert page.http.get("/scans/guessed").status_code == 404
    with busy(model):
        key = page.open("a.png", png(head()))["key"]
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
            (f"images/{key}/translated/0", 409),
            (f"images/{key}/reconstructed/0", 409),
        ):
            response = page.get(below)
            assert response.status_code == status, below
            if status != 200 and ".." not in below:
                assert response.json()["error"].endswith(".")
    page.translated()
    uncertainty = f"images/{page.state['key']}/uncertainty/0"
    assert page.get(uncertainty).status_code == 409
    page.measurements()
    assert page.get(uncertainty).status_code == 404  # these weights have no such map


@pytest.mark.parametrize("where", ["choices", "save"])
@pytest.mark.parametrize(
    "request_",
    [
        {"to": "T3"},
        {"to": 2, "kind": "exe"},
        {"index": "x", "kind": "png"},
        {"index": "1"},
        {"index": True, "windows": 1},
        {"translate": 1},
        {"series": 5},
        {"style": "none"},
        {"unheard": 1},
        {"kind": "dicom"},  # of what is none
        {"kind": "png", "windows": {"translated": {"center": "x"}}},
        [],
        None,
        "to",
    ],
)
def test_what_cannot_be_chosen_or_saved_changes_nothing(page, where, request_):
    page.open("a.png", png(head()))
    page.translated()
    response = page.http.post(page.at(where), json=request_)
    assert response.status_code == 422
    assert response.json()["error"].endswith((".", "2."))
    assert page.get().json() == page.state


@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
def test_a_body_that_is_no_choice_is_refused_in_a_sentence(page, kind):
    page.open("a.png", png(head()))
    bodies = [b"", b"{", b"\xff\xfe\0", b'"\\ud800"', b'{"to": "\\ud800"}', b'{"index": 1e999}']
    for body in (*bodies, b"[" * 100_000, b" " * 3 * 2**20):
        for where in ("choices", "save"):
            response = page.http.post(page.at(where), content=body, headers={"content-type": kind})
            assert response.status_code in (413, 422)
            assert response.json()["error"].endswith(".")


def test_a_bad_file_is_one_sentence_and_leaves_the_scan_before(page):
    page.open("a.png", png(head()))
    response = page.open("<b>notes.txt", b"no image at all")
    assert page.status == 422
    assert response["error"].startswith("<b>notes.txt: this is not an image")
    assert page.get().json()["scan"] == page.state["scan"]
    for body, kind in ((b"x", "text/plain"), (b"--x--", "multipart/form-data; boundary=x")):
        response = page.http.post("/scans", content=body, headers={"content-type": kind})
        assert response.status_code == 400
        assert response.json()["error"] == "This is no upload; send files from the page."


def test_files_of_folders_come_together_and_names_hold_no_path(page):
    volume = head(slices=4)
    files = [(f"Doe^Jane/t1\\s_{z}.png", png(volume[z])) for z in (2, 0, 3, 1)]
    state = page.open(*files, ("Doe^Jane/other/s_9.png", png(volume[0])))
    assert state["series"][0]["slices"] == 4
    assert "Doe" not in state["name"]
    scale = Scale.fit(np.rint(volume * 65535))
    for index in range(4):
        expected = scale.apply(np.rint(volume[index] * 65535)) * 65535
        np.testing.assert_allclose(page.image("original", index), expected, atol=1)


def test_the_state_comes_when_it_is_new_or_at_the_end_of_a_wait(page, opened, monkeypatch):
    scan, updates = done(opened(head()[None])), []
    page.state = state(scan)
    version = page.state["version"]
    assert page.get(params={"after": version - 1}).json()["version"] == version
    waiting = threading.Thread(target=lambda: updates.append(page.poll()))
    waiting.start()
    until(lambda: scan.updates.waiting)
    assert not updates
    scan.choose(to="T1")
    waiting.join(10)
    assert updates[0]["version"] > version
    assert updates[0]["to"] == "T1"
    page.state = state(done(scan))
    version = page.state["version"]
    monkeypatch.setattr(limits, "POLL_S", 0.05)
    assert page.poll()["version"] == version
    monkeypatch.setattr(limits, "POLLS", 0)  # too many wait already: a response at once
    monkeypatch.setattr(limits, "POLL_S", 10)
    assert page.poll()["version"] == version


def test_a_wait_that_its_browser_gave_up_holds_nothing(opened):
    scan = opened(head()[None])
    until(lambda: not scan.is_translating)

    async def wait():
        task = asyncio.create_task(scan.updates.wait(scan.updates.version, 60))
        while not scan.updates.waiting:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(wait())
    assert not scan.updates.waiting
    scan.updates.announce()


def test_a_closed_tab_is_forgotten_but_not_one_that_is_loaded_anew(page, scans, monkeypatch):
    page.open("a.png", png(head()))
    page.translated()
    scan = scans.get(page.state["scan"])
    monkeypatch.setattr(limits, "RELOAD_S", 0.0)
    page.http.post(page.at("close"))
    assert page.get().status_code == 200  # loaded anew
    scans.sweep()
    assert not scan.is_closed
    waiting = threading.Thread(target=page.poll)
    waiting.start()
    until(lambda: scan.updates.waiting)
    page.http.post(page.at("close"))
    scan.updates.announce()
    waiting.join(10)  # the end of a wait does not take the close back
    scans.sweep()
    assert scan.is_closed
    response = page.get()
    assert response.status_code == 404
    assert response.json() == {
        "error": "This scan is not held any more; open the file again.",
        "server": scans.server,
    }


def test_a_scan_can_be_forgotten_at_once(page, scans):
    page.open("a.png", png(head()))
    scan = scans.get(page.state["scan"])
    for _ in range(2):
        assert page.http.delete(page.at()).status_code == 204
    assert scan.is_closed
    assert page.get().status_code == 404


def test_the_real_image_is_compared(page):
    volume = head(slices=3)
    page.open("scan.nii", nifti(volume))
    key = page.translated()["key"]
    real = np.sqrt(volume)
    state = page.give("real", "real.nii", nifti(real))
    assert state["real"]["warning"] == "It should be a T2. Looks like T1."
    assert state["key"] != key
    page.choose(register=False)
    stored = np.rint(real * 4000)
    expected = Scale.fit(stored).apply(stored[1]) * 65535
    np.testing.assert_allclose(page.image("real", 1), np.maximum(expected, 1), atol=1)
    measurements = page.measurements(1)
    names = ("original", "translated", "real")
    original, translated, shown = (page.image(name, 1) / 65535 for name in names)
    error = mae(translated, shown, joint_head(original, shown))
    assert measurements["true_error"]["mae"] == pytest.approx(error, abs=1e-3)
    assert measurements["true_warning"].startswith("It should be a T2.")
    assert "real.nii" not in measurements["report"]
    assert page.http.delete(page.at("real")).json()["real"] is None
    assert page.get(f"images/{key}/real/1").status_code == 404
    # 0 where it does not reach.
    page.give("real", "real.nii", nifti(volume[:2]))
    assert page.get(f"images/{key}/real/1").status_code == 404  # a key has no image of another
    page.choose(register=False)
    assert page.image("real", 0).min() == 1
    assert page.image("real", 2).max() == 0
    key = page.state["key"]
    assert page.give("real", "real.png", png(head(40)))["error"].startswith("real.png: its matrix")
    assert page.get().json()["key"] == key


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_are_simulated_and_translated_once_for_all(page, client, number):
    first = page.example(number)
    assert first["drawn"]
    assert first["to"] == EXAMPLES[number].to
    ready = page.until(lambda state: state["ready"])["ready"]
    other = Tab(client)
    state = other.example(number)
    assert state["scan"] != first["scan"]
    assert state["ready"]  # at once
    index = ready[0][0]
    np.testing.assert_array_equal(page.image("translated", index), other.image("translated", index))
    picture = client.get(f"/examples/{number}/thumbnail").content
    assert Image.open(io.BytesIO(picture)).size == (96, 96)
    assert page.measurements(index)["fits"]["word"] == "fits"


def test_there_are_no_other_examples_and_the_first_is_ready_before_anybody_comes(client, page):
    assert client.post("/examples/99").status_code == 404
    assert client.get("/examples/99/thumbnail").status_code == 404
    time_limit = time.monotonic() + 30
    while not page.example(0)["ready"]:
        assert time.monotonic() < time_limit


def test_a_thumbnail_has_the_proportions_of_the_slice(page):
    page.open("scan.nii", nifti(head(slices=3), spacing=(4.0, 2.0, 1.0)))
    response = page.get("thumbnails/0")
    assert response.headers["content-type"] == "image/png"
    small = Image.open(io.BytesIO(response.content))
    assert small.size == (48, 96)
    assert np.asarray(small).max() > 200


def test_the_files_of_the_viewer_are_asked_for_again(client):
    response = client.get("/viewer/main.js")
    assert response.status_code == 200
    assert "javascript" in response.headers["content-type"]
    assert response.headers["cache-control"] == "no-cache"
    again = client.get("/viewer/main.js", headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code == 304
    for outside in ("../server/limits.py", "%2e%2e/server/limits.py", "..%2f..%2fapp.py"):
        assert client.get(f"/viewer/{outside}").status_code == 404
