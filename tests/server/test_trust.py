"""What the page says of an input and of a slice: the check, numbers, maps, the true error."""

import dataclasses

import numpy as np
import pytest
from small_scans import Sees, assessment, done, head, members, png, volume_of

from cyclegan import Translator
from cyclegan.model.style import KnownStyles
from cyclegan.server.examples import EXAMPLES, example_volume
from cyclegan.server.findings import findings, measure, short
from cyclegan.server.input_warning import input_warning, preset
from cyclegan.server.measuring import Order
from cyclegan.server.models import Model
from cyclegan.server.scan import Scan
from cyclegan.server.series import Label, companion
from cyclegan.server.state import state
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair
from cyclegan.trust.calibration import Calibration
from cyclegan.trust.checks import InputCheck


@pytest.mark.parametrize(
    ("label", "hint", "to", "word", "switch_to", "words"),
    [
        ("T1", None, "T2", "fits", None, "Looks like T1"),
        ("T1", "T1", "T2", "fits", None, "Looks like T1"),
        ("T1", "T2", "T2", "doubtful", None, "The header suggests T2"),
        ("T1", None, "T1", "not what it learnt", "T2", "The chosen direction is T2 → T1"),
        ("T2", "T1", "T2", "not what it learnt", "T1", "The header suggests T1"),
        ("other", "T1", "T2", "not what it learnt", None, "means nothing"),
        ("not a brain slice", None, "T1", "not what it learnt", None, "means nothing"),
        (None, None, "T2", "doubtful", None, "Not checked"),
        (None, "T2", "T2", "doubtful", "T1", "The header suggests T2"),
    ],
)
def test_what_speaks_against_the_direction(label, hint, to, word, switch_to, words):
    warning = input_warning(label and assessment(label), hint, to)
    assert (warning.fit.word, warning.switch_to) == (word, switch_to)
    assert warning.warns is (word != "fits")
    assert words in warning.text
    assert label is None or assessment(label).sentence in warning.text
    # What the header calls by another name is warned of whatever the pixels look like.
    named = input_warning(label and assessment(label), None, to, other="FLAIR")
    assert named.warns
    assert "The header says FLAIR" in named.text


def test_what_contrast_agent_brightens_is_said_to_mislead():
    seen = dataclasses.replace(assessment("other"), kind="T1POST")
    words = "may come out dark in a synthetic T2"
    for warning in (
        input_warning(seen, None, "T2"),
        input_warning(seen, None, "T2", other="post-contrast"),
    ):
        assert warning.text.count(words) == 1
        assert warning.warns
    # The header knows what pixels far from any enhancement do not show.
    assert words in input_warning(assessment("T1"), "T1", "T2", other="post-contrast").text
    assert words not in input_warning(assessment("other"), None, "T2").text


def test_the_direction_is_preset_by_the_pixels_before_the_header(opened):
    told = state(done(opened(head()[None], contrast_hint="T2")), "")
    assert told["to"] == "T2"  # the pixels are a T1
    assert told["check"]["word"] == "doubtful"  # the header disagrees
    assert preset(assessment("other"), "T2", "T2") == "T1"
    assert preset(None, None, "T1") == "T1"


def test_the_window_of_the_file_opens_the_original(scans):
    def opening(window):
        scan = Scan(scans.model, volume_of(head()[None] * 1000, window=window))
        return state(scan, "")["window"], scan.series.scale

    _, scale = opening(None)
    span = scale.high - scale.low
    half, _ = opening((scale.low + 0.3 * span, 0.5 * span))
    assert half == pytest.approx({"center": 0.3, "width": 0.5})
    for useless in (None, (scale.low - 2 * span, span), (scale.high + 2 * span, span), (0, 0)):
        assert opening(useless)[0] is None


@pytest.mark.parametrize(
    ("choice", "label"),
    [
        ("AX T2 axial, 24 slices, 512 x 256", ("AX T2 axial", "T2", "axial", 24, (256, 512))),
        ("a.png, 1 slice, 64 x 64", ("a.png", None, None, 1, (64, 64))),
        (
            "T1 sagittal, 3 slices, 64 x 32, echo time 9 ms",
            ("T1 sagittal, echo time 9 ms", "T1", "sagittal", 3, (32, 64)),
        ),
    ],
)
def test_a_series_in_the_list(choice, label):
    assert Label.of(choice) == label


def test_the_companion_is_of_the_same_size_where_there_is_one():
    labels = [
        Label("T1", "T1", None, 5, (64, 64)),
        Label("T2 thick", "T2", None, 3, (64, 64)),
        Label("T2", "T2", None, 5, (64, 64)),
        Label("FLAIR", None, None, 5, (64, 64)),
    ]
    assert companion(tuple(labels), 0, "T2") == 2
    assert companion(tuple(labels[:2]), 0, "T2") == 1
    assert companion(tuple(labels), 0, "T1") is None
    assert companion(tuple(labels), 2, "T1") == 0


# Numbers and maps.

NAMES = ("cycle_error", "cycle_robustness", "nmi", "predicted_error")


@pytest.fixture
def calibrated(model):
    """The model with a map for T2 and an interval only for T1, and numbers that tell for T2."""
    direction = {
        "expected": {name: [0.9, 0.95] for name in NAMES},
        "ranks": {
            "cycle_error": 0.5,
            "cycle_robustness": 0.1,
            "nmi": 0.7,
            "predicted_error": 0.1,
        },
        "maps": {"cycle error": 0.4, "brightness of the translation": 0.1},
        "map": "cycle error",
    }
    without = {
        **direction,
        "map": None,
        "ranks": dict.fromkeys(NAMES, 0.1),
        "interval": {"multiple": 2.0, "coverage": {"anna": 0.91}},
    }
    model.calibration = Calibration(
        {
            "subjects": ["anna"],
            "slices": 12,
            "directions": {"T2": direction, "T1": without},
        }
    )
    return model


def found(scan, index=0):
    """Findings as the route makes them."""
    series = scan.series
    made = Order(scan.model, series, series.view, index)
    measured = scan.measuring(made).result()
    return findings(scan.model, series, index, made.result(index), series.view.made, measured)


def test_the_best_number_comes_first_and_those_that_tell_little_are_not_there(calibrated, opened):
    told = found(done(opened(head()[None])))
    assert [each["name"] for each in told["numbers"]] == ["nmi"]
    number = told["numbers"][0]
    assert number["short"] == f"{number['value']:.2f}, typical 0.90 to 0.95"
    assert number["expected"] == [0.9, 0.95]
    assert number["unusual"] is not (number["value"] >= 0.9)
    assert told["map"]["rank"] == 0.4
    assert told["interval_words"] is None  # the map is of something else
    assert short({"value": 0.123, "expected": None}) == "0.12"


def test_measuring_the_whole_gives_the_other_numbers_too(calibrated, opened):
    scan = done(opened(head()[None]))
    series = scan.series
    result = scan.result(scan.key(), 0)
    few = measure(scan.model, series, result, series.view.made)
    whole = measure(scan.model, series, result, series.view.made, whole=True)
    assert set(few.numbers) == {"nmi", "predicted_error"}
    assert set(whole.numbers) == set(NAMES)
    assert few.numbers.items() <= whole.numbers.items()
    assert (few.is_whole, whole.is_whole) == (False, True)


def test_where_no_map_is_worth_it_values_keep_their_interval(calibrated, opened):
    calibrated.check = Sees("T2")
    scan = done(opened(head()[None]))
    told = found(scan)
    assert told["map"] is None
    assert "(91% to 91% by person)" in told["interval_words"]
    assert told["numbers"] == []  # they told little
    series = scan.series
    measured = series.results.measured(series.view.made, 0)
    prepared = series.prepared(scan.model)
    _, likely = calibrated.translate_with_error(series.volume.pixels[0], "T1", prepared, None)
    np.testing.assert_allclose(measured.map, 2 * likely, atol=1e-3)


def test_what_was_measured_is_kept_and_of_two_slices_the_newer_is_measured(
    calibrated, opened, monkeypatch
):
    from small_scans import busy

    scan = done(opened(head(slices=3)))
    series = scan.series

    def wish(index):
        return scan.measuring(Order(calibrated, series, series.view, index))

    first = wish(0)
    assert first.result().numbers
    with busy(calibrated):
        older, newer = wish(1), wish(2)
        assert wish(2) is newer
    assert newer.result().numbers
    assert older.cancelled()
    monkeypatch.setattr("cyclegan.server.measuring.measure", None)  # not worked out again
    assert wish(0).result() is first.result()


def test_a_slice_that_looks_like_something_else_is_said_to(calibrated, opened):
    class Odd:
        """Sees no brain in dark slices."""

        def assess(self, image, spacing=None):
            dark = image.ndim == 2 and image.max() < 0.75
            return assessment("not a brain slice" if dark else "T1", sure=0.97)

    calibrated.check = Odd()
    scan = done(opened(head(slices=6)))
    assert state(scan, "")["check"]["word"] == "fits"
    words = [found(scan, index)["fits"] for index in (0, 5)]
    assert words[0]["word"] == "not what it learnt"
    assert "This slice by itself" in words[0]["sentence"]
    assert words[1]["word"] != "not what it learnt"


def test_a_slice_without_a_head_has_no_numbers(calibrated, opened):
    volume = head(slices=3)
    volume[2] = 0
    scan = done(opened(volume))
    told = found(scan, 2)
    assert told["numbers"] == []
    assert told["map"] is None


def test_the_report_holds_everything_but_names(calibrated, opened):
    scan = done(opened(head()[None], name="Doe^Jane.nii", notes=('read from "Doe^Jane.nii"',)))
    scan.take_real(members(("Doe^Jane_T2.png", png(np.sqrt(head())))))
    told = found(scan)
    for words in (
        "Synthetic T2 from T1, slice 1 of 1",
        "not for diagnosis",
        "not cleared or approved",
        "Looks like T1.",
        "Note: read from …",
        "True error against the real T2",
        f"SSIM {told['true_error']['ssim']:.3f}",
        calibrated.translator.checksum,
        "Source-SHA256",
        "Rank correlation with the true error 0.40",
        *(reading["text"] for reading in told["numbers"]),
    ):
        assert words in told["report"]
    assert "Doe" not in told["report"]


def test_a_real_image_of_another_place_is_named_before_any_number(model, scans):
    seed = EXAMPLES[1].seed
    scan = scans.hold(Scan(model, example_volume(1)))
    scan.translation.check()
    done(scan)
    for level, elsewhere in ((0.5, False), (0.9, True)):
        labels = draw_slice(seed, level=level)
        real = simulate_pair(labels, np.random.default_rng(0)).t2
        scan.take_real(members(("real.png", png(real * 0.8))))
        scan.choose(register=False)
        told = found(scan)
        assert ("do not show the same place" in told["true_warning"]) is elsewhere
        assert ("do not show the same place" in told["report"]) is elsewhere


def test_weights_without_check_and_calibration_still_serve(tiny):
    model = Model.load(str(tiny))
    assert model.check is None
    assert str(tiny) not in model.unchecked  # no path of the server
    scan = Scan(model, volume_of(head()[None]))
    scan.translation.check()
    told = state(scan, "")
    assert "Not checked" in told["halted"]
    assert "checks.json is missing" in told["halted"]
    scan.choose(translate=True)
    told = found(done(scan))
    assert "trust.json is missing" in told["missing"]
    assert told["numbers"][0]["text"].replace(".", "").isdigit()


def test_the_shipped_weights_know_what_the_page_asks_for():
    model = Model.load("weights")
    assert isinstance(model.check, InputCheck)
    assert isinstance(model.translator, Translator)
    assert isinstance(model.styles, KnownStyles)
    assert not model.calibration.missing
