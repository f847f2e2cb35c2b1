"""A truth that lies beside its source is moved onto it, and the source stays where it is."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cyclegan.evaluate import main
from cyclegan.evaluation.pairs import load_pairs, with_registered_truth
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same head as a pair, of which one folder has its T2 beside the T1."""
    top = tmp_path_factory.mktemp("pairs")
    head = simulate_pair(draw_slice(0, 0.45, 192), np.random.default_rng(0), clean=True)
    beside = ndimage.rotate(head.t2, 2, reshape=False, order=3)
    beside = ndimage.shift(beside, (2.5, -3), order=3).clip(0, 1)
    for name, t2 in (("exact", head.t2), ("beside", beside)):
        for contrast, image in (("T1", head.t1[:, 8:-8]), ("T2", t2[:, 8:-8])):
            (top / name / contrast).mkdir(parents=True)
            pixels = (255 * image).round().astype(np.uint8)
            Image.fromarray(pixels).save(top / name / contrast / "head_0.png")
    return top


def test_scores_are_what_they_were_without_the_shift(folders, tmp_path):
    def ssim(name, *options):
        main(["--pairs", str(folders / name), "--json", str(tmp_path / "scores.json"), *options])
        result = json.loads((tmp_path / "scores.json").read_text("utf-8"))
        assert result["registered"] == bool(options)
        return [result["predictors"]["weights"][to]["mean"]["ssim"] for to in ("T2", "T1")]

    ways = ssim("exact"), ssim("beside"), ssim("beside", "--register")
    for exact, beside, moved in zip(*ways, strict=True):
        assert beside < exact - 0.1
        assert moved == pytest.approx(exact, abs=0.03)


def test_the_truth_alone_moves(folders):
    (before,), _ = load_pairs(folders / "beside")
    (after,) = with_registered_truth([before])
    assert all(np.array_equal(before.images[c], after.images[c]) for c in ("T1", "T2"))
    assert after.truth("T2").shape == before.images["T2"].shape
    assert np.abs(after.truth("T2") - before.truth("T2")).mean() > 0.01
