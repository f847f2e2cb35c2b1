"""Scores of translations on paired slices, beside the baselines that any translation must beat.

Training needs no pairs; evaluation does: cycle reconstruction is good even where the translation
is wrong. Scores are means per source (file name up to the last "_": one subject or one study),
then the mean over sources, so that the subject with most slices does not decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from cyclegan import OTHER
from cyclegan.evaluation.lesions import bright_spots, lesion_report, measure_lesions
from cyclegan.evaluation.metrics import slice_scores, ssim_by_region
from cyclegan.evaluation.pairs import Pair, load_pairs, to_unit
from cyclegan.model.head import foreground, joint_head

Predictor = Callable[[np.ndarray, str], np.ndarray]  # ((H, W), to) -> (H, W) in [0, 1]
Means = dict[str, dict]  # `sources`: means over the slices of each; `mean`: over the sources

REGIONS = ("outline", "deeper", "scalp")  # of `metrics.ssim_by_region`
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


def evaluate(
    pairs: str | Path,
    predictors: dict[str, Predictor],
    every: int = 1,
    prepare: Callable[[list[Pair]], list[Pair]] = list,
) -> dict:
    """Score each predictor on each pair of the folder `pairs`, in both directions.

    A predictor is called as `predictor(image, to)` with the source slice as its file stores it,
    (H, W) uint8 as a rule, and returns (H, W) float in [0, 1]. `every` takes each n-th pair only.
    `prepare` is called with the pairs that were read, and returns those to score.

    Returns a dict that JSON can hold:
    `slices` and `sources` (their number, per source), `every`, `skipped` (one sentence per file),
    `predictors[name][to]` with `mean` (over sources) and `sources[source]`, each holding the
    scores of `metrics.slice_scores` and `ssim_interval`, and with `regions` (SSIM by region, `mean`
    and `sources` of each, see `metrics.ssim_by_region`); `predictors[name]["spots"]`, per slice,
    and by source (`lesions.bright_spots`, T1 → T2); and `predictors[name]["lesions"]`
    (`lesions.lesion_report`, T1 → T2) when the folder has lesion masks.
    Raises PairsError for the folder and ValueError, naming the slice, for a predictor's output.
    """
    loaded, skipped = load_pairs(pairs, every)
    loaded = prepare(loaded)
    sources = [pair.source for pair in loaded]
    return {
        "pairs": str(pairs),
        "every": every,
        "slices": len(loaded),
        "sources": {source: sources.count(source) for source in sorted(set(sources))},
        "skipped": skipped,
        "predictors": {name: _score(loaded, name, p) for name, p in predictors.items()},
    }


def _score(pairs: Sequence[Pair], name: str, predictor: Predictor) -> dict:
    sources = sorted({pair.source for pair in pairs})
    scores, regions = ({to: {s: [] for s in sources} for to in OTHER} for _ in range(2))
    spots: dict[str, list[dict]] = {s: [] for s in sources}
    lesions = []
    # disable=None: no bar where nobody watches, such as in a log file
    for pair in tqdm(pairs, desc=name, leave=False, disable=None):
        for to, contrast in OTHER.items():
            source, truth = to_unit(pair.images[contrast]), pair.truth(to)
            predicted = predictor(pair.images[contrast], to)
            try:
                scores[to][pair.source].append(slice_scores(predicted, truth, source))
            except ValueError as error:
                raise ValueError(f"{name}, {contrast} → {to} of {pair.name}: {error}") from error
            regions[to][pair.source].append(ssim_by_region(predicted, truth, source))
            if to == "T2":
                head = joint_head(source, truth)
                spots[pair.source].append(bright_spots(predicted, truth, head))
                if pair.lesion is not None:
                    lesions += measure_lesions(predicted, truth, source, pair.lesion)
    result: dict = {to: _with_intervals(scores[to]) for to in OTHER}
    for to, by_source in regions.items():
        means = _means(by_source)
        result[to]["regions"] = {
            region: {
                "mean": mean,
                "sources": {s: m[region] for s, m in means["sources"].items() if region in m},
            }
            for region, mean in means["mean"].items()
        }
    result["spots"] = _means(spots)
    if any(pair.lesion is not None for pair in pairs):
        result["lesions"] = lesion_report(lesions)
    return result


def _means(by_source: dict[str, list[dict[str, float]]]) -> Means:
    """Mean of each number over the slices of a source, where most of them have it, and over the
    sources."""
    sources = {}
    for source, slices in by_source.items():
        names = dict.fromkeys(name for one in slices for name in one)
        values = {name: [one[name] for one in slices if name in one] for name in names}
        # Else a few slices were taken for head-in ones.
        most = {name: v for name, v in values.items() if 2 * len(v) > len(slices)}
        sources[source] = {name: float(np.mean(v)) for name, v in most.items()}
    names = dict.fromkeys(name for means in sources.values() for name in means)
    mean = {n: float(np.mean([m[n] for m in sources.values() if n in m])) for n in names}
    return {"mean": mean, "sources": sources}


def _with_intervals(by_source: dict[str, list[dict[str, float]]]) -> Means:
    """`_means` with 95 % bootstrap intervals of the SSIM.

    Slices are resampled within their source (Efron & Tibshirani 1993, chapter 13, percentile
    interval): how sure the number is for these subjects; other subjects vary more.
    """
    generator = np.random.default_rng(0)  # the same scores give the same interval
    means, resampled = _means(by_source), []
    for source, slices in by_source.items():
        values = np.array([one["ssim"] for one in slices])
        samples = values[generator.integers(values.size, size=(RESAMPLES, values.size))]
        resampled.append(samples.mean(axis=1))
        means["sources"][source]["ssim_interval"] = _interval(resampled[-1])
    means["mean"]["ssim_interval"] = _interval(np.mean(resampled, axis=0))
    return means


def _interval(resampled: np.ndarray) -> list[float]:
    return [float(x) for x in np.percentile(resampled, (2.5, 97.5))]


def format_tables(result: dict) -> str:
    """The scores of `evaluate` as text: mean over sources first, then each source; then SSIM by
    region, bright spots and, where there are masks, lesions."""
    predictors, counts = result["predictors"], result["sources"]
    tables = []
    for to, contrast in OTHER.items():
        rows: list[tuple[str, ...]] = []
        for source in (None, *counts):
            rows.append((f"{source}, n = {counts[source]}",) if source else
                        (f"mean of {len(counts)} sources",))  # fmt: skip
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
    rows = []
    for name, scores in predictors.items():
        regions = [scores[to]["regions"] for to in OTHER]
        cells = [" / ".join(f"{r[region]['mean']:.3f}" for r in regions if region in r) or "-"
                 for region in REGIONS]  # fmt: skip
        rows.append((f"  {name}", *cells))
    directions = " / ".join(f"{contrast} → {to}" for to, contrast in OTHER.items())
    tables.append(_table(f"SSIM by region, {directions}", REGIONS, rows))
    rows = []
    for name, scores in predictors.items():
        m = scores["spots"]["mean"]
        cells = (f"{m['shown']:.1f}", f"{m['invented']:.2f}", f"{m['missing']:.2f}")
        rows.append((f"  {name}", *cells))
    heads = ("shown", "invented", "missing")
    tables.append(_table("Bright spots per slice, T1 → T2", heads, rows))
    reports = {n: s["lesions"] for n, s in predictors.items() if "lesions" in s}
    return "\n\n".join(tables + ([_lesion_table(reports)] if reports else []))


def _lesion_table(reports: dict[str, dict]) -> str:
    """`lesion_report` of each predictor as text: all lesions, those in the source, and by bins."""
    first = next(iter(reports.values()))
    groups = {"all": [], "that the source shows": ["in_source"]}
    for kind, unit in (("by_size", "pixels"), ("by_faintness", "standard deviations of contrast")):
        groups |= {f"that the source shows, {name} {unit}": [kind, name] for name in first[kind]}
    rows: list[tuple[str, ...]] = []
    for title, path in groups.items():
        rows.append((title,))
        for name, report in reports.items():
            for key in path:
                report = report[key]
            count = report["lesions"]
            cells = ["no lesion"]
            if count:
                shares = ("kept", "lost", "inverted")
                cells = [f"{round(report[share] * count)} of {count}" for share in shares]
                cells.append(f"{report['median_ratio']:.2f}")
            rows.append((f"  {name}", *cells))
    heads = ("half contrast or more", "under a fifth", "inverted", "median contrast")
    return _table("Lesions, T1 → T2: how many have which part of the true contrast", heads, rows)


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
