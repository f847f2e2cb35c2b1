"""T1/T2 translation of brain MRI slices: read, translate, check, export."""

from __future__ import annotations

__version__ = "1.0.0"
CONTRASTS = ("T1", "T2")
# The given contrast for a wanted one, and the reverse; T1 → T2 comes first in reports.
OTHER = {"T2": "T1", "T1": "T2"}
__all__ = [
    "CONTRASTS",
    "OTHER",
    "InputCheck",
    "ReadError",
    "Style",
    "Translator",
    "Volume",
    "__version__",
    "open_files",
    "read_volume",
]

_HOMES = {
    "InputCheck": "trust.checks",
    "Style": "model.style",
    "Translator": "model.translator",
    "ReadError": "reading.volume",
    "Volume": "reading.volume",
    "read_volume": "reading.read",
    "open_files": "reading.selection",
}


def __getattr__(name: str):
    # Lazy, so that reading files or drawing phantoms does not wait for torch to import.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
