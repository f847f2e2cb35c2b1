"""What the documents refer to is there: linked files and headings, paths and modules; the README's
front matter makes this repository a Space."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from huggingface_hub import RepoCard
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/*.md")),
    ROOT / "weights/README.md",
    ROOT / "tests/ADVISORIES.md",
]
TOPS = "app|train|cyclegan|tests|docs|weights"
PATH = re.compile(rf"`((?:{TOPS})(?:/[\w.-]+)+/?|(?:app|train|setup)\.py)`")


def anchors(path):
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_refers_to_is_there(path):
    text = path.read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, heading = target.partition("#")
        if "://" in target:
            continue
        linked = path.parent / file if file else path
        assert linked.exists(), target
        assert not heading or heading in anchors(linked), target
    for name in PATH.findall(text):
        assert (ROOT / name).exists(), name
    for module in re.findall(r"python -m (cyclegan[\w.]*)", text):
        assert find_spec(module), module


# https://huggingface.co/docs/hub/spaces-config-reference
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
NEEDED = {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file", "license"}
OTHERS = """
python_version short_description suggested_hardware tags pinned models datasets thumbnail header
fullWidth startup_duration_timeout custom_headers preload_from_hub disable_embedding hf_oauth
"""


def test_the_front_matter_has_keys_and_values_that_the_hub_takes():
    card = RepoCard.load(ROOT / "README.md", repo_type="space").data.to_dict()
    assert NEEDED <= set(card) <= NEEDED | set(OTHERS.split())
    assert {card["colorFrom"], card["colorTo"]} <= COLOURS
    assert card["sdk"] == "gradio"
    assert (ROOT / card["app_file"]).is_file()
    assert len(card["short_description"]) <= 60
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    requirements = [Requirement(x) for x in lines if x.strip() and not x.startswith("#")]
    (gradio,) = [r for r in requirements if r.name == "gradio"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", card["sdk_version"])  # one version, not a range
    assert gradio.specifier.contains(card["sdk_version"])
    minimum = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    python = re.fullmatch(r"3\.(\d+)", card["python_version"])
    assert int(python[1]) >= int(minimum[1])
