"""The architecture: rooms from low to high, and imports that only run down.

The README's picture of the package is this list.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cyclegan"
ROOMS = (
    "cyclegan",  # contrasts and version
    "reading",  # any file or drop of files becomes a Volume, or one sentence
    "model",  # networks, scaling and framing, detail from the source, weights, Translator
    "judging",  # metrics, pairs, and the scores over them
    "simulation",  # slices whose truth is known
    "slices",  # what training reads
    "report",  # what a run says of itself
    "training",  # settings, losses, stages, state, many processes
    "trust",  # is the input what the model expects, how far to trust one slice
    "results",  # PNG, NIfTI, derived DICOM, and what each says of itself
    "archives",  # many series, on one machine or on a cluster
    "server",  # scans, the model's queue, limits and routes, without Gradio
    "commands",  # cyclegan/*.py: what people type
)
# `cyclegan/__init__.py` names the homes of what it offers as text and imports them when asked for.


def modules():
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


MODULES = modules()


def room(module):
    parts = module.split(".")
    if len(parts) == 1:
        return "cyclegan"
    return parts[1] if (PACKAGE / parts[1]).is_dir() else "commands"


def imported(tree):
    """Every module that a file names in an import, wherever in it, also for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where an arrow goes"
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below in MODULES else node.module


IMPORTS = {name: set(imported(ast.parse(path.read_text()))) for name, path in MODULES.items()}


def test_every_folder_with_code_is_a_room_and_says_what_it_is_for():
    folders = {path.name for path in PACKAGE.iterdir() if any(path.glob("*.py"))}
    assert folders == set(ROOMS) - {"cyclegan", "commands"}
    for folder in folders:
        doc = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text()))
        assert len((doc or "").splitlines()) == 1, folder


def test_imports_run_down_between_rooms():
    up = [
        f"{name} imports {target}"
        for name, targets in IMPORTS.items()
        for target in targets & set(MODULES)
        if ROOMS.index(room(target)) > ROOMS.index(room(name))
    ]
    assert not up


def circle(imports):
    """Modules that import each other in a circle, in order; none: an empty list."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        path.append(name)
        for target in sorted(imports[name] & set(imports)):
            if target != name and (found := visit(target)):
                return found
        done.add(path.pop())
        return []

    return next((found for name in imports if (found := visit(name))), [])


def test_no_modules_import_each_other_in_a_circle():
    assert circle(IMPORTS) == []


def test_a_circle_would_be_found():
    assert circle({"a": {"b"}, "b": {"c", "torch"}, "c": {"b"}, "d": set()}) == ["b", "c"]


@pytest.mark.parametrize("name", MODULES)
def test_the_package_knows_no_gradio(name):
    assert not any(target.split(".")[0] == "gradio" for target in IMPORTS[name])


def test_the_readme_lists_the_rooms_in_this_order():
    text = (ROOT / "README.md").read_text("utf-8")
    listed = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `cyclegan/")]
    rooms = [f"cyclegan/{name}/" for name in ROOMS[1:-1]]
    assert [line for line in listed if line in rooms] == rooms
