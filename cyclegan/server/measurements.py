"""How far to trust a slice: numbers, the uncertainty map, the true error where it is known.

The page shows the translation first and asks for this when somebody rests on a slice.
"""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan import OTHER
from cyclegan.export.provenance import CAVEAT
from cyclegan.model.preprocess import Scale
from cyclegan.model.translator import CycleResult, Prepared
from cyclegan.reading.volume import without_quoted
from cyclegan.server.fit import Fit, slice_fit
from cyclegan.server.images import Measured
from cyclegan.trust import evidence
from cyclegan.trust.calibration import MEASURES
from cyclegan.trust.checks import DOUBTFUL
from cyclegan.trust.truth import is_elsewhere, true_error

if TYPE_CHECKING:
    from cyclegan.server.series import View

NOT_A_DEVICE = "Not a medical device; not cleared or approved by any regulator."
ELSEWHERE = (
    "By their pixels the two images do not show the same place, so these numbers compare different "
    "anatomy."
)
NMI = "normalised mutual information of original and synthetic image, from 1 to 2"


def measured_slice(view: View, index: int, handicap: float) -> Future[Measured]:
    """Numbers and map of a translated slice, in the model's turn; stored with the slice.

    Args:
        view, index: which slice.
        handicap: of the queue.

    Raises:
        GoneError, UserError: as `View.stored`; the future raises them, too.
    """
    measured = view.stored(index).measured
    if measured is not None:
        known: Future = Future()
        known.set_result(measured)
        return known
    return view.series.model.queue.submit(partial(measure, view, index), handicap)


def measure(view: View, index: int) -> Measured:
    """Measure a translated slice; call it from the queue, as it may run the network.

    Raises:
        GoneError, UserError: as `View.stored`.
    """
    stored = view.stored(index)
    stored.measured = _measured(view, view.result(index))
    return stored.measured


def _measured(view: View, result: CycleResult) -> Measured:
    series, (to, style) = view.series, view.target
    model = series.model
    calibration, translator = model.calibration, model.translator
    fit = None
    if not series.is_simulated:
        check = model.assess(result.source, series.volume.pixel_spacing)
        fit = check and slice_fit(check, to)
    numbers = evidence.cycle_error(result) | evidence.nmi(result)
    if not numbers:  # no head
        return Measured(numbers, None, fit)
    predicted = None
    if translator.predicts_error:
        unit = Prepared(Scale(0.0, 1.0), series.prepared.frame)  # of what is scaled already
        _, predicted = translator.translate_with_error(
            result.source, to, prepared=unit, style=style
        )
        numbers |= evidence.mean_predicted_error(result.source, predicted)
    shows_interval = calibration.shows_interval(to)
    name = evidence.PREDICTED_ERROR if shows_interval else calibration.map_name(to)
    error_map = None
    if name is not None:
        times = calibration.interval(to) if shows_interval else 1
        error_map = (times * evidence.error_maps(result, predicted)[name]).astype(np.float32)
    return Measured(numbers, error_map, fit)


class SliceTrust:
    """What is known of one translated slice, for the page, the report and the table.

    Args:
        view, index: which slice, which is translated.
        measured: of it.

    Attributes:
        readings: as `Calibration.readings` returns them.
        fit: the worst of what the series, the slice and its numbers say.
        real: that it is compared with, or None.
        error: as `truth.true_error` returns it, or None.
        is_elsewhere: whether the real image, by its pixels, shows another place.
        warning: what speaks against comparing with it, in sentences, or "".
    """

    def __init__(self, view: View, index: int, measured: Measured):
        self.view, self.index, self.measured = view, index, measured
        self.series, self.to, self.real = view.series, view.target.to, view.real
        self.calibration = self.series.model.calibration
        self.readings = self.calibration.readings(
            self.to, measured.numbers, is_simulated=self.series.is_simulated
        )
        for reading in self.readings:
            if reading["name"] == "nmi":  # its title is plain, and needs a definition
                reading["worth"] = "; ".join(filter(None, (NMI, reading["worth"])))
        self.fit = self._worst_fit()
        self.error, self.is_elsewhere, self.warning = None, False, ""
        if self.real is not None:
            result = view.result(index)
            pixels, covered = self.real.truth.slice(index, result.source.shape)
            self.error = true_error(result.translated, pixels, result.source, covered)
            self.is_elsewhere = is_elsewhere(pixels, result.source, covered)
            sentences = (self.real.warning, ELSEWHERE if self.is_elsewhere else "")
            self.warning = " ".join(filter(None, sentences))

    def _worst_fit(self) -> Fit:
        fits = [self.series.fit, *([self.measured.fit] if self.measured.fit else [])]
        unusual = [f"{r['title']}: {r['text']}." for r in self.readings if r["unusual"]]
        if unusual:
            fits.append(Fit(DOUBTFUL, " ".join(unusual)))
        return max(fits, key=lambda fit: fit.rank)

    def for_page(self) -> dict[str, Any]:
        """As JSON, without the numbers that say little of the error."""
        calibration, to = self.calibration, self.to
        readings = [reading for reading in self.readings if not reading["weak"]]
        readings.sort(key=lambda reading: -(reading["rank"] or 0))
        has_map = calibration.map_name(to) is not None and self.measured.map is not None
        return {
            "numbers": [reading | {"short": short(reading)} for reading in readings],
            "fits": {"word": self.fit.word, "sentence": self.fit.sentence},
            "true_error": self.error,
            "true_warning": self.warning,
            "map": {} if has_map else None,
            "interval_words": calibration.interval_words(to) or None,
            "lesion_contrast": calibration.lesion_contrast(to),
            "report": self.report(),
        }

    def report(self) -> str:
        """As text, to save and to send: provenance, numbers, warnings.

        No name of a file and no value of a header is in it, since these often tell who the patient
        is.
        """
        calibration, series, to = self.calibration, self.series, self.to
        lines = [
            f"Synthetic {to} from {OTHER[to]}, slice {self.index + 1} of {series.slices}",
            CAVEAT,
            NOT_A_DEVICE,
            "",
            f"Input check: {self.fit.sentence}",
            *(f"Note: {without_quoted(note)}" for note in series.volume.notes),
            "",
        ]
        for reading in self.readings:
            worth = f" ({reading['worth']})" if reading["worth"] else ""
            lines.append(f"{reading['title']}: {reading['text']}{worth}")
        lines.append("Cycle error is not translation error.")
        if calibration.missing:
            lines.append(calibration.missing)
        title = "Uncertainty map: " if calibration.map_name(to) else ""
        lines.append(title + calibration.map_words(to))
        if self.real is not None:
            notes = "; ".join(self.real.truth.notes)
            numbers = "SSIM {ssim:.3f}, PSNR {psnr:.1f} dB, MAE {mae:.3f} in the head"
            nothing = "The real image does not cover the head in this slice."
            lines += ["", f"True error against the {self.real.title} ({notes}):"]
            lines += [self.warning] if self.warning else []
            lines.append(numbers.format(**self.error) if self.error else nothing)
        provenance = series.provenance(self.view.target).lines()
        return "\n".join([*lines, "", *(f"{name}: {value}" for name, value in provenance.items())])

    def row(self) -> dict[str, Any]:
        """Of the table of slices: the same columns for each."""
        row: dict[str, Any] = {
            "slice": self.index + 1,
            "input": self.series.check and self.series.check.label,
            "fits": self.fit.word,
        }
        by_name = {reading["name"]: reading for reading in self.readings}
        for name in MEASURES:
            reading = by_name.get(name, {})
            low, high = reading.get("expected") or (None, None)
            row |= {name: reading.get("value"), f"{name}_low": low, f"{name}_high": high}
        errors = self.error or {}
        return row | {f"true_{name}": errors.get(name) for name in ("ssim", "psnr", "mae")}


def short(reading: dict[str, Any]) -> str:
    """A number for the corner of an image."""
    numbers = [reading["value"], *(reading["expected"] or ())]
    value, *usual = (f"{number:.2f}" for number in numbers)
    return f"{value}, typical {usual[0]} to {usual[1]}" if usual else value
