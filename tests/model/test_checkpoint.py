"""Weights and state on disk: exact, checked, atomic, and never unpickled."""

import json
import pickle

import pytest
import torch

from cyclegan.model.checkpoint import (
    CheckpointError,
    export_weights,
    file_sha256,
    load_state,
    load_weights,
    save_state,
)
from cyclegan.model.networks import UNetGenerator

OPTIONS = {"channels": [4, 8], "blocks": 1}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    networks = {c: UNetGenerator(**OPTIONS) for c in ("T1", "T2")}
    return export_weights(tmp_path / "w", networks, generator="unet", generator_options=OPTIONS,
                          size=32, version="test")  # fmt: skip


def test_weights_come_back_as_they_were_exported(folder):
    torch.manual_seed(0)
    original = {c: UNetGenerator(**OPTIONS) for c in ("T1", "T2")}
    loaded, config = load_weights(folder)
    image = torch.rand(1, 1, 32, 32)
    for c in ("T1", "T2"):
        torch.testing.assert_close(loaded[c](image), original[c](image), atol=2e-3, rtol=0)
    assert config["size"] == 32


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def damaged(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def pickled(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb(folder / "exploded")))
    configured({"sha256": file_sha256(folder / "model.safetensors")})(folder)


def configured(changes):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        changed = {k: config[k] | v if isinstance(v, dict) else v for k, v in changes.items()}
        (folder / "config.json").write_text(json.dumps(config | changed))

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (damaged, r"model\.safetensors: checksum"),
        (pickled, "does not fit"),
        (lambda folder: (folder / "config.json").unlink(), r"config\.json is missing"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors is missing"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json: not a JSON file"),
        (configured({"format": 9}), "unknown format; expected format 1"),
        (configured({"generator_options": {"channels": [4, 16]}}), "does not fit its config, .* "),
        (configured({"generator_options": {"look": 12}}), r"before 1\.0\.0"),  # of 0.9.0
    ],
)
def test_what_are_no_weights_is_refused_in_a_sentence(folder, change, sentence):
    change(folder)
    with pytest.raises(CheckpointError, match=sentence):
        load_weights(folder)
    assert not (folder / "exploded").exists()


def test_state_round_trip_keeps_types_and_bits(tmp_path):
    state = {
        "step": 3,
        "name": "x",
        "none": None,
        "groups": [{"lr": 1e-4, "params": [0, 1]}],
        "by_index": {0: torch.rand(2, 3), 1: torch.arange(4, dtype=torch.uint8)},
    }
    save_state(tmp_path / "s", state)
    loaded = load_state(tmp_path / "s")
    assert loaded["groups"] == state["groups"]
    assert loaded["none"] is None
    assert torch.equal(loaded["by_index"][0], state["by_index"][0])
    assert loaded["by_index"][1].dtype == torch.uint8


def test_a_failed_write_leaves_the_old_state(tmp_path, monkeypatch):
    save_state(tmp_path / "s", {"step": 1})

    def disk_full(tensors, path, metadata):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cyclegan.model.checkpoint.save_file", disk_full)
    with pytest.raises(OSError, match="No space"):
        save_state(tmp_path / "s", {"step": 2})
    monkeypatch.undo()
    assert load_state(tmp_path / "s") == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_no_state_and_damaged_state_are_said(tmp_path):
    with pytest.raises(CheckpointError, match="without --resume"):
        load_state(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"x" * 50)
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(tmp_path / "bad")
