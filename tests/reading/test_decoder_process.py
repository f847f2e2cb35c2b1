"""The process that decodes what strangers made: what it is handed, and what it runs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from dicom_files import mr_image, saved
from pydicom.uid import RLELossless

from cyclegan.reading.dicom import decoder
from cyclegan.reading.read import read_volume

SECRETS = {
    "HF_TOKEN": "hf_secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "https_proxy": "http://user:secret@proxy:3128",
    "PYTHONSTARTUP": "/tmp/secret.py",
    "A_NAME_THAT_NOBODY_KNOWS": "secret",
}


@pytest.fixture
def compressed(tmp_path):
    dataset = mr_image(np.random.default_rng(0).integers(0, 4096, (40, 48), dtype=np.uint16))
    dataset.compress(RLELossless)
    return saved(tmp_path, dataset)


@pytest.fixture
def helper(monkeypatch):
    """A helper of this test alone, which starts with the environment that the test sets."""
    helper = decoder._Helper()
    monkeypatch.setattr(decoder, "_helper", helper)
    yield helper
    if helper._process is not None:
        helper._process.kill()
        helper._process.wait()
        for pipe in (helper._process.stdin, helper._process.stdout):
            pipe.close()


def test_the_decoder_gets_its_environment_by_name(compressed, helper, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    assert read_volume(compressed).pixels.max() > 0
    if not Path("/proc/self/environ").exists():
        pytest.skip("no /proc: only Linux tells the environment of a process")
    environment = Path(f"/proc/{helper._process.pid}/environ").read_bytes()
    handed = dict(os.fsdecode(line).split("=", 1) for line in environment.split(b"\0") if line)
    assert set(handed) <= {*decoder._INHERITED, "PYTHONPATH"}
    assert b"secret" not in environment
    assert handed["LC_ALL"] == "C.UTF-8"
    assert handed["PYTHONPATH"].endswith(f"{os.pathsep}/somewhere/else")


def test_the_decoder_runs_no_module_of_the_current_folder(
    compressed, helper, tmp_path, monkeypatch
):
    for name in ("numpy", "pydicom", "cyclegan"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')\nraise SystemExit")
    monkeypatch.chdir(tmp_path)
    assert read_volume(compressed).pixels.max() > 0
    assert not (tmp_path / "ran").exists()
