"""Notes on a file: what comes out of it stands in quotation marks, so that it can be left out.

Names of files and values of headers often tell who the patient is. Who opened the file sees them;
what is saved or sent on goes through `without_quoted`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_MOST = 120  # characters of one quotation


def quoted(text: str) -> str:
    """A name or a header's value for a note: printable, on one line, in quotation marks."""
    shown = "".join(c if c.isprintable() and c != '"' else "?" for c in text)
    return f'"{shown[:_MOST]}"'


def without_quoted(note: str) -> str:
    """A note with "…" for everything in quotation marks."""
    return re.sub(r'"[^"]*"', "…", note)


def names_patient(header: Mapping[str, Any], text: str) -> bool:
    """Whether a text has a word of the patient's name or number in it, with its accents or without.

    Args:
        header: attributes of a DICOM object by keyword.
        text: any other attribute of it.
    """
    names = " ".join(str(header.get(each) or "") for each in ("PatientName", "PatientID"))
    words = re.split(r"[\W_]+", _plain(names))
    return any(word in _plain(text) for word in words if len(word) > 2)


def _plain(text: str) -> str:
    """A text in lower case, without accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c))
