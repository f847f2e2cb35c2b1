"""What the browser is told of a scan."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cyclegan.server.models import SOURCE
from cyclegan.server.series import companion

if TYPE_CHECKING:
    from cyclegan.model.preprocess import Scale
    from cyclegan.reading.volume import Volume
    from cyclegan.server.scan import Scan
    from cyclegan.server.series import Series

# The limits of a window, in shares of the grey range.
NARROWEST, WIDEST = 0.02, 2.0


def state(scan: Scan, server: str) -> dict[str, Any]:
    """As JSON, what the page shows but pixels and numbers.

    Args:
        scan: held.
        server: names this run of the server.

    Raises:
        GoneError: the scan was closed.
    """
    with scan.lock:
        series = scan.series
        volume, model = series.volume, scan.model
        depth, height, width = volume.pixels.shape
        row, column = volume.pixel_spacing or (1.0, 1.0)
        made = series.results.indices(series.view.made)
        is_waiting = scan.translation.is_running and series.index not in made
        place = scan.translation.place if is_waiting else None
        other = companion(scan.labels, scan.chosen, series.to) if series.real is None else None
        label = scan.labels[scan.chosen]
        notes = [*volume.notes, *(scan.selection.notes if scan.selection else ())]
        return {
            "server": server,
            "scan": scan.token,
            "version": scan.changes.version,
            "name": label.text or volume.name,
            "drawn": scan.is_simulated,
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
            "directions": volume.directions and list(volume.directions),
            "box": series.box,
            "dicom": volume.dicom is not None,
            "notes": [_sentence(note) for note in notes],
            "to": series.to,
            "styles": _styles(scan, series),
            "style": series.style.name if series.style else SOURCE,
            "key": scan.key(),
            "ready": _ranges(sorted(made)),
            "translating": scan.translation.is_running,
            "place": place,
            "seconds": None if place is None else round(model.queue.seconds(place), 1),
            "halted": scan.halted() or None,
            "check": _check(series) if series.is_checked else None,
            "companion": None if other is None else {"label": scan.labels[other].text},
            "real": _real(series),
            "save": scan.save and scan.save.as_json(),
            "message": scan.message or None,
        }


def _styles(scan: Scan, series: Series) -> list[dict[str, str]]:
    named = [style.name for style in scan.model.styles.named if style.contrast == series.to]
    if series.style is not None and series.style.name not in named:
        named.append(series.style.name)
    if not scan.model.translator.has_styles:
        return []
    return [{"name": name, "label": name} for name in [SOURCE, *named]]


def _check(series: Series) -> dict[str, Any]:
    warning = series.input_warning()
    return {
        "label": series.check and series.check.label,
        **warning.fit._asdict(),
        "switch_to": warning.switch_to,
    }


def _real(series: Series) -> dict[str, Any] | None:
    real = series.real
    if real is None or real.to != series.to:
        return None
    truth = real.truth
    notes = [_sentence(note) for note in truth.notes]
    return {
        "label": truth.volume.name,
        "contrast": real.contrast,
        "registered": truth.motion is not None,
        "notes": notes,
        "warning": real.warning or None,
    }


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
