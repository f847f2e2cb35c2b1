"""Numbers and maps of one slice, on images where the answer is known."""

import numpy as np
import pytest
from scipy import ndimage

from cyclegan.model.head import foreground
from cyclegan.model.translator import CycleResult
from cyclegan.trust import evidence


def anatomy(seed=0, size=96):
    """(H, W) in [0, 1]: texture in a disc, air around."""
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 2)
    rows, columns = np.indices((size, size)) - size / 2
    return np.where(np.hypot(rows, columns) < 0.4 * size, np.clip(0.5 + 2 * texture, 0.2, 0.8), 0)


def cycle(source, translated, reconstructed=None):
    return CycleResult(source, translated, source if reconstructed is None else reconstructed)


def test_without_a_head_there_are_no_numbers():
    air = np.zeros((64, 64))
    assert evidence.cycle_error(cycle(air, air)) == {}
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
    mean = evidence.cycle_error(cycle(source, source, reconstructed))["cycle_error"]
    assert mean == pytest.approx(20 / foreground(source).sum(), rel=0.01)
    assert list(evidence.error_maps(cycle(source, source))) == [evidence.CYCLE_ERROR]


def test_the_mean_predicted_error_leaves_out_air():
    source = np.zeros((96, 96))
    source[20:76, 20:76] = 0.5
    predicted, head = np.where(source > 0, 0.1, 0), foreground(source)
    mean = evidence.mean_predicted_error(source, predicted)["predicted_error"]
    assert mean == pytest.approx(predicted[head].mean())
    assert mean > 2 * predicted.mean()
