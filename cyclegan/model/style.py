"""How one scanner shows a contrast, as a few numbers: never an image, and none can be made of it.

The code is the output of a generator's `StyleEncoder` for real slices; it means something only to
the weights that made it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cyclegan import OTHER
from cyclegan.model.checkpoint import FORMAT, STYLES, CheckpointError, read_measured

FAR = 3.0  # deviations of the training slices, from which on a style is far from all of them


class StyleError(ValueError):
    """A style that cannot be used; the message says why and what would work."""


@dataclass(frozen=True)
class Style:
    """The style of a contrast from one scanner.

    Attributes:
        contrast: "T1" or "T2", what it is a style of.
        code: numbers in [-1, 1].
        checksum: SHA-256 of the weights that made it, hexadecimal.
        name: shown to users, may be empty.
    """

    contrast: str
    code: tuple[float, ...]
    checksum: str
    name: str = ""

    def save(self, path: str | Path) -> None:
        """Write a few hundred bytes of JSON."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False)
        Path(path).write_text(text + "\n", "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Style:
        """Read what `save` wrote.

        Raises:
            StyleError: no such file, or not a style.
        """
        try:
            record = json.loads(Path(path).read_text("utf-8"))
            if record.pop("format") != FORMAT:
                raise StyleError(f"{path}: a style of another format; make it again")
            style = cls(**record | {"code": tuple(float(v) for v in record["code"])})
        except FileNotFoundError:
            raise StyleError(f"{path}: no such file") from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, StyleError):
                raise
            raise StyleError(f"{path}: not a style; Style.save writes one") from None
        if style.contrast not in OTHER or not all(math.isfinite(v) for v in style.code):
            raise StyleError(f"{path}: not a style; Style.save writes one")
        return style

    def distance(self, other: Style) -> float:
        """Root mean square difference of the codes: 0 for equal styles, at most 2.

        Raises:
            StyleError: styles of two contrasts, or of other weights.
        """
        if self.contrast != other.contrast:
            raise StyleError(f"a style of {self.contrast} and one of {other.contrast}: no distance")
        if self.checksum != other.checksum or len(self.code) != len(other.code):
            raise StyleError("two styles of different weights: their numbers mean different things")
        squares = [(a - b) ** 2 for a, b in zip(self.code, other.code, strict=True)]
        return math.sqrt(sum(squares) / len(squares))


def mean_style(styles: Sequence[Style], name: str = "") -> Style:
    """The mean of styles of one contrast and one model: of several slices, or several subjects.

    Raises:
        StyleError: none, or styles that do not belong together.
    """
    if not styles:
        raise StyleError("no slice to take a style from")
    first = styles[0]
    for style in styles[1:]:
        first.distance(style)  # raises where they do not belong together
    code = tuple(
        math.fsum(values) / len(styles) for values in zip(*(x.code for x in styles), strict=True)
    )
    return Style(first.contrast, code, first.checksum, name or first.name)


@dataclass(frozen=True)
class KnownStyles:
    """The styles that a model saw in training: a few with names, and how far they lie apart.

    Attributes:
        named: mean styles of data sources.
        centre, deviation: contrast -> mean and standard deviation of the codes of all slices.
        missing: one sentence why none are known, or "".
    """

    named: tuple[Style, ...] = ()
    centre: dict[str, tuple[float, ...]] = field(default_factory=dict)
    deviation: dict[str, tuple[float, ...]] = field(default_factory=dict)
    missing: str = ""

    @classmethod
    def from_pretrained(cls, folder: str | Path, checksum: str) -> KnownStyles:
        """Read styles.json of a weights folder; one that is absent or unfit gives its reason.

        Args:
            folder: of the weights.
            checksum: SHA-256 of the model that is loaded.
        """

        def parse(record: dict[str, Any]) -> KnownStyles:
            named = [
                Style(e["contrast"], tuple(e["code"]), checksum, e["name"]) for e in record["named"]
            ]
            return cls(tuple(named), record["centre"], record["deviation"])

        try:
            return read_measured(folder, STYLES, checksum, parse)
        except CheckpointError as error:
            return cls(missing=str(error))

    def save(self, folder: str | Path, checksum: str) -> None:
        """Write styles.json into a weights folder."""
        named = [{"contrast": x.contrast, "name": x.name, "code": x.code} for x in self.named]
        record = {"format": FORMAT, "sha256": checksum, "named": named, "centre": self.centre}
        text = json.dumps({**record, "deviation": self.deviation}, indent=1, ensure_ascii=False)
        (Path(folder) / STYLES).write_text(text + "\n", "utf-8")

    def is_far(self, style: Style) -> bool:
        """Whether a style lies outside of all that training saw; False where that is unknown."""
        if style.contrast not in self.centre:
            return False
        numbers = zip(
            style.code, self.centre[style.contrast], self.deviation[style.contrast], strict=True
        )
        return (
            math.sqrt(sum(((c - m) / max(d, 1e-3)) ** 2 for c, m, d in numbers) / len(style.code))
            > FAR
        )
