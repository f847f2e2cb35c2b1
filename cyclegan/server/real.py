"""An acquired image of the contrast that is translated to, beside the translation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cyclegan import CONTRASTS
from cyclegan.server.errors import UserError
from cyclegan.trust.truth import Truth, TruthError, match

if TYPE_CHECKING:
    from cyclegan.reading.volume import Volume
    from cyclegan.server.models import Model

_numbers = itertools.count(1)


@dataclass(frozen=True, eq=False)
class Real:
    """An acquired image of the contrast that is translated to.

    Attributes:
        truth: as it lies over the series.
        to: its contrast.
        warning: what speaks against it, in a sentence, or "".
        contrast: what its pixels look like, "T1" or "T2", or None.
    """

    truth: Truth
    to: str
    warning: str = ""
    contrast: str | None = None
    number: int = field(default_factory=lambda: next(_numbers))


def compare(model: Model, volume: Volume, source: Volume, to: str) -> Real:
    """Register an acquired image onto `source`, and look what it shows.

    Raises:
        UserError: it cannot be compared with the source.
    """
    truth = matched(volume, source, register=True)
    seen = model.assess(volume.pixels, volume.pixel_spacing)
    if seen is None:
        return Real(truth, to, contrast=to)
    warning = "" if seen.label == to else f"It should be a {to}. {seen.sentence}"
    return Real(truth, to, warning, seen.label if seen.label in CONTRASTS else None)


def matched(volume: Volume, source: Volume, register: bool) -> Truth:
    """As `truth.match`.

    Raises:
        UserError: it cannot be compared with the source.
    """
    try:
        return match(volume, source, register)
    except TruthError as error:
        raise UserError(str(error)) from None
