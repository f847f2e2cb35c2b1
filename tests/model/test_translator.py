"""The Translator's contract: any matrix and dtype in, float32 in [0, 1] on the same pixels out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from known_translator import SIZE, known_translator
from torch import nn

from cyclegan import Translator
from cyclegan.model.checkpoint import export_weights
from cyclegan.model.head import head_without_rim
from cyclegan.model.networks import UNetGenerator
from cyclegan.model.preprocess import Frame
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair

WEIGHTS = Path(__file__).parents[2] / "weights"
OPTIONS = {"channels": [8, 16]}
LINES = ((-0.7, 0.9), (0.3, 0.5))  # slope and level of T2, and of T1


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with a small random model: the contract holds for any weights."""
    torch.manual_seed(0)
    networks = {c: UNetGenerator(**OPTIONS) for c in ("T1", "T2")}
    for network in networks.values():
        torch.nn.init.normal_(network.head.weight, std=0.5)
    return export_weights(tmp_path_factory.mktemp("w"), networks, generator="unet",
                          generator_options=OPTIONS, size=64, version="test")  # fmt: skip


@pytest.fixture(scope="module")
def translator(small):
    return Translator.from_pretrained(small)


@pytest.fixture(scope="module")
def shipped():
    return Translator.from_pretrained(WEIGHTS)


@pytest.fixture(scope="module")
def head():
    return simulate_pair(draw_slice(5, level=0.55), np.random.default_rng(5))


@pytest.mark.parametrize("shape", [(256, 256), (217, 181), (512, 512), (3, 96, 80), (64, 200)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float64])
def test_output_has_the_input_s_matrix(translator, shape, dtype):
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    centre = ((y / shape[-2] - 0.5) ** 2 + (x / shape[-1] - 0.5) ** 2) < 0.15
    image = np.broadcast_to(centre * (40 + 30 * np.sin(x / 5)), shape).astype(dtype)
    result = translator.cycle(image, to="T2")
    for part in (result.source, result.translated, result.reconstructed):
        assert part.shape == shape
        assert part.dtype == np.float32
        assert 0 <= part.min() <= part.max() <= 1
    np.testing.assert_array_equal(result.translated, translator.translate(image, to="T2"))


def test_around_a_stripped_brain_what_is_black_stays_black(translator, head):
    brain = np.where(head.brain, 0.2 + 0.8 * head.t1, 0)
    brain[120:136, 120:136] = 0  # fluid
    translated = translator.translate((255 * brain).astype(np.uint8), to="T2")
    assert (translated[~head.brain] == 0).all()
    assert (translated[head.brain] > 0).mean() > 0.9
    assert (translated[120:136, 120:136] > 0).all()


def test_slices_of_a_volume_match_when_translated_one_by_one(translator):
    volume = np.stack([draw_slice(1, level=v, size=96) for v in (0.4, 0.5, 0.6)]).astype(float)
    whole = translator.translate(volume, to="T1")
    single = translator.translate(volume[1], to="T1", prepared=translator.prepare(volume))
    np.testing.assert_allclose(single, whole[1], atol=1e-4)


def test_sixteen_bit_detail_reaches_the_network(translator):
    y, x = np.mgrid[:96, :96]
    disc = (y - 48) ** 2 + (x - 48) ** 2 < 1600
    image = (disc * (30000 + 20 * np.sin(x))).astype(np.uint16)  # 8 bits would flatten the wave
    image[48, 48] = 60000
    flat = np.where(disc & (image < 60000), 30000, image)
    wave, flat = (translator.translate(i, to="T2")[40:56, 20:40] for i in (image, flat))
    assert not np.array_equal(wave, flat)


# Generators that are straight lines, so that every grey value is known


@pytest.fixture
def disc() -> np.ndarray:
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
def test_a_cycle_has_the_values_of_the_generators(disc, to, there, back):
    translator = known_translator()
    result = translator.cycle(disc, to)
    np.testing.assert_allclose(result.source, disc)
    steep = slopes(translator.prepare(disc).frame)[:, None]
    flat = np.zeros(disc.shape, bool)
    flat[18:46, 16:34] = True  # away from the rim and the hole
    expected = np.broadcast_to(there[1] + there[0] * steep * 0.4, disc.shape)
    np.testing.assert_allclose(result.translated[flat], expected[flat], atol=5e-3)
    np.testing.assert_allclose(translator.translate(disc, to), result.translated)
    expected = back[1] + back[0] * steep * result.translated
    np.testing.assert_allclose(result.reconstructed[flat], expected[flat], atol=5e-3)
    for image in (result.translated, result.reconstructed):
        assert (image[disc == 0][:100] == 0).all()  # air


def test_everything_of_a_head_stays_and_only_black_goes(disc):
    mask = head_without_rim(disc)
    assert mask[disc > 0].all()  # also a bright rim
    assert mask[30:34, 40:44].all()  # dark inside is fluid
    assert not mask[:2].any()


def test_the_predicted_error_is_in_grey_values(disc):
    class WithError(nn.Module):
        error_head = nn.Identity()  # as generators that predict errors have one

        def forward(self, grid, code=None, error=False):
            output = 1 - grid
            return (output, torch.full_like(grid, np.log(0.07))) if error else output

    config = {"size": SIZE, "version": "known", "sha256": ""}
    generators = {to: WithError() for to in ("T1", "T2")}
    translator = Translator(generators, config, "cpu", torch.float32)
    translated, error = translator.translate_with_error(disc, "T2")
    np.testing.assert_allclose(error[14:50, 14:34], 0.07, rtol=1e-3)
    assert error[0].max() == 0
    np.testing.assert_allclose(translated, translator.translate(disc, "T2"))


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


# The shipped weights


def test_shipped_weights_reverse_the_contrast_of_a_phantom(shipped, head):
    labels = draw_slice(5, level=0.55)
    t2 = shipped.translate(head.t1, to="T2")
    t1 = shipped.translate(head.t2, to="T1")
    csf, white, grey = (np.isin(labels, k) for k in ([4], [2], [3]))
    assert t2[csf].mean() > t2[grey].mean() > t2[white].mean()
    assert t1[white].mean() > t1[grey].mean() > t1[csf].mean()


def test_bfloat16_differs_by_less_than_eight_bits_and_keeps_more_grey_values():
    image = simulate_pair(draw_slice(3, level=0.5), np.random.default_rng(0)).t1
    image = np.clip(image + 0.02, 0, 1)  # brighter ones, where bfloat16 is coarse
    exact, quick = (
        Translator.from_pretrained(WEIGHTS, device="cpu", precision=p).cycle(image, to="T2")
        for p in (torch.float32, torch.bfloat16)
    )
    for name in ("translated", "reconstructed"):
        one, other = getattr(exact, name), getattr(quick, name)
        assert 0 < np.abs(one - other).mean() < 0.5 / 255
        assert len(np.unique(other)) > 2000
