"""What validation says of the loaded model: the expected ranges and the worth of its maps.

`python -m cyclegan.release.calibrate` writes it into trust.json of the weights folder. No
measured number is in the code, so that new weights bring their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclegan import OTHER
from cyclegan.model.checkpoint import TRUST, CheckpointError, read_measured
from cyclegan.trust import evidence

NEEDED = 0.3  # rank correlation with the true error below which a map or a score is not shown
TELLING = 0.5  # and below which a number gives no alarm: of the slices' order it tells a quarter
TELLS_LITTLE = "on validation this number told little about the error"
TELLS = "on validation, slices with a better number mostly had a smaller error"
OF_SIMULATED = "this head is simulated, so the usual values of real heads do not apply"
BASELINE = "brightness of the translation"  # no map, but what any map should be compared with


@dataclass(frozen=True)
class Measure:
    """A number of a slice: its name on the page and what to say when it is out of range."""

    title: str
    higher_is_better: bool
    warning: str


MEASURES = {
    "cycle_error": Measure(
        "Cycle error", False, "the reconstruction differs more from the original than usual"
    ),
    "nmi": Measure("Anatomy match", True, "anatomy may have moved"),
    "predicted_error": Measure(
        "Mean predicted error", False, "the model predicts more error than usual"
    ),
}


class Calibration:
    """What is known of a model from validation; `record` is None when nothing is.

    Args:
        record: content of trust.json.
        missing: one sentence why there is none.
    """

    def __init__(self, record: dict[str, Any] | None, missing: str = ""):
        self.record = record
        self.missing = missing

    @classmethod
    def from_pretrained(cls, folder: str | Path, checksum: str) -> Calibration:
        """Read trust.json of a weights folder; one that is absent or unfit gives its reason.

        Args:
            folder: of the weights.
            checksum: SHA-256 of the model that is loaded.
        """
        try:
            return read_measured(folder, TRUST, checksum, cls)
        except CheckpointError as error:
            return cls(None, f"No expected ranges: {error}")

    def _of(self, to: str) -> dict[str, Any]:
        return self.record["directions"][to] if self.record else {}

    def map_name(self, to: str) -> str | None:
        """The map of `evidence.error_maps` that is worth showing for translations into `to`."""
        name = self._of(to).get("map")
        return name if name in (evidence.PREDICTED_ERROR, evidence.CYCLE_ERROR) else None

    def expected(self, to: str, name: str) -> tuple[float, float] | None:
        """The usual range of a number for translations into `to`."""
        return tuple(self._of(to)["expected"][name]) if self.record else None

    def readings(
        self, to: str, numbers: dict[str, float], *, is_simulated: bool = False
    ) -> list[dict[str, Any]]:
        """The numbers of one slice in words.

        Args:
            to: the contrast of the translation.
            numbers: by the names of `MEASURES`.
            is_simulated: whether the source is a phantom, which ranges of real heads do not fit.

        Returns:
            For each number that is worth showing: `name`, `title`, `value`, `expected` (low, high)
            or None, `rank` or None, `weak` (it tells little, so it gives no alarm), `unusual`,
            `text`, such as "typical 0.62 to 0.81, this slice 0.44: anatomy may have moved", and
            `worth`, how well the number ranked validation slices, in words, or "".
        """
        readings = []
        for name, measure in MEASURES.items():
            value, rank = numbers.get(name), self._of(to).get("ranks", {}).get(name)
            # A predicted error is shown only where it ranks slices.
            if value is None or (name == "predicted_error" and (rank or 0) < NEEDED):
                continue
            weak = rank is not None and rank < TELLING
            expected = None if is_simulated else self.expected(to, name)
            text, *typical = _with_digits(value, *(expected or ()))
            unusual = False
            if expected:
                text = f"typical {typical[0]} to {typical[1]}, this slice {text}"
                outside = value < expected[0] if measure.higher_is_better else value > expected[1]
                unusual = outside and not weak
            worth = "" if rank is None else TELLS_LITTLE if weak else TELLS
            readings.append(
                {
                    "name": name,
                    "title": measure.title,
                    "value": value,
                    "expected": expected and list(expected),
                    "rank": rank,
                    "weak": weak,
                    "unusual": unusual,
                    "text": f"{text}: {measure.warning}" if unusual else text,
                    "worth": OF_SIMULATED if is_simulated and worth else worth,
                }
            )
        return readings

    def interval(self, to: str) -> float | None:
        """Times the predicted error, 9 in 10 true values lie within; None where that is unknown."""
        return (self._of(to).get("interval") or {}).get("multiple")

    def shows_interval(self, to: str) -> bool:
        """Whether the page's map of a slice is the interval around each value: shown as such, or
        as no map."""
        shown = self.map_name(to)
        return self.interval(to) is not None and shown in (None, evidence.PREDICTED_ERROR)

    def lesion_contrast(self, to: str) -> float | None:
        """Median contrast of lesions in real images, in shares of the grey range; None where it is
        unknown. An interval that is wider leaves open whether there is one."""
        return ((self.record or {}).get("lesions") or {}).get(to)

    def interval_words(self, to: str) -> str:
        """What the interval around a value of the translation means, "" where there is none."""
        if not self.shows_interval(to):
            return ""
        coverage = self._of(to)["interval"]["coverage"].values()
        return (
            f"In 9 of 10 pixels on validation the true value lay within the interval "
            f"({min(coverage):.0%} to {max(coverage):.0%} by source)."
        )

    def map_meaning(self, to: str) -> str:
        """What is bright on the uncertainty map; "" without one."""
        name = self.map_name(to)
        if name is None:
            return ""
        if not self.shows_interval(to):
            return f"Bright where the model is unsure ({name})."
        return f"Bright where the model predicts an error. {self.interval_words(to)}"

    def map_words(self, to: str) -> str:
        """What the uncertainty map is worth, or why there is none, in plain words."""
        if self.record is None:
            return f"No uncertainty map. {self.missing}"
        maps, name = self._of(to)["maps"], self.map_name(to)
        if name is None:
            best = max((candidate for candidate in maps if candidate != BASELINE), key=maps.get)
            return (
                f"No uncertainty map for {OTHER[to]} → {to}: of {len(maps) - 1} methods the best "
                f"({best}) reached a rank correlation of {maps[best]:.2f} with the true error on "
                f"validation; {NEEDED:.1f} is needed."
            )
        return (
            f"{self.map_meaning(to)} Rank correlation with the true error "
            f"{maps[name]:.2f} on {self.record['slices']} validation slices of "
            f"{len(self.record['subjects'])} subjects; 1 would be perfect, and brightness alone "
            f"reaches {maps[BASELINE]:.2f}. Dark does not mean right."
        )


def _with_digits(*numbers: float) -> list[str]:
    """Numbers with as many decimals, three to six, as tell them apart."""
    for decimals in range(3, 7):
        written = [f"{number:.{decimals}f}" for number in numbers]
        if len(set(written)) == len(set(numbers)):
            break
    return written
