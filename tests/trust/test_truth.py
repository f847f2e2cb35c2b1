"""The real target image: where it lies, and what it says of the translation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from cyclegan.evaluation.metrics import slice_scores
from cyclegan.reading.volume import Volume
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair
from cyclegan.trust.truth import TruthError, match, true_error


def volume_of(pixels, affine=None, name="scan.nii"):
    return Volume(np.asarray(pixels, np.float32), None, affine, None, None, None, name)


def field(affine, shape):
    """A linear function of the place in the patient, sampled on a grid (Z, H, W): interpolation
    between its samples is exact."""
    z, y, x = np.indices(shape)
    world = np.tensordot(affine, np.stack([x, y, z, np.ones(shape)]), 1)[:3]
    return 300 + world[0] + 2 * world[1] + 5 * world[2]


def turned(angle, spacing, origin):
    """An affine whose slices are turned by `angle` degrees about z."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * spacing
    affine[:3, 3] = origin
    return affine


def test_two_grids_are_matched_by_their_place_in_the_patient_to_a_part_of_a_voxel():
    here, there = turned(0, (1, 1, 4), (-30, -30, 0)), turned(20, (1.5, 0.8, 3), (-55, -60, -6))
    source = volume_of(field(here, (5, 60, 60)), here)
    truth = volume_of(field(there, (12, 160, 80)), there, "real.nii")
    matched = match(truth, source, register=False)
    for index in range(5):
        values, covered = matched.slice(index, (60, 60))
        assert covered.mean() > 0.9
        inside = ndimage.binary_erosion(covered, iterations=2) & (values > 0.01) & (values < 0.99)
        assert inside.sum() > 500
        expected = matched.scale.apply(source.pixels[index])
        np.testing.assert_allclose(values[inside], expected[inside], atol=2e-4)
        assert (values[~covered] == 0).all()


def test_a_part_that_was_not_measured_is_not_compared():
    here, there = turned(0, (1, 1, 4), (0, 0, 0)), turned(0, (1, 1, 4), (30, 0, 0))
    source, truth = volume_of(field(here, (3, 60, 60)), here), volume_of(field(there, (3, 60, 60)))
    truth = volume_of(truth.pixels, there)
    matched = match(truth, source, register=False)
    assert any("50 %" in note for note in matched.notes)
    _, covered = matched.slice(1, (60, 60))
    assert covered[:, 31:].all()
    assert not covered[:, :29].any()


def test_the_same_grid_is_not_resampled():
    affine = turned(5, (1, 1, 4), (0, 0, 0))
    pixels = np.random.default_rng(0).random((2, 40, 40))
    matched = match(volume_of(pixels, affine), volume_of(1 - pixels, affine.copy()), register=False)
    values, covered = matched.slice(1, (40, 40))
    np.testing.assert_array_equal(values, matched.scale.apply(pixels[1]))
    assert covered.all()


def test_without_geometry_only_the_same_matrix_will_do():
    pixels = np.random.default_rng(0).random((1, 40, 40))
    matched = match(volume_of(pixels), volume_of(pixels, np.eye(4)))
    assert "pixel by pixel" in matched.notes[0]
    with pytest.raises(TruthError, match=r"^real\.png: .*1 × 40 × 48.*1 × 40 × 40.*would work\.$"):
        match(volume_of(np.ones((1, 40, 48)), name="real.png"), volume_of(pixels, np.eye(4)))


def test_a_patient_who_moved_is_registered_and_the_notes_say_by_how_much():
    """The real image is turned and shifted in its own grid, which has smaller pixels."""
    labels = draw_slice(3, 0.5, 192)
    head = simulate_pair(labels, np.random.default_rng(0), clean=True)
    turned = ndimage.rotate(head.t2, 3, reshape=False, order=3)
    moved = ndimage.zoom(ndimage.shift(turned, (4, -5.5), order=3), 2, order=1).clip(0, 1)
    fine = np.diag([0.5, 0.5, 1, 1.0])
    fine[:2, 3] = -0.25  # the corner of the first pixel is where the coarse grid has it
    source = volume_of(head.t1[None], np.eye(4))
    source = replace(source, spacing=(1.0, 1.0, 1.0))
    beside, onto = (
        match(volume_of(moved[None], fine, "real.nii"), source, register) for register in (0, 1)
    )
    assert onto.motion.degrees == pytest.approx(3, abs=0.3)
    assert "moved by 6.8 mm, turned by 3.0°" in onto.notes[-1]
    errors = [np.abs(t.slice(0, (192, 192))[0] - head.t2).mean() for t in (beside, onto)]
    assert errors[1] < errors[0] / 3


def test_another_place_is_refused():
    pixels = np.ones((2, 40, 40))
    with pytest.raises(TruthError, match=r"^real\.nii: .*0 %.*same session would work\.$"):
        match(
            volume_of(pixels, turned(0, (1, 1, 1), (500, 0, 0)), "real.nii"),
            volume_of(pixels, np.eye(4)),
        )


def test_the_scores_are_those_of_the_evaluation():
    rows, columns = np.indices((64, 64)) - 32
    head = np.hypot(rows, columns) < 25
    truth = np.where(head, 0.5 + 0.3 * np.sin(columns / 4), 0)
    source, translated = np.where(head, 0.8 - 0.5 * truth, 0), np.where(head, truth + 0.1, 0)
    scores = true_error(translated, truth, source, np.ones((64, 64), bool))
    expected = slice_scores(translated, truth, source)
    assert scores == {name: expected[name] for name in ("ssim", "psnr", "mae")}
    half = columns > 0
    wrong_elsewhere = np.where(half, translated, 0)
    mae = true_error(wrong_elsewhere, truth, source, half)["mae"]
    assert mae == pytest.approx(0.1, abs=0.02)  # the mask reaches a little into the air
    assert true_error(translated, truth, source, np.zeros((64, 64), bool)) is None
