"""A server with tiny networks, which answer in milliseconds, and scans to open on it."""

from types import SimpleNamespace

import pytest
import torch
from browser.serve import running
from server_process import Tab
from small_scans import Sees, volume_of
from starlette.testclient import TestClient

import app
from cyclegan import Translator
from cyclegan.model.checkpoint import export_weights
from cyclegan.model.networks import UNetGenerator
from cyclegan.server.models import Model
from cyclegan.server.routes import api
from cyclegan.server.scan import Scan
from cyclegan.server.scans import Scans
from cyclegan.server.series import Series
from cyclegan.server.uploads import Uploads

OPTIONS = {"channels": (8, 16), "style": 4, "error": True}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Weights that were never trained, and are far from doing nothing."""
    torch.manual_seed(0)
    networks = {to: UNetGenerator(**OPTIONS) for to in ("T1", "T2")}
    for network in networks.values():
        torch.nn.init.normal_(network.film.weight, std=0.5)
        torch.nn.init.normal_(network.head.weight, std=0.5)
    return export_weights(
        tmp_path_factory.mktemp("tiny"),
        networks,
        generator="unet",
        generator_options=OPTIONS,
        size=64,
        version="test",
    )


@pytest.fixture(scope="session")
def translator(tiny):
    return Translator.from_pretrained(tiny)


@pytest.fixture
def model(translator):
    """A model that takes everything for a T1."""
    return Model(translator, Sees("T1"))


@pytest.fixture
def scans(model):
    return Scans(model)


@pytest.fixture
def opened(scans):
    """A function that opens pixels as a scan, checked and being translated."""

    def open_pixels(pixels, **known):
        scan = scans.hold(Scan(Series(scans.model, volume_of(pixels, **known))))
        scan.check()
        return scan

    return open_pixels


@pytest.fixture
def client(scans, tmp_path):
    """Talks to a server in this process."""
    with TestClient(api(scans, Uploads(tmp_path))) as client:
        yield client


@pytest.fixture
def page(client):
    """A tab of that server."""
    return Tab(client)


@pytest.fixture(scope="module")
def served(tiny, tmp_path_factory):
    """The running page with tiny weights, which takes everything for a T1: `url`, `scans`
    and the folder where Gradio would keep uploads."""
    uploads = tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        page = app.create_app(str(tiny))
        page.scans.model.check = Sees("T1")
        with running(page) as url:
            yield SimpleNamespace(url=url, scans=page.scans, uploads=uploads)
    left = [path for path in uploads.rglob("*") if path.is_file()]
    assert not left, "something was written to the disk"
