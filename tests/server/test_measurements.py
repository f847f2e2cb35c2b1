"""What the page says of an input and of a slice: the check, numbers, maps, the true error."""

import dataclasses

import numpy as np
import pytest
from small_scans import Sees, assessment, busy, calibration, done, head, members, png, volume_of

from cyclegan.server.errors import UserError
from cyclegan.server.examples import EXAMPLES, example_volume
from cyclegan.server.fit import input_fit, slice_fit
from cyclegan.server.measurements import SliceTrust
from cyclegan.server.models import Model
from cyclegan.server.saving import SaveRequest, order
from cyclegan.server.scan import Scan
from cyclegan.server.series import Label, Series, other_contrast
from cyclegan.server.state import state
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair
from cyclegan.trust.calibration import MEASURES

FITS, DOUBTFUL, UNLEARNT = "fits", "doubtful", "not what it learnt"


@pytest.mark.parametrize(
    ("label", "sure", "known", "chosen", "preset", "word", "switch_to", "words"),
    [
        ("T1", 0.98, {}, None, "T2", FITS, None, "Looks like T1"),
        ("T2", 0.98, {}, None, "T1", FITS, None, "Looks like T2"),
        ("T1", 0.98, {"contrast_hint": "T1"}, None, "T2", FITS, None, "Looks like T1"),
        ("T1", 0.79, {}, None, "T2", DOUBTFUL, None, "Looks like T1"),  # translated all the same
        ("T1", 0.98, {"contrast_hint": "T2"}, None, "T2", DOUBTFUL, None, "header suggests T2"),
        ("T1", 0.98, {"other_contrast": "FLAIR"}, None, "T2", DOUBTFUL, None, "says FLAIR"),
        ("T1", 0.98, {}, "T1", "T2", UNLEARNT, "T2", "The chosen direction is T2 → T1"),
        ("T2", 0.98, {"contrast_hint": "T1"}, "T2", "T1", UNLEARNT, "T1", "header suggests T1"),
        ("other", 0.98, {"contrast_hint": "T1"}, None, "T2", UNLEARNT, None, "means nothing"),
        ("not a brain slice", 0.98, {}, "T1", "T2", UNLEARNT, None, "means nothing"),
        (None, 0, {}, None, "T2", DOUBTFUL, None, "Not checked"),
        (None, 0, {"contrast_hint": "T2"}, "T2", "T1", DOUBTFUL, "T1", "header suggests T2"),
    ],
)
def test_a_scan_is_translated_by_itself_unless_something_speaks_against_the_direction(
    opened, model, label, sure, known, chosen, preset, word, switch_to, words
):
    model.check = label and Sees(label, sure)
    scan = done(opened(head()[None], **known))
    assert scan.series.to == preset
    if chosen:
        scan.choose(to=chosen)
    now = state(done(scan))
    check, halts = now["check"], word != FITS and sure != 0.79
    assert [check[name] for name in ("label", "word", "switch_to")] == [label, word, switch_to]
    assert words in check["sentence"]
    assert label is None or f"Looks like {label}." in check["sentence"]
    assert now["halted"] == (check["sentence"] if halts else None)
    assert now["ready"] == ([] if halts else [[0, 0]])
    if halts:
        with pytest.raises(UserError, match="no translation to save yet"):
            order(scan, SaveRequest(kind="png"))
        scan.choose(translate=True)
        assert state(done(scan))["ready"] == [[0, 0]]


@pytest.mark.parametrize("to", ["T1", "T2"])
@pytest.mark.parametrize("label", ["T1", "T2", "other", "not a brain slice", None])
def test_what_the_header_calls_by_another_name_is_warned_of_whatever_it_looks_like(label, to):
    named = input_fit(label and assessment(label, 0.98), None, to, other="FLAIR")
    assert named.warns
    assert named.asks
    assert "The header says FLAIR" in named.sentence


def test_what_contrast_agent_brightens_is_said_to_mislead():
    enhanced = dataclasses.replace(assessment("other"), kind="T1POST")
    words = "may come out dark in a synthetic T2"
    for fit in (
        input_fit(enhanced, None, "T2"),
        input_fit(enhanced, None, "T2", other="post-contrast"),
        # The header knows what pixels far from any enhancement do not show.
        input_fit(assessment("T1"), "T1", "T2", other="post-contrast"),
    ):
        assert fit.sentence.count(words) == 1
        assert fit.warns
    assert words not in input_fit(assessment("other"), None, "T2").sentence


def test_slices_outside_of_what_training_saw_are_named():
    volume = dataclasses.replace(assessment("T1"), outside=(0, 9))
    fit = input_fit(volume, None, "T2")
    assert fit.word == "fits"
    assert "neck, face or the top of the head: outside of what training saw" in fit.sentence
    one = dataclasses.replace(
        assessment("not a brain slice"), sentence="Looks like the neck: outside."
    )
    assert slice_fit(one, "T2") == (
        "not what it learnt",
        f"This slice by itself: {one.sentence}",
        None,
        False,
    )
    assert slice_fit(assessment("T1", 0.79), "T2").word == "doubtful"
    assert slice_fit(assessment("T2"), "T2").word == "doubtful"
    assert slice_fit(assessment("T1"), "T2").word == "fits"


def test_the_window_of_the_file_opens_the_original(scans):
    def opening(window):
        scan = Scan(Series(scans.model, volume_of(head()[None] * 1000, window=window)))
        return state(scan)["window"], scan.series.scale

    _, scale = opening(None)
    span = scale.high - scale.low
    half, _ = opening((scale.low + 0.3 * span, 0.5 * span))
    assert half == pytest.approx({"center": 0.3, "width": 0.5})
    for useless in (None, (scale.low - 2 * span, span), (scale.high + 2 * span, span), (0, 0)):
        assert opening(useless)[0] is None


def test_the_other_contrast_is_of_the_same_size_where_there_is_one():
    labels = (
        Label("T1", "T1", None, 5, (64, 64)),
        Label("T2 thick", "T2", None, 3, (64, 64)),
        Label("T2", "T2", None, 5, (64, 64)),
        Label("FLAIR", None, None, 5, (64, 64)),
    )
    assert other_contrast(labels, 0, "T2") == 2
    assert other_contrast(labels[:2], 0, "T2") == 1
    assert other_contrast(labels, 0, "T1") is None
    assert other_contrast(labels, 2, "T1") == 0


# Numbers and maps.


@pytest.fixture
def calibrated(model):
    """The model with a map for T2 and an interval only for T1, and numbers that tell for T2."""
    ranks = {"cycle_error": 0.4, "nmi": 0.7, "predicted_error": 0.1}
    interval = {"multiple": 2.0, "coverage": {"anna": 0.91}}
    model.calibration = calibration(
        T2={"ranks": ranks},
        T1={"ranks": dict.fromkeys(MEASURES, 0.1), "map": None, "interval": interval},
    )
    return model


def on_page(scan, index=0):
    """Measurements as the route has them."""
    view = scan.view(scan.key())
    measured = scan.measured(view, index).result()
    return SliceTrust(view, index, measured).for_page()


def test_the_best_number_comes_first_and_those_that_tell_little_are_not_there(calibrated, opened):
    shown = on_page(done(opened(head()[None])))
    (number,) = shown["numbers"]
    assert (number["name"], number["title"]) == ("nmi", "Anatomy match")
    assert number["worth"].startswith("normalised mutual information of original and synthetic")
    assert number["short"] == f"{number['value']:.2f}, typical 0.90 to 0.95"
    assert number["expected"] == [0.9, 0.95]
    assert number["unusual"] is not (number["value"] >= 0.9)
    assert shown["map"] is not None
    assert shown["interval_words"] is None  # the map is of something else


def test_where_no_map_is_worth_it_values_have_their_interval(calibrated, opened):
    calibrated.check = Sees("T2")
    scan = done(opened(head()[None]))
    shown = on_page(scan)
    assert shown["map"] is None
    assert "(91% to 91% by source)" in shown["interval_words"]
    assert shown["numbers"] == []  # they say little
    series = scan.series
    _, likely = calibrated.translator.translate_with_error(
        series.volume.pixels[0], "T1", prepared=series.prepared
    )
    np.testing.assert_allclose(scan.view(scan.key()).image("uncertainty", 0), 2 * likely, atol=1e-3)


def test_what_was_measured_is_kept_and_of_two_slices_the_newer_is_measured(calibrated, opened):
    scan = done(opened(head(slices=3)))
    view = scan.view(scan.key())
    first = scan.measured(view, 0)
    assert first.result().numbers
    with busy(calibrated):
        older, newer = (scan.measured(view, index) for index in (1, 2))
        assert scan.measured(view, 2) is newer
        assert scan.measured(view, 0).result() is first.result()  # without its turn
    assert older.cancelled()


def test_a_slice_that_looks_like_something_else_is_said_to(calibrated, opened):
    class Odd:
        """Sees no brain in dark slices."""

        def assess(self, image, spacing=None):
            dark = image.ndim == 2 and image.max() < 0.75
            return assessment("not a brain slice" if dark else "T1", sure=0.97)

    calibrated.check = Odd()
    scan = done(opened(head(slices=6)))
    assert state(scan)["check"]["word"] == "fits"
    fits = [on_page(scan, index)["fits"] for index in (0, 5)]
    assert fits[0]["word"] == "not what it learnt"
    assert "This slice by itself" in fits[0]["sentence"]
    assert fits[1]["word"] != "not what it learnt"


def test_a_slice_without_a_head_has_no_numbers(calibrated, opened):
    volume = head(slices=3)
    volume[2] = 0
    shown = on_page(done(opened(volume)), 2)
    assert (shown["numbers"], shown["map"]) == ([], None)


def test_the_report_holds_everything_but_names(calibrated, opened):
    scan = done(opened(head()[None], name="Doe^Jane.nii", notes=('read from "Doe^Jane.nii"',)))
    scan.take_real(members(("Doe^Jane_T2.png", png(np.sqrt(head())))))
    shown = on_page(scan)
    for words in (
        "Synthetic T2 from T1, slice 1 of 1",
        "not for diagnosis",
        "not cleared or approved",
        "Looks like T1.",
        "Note: read from …",
        "True error against the compared image, looks like T1",
        f"SSIM {shown['true_error']['ssim']:.3f}",
        calibrated.translator.checksum,
        "Source-SHA256",
        "Rank correlation with the true error 0.50",
        *(number["text"] for number in shown["numbers"]),
    ):
        assert words in shown["report"]
    assert "Doe" not in shown["report"]


def test_a_real_image_of_another_place_is_named_before_any_number(model, scans):
    scan = scans.hold(Scan(Series(model, example_volume(1))))
    scan.check()
    done(scan)
    for level, elsewhere in ((0.5, False), (0.9, True)):
        labels = draw_slice(EXAMPLES[1].seed, level=level)
        real = simulate_pair(labels, np.random.default_rng(0)).t2
        scan.take_real(members(("real.png", png(real * 0.8))))
        scan.choose(register=False)
        shown = on_page(scan)
        for text in (shown["true_warning"], shown["report"]):
            assert ("do not show the same place" in text) is elsewhere


def test_weights_without_check_and_calibration_still_serve(tiny):
    model = Model.load(str(tiny))
    assert str(tiny) not in model.unchecked  # no path of the server
    scan = Scan(Series(model, volume_of(head()[None])))
    scan.check()
    assert "checks.json is missing" in state(scan)["halted"]
    scan.choose(translate=True)
    shown = on_page(done(scan))
    assert "trust.json is missing" in shown["report"]
    assert shown["numbers"][0]["text"].replace(".", "").isdigit()
