"""Each number, map and word is of its own direction, its own place and its own truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from known_translator import known_translator
from scipy.stats import spearmanr
from torch import nn

from cyclegan import OTHER
from cyclegan.evaluation.metrics import ssim
from cyclegan.evaluation.pairs import Pair
from cyclegan.model.head import foreground, joint_head
from cyclegan.release.calibrate import lesion_contrast, measure_slice
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair
from cyclegan.trust import evidence
from cyclegan.trust.calibration import BASELINE, MEASURES, Calibration
from cyclegan.trust.checks import KINDS, InputCheck

PLACES = {"T1": 1, "T2": 2}  # numbers of T1's direction begin with 0.1 or 1, of T2's with 0.2 or 2


def direction(place: int, shown: str | None) -> dict:
    tenth = place / 10
    return {
        "expected": {name: [tenth + 0.01, tenth + 0.05] for name in MEASURES},
        "ranks": dict.fromkeys(MEASURES, tenth + 0.5),
        "maps": {evidence.PREDICTED_ERROR: tenth + 0.04, BASELINE: tenth + 0.02},
        "map": shown,
        "interval": {"multiple": float(place), "coverage": {"a": tenth + 0.6, "b": tenth + 0.65}},
    }


def calibration(shown: str | None) -> Calibration:
    record = {"subjects": ["a", "b"], "slices": 9}
    directions = {to: direction(place, shown) for to, place in PLACES.items()}
    lesions = {"count": 4, "T1": 0.1, "T2": 0.2}
    return Calibration(record | {"directions": directions, "lesions": lesions})


@pytest.mark.parametrize("to", ["T1", "T2"])
def test_every_number_is_of_its_direction(to):
    place = PLACES[to]
    tenth, shown = place / 10, calibration(evidence.PREDICTED_ERROR)
    assert f"true error {tenth + 0.04:.2f} on 9" in shown.map_words(to)
    assert shown.interval(to) == place
    assert shown.lesion_contrast(to) == tenth
    for name in MEASURES:
        assert shown.expected(to, name) == (tenth + 0.01, tenth + 0.05)
    assert f"({tenth + 0.6:.0%} to {tenth + 0.65:.0%} by source)" in shown.interval_words(to)
    assert f"error {tenth + 0.04:.2f} on 9" in shown.map_words(to)
    assert f"alone reaches {tenth + 0.02:.2f}" in shown.map_words(to)
    for reading in shown.readings(to, dict.fromkeys(MEASURES, 0.5)):
        assert reading["expected"] == [tenth + 0.01, tenth + 0.05]
        assert reading["rank"] == tenth + 0.5
        assert reading["text"].startswith(f"typical {tenth + 0.01:.3f} to {tenth + 0.05:.3f}, this")
    words = calibration(None).map_words(to)
    assert words.startswith(f"No uncertainty map for {OTHER[to]} → {to}:")
    assert f"correlation of {tenth + 0.04:.2f} " in words


@pytest.mark.parametrize("name", list(MEASURES))
def test_a_number_is_unusual_on_its_bad_side_only(name):
    known = calibration(None)
    unusual = []
    for value in (0.1, 0.23, 0.9):  # below, within, above 0.21 to 0.25
        (reading,) = known.readings("T2", {name: value})
        unusual.append(reading["unusual"])
        assert (MEASURES[name].warning in reading["text"]) is reading["unusual"]
    assert unusual == [MEASURES[name].higher_is_better, False, not MEASURES[name].higher_is_better]


@pytest.fixture(scope="module")
def pair() -> Pair:
    head = simulate_pair(draw_slice(3, 0.5, 64), np.random.default_rng(1), lesion=True)
    images = {"T1": head.t1, "T2": head.t2}
    # The known translator is a bad one: the lower half of its truth is made to fit.
    made = known_translator().translate(images["T1"], "T2")
    images["T2"] = np.where(np.indices(made.shape)[0] > 40, made, images["T2"])
    eight = {c: (255 * image).astype(np.uint8) for c, image in images.items()}
    return Pair("anna_1.png", eight, (255 * head.lesion).astype(np.uint8))


def test_a_calibration_compares_with_the_truth(pair):
    translator = known_translator()
    measured = measure_slice(translator, pair, "T2")
    result = translator.cycle(pair.images["T1"], "T2")
    truth, source = pair.images["T2"] / 255, pair.images["T1"] / 255
    head = joint_head(source, truth)
    error = np.abs(result.translated - truth)[head]
    cycle = np.abs(result.source - result.reconstructed)[head]
    assert measured["maps"]["cycle error"] == pytest.approx(spearmanr(cycle, error).statistic)
    bright = result.translated[head]
    assert measured["maps"][BASELINE] == pytest.approx(spearmanr(bright, error).statistic)
    assert measured["ssim"] == pytest.approx(ssim(result.translated, truth, head))
    assert measured["subject"] == "anna"


def test_lesions_differ_by_what_each_contrast_shows(pair):
    square = np.zeros((64, 64), np.uint8)
    square[28:36, 28:36] = 255
    flat = (foreground(pair.images["T1"] / 255) * 100).astype(np.uint8)
    images = {"T1": flat - square // 10, "T2": flat + square // 5}
    known = lesion_contrast([replace(pair, images=images, lesion=square)])
    assert known == {"count": 1, "T1": pytest.approx(25 / 255, abs=1e-4), "T2": pytest.approx(0.2)}


@pytest.mark.parametrize(("odds", "temperature"), [(1.0, 1.0), (0.25, 1.0), (1.0, 4.0)])
def test_probabilities_follow_temperature_and_the_odds_of_other_contrasts(odds, temperature):
    logits = torch.tensor([2.0, 1.0, 3.0, 0.0, 0.5, -0.5, -1.0, -2.0, 0.2])

    class Fixed(nn.Module):
        def forward(self, images):
            return logits.expand(len(images), -1)

    check = InputCheck(
        Fixed(), {"kinds": list(KINDS), "temperature": temperature, "other_odds": odds}
    )
    (probabilities,) = check.kind_probabilities(np.zeros((1, 8, 8), np.float32))
    weights = np.exp(logits.numpy() / temperature)
    weights *= [odds if answer == "other" else 1.0 for answer in KINDS.values()]
    np.testing.assert_allclose(probabilities, weights / weights.sum(), rtol=1e-5)
