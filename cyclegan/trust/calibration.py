"""What validation says of the loaded model: the expected ranges and the worth of its maps.

`python -m cyclegan.calibrate` writes it into trust.json of the weights folder. No measured number
is in the code, so that new weights bring their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclegan import OTHER
from cyclegan.trust import evidence

FILE = "trust.json"
FORMAT = 1
NEEDED = 0.3  # rank correlation with the true error below which a map or a score is not shown
BASELINE = "brightness of the translation"  # no map, but what any map should be compared with


@dataclass(frozen=True)
class Measure:
    """A number of a slice: its name on the page and what to say when it is out of range."""

    title: str
    higher_is_better: bool
    warning: str


MEASURES = {
    "cycle_error": Measure(
        "Cycle error", False, "the way back differs more from the original than usual"
    ),
    "cycle_robustness": Measure(
        "Cycle robustness", True, "the way back lives on detail that nobody can see"
    ),
    "structure": Measure("Structure agreement", True, "anatomy may have moved"),
    "spread": Measure("Mean uncertainty", False, "the model is less sure than usual"),
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
        command = f"python -m cyclegan.calibrate --pairs DIR --weights {Path(folder).name}"
        try:
            record = json.loads((Path(folder) / FILE).read_text("utf-8"))
            fits = record["sha256"] == checksum and record["format"] == FORMAT
        except FileNotFoundError:
            return cls(None, f"No expected ranges: {FILE} is missing; {command} makes it.")
        except (OSError, ValueError, KeyError, TypeError):
            return cls(None, f"No expected ranges: {FILE} is damaged; {command} makes it anew.")
        if not fits:
            return cls(
                None, f"No expected ranges: {FILE} is of another model; {command} renews it."
            )
        return cls(record)

    @property
    def structure(self) -> str:
        """The entry of `evidence.STRUCTURE` to use."""
        return self.record["structure"] if self.record else next(iter(evidence.STRUCTURE))

    def map_name(self, to: str) -> str | None:
        """The map of `evidence.error_maps` that is worth showing for translations into `to`."""
        return self.record["directions"][to]["map"] if self.record else None

    def expected(self, to: str, name: str) -> tuple[float, float] | None:
        """The usual range of a number for translations into `to`."""
        return tuple(self.record["directions"][to]["expected"][name]) if self.record else None

    def rank(self, to: str, name: str) -> float | None:
        """How well a number ranks validation slices by true SSIM: Spearman, 1 is perfectly."""
        return self.record["directions"][to]["ranks"][name] if self.record else None

    def map_rank(self, to: str, name: str) -> float:
        """How well a map ranks pixels by their true error: Spearman, 1 is perfectly."""
        return self.record["directions"][to]["maps"][name]

    def readings(self, to: str, numbers: dict[str, float]) -> list[dict[str, Any]]:
        """The numbers of one slice in words.

        Returns:
            For each number that is worth showing: `name`, `title`, `value`, `expected` (low, high)
            or None, `rank` or None, `weak` (it hardly ranks slices), `unusual` and `text`, such as
            "typical 0.62 to 0.81, this slice 0.44: anatomy may have moved".
        """
        readings = []
        for name, measure in MEASURES.items():
            if name not in numbers or (name == "spread" and not self.score_is_kept(to)):
                continue
            value, expected = numbers[name], self.expected(to, name)
            unusual = expected is not None and (
                value < expected[0] if measure.higher_is_better else value > expected[1]
            )
            text = f"{value:.3f}"
            if expected is not None:
                text = f"typical {expected[0]:.3f} to {expected[1]:.3f}, this slice {text}"
            if unusual:
                text += f": {measure.warning}"
            readings.append(
                {
                    "name": name,
                    "title": measure.title,
                    "value": value,
                    "expected": expected and list(expected),
                    "rank": self.rank(to, name),
                    "weak": expected is not None and self.rank(to, name) < NEEDED,
                    "unusual": unusual,
                    "text": text,
                }
            )
        return readings

    def score_is_kept(self, to: str) -> bool:
        """Whether the mean uncertainty ranks slices well enough to be shown."""
        return self.record is not None and self.rank(to, "spread") >= NEEDED

    def map_words(self, to: str) -> str:
        """What the uncertainty map is worth, or why there is none, in plain words."""
        if self.record is None:
            return f"No uncertainty map. {self.missing}"
        maps, name = self.record["directions"][to]["maps"], self.map_name(to)
        if name is None:
            best = max((each for each in maps if each != BASELINE), key=maps.get)
            return (
                f"No uncertainty map for {OTHER[to]} → {to}: of {len(maps) - 1} methods the best "
                f"({best}) reached a rank correlation of {maps[best]:.2f} with the true error on "
                f"validation; {NEEDED:.1f} is needed."
            )
        return (
            f"Bright where the model is unsure ({name}). Rank correlation with the true error "
            f"{maps[name]:.2f} on {self.record['slices']} validation slices of "
            f"{len(self.record['people'])} people; 1 would be perfect, and brightness alone "
            f"reaches {maps[BASELINE]:.2f}. Dark does not mean right."
        )
