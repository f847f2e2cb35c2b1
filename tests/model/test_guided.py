"""The detail of a translation is its source's, at the source's resolution; nothing else is."""

import numpy as np
import pytest
import torch

from cyclegan.model.guided import guided, guided_grid
from cyclegan.model.preprocess import Frame

INVERTED, DIMMED = (0.9, -0.8), (0.1, 0.6)  # an output: level and slope of its source


def head(size):
    """(1, size, size) in [0, 1]: a disc with rings of period size / 120."""
    rows, columns = np.indices((size, size)) / size - 0.5
    radius = np.hypot(rows, columns)
    rings = 0.5 + 0.3 * np.sin(2 * np.pi * 120 * radius)
    return np.where(radius < 0.4, rings, 0)[np.newaxis].astype(np.float32)


def tissue(size):
    rows, columns = np.indices((size, size)) / size - 0.5
    return np.hypot(rows, columns) < 0.38


@pytest.mark.parametrize(("level", "slope"), [INVERTED, DIMMED])
def test_detail_that_the_grid_cannot_hold_comes_from_the_source(level, slope):
    sources = head(512)
    frame = Frame.fit(sources[0], size=256)
    grids = frame.apply(sources)
    outputs = (level + slope * grids).clamp(0, 1)
    truth = np.clip(level + slope * sources, 0, 1)
    inside = tissue(512)
    error = np.abs(guided(outputs, grids, sources, frame) - truth)[0, inside].mean()
    assert error < 0.5 * np.abs(frame.restore(outputs)[:, 0] - truth)[0, inside].mean()


@pytest.mark.parametrize(("level", "slope"), [INVERTED, DIMMED])
def test_texture_that_the_source_does_not_have_goes_and_its_edges_stay(level, slope):
    inside = tissue(256)
    step = np.where(np.arange(256) < 128, 0.3, 0.7)[np.newaxis, np.newaxis].astype(np.float32)
    sources = np.where(inside, step, 0)
    frame = Frame(256, 256, 0, 0, 256, 256)
    grids = frame.apply(sources)
    clean = torch.from_numpy(np.where(inside, level + slope * sources, 0))[None].float()
    texture = 0.05 * torch.randn(clean.shape, generator=torch.manual_seed(0))
    deep = (np.hypot(*(np.indices((256, 256)) - 127.5)) < 90)[np.newaxis]
    expected = clean.numpy()[0]
    guided_clean = guided(clean, grids, sources, frame)
    lost = np.abs(guided_clean - expected)[deep].max() / abs(0.4 * slope)
    assert lost < 0.15  # of the step; the mean alone loses 0.25
    left = guided(clean + texture, grids, sources, frame) - guided_clean
    assert left[deep].std() < 0.5 * texture.std()


def test_noise_of_a_flat_source_is_not_passed_on():
    noise = np.random.default_rng(0).normal(0, 0.03, (1, 256, 256)).astype(np.float32)
    frame = Frame(256, 256, 0, 0, 256, 256)
    sources = 0.5 + noise
    grids = frame.apply(sources)
    inverted = guided(1 - grids, grids, sources, frame)
    assert inverted.std() < 0.5 * noise.std()


def test_what_is_outside_the_frame_is_black_and_the_range_is_kept():
    sources = head(300)
    frame = Frame(300, 300, 100, 60, 128, 64)
    grids = frame.apply(sources)
    result = guided(2 - 3 * grids, grids, sources, frame)
    assert result.dtype == np.float32
    assert result.shape == sources.shape
    assert result.min() >= 0
    assert result.max() <= 1
    outside = np.ones((300, 300), bool)
    outside[100:228, 60:188] = False
    assert (result[0, outside] == 0).all()


def test_the_filter_on_the_grid_is_that_of_the_product():
    sources = head(64)
    frame = Frame(64, 64, 0, 0, 64, 64)
    grids = frame.apply(sources)
    outputs = torch.rand(grids.shape, generator=torch.manual_seed(0))
    expected = guided(outputs, grids, sources, frame)
    np.testing.assert_allclose(guided_grid(outputs, grids)[:, 0], expected, atol=1e-6)
