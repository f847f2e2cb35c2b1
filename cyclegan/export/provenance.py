"""What every result that leaves the program says about itself."""

from __future__ import annotations

import hashlib
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cyclegan import OTHER, __version__

if TYPE_CHECKING:  # torch is slow to import, and the type suffices here
    from cyclegan.reading.volume import Volume

SOFTWARE = "cyclegan-t1t2"
# IPTC's word for machines: made by a model that was trained on others' images (NewsCodes).
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CAVEAT = "Research demo, not for diagnosis: synthetic images can miss or invent findings."


def synthetic_label(to: str) -> str:
    """What is burnt into a picture of the synthetic contrast `to`, "T1" or "T2"."""
    return f"SYNTHETIC {to} from {OTHER[to]} - not for diagnosis"


def is_result(path: Path) -> bool:
    """Whether a NIfTI, DICOM or PNG file says of itself that it is a result of this program."""
    head = _beginning(path)
    return b"SYNTHETIC T" in head and b"not for diagnosis" in head


def source_of(path: Path) -> str:
    """`Provenance.source_sha256` of a NIfTI result; "" where a file says none."""
    match = re.search(rb"Source-SHA256: ([0-9a-f]{64})", _beginning(path))
    return match[1].decode() if match else ""


def _beginning(path: Path) -> bytes:
    """The first bytes of a file, unpacked where it is gzip; none where it cannot be read."""
    try:
        with path.open("rb") as stream:
            head = stream.read(2**14)
    except OSError:
        return b""
    if head.startswith(b"\x1f\x8b"):
        try:
            return zlib.decompressobj(31).decompress(head, 2048)
        except zlib.error:
            return b""
    return head


@dataclass(frozen=True)
class Provenance:
    """Which model made a result, and from what; nothing of it tells who the patient is.

    Attributes:
        model_version, checksum: of the weights, as `Translator` names them; the second is their
            SHA-256, hexadecimal.
        to: the contrast of the translation, "T1" or "T2".
        source_sha256: SHA-256 of the source volume's pixels as read: shown order, (Z, H, W),
            little-endian float32. The file's own checksum would change with its header.
        style: name of the style that was asked for; empty for the source's own guess.
        software_version: of this package.
    """

    model_version: str
    checksum: str
    to: str
    source_sha256: str
    style: str = ""
    software_version: str = __version__

    @property
    def mark(self) -> str:
        """Six digits that tell results of one source from those of others, for names of files."""
        return self.source_sha256[:6]

    def lines(self) -> dict[str, str]:
        """Names (Latin-1, at most 79 characters, as PNG text chunks want them) and values."""
        style = self.style.encode("latin-1", "replace").decode("latin-1")
        return {
            "Direction": f"{OTHER[self.to]} to {self.to}",
            **({"Style": style} if style else {}),
            "Model": self.model_version,
            "Weights-SHA256": self.checksum,
            "Source-SHA256": self.source_sha256,
            "Software": f"{SOFTWARE} {self.software_version}",
        }

    def __str__(self) -> str:
        return "; ".join(f"{name}: {value}" for name, value in self.lines().items())


def pixels_sha256(volume: Volume) -> str:
    """`Provenance.source_sha256` of a source."""
    return hashlib.sha256(np.ascontiguousarray(volume.pixels, dtype="<f4")).hexdigest()
