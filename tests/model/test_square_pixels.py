"""The network is given heads as they are, whatever shape the pixels have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cyclegan.model.head import head_mask, head_without_rim
from cyclegan.model.preprocess import LARGEST_RASTER, Frame
from cyclegan.model.translator import Translator


def head(side=192):
    """(side, side) in [0, 1]: an ellipse with structure in both directions."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    inside = (y / 0.8) ** 2 + (x / 0.65) ** 2 < 1
    return np.where(inside, 0.5 + 0.3 * np.sin(9 * x) * np.cos(7 * y), 0).astype(np.float32)


def squeezed(image, ratio, axis):
    """The image with pixels that are `ratio` times as long along `axis`, and their spacing."""
    shape = [
        side if place != axis else round(side / ratio) for place, side in enumerate((192, 192))
    ]
    spacing = [192 / side for side in shape]
    native = torch.from_numpy(image)[None, None]
    smaller = F.interpolate(native, size=shape, mode="bicubic", antialias=True)
    return smaller.clamp(0, 1)[0, 0].numpy(), tuple(spacing)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("ratio", [1.25, 1.5, 2, 3])
def test_the_grid_is_the_same_for_any_shape_of_pixels(ratio, axis):
    image = head()
    small, spacing = squeezed(image, ratio, axis)
    square = Frame.fit(image, 128).apply(image[None])[0, 0].numpy()
    frame = Frame.fit(small, 128, spacing)
    grid = frame.apply(small[None])[0, 0].numpy()
    stretched = Frame.fit(small, 128).apply(small[None])[0, 0].numpy()
    inside = square > 0.1
    error = np.abs(grid - square)[inside].mean()
    assert error < 0.05  # a frame's side is whole pixels
    assert error < 0.7 * np.abs(stretched - square)[inside].mean()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("ratio", [1.25, 2])
def test_what_is_restored_lies_on_the_source(ratio, axis):
    small, spacing = squeezed(head(), ratio, axis)
    frame = Frame.fit(small, 256, spacing)
    back = frame.restore(frame.apply(small[None]))[0, 0]
    assert back.shape == small.shape
    inner = small > 0.15
    assert np.abs(back - small)[inner].mean() < 0.02
    moved = [np.abs(np.roll(back, by, axis) - small).mean() for by in (-1, 0, 1)]
    assert np.argmin(moved) == 1


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("ratio", [1.5, 2])
@pytest.mark.parametrize("mask", [head_mask, head_without_rim])
def test_the_mask_of_a_head_reaches_as_far_along_either_side_of_a_pixel(mask, ratio, axis):
    image = np.clip(head() + 0.01, 0, 1)
    small, spacing = squeezed(image, ratio, axis)
    assert Frame.fit(small, 64, spacing).sides == pytest.approx(spacing)
    nearest = (np.arange(192) / spacing[axis]).astype(int)
    wrong = [
        (np.take(head_of, nearest, axis) != mask(image)).mean()
        for head_of in (mask(small, spacing), mask(small))
    ]
    assert wrong[0] < min(0.007, 0.95 * wrong[1])


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0), (0.7, 0.7), (0.7, 0.701)])
def test_square_pixels_change_nothing(export_tiny, spacing):
    translator = Translator.from_pretrained(export_tiny(64))
    image = head()[:150]
    assert Frame.fit(image, 64, spacing) == Frame.fit(image, 64)
    before, after = translator.cycle(image, "T2"), translator.cycle(image, "T2", spacing=spacing)
    assert np.array_equal(before.translated, after.translated)
    assert np.array_equal(before.reconstructed, after.reconstructed)


def test_translator_takes_the_spacing(export_tiny):
    translator = Translator.from_pretrained(export_tiny(64))
    small, spacing = squeezed(head(), 2, 0)
    result = translator.translate(small, "T2", spacing=spacing)
    assert result.shape == small.shape
    assert result.dtype == np.float32
    assert not np.array_equal(result, translator.translate(small, "T2"))
    prepared = translator.prepare(np.stack([small, small]), spacing)
    assert np.array_equal(result, translator.translate(small, "T2", prepared=prepared))
    assert (result[small < 0.001][:50] == 0).all()


def test_rasters_stay_small():
    wide = np.tile(head(), (1, 4))
    frame = Frame.fit(wide, 64, (4.0, 1.0))
    assert max(frame.raster) <= LARGEST_RASTER
    assert Frame.fit(wide, 64, (1e6, 1.0)).raster is None
