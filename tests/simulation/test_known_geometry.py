"""Random geometry on marks whose place is known, and simulated inputs of their own contrast."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
import torch

from cyclegan.simulation.augment import RandomStream, blur, move_real, resample, sampling_grid
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import Simulator
from cyclegan.simulation.tissues import inversion_recovery, spin_echo

BATCH = 64


@pytest.fixture
def stream():
    return RandomStream(BATCH, torch.Generator().manual_seed(0))


def test_slices_are_mirrored_left_to_right_and_never_upside_down(stream):
    marked = torch.zeros(BATCH, 1, 64, 64)
    marked[:, :, 8:16, 8:16] = 1  # top left
    still = {"rotation": 0.0, "stretch": 0.0, "shift": 0.0}
    whole = torch.ones(BATCH)
    grid = sampling_grid(stream, 64, torch.zeros(BATCH, 2), whole, **still)
    moved = resample(marked, grid)[:, 0]
    at_left = moved[:, 8:16, 8:16].mean((1, 2)) > 0.9
    at_right = moved[:, 8:16, 48:56].mean((1, 2)) > 0.9
    assert (at_left | at_right).all()
    assert 0.3 < at_left.float().mean() < 0.7
    images, _ = move_real(marked * 0.8, torch.ones_like(marked), 64, stream)
    assert (images[:, 0, :32].sum((1, 2)) > 10 * images[:, 0, 32:].sum((1, 2))).all()


def test_a_blur_has_a_width_for_rows_and_one_for_columns():
    dot = torch.zeros(2, 1, 33, 33)
    dot[:, :, 16, 16] = 1
    down, across = blur(dot, torch.tensor([[1.5, 0.0], [0.0, 1.5]]))[:, 0]
    offsets = torch.arange(33) - 16.0
    for image, along, other in ((down, 1, 0), (across, 0, 1)):
        assert image.sum() == pytest.approx(1, abs=1e-5)
        spread = (image.sum(along) * offsets**2).sum().sqrt()
        assert spread == pytest.approx(1.5, rel=0.05)
        assert (image.sum(other) * offsets**2).sum() == pytest.approx(0, abs=1e-5)


def test_a_head_beside_the_middle_is_framed():
    labels = np.zeros((2, 128, 128), np.int64)
    labels[0, 10:60, 70:120] = labels[1, 70:120, 10:60] = 3  # top right, bottom left
    plain = {"lesions": 0, "stripped": 0, "degrade": False, "pick": torch.arange(2)}
    pair = Simulator(labels).sample(2, 64, torch.Generator().manual_seed(0), **plain)
    for image in pair.t1_target[:, 0]:
        rows, columns = torch.where(image > 0.1)
        for places in (rows, columns):
            assert places.float().mean() == pytest.approx(31.5, abs=1.5)
        assert len(rows) > 0.4 * 64**2


def test_an_input_has_the_contrast_of_its_target():
    labels = np.stack([draw_slice(seed, 0.5, 128) for seed in range(2)])
    pair = Simulator(labels).sample(12, 64, torch.Generator().manual_seed(1), lesions=0)
    own, others = [], []
    for images, right, wrong in (
        (pair.t1, pair.t1_target, pair.t2_target),
        (pair.t2, pair.t2_target, pair.t1_target),
    ):
        for three in zip(images, right, wrong, pair.brain, strict=True):
            image, *targets = (x[three[-1]] for x in three[:-1])
            for target, found in zip(targets, (own, others), strict=True):
                found.append(float(torch.corrcoef(torch.stack([image, target]))[0, 1]))
    assert min(own) > 0.3
    assert np.mean(own) > 0.8
    assert max(others) < 0.2


def test_signals_are_those_of_the_equations():
    """By hand, for PD 0.7, T1 800 ms and T2 80 ms."""
    tissue = (torch.tensor(0.7), torch.tensor(800.0), torch.tensor(80.0))
    expected = 0.7 * (1 - exp(-500 / 800)) * exp(-12 / 80)
    assert float(spin_echo(*tissue, 500, 12)) == pytest.approx(expected, rel=1e-5)
    expected = 0.7 * abs(1 - 2 * exp(-900 / 800) + exp(-2000 / 800)) * exp(-4 / (0.7 * 80))
    assert float(inversion_recovery(*tissue, 2000, 900, 4)) == pytest.approx(expected, rel=1e-5)
