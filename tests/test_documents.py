"""What the documents refer to is there: linked files and headings, paths and modules."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

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
