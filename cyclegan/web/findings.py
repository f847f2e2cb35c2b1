"""The second look at a shown slice: numbers, the uncertainty map and, when known, the true error.

The page shows the translation first; this follows, and stops as soon as another slice is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.model.translator import Prepared
from cyclegan.trust import evidence
from cyclegan.trust.truth import is_elsewhere, true_error
from cyclegan.web.panels import encode_uint16
from cyclegan.web.report import report, true_warnings, true_words

if TYPE_CHECKING:
    from cyclegan.model.style import Style
    from cyclegan.model.translator import CycleResult
    from cyclegan.trust.calibration import Calibration
    from cyclegan.trust.truth import Truth
    from cyclegan.web.session import Session
    from cyclegan.web.turns import SharedModel


def slice_findings(
    model: SharedModel,
    result: CycleResult,
    prepared: Prepared,
    to: str,
    calibration: Calibration,
    look: Style | None = None,
) -> Iterator[tuple[dict[str, float], np.ndarray | None]]:
    """Work out the numbers of one slice, step by step; the last step has all of them.

    Args:
        model: runs once for the cycle, and once more where its generators expect errors.
        result: (H, W) each.
        prepared: how its volume goes to the network.
        to: the contrast of the translation.
        calibration: says which map and which numbers are worth it.
        look: that the translation follows.

    Yields:
        Numbers by the names of `calibration.MEASURES`, and the uncertainty map, or where none is
        worth it the band (`Calibration.is_band`), (H, W) float32 in shares of the grey range, or
        None. The first step comes before the first run of the network.
    """
    numbers = evidence.structure(calibration.structure, result)
    yield numbers, None
    if not numbers:  # no head
        return
    frame = prepared.frame
    own = evidence.own_style(model.translator, result.source, to, frame)
    again = evidence.reconstruct_disturbed(model.translate, result.translated, to, frame, own)
    numbers = evidence.cycle_numbers(result, again) | numbers
    yield numbers, None
    likely = None
    if model.translator.has_band:
        unit = Prepared(evidence.UNIT, frame)
        _, likely = model.translate_with_error(result.source, to, unit, look)
        numbers |= evidence.likely_numbers(result.source, likely)
    shown = evidence.LIKELY if calibration.is_band(to) else calibration.map_name(to)
    if shown is None:
        yield numbers, None
        return
    chosen = evidence.error_maps(result, likely)[shown]
    if calibration.is_band(to):
        chosen = chosen * calibration.band(to)
    yield numbers, chosen.astype(np.float32)


def second_look(
    session: Session, model: SharedModel, calibration: Calibration
) -> Iterator[dict[str, Any]]:
    """What the viewer adds to the slice on screen, as JSON (the form is in viewer.js).

    Yields twice at most: the numbers, then the map. Nothing more once another slice, direction or
    scan is on screen.
    """
    index, to, run = session.shown, session.to, session.run
    if to is None:
        return

    def is_on_screen() -> bool:
        seen = (session.volume is not None, session.shown, session.to, session.run)
        return seen == (True, index, to, run)

    def answer(numbers: dict[str, float], likely: np.ndarray | None) -> dict[str, Any]:
        readings = calibration.readings(to, numbers, drawn=session.drawn)
        truth = session.truth_for(to)
        true = slice_true_error(truth, session.result(model, index, to), index)
        elsewhere = is_of_elsewhere(session, model, index)
        map_name = calibration.map_name(to)
        return {
            "key": session.key,
            "run": run,
            "index": index,
            "findings": {
                "readings": [input_reading(session, to), *readings],
                "missing": calibration.missing,
                "structure": calibration.structure.capitalize(),
                "mapWords": calibration.map_words(to),
                "mapMeaning": calibration.map_meaning(to),
                "bandWords": calibration.band_words(to),
                "lesionContrast": calibration.lesion_contrast(to),
                "lesionWords": calibration.lesion_words(),
                "mapRank": map_name and calibration.map_rank(to, map_name),
                "uncertainty": None if likely is None else encode_uint16(likely),
                "trueError": true,
                "trueWords": true_words(true) if truth else "",
                "trueWarning": " ".join(true_warnings(session, elsewhere)),
            },
            "report": report(session, model, calibration, index, readings, true, elsewhere),
        }

    numbers, likely = session.kept_findings(index, to) or ({}, None)
    if not numbers:
        result, prepared = session.result(model, index, to), session.prepared(model)
        shown = False
        look = session.look_for(to)
        steps = slice_findings(model, result, prepared, to, calibration, look)
        for step in steps:
            if not is_on_screen():
                return
            numbers, likely = step
            if not shown and "cycle_error" in numbers and calibration.map_name(to):
                yield answer(numbers, None)  # the map takes longer
                shown = True
        session.keep_findings(index, to, numbers, likely)
    if is_on_screen():
        yield answer(numbers, likely)


def input_reading(session: Session, to: str) -> dict[str, Any]:
    """What the input check says, in the form of `Calibration.readings`."""
    said = session.notice(to)
    return {
        "name": "input_check",
        "title": "Input check",
        "value": None,
        "expected": None,
        "rank": None,
        "weak": False,
        "unusual": said.warns,
        "text": said.text,
        "worth": "",
    }


def is_of_elsewhere(session: Session, model: SharedModel, index: int) -> bool:
    """Whether the real image of slice `index` shows another place than the scan, by its pixels."""
    volume, truth = session.held(), session.truth_for(session.to)
    if truth is None:
        return False
    source = session.prepared(model).scale.apply(volume.pixels[index])
    real, covered = truth.slice(index, source.shape)
    return is_elsewhere(real, source, covered)


def slice_true_error(
    truth: Truth | None, result: CycleResult, index: int
) -> dict[str, float] | None:
    """`truth.true_error` of slice `index`; None without a truth, or where it has no head."""
    if truth is None:
        return None
    real, covered = truth.slice(index, result.source.shape)
    return true_error(result.translated, real, result.source, covered)
