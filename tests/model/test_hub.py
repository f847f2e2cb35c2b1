"""Weights to and from the Hub, against a stand-in server on this machine; never the network."""

import json
import logging
import os
import subprocess
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from hub_server import TOKEN, HubServer, Repository
from huggingface_hub import ModelCard, constants
from PIL import Image

import app
import train
from app import create_app
from cyclegan import Translator, evaluate, translate
from cyclegan.model import hub
from cyclegan.model.checkpoint import (
    CARD,
    CONTENTS,
    OPTIONAL,
    REQUIRED,
    STYLES,
    CheckpointError,
    load_weights,
)
from cyclegan.model.style import KnownStyles
from cyclegan.report import publish
from cyclegan.report.runlog import write_json

REPO = "user/model"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The stand-in, with an empty cache, no token, and .ci's HF_HUB_OFFLINE lifted."""
    server = HubServer()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        server.address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between its tries
    huggingface_hub.close_session()  # it has looked at the offline flag
    yield server
    huggingface_hub.close_session()
    server.stop()


def serve_folder(server, folder, **kind):
    files = {p.name: p.read_bytes() for p in folder.iterdir()}
    server.repositories[REPO] = Repository(files, **kind)
    return server.repositories[REPO]


def go_offline(monkeypatch):
    huggingface_hub.close_session()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_a_revision_is_pinned_and_an_unknown_one_is_said(server, export_tiny):
    repository = serve_folder(server, export_tiny(32))
    first = repository.commit
    Translator.from_pretrained(REPO, revision=first)
    repository.files["config.json"] = b"{}"  # somebody pushed nonsense since
    assert Translator.from_pretrained(REPO, revision=first).size == 32  # from the cache
    with pytest.raises(CheckpointError, match="unknown format"):
        Translator.from_pretrained(REPO)
    with pytest.raises(CheckpointError, match=r"user/model: .* no revision v9"):
        Translator.from_pretrained(REPO, revision="v9")


def test_the_cache_serves_offline(server, export_tiny, monkeypatch):
    serve_folder(server, export_tiny(32))
    Translator.from_pretrained(REPO)
    go_offline(monkeypatch)
    before = len(server.requests)
    assert Translator.from_pretrained(REPO).size == 32
    assert len(server.requests) == before
    with pytest.raises(CheckpointError, match=r"user/other: .* the Hub cannot be reached"):
        Translator.from_pretrained("user/other")


def whole(folder):
    """A weights folder with something under every name that one may hold."""
    for name in {*CONTENTS} - {*REQUIRED}:
        (folder / name).write_text(f"of {name}")
    return folder


def test_everything_that_a_weights_folder_holds_comes_down(server, export_tiny):
    folder = whole(export_tiny(32))
    local = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != CARD}
    (folder / "training.csv").write_text("not needed to translate")
    serve_folder(server, folder)
    downloaded = {p.name: p.read_bytes() for p in hub.weights_folder(REPO).iterdir()}
    assert downloaded == local
    here, there = Translator.from_pretrained(folder), Translator.from_pretrained(REPO)
    assert there.checksum == here.checksum


def test_the_list_of_a_weights_folder_is_what_the_shipped_one_holds():
    listed = ["git", "ls-files", "weights"]
    tracked = subprocess.run(listed, cwd=ROOT, check=False, capture_output=True, text=True).stdout
    names = [Path(line).name for line in tracked.splitlines()] or os.listdir(ROOT / "weights")
    assert sorted(names) == sorted(CONTENTS)


def test_a_file_that_is_there_and_does_not_come_is_said(server, export_tiny, monkeypatch, caplog):
    serve_folder(server, whole(export_tiny(32)))
    download = hub.hf_hub_download

    def cut_off(repo, name, **options):
        if name == STYLES:
            raise OSError("connection reset")
        return download(repo, name, **options)

    monkeypatch.setattr(hub, "hf_hub_download", cut_off)
    with caplog.at_level(logging.WARNING):
        hub.weights_folder(REPO)
    assert f"{REPO}: {STYLES} could not be downloaded (connection reset)" in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "is missing"), ("{", "is damaged"), ('{"format": 1, "sha256": "0"}', "another model")],
)
def test_styles_that_are_not_there_are_said_with_what_makes_them(tmp_path, content, words):
    if content is not None:
        (tmp_path / STYLES).write_text(content)
    known = KnownStyles.from_pretrained(tmp_path, "1")
    assert known.named == ()
    assert words in known.missing
    assert OPTIONAL[STYLES] in known.missing


def test_an_unreachable_hub_is_one_sentence(server, monkeypatch):
    server.stop()
    with pytest.raises(CheckpointError, match="the Hub cannot be reached; check the network") as e:
        hub.weights_folder(REPO)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (None, "no such repository on the Hub; if it is private, log in"),
        ({"private": True}, "no such repository on the Hub; if it is private, log in"),
        ({"gated": True}, "access must be granted first"),
    ],
)
def test_closed_doors_are_said(server, export_tiny, kind, sentence):
    if kind is not None:
        serve_folder(server, export_tiny(32), **kind)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        hub.weights_folder(REPO)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(server, export_tiny, name):
    del serve_folder(server, export_tiny(32)).files[name]
    with pytest.raises(CheckpointError, match=f"user/model: the repository holds no {name}"):
        hub.weights_folder(REPO)


def test_what_is_neither_folder_nor_repository_is_said(export_tiny, tmp_path):
    for name in (tmp_path / "none", "a/b/c", "./weights2"):
        with pytest.raises(CheckpointError, match="no such weights folder"):
            hub.weights_folder(name)
    with pytest.raises(CheckpointError, match='which reads "user/model"'):
        hub.weights_folder("user name/mo del")
    with pytest.raises(CheckpointError, match="a folder has no revision main"):
        hub.weights_folder(export_tiny(32), "main")


# The way up


@pytest.fixture
def run(export_tiny, tmp_path):
    """A finished run with scores, as training leaves it."""
    folder = tmp_path / "run"
    folder.mkdir()
    export_tiny(32).rename(folder / "weights")
    config = json.loads((folder / "weights/config.json").read_text())
    config["training"] = {"steps": 2, "minutes": 0.1, "sources": ["mine/ixi"]}
    write_json(folder / "weights/config.json", config)
    scores = {
        to: {"mean": {"ssim": s, "psnr": p}} for to, s, p in (("T2", 0.61, 15.4), ("T1", 0.66, 16))
    }
    evaluation = {"slices": 7, "sources": {"a": 7}, "predictors": {"this run": scores}}
    write_json(folder / "evaluation.json", evaluation)
    (folder / "report.html").write_text("<p>report")
    (folder / "state.safetensors").write_bytes(b"not for others")
    return folder


def test_push_uploads_weights_card_and_report_and_loads_again(server, run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    publish.prepare_push(REPO)
    assert server.repositories[REPO].private
    assert publish.push(REPO, run, publish.model_card(run, REPO)) == f"{server.address}/{REPO}"
    files = server.repositories[REPO].files
    assert set(files) == {"config.json", "model.safetensors", "README.md", "report.html"}
    assert Translator.from_pretrained(REPO).size == 32  # with the token: it is private
    whole(run / "weights")
    publish.push(REPO, run, publish.model_card(run, REPO))
    local = {p.name: p.read_bytes() for p in (run / "weights").iterdir()}
    assert set(local) == {*CONTENTS, "report.html"}
    assert server.repositories[REPO].files == local
    metadata = ModelCard(files["README.md"].decode()).data
    assert (metadata.license, metadata.pipeline_tag) == ("other", "image-to-image")
    assert metadata.library_name == "pytorch"
    assert "mri" in metadata.tags
    scores = {(r.dataset_config, r.metric_type): r.metric_value for r in metadata.eval_results}
    assert scores == {("T1-to-T2", "ssim"): 0.61, ("T1-to-T2", "psnr"): 15.4,
                      ("T2-to-T1", "ssim"): 0.66, ("T2-to-T1", "psnr"): 16}  # fmt: skip


def test_a_card_without_pairs_claims_no_score(run):
    (run / "evaluation.json").unlink()
    card = publish.model_card(run, REPO, license="mit")
    assert card.data.eval_results is None
    assert card.data.license == "mit"
    assert "No scores on paired slices" in card.text


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"sources": ["mine/ixi", "mine/b"]}, "data: axial slices of b and ixi, unmatched."),
        ({"sources": ["mine/ixi", "mine/ixi, stripped"], "paired_sources": ["a", "b", "c"]},
         "axial slices of ixi; those of 1 also with the skull removed, unmatched; "
         "T1 and T2 of the same slices of a, b and c."),
        ({"paired_sources": ["a"], "simulated_from": ["maps", "drawn heads"]},
         "the same slices of a; slices simulated from drawn heads and maps."),
        ({}, "Training data: not recorded."),
    ],
)  # fmt: skip
def test_a_card_names_all_data_that_the_weights_saw(run, training, words):
    config = json.loads((run / "weights/config.json").read_text())
    nothing = {"sources": [], "paired_sources": [], "simulated_from": []}
    config["training"] |= nothing | training
    write_json(run / "weights/config.json", config)
    assert words in publish.model_card(run, REPO).text
    assert ("unmatched" in publish.model_card(run, REPO).text) == ("sources" in training)


def test_no_token_and_no_rights_are_said_before_training(server, monkeypatch):
    with pytest.raises(CheckpointError, match="no Hub token on this machine"):
        publish.prepare_push(REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(CheckpointError, match="the Hub refuses"):
        publish.prepare_push(REPO)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for existing in (False, True):
        if existing:
            server.repositories["else/model"] = Repository()
        with pytest.raises(CheckpointError, match="else/model: the Hub refuses") as caught:
            publish.prepare_push("else/model")
        assert "\n" not in str(caught.value)
    assert list(server.repositories) == ["else/model"]
    server.stop()
    with pytest.raises(CheckpointError, match=r"check the name, .* and the network"):
        publish.prepare_push(REPO)


def test_a_failed_upload_says_where_the_weights_are(server, run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(CheckpointError, match=r"the upload failed .* the weights are in"):
        publish.push("else/model", run, publish.model_card(run, "else/model"))
    assert (run / "weights/README.md").is_file()


# The commands


def test_the_page_opens_on_a_repository_and_says_what_it_lacks(server, export_tiny, caplog):
    serve_folder(server, export_tiny(32, style=2))
    with caplog.at_level(logging.WARNING):
        page = create_app(REPO)
    for name in OPTIONAL.keys() - {"checks.safetensors"}:
        assert f"{name} is missing" in caplog.text
    assert f"{STYLES} is missing" in str(page.config)
    assert f"HEAD /{REPO}/resolve/main/config.json" in server.requests


@pytest.mark.parametrize("command", ["page", "translate", "evaluate"])
def test_commands_take_the_weights_of_a_revision(server, export_tiny, tmp_path, capsys, command):
    repository = serve_folder(server, export_tiny(32))
    revision = repository.commit
    Translator.from_pretrained(REPO)  # into the cache
    repository.files["config.json"] = b"{}"  # what main holds from now on is no weights
    for contrast in ("T1", "T2"):
        (tmp_path / contrast).mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
        Image.fromarray(pixels).save(tmp_path / contrast / "a_1.png")
    weights = ["--weights", REPO, "--revision", revision]
    if command == "page":
        page = create_app(REPO, revision)
        assert page.scans.model.translator.size == 32
    elif command == "translate":
        picture, out = str(tmp_path / "T1/a_1.png"), str(tmp_path / "out")
        assert translate.main([picture, "--to", "T2", "--out", out, *weights]) == 0
    else:
        evaluate.main(["--pairs", str(tmp_path), *weights])
        assert f"  {REPO}" in capsys.readouterr().out


def test_the_page_refuses_a_revision_that_is_not_there(monkeypatch, capsys, export_tiny):
    arguments = ["app.py", "--weights", str(export_tiny(32)), "--revision", "v9"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit):
        app.main()
    assert "a folder has no revision v9" in capsys.readouterr().err


def test_training_ends_with_a_push(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(train, "PHANTOMS", 2)
    arguments = ["--labelmaps", "phantom", "--out", str(tmp_path / "run"), "--steps", "2"]
    arguments += ["--size", "32", "--start-size", "32", "--batch", "1", "--precision", "no"]
    assert train.main([*arguments, "--push-to-hub", REPO, "--license", "cc-by-4.0"]) == 0
    assert f"pushed to {server.address}/{REPO}" in capsys.readouterr().out
    files = server.repositories[REPO].files
    assert ModelCard(files["README.md"].decode()).data.license == "cc-by-4.0"
    assert b"Training report" in files["report.html"]
    config = json.loads(files["config.json"])
    config["training"]["sources"] = ["mine/ixi"]
    files["config.json"] = json.dumps(config).encode()
    assert Translator.from_pretrained(REPO).size == 32
    arguments[3] = str(tmp_path / "second")
    assert train.main([*arguments, "--init", REPO]) == 0
    assert load_weights(tmp_path / "second/weights")[1]["training"]["sources"] == ["mine/ixi"]
