"""What the browser gets to know of a scan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cyclegan.server.models import SOURCE
from cyclegan.server.series import other_contrast

if TYPE_CHECKING:
    from cyclegan.model.preprocess import Scale
    from cyclegan.reading.volume import Volume
    from cyclegan.server.scan import Scan
    from cyclegan.server.series import Series

# The limits of a window, in shares of the grey range.
NARROWEST, WIDEST = 0.02, 2.0


def state(scan: Scan) -> dict[str, Any]:
    """As JSON, all that the page shows but pixels and measurements.

    Raises:
        GoneError: the scan was closed.
    """
    with scan.lock:
        series = scan.series
        volume, fit, real = series.volume, series.fit, series.real
        depth, height, width = volume.pixels.shape
        row, column = volume.pixel_spacing or (1.0, 1.0)
        ready, is_translating = series.results.indices(series.target), scan.is_translating
        place = scan.place if is_translating and series.index not in ready else None
        other = other_contrast(scan.labels, scan.chosen, series.to) if real is None else None
        label = scan.labels[scan.chosen]
        notes = [*volume.notes, *(scan.selection.notes if scan.selection else ())]
        return {
            "scan": scan.token,
            "version": scan.updates.version,
            "name": label.text or volume.name,
            "drawn": series.is_simulated,
            "series": [
                {"number": number, **label._asdict(), "label": label.text}
                for number, label in enumerate(scan.labels)
            ],
            "chosen": scan.chosen,
            "slices": depth,
            "width": width,
            "height": height,
            "aspect": row / column,
            "spacing": volume.spacing and list(volume.spacing),
            "affine": None if volume.affine is None else volume.affine.tolist(),
            "units": [series.scale.low, series.scale.high],
            "window": _window(volume, series.scale),
            "directions": volume.directions and list(volume.directions),  # null: unknown
            "box": series.box,
            "dicom": volume.dicom is not None,
            "notes": [_sentence(note) for note in notes],
            "to": series.to,
            "styles": [{"name": name} for name in _styles(scan, series)],
            "style": series.style.name if series.style else SOURCE,
            "key": scan.key(),
            "ready": _ranges(sorted(ready)),
            "translating": is_translating,
            "place": place,
            "seconds": None if place is None else round(scan.model.queue.seconds(place), 1),
            "halted": series.halted or None,
            "check": None
            if not series.is_checked
            else {
                "label": series.check and series.check.label,
                "word": fit.word,
                "sentence": fit.sentence,
                "switch_to": fit.switch_to,
            },
            "companion": None if other is None else {"label": scan.labels[other].text},
            "real": None
            if real is None or real.to != series.to
            else {
                "label": real.truth.volume.name,
                "title": real.title,
                "contrast": real.contrast,
                "registered": real.truth.motion is not None,
                "notes": [_sentence(note) for note in real.truth.notes],
                "warning": real.warning or None,
            },
            "save": scan.save and asdict(scan.save),
            "message": scan.message or None,
        }


def _styles(scan: Scan, series: Series) -> list[str]:
    if not scan.model.translator.has_styles:
        return []
    named = [style.name for style in scan.model.styles.named if style.contrast == series.to]
    if series.style is not None and series.style.name not in named:
        named.append(series.style.name)
    return [SOURCE, *named]


def _window(volume: Volume, scale: Scale) -> dict[str, float] | None:
    """The file's own window in shares of the grey range; None if it is useless."""
    span = scale.high - scale.low
    if volume.window is None or not span > 0:
        return None
    center, width = (volume.window[0] - scale.low) / span, volume.window[1] / span
    if not (width > 0 and center + width / 2 > 0 and center - width / 2 < 1):
        return None  # all black or all white
    return {
        "center": min(max(center, -0.5), 1.5),
        "width": min(max(width, NARROWEST), WIDEST),
    }


def _ranges(indices: Iterable[int]) -> list[list[int]]:
    """Growing numbers as first and last of each run."""
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and ranges[-1][1] == index - 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ranges


def _sentence(note: str) -> str:
    """A note as a sentence: capital first, full stop last."""
    text = note.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
