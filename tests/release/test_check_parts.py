"""What the input check is trained against and measured by, each by itself."""

import numpy as np
import pytest

from cyclegan.release.check_report import reliability
from cyclegan.release.negatives import DRAWERS, draw_negative


def test_negatives_fill_their_range():
    rng = np.random.default_rng(1)
    for drawer in dict.fromkeys(DRAWERS):
        picture = drawer(rng, 96)
        assert picture.shape == (96, 96), drawer.__name__
        assert 0 <= picture.min() <= picture.max() <= 1, drawer.__name__
        assert picture.std() > 0.02, drawer.__name__
    np.testing.assert_array_equal(*(draw_negative(np.random.default_rng(9)) for _ in range(2)))


def test_reliability_of_a_known_case():
    report = reliability(np.array([0.6, 0.6, 0.97, 0.97]), np.array([True, False, True, True]))
    assert report["ece"] == pytest.approx(0.5 * 0.1 + 0.5 * 0.03)
    assert [row["slices"] for row in report["reliability"]] == [2, 2]
