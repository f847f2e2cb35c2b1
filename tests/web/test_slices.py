"""Slices that the viewer fetches ahead: what they hold, when they are ready, and for how long."""

import gc
import json

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from cyclegan import Translator
from cyclegan.reading.volume import Volume
from cyclegan.trust.truth import match
from cyclegan.web import panels
from cyclegan.web.page import Page
from cyclegan.web.session import Session
from cyclegan.web.slices import pack, routes


@pytest.fixture
def page(export_tiny, tmp_path):
    return Page(Translator.from_pretrained(export_tiny(32)), tmp_path / "uploads")


def volume(name="scan.nii", slices=3):
    rng = np.random.default_rng(0)
    pixels = rng.random((slices, 31, 27)).astype(np.float32)  # odd: images must stay at even bytes
    return Volume(pixels, (3.0, 1.0, 1.0), None, ("R", "L", "A", "P"), None, "T1", name, ())


@pytest.fixture
def session(page):
    session = Session(volume())
    page.slices.offer(session)
    return session


@pytest.fixture
def client(page):
    return TestClient(Starlette(routes=routes(page.slices)))


def unpacked(data):
    length = int.from_bytes(data[:4], "little")
    assert length % 2 == 0
    value = json.loads(data[4 : 4 + length])
    pixels = np.frombuffer(data, "<u2", offset=4 + length)
    return value, pixels.reshape(-1, value["height"], value["width"])


def test_a_packed_slice_tells_and_holds_what_the_view_does(page, session):
    session.set_truth(match(volume("real.nii"), session.volume), "T2")
    session.start("T2")
    value, images = unpacked(pack(session, page.model, 1))
    view = panels.view(session, page.model, 1, encode=lambda image: panels.levels(image).tolist())
    assert len(images) == 5  # the map of the cycle error is computed in the browser
    for panel in value["panels"].values():
        if "data" in panel:
            panel["data"] = images[panel["data"]].tolist()
    assert value == view
    assert value["panels"]["translated"]["alt"].endswith(", axial slice 2 of 3")


def test_only_slices_that_need_no_network_are_ready(page, session, client):
    address = f"/slices/{session.token}"
    assert client.get(address).json() == [0, 1, 2]  # originals
    session.start("T2")
    assert client.get(address).json() == []
    assert client.get(f"{address}/1").status_code == 404
    assert session.missing("T2") == [0, 1, 2]  # and asking has translated none
    session.result(page.model, 1, "T2")
    assert client.get(address).json() == [1]
    answer = client.get(f"{address}/1")
    assert answer.content == pack(session, page.model, 1)
    assert answer.headers["cache-control"] == "no-store"
    assert client.get(f"{address}/2").status_code == 404
    assert client.get(f"{address}/99").status_code == 404


def test_a_scan_is_fetched_with_its_own_token_while_it_is_open(page, session, client):
    other = Session(volume("other.nii"))
    page.slices.offer(other)
    assert len({session.token, other.token}) == 2
    assert len(other.token) >= 43  # 256 bits in base64
    assert client.get("/slices/guess").status_code == 404
    assert client.get("/slices/guess/0").status_code == 404
    session.clear()
    assert client.get(f"/slices/{session.token}").status_code == 404
    assert client.get(f"/slices/{session.token}/0").status_code == 404
    assert client.get(f"/slices/{other.token}/0").status_code == 200
    token = other.token
    del other
    gc.collect()
    assert client.get(f"/slices/{token}").status_code == 404  # offering it keeps it not alive


def test_a_slice_that_the_viewer_kept_is_on_screen_but_not_sent(page, session):
    session.start("T2")
    assert page.show_slice(session, 3, kept=True) is None
    assert session.shown == 2
    assert session.missing("T2") == [0, 1, 2]
    assert page.show_slice(session, 2)["index"] == session.shown == 1
