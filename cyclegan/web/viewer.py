"""The viewer's files, put together: it is plain JavaScript, HTML and CSS in `cyclegan/viewer/`."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "viewer"
# One function body, in this order; the last one starts it.
SCRIPTS = (
    "viewer",
    "images",
    "compare",
    "panels",
    "windows",
    "layout",
    "measure",
    "planes",
    "findings",
    "hatch",
    "slices",
    "assist",
    "pointer",
    "keys",
)
# These run before Gradio does.
FIRST_SCRIPTS = ("connection", "incoming")


def markup() -> str:
    """The viewer's HTML."""
    return (FOLDER / "viewer.html").read_text("utf-8")


def script() -> str:
    """The body of the function that runs it, of `element`, `props` and `watch`."""
    return _joined(SCRIPTS)


def first_script() -> str:
    """What runs before Gradio: the connection to the server, and the way in for files."""
    return _joined(FIRST_SCRIPTS)


def style() -> str:
    """The CSS of the page and of the viewer."""
    return (FOLDER / "viewer.css").read_text("utf-8")


def _joined(names: tuple[str, ...]) -> str:
    return "\n".join((FOLDER / f"{name}.js").read_text("utf-8") for name in names)
