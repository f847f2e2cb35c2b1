"""The report of a training run: one HTML file that asks for nothing from outside.

Everything in it is read from what the run left on disk, so it can be rebuilt at any time.
`report.html.jinja` has its words.
"""

from __future__ import annotations

import base64
import io
import math
import statistics
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from cyclegan import OTHER
from cyclegan.data.decoding import evenly_spaced
from cyclegan.data.inventory import DECODED
from cyclegan.report.run_charts import curves, histograms
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
# What each curve means to someone who sees it for the first time.
NOTES = {
    "pairs": "Registered real pairs, some with implanted lesions: all supervised losses, of both "
    "directions, against the real slice. Falls slowly; if validation gets worse meanwhile, the run "
    "overfits the pairs.",
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
    "It hovers: 0.5 is a draw; near 2 the discriminators have won and give no gradient.",
    "loss_D": "The discriminators' error at telling real from generated, both directions added. "
    "0.5 is guessing; near 0 they have won.",
    "cycle": "The difference between a slice and its reconstruction, both directions added. Falls, "
    "but a low value proves nothing about the translation in between.",
    "cycle_ssim": "The same by structure: 1 - SSIM, both directions added. It sees the blur that "
    "`cycle` ignores, and proves as little.",
    "idt": "The change of a slice that has the target contrast already. Falls towards 0.",
    "structure": "Edges of source and translation that do not lie on each other. Rises when "
    "anatomy moves; a fall to 0 with a poor validation score means copying.",
    "intensity": "The distance between the tissue brightness of translations and of real slices of "
    "the same source.",
    "implanted": "Lesions implanted in unpaired slices, whose translation is known. If it rises, "
    "lesions are being erased.",
}
NO_CURVES = ("step", "minutes", STEPS_PER_SECOND, DATA_WAIT)  # columns that are no losses
Rows = list[dict[str, float]]


class ReportError(ValueError):
    """A folder that holds no run; the message says what was expected."""


def write_report(run: str | Path) -> Path:
    """Write `report.html` into the folder of a run, from what lies there.

    Reads `log.csv`, `validation.csv`, `samples/`, `data.json`, `evaluation.json`, `run.json`; where
    one is missing, its section says so.

    Returns:
        The file's path.

    Raises:
        ReportError: no such folder, or none of these in it.
        RecordError: one of them is damaged.
    """
    run = Path(run)
    if not any((run / name).exists() for name in (LOG, RUN, DATA, SAMPLES)):
        raise ReportError(f"{run}: not the folder of a run; expected {LOG} or {RUN} in it")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["picture"] = lambda name: _data_uri(run / name)
    environment.filters |= {"most": _most, "counted": _counted}
    log, validation = _read_rows(run / LOG), _read_rows(run / VALIDATION)
    evaluation, record = read_json(run / EVALUATION), read_json(run / RUN)
    data: dict[str, Any] = {"sources": [], "skipped": [], "copies": [], "leaks": []}
    data |= {"simulated": None, "paired": None, "counts": {"copies": 0, "leaks": 0}}
    data |= read_json(run / DATA) or {}
    data["sources"] = [{"examples": None} | s for s in data["sources"]]
    sheets = evenly_spaced(sorted((run / SAMPLES).glob("*.png")), SHEETS)
    text = environment.get_template(f"{REPORT}.jinja").render(
        name=run.resolve().name,
        facts=_facts(log, evaluation),
        warnings=_warnings(data, log, evaluation),
        data=data,
        decoded=DECODED,
        copies=[_copy(group) for group in data["copies"]],
        leaks=[_leak(leak) for leak in data["leaks"]],
        histograms=_histograms(data["sources"]),
        losses=[
            _chart(name, {"": _series(log, name)}, NOTES.get(name, ""), smooth=True)
            for name in _columns(log)
        ],
        validation=_validation_charts(validation),
        samples=[
            {"step": str(int(path.stem)), "picture": _data_uri(path, SHEET_WIDTH)}
            for path in sheets
        ],
        evaluation=evaluation,
        lesions=_lesions(evaluation),
        directions=list(OTHER.items()),
        model=MODEL,
        run=record,
        settings=_settings(record or {}),
    )
    part = run / f".{REPORT}.part"  # a browser that reloads sees the old report or the new one
    part.write_text(text, "utf-8")
    part.replace(run / REPORT)
    return run / REPORT


def _read_rows(path: Path) -> Rows:
    """Rows of a CSV log; empty and unfinished cells are left out."""
    rows = []
    for row in read_csv(path)[1]:
        numbers = {column: _number(text) for column, text in row.items()}
        rows.append({k: v for k, v in numbers.items() if math.isfinite(v)})
    return [row for row in rows if "step" in row]


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return math.nan


def _series(rows: Rows, column: str) -> tuple[list[float], list[float]]:
    """Steps and values of the rows that have the column."""
    with_column = [row for row in rows if column in row]
    return [row["step"] for row in with_column], [row[column] for row in with_column]


def _columns(rows: Rows) -> list[str]:
    return [k for k in dict.fromkeys(k for r in rows for k in r) if k not in NO_CURVES]


def _chart(name: str, series: dict[str, tuple], note: str, smooth: bool = False) -> dict[str, str]:
    label = f"Loss {name}" if smooth else name
    return {"name": name, "svg": curves(label, series, smooth=smooth), "note": note}


def _validation_charts(rows: Rows) -> list[dict[str, str]]:
    """SSIM and PSNR of both directions, and the SSIM of each direction by source."""
    charts = []
    for metric, note in (
        ("ssim", "Structure inside the head; 1 is perfect, 0 unrelated, below 0 reversed."),
        ("psnr", "Grey values inside the head, in dB. Sensitive to the window of the export."),
    ):
        names = {f"{source} → {to}": f"{to} {metric}" for to, source in OTHER.items()}
        charts.append((metric.upper(), names, note))
    for to, source in OTHER.items():
        start = f"{to} ssim "
        names = {c.removeprefix(start): c for c in _columns(rows) if c.startswith(start)}
        note = "One subject or study each. A source that stays behind is unlike the training data."
        charts.append((f"SSIM by source, {source} → {to}", names, note))
    logged = set(_columns(rows))
    charts = [
        (title, {name: _series(rows, c) for name, c in names.items() if c in logged}, note)
        for title, names, note in charts
    ]
    return [_chart(*chart) for chart in charts if chart[1]]


def _histograms(sources: list[dict[str, Any]]) -> list[dict[str, str]]:
    """One chart per source, T1 and T2 in it."""
    groups: dict[tuple[str, str], dict[str, list[float]]] = {}
    for s in sources:
        if s["decoded"]:
            use = "validation" if s["judged"] else "training"
            groups.setdefault((s["source"], use), {})[s["contrast"]] = s["histogram"]
    return [
        {"name": source, "svg": histograms(f"Intensities of {source}", shares), "note": use}
        for (source, use), shares in groups.items()
    ]


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


def _facts(log: Rows, evaluation: dict[str, Any] | None) -> list[tuple[str, str]]:
    facts = []
    if log:
        facts.append(("Steps", f"{log[-1]['step']:,.0f}"))
        facts.append(("Minutes", f"{log[-1].get('minutes', 0):,.1f}"))
        for column, label, form in (
            (STEPS_PER_SECOND, "Steps per second", "{:,.3g}"),
            (DATA_WAIT, "Waiting for data", "{:.1%}"),
        ):
            if values := _series(log, column)[1]:
                facts.append((label, form.format(statistics.median(values))))
    if evaluation:
        for to, source in OTHER.items():
            score = evaluation["predictors"][MODEL][to]["mean"]["ssim"]
            facts.append((f"SSIM {source} → {to}", f"{score:.3f}"))
    return facts


def _warnings(data: dict, log: Rows, evaluation: dict | None) -> list[str]:
    """What a user must know before any curve."""
    warnings = []
    shared = sum(group["leak"] for group in data["copies"])
    if shared or data["leaks"]:
        count = max(shared, data["counts"]["leaks"])
        warnings.append(
            f"Leak: {_counted(count, 'slice')} of the pairs in the training folders, too. The "
            "scores below are too good. Remove these subjects from one of the two."
        )
    if both := sum(group["contrasts"] for group in data["copies"]):
        warnings.append(f"{_counted(both, 'picture')} both in the T1 and in the T2 folder.")
    if data["skipped"]:
        left_out = _counted(len(data["skipped"]), "file")
        warnings.append(f"{left_out} left out; see Data for the reasons.")
    for to, source in OTHER.items() if evaluation else ():
        scores = {n: s[to]["mean"]["ssim"] for n, s in evaluation["predictors"].items()}
        best = max((n for n in scores if n != MODEL), key=scores.get)
        if scores[best] >= scores[MODEL]:
            warnings.append(
                f'{source} → {to} is no better than "{best}" by SSIM: the run has learnt little or '
                "went wrong."
            )
    if log and not any(s["judged"] for s in data["sources"]) and not evaluation:
        warnings.append("No paired slices (--val): nothing here says if translations are right.")
    return warnings


def _copy(group: dict[str, Any]) -> str:
    text = ", ".join(group["files"])
    text += ": training and validation" if group["leak"] else ""
    return text + (": as T1 and as T2" if group["contrasts"] else "")


def _leak(leak: dict[str, Any]) -> str:
    how = "the same file" if leak["same_bytes"] else f"likeness {leak['likeness']:.4f}"
    return f"{leak['pair']} and {leak['training']}: {how}"


def _lesions(evaluation: dict[str, Any] | None) -> list[str]:
    """A sentence on all lesions, and one on those that the T1 shows."""
    lesions = evaluation["predictors"][MODEL].get("lesions", {}) if evaluation else {}
    rows = (("Of {} lesions", lesions), ("Of the {} that the T1 shows", lesions.get("in_source")))
    return [
        f"{text.format(row['lesions'])}, T1 → T2 preserved at least half of the contrast of "
        f"{row['kept']:.0%} and inverted {row['inverted']:.0%}."
        for text, row in rows
        if row and row["lesions"]
    ]


def _settings(record: dict[str, Any]) -> list[tuple[str, Any]]:
    """Machine, versions and settings, one after the other."""
    machine = [(k, v) for k, v in record.items() if k not in ("starts", "versions", "config")]
    return [*machine, *record.get("versions", {}).items(), *record.get("config", {}).items()]


def _most(counts: dict[str, int]) -> str:
    """The three most frequent values with their counts."""
    items = list(counts.items())
    if len(items) == 1:
        return items[0][0]
    text = ", ".join(f"{value} ({count})" for value, count in items[:3])
    return text + (f" and {len(items) - 3} more" if len(items) > 3 else "")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("s" if count != 1 else "")
