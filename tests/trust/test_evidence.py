"""Numbers and maps of one slice, on images where the answer is known."""

import numpy as np
import pytest
from scipy import ndimage

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


def test_a_cycle_that_hides_the_source_in_invisible_detail_is_found():
    source = anatomy()
    frame = Frame.fit(source, 96)
    hidden = 0.5 * (source > 0) + source / 1000  # styles flat, holds everything

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


def test_cycle_numbers_without_a_head_are_none():
    air = np.zeros((64, 64))
    assert evidence.cycle_numbers(cycle(air, air), air) == {}
    assert evidence.structure(next(iter(evidence.STRUCTURE)), cycle(air, air)) == {}


@pytest.mark.parametrize("name", list(evidence.STRUCTURE))
def test_structure_agreement_falls_when_anatomy_moves(name):
    source = anatomy()
    translated = np.where(source > 0, 1 - source, 0)
    values = [
        evidence.structure(name, cycle(source, np.roll(translated, shift, axis=1)))["structure"]
        for shift in (0, 2, 6)
    ]
    assert values[0] > values[1] > values[2] - 0.02
    assert values[0] > values[2] + 0.05


def test_maps_are_high_where_they_should():
    source = anatomy()
    translated = np.where(source > 0, 0.6, 0)
    reconstructed = source.copy()
    region = (slice(40, 50), slice(40, 50))
    reconstructed[region] += 0.1
    likely = np.where(source > 0, 0.05, 0)
    maps = evidence.error_maps(cycle(source, translated, reconstructed), likely)
    for name, map_ in maps.items():
        assert map_.shape == source.shape, name
        assert (map_ >= 0).all(), name
    assert maps["cycle error"][region].min() > 0.09
    assert maps["cycle error"][:35].max() == 0
    assert next(iter(maps)) == evidence.LIKELY
    assert evidence.LIKELY not in evidence.error_maps(cycle(source, translated))
    assert evidence.likely_numbers(source, likely)["likely_error"] == pytest.approx(0.05, abs=0.01)
    assert evidence.likely_numbers(np.zeros((9, 9)), np.zeros((9, 9))) == {}
