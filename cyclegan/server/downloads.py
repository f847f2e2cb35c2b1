"""Files that were asked for: how far they are, and what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


class Download(NamedTuple):
    """A file: its bytes, its name and its MIME type."""

    data: bytes
    name: str
    mime: str


@dataclass
class Save:
    """How far a file is that was asked for: the `save` of the state.

    Attributes:
        kind: one of `saving.KINDS`.
        of: steps in all; done: so many of them.
        file: token to fetch it with, once it is there; name: of the file.
        removed: what of the source's DICOM header is not in it, in words.
        error: why there is no file, in a sentence.
    """

    kind: str
    of: int
    done: int = 0
    file: str | None = None
    name: str | None = None
    removed: Sequence[str] = ()
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"removed": list(self.removed)}
