"""The report of a training run: one HTML file that asks for nothing from outside.

Everything in it is read from what the run left on disk, so it can be rebuilt at any time.
`report.html.jinja` has its words, and what each number means.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
import math
import re
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, FileSystemLoader
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from cyclegan import OTHER
from cyclegan.data.decoding import evenly_spaced
from cyclegan.data.inventory import BINS, DECODED
from cyclegan.model.checkpoint import replace_file
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
POINTS = 400  # of one curve; a screen shows no more
COLOURS = ("#3b82d6", "#d9822b", "#2f9e6e", "#9a6dd7", "#c2556b", "#7d8a2e")  # on white and black
Rows = list[dict[str, float]]  # of a log; each has its "step"
TEXT = "#010203"  # stands for the page's text colour until `_as_svg` puts it there

# Names of files and folders are not formulas, whatever dollar signs they hold.
_plain_text = matplotlib.rc_context({"text.parse_math": False})


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


@_plain_text
def curves(label: str, rows: Rows, columns: Mapping[str, str], smooth: bool = False) -> str:
    """Curves over the training step.

    Args:
        label: for screen readers, what the chart shows.
        rows: of a log.
        columns: legend -> column; a legend of "" is not drawn, and columns without a value neither.
        smooth: draw the running mean over a fiftieth of the rows, and the rows faintly behind it.

    Returns:
        An <svg> element, "" when there is nothing to draw.
    """
    series = {}
    for legend, column in columns.items():
        if points := [(row["step"], row[column]) for row in rows if column in row]:
            series[legend] = tuple(zip(*points, strict=True))
    if not series:
        return ""
    figure, axis = _figure(height=2.2)
    for colour, (name, (steps, values)) in zip(itertools.cycle(COLOURS), series.items()):
        every = max(1, len(steps) // POINTS)
        window = len(steps) // 50 if smooth else 1
        if window > 1:
            axis.plot(steps[::every], values[::every], color=colour, alpha=0.3, linewidth=0.8)
            steps = steps[window - 1 :]
            values = np.convolve(values, np.ones(window) / window, "valid")
        marker = "o" if len(steps) < 30 else None
        style = {"color": colour, "marker": marker, "markersize": 3}
        axis.plot(steps[::every], values[::every], label=name, **style)
    axis.set_xlabel("step", color=TEXT)
    summary = "; ".join(
        f"{name or 'values'} from {values[0]:.3g} to {values[-1]:.3g}"
        for name, (_, values) in series.items()
    )
    return _as_svg(figure, f"{label}: {summary}", legend=any(series))


@_plain_text
def histograms(label: str, sources: Iterable[Mapping[str, Any]]) -> str:
    """Step histograms of intensities in [0, 1], of what `take_inventory` says of sources: their
    `contrast`, and `histogram`, the share of the pixels in each bin."""
    figure, axis = _figure(height=1.5)
    shares = {source["contrast"]: source["histogram"] for source in sources}
    for colour, (name, values) in zip(COLOURS, shares.items(), strict=False):
        axis.stairs(values, np.linspace(0, 1, BINS + 1), color=colour, linewidth=1.4, label=name)
    axis.set_yticks([])
    axis.set_xlabel("intensity, black to white", color=TEXT)
    middles = (np.arange(BINS) + 0.5) / BINS
    means = "; ".join(
        f"mean of {name} {np.dot(values, middles):.2f}" for name, values in shares.items()
    )
    return _as_svg(figure, f"{label}: {means}", legend=True)


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.2, height), layout="constrained")
    axis = figure.subplots()
    axis.patch.set_visible(False)
    axis.grid(alpha=0.25, linewidth=0.5)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(TEXT)
    axis.tick_params(colors=TEXT, labelsize=8)
    return figure, axis


def _as_svg(figure: Figure, label: str, legend: bool) -> str:
    """An <svg> element with text as text, no ids that several charts would share, and a label."""
    if legend:  # above the axes, where it hides no curve
        style = {"fontsize": 8, "frameon": False, "labelcolor": TEXT, "handlelength": 1.2}
        figure.legend(loc="outside upper left", ncols=3, **style)
    written = io.StringIO()
    # The label salts the ids of clip paths and markers, so that charts in one page do not mix them.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :].replace(TEXT, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-z0-9.]*_\d+"', "", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1)
