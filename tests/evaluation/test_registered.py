"""A truth that lies beside its source is moved onto it, and one that fits stays where it is."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cyclegan.evaluate import main
from cyclegan.evaluation.pairs import load_pairs, with_registered_truth
from cyclegan.evaluation.scores import evaluate
from cyclegan.model.translator import Translator
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair


def beside(image):
    turned = ndimage.rotate(image, 2, reshape=False, order=3)
    return ndimage.shift(turned, (2.5, -3), order=3).clip(0, 1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same two heads as pairs, of which one folder has its T2 beside the T1."""
    top = tmp_path_factory.mktemp("pairs")
    for k in range(2):
        head = simulate_pair(
            draw_slice(k, 0.45 + 0.1 * k, 224), np.random.default_rng(k), clean=True
        )
        for name, t2 in (("exact", head.t2), ("beside", beside(head.t2))):
            for contrast, image in (("T1", head.t1[:, 8:-8]), ("T2", t2[:, 8:-8])):
                (top / name / contrast).mkdir(parents=True, exist_ok=True)
                pixels = (255 * image).round().astype(np.uint8)
                Image.fromarray(pixels).save(top / name / contrast / f"head_{k}.png")
    return top


def test_scores_are_what_they_were_without_the_shift(folders):
    translator = Translator.from_pretrained("weights")

    def ssim(name, prepare):
        result = evaluate(folders / name, {"w": translator.translate}, prepare=prepare)
        return [result["predictors"]["w"][to]["mean"]["ssim"] for to in ("T2", "T1")]

    exact, moved = ssim("exact", list), ssim("beside", list)
    for before, after in zip(exact, ssim("exact", with_registered_truth), strict=True):
        assert after == pytest.approx(before, abs=0.01)
    for before, lost, after in zip(
        exact, moved, ssim("beside", with_registered_truth), strict=True
    ):
        assert lost < before - 0.1
        assert after == pytest.approx(before, abs=0.03)


def test_the_truth_alone_moves_and_the_command_says_so(folders, tmp_path):
    pairs, _ = load_pairs(folders / "beside")
    for before, after in zip(pairs, with_registered_truth(pairs), strict=True):
        assert all(np.array_equal(before.images[c], after.images[c]) for c in ("T1", "T2"))
        assert after.truth("T2").shape == before.images["T2"].shape
        assert np.abs(after.truth("T2") - before.truth("T2")).mean() > 0.01
    scores = tmp_path / "scores.json"
    main(["--pairs", str(folders / "beside"), "--register", "--json", str(scores)])
    assert json.loads(scores.read_text("utf-8"))["registered"] is True
