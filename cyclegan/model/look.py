"""How one scanner shows a contrast, as a few numbers: never an image, and none can be made of it.

The code is what a generator's `LookEncoder` says of real slices; it means something to the weights
that made it only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cyclegan import OTHER
from cyclegan.model.weights_files import LOOKS, OPTIONAL

FORMAT = 1  # of the files
FAR = 3.0  # deviations of the training slices, from which on a look is far from all of them


class LookError(ValueError):
    """A look that cannot be used; the message says why and what would work."""


@dataclass(frozen=True)
class Look:
    """The look of a contrast from one scanner.

    Attributes:
        contrast: "T1" or "T2", what it is a look of.
        code: numbers in [-1, 1].
        checksum: SHA-256 of the weights that made it, hexadecimal.
        name: shown to readers, may be empty.
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
    def load(cls, path: str | Path) -> Look:
        """Read what `save` wrote.

        Raises:
            LookError: no such file, or not a look.
        """
        try:
            held = json.loads(Path(path).read_text("utf-8"))
            if held.pop("format") != FORMAT:
                raise LookError(f"{path}: a look of another format; make it again")
            look = cls(**held | {"code": tuple(float(v) for v in held["code"])})
        except FileNotFoundError:
            raise LookError(f"{path}: no such file") from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, LookError):
                raise
            raise LookError(f"{path}: not a look; Look.save writes one") from None
        if look.contrast not in OTHER or not all(math.isfinite(v) for v in look.code):
            raise LookError(f"{path}: not a look; Look.save writes one")
        return look

    def distance(self, other: Look) -> float:
        """Root mean square difference of the codes: 0 for equal looks, at most 2.

        Raises:
            LookError: looks of two contrasts, or of other weights.
        """
        if self.contrast != other.contrast:
            raise LookError(f"a look of {self.contrast} and one of {other.contrast}: no distance")
        if self.checksum != other.checksum or len(self.code) != len(other.code):
            raise LookError("two looks of different weights: their numbers mean different things")
        squares = [(a - b) ** 2 for a, b in zip(self.code, other.code, strict=True)]
        return math.sqrt(sum(squares) / len(squares))


def mean_look(looks: Sequence[Look], name: str = "") -> Look:
    """The mean of looks of one contrast and one model: of several slices, or several people.

    Raises:
        LookError: none, or looks that do not belong together.
    """
    if not looks:
        raise LookError("no slice to take a look from")
    first = looks[0]
    for look in looks[1:]:
        first.distance(look)  # raises where they do not belong together
    code = tuple(
        math.fsum(values) / len(looks) for values in zip(*(x.code for x in looks), strict=True)
    )
    return Look(first.contrast, code, first.checksum, name or first.name)


@dataclass(frozen=True)
class KnownLooks:
    """The looks that a model saw in training: a few with names, and how far they lie apart.

    Attributes:
        named: mean looks of data sources.
        centre, deviation: contrast -> mean and standard deviation of the codes of all slices.
        missing: one sentence why none are known, or "".
    """

    named: tuple[Look, ...] = ()
    centre: dict[str, tuple[float, ...]] = field(default_factory=dict)
    deviation: dict[str, tuple[float, ...]] = field(default_factory=dict)
    missing: str = ""

    @classmethod
    def from_pretrained(cls, folder: str | Path, checksum: str) -> KnownLooks:
        """Read looks.json of a weights folder; one that is absent or unfit gives its reason.

        Args:
            folder: of the weights.
            checksum: SHA-256 of the model that is loaded.
        """
        try:
            held = json.loads((Path(folder) / LOOKS).read_text("utf-8"))
            if (held["format"], held["sha256"]) != (FORMAT, checksum):
                return cls(missing=f"{LOOKS} is of another model; {OPTIONAL[LOOKS]} renews it.")
            named = [
                Look(e["contrast"], tuple(e["code"]), checksum, e["name"]) for e in held["named"]
            ]
            return cls(tuple(named), held["centre"], held["deviation"])
        except FileNotFoundError:
            return cls(missing=f"{LOOKS} is missing; {OPTIONAL[LOOKS]} makes it.")
        except (OSError, ValueError, KeyError, TypeError):
            return cls(missing=f"{LOOKS} is damaged; {OPTIONAL[LOOKS]} makes it anew.")

    def save(self, folder: str | Path, checksum: str) -> None:
        """Write looks.json into a weights folder."""
        named = [{"contrast": x.contrast, "name": x.name, "code": x.code} for x in self.named]
        record = {"format": FORMAT, "sha256": checksum, "named": named, "centre": self.centre}
        text = json.dumps({**record, "deviation": self.deviation}, indent=1, ensure_ascii=False)
        (Path(folder) / LOOKS).write_text(text + "\n", "utf-8")

    def is_far(self, look: Look) -> bool:
        """Whether a look lies outside of all that training saw; False where that is unknown."""
        if look.contrast not in self.centre:
            return False
        numbers = zip(
            look.code, self.centre[look.contrast], self.deviation[look.contrast], strict=True
        )
        return (
            math.sqrt(sum(((c - m) / max(d, 1e-3)) ** 2 for c, m, d in numbers) / len(look.code))
            > FAR
        )
