"""Tables and figures name each score by its own direction, source and picture."""

from __future__ import annotations

import numpy as np
import pytest
from known_translator import known_translator
from PIL import Image

from cyclegan import OTHER
from cyclegan.evaluation import scores
from cyclegan.evaluation.pairs import Pair, load_pairs, to_unit
from cyclegan.evaluation.scores import draw_figure, evaluate, format_tables
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two subjects of two sites; names with more than one underscore."""
    root = tmp_path_factory.mktemp("pairs")
    for k, name in enumerate(("site_01_1", "site_01_2", "site_02_1")):
        head = simulate_pair(draw_slice(k, 0.5, 64), np.random.default_rng(k), clean=True)
        for contrast, image in (("T1", head.t1), ("T2", head.t2)):
            (root / contrast).mkdir(exist_ok=True)
            Image.fromarray((255 * image).astype(np.uint8)).save(root / contrast / f"{name}.png")
    return root


@pytest.fixture(scope="module")
def result(pairs):
    return evaluate(load_pairs(pairs)[0], {"known": known_translator().translate})


def test_a_source_is_its_name_up_to_the_last_underscore(result):
    assert result["sources"] == {"site_01": 2, "site_02": 1}


def test_the_table_has_each_direction_s_own_scores(result):
    tables = {table.partition(",")[0]: table for table in format_tables(result).split("\n\n")}
    for to, source in OTHER.items():
        lines = tables[f"{source} → {to}"].splitlines()
        assert len({len(line) for line in lines if not line.startswith(("mean", "site"))}) == 1
        of_known = result["predictors"]["known"][to]
        for title, known in (
            ("mean of 2 sources", of_known["mean"]),
            ("site_01, n = 2", of_known["sources"]["site_01"]),
            ("site_02, n = 1", of_known["sources"]["site_02"]),
        ):
            numbers = lines[lines.index(title) + 1].replace(" to ", " ").split()[1:]
            low, high = known["ssim_interval"]
            names = ("psnr", "mae", "gradient_correlation", "full_ssim", "full_psnr")
            expected = [known["ssim"], low, high, *(known[name] for name in names)]
            np.testing.assert_allclose(np.array(numbers, float), expected, atol=0.006)
    means = [result["predictors"]["known"][to]["mean"]["ssim"] for to in OTHER]
    assert abs(means[0] - means[1]) > 0.02  # or exchanging them would not show


def test_each_subject_counts_the_same_in_the_mean(result):
    for of_known in (result["predictors"]["known"][to] for to in OTHER):
        for key in ("ssim", "psnr", "mae", "gradient_correlation"):
            sources = [one[key] for one in of_known["sources"].values()]
            assert of_known["mean"][key] == pytest.approx(np.mean(sources))


def test_the_interval_is_that_of_ninety_five_percent(monkeypatch):
    values = np.random.default_rng(0).normal(0.6, 0.1, 400)
    images = dict.fromkeys(("T1", "T2"), np.full((32, 32), 200, np.uint8))
    pairs = [Pair(f"one_{k}.png", images) for k in range(400)]
    monkeypatch.setattr(scores, "bright_spots", lambda *_: {"shown": 0})
    place = iter(range(800))  # both directions of each slice
    monkeypatch.setattr(scores, "slice_scores", lambda *_: {"ssim": values[next(place) // 2]})
    result = evaluate(pairs, {"any": lambda image, to: image / 255})
    mean = result["predictors"]["any"]["T2"]["mean"]
    low, high = mean["ssim_interval"]
    half = 1.96 * values.std() / 20  # of a mean of 400
    assert (high - low) / 2 == pytest.approx(half, rel=0.08)
    assert low < mean["ssim"] < high


def test_the_figure_shows_what_its_titles_say(pairs):
    loaded, _ = load_pairs(pairs)
    translate = known_translator().translate
    figure = draw_figure(loaded, {"known": translate})
    shown = {
        (axis.get_title(), row): np.asarray(axis.images[0].get_array())
        for row, axes in enumerate(np.reshape(figure.axes[:16], (2, 8)))
        for axis in axes
    }
    for row, name in enumerate(("site_01_2.png", "site_02_1.png")):
        (pair,) = [pair for pair in loaded if pair.name == name]
        for to, source_contrast in OTHER.items():
            source, truth = (to_unit(pair.images[c]) for c in (source_contrast, to))
            made = translate(pair.images[source_contrast], to)
            for title, image in {
                f"{name}\n{source_contrast}": source,
                f"known\n{source_contrast} → {to}": made,
                f"true {to}": truth,
                f"|error| of known\n{source_contrast} → {to}": np.abs(made - truth),
            }.items():
                np.testing.assert_allclose(shown.pop((title, row)), image, atol=1e-6)
    assert not shown


def test_a_pair_s_truth_is_of_the_contrast_that_is_asked_for():
    images = {"T1": np.full((20, 20), 51, np.uint8), "T2": np.full((20, 20), 204, np.uint8)}
    pair = Pair("a_1.png", images)
    assert (pair.truth("T1").mean(), pair.truth("T2").mean()) == pytest.approx((0.2, 0.8))
    moved = Pair(
        "a_1.png", images, registered={"T1": np.full((20, 20), 0.1), "T2": np.ones((20, 20))}
    )
    assert (moved.truth("T1").mean(), moved.truth("T2").mean()) == pytest.approx((0.1, 1.0))
