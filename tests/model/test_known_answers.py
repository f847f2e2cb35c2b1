"""Translations of which every grey value is known, by generators that are straight lines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_translator import SIZE, known_translator
from torch import nn

from cyclegan.model.head import head_without_rim
from cyclegan.model.preprocess import Frame
from cyclegan.model.translator import Translator

LINES = ((-0.7, 0.9), (0.3, 0.5))  # slope and level of T2, and of T1


@pytest.fixture
def head() -> np.ndarray:
    """(64, 64) in [0, 1]: flat at 0.4, dark in a hole, with a bright rim; it fills the range of an
    export, so no scaling changes it."""
    rows, columns = np.indices((SIZE, SIZE)) - 31.5
    distance = np.hypot(rows, columns)
    image = np.where(distance < 28, 0.4, 0)
    image[(distance > 26) & (distance < 28)] = 0.95
    image[30:34, 40:44] = 0
    return image.astype(np.float32)


def slopes(frame: Frame) -> np.ndarray:
    """(64,) how steep the known generators are at each row of the image."""
    rows = np.arange(SIZE) - frame.top + 0.5
    return np.interp(rows * SIZE / frame.side - 0.5, np.arange(SIZE), np.linspace(0.5, 1, SIZE))


@pytest.mark.parametrize(("to", "there", "back"), [("T2", *LINES), ("T1", *LINES[::-1])])
def test_a_cycle_has_the_values_of_the_generators(head, to, there, back):
    translator = known_translator()
    result = translator.cycle(head, to)
    np.testing.assert_allclose(result.source, head)
    steep = slopes(translator.prepare(head).frame)[:, None]
    flat = np.zeros(head.shape, bool)
    flat[18:46, 16:34] = True  # away from the rim and the hole
    expected = np.broadcast_to(there[1] + there[0] * steep * 0.4, head.shape)
    np.testing.assert_allclose(result.translated[flat], expected[flat], atol=5e-3)
    np.testing.assert_allclose(translator.translate(head, to), result.translated)
    expected = back[1] + back[0] * steep * result.translated
    np.testing.assert_allclose(result.reconstructed[flat], expected[flat], atol=5e-3)
    for image in (result.translated, result.reconstructed):
        assert (image[head == 0][:100] == 0).all()  # air


def test_everything_of_a_head_stays_and_only_black_goes(head):
    mask = head_without_rim(head)
    assert mask[head > 0].all()  # also a bright rim
    assert mask[30:34, 40:44].all()  # dark inside is fluid
    assert not mask[:2].any()


def test_the_predicted_error_is_in_grey_values(head):
    class WithError(nn.Module):
        error_head = nn.Identity()  # as generators that predict errors have one

        def forward(self, grid, code=None, error=False):
            output = 1 - grid
            return (output, torch.full_like(grid, np.log(0.07))) if error else output

    config = {"size": SIZE, "version": "known", "sha256": ""}
    generators = {to: WithError() for to in ("T1", "T2")}
    translator = Translator(generators, config, "cpu", torch.float32)
    translated, error = translator.translate_with_error(head, "T2")
    np.testing.assert_allclose(error[14:50, 14:34], 0.07, rtol=1e-3)
    assert error[0].max() == 0
    np.testing.assert_allclose(translated, translator.translate(head, "T2"))


def test_a_volume_is_scaled_by_its_foreground_as_one():
    """Tissue of 301 to 1300 evenly: the percentile is 1298, and no export has such a range."""
    volume = np.zeros((4, SIZE, SIZE), np.int16)
    volume[:, 7:57, 7:57] = np.arange(301, 1301).repeat(10).reshape(4, 50, 50)
    result = known_translator().cycle(volume, "T2")
    np.testing.assert_allclose(result.source, np.clip(volume / 1298, 0, 1), atol=2e-3)
    flat = np.s_[:, 20:44, 20:44]
    steep = slopes(known_translator().prepare(volume).frame)[None, 20:44, None]
    expected = 0.9 - 0.7 * steep * result.source[flat]
    np.testing.assert_allclose(result.translated[flat], expected, atol=0.01)
