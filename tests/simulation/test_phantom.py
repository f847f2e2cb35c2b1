"""The phantom is a head: complete, closed, upright, and the same person at every height."""

import numpy as np
import pytest
from scipy import ndimage

from cyclegan.simulation.phantom import draw_slice, draw_volume

BRAIN = [2, 3, 4, 7, 8, 10, 11, 12, 13, 16]


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.sum(a & b) / (np.sum(a) + np.sum(b))


def test_shape_and_type():
    labels = draw_slice(1)
    assert labels.shape == (256, 256)
    assert labels.dtype == np.uint16
    volume = draw_volume(1, slices=3, size=96)
    assert volume.shape == (3, 96, 96)
    assert volume.dtype == np.uint16


def test_volume_is_the_stack_of_its_slices():
    volume = draw_volume(5, slices=3, size=128)
    np.testing.assert_array_equal(volume[1], draw_slice(5, 0.5, 128))


def test_size_changes_resolution_not_anatomy():
    coarse, fine = draw_slice(2, 0.5, 128), draw_slice(2, 0.5, 256)
    assert dice(coarse > 0, fine[::2, ::2] > 0) > 0.97
    assert (
        dice(np.isin(coarse, [2, 10, 11, 12, 13]), np.isin(fine[::2, ::2], [2, 10, 11, 12, 13]))
        > 0.7
    )


def test_different_seeds_differ():
    assert dice(draw_slice(1, 0.7) == 3, draw_slice(2, 0.7) == 3) < 0.7


@pytest.mark.parametrize("level", [0.1, 0.45, 0.65, 0.9])
def test_neighbouring_slices_match(level):
    here, next_door = draw_slice(4, level), draw_slice(4, level + 0.01)  # 1 mm apart
    assert dice(here > 0, next_door > 0) > 0.97
    for code in (2, 3):
        assert dice(here == code, next_door == code) > 0.7


@pytest.mark.parametrize("seed", range(4))
def test_labels_appear_where_anatomy_puts_them(seed):
    low = set(np.unique(draw_slice(seed, 0.02)))
    middle = set(np.unique(draw_slice(seed, 0.42)))
    high = set(np.unique(draw_slice(seed, 0.85)))
    assert {7, 8, 16, 4, 506, 508, 509, 511, 514, 515, 516, 62} <= low
    assert {2, 3, 4, 24, 10, 11, 12, 13, 515, 516} <= middle
    assert {2, 3, 24, 508, 514, 515, 516} <= high
    assert not high & {7, 8, 10, 12, 16, 506}


@pytest.mark.parametrize("level", [0.3, 0.5, 0.7, 0.95])
def test_skull_encloses_brain(level):
    labels = draw_slice(3, level)
    bone = np.isin(labels, [514, 515])
    enclosed = ndimage.binary_fill_holes(bone)
    assert enclosed[np.isin(labels, BRAIN)].all()
    assert not bone[labels == 0].any()
    regions, _ = ndimage.label(~bone)
    assert not set(regions[np.isin(labels, BRAIN)]) & set(regions[labels == 0])


def test_anterior_is_up_and_sides_mirror():
    labels = draw_slice(8, 0.0)
    rows, columns = np.nonzero(labels == 506)
    assert rows.max() < 128
    assert (columns < 128).any()
    assert (columns > 128).any()
    cerebellum, _ = np.nonzero(np.isin(labels, [7, 8]))
    assert cerebellum.mean() > rows.mean() + 60
    head = draw_slice(8, 0.6) > 0
    assert dice(head, head[:, ::-1]) > 0.93
    assert not np.array_equal(head, head[:, ::-1])


@pytest.mark.parametrize("seed", range(6))
def test_tissue_fractions_are_plausible(seed):
    labels = draw_slice(seed, 0.6)
    brain = np.isin(labels, [*BRAIN, 24])
    share = {code: np.sum(labels == code) / brain.sum() for code in (2, 3, 4, 24)}
    assert 0.25 < share[2] < 0.6
    assert 0.25 < share[3] < 0.55
    assert 0.005 < share[4] < 0.2
    assert 0.03 < share[24] < 0.35


@pytest.mark.parametrize("bad", [{"level": 1.2}, {"level": -0.1}, {"size": 8}])
def test_impossible_requests_are_refused(bad):
    with pytest.raises(ValueError, match=r"level|size"):
        draw_slice(0, **bad)
