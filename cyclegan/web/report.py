"""The report of one slice as text, to save and to send: provenance, numbers, warnings.

No name of a file and no value of a header is in it, since these often tell who the patient is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cyclegan import OTHER
from cyclegan.reading.notes import without_quoted
from cyclegan.results.provenance import CAVEAT

if TYPE_CHECKING:
    from cyclegan.trust.calibration import Calibration
    from cyclegan.web.session import Session
    from cyclegan.web.turns import SharedModel

ELSEWHERE = (
    "By their pixels the two images do not show the same place, so these numbers compare different "
    "anatomy."
)
NOT_A_DEVICE = "Not a medical device; not cleared or approved by any regulator."


def report(
    session: Session,
    model: SharedModel,
    calibration: Calibration,
    index: int,
    readings: Sequence[dict[str, Any]],
    true: dict[str, float] | None,
    elsewhere: bool = False,
) -> str:
    """Everything the page says of slice `index` and of how it was made.

    Args:
        session: with a translation on screen.
        model: that made it.
        calibration: of the model.
        index: of the slice.
        readings: as `Calibration.readings` returns them.
        true: as `truth.true_error` returns it, or None.
        elsewhere: as `truth.is_elsewhere` returns it.
    """
    volume, to = session.held(), session.to
    lines = [
        f"Synthetic {to} from {OTHER[to]}, slice {index + 1} of {session.slices}",
        CAVEAT,
        NOT_A_DEVICE,
        "",
        f"Input check: {session.notice(to).text}",
        *(f"Note: {without_quoted(note)}" for note in volume.notes),
        "",
        *(f"{reading['title']}: {reading['text']}{_worth(reading)}" for reading in readings),
        "Cycle error is not translation error.",
    ]
    if calibration.missing:
        lines.append(calibration.missing)
    title = "Uncertainty map: " if calibration.map_name(to) else ""
    lines.append(title + calibration.map_words(to))
    truth = session.truth_for(to)
    if truth is not None:
        lines += ["", f"True error against the real {to} ({'; '.join(truth.notes)}):"]
        lines += [*true_warnings(session, elsewhere), true_words(true)]
    source = session.provenance(model)
    return "\n".join([*lines, "", *(f"{name}: {value}" for name, value in source.lines().items())])


def true_warnings(session: Session, elsewhere: bool) -> list[str]:
    """What speaks against measuring with the real image of a session, in sentences."""
    doubt = session.doubt if session.truth_for(session.to) is not None else ""
    return [words for words in (doubt, ELSEWHERE if elsewhere else "") if words]


def true_words(true: dict[str, float] | None) -> str:
    """The true error in words; None: it cannot be told in this slice."""
    if true is None:
        return "The real image does not cover the head in this slice."
    return f"SSIM {true['ssim']:.3f}, PSNR {true['psnr']:.1f} dB, MAE {true['mae']:.3f} in the head"


def _worth(reading: dict[str, Any]) -> str:
    return f" ({reading['worth']})" if reading["worth"] else ""
