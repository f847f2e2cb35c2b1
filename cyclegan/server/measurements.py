"""How far to trust a slice: numbers, the uncertainty map, the true error where it is known.

The page shows the translation first and asks for this when somebody rests on a slice.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan import OTHER
from cyclegan.export.provenance import CAVEAT
from cyclegan.model.translator import CycleResult, Prepared
from cyclegan.reading.volume import without_quoted
from cyclegan.server.errors import UserError
from cyclegan.server.fit import Fit, slice_fit
from cyclegan.server.results import Measured, Target
from cyclegan.trust import evidence
from cyclegan.trust.calibration import MEASURES
from cyclegan.trust.checks import DOUBTFUL
from cyclegan.trust.truth import is_elsewhere, true_error

if TYPE_CHECKING:
    from cyclegan.server.series import Series, View

NOT_A_DEVICE = "Not a medical device; not cleared or approved by any regulator."
ELSEWHERE = (
    "By their pixels the two images do not show the same place, so these numbers compare different "
    "anatomy."
)
NMI = "normalised mutual information of original and synthetic image, from 1 to 2"
DROPPED = "Memory was short, and a part was dropped. Save again."


def measured_slice(
    series: Series, target: Target, index: int, *, whole: bool, handicap: float
) -> Future[Measured]:
    """Numbers and map of slice `index`, in the model's turn; stored with the slice.

    Args:
        series, target, index: which slice.
        whole: also the numbers that said little on validation.
        handicap: of the queue.
    """
    stored = series.results.get(target, index)
    if (
        stored is not None
        and stored.measured is not None
        and (stored.measured.is_whole or not whole)
    ):
        known: Future = Future()
        known.set_result(stored.measured)
        return known

    def work() -> Measured:
        result = series.results.get(target, index)
        if result is None:
            raise UserError(DROPPED)
        cycle = CycleResult(series.original(index), result.translated, result.reconstructed)
        result.measured = measure(series, target, cycle, whole=whole)
        return result.measured

    return series.model.queue.submit(work, handicap)


def measure(series: Series, target: Target, result: CycleResult, *, whole: bool) -> Measured:
    """Measure one slice; call it from the queue, as it runs the network.

    Once where its generators expect errors, and once more for the `whole`.
    """
    model, (to, style) = series.model, target
    calibration, translator, frame = model.calibration, model.translator, series.prepared.frame
    fit = None
    if not series.is_simulated:
        check = model.assess(result.source, series.volume.pixel_spacing)
        fit = check and slice_fit(check, to)
    numbers = evidence.nmi(result)
    if not numbers:  # no head
        return Measured(numbers, None, fit, whole)
    if whole:
        own = evidence.own_style(translator, result.source, to, frame)
        again = evidence.reconstruct_disturbed(
            translator.translate, result.translated, to, frame, own
        )
        numbers = evidence.cycle_numbers(result, again) | numbers
    predicted = None
    if translator.predicts_error:
        unit = Prepared(evidence.UNIT, frame)
        _, predicted = translator.translate_with_error(
            result.source, to, prepared=unit, style=style
        )
        numbers |= evidence.mean_predicted_error(result.source, predicted)
    shows_interval = calibration.shows_interval(to)
    name = evidence.PREDICTED_ERROR if shows_interval else calibration.map_name(to)
    if name is None:
        return Measured(numbers, None, fit, whole)
    error_map = evidence.error_maps(result, predicted)[name]
    if shows_interval:
        error_map = error_map * calibration.interval(to)
    return Measured(numbers, error_map.astype(np.float32), fit, whole)


class SliceTrust:
    """What is known of one translated slice, for the page, the report and the table.

    Args:
        series, view, index: which slice.
        result: (H, W) each.
        measured: of it.

    Attributes:
        readings: as `Calibration.readings` returns them.
        fit: the worst of what the series, the slice and its numbers say.
        real: that it is compared with, or None.
        error: as `truth.true_error` returns it, or None.
        is_elsewhere: whether the real image, by its pixels, shows another place.
    """

    def __init__(
        self, series: Series, view: View, index: int, result: CycleResult, measured: Measured
    ):
        self.series, self.target, self.index, self.measured = series, view.target, index, measured
        self.calibration = series.model.calibration
        self.readings = self.calibration.readings(
            view.target.to, measured.numbers, is_simulated=series.is_simulated
        )
        for reading in self.readings:
            if reading["name"] == "nmi":  # its title is plain, and needs a definition
                reading["worth"] = "; ".join(filter(None, (NMI, reading["worth"])))
        self.fit = self._worst_fit()
        real = series.real
        self.real = real if real is not None and real.number == view.real else None
        self.error, self.is_elsewhere = None, False
        if self.real is not None:
            pixels, covered = self.real.truth.slice(index, result.source.shape)
            self.error = true_error(result.translated, pixels, result.source, covered)
            self.is_elsewhere = is_elsewhere(pixels, result.source, covered)

    def _worst_fit(self) -> Fit:
        fits = [self.series.fit, *([self.measured.fit] if self.measured.fit else [])]
        unusual = [f"{r['title']}: {r['text']}." for r in self.readings if r["unusual"]]
        if unusual:
            fits.append(Fit(DOUBTFUL, " ".join(unusual)))
        return max(fits, key=lambda fit: fit.rank)

    def warnings(self) -> list[str]:
        """What speaks against comparing with the real image, in sentences."""
        if self.real is None:
            return []
        sentences = (self.real.warning, ELSEWHERE if self.is_elsewhere else "")
        return [sentence for sentence in sentences if sentence]

    def error_words(self) -> str:
        """The true error in words."""
        if self.error is None:
            return "The real image does not cover the head in this slice."
        return "SSIM {ssim:.3f}, PSNR {psnr:.1f} dB, MAE {mae:.3f} in the head".format(**self.error)

    def for_page(self) -> dict[str, Any]:
        """As JSON, without the numbers that say little of the error."""
        calibration, to = self.calibration, self.target.to
        readings = [reading for reading in self.readings if not reading["weak"]]
        readings.sort(key=lambda reading: -(reading["rank"] or 0))
        name, error_map = calibration.map_name(to), None
        if name is not None and self.measured.map is not None:
            error_map = {
                "words": calibration.map_words(to),
                "meaning": calibration.map_meaning(to),
                "rank": calibration.map_rank(to, name),
            }
        return {
            "numbers": [reading | {"short": short(reading)} for reading in readings],
            "fits": {"word": self.fit.word, "sentence": self.fit.sentence},
            "true_error": self.error,
            "true_warning": " ".join(self.warnings()),
            "map": error_map,
            "interval_words": calibration.interval_words(to) or None,
            "lesion_contrast": calibration.lesion_contrast(to),
            "report": self.report(),
        }

    def report(self) -> str:
        """As text, to save and to send: provenance, numbers, warnings.

        No name of a file and no value of a header is in it, since these often tell who the patient
        is.
        """
        calibration, series, to = self.calibration, self.series, self.target.to
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
            lines += ["", f"True error against the {self.real.title} ({notes}):"]
            lines += [*self.warnings(), self.error_words()]
        provenance = series.provenance(self.target).lines()
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
