"""The report of a training run: one HTML file that asks for nothing from outside.

Everything in it is read from what the run left on disk, so it can be rebuilt at any time.
"""

from __future__ import annotations

import base64
import io
import math
import statistics
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from PIL import Image

from cyclegan import OTHER
from cyclegan.data.inventory import DECODED
from cyclegan.report.run_charts import curves, histograms
from cyclegan.report.run_page import SCRIPT, STYLE, TEMPLATE
from cyclegan.report.runlog import (
    DATA,
    DATA_WAIT,
    EVALUATION,
    LOG,
    MODEL,
    REPORT,
    RUN,
    SAMPLES,
    STEPS_PER_SECOND,
    VALIDATION,
    read_csv,
    read_json,
)

SHEETS = 24  # sample sheets in the slider, evenly spaced: the file stays below some 5 MB
SHEET_WIDTH = 960  # pixels
SECTIONS = (
    ("data", "Data"),
    ("losses", "Losses"),
    ("validation", "Validation"),
    ("samples", "Samples"),
    ("evaluation", "Evaluation"),
    ("settings", "Settings"),
)
# What each curve means to someone who sees it for the first time.
NOTES = {
    "pairs": "Registered real pairs, some with implanted lesions: everything supervised, of both "
    "directions, against the real slice beside them. Falls slowly; if validation gets worse "
    "meanwhile, the pairs are learnt by heart.",
    "simulated": "The same on simulated pairs. Falls fast, then slowly. If it stays up, the "
    "learning rate is too high.",
    "sharp": "The part of both that is detail of one to eight pixels. A blur keeps it high.",
    "faded": "The part of both that is spots, dark in T1 and bright in T2, which the source shows "
    "and the translation lets fade.",
    "lesions": "The part of both that is the contrast of known lesions: too faint costs four times "
    "as much as too strong. If it rises, lesions are being erased.",
    "error": "How badly the predicted error of each pixel fits the true one (negative log "
    "likelihood). Falls below 0, and goes on falling while translations get better.",
    "loss_G": "How far the generators are from fooling the discriminators, both directions added. "
    "It hovers: 0.5 is a draw; near 2 the discriminators have won and teach nothing more.",
    "loss_D": "The discriminators' error at telling real from made, both directions added. 0.5 is "
    "guessing; near 0 they have won.",
    "cycle": "The difference between a slice and its way there and back, both directions added. "
    "Falls, but a low value proves nothing about the translation in between.",
    "cycle_ssim": "The same way there and back by structure: 1 - SSIM, both directions added. It "
    "sees the blur that `cycle` is content with, and proves as little.",
    "idt": "The change of a slice that has the target contrast already. Falls towards 0.",
    "structure": "Edges of source and translation that do not lie on each other. Rises when "
    "anatomy moves; a fall to 0 with a poor validation score means copying.",
    "intensity": "The distance between the tissue brightness of translations and of real slices of "
    "the same source.",
    "implanted": "Lesions implanted in unpaired slices, whose translation is known. If it rises, "
    "lesions are being erased.",
}


NO_CURVES = ("step", "minutes", STEPS_PER_SECOND, DATA_WAIT)  # columns that are no losses


class ReportError(ValueError):
    """A folder that holds no run; the message says what was expected."""


def write_report(run: str | Path) -> Path:
    """Write `report.html` into the folder of a run, from what lies there.

    Reads `log.csv`, `validation.csv`, `samples/`, `data.json`, `evaluation.json`, `run.json`; what
    is missing is said in its section.

    Returns:
        The file's path.

    Raises:
        ReportError: no such folder, or none of these in it.
        RecordError: one of them is damaged.
    """
    run = Path(run)
    if not any((run / name).exists() for name in (LOG, RUN, DATA, SAMPLES)):
        raise ReportError(f"{run}: not the folder of a run; expected {LOG} or {RUN} in it")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["picture"] = lambda name: _data_uri(run / name)
    environment.filters["most"] = _most
    environment.filters["counted"] = _counted
    log, validation = _read_rows(run / LOG), _read_rows(run / VALIDATION)
    data = _with_defaults(read_json(run / DATA))
    evaluation = read_json(run / EVALUATION)
    text = environment.from_string(TEMPLATE).render(
        name=run.resolve().name,
        style=STYLE,
        script=SCRIPT,
        sections=SECTIONS,
        facts=_facts(log, evaluation),
        warnings=_warnings(data, log, evaluation),
        data=data,
        looked_at=DECODED,
        judged=any(s["judged"] for s in data["sources"]),
        histograms=_histograms(data["sources"]),
        losses=_loss_charts(log),
        validation=_validation_charts(validation),
        samples=_sample_sheets(run / SAMPLES),
        evaluation=evaluation,
        directions=list(OTHER.items()),
        model=MODEL,
        run=read_json(run / RUN),
    )
    part = run / f".{REPORT}.part"  # a browser that reloads sees the old report or the new one
    part.write_text(text, "utf-8")
    part.replace(run / REPORT)
    return run / REPORT


def _with_defaults(data: dict[str, Any] | None) -> dict[str, Any]:
    empty: dict[str, Any] = {"sources": [], "skipped": [], "copies": [], "leaks": []}
    empty |= {"simulated": None, "paired": None}
    data = empty | {"counts": {"copies": 0, "leaks": 0}} | (data or {})
    data["sources"] = [{"examples": None} | s for s in data["sources"]]
    return data


def _read_rows(path: Path) -> list[dict[str, float]]:
    """Rows of a CSV log; empty and unfinished cells are left out."""
    rows = []
    for row in read_csv(path)[1]:
        numbers = {column: _number(text) for column, text in row.items()}
        rows.append({k: v for k, v in numbers.items() if v is not None})
    return [row for row in rows if "step" in row]


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _series(rows: list[dict[str, float]], column: str) -> tuple[list[float], list[float]]:
    """Steps and values of the rows that have the column."""
    found = [(row["step"], row[column]) for row in rows if column in row]
    return [step for step, _ in found], [value for _, value in found]


def _columns(rows: list[dict[str, float]]) -> list[str]:
    return [k for k in dict.fromkeys(k for r in rows for k in r) if k not in NO_CURVES]


def _loss_charts(rows: list[dict[str, float]]) -> list[dict[str, str]]:
    return [
        {
            "name": column,
            "svg": curves(f"Loss {column}", {"": _series(rows, column)}, smooth=True),
            "note": NOTES.get(column, "A loss that this report has no words for yet."),
        }
        for column in _columns(rows)
    ]


def _validation_charts(rows: list[dict[str, float]]) -> list[dict[str, str]]:
    """SSIM and PSNR of both directions, and the SSIM of each direction by source."""
    charts = []
    for metric, note in (
        ("ssim", "Structure inside the head; 1 is perfect, 0 unrelated, below 0 reversed."),
        ("psnr", "Grey values inside the head, in dB. Sensitive to the window of the export."),
    ):
        series = {f"{OTHER[to]} → {to}": _series(rows, f"{to} {metric}") for to in OTHER}
        charts.append((metric.upper(), series, note))
    for to in OTHER:
        start = f"{to} ssim "
        series = {c.removeprefix(start): _series(rows, c) for c in _columns(rows) if start in c}
        note = "One person or study each. A source that stays behind is unlike the training data."
        charts.append((f"SSIM by source, {OTHER[to]} → {to}", series, note))
    charts = [(name, {k: v for k, v in s.items() if v[0]}, note) for name, s, note in charts]
    return [
        {"name": name, "svg": curves(name, series, smooth=False), "note": note}
        for name, series, note in charts
        if series
    ]


def _histograms(sources: list[dict[str, Any]]) -> list[dict[str, str]]:
    """One chart per source, T1 and T2 in it."""
    groups: dict[tuple[bool, str], dict[str, list[float]]] = {}
    for s in sources:
        if s["decoded"]:
            groups.setdefault((s["judged"], s["source"]), {})[s["contrast"]] = s["histogram"]
    return [
        {
            "name": f"{source}, {'judging' if judged else 'training'}",
            "svg": histograms(f"Intensities of {source}", shares),
        }
        for (judged, source), shares in groups.items()
    ]


def _sample_sheets(folder: Path) -> list[dict[str, str]]:
    files = sorted(folder.glob("*.png"))
    count = min(len(files), SHEETS)
    chosen = [files[round(i * (len(files) - 1) / max(count - 1, 1))] for i in range(count)]
    return [{"step": str(int(f.stem)), "picture": _data_uri(f, SHEET_WIDTH)} for f in chosen]


def _data_uri(path: Path, width: int | None = None) -> str:
    """A picture as a JPEG data URI, not wider than `width`; empty when it is gone."""
    if not path.is_file():
        return "data:,"
    with Image.open(path) as image:
        picture = image.convert("RGB" if image.mode == "RGB" and width is None else "L")
    if width is not None and picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode()


def _facts(log: list[dict], evaluation: dict[str, Any] | None) -> list[tuple[str, str]]:
    facts = []
    if log:
        facts.append(("Steps", f"{log[-1]['step']:,.0f}"))
        facts.append(("Minutes", f"{log[-1].get('minutes', 0):,.1f}"))
        for column, label, form in (
            (STEPS_PER_SECOND, "Steps per second", "{:,.3g}"),
            (DATA_WAIT, "Waiting for data", "{:.1%}"),
        ):
            _, values = _series(log, column)
            if values:
                facts.append((label, form.format(statistics.median(values))))
    if evaluation:
        for to, given in OTHER.items():
            score = evaluation["predictors"][MODEL][to]["mean"]["ssim"]
            facts.append((f"SSIM {given} → {to}", f"{score:.3f}"))
    return facts


def _warnings(data: dict, log: list[dict], evaluation: dict | None) -> list[str]:
    """What a reader must know before any curve."""
    warnings = []
    shared = sum(group["leak"] for group in data["copies"])
    if shared or data["leaks"]:
        count = max(shared, data["counts"]["leaks"])
        warnings.append(
            f"Leak: {_counted(count, 'slice')} of the pairs in the training folders, too. The "
            "scores below are too good. Remove these people from one of the two."
        )
    both = sum(group["contrasts"] for group in data["copies"])
    if both:
        warnings.append(f"{_counted(both, 'picture')} both in the T1 and in the T2 folder.")
    if data["skipped"]:
        left_out = _counted(len(data["skipped"]), "file")
        warnings.append(f"{left_out} left out; see Data for the reasons.")
    if evaluation:
        for to, given in OTHER.items():
            scores = {n: s[to]["mean"]["ssim"] for n, s in evaluation["predictors"].items()}
            best = max((n for n in scores if n != MODEL), key=scores.get)
            if scores[best] >= scores[MODEL]:
                warnings.append(
                    f'{given} → {to} is no better than "{best}" by SSIM: the run has learnt little '
                    "or went wrong."
                )
    if log and not any(s["judged"] for s in data["sources"]) and not evaluation:
        warnings.append("No paired slices were given: nothing here says if translations are right.")
    return warnings


def _most(counts: dict[str, int]) -> str:
    """The three most frequent values with their counts."""
    items = list(counts.items())
    if len(items) == 1:
        return items[0][0]
    text = ", ".join(f"{value} ({count})" for value, count in items[:3])
    return text + (f" and {len(items) - 3} more" if len(items) > 3 else "")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("s" if count != 1 else "")
