"""README's front matter makes this repository a Space: keys that the Hub knows, and one gradio."""

import re
from pathlib import Path

import pytest
from huggingface_hub import RepoCard
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
# https://huggingface.co/docs/hub/spaces-config-reference
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
NEEDED = {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file", "license"}
KNOWN = NEEDED | {
    "python_version",
    "short_description",
    "suggested_hardware",
    "tags",
    "pinned",
    "models",
    "datasets",
    "thumbnail",
    "header",
    "fullWidth",
    "startup_duration_timeout",
    "custom_headers",
    "preload_from_hub",
    "disable_embedding",
    "hf_oauth",
}


@pytest.fixture(scope="module")
def front_matter():
    return RepoCard.load(ROOT / "README.md", repo_type="space").data.to_dict()


def test_every_key_is_there_and_known(front_matter):
    assert set(front_matter) >= NEEDED
    assert set(front_matter) <= KNOWN


def test_values_are_those_that_the_hub_takes(front_matter):
    assert {front_matter["colorFrom"], front_matter["colorTo"]} <= COLOURS
    assert front_matter["sdk"] == "gradio"
    assert (ROOT / front_matter["app_file"]).is_file()
    assert len(front_matter["short_description"]) <= 60
    assert re.fullmatch(r"3\.\d+", front_matter["python_version"])


def test_the_pinned_gradio_satisfies_requirements_and_python(front_matter):
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    requirements = [Requirement(x) for x in lines if x.strip() and not x.startswith("#")]
    (gradio,) = [r for r in requirements if r.name == "gradio"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", front_matter["sdk_version"])  # one version, not a range
    assert gradio.specifier.contains(front_matter["sdk_version"])
    minimum = re.search(r'requires-python = ">=(3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    as_numbers = [int(v.split(".")[1]) for v in (front_matter["python_version"], minimum[1])]
    assert as_numbers[0] >= as_numbers[1]
