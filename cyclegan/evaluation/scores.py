"""Scores of translations on paired slices, beside the baselines that any translation must beat.

Training needs no pairs; evaluation does: cycle reconstruction is good even where the translation
is wrong. Scores are means per source (file name up to the last "_": one subject or one study),
then the mean over sources, so that the subject with most slices does not decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from cyclegan import CONTRASTS, OTHER
from cyclegan.evaluation.metrics import bright_spots, lesion_report, measure_lesions, slice_scores
from cyclegan.evaluation.pairs import Pair, to_unit
from cyclegan.model.head import foreground, joint_head
from cyclegan.model.style import Style, mean_style
from cyclegan.model.translator import Translator

Predictor = Callable[[np.ndarray, str], np.ndarray]  # ((H, W), to) -> (H, W) in [0, 1]
BySource = dict[str, dict[str, dict]]  # source -> slice -> its scores

KINDS = ("own", "wrong")  # of `with_styles`
RESAMPLES = 1000  # of the bootstrap


def copy_input(image: np.ndarray, to: str) -> np.ndarray:
    """The baseline that does nothing: `image` (H, W) as it is, scaled to [0, 1]."""
    return to_unit(image)


def reverse_intensities(image: np.ndarray, to: str) -> np.ndarray:
    """The baseline that has learnt nothing: 1 - `image` in the head, air black; (H, W), [0, 1]."""
    scaled = to_unit(image)
    return np.where(foreground(scaled), 1 - scaled, 0)


BASELINES: dict[str, Predictor] = {
    "copy input": copy_input,
    "reversed intensities": reverse_intensities,
}


def with_styles(translator: Translator, pairs: Sequence[Pair], kind: str) -> Predictor:
    """`Translator.translate` with a style for each slice of `pairs`: what a style is worth.

    A style from the very slice that is to be made could carry its truth, so a subject's own style
    comes from the subject's other slices, and a wrong one from another source.

    Args:
        translator: of weights that know styles.
        pairs: all that will be asked for.
        kind: "own" for the mean style of the other slices of the source, none where there is one
            slice only; "wrong" for the style of the next source by name.

    Raises:
        StyleError: weights without styles.
    """
    sources = sorted({pair.source for pair in pairs})
    after = dict(zip(sources, [*sources[1:], sources[0]], strict=True))
    chosen: dict[tuple[str, bytes], Style | None] = {}
    for to in CONTRASTS:
        styles = {p.name: translator.style(p.images[to], to) for p in pairs}
        for pair in pairs:
            of_others = [p for p in pairs if p.source == after[pair.source] != pair.source]
            own = [p for p in pairs if p.source == pair.source and p.name != pair.name]
            others = own if kind == "own" else of_others
            style = mean_style([styles[p.name] for p in others], kind) if others else None
            chosen[to, pair.images[OTHER[to]].tobytes()] = style

    def predict(image: np.ndarray, to: str) -> np.ndarray:
        return translator.translate(image, to, style=chosen[to, image.tobytes()])

    return predict


def evaluate(pairs: Sequence[Pair], predictors: dict[str, Predictor]) -> dict:
    """Score each predictor on each of the pairs, in both directions.

    A predictor is called as `predictor(image, to)` with the source slice as its file stores it,
    (H, W) uint8 as a rule, and returns (H, W) float in [0, 1].

    Returns a dict that JSON can hold:
    `slices` and `sources` (their number, per source);
    `predictors[name][to]` with `slices[slice]`, `sources[source]` and `mean` (over sources), each
    holding the scores of `metrics.slice_scores`, the last two with an `ssim_interval`;
    `predictors[name]["spots"]`, likewise (`metrics.bright_spots`, T1 → T2); and
    `predictors[name]["lesions"]` (`metrics.lesion_report`, T1 → T2) when there are lesion masks.
    Raises ValueError, naming the slice, for a predictor's output.
    """
    return {
        "slices": len(pairs),
        "sources": dict(Counter(sorted(pair.source for pair in pairs))),
        "predictors": {n: _score(pairs, n, predict) for n, predict in predictors.items()},
    }


def _score(pairs: Sequence[Pair], name: str, predictor: Predictor) -> dict:
    sources = sorted({pair.source for pair in pairs})
    scores: dict[str, BySource] = {to: {source: {} for source in sources} for to in OTHER}
    spots: BySource = {source: {} for source in sources}
    lesions = []
    # disable=None: no bar where nobody watches, such as in a log file
    for pair in tqdm(pairs, desc=name, leave=False, disable=None):
        for to, contrast in OTHER.items():
            source, truth = to_unit(pair.images[contrast]), pair.truth(to)
            predicted = predictor(pair.images[contrast], to)
            try:
                scores[to][pair.source][pair.name] = slice_scores(predicted, truth, source)
            except ValueError as error:
                raise ValueError(f"{name}, {contrast} → {to} of {pair.name}: {error}") from error
            if to == "T2":
                head = joint_head(source, truth)
                spots[pair.source][pair.name] = bright_spots(predicted, truth, head)
                if pair.lesion is not None:
                    lesions += measure_lesions(predicted, truth, source, pair.lesion)
    result: dict = {to: _with_intervals(by_source) for to, by_source in scores.items()}
    result["spots"] = _means(spots)
    if any(pair.lesion is not None for pair in pairs):
        result["lesions"] = lesion_report(lesions)
    return result


def _mean(scores: Iterable[dict[str, float]]) -> dict[str, float]:
    rows = list(scores)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _means(by_source: BySource) -> dict[str, dict]:
    """The numbers of all `slices`, their means over those of each of the `sources`, and the `mean`
    over the sources."""
    sources = {source: _mean(slices.values()) for source, slices in by_source.items()}
    slices = {name: scores for part in by_source.values() for name, scores in part.items()}
    return {"mean": _mean(sources.values()), "sources": sources, "slices": slices}


def _with_intervals(by_source: BySource) -> dict[str, dict]:
    """`_means` with 95 % bootstrap intervals of the SSIM.

    Slices are resampled within their source (Efron & Tibshirani 1993, chapter 13, percentile
    interval): how sure the number is for these subjects; other subjects vary more.
    """
    generator = np.random.default_rng(0)  # the same scores give the same interval
    means, resampled = _means(by_source), []
    for source, slices in by_source.items():
        values = np.array([scores["ssim"] for scores in slices.values()])
        samples = values[generator.integers(values.size, size=(RESAMPLES, values.size))]
        resampled.append(samples.mean(axis=1))
        means["sources"][source]["ssim_interval"] = _interval(resampled[-1])
    means["mean"]["ssim_interval"] = _interval(np.mean(resampled, axis=0))
    return means


def _interval(resampled: np.ndarray) -> list[float]:
    return [float(x) for x in np.percentile(resampled, (2.5, 97.5))]


def format_tables(result: dict) -> str:
    """The scores of `evaluate` as text: mean over sources first, then each source; then bright
    spots and, where there are masks, lesions."""
    predictors, counts = result["predictors"], result["sources"]
    tables = []
    for to, contrast in OTHER.items():
        rows: list[tuple[str, ...]] = []
        for source in (None, *counts):
            rows.append((f"{source}, n = {counts[source]}",) if source else
                        (f"mean of {len(counts)} source{'s' * (len(counts) > 1)}",))  # fmt: skip
            for name, scores in predictors.items():
                s = scores[to]["sources"][source] if source else scores[to]["mean"]
                low, high = s["ssim_interval"]
                cells = (f"{s['ssim']:.3f}", f"{low:.3f} to {high:.3f}", f"{s['psnr']:.2f}",
                         f"{s['mae']:.3f}", f"{s['gradient_correlation']:.3f}",
                         f"{s['full_ssim']:.3f}", f"{s['full_psnr']:.2f}")  # fmt: skip
                rows.append((f"  {name}", *cells))
        heads = ("SSIM", "95 % interval", "PSNR (dB)", "MAE", "gradient correlation",
                 "SSIM with air", "PSNR with air")  # fmt: skip
        tables.append(_table(f"{contrast} → {to}, inside the head", heads, rows))
    means = {name: scores["spots"]["mean"] for name, scores in predictors.items()}
    rows = [
        (f"  {name}", f"{m['shown']:.1f}", f"{m['invented']:.2f}", f"{m['missing']:.2f}")
        for name, m in means.items()
    ]
    heads = ("shown", "invented", "missing")
    tables.append(_table("Bright spots per slice, T1 → T2", heads, rows))
    reports = {n: s["lesions"] for n, s in predictors.items() if "lesions" in s}
    return "\n\n".join(tables + ([_lesion_table(reports)] if reports else []))


def _lesion_table(reports: dict[str, dict]) -> str:
    """`lesion_report` of each predictor as text: all lesions, those in the source, and by size."""
    groups = {name: _lesion_groups(report) for name, report in reports.items()}
    rows: list[tuple[str, ...]] = []
    for title in next(iter(groups.values())):
        rows.append((title,))
        for name, parts in groups.items():
            part, cells = parts[title], ["no lesion"]
            if count := part["lesions"]:
                shares = ("kept", "lost", "inverted")
                cells = [f"{round(part[share] * count)} of {count}" for share in shares]
                cells.append(f"{part['median_ratio']:.2f}")
            rows.append((f"  {name}", *cells))
    heads = ("kept", "lost", "inverted", "median contrast")
    return _table("Lesions, T1 → T2", heads, rows)


def _lesion_groups(report: dict) -> dict[str, dict]:
    shown = "shown by T1"
    sizes = {f"{shown}, {size} pixels": part for size, part in report["by_size"].items()}
    return {"all": report, shown: report["in_source"]} | sizes


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned text: a first column of names and as many others as there are `heads`."""
    rows = [(title, *heads), *rows]
    first = max(len(row[0]) for row in rows if len(row) > 1)
    widths = [
        max(len(row[k]) for row in rows if len(row) > k) + 2 for k in range(1, len(heads) + 1)
    ]
    return "\n".join(
        row[0].ljust(first if len(row) > 1 else 0)
        + "".join(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=False))
        for row in rows
    )


def draw_figure(pairs: Sequence[Pair], predictors: dict[str, Predictor]) -> Figure:
    """The middle slice of each source, a row each, in both directions side by side.

    A direction is the source, a translation per predictor, the truth and an |error| per predictor;
    all errors share one colour scale.
    """
    by_source: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_source.setdefault(pair.source, []).append(pair)
    middle = [slices[len(slices) // 2] for _, slices in sorted(by_source.items())]
    half = 2 + 2 * len(predictors)  # columns of one direction
    figure = Figure(figsize=(1.9 * 2 * half, 2.1 * len(middle) + 0.4), layout="constrained")
    axes = figure.subplots(len(middle), 2 * half, squeeze=False)
    for row, pair in zip(axes, middle, strict=True):
        for start, (to, contrast) in zip((0, half), OTHER.items(), strict=True):
            truth = to_unit(pair.images[to])
            outputs = {n: predict(pair.images[contrast], to) for n, predict in predictors.items()}
            panels = [(f"{pair.name}\n{contrast}", to_unit(pair.images[contrast]))]
            panels += [(f"{name}\n{contrast} → {to}", image) for name, image in outputs.items()]
            panels += [(f"true {to}", truth)]
            for axis, (title, image) in zip(row[start:], panels, strict=False):
                axis.imshow(image, cmap="gray", vmin=0, vmax=1)
                axis.set_title(title, fontsize=7)
            rest = row[start + len(panels) :]
            for axis, (name, image) in zip(rest, outputs.items(), strict=False):
                errors = axis.imshow(np.abs(image - truth), cmap="magma", vmin=0, vmax=0.5)
                axis.set_title(f"|error| of {name}\n{contrast} → {to}", fontsize=7)
    for axis in axes.flat:
        axis.set_axis_off()
    bar = {"aspect": 40, "fraction": 0.02, "pad": 0.01, "extend": "max"}
    figure.colorbar(errors, ax=axes, label="|translation − truth|", **bar)
    return figure
