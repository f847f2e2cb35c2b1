"""What people pass as an image or a spacing: taken where it can only mean one thing, or refused."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from cyclegan import InputCheck, Translator
from cyclegan.model.arrays import checked_spacing

WEIGHTS = Path(__file__).parents[2] / "weights"
HEAD = np.random.default_rng(0).random((64, 48), np.float32)


@pytest.fixture
def translator(export_tiny):
    return Translator.from_pretrained(export_tiny(64))


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.stack([HEAD] * 3, -1), r"shape \(64, 48, 3\): \(H, W, 3\) looks like colour channels"),
        (np.stack([HEAD] * 4, -1), r"\(H, W, 4\) looks like colour channels"),
        (HEAD[..., None], r"\(H, W, 1\) looks like colour channels; .* image\[\.\.\., 0\]"),
        (HEAD[:31], r"shape \(31, 48\): too few pixels .* at least 32 x 32 are needed"),
        (np.zeros((5, 16, 16)), r"\(5, 16, 16\): too few pixels"),
        (np.ones((64, 64, 20)), r"too few pixels .*; slices come first, \(Z, H, W\)"),
        (np.ones((64, 3, 64)), "too few pixels"),
        (np.full_like(HEAD, np.nan), "no pixel holds a finite number"),
        (np.full_like(HEAD, -np.inf), "no pixel holds a finite number"),
        (HEAD.astype(float) * 1e300 + 1e300, "no pixel holds a finite number"),
        (HEAD + 1j, "complex image: pass its magnitude"),
        (HEAD.astype(object), "type object: expected real numbers"),
        (np.zeros((64, 64), "M8[s]"), "expected real numbers"),
        (None, "expected real numbers"),
        ("scan.nii.gz", "expected real numbers; read_volume reads a file"),
        (np.zeros((0, 64)), r"shape \(0, 64\): expected \(H, W\)"),
        (np.zeros((0, 64, 64)), r"expected \(H, W\) or \(Z, H, W\)"),
        (np.zeros((1, 1, 64, 64)), r"expected \(H, W\) or \(Z, H, W\)"),
        ([], r"expected \(H, W\)"),
        ([[1, 2], [3]], "no array can be made of this list"),
        (torch.rand(64, 64, requires_grad=True), "no array can be made of this Tensor"),
    ],
)
def test_what_is_no_slice_is_refused_in_words_by_every_call(translator, image, sentence):
    for call in (translator.translate, translator.cycle):
        with pytest.raises(ValueError, match=sentence):
            call(image, to="T2")


def test_another_contrast_is_refused(translator):
    with pytest.raises(ValueError, match='"T1" or "T2"'):
        translator.translate(HEAD, to="T3")


def test_colours_are_no_slices_for_the_input_check_and_prepare_either(translator):
    check, colours = InputCheck.from_pretrained(WEIGHTS), np.stack([HEAD] * 3, -1)
    for call in (check.assess, translator.prepare):
        with pytest.raises(ValueError, match="looks like colour channels"):
            call(colours)
    with pytest.raises(ValueError, match="complex image"):
        check.assess(HEAD + 1j)


def test_lists_bools_tensors_and_single_bad_pixels_are_taken(translator):
    expected = translator.translate(HEAD, to="T2")
    for same in (HEAD.tolist(), torch.from_numpy(HEAD), HEAD.astype(np.float64)):
        result = translator.translate(same, to="T2")
        assert (result.shape, result.dtype) == (HEAD.shape, np.float32)
        np.testing.assert_allclose(result, expected, atol=1e-5)
    assert translator.translate(HEAD > 0.5, to="T2").shape == HEAD.shape
    holes = np.stack([HEAD, HEAD * np.nan, HEAD])
    holes[0, 3, 4:7] = np.nan, np.inf, -np.inf
    with warnings.catch_warnings(action="error"):
        result = translator.translate(holes, to="T2")
    assert np.isfinite(result).all()
    assert result[1].max() == 0


def test_a_narrow_volume_as_files_hold_it_is_translated_when_it_is_prepared(translator):
    volume = np.tile(np.arange(64.0), (64, 20, 1))
    prepared = translator.prepare(volume)
    assert translator.translate(volume[0], to="T2", prepared=prepared).shape == (20, 64)


@pytest.mark.parametrize(
    ("spacing", "taken"),
    [
        ((1, 2), (1.0, 2.0)),
        (np.array([1.0, 1.25]), (1.0, 1.25)),
        ([0.5, 0.5], (0.5, 0.5)),
        (0.9, (0.9, 0.9)),
        ((3.0, 1.0, 1.0), "of a Volume pass its pixel_spacing"),
        ((1.0,), "expected two positive numbers"),
        ((), "expected two positive numbers"),
        ((1, 0), "expected two positive numbers"),
        ((1, -2), "expected two positive numbers"),
        ((1, np.inf), "expected two positive numbers"),
        (("a", "b"), "expected two positive numbers"),
        (((1, 2), (3, 4)), "expected two positive numbers"),
    ],
)
def test_spacing_is_two_numbers_or_a_sentence(translator, spacing, taken):
    if isinstance(taken, str):
        with pytest.raises(ValueError, match=taken):
            translator.translate(HEAD, to="T2", spacing=spacing)
    else:
        assert checked_spacing(spacing) == taken
        assert translator.translate(HEAD, to="T2", spacing=spacing).shape == HEAD.shape
