"""The report of a training run: one HTML file that asks for nothing from outside.

Everything in it is read from what the run left on disk, so it can be rebuilt at any time.
`report.html.jinja` has its words, and what each number means.
"""

from __future__ import annotations

import base64
import io
import math
import statistics
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from PIL import Image

from cyclegan import OTHER
from cyclegan.data.decoding import evenly_spaced
from cyclegan.data.inventory import DECODED
from cyclegan.model.checkpoint import replace_file
from cyclegan.report.run_charts import Rows, curves, histograms
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
    RecordError,
    read_csv,
    read_json,
)

SHEETS = 24  # sample sheets in the slider, evenly spaced: the file stays below some 5 MB
SHEET_WIDTH = 960  # pixels
NO_CURVES = ("step", "minutes", STEPS_PER_SECOND, DATA_WAIT)  # columns that are no losses


def write_report(run: str | Path) -> Path:
    """Write `report.html` into the folder of a run, from what lies there.

    Reads `log.csv`, `validation.csv`, `samples/`, `data.json`, `evaluation.json`, `run.json`; where
    one is missing, its section says so.

    Returns:
        The file's path.

    Raises:
        RecordError: no such folder, none of these in it, or a damaged one.
    """
    run = Path(run)
    if not any((run / name).exists() for name in (LOG, RUN, DATA, SAMPLES)):
        raise RecordError(f"{run}: not the folder of a run; expected {LOG} or {RUN} in it")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    environment.filters |= {"picture": _data_uri, "median": statistics.median}
    environment.globals |= {"curves": curves, "histograms": histograms}
    log, validation = _read_rows(run / LOG), _read_rows(run / VALIDATION)
    text = environment.get_template(f"{REPORT}.jinja").render(
        folder=run.resolve(),
        log=log,
        losses=_columns(log),
        validation=validation,
        by_source={to: _columns(validation, f"{to} ssim ") for to in OTHER},
        data=read_json(run / DATA) or {},
        decoded=DECODED,
        sheets=evenly_spaced(sorted((run / SAMPLES).glob("*.png")), SHEETS),
        sheet_width=SHEET_WIDTH,
        evaluation=read_json(run / EVALUATION),
        directions=list(OTHER.items()),
        model=MODEL,
        run=read_json(run / RUN),
    )
    replace_file(run / REPORT, lambda part: Path(part).write_text(text, "utf-8"))
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


def _columns(rows: Rows, start: str = "") -> dict[str, str]:
    """Columns with losses or scores whose names begin with `start`, by the rest of their names."""
    columns = dict.fromkeys(column for row in rows for column in row)
    return {
        column.removeprefix(start): column
        for column in columns
        if column.startswith(start) and column not in NO_CURVES
    }


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
