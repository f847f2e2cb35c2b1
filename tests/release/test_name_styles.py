"""Styles of training sources, kept under names."""

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan import Style, Translator
from cyclegan.model.checkpoint import export_weights
from cyclegan.model.networks import UNetGenerator
from cyclegan.model.style import KnownStyles
from cyclegan.release.name_styles import main
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair


@pytest.fixture
def weights(tmp_path):
    options = {"channels": (8, 16), "style": 4}
    torch.manual_seed(0)
    return export_weights(tmp_path / "w", {c: UNetGenerator(**options) for c in ("T1", "T2")},
                          generator="unet", generator_options=options, size=64,
                          version="test")  # fmt: skip


@pytest.fixture
def data(tmp_path):
    for k, source in enumerate(("old", "old", "new")):
        pair = simulate_pair(draw_slice(k, level=0.5), np.random.default_rng(k))
        for contrast, image in (("T1", pair.t1), ("T2", pair.t2)):
            folder = tmp_path / "d" / contrast
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image * 255).astype(np.uint8)).save(folder / f"{source}_{k}.png")
    return tmp_path / "d"


def test_named_sources_come_back_as_looks(weights, data, capsys):
    main(["--data", str(data), "--name", "old=Older archive", "--weights", str(weights)])
    translator = Translator.from_pretrained(weights)
    known = KnownStyles.from_pretrained(weights, translator.checksum)
    assert {(x.contrast, x.name) for x in known.named} == {
        ("T1", "Older archive"),
        ("T2", "Older archive"),
    }
    files = sorted((data / "T2").glob("old_*"))
    measured = translator.style([np.asarray(Image.open(f)) for f in files], "T2")
    named = next(x for x in known.named if x.contrast == "T2")
    assert named.distance(measured) < 0.01
    assert not known.is_far(named)
    assert "T2 Older archive" in capsys.readouterr().out
    main(["--data", str(data), "--weights", str(weights), "--default", "T2=0.5"])
    assert KnownStyles.from_pretrained(weights, translator.checksum).named == known.named


def test_a_share_of_the_mean_style_becomes_the_default(weights, data):
    image = np.asarray(Image.open(next((data / "T1").glob("new_*"))))
    before = Translator.from_pretrained(weights)
    with torch.no_grad():
        torch.nn.init.normal_(before.generators["T2"].film.weight, std=5)
        torch.nn.init.normal_(before.generators["T2"].head.weight, std=0.3)
    main(["--data", str(data), "--weights", str(weights), "--default", "T2=0.5"])
    after = Translator.from_pretrained(weights)
    after.generators = before.generators
    files = sorted((data / "T2").glob("*.png"))
    codes = np.mean([before.style(np.asarray(Image.open(f)), "T2").code for f in files], 0)
    half = Style("T2", tuple(0.5 * codes), before.checksum)
    expected = before.translate(image, "T2", style=half)
    assert np.abs(after.translate(image, "T2") - expected).max() < 0.01
    assert np.abs(before.translate(image, "T2") - expected).max() > 0.05
    assert np.array_equal(after.translate(image, "T1"), before.translate(image, "T1"))
    main(["--data", str(data), "--weights", str(weights)])  # leaves it as it is
    assert Translator.from_pretrained(weights).default_style == after.default_style
    with pytest.raises(SystemExit):
        main(["--data", str(data), "--weights", str(weights), "--default", "FLAIR=0.5"])


def test_unknown_sources_and_weights_without_looks_are_said(weights, data, export_tiny):
    with pytest.raises(SystemExit, match="no data source other; there are"):
        main(["--data", str(data), "--name", "other=X", "--weights", str(weights)])
    with pytest.raises(SystemExit, match="knows no styles"):
        main(["--data", str(data), "--weights", str(export_tiny(64))])
