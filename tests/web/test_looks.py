"""A reader's looks: chosen by name or measured on a slice, followed at once, refused in words."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan import InputCheck, Style, Translator
from cyclegan.model.checkpoint import export_weights
from cyclegan.model.networks import UNetGenerator
from cyclegan.model.style import KnownStyles
from cyclegan.reading.volume import Volume
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair
from cyclegan.web import looks
from cyclegan.web.page import Page
from cyclegan.web.session import Session

OPTIONS = {"channels": (8, 16), "style": 4, "error": True}


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    torch.manual_seed(0)
    networks = {c: UNetGenerator(**OPTIONS) for c in ("T1", "T2")}
    for network in networks.values():
        torch.nn.init.normal_(network.film.weight, std=0.5)
        torch.nn.init.normal_(network.head.weight, std=0.5)
    folder = export_weights(tmp_path_factory.mktemp("w"), networks, generator="unet",
                            generator_options=OPTIONS, size=64, version="test")  # fmt: skip
    return Translator.from_pretrained(folder)


@pytest.fixture(scope="module")
def pair():
    return simulate_pair(draw_slice(3, level=0.5), np.random.default_rng(3))


@pytest.fixture
def page(translator, tmp_path):
    named = Style("T2", (0.9, -0.9, 0.9, 0.9), translator.checksum, "fast spin echo, 3 T")
    known = KnownStyles((named,), {"T2": (0.0,) * 4}, {"T2": (1e-3,) * 4})
    return Page(translator, tmp_path, InputCheck.from_pretrained("weights"), known=known)


@pytest.fixture
def session(pair):
    known = dict.fromkeys(("spacing", "affine", "directions", "window", "contrast_hint"))
    return Session(Volume(pixels=pair.t1[None].astype(np.float32), name="a.png", **known))


def uploaded(page, image):
    folder = page.uploads.new_folder() / "x"
    folder.mkdir()
    data = io.BytesIO()
    Image.fromarray((image * 255).astype(np.uint8)).save(data, "PNG")
    (folder / "MEYER.png").write_bytes(data.getvalue())
    return [{"path": str(folder / "MEYER.png")}]


def test_a_named_look_redraws_at_once_and_back_is_as_before(page, session):
    *_, first = page.translate(session, "T2", 1, "tab")
    plain, run = session.result(page.model, 0, "T2").translated, session.run
    *_, step = page.choose_look(session, "fast spin echo, 3 T", "T2", 1, "tab")
    assert "fast spin echo, 3 T" in step.status
    assert step.view is not None
    assert session.run > run
    looked = session.result(page.model, 0, "T2").translated
    assert np.abs(looked - plain).max() > 0.01
    assert session.provenance(page.model).style == "fast spin echo, 3 T"
    *_, step = page.choose_look(session, looks.SOURCE, "T2", 1, "tab")
    assert np.array_equal(session.result(page.model, 0, "T2").translated, plain)
    assert session.provenance(page.model).style == ""
    assert first.view is not None


def test_a_slice_of_mine_gives_its_look_and_stays_nowhere(page, session, pair):
    *_, step = page.load_look(session, uploaded(page, pair.t2), "T2", 1, "tab")
    assert looks.OWN in step.status
    assert "far from all" in step.status  # the known looks here are tiny
    assert step.view is None  # nothing was translated yet
    own = page.model.translator.style((pair.t2 * 255).astype(np.uint8), "T2")
    assert session.look_for("T2").code == pytest.approx(own.code, abs=1e-5)
    *_, step = page.translate(session, "T2", 1, "tab")
    assert json.loads(json.dumps(step.view))
    assert "MEYER" not in str(session.provenance(page.model))
    assert not list(page.uploads.folder.rglob("MEYER*"))


def test_a_wrong_contrast_is_refused_and_changes_nothing(page, session, pair):
    *_, step = page.load_look(session, uploaded(page, pair.t1), "T2", 1, "tab")
    assert "looks like T1, not like T2" in step.status
    assert session.look_for("T2") is None


def test_each_direction_offers_its_own_looks(page, session):
    assert looks.choices(page.known, None, "T2")[0] == [looks.SOURCE, "fast spin echo, 3 T"]
    assert looks.choices(page.known, None, "T1") == ([looks.SOURCE], looks.SOURCE)
    session.set_look(Style("T1", (0.0,) * 4, page.model.translator.checksum, looks.OWN), "T1")
    assert looks.choices(page.known, session.look_for("T1"), "T1")[1] == looks.OWN


def test_known_looks_come_back_and_other_weights_have_none(page, tmp_path):
    checksum = page.model.translator.checksum
    page.known.save(tmp_path, checksum)
    again = KnownStyles.from_pretrained(tmp_path, checksum)
    assert [(x.name, x.code) for x in again.named] == [(x.name, x.code) for x in page.known.named]
    assert again.is_far(again.named[0])
    of_others = KnownStyles.from_pretrained(tmp_path, "other")
    assert (of_others.named, of_others.centre) == ((), {})
    assert not KnownStyles().is_far(again.named[0])
