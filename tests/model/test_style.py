"""Styles: measured on slices, kept as a few numbers, followed by generators that know them."""

import numpy as np
import pytest
import torch

from cyclegan import Style, Translator
from cyclegan.model.checkpoint import export_weights
from cyclegan.model.networks import UNetGenerator
from cyclegan.model.preprocess import Scale
from cyclegan.model.translator import Prepared
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair

OPTIONS = {"channels": [8, 16], "style": 4, "error": True}


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    networks = {c: UNetGenerator(**OPTIONS) for c in ("T1", "T2")}
    for network in networks.values():
        for part in (network.head, network.film, network.error_head[-1]):
            torch.nn.init.normal_(part.weight, std=0.3)
    return networks


@pytest.fixture(scope="module")
def translator(networks, tmp_path_factory):
    folder = export_weights(tmp_path_factory.mktemp("w"), networks, generator="unet",
                            generator_options=OPTIONS, size=64, version="test")  # fmt: skip
    return Translator.from_pretrained(folder)


@pytest.fixture(scope="module")
def heads():
    """T1 and T2 of two subjects, (128, 128)."""
    pairs = [simulate_pair(draw_slice(k, level=0.5), np.random.default_rng(k)) for k in (1, 2)]
    return {"T1": [p.t1[::2, ::2] for p in pairs], "T2": [p.t2[::2, ::2] for p in pairs]}


def test_a_style_changes_the_translation_and_none_is_the_source_s_own_guess(translator, heads):
    plain = translator.translate(heads["T1"][0], to="T2")
    style = translator.style(heads["T2"][1], contrast="T2")
    styled = translator.translate(heads["T1"][0], to="T2", style=style)
    assert np.abs(styled - plain).max() > 0.01
    nothing = Style("T2", (0.0,) * 4, translator.checksum)
    assert np.array_equal(translator.translate(heads["T1"][0], to="T2", style=nothing), plain)


def test_several_slices_and_subjects_have_their_mean_style(translator, heads):
    single = [translator.style(image, contrast="T2") for image in heads["T2"]]
    both = translator.style(heads["T2"], contrast="T2", name="ours")
    assert both.code == pytest.approx(np.mean([s.code for s in single], 0), abs=1e-6)
    assert both.name == "ours"
    volume = np.stack([heads["T2"][0]] * 20)
    assert translator.style(volume, contrast="T2").distance(single[0]) < 1e-4


def test_a_style_does_not_know_where_things_lie(translator, heads):
    style = translator.style(heads["T2"][0], contrast="T2")
    mirrored = translator.style(heads["T2"][0][:, ::-1], contrast="T2")
    darker = translator.style(heads["T2"][0] ** 3, contrast="T2")
    assert style.distance(mirrored) < 0.5 * style.distance(darker)


def test_a_style_is_a_few_hundred_bytes_and_comes_back(translator, heads, tmp_path):
    style = translator.style(heads["T2"][0], contrast="T2", name="Gerät 1")
    style.save(tmp_path / "style.json")
    assert (tmp_path / "style.json").stat().st_size < 500
    assert Style.load(tmp_path / "style.json") == style
    assert style.distance(style) == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "not a style"),
        ("nonsense", "not a style"),
        ('{"format": 9, "contrast": "T2", "code": [0], "checksum": ""}', "not a style of this"),
        ('{"format": 1, "contrast": "T2", "code": [null], "checksum": ""}', "not a style"),
    ],
)
def test_what_is_no_style_is_said(tmp_path, text, sentence):
    (tmp_path / "style.json").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        Style.load(tmp_path / "style.json")
    with pytest.raises(ValueError, match="no such file"):
        Style.load(tmp_path / "none.json")


def test_styles_that_do_not_fit_are_refused(translator, heads, export_tiny):
    style = translator.style(heads["T1"][0], contrast="T1")
    with pytest.raises(ValueError, match="a style of T1 for a T2"):
        translator.translate(heads["T1"][0], to="T2", style=style)
    foreign = Style("T2", style.code, "0" * 64)
    with pytest.raises(ValueError, match="other weights"):
        translator.translate(heads["T1"][0], to="T2", style=foreign)
    with pytest.raises(ValueError, match="different weights"):
        translator.style(heads["T2"][0], contrast="T2").distance(foreign)
    with pytest.raises(ValueError, match="knows no styles"):
        Translator.from_pretrained(export_tiny(64)).style(heads["T2"][0], contrast="T2")


def test_the_reconstruction_keeps_the_source_s_own_style(translator, heads):
    source = heads["T1"][0].astype(np.float32)
    result = translator.cycle(source, to="T2")
    own = translator.style(source, contrast="T1")
    prepared = Prepared(Scale(0, 1), translator.prepare(source).frame)
    plain, styled = (translator.translate(result.translated, "T1", prepared=prepared, style=style)
                     for style in (None, own))  # fmt: skip
    assert np.abs(result.reconstructed - styled).max() < 1e-5
    assert np.abs(result.reconstructed - plain).max() > 0.01
