"""The report of one slice as text, to save and to send: provenance, numbers, warnings.

No name of a file and no value of a header is in it, since these often tell who the patient is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cyclegan import OTHER
from cyclegan.export.provenance import CAVEAT
from cyclegan.reading.notes import without_quoted

if TYPE_CHECKING:
    from cyclegan.server.models import Model
    from cyclegan.server.results import Made
    from cyclegan.server.series import Real, Series

NOT_A_DEVICE = "Not a medical device; not cleared or approved by any regulator."
ELSEWHERE = (
    "By their pixels the two images do not show the same place, so these numbers compare different "
    "anatomy."
)


def report(
    model: Model,
    series: Series,
    index: int,
    made: Made,
    readings: Sequence[dict[str, Any]],
    fit: str,
    real: Real | None,
    true: dict[str, float] | None,
    elsewhere: bool = False,
) -> str:
    """Everything that is known of slice `index` and of how it was made.

    Args:
        model: that made it.
        series: of the slice.
        index: of the slice.
        made: what it was made for.
        readings: as `Calibration.readings` returns them.
        fit: what the input looks like, in sentences.
        real: that it is compared with, or None.
        true: as `truth.true_error` returns it, or None.
        elsewhere: as `truth.is_elsewhere` returns it.
    """
    calibration, to = model.calibration, made.to
    lines = [
        f"Synthetic {to} from {OTHER[to]}, slice {index + 1} of {series.slices}",
        CAVEAT,
        NOT_A_DEVICE,
        "",
        f"Input check: {fit}",
        *(f"Note: {without_quoted(note)}" for note in series.volume.notes),
        "",
        *(f"{reading['title']}: {reading['text']}{_worth(reading)}" for reading in readings),
        "Cycle error is not translation error.",
    ]
    if calibration.missing:
        lines.append(calibration.missing)
    title = "Uncertainty map: " if calibration.map_name(to) else ""
    lines.append(title + calibration.map_words(to))
    if real is not None:
        lines += ["", f"True error against the real {to} ({'; '.join(real.truth.notes)}):"]
        lines += [*true_warnings(real, elsewhere), true_words(true)]
    source = series.provenance(model, made)
    return "\n".join([*lines, "", *(f"{name}: {value}" for name, value in source.lines().items())])


def true_warnings(real: Real | None, elsewhere: bool) -> list[str]:
    """What speaks against measuring with a real image, in sentences."""
    if real is None:
        return []
    return [words for words in (real.warning, ELSEWHERE if elsewhere else "") if words]


def true_words(true: dict[str, float] | None) -> str:
    """The true error in words; None: it cannot be told in this slice."""
    if true is None:
        return "The real image does not cover the head in this slice."
    return f"SSIM {true['ssim']:.3f}, PSNR {true['psnr']:.1f} dB, MAE {true['mae']:.3f} in the head"


def _worth(reading: dict[str, Any]) -> str:
    return f" ({reading['worth']})" if reading["worth"] else ""
