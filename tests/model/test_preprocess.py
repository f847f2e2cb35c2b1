"""Scaling and framing: any dtype, matrix and head position, and exactly back again."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cyclegan.model.head import head_mask, head_without_rim
from cyclegan.model.preprocess import LARGEST_RASTER, Frame, scale_intensity
from cyclegan.model.translator import Translator


def blob(height, width, top, left, size, value=1.0):
    image = np.zeros((height, width), np.float32)
    yy, xx = np.mgrid[:height, :width]
    inside = ((yy - top - size / 2) ** 2 + (xx - left - size / 2) ** 2) < (size / 2) ** 2
    image[inside] = value * (0.5 + 0.4 * np.sin(yy / 6.0) * np.cos(xx / 7.0))[inside]
    return image


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_scaling_reaches_zero_and_one_for_any_dtype(dtype):
    image = (blob(128, 128, 20, 20, 90) * 110).astype(dtype)
    scaled = scale_intensity(image)
    assert scaled.dtype == np.float32
    assert scaled.min() == 0
    assert scaled.max() == 1


def test_scaling_ignores_gain_and_offset():
    image = blob(128, 128, 20, 20, 90)
    np.testing.assert_allclose(
        scale_intensity(image * 4000 + 300), scale_intensity(image * 300), atol=1e-5
    )


@pytest.mark.parametrize(("white", "dtype"), [(255, np.uint8), (65535, np.uint16), (1, np.float32)])
def test_an_exported_image_keeps_the_window_it_was_exported_with(white, dtype):
    image = blob(128, 128, 20, 20, 90) * white
    np.testing.assert_allclose(
        scale_intensity(image.astype(dtype)), image.astype(dtype) / np.float32(white), atol=1e-6
    )
    dim = scale_intensity((image * 0.3).astype(dtype))  # nobody chose that window
    assert dim.max() == 1


def test_one_outlier_does_not_darken_the_image():
    image = blob(256, 256, 40, 40, 180) * 300
    spiked = image.copy()
    spiked[128, 128] = 30000
    assert np.abs(scale_intensity(spiked) - scale_intensity(image))[image > 0].mean() < 0.02


@pytest.mark.parametrize(("value", "dtype"), [(255, np.uint8), (7, np.int64), (np.nan, np.float32)])
def test_constant_and_non_finite_images_become_air(value, dtype):
    assert (scale_intensity(np.full((40, 40), value, dtype)) == 0).all()


@pytest.mark.parametrize(
    ("height", "width", "top", "left", "size"),
    [
        (256, 256, 40, 50, 170),
        (217, 181, 5, 2, 176),  # the head touches the edges
        (512, 512, 100, 120, 300),
        (160, 240, 10, 90, 140),
        (64, 64, 8, 8, 48),
        (301, 257, 60, 60, 181),  # odd sides
        (256, 256, 200, 10, 40),  # small, in a corner
    ],
)
def test_framing_goes_there_and_back_on_the_same_pixels(height, width, top, left, size):
    image = blob(height, width, top, left, size)
    frame = Frame.fit(image)
    grid = frame.apply(image[None])
    assert grid.shape == (1, 1, 256, 256)
    back = frame.restore(grid)[0, 0]
    assert back.shape == image.shape
    inside = image > 0
    # A shift by one pixel would cost several times as much as the interpolation does.
    error = np.abs(back - image)[inside].mean()
    shifted = np.abs(np.roll(back, 1, axis=1) - image)[inside].mean()
    assert error < 0.03
    assert error < 0.6 * shifted
    assert back[~head_mask(image)].mean() < 0.02


def test_the_head_fills_the_frame_but_a_small_slice_is_not_blown_up():
    large, small = blob(256, 256, 38, 38, 180), blob(256, 256, 110, 110, 30)
    frame = Frame.fit(large)
    assert 180 <= frame.side <= 200
    assert Frame.fit(small).side == round(0.6 * 256)


def test_a_volume_has_one_frame():
    volume = np.stack([blob(128, 128, 30, 30, 60), blob(128, 128, 10, 10, 100)])
    assert Frame.fit(volume) == Frame.fit(volume.max(0))


def test_a_head_mask_fills_holes_keeps_bays_and_drops_specks():
    image = blob(128, 128, 10, 10, 100)
    image[50:66, 50:66] = 0  # a sinus
    image[56:72, 96:] = 0  # from outside into the cheek
    image[4:6, 4:6] = 1
    mask = head_mask(image)
    assert mask[52:64, 52:64].all()
    assert not mask[60:68, 104:].any()
    assert not mask[4, 4]


# Pixels that are not square: the network is given heads as they are


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
