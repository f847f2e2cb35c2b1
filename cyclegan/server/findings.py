"""How far to trust a slice: numbers, the uncertainty map and, when known, the true error.

The page shows the translation first and asks for this when somebody rests on a slice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.model.translator import CycleResult, Prepared
from cyclegan.server.input_warning import Fit
from cyclegan.server.report import report, true_warnings, true_words
from cyclegan.server.results import Made, Measured
from cyclegan.trust import evidence
from cyclegan.trust.checks import DOUBTFUL, FITS, UNLEARNT
from cyclegan.trust.truth import is_elsewhere, true_error

if TYPE_CHECKING:
    from cyclegan.server.models import Model
    from cyclegan.server.series import Real, Series


# Of one slice by itself. Chosen on the two volumes of one person, every second slice (46): those in
# the middle were at least 0.95 sure, the outermost mostly less than this.
SURE = 0.9


def measure(
    model: Model, series: Series, result: CycleResult, made: Made, *, whole: bool = False
) -> Measured:
    """Work out the numbers of one slice; call it from the queue, as it runs the network.

    Args:
        model: runs once where its generators expect errors, and once more for the `whole`.
        series: of the slice.
        result: (H, W) each.
        made: what it was made for.
        whole: also the numbers that validation found to tell little.
    """
    calibration, to = model.calibration, made.to
    frame = series.prepared(model).frame
    unit = Prepared(evidence.UNIT, frame)
    fit = None if series.is_simulated else _fit(model, series, result.source, to)
    numbers = evidence.nmi(result)
    if not numbers:  # no head
        return Measured(numbers, None, fit, whole)
    if whole:
        again = model.reconstruct_disturbed(result, to, frame)
        numbers = evidence.cycle_numbers(result, again) | numbers
    predicted_error = None
    if model.translator.predicts_error:
        _, predicted_error = model.translate_with_error(result.source, to, unit, made.style)
        numbers |= evidence.mean_predicted_error(result.source, predicted_error)
    shown = evidence.PREDICTED_ERROR if calibration.shows_interval(to) else calibration.map_name(to)
    if shown is None:
        return Measured(numbers, None, fit, whole)
    chosen = evidence.error_maps(result, predicted_error)[shown]
    if calibration.shows_interval(to):
        chosen = chosen * calibration.interval(to)
    return Measured(numbers, chosen.astype(np.float32), fit, whole)


def _fit(model: Model, series: Series, source: np.ndarray, to: str) -> Fit | None:
    """What one slice looks like; the check of a series looks at its middle alone."""
    seen = model.assess(source, series.volume.pixel_spacing)
    if seen is None:
        return None
    if seen.to is None:
        return Fit(UNLEARNT, f"This slice by itself: {seen.sentence}")
    if seen.contradicts(to) or seen.probabilities[seen.label] < SURE:
        return Fit(DOUBTFUL, f"This slice by itself: {seen.sentence}")
    return Fit(FITS, seen.sentence)


def telling(readings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of `Calibration.readings`, those that told something of the error on validation."""
    return [reading for reading in readings if not reading["weak"]]


def findings(
    model: Model, series: Series, index: int, result: CycleResult, made: Made, measured: Measured
) -> dict[str, Any]:
    """As JSON, what the page says of a slice."""
    calibration, to = model.calibration, made.to
    readings = telling(calibration.readings(to, measured.numbers, is_simulated=series.is_simulated))
    readings.sort(key=lambda reading: -(reading["rank"] or 0))
    fit = whole_fit(series, measured, readings)
    real = series.real if series.real is not None and series.real.to == to else None
    true, elsewhere = true_findings(real, series, index, result)
    map_name = calibration.map_name(to)
    return {
        "index": index,
        "numbers": [reading | {"short": short(reading)} for reading in readings],
        "missing": calibration.missing or None,
        "fits": fit._asdict(),
        "true_error": true,
        "true_words": true_words(true) if real else None,
        "true_warning": " ".join(true_warnings(real, elsewhere)),
        "map": None
        if map_name is None or measured.map is None
        else {
            "words": calibration.map_words(to),
            "meaning": calibration.map_meaning(to),
            "rank": calibration.map_rank(to, map_name),
        },
        "interval_words": calibration.interval_words(to) or None,
        "lesion_contrast": calibration.lesion_contrast(to),
        "lesion_words": calibration.lesion_words(),
        "report": report(model, series, index, made, readings, fit.sentence, real, true, elsewhere),
    }


def short(reading: dict[str, Any]) -> str:
    """A number for the corner of an image."""
    numbers = [reading["value"], *(reading["expected"] or ())]
    value, *usual = (f"{number:.2f}" for number in numbers)
    return f"{value}, typical {usual[0]} to {usual[1]}" if usual else value


def whole_fit(series: Series, measured: Measured, readings: list[dict[str, Any]]) -> Fit:
    """The word for a slice: the worst of what the series, the slice and its numbers say."""
    fits = [series.input_warning().fit, *([measured.fit] if measured.fit else [])]
    unusual = [
        f"{reading['title']}: {reading['text']}." for reading in readings if reading["unusual"]
    ]
    if unusual:
        fits.append(Fit(DOUBTFUL, " ".join(unusual)))
    return max(fits, key=lambda fit: fit.rank)


def true_findings(
    real: Real | None, series: Series, index: int, result: CycleResult
) -> tuple[dict[str, float] | None, bool]:
    """The true error of a slice, where it can be told, and whether the real image, by its pixels,
    shows another place."""
    if real is None:
        return None, False
    pixels, covered = real.truth.slice(index, result.source.shape)
    error = true_error(result.translated, pixels, result.source, covered)
    return error, is_elsewhere(pixels, result.source, covered)


def signed_error(real: Real, index: int, result: CycleResult) -> np.ndarray:
    """(H, W): synthetic - real in [-1, 1]; 0 where the real image does not reach."""
    pixels, covered = real.truth.slice(index, result.source.shape)
    return np.where(covered, result.translated - pixels, 0)
