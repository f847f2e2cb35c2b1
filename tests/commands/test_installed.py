"""The commands as pip installs them, run in a folder that knows nothing of the repository."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from cyclegan.model import hub
from cyclegan.model.checkpoint import CONTENTS, CheckpointError

ROOT = Path(__file__).parents[2]
NOT_PACKED = shutil.ignore_patterns(".*", "build", "dist", "runs", "data", "*.egg-info", "tests")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of a copy: building leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(
        ROOT,
        folder / "copy",
        ignore=lambda at, names: NOT_PACKED(at, names) if Path(at) == ROOT else {"__pycache__"},
    )
    (folder / "copy/tests").mkdir()
    shutil.copy(ROOT / "tests/requirements.txt", folder / "copy/tests")
    pip("wheel", folder / "copy", "--no-build-isolation", "--wheel-dir", folder)
    (path,) = folder.glob("*.whl")
    return path


def pip(command, *options):
    quiet = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", command, *quiet, *options], check=True)


@pytest.fixture(scope="module")
def run(wheel, tmp_path_factory):
    """A function that runs an installed command in a folder: the finished process."""
    target = tmp_path_factory.mktemp("installed")
    pip("install", wheel, "--no-compile", "--target", target)
    inherited = {k: v for k, v in os.environ.items() if k != "CYCLEGAN_WEIGHTS"}

    def run(folder, command, *arguments):
        return subprocess.run(
            [target / "bin" / command, *arguments],
            cwd=folder,
            env={**inherited, "PYTHONPATH": str(target), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def slices(tmp_path):
    """A folder with two noisy discs of each contrast below `data`."""
    rows, columns = np.mgrid[-1:1:96j, -1:1:96j]
    for contrast in ("T1", "T2"):
        (tmp_path / "data" / contrast).mkdir(parents=True)
        for seed in range(2):
            noise = np.random.default_rng(seed).uniform(0.5, 1, (96, 96))
            disc = 255 * noise * (rows**2 + columns**2 < 0.7)
            path = tmp_path / "data" / contrast / f"s{seed}.png"
            Image.fromarray(disc.astype(np.uint8)).save(path)
    return tmp_path


def test_a_wheel_holds_all_code_the_weights_and_what_the_page_draws_with(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "cyclegan").rglob("*.py")}
    assert modules <= set(names)  # pyproject.toml lists packages by hand
    weights = {name for name in names if name.startswith("cyclegan/weights/")}
    assert weights == {f"cyclegan/weights/{name}" for name in CONTENTS}
    templates = [f"cyclegan/report/{name}.jinja" for name in ("report.html", "model_card.md")]
    for name in ("train.py", "cyclegan/py.typed", "cyclegan/viewer/main.js", *templates):
        assert name in names
    assert not [n for n in names if n.startswith(("tests", "app"))]


@pytest.mark.parametrize(
    "arguments",
    [
        "translate data/T1/s0.png --to T2 --out out",
        "evaluate --pairs data --json scores.json",
        "train --data data --init weights --steps 0 --out run",
    ],
)
def test_commands_find_the_weights_from_any_folder(run, slices, arguments):
    command, *options = arguments.split()
    done = run(slices, f"cyclegan-{command}", *options)
    assert done.returncode == 0, done.stderr
    checksum = json.loads((ROOT / "weights/config.json").read_text())["sha256"]
    if command == "translate":
        header = nib.load(slices / "out/s0_synthetic-T2.nii.gz").header
        assert checksum in str(header.extensions[0].get_content())
    elif command == "evaluate":
        scores = json.loads((slices / "scores.json").read_text())
        assert scores["weights"]["weights"]["sha256"] == checksum
    else:
        assert (slices / "run/weights/model.safetensors").is_file()


def test_what_the_word_weights_means(export_tiny, tmp_path, monkeypatch):
    monkeypatch.delenv(hub.VARIABLE, raising=False)
    tiny = export_tiny(32)
    here = tmp_path / "here"
    (here / "weights").mkdir(parents=True)  # of another program: it holds no weights of ours
    monkeypatch.chdir(here)
    assert hub.weights_folder() == hub.weights_folder("weights") == ROOT / "weights"
    shutil.copytree(tiny, here / "weights", dirs_exist_ok=True)
    assert hub.weights_folder() == Path("weights")
    monkeypatch.setenv(hub.VARIABLE, str(tiny))
    assert hub.weights_folder() == tiny
    assert hub.weights_folder(here / "weights") == here / "weights"  # a path means itself
    monkeypatch.setenv(hub.VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(CheckpointError, match=r"CYCLEGAN_WEIGHTS: .*gone: no such weights folder"):
        hub.weights_folder()


def test_every_package_that_is_imported_is_declared():
    imported = set()
    for path in (*(ROOT / "cyclegan").rglob("*.py"), ROOT / "app.py", ROOT / "train.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.partition(".")[0])
    distributions = packages_distributions()
    needed = {
        canonicalize_name(distributions.get(name, [name])[0])
        for name in imported - sys.stdlib_module_names - {"cyclegan"}
    }
    lines = [
        line
        for name in ("requirements.txt", "requirements-dask.txt")
        for line in (ROOT / name).read_text("utf-8").splitlines()
    ]
    lines = [re.sub(r"\s*#.*", "", line) for line in lines]
    declared = {canonicalize_name(Requirement(line).name) for line in lines if line}
    assert {"gradio", "starlette", "torch"} <= needed
    # Dask's own parts come with it.
    assert needed - {"distributed"} <= declared
