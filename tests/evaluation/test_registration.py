"""A known motion comes back as numbers and as pixels."""

import numpy as np
import pytest
from scipy import ndimage

from cyclegan.evaluation.registration import NO_MOTION, register_rigid
from cyclegan.simulation.phantom import draw_slice, draw_volume
from cyclegan.simulation.simulate import simulate_pair

TURN = 3.0  # degrees
ROWS, COLUMNS = 4.0, -5.5  # pixels


@pytest.fixture(scope="module")
def head():
    return simulate_pair(draw_slice(3, 0.5, 192), np.random.default_rng(0), clean=True)


def moved(image):
    turned = ndimage.rotate(image, TURN, reshape=False, order=3)
    return ndimage.shift(turned, (ROWS, COLUMNS), order=3).clip(0, 1)


def test_a_slice_of_the_other_contrast_is_brought_back(head):
    motion = register_rigid(head.t1, moved(head.t2))
    assert motion.degrees == pytest.approx(TURN, abs=0.2)
    assert motion.distance == pytest.approx(np.hypot(ROWS, COLUMNS), abs=0.3)
    middle = motion.matrix @ [95.5, 95.5, 0, 1]  # columns come first
    assert middle[:3] == pytest.approx([95.5 + COLUMNS, 95.5 + ROWS, 0], abs=0.3)
    before, after = (
        np.abs(x - head.t2).mean() for x in (moved(head.t2), motion.apply(moved(head.t2)))
    )
    assert after < before / 5


def test_millimetres_count_where_pixels_are_oblong(head):
    t1, t2 = head.t1[::2], moved(head.t2)[::2]  # rows 2 mm apart
    motion = register_rigid(t1, t2, (1.0, 2.0, 1.0))
    assert motion.degrees == pytest.approx(TURN, abs=0.4)
    assert motion.distance == pytest.approx(np.hypot(ROWS, COLUMNS), abs=0.6)
    assert np.abs(motion.apply(t2) - head.t2[::2]).mean() < np.abs(t2 - head.t2[::2]).mean() / 3


def test_a_volume_moves_through_its_slices_and_a_thin_one_does_not():
    labels = draw_volume(5, slices=16, size=96)
    pairs = [simulate_pair(each, np.random.default_rng(1), clean=True) for each in labels]
    t1, t2 = (np.stack([getattr(pair, name) for pair in pairs]) for name in ("t1", "t2"))
    spacing = (6.8, 2.7, 2.7)  # slice, row, column in mm
    shifted = ndimage.shift(t2, (0.5, 1, -1.5), order=1)
    motion = register_rigid(t1, shifted, spacing)
    assert motion.matrix[:3, 3] == pytest.approx([-1.5, 1, 0.5], abs=0.7)
    assert np.abs(motion.apply(shifted) - t2).mean() < 0.6 * np.abs(shifted - t2).mean()
    thin = register_rigid(t1[6:9], ndimage.shift(t2, (0, 1, -1.5), order=1)[6:9], spacing)
    assert thin.matrix[2] == pytest.approx([0, 0, 1, 0])  # no slice leaves its plane
    assert thin.matrix[:2, 3] == pytest.approx([-1.5, 1], abs=0.7)


def test_what_was_not_measured_does_not_count(head):
    """The moving image is cut off in the middle: its black half must not be taken for air."""
    covered = np.indices(head.t1.shape)[1] > 80
    motion = register_rigid(head.t1, moved(head.t2) * covered, measured=covered)
    assert motion.degrees == pytest.approx(TURN, abs=0.5)
    assert motion.distance == pytest.approx(np.hypot(ROWS, COLUMNS), abs=0.6)


def test_what_fits_or_shows_nothing_stays_where_it_is(head):
    assert register_rigid(head.t1, head.t2).distance < 0.3
    assert register_rigid(head.t1, np.zeros_like(head.t1)) is NO_MOTION
    with pytest.raises(ValueError, match=r"\(192, 192\) and \(190, 192\) differ"):
        register_rigid(head.t1, head.t2[1:-1])
