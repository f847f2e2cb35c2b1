"""Numbers and maps of one slice, on images where the answer is known."""

import numpy as np
import pytest
from scipy import ndimage

from cyclegan.model.head import foreground
from cyclegan.model.preprocess import Frame
from cyclegan.model.translator import CycleResult
from cyclegan.trust import evidence


def anatomy(seed=0, size=96):
    """(H, W) in [0, 1]: texture in a disc, air around."""
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 2)
    rows, columns = np.indices((size, size)) - size / 2
    return np.where(np.hypot(rows, columns) < 0.4 * size, np.clip(0.5 + 2 * texture, 0.2, 0.8), 0)


def cycle(source, translated, reconstructed=None):
    return CycleResult(source, translated, source if reconstructed is None else reconstructed)


def test_the_disturbance_is_eight_bits_and_slight_noise():
    ramp = np.tile(np.linspace(0.1, 0.9, 300, dtype=np.float32), (300, 1))
    disturbed = evidence.disturbed(ramp)
    assert disturbed.dtype == np.float32
    assert (disturbed - ramp).std() == pytest.approx(evidence.NOISE, rel=0.05)
    np.testing.assert_array_equal(disturbed, evidence.disturbed(ramp))
    assert evidence.disturbed(np.ones((50, 50))).max() <= 1


def test_a_cycle_that_hides_the_source_in_invisible_detail_is_not_robust():
    source = anatomy()
    frame = Frame.fit(source, 96)
    hidden = 0.5 * (source > 0) + source / 1000  # looks flat, contains everything

    def read_hidden(image, to, *, prepared, style=None):
        return np.clip((image - 0.5) * 1000, 0, 1)

    def honest(image, to, *, prepared, style=None):
        return np.clip(1 - image, 0, 1) * (source > 0)

    robust = {}
    for name, translated, back in (("hidden", hidden, read_hidden), ("honest", 1 - source, honest)):
        result = cycle(source, translated, back(translated, "T1", prepared=None) * (source > 0))
        again = evidence.reconstruct_disturbed(back, translated, "T2", frame) * (source > 0)
        numbers = evidence.cycle_numbers(result, again)
        assert numbers["cycle_error"] < 0.02  # the plain cycle is perfect for both
        robust[name] = numbers["cycle_robustness"]
    assert robust["honest"] > 0.95
    assert robust["hidden"] < 0.5


def test_without_a_head_there_are_no_numbers():
    air = np.zeros((64, 64))
    assert evidence.cycle_numbers(cycle(air, air), air) == {}
    assert evidence.nmi(cycle(air, air)) == {}
    assert evidence.mean_predicted_error(air, air) == {}


def test_mutual_information_falls_when_anatomy_moves():
    source = anatomy()
    translated = np.where(source > 0, 1 - source, 0)
    moved = [np.roll(translated, shift, axis=1) for shift in (0, 2, 6)]
    values = [evidence.nmi(cycle(source, image))["nmi"] for image in moved]
    assert values[0] > values[1] > values[2] - 0.02
    assert values[0] > values[2] + 0.05


def test_maps_count_errors_of_either_sign_and_the_predicted_one_comes_first():
    source = anatomy()
    reconstructed = source.copy()
    reconstructed[40:50, 40:50] += 0.1
    reconstructed[60:70, 40:50] -= 0.1
    predicted = np.where(source > 0, 0.05, 0)
    maps = evidence.error_maps(cycle(source, source, reconstructed), predicted)
    assert list(maps) == [evidence.PREDICTED_ERROR, evidence.CYCLE_ERROR]
    assert maps[evidence.PREDICTED_ERROR] is predicted
    cycle_error = maps[evidence.CYCLE_ERROR]
    for rows in (slice(40, 50), slice(60, 70)):
        assert cycle_error[rows, 40:50] == pytest.approx(0.1)
    assert cycle_error[:35].max() == 0
    assert list(evidence.error_maps(cycle(source, source))) == [evidence.CYCLE_ERROR]


def test_the_mean_predicted_error_leaves_out_air():
    source = np.zeros((96, 96))
    source[20:76, 20:76] = 0.5
    predicted, head = np.where(source > 0, 0.1, 0), foreground(source)
    mean = evidence.mean_predicted_error(source, predicted)["predicted_error"]
    assert mean == pytest.approx(predicted[head].mean())
    assert mean > 2 * predicted.mean()


def test_the_disturbed_translation_is_reconstructed_in_the_source_s_contrast():
    contrasts = []

    def translate(image, to, *, prepared, style=None):
        contrasts.append(to)
        return image

    image = np.full((64, 64), 0.5, np.float32)
    for to in ("T1", "T2"):
        evidence.reconstruct_disturbed(translate, image, to, Frame.fit(image, 64))
    assert contrasts == ["T2", "T1"]
