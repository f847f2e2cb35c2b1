"""The page's handlers as plain functions, and its API over HTTP."""

import base64
import dataclasses
import io
import json
import re
import threading
import time
import zipfile
from functools import partial
from types import SimpleNamespace

import gradio as gr
import nibabel as nib
import numpy as np
import pytest
from browser.serve import serve, weights_folder
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

import app
from cyclegan import ReadError, Translator
from cyclegan.model.checkpoint import CheckpointError
from cyclegan.reading.volume import Volume
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair
from cyclegan.trust.calibration import Calibration
from cyclegan.trust.checks import LABELS, Assessment, InputCheck
from cyclegan.web import answers, limits, panels
from cyclegan.web.controls import (
    after_direction,
    after_opening,
    after_step,
    after_switch,
    after_truth,
)
from cyclegan.web.examples import EXAMPLES, example_volume, thumbnails
from cyclegan.web.notice import notice, preset
from cyclegan.web.outbox import Outbox, Parcel, route
from cyclegan.web.page import Page
from cyclegan.web.panels import encode_uint16
from cyclegan.web.session import ReaderError, Session
from cyclegan.web.turns import Rank, Turns
from cyclegan.web.uploads import Uploads
from cyclegan.web.work import Step

TAB = "one tab"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return weights_folder(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def translator(weights):
    return Translator.from_pretrained(weights)


@pytest.fixture
def page(translator, tmp_path):
    return Page(translator, tmp_path / "uploads")


class Looks:
    """An input check that always sees the same."""

    def __init__(self, label):
        self.label = label

    def assess(self, image, spacing=None):
        return assessment(self.label)


def assessment(label, sure=0.98):
    rest = (1 - sure) / (len(LABELS) - 1)
    probabilities = {each: sure if each == label else rest for each in LABELS}
    return Assessment(label, probabilities, "", f"Looks like {label}.", (0,))


@pytest.fixture
def calibrated(translator, tmp_path, weights):
    """A page that knows a map for T2 and none for T1, whatever the shipped weights know."""
    names = ("cycle_error", "cycle_robustness", "structure", "likely_error")
    direction = {
        "expected": {name: [0.9, 0.95] for name in names},
        "ranks": dict.fromkeys(names, 0.5),
        "maps": {"cycle error, smoothed": 0.4, "brightness of the translation": 0.1},
        "map": "cycle error, smoothed",
    }
    without = {
        **direction,
        "map": None,
        "ranks": dict.fromkeys(names, 0.1),
        "band": {"multiple": 2.0, "coverage": {"anna": 0.91}},
    }
    record = {
        "structure": "normalised mutual information",
        "people": ["anna"],
        "slices": 12,
        "directions": {"T2": direction, "T1": without},
    }
    return Page(translator, tmp_path / "uploads", Looks("T1"), Calibration(record))


def volume_of(pixels, **known):
    fields = {
        "spacing": None,
        "affine": None,
        "directions": None,
        "window": None,
        "contrast_hint": None,
        "name": "scan.png",
    }
    return Volume(pixels=np.asarray(pixels, np.float32), **{**fields, **known})


def uploaded(tmp_path, name, content):
    """File data as Gradio hands it over, with the file where Gradio puts uploads."""
    folder = Uploads(tmp_path / "uploads").new_folder() / f"{abs(hash(content)):x}"
    folder.mkdir()
    (folder / name).write_bytes(content)
    return {"path": str(folder / name)}


def outcome(told):
    """What a handler that tells its place in line tells in the end."""
    *_, end = told
    return end


def small_session():
    """Six slices, fast to translate."""
    return Session(volume_of(example_volume(2).pixels[9:15, ::4, ::4], name="small.nii"))


def fetched(page, step):
    return page.outbox.take(step.file["token"])


def png_bytes(tmp_path, pixels):
    Image.fromarray(np.asarray(pixels)).save(tmp_path / "made.png")
    return (tmp_path / "made.png").read_bytes()


def head(dtype=np.uint16, top=40_000):
    return (example_volume(0).pixels[0] * top).astype(dtype)


def decoded(panel):
    return np.frombuffer(base64.b64decode(panel["data"]), "<u2")


def test_the_viewer_gets_sixteen_bits():
    ramp = np.linspace(0, 1, 40_000, dtype=np.float32).reshape(200, 200)
    values = np.frombuffer(base64.b64decode(encode_uint16(ramp)), "<u2")
    assert len(np.unique(values)) == 40_000
    np.testing.assert_allclose(values / 65535, ramp.ravel(), atol=1e-5)


def test_upload_is_shown_then_translated_and_the_file_is_gone(page, tmp_path):
    file = uploaded(tmp_path, "scan", png_bytes(tmp_path, head()))
    opened = page.load([file], "T2", TAB)
    assert list(opened.view["panels"]) == ["original"]
    assert opened.view["key"] == opened.session.key
    assert len(np.unique(decoded(opened.view["panels"]["original"]))) > 256
    assert not any((tmp_path / "uploads").rglob("*"))
    for to, source in (("T2", "T1"), ("T1", "T2")):
        shown = outcome(page.translate(opened.session, to, 1, TAB)).view
        panels = shown["panels"]
        assert panels["translated"]["title"] == f"Synthetic {to}"
        assert panels["reconstructed"]["sub"] == f"{source} → {to} → {source}"
        assert not np.array_equal(decoded(panels["original"]), decoded(panels["translated"]))
        assert page.model.translator.checksum[:16] in shown["provenance"]


def test_the_page_tells_what_the_weights_saw(tmp_path):
    shipped = Translator.from_pretrained("weights")
    file = uploaded(tmp_path, "scan", png_bytes(tmp_path, head()))
    told = Page(shipped, tmp_path / "uploads").load([file], "T2", TAB).view["saw"]
    assert told.startswith("T1 and T2 of the same slices of brats, clinic-")
    assert "unmatched" not in told  # version 0.9.0 learnt from pairs alone, and simulated ones
    assert told.endswith("; slices simulated from labelmaps")
    training = shipped.config["training"] | {"sources": ["train/ixi", "train/ixi, stripped"]}
    both = Translator(shipped.generators, shipped.config | {"training": training})
    file = uploaded(tmp_path, "again", png_bytes(tmp_path, head()))
    told = Page(both, tmp_path / "uploads").load([file], "T2", TAB).view["saw"]
    assert ", unmatched; T1 and T2 of the same slices of " in told
    assert "ixi" in told.split("unmatched")[0]


def test_a_new_scan_is_translated_at_once_unless_something_speaks_against_it(
    translator, tmp_path, monkeypatch
):
    def opening(label, wanted=True):
        page = Page(translator, tmp_path / "uploads", Looks(label))
        hinted = volume_of(head()[None], contrast_hint=None)
        monkeypatch.setattr("cyclegan.web.uploads.open_files", lambda paths: selection(hinted))
        opened = page.load([uploaded(tmp_path, "scan", b"x")], "T2", TAB)
        return page, opened, list(page.translate_opened(opened.session, opened.to, 1, wanted, TAB))

    page, opened, steps = opening("T1")
    assert steps[-1].view["panels"]["translated"]["title"] == "Synthetic T2"
    again = page.translate_opened(opened.session, "T2", 1, True, TAB)
    assert list(again) == []  # a bad file leaves the scan before, which is not new any more
    turned = list(page.turn(opened.session, "T1", 1, TAB))
    assert turned[-1].view["panels"]["translated"]["title"] == "Synthetic T1"
    assert list(page.turn(opened.session, "T1", 1, TAB)) == []
    for _, opened, (step,) in (opening("T1", wanted=False), opening("other")):  # wait for a yes
        assert "press Translate" not in opened.status
        assert "press Translate" in step.status
        assert step.view is None


def test_the_other_contrast_in_the_same_files_is_offered_as_real(page, tmp_path, monkeypatch):
    volumes = [volume_of(head()[None]), volume_of(np.sqrt(head())[None])]
    held = selection(*volumes, best=0)
    labels = ("T1 - slice_020.png, 1 slice, 256 x 256", "T2 - slice_020.png, 1 slice, 256 x 256")
    held.choices = labels
    monkeypatch.setattr("cyclegan.web.uploads.open_files", lambda paths: held)
    opened = page.load([uploaded(tmp_path, "both", b"x")], "T2", TAB)
    offered = after_opening(opened)["companion"]
    assert offered == {"visible": True, "value": f"Compare with the real T2: {labels[1]}"}
    step = page.take_companion(opened.session, "T2")
    assert "Real T2" in step.status
    assert opened.session.truth_for("T2").volume is volumes[1]
    assert after_truth(opened.session, step)["companion"] == {"visible": False}


def test_a_bad_file_is_one_sentence_and_keeps_everything(page, tmp_path):
    opened = page.load([uploaded(tmp_path, "<b>notes.txt", b"no image at all")], "T2", TAB)
    assert opened.session is None
    assert after_opening(opened) == {
        "message": {"value": opened.status},
        "saved": {"value": ""},
        "translate": {"interactive": False},
        "upload": {"value": None},
        "notice": {"value": ""},  # of the scan before
        "switch": {"visible": False},
    }
    assert not opened.ready  # there is nothing from before to translate either
    assert 'role="alert"' in opened.status
    assert "&lt;b&gt;notes.txt" in opened.status
    assert "<b>" not in opened.status
    assert not any((tmp_path / "uploads").rglob("*"))


def test_the_command_line_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["app.py", "--weights", str(tmp_path)])
    with pytest.raises(SystemExit):
        app.main()
    assert "config.json is missing" in capsys.readouterr().err


def test_only_uploads_are_read(page, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png_bytes(tmp_path, head()))
    climbing = tmp_path / "uploads" / "x" / ".." / ".." / "secret.png"
    for file in ({"path": str(secret)}, {"path": str(climbing)}, str(secret), {}, None):
        with pytest.raises(ReaderError):
            page.uploads.read(file)
        with pytest.raises(ReaderError):
            page.uploads.open([uploaded(tmp_path, "good.png", b"x"), file])
        assert not any((tmp_path / "uploads").rglob("*"))
    with pytest.raises(ReaderError):
        page.uploads.open([])
    assert secret.is_file()


def selection(*volumes, notes=(), best=0):
    """What `open_files` returns, without files."""
    return SimpleNamespace(
        choices=tuple(f"series {number}" for number in range(len(volumes))),
        notes=notes,
        best=best,
        size=0,
        read=lambda choice: volumes[choice],
    )


def test_of_several_series_the_best_is_opened_and_another_can_be_chosen(
    page, tmp_path, monkeypatch
):
    first, second = (volume_of(head()[None], name=name) for name in ("first", "second"))
    held = selection(first, second, notes=("notes.txt was left out.",), best=1)
    monkeypatch.setattr("cyclegan.web.uploads.open_files", lambda paths: held)
    opened = page.load([uploaded(tmp_path, "scans.zip", b"x")], "T2", TAB)
    assert opened.session.volume is second
    assert "2 series were found" in opened.status
    assert "notes.txt was left out." in opened.status
    assert after_opening(opened)["series"] == {
        "choices": [("series 0", 0), ("series 1", 1)],
        "value": 1,
        "visible": True,
    }
    other = page.choose(opened.session, 0, "T2", TAB)
    assert other.session.volume is first
    assert other.session.key > opened.session.key
    back = page.choose(other.session, 1, "T2", TAB)
    assert back.session is opened.session  # with its translations
    assert back.view["key"] > other.view["key"]
    page.forget(TAB)
    assert back.session.selection is other.session.selection is None
    assert "not held any more" in page.choose(back.session, 0, "T2", TAB).status


def test_the_window_of_the_file_opens_the_original(page):
    pixels = head()[None].astype(np.float32)
    scale = page.model.prepare(pixels).scale
    span = scale.high - scale.low

    def opening(window):
        return panels.view(Session(volume_of(pixels, window=window)), page.model, 0)["window"]

    half = opening((scale.low + 0.3 * span, 0.5 * span))
    assert half == pytest.approx({"center": 0.3, "width": 0.5})
    assert opening(None) is None
    for useless in ((scale.low - 2 * span, span), (scale.high + 2 * span, span), (0, 0), (0, -1)):
        assert opening(useless) is None


def test_the_header_presets_the_direction_as_a_hint(page, tmp_path, monkeypatch):
    hinted = volume_of(head()[None], contrast_hint="T2")
    monkeypatch.setattr("cyclegan.web.uploads.open_files", lambda paths: selection(hinted))
    opened = page.load([uploaded(tmp_path, "scan.dcm", b"x")], "T2", TAB)
    assert opened.to == "T1"
    assert "header suggests T2" in opened.session.notice("T1").text
    assert opened.session.to is None  # nothing is translated before the reader asks for it


@pytest.mark.parametrize(
    ("label", "hint", "to", "warns", "switch_to", "words"),
    [
        ("T1", None, "T2", False, None, "Looks like T1"),
        ("T1", "T1", "T2", False, None, "Looks like T1"),
        ("T1", "T2", "T2", True, None, "The header suggests T2"),
        ("T1", None, "T1", True, "T2", "The chosen direction is T2 → T1"),
        ("T2", "T1", "T2", True, "T1", "The header suggests T1"),
        ("other", "T1", "T2", True, None, "means nothing"),
        ("not a brain slice", None, "T1", True, None, "means nothing"),
        (None, None, "T2", True, None, "Not checked"),
        (None, "T2", "T2", True, "T1", "The header suggests T2"),
    ],
)
def test_the_notice_says_what_speaks_against_the_direction(
    label, hint, to, warns, switch_to, words
):
    said = notice(label and assessment(label), hint, to)
    assert (said.warns, said.switch_to) == (warns, switch_to)
    assert words in said.text
    assert label is None or assessment(label).sentence in said.text
    # What the header calls by another name is warned of whatever the pixels look like.
    named = notice(label and assessment(label), None, to, other="FLAIR")
    assert named.warns
    assert "The header says FLAIR" in named.text


def test_what_contrast_agent_brightens_is_said_to_mislead():
    seen = dataclasses.replace(assessment("other"), kind="T1POST")
    words = "may come out dark in a synthetic T2"
    for said in (notice(seen, None, "T2"), notice(seen, None, "T2", other="post-contrast")):
        assert said.text.count(words) == 1
        assert said.warns
    # The header knows what pixels far from any enhancement do not show.
    assert words in notice(assessment("T1"), "T1", "T2", other="post-contrast").text
    assert words not in notice(assessment("other"), None, "T2").text


def test_the_direction_is_preset_by_the_pixels_before_the_header(translator, tmp_path, monkeypatch):
    page = Page(translator, tmp_path / "uploads", Looks("T1"))
    hinted = volume_of(head()[None], contrast_hint="T2")
    monkeypatch.setattr("cyclegan.web.uploads.open_files", lambda paths: selection(hinted))
    opened = page.load([uploaded(tmp_path, "scan.dcm", b"x")], "T1", TAB)
    assert opened.to == "T2"
    updates = after_opening(opened)
    assert updates["direction"] == {"value": "T2"}
    assert "alert" in updates["notice"]["value"]  # the header disagrees
    assert updates["switch"]["visible"] is False
    assert preset(assessment("other"), "T2", "T2") == "T1"
    assert preset(None, None, "T1") == "T1"


def test_one_click_turns_the_direction_and_the_translation(calibrated):
    session = calibrated._session(small_session().volume)
    assert outcome(calibrated.switch(session, 1, TAB)) == ("T2", None)  # nothing to translate anew
    outcome(calibrated.translate(session, "T1", 3, TAB))
    wrong = after_direction(session, "T1")
    assert wrong["switch"] == {"visible": True, "value": "Switch to T1 → T2"}
    assert wrong["truth_area"]["label"] == "I have the real T1"
    updates = after_switch(session, *outcome(calibrated.switch(session, 3, TAB)))
    assert updates["direction"] == {"value": "T2"}
    assert updates["switch"]["visible"] is False
    assert updates["viewer"]["value"]["panels"]["translated"]["title"] == "Synthetic T2"
    assert updates["viewer"]["value"]["index"] == 2


def test_numbers_come_first_then_the_map_and_both_are_kept(calibrated, monkeypatch):
    session = outcome(calibrated.open_example(0, TAB)).session
    first, last = calibrated.look_again(session)
    assert first["findings"]["uncertainty"] is None
    assert [r["title"] for r in first["findings"]["readings"]] == [
        "Input check",
        "Cycle error",
        "Cycle robustness",
        "Structure agreement",
    ]
    assert last["findings"]["mapRank"] == 0.4
    assert last["findings"]["bandWords"] == ""  # the map is of something else
    values = np.frombuffer(base64.b64decode(last["findings"]["uncertainty"]), "<u2")
    assert values.size == 256 * 256
    assert values.max() > 0
    assert last["findings"]["readings"][-1]["title"] == "Mean likely error"
    assert (last["key"], last["index"], last["run"]) == (session.key, 0, session.run)

    monkeypatch.setattr("cyclegan.web.findings.slice_findings", None)  # not worked out again
    assert list(calibrated.look_again(session)) == [last]


def test_where_no_map_is_worth_it_the_page_says_so_and_values_keep_their_band(calibrated):
    session = outcome(calibrated.open_example(1, TAB)).session
    (answer,) = calibrated.look_again(session)
    assert answer["findings"]["mapRank"] is None
    assert "(91% to 91% by person)" in answer["findings"]["bandWords"]
    band = np.frombuffer(base64.b64decode(answer["findings"]["uncertainty"]), "<u2") / 65535
    prepared = session.prepared(calibrated.model)
    _, likely = calibrated.model.translate_with_error(session.volume.pixels[0], "T1", prepared)
    np.testing.assert_allclose(band.reshape(likely.shape), 2 * likely, atol=1e-3)
    assert answer["findings"]["mapWords"].startswith("No uncertainty map for T2 → T1")
    assert all(reading["weak"] for reading in answer["findings"]["readings"][1:])
    assert "Mean likely error" not in answer["report"]


def test_looking_again_stops_when_another_slice_is_shown(calibrated):
    session = calibrated._session(small_session().volume)
    assert list(calibrated.look_again(session)) == []  # nothing is translated yet
    outcome(calibrated.translate(session, "T2", 1, TAB))
    answers = calibrated.look_again(session)
    assert next(answers)["index"] == 0
    calibrated.show_slice(session, 4)
    assert list(answers) == []
    assert [answer["index"] for answer in calibrated.look_again(session)] == [3, 3]
    answers = calibrated.look_again(session)
    session.clear()
    assert list(answers) == []
    assert list(calibrated.look_again(None)) == []


def test_a_scan_that_goes_away_while_it_is_looked_at_is_no_failure(calibrated, monkeypatch):
    session = outcome(calibrated.open_example(0, TAB)).session
    monkeypatch.setattr(calibrated.calibration, "readings", lambda *_, **__: session.clear())
    assert list(calibrated.look_again(session)) == []


def test_the_truth_is_compared_in_its_own_direction_only(calibrated, tmp_path):
    session = outcome(calibrated.open_example(0, TAB)).session
    real = png_bytes(tmp_path, (np.sqrt(example_volume(0).pixels[0]) * 60_000).astype(np.uint16))
    step = calibrated.load_truth(session, [uploaded(tmp_path, "real.png", real)], "T2")
    assert not any((tmp_path / "uploads").rglob("*"))
    assert "real.png, compared pixel by pixel" in step.status
    assert "It should be a T2. Looks like T1." in step.status
    *_, last = calibrated.look_again(session)
    assert last["findings"]["trueWarning"].startswith("It should be a T2.")
    assert after_truth(session, step)["drop_truth"] == {"visible": True}
    shown = step.view["panels"]
    assert shown["truth"]["title"] == "Real T2"
    assert "unknown" not in shown["translated"]["note"]
    signed = decoded(shown["trueDifference"]) / 65535 * 2 - 1
    expected = (decoded(shown["translated"]).astype(float) - decoded(shown["truth"])) / 65535
    np.testing.assert_allclose(signed, expected, atol=1e-4)

    *_, answer = calibrated.look_again(session)
    true = answer["findings"]["trueError"]
    head_error = np.abs(expected[decoded(shown["truth"]) > 6000]).mean()
    assert true["mae"] == pytest.approx(head_error, rel=0.3)
    assert -1 <= true["ssim"] < 0.9
    assert f"SSIM {true['ssim']:.3f}" in answer["report"]

    other = outcome(calibrated.translate(session, "T1", 1, TAB))
    assert "truth" not in other.view["panels"]
    *_, answer = calibrated.look_again(session)
    assert answer["findings"]["trueError"] is None
    outcome(calibrated.translate(session, "T2", 1, TAB))
    assert "truth" not in calibrated.drop_truth(session).view["panels"]
    assert not session.has_truth


def test_a_truth_of_another_place_is_named_before_any_number(calibrated, tmp_path):
    session = outcome(calibrated.open_example(0, TAB)).session
    for level, elsewhere in ((0.5, False), (0.9, True)):
        labels = draw_slice(EXAMPLES[0].seed, level=level)
        real = simulate_pair(labels, np.random.default_rng(0)).t2
        file = uploaded(tmp_path, "real.png", png_bytes(tmp_path, (real * 200).astype(np.uint8)))
        calibrated.load_truth(session, [file], "T2")
        *_, last = calibrated.look_again(session)
        assert ("do not show the same place" in last["findings"]["trueWarning"]) is elsewhere
        assert ("do not show the same place" in last["report"]) is elsewhere


def test_a_truth_that_cannot_be_matched_is_one_sentence(calibrated, tmp_path):
    session = outcome(calibrated.open_example(0, TAB)).session
    small = uploaded(tmp_path, "real.png", png_bytes(tmp_path, head()[::2, ::2]))
    step = calibrated.load_truth(session, [small], "T2")
    assert 'role="alert">real.png: its matrix is 1 × 128 × 128' in step.status
    assert after_truth(session, step)["truth_upload"] == {"value": None}  # for the next file
    nothing = calibrated.load_truth(None, [uploaded(tmp_path, "real.png", b"x")], "T2")
    assert 'role="alert"' in nothing.status
    assert after_truth(None, nothing)["drop_truth"] == {"visible": False}
    assert not session.has_truth
    assert not any((tmp_path / "uploads").rglob("*"))


def test_the_report_holds_everything(calibrated):
    session = outcome(calibrated.open_example(0, TAB)).session
    *_, answer = calibrated.look_again(session)
    text = answer["report"]
    for words in (
        "Synthetic T2 from T1, slice 1 of 1",
        "not for diagnosis",
        "not cleared or approved",
        "Looks like T1.",
        "simulated from a drawn head",
        "Cycle error is not translation error",
        calibrated.model.translator.checksum,
        "Source-SHA256",
        "Rank correlation with the true error 0.40",
        *(reading["text"] for reading in answer["findings"]["readings"]),
    ):
        assert words in text


def test_weights_without_check_and_calibration_still_serve(export_tiny, monkeypatch, tmp_path):
    weights = export_tiny(64)
    with pytest.raises(CheckpointError):
        InputCheck.from_pretrained(weights)
    made = []
    monkeypatch.setattr(app, "Page", lambda *args: made.append(Page(*args)) or made[0])
    app.create_app(str(weights))
    session = outcome(made[0].open_example(0, TAB)).session
    assert "Not checked" in session.notice("T2").text
    assert "checks.json is missing" in session.notice("T2").text
    (answer,) = made[0].look_again(session)
    assert "trust.json is missing" in answer["findings"]["missing"]
    assert answer["findings"]["readings"][1]["text"].replace(".", "").isdigit()


def test_each_example_has_a_small_picture_of_its_own():
    rules = re.findall(r"\.example-(\d) .*base64,([^)]+)\)", thumbnails())
    assert [int(number) for number, _ in rules] == list(range(len(EXAMPLES)))
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for _, data in rules]
    assert all(picture.shape == (64, 64) and picture.std() > 20 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == len(EXAMPLES)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_are_translated_at_once(page, number):
    opened = outcome(page.open_example(number, TAB))
    example = EXAMPLES[number]
    assert opened.to == example.to
    assert set(opened.view["panels"]) == {
        "original",
        "translated",
        "reconstructed",
        "difference",
    }
    assert opened.view["slices"] == (24 if example.level is None else 1)
    assert opened.view["directions"] == ["R", "L", "A", "P"]


def test_slices_of_a_volume_share_one_scale_and_are_kept(page):
    pixels = example_volume(2).pixels[8:12] * 300
    session = Session(volume_of(pixels, spacing=(4, 1, 1)))
    session.start("T2")
    result = session.result(page.model, 1, "T2")
    assert session.result(page.model, 1, "T2").translated is result.translated
    whole = page.model.translator.cycle(pixels, to="T2")
    np.testing.assert_array_equal(result.source, whole.source[1])
    np.testing.assert_allclose(result.translated, whole.translated[1], atol=1e-3)
    session.translate_slices(page.model, [0, 2, 3], "T2")
    assert session.missing("T2") == []
    assert session.missing("T1", near=2) == [2, 1, 3, 0]
    again = session.result(page.model, 3, "T2")
    np.testing.assert_array_equal(again.source, whole.source[3])
    np.testing.assert_allclose(again.reconstructed, whole.reconstructed[3], atol=1e-3)
    np.testing.assert_allclose(session.translated_volume(page.model), whole.translated, atol=1e-3)


def test_the_results_that_are_kept_are_bounded(page, monkeypatch):
    monkeypatch.setattr("cyclegan.web.session.SCAN_RESULT_BYTES", 2 * 2 * 4 * 64 * 64)
    session = small_session()
    results = [session.result(page.model, index, "T2") for index in range(4)]
    assert session.result(page.model, 3, "T2").translated is results[3].translated
    assert session.result(page.model, 0, "T2").translated is not results[0].translated


def only_steps(told):
    """Without the places in line, which a busy machine tells, too."""
    return (step for step in told if isinstance(step, Step))


def test_a_volume_is_translated_from_the_shown_slice_outwards(page):
    session = small_session()
    steps = list(only_steps(page.translate_all(session, "T2", 3, TAB)))
    assert [step.view["index"] for step in steps if step.view] == [2]
    assert steps[1].view  # at once
    assert all(step.working for step in steps[:-1])
    assert [f">Translating: {done} of 6" in steps[at].status for at, done in ((0, 0), (1, 1))]
    assert not steps[-1].working
    assert "all 6 slices" in steps[-1].status
    assert session.missing("T2") == []
    assert list(session._results)[:3] == [("T2", 2), ("T2", 1), ("T2", 3)]


def test_cancelling_keeps_what_is_done(page):
    session = small_session()
    steps = only_steps(page.translate_all(session, "T2", 1, TAB))
    for _ in range(4):
        assert next(steps).working
    page.cancel(session)
    last = list(steps)[-1]
    assert not last.working
    done = 6 - len(session.missing("T2"))
    assert 0 < done < 6
    assert f"Stopped; {done} of 6 slices" in last.status
    finished = list(page.translate_all(session, "T2", 1, TAB))[-1]
    assert "all 6 slices" in finished.status


def test_another_file_ends_the_work_without_a_word(page):
    session = outcome(page.open_example(2, TAB)).session
    steps = only_steps(page.translate_all(session, "T2", 1, TAB))
    for _ in range(3):
        next(steps)
    outcome(page.open_example(0, TAB))
    assert session.volume is None
    assert [step for step in steps if not step.working] == []


def test_while_a_volume_is_worked_on_the_page_offers_cancel(page):
    session = small_session()
    told = only_steps(page.translate_all(session, "T2", 1, TAB))
    steps = [after_step(session, step) for step in told]
    for update in steps[:-1]:
        assert update["cancel"] == {"visible": True}
        assert not update["translate_all"]["visible"]
        assert not update["nifti"]["interactive"]
    assert steps[-1]["cancel"] == {"visible": False}
    assert steps[-1]["translate_all"] == {"value": "All 6 slices", "visible": True}
    assert steps[-1]["nifti"] == {"interactive": True}
    assert steps[-1]["dicom"]["visible"] is False  # the source was none


def test_a_shown_slice_goes_before_a_volume_and_volumes_alternate():
    turns, order = Turns(), []
    begun, go_on = threading.Event(), threading.Event()
    turns.join(lambda: (begun.set(), go_on.wait(10)))
    begun.wait(10)
    waiting = [
        turns.join(partial(order.append, name), rank=rank)
        for name, rank in (("a", Rank.WHOLE), ("b", Rank.WHOLE), ("shown", Rank.SHOWN))
    ]
    waiting.append(turns.join(partial(order.append, "c"), rank=Rank.WHOLE))
    assert [turn.place() for turn in waiting] == [2, 3, 1, 4]
    go_on.set()
    for turn in waiting:
        turn.result()
    assert order == ["shown", "a", "b", "c"]
    assert waiting[-1].place() == 0


def test_a_parcel_is_handed_out_once_and_expires():
    outbox = Outbox(lifetime=60)
    parcel = Parcel(b"bytes", "a.png", "image/png")
    token = outbox.put(parcel, TAB)
    assert len(token) > 40
    assert outbox.take("another") is None
    assert outbox.take(token) is parcel
    assert outbox.take(token) is None
    replaced, kept = outbox.put(parcel, TAB), outbox.put(parcel, TAB)
    assert outbox.take(replaced) is None
    outbox.drop(TAB)
    assert outbox.take(kept) is None
    brief = Outbox(lifetime=0.05)
    token = brief.put(parcel, TAB)
    deadline = time.monotonic() + 10
    while brief._parcels and time.monotonic() < deadline:
        time.sleep(0.01)
    assert brief.take(token) is None


def test_pixel_spacing_and_orientation_reach_the_viewer(page):
    known = Session(volume_of(head()[None], spacing=(5, 2, 1), directions=("R", "L", "A", "P")))
    unknown = Session(volume_of(head()[None]))
    assert panels.view(known, page.model, 0)["aspect"] == 2
    assert panels.view(known, page.model, 0)["directions"] == ["R", "L", "A", "P"]
    shown = panels.view(unknown, page.model, 0)
    assert shown["directions"] is None
    assert "orientation unknown" in shown["caption"]


def test_downloads(page, tmp_path):
    session = outcome(page.open_example(2, TAB)).session
    window = json.dumps({"center": 0.4, "width": 0.5})
    step = page.save_slice(session, 13, window, TAB)
    png = fetched(page, step)
    with Image.open(io.BytesIO(png.data)) as image:
        assert image.height > image.width >= 256  # the slice and the strip with the label
        assert image.text["Weights-SHA256"] == page.model.translator.checksum
        assert image.text["Window"] == "center 0.400, width 0.500"
    other = page.save_slice(session, 13, json.dumps({"center": 0.8, "width": 0.1}), TAB)
    assert fetched(page, other).data != png.data


def test_a_whole_volume_is_saved_in_the_grid_of_its_source(page, tmp_path):
    session = small_session()
    list(page.translate_all(session, "T2", 1, TAB))
    full = json.dumps({"center": 0.5, "width": 1})
    *before, last = page.save_whole(session, "nifti", 1, full, TAB)
    assert all(step.working and step.file is None for step in before)
    (tmp_path / "a.nii.gz").write_bytes(fetched(page, last).data)
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(
        image.get_fdata(dtype=np.float32).transpose(2, 1, 0),
        session.translated_volume(page.model),
    )
    *_, last = page.save_whole(session, "everything", 1, full, TAB)
    with zipfile.ZipFile(io.BytesIO(fetched(page, last).data)) as archive:
        names = archive.namelist()
    assert sum(name.endswith(".png") for name in names) == 7  # the slices, and side by side
    for part in ("synthetic_T2w", "original_T1w", "reconstruction_T1w", "cycleError_map"):
        assert any(name.endswith(f"desc-{part}.nii.gz") for name in names), part
    assert {name.rpartition("/")[2] for name in names} > {"slices.csv", "report.txt"}
    assert "small" not in " ".join(names)  # a file's name can be a patient's
    with pytest.raises(ReaderError, match="no DICOM"):
        list(page.save_whole(session, "dicom", 1, full, TAB))


def test_saving_first_translates_what_is_missing_and_can_be_cancelled(page):
    session = small_session()
    outcome(page.translate(session, "T2", 1, TAB))
    full = json.dumps({"center": 0.5, "width": 1})
    steps = page.save_whole(session, "nifti", 1, full, TAB)
    assert "1 of 6 slices" in next(steps).status
    next(steps)
    page.cancel(session)
    last = list(steps)[-1]
    assert "Stopped" in last.status
    assert last.file is None


@pytest.mark.parametrize(("most", "slices"), [(limits.API_VOXELS, 65), (limits.WHOLE_VOXELS, 513)])
def test_too_large_names_the_way_out(most, slices):
    pixels = np.broadcast_to(np.float32(0), (slices, 256, 256))
    large = SimpleNamespace(pixels=pixels, name="big.nii")
    with pytest.raises(ReaderError, match=rf"big\.nii: {slices} × 256 .*{most:,}.*cyclegan\.trans"):
        answers.refuse_large(large, most)
    answers.refuse_large(SimpleNamespace(pixels=pixels[1:]), most)


def test_a_closed_tab_is_forgotten(page):
    session = outcome(page.open_example(0, TAB)).session
    page.forget(TAB)
    assert session.volume is None
    with pytest.raises(ReaderError, match="Nothing is loaded"):
        outcome(page.translate(session, "T2", 1, TAB))


def test_failures_become_one_sentence_without_the_message(caplog):
    patient = "Doe"

    def fails():
        raise RuntimeError(patient)

    def refuses():
        raise ReadError("scan.txt: no image.")

    with pytest.raises(gr.Error) as shown:
        app.in_one_sentence(fails)()
    assert "fault of ours" in shown.value.message
    assert "Doe" not in shown.value.message + caplog.text
    assert "RuntimeError in fails" in caplog.text
    with pytest.raises(gr.Error, match=r"scan\.txt: no image\."):
        app.in_one_sentence(refuses)()


def test_a_failure_in_the_middle_of_a_volume_ends_it_with_a_sentence(caplog):
    patient = "Doe"

    def breaks():
        yield Step("going on", working=True)
        raise RuntimeError(patient)

    *_, last = app.in_steps(breaks)()
    assert not last.working
    assert "fault of ours" in last.status
    assert "RuntimeError in breaks" in caplog.text
    assert "Doe" not in caplog.text


@pytest.fixture(scope="module")
def client(weights, tmp_path_factory):
    uploads = tmp_path_factory.mktemp("uploads")
    with serve(weights, uploads) as url:
        client = Client(url, verbose=False)
        client.uploads = uploads
        yield client


def test_api_translates_and_leaves_nothing(client, translator, tmp_path):
    (tmp_path / "scan.png").write_bytes(png_bytes(tmp_path, head()))
    answer = client.predict(
        file=handle_file(str(tmp_path / "scan.png")), to="T2", api_name="/translate"
    )
    assert answer["shape"] == [1, 256, 256]
    assert answer["checksum"] == translator.checksum
    assert "not for diagnosis" in answer["caveat"]
    expected = translator.translate(head().astype(np.float32)[None], to="T2")
    received = np.frombuffer(base64.b64decode(answer["translated"]), "<f4").reshape(1, 256, 256)
    np.testing.assert_allclose(received, expected, atol=1e-3)
    assert answer["input_check"]["text"]
    (only,) = answer["slices"]
    assert {"cycle_error", "cycle_robustness"} <= {each["name"] for each in only["numbers"]}
    assert only["true_error"] is None
    assert answer["uncertainty_help"] in only["report"]
    assert not [path for path in client.uploads.rglob("*") if path.is_file()]


def test_api_gives_the_translation_alone(client, translator, tmp_path):
    (tmp_path / "scan.png").write_bytes(png_bytes(tmp_path, head()))
    answer = client.predict(
        file=handle_file(str(tmp_path / "scan.png")),
        to="T2",
        parts="translation",
        api_name="/translate",
    )
    received = np.frombuffer(base64.b64decode(answer["translated"]), "<f4").reshape(1, 256, 256)
    expected = translator.translate(head().astype(np.float32)[None], to="T2")
    np.testing.assert_allclose(received, expected, atol=1e-3)
    assert not {"reconstructed", "source", "slices", "uncertainty"} & set(answer)
    assert answer["digital_source_type"].endswith("/trainedAlgorithmicMedia")


def test_api_measures_against_the_truth(client, tmp_path):
    (tmp_path / "scan.png").write_bytes(png_bytes(tmp_path, head()))
    real = (np.sqrt(example_volume(0).pixels[0]) * 250).astype(np.uint8)
    (tmp_path / "real.png").write_bytes(png_bytes(tmp_path, real))
    files = {name: handle_file(str(tmp_path / f"{name}.png")) for name in ("scan", "real")}
    answer = client.predict(file=files["scan"], to="T2", truth=files["real"], api_name="/translate")
    (only,) = answer["slices"]
    assert 0 < only["true_error"]["mae"] < 1
    assert "True error against the real T2" in only["report"]
    assert "real.png" not in only["report"]
    assert not [path for path in client.uploads.rglob("*") if path.is_file()]


@pytest.mark.parametrize("to", ["T3", "", "t2"])
def test_api_refuses_another_contrast(client, tmp_path, to):
    (tmp_path / "scan.png").write_bytes(png_bytes(tmp_path, head()))
    with pytest.raises(AppError, match="must be"):
        client.predict(file=handle_file(str(tmp_path / "scan.png")), to=to, api_name="/translate")
    assert not [path for path in client.uploads.rglob("*") if path.is_file()]


def test_api_does_not_read_the_servers_files(client):
    own = {"path": app.__file__}
    with pytest.raises(AppError, match="Upload a file"):
        client.predict(file=own, to="T2", api_name="/translate")


def test_results_are_fetched_once_and_only_with_the_token():
    outbox = Outbox()
    token = outbox.put(Parcel(b"secret pixels", "a.nii.gz", "application/gzip"), TAB)
    browser = TestClient(Starlette(routes=[route(outbox)]))
    for bad in ("", "guess", "../app.py"):
        assert browser.get(f"/results/{bad}").status_code == 404
    assert browser.head(f"/results/{token}").status_code == 404  # a scanner's look uses nothing up
    answer = browser.get(f"/results/{token}")
    assert answer.content == b"secret pixels"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="a.nii.gz"'
    assert browser.get(f"/results/{token}").status_code == 404


def test_only_translate_is_offered(client):
    offered = client.view_api(return_format="dict")["named_endpoints"]
    assert list(offered) == ["/translate"]
    described = offered["/translate"]["description"]
    for word in (*answers.Answer.__annotations__, "file", "to", "truth", "parts"):
        assert f"{word}:" in described or f"{word}," in described, word
