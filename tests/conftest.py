"""What tests of several rooms share."""

import os
from pathlib import Path

import pytest
import torch
from browser.serve import CHROMIUM_ARGUMENTS, find_chromium

from cyclegan.model.checkpoint import export_weights
from cyclegan.model.networks import UNetGenerator

SHARED_DATA = "CYCLEGAN_SHARED_DATA"  # of the environment; CONTRIBUTING.md: what the folder holds

if os.environ.get("PYTEST_XDIST_WORKER"):
    # Two workers of two threads on two cores wait for each other: tiny trainings took four times
    # as long.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data():
    """A function that gives the path of a folder of real images, such as "val"; without it, the
    test is skipped."""

    def find(name: str) -> Path:
        shared = os.environ.get(SHARED_DATA)
        if not shared:
            pytest.skip(f"needs real images: {SHARED_DATA} names no folder (see CONTRIBUTING.md)")
        folder = Path(shared).absolute() / name
        if not folder.is_dir():
            pytest.skip(f"needs real images: {SHARED_DATA} is {shared}, which has no {name}")
        return folder

    return find


@pytest.fixture
def export_tiny(tmp_path):
    """A function that writes tiny untrained generators for a grid of `size`, with more options of
    theirs: the folder."""

    def export(size: int, **more: int) -> Path:
        options = {"channels": (8, 16)} | more
        return export_weights(
            tmp_path / "tiny",
            {to: UNetGenerator(**options) for to in ("T1", "T2")},
            generator="unet",
            generator_options=options,
            size=size,
            version="test",
        )

    return export


@pytest.fixture(scope="session")
def chromium():
    """One browser for all tests; in CI they must run."""
    path = find_chromium()
    if path is None:
        reason = "no Chromium found (Debian: apt install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()
