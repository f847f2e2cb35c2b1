"""Scores of translations on paired slices, beside the baselines that any translation must beat.

Training needs no pairs; judging does: cycle reconstruction is good even where the translation
is wrong. Scores are means per source (file name up to the last "_": one person or one study),
then the mean over sources, so that the person with most slices does not decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from cyclegan import OTHER
from cyclegan.evaluation.lesions import bright_spots, lesion_report, measure_lesions
from cyclegan.evaluation.metrics import foreground, head_mask, slice_scores, ssim_by_region
from cyclegan.evaluation.pairs import Pair, load_pairs, to_unit

Predictor = Callable[[np.ndarray, str], np.ndarray]  # ((H, W), to) -> (H, W) in [0, 1]

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
    `prepare` is called with the pairs that were read, and gives those to score.

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
    result = {
        "pairs": str(pairs),
        "every": every,
        "slices": len(loaded),
        "sources": {source: sources.count(source) for source in sorted(set(sources))},
        "skipped": skipped,
        "predictors": {},
    }
    for name, predictor in predictors.items():
        result["predictors"][name] = _score(loaded, name, predictor)
    return result


def _score(pairs: Sequence[Pair], name: str, predictor: Predictor) -> dict:
    scores: dict[str, dict[str, list]] = {to: {} for to in OTHER}
    regions: dict[str, dict[str, list]] = {to: {} for to in OTHER}
    lesions = []
    spots: dict[str, list[dict[str, float]]] = {}
    # disable=None: no bar where nobody watches, such as in a log file
    for pair in tqdm(pairs, desc=name, leave=False, disable=None):
        for to, contrast in OTHER.items():
            source, truth = to_unit(pair.images[contrast]), pair.truth(to)
            predicted = predictor(pair.images[contrast], to)
            try:
                one = slice_scores(predicted, truth, source)
            except ValueError as error:
                raise ValueError(f"{name}, {contrast} → {to} of {pair.name}: {error}") from error
            scores[to].setdefault(pair.source, []).append(one)
            by_region = ssim_by_region(predicted, truth, source)
            regions[to].setdefault(pair.source, []).append(by_region)
            if to == "T2":
                counts = bright_spots(predicted, truth, head_mask(source, truth))
                spots.setdefault(pair.source, []).append(counts)
            if to == "T2" and pair.lesion is not None:
                lesions += measure_lesions(predicted, truth, source, pair.lesion)
    result = {to: _summarise(by_source) for to, by_source in scores.items()}
    for to, by_source in regions.items():
        result[to]["regions"] = _mean_regions(by_source)
    result["spots"] = _mean_counts(spots)
    if any(pair.lesion is not None for pair in pairs):
        result["lesions"] = lesion_report(lesions)
    return result


def _mean_counts(by_source: dict[str, list[dict[str, float]]]) -> dict[str, dict]:
    """Counts per slice: `sources`, means over their slices, and `mean`, over the sources."""
    sources = {
        source: {key: float(np.mean([s[key] for s in slices])) for key in slices[0]}
        for source, slices in sorted(by_source.items())
    }
    names = next(iter(sources.values()), {})
    mean = {key: float(np.mean([s[key] for s in sources.values()])) for key in names}
    return {"mean": mean, "sources": sources}


def _mean_regions(by_source: dict[str, list[dict[str, float]]]) -> dict[str, dict]:
    """Region -> SSIM, mean of the slices that have it per source, and the mean of those."""
    found: dict[str, dict] = {}
    for name in REGIONS:
        sources = {}
        for source, slices in sorted(by_source.items()):
            values = [s[name] for s in slices if name in s]
            if 2 * len(values) > len(slices):  # else a few slices were taken for head-in ones
                sources[source] = float(np.mean(values))
        if sources:
            found[name] = {"mean": float(np.mean(list(sources.values()))), "sources": sources}
    return found


def _summarise(by_source: dict[str, list[dict[str, float]]]) -> dict:
    """Means per source and over sources, with 95 % bootstrap intervals of the SSIM.

    Slices are resampled within their source (Efron & Tibshirani 1993, chapter 13, percentile
    interval). It tells how sure the number is for these people; other people vary more.
    """
    generator = np.random.default_rng(0)  # the same scores give the same interval
    resampled = {}
    sources = {}
    for source, slices in sorted(by_source.items()):
        sources[source] = {key: float(np.mean([s[key] for s in slices])) for key in slices[0]}
        values = np.array([s["ssim"] for s in slices])
        drawn = values[generator.integers(values.size, size=(RESAMPLES, values.size))]
        resampled[source] = drawn.mean(axis=1)
        sources[source]["ssim_interval"] = _interval(resampled[source])
    keys = [key for key in next(iter(sources.values())) if key != "ssim_interval"]
    mean = {key: float(np.mean([s[key] for s in sources.values()])) for key in keys}
    mean["ssim_interval"] = _interval(np.mean(list(resampled.values()), axis=0))
    return {"mean": mean, "sources": sources}


def _interval(resampled: np.ndarray) -> list[float]:
    return [float(x) for x in np.percentile(resampled, (2.5, 97.5))]


def format_table(result: dict) -> str:
    """The scores of `evaluate` as aligned text: mean over sources first, then each source."""
    width = max(len(name) for name in result["predictors"])
    counts = result["sources"]
    blocks = []
    for to, contrast in OTHER.items():
        heads = f"{'SSIM':>6} {'95 % interval':>16} {'PSNR':>6} {'MAE':>6} {'gcc':>6}"
        lines = [
            f"{contrast} → {to}".ljust(width + 2) + f"{heads} {'full SSIM':>10} {'full PSNR':>10}"
        ]
        for source in (None, *counts):
            lines.append(
                f"{source}, n = {counts[source]}" if source else f"mean of {len(counts)} sources"
            )
            for name, scores in result["predictors"].items():
                s = scores[to]["sources"][source] if source else scores[to]["mean"]
                low, high = s["ssim_interval"]
                lines.append(
                    f"  {name:<{width}}{s['ssim']:6.3f} {f'{low:.3f} to {high:.3f}':>16} "
                    f"{s['psnr']:6.2f} {s['mae']:6.3f} {s['gcc']:6.3f} "
                    f"{s['full_ssim']:10.3f} {s['full_psnr']:10.2f}"
                )
        blocks.append("\n".join(lines))
    lines = ["SSIM by region".ljust(width + 2) + "".join(f"{r:>16}" for r in REGIONS)]
    for name, scores in result["predictors"].items():
        cells = [
            " / ".join(
                f"{scores[to]['regions'][r]['mean']:.3f}"
                for to in OTHER
                if r in scores[to]["regions"]
            )
            for r in REGIONS
        ]
        lines.append(f"  {name:<{width}}" + "".join(f"{cell or '-':>16}" for cell in cells))
    blocks.append("\n".join(lines))
    lines = [
        "Bright spots per slice, T1 → T2".ljust(max(width + 2, 32)) + "   shown  invented  missing"
    ]
    for name, scores in result["predictors"].items():
        m = scores["spots"]["mean"]
        cells = f"{m['shown']:8.1f} {m['invented']:9.2f} {m['missing']:8.2f}"
        lines.append(f"  {name}".ljust(max(width + 2, 32)) + cells)
    blocks.append("\n".join(lines))
    reports = {n: s["lesions"] for n, s in result["predictors"].items() if "lesions" in s}
    if reports:
        blocks += _lesion_tables(reports)
    return "\n\n".join(blocks)


def _lesion_tables(reports: dict[str, dict]) -> list[str]:
    """`lesion_report` of each predictor as text: all lesions, those in the source, and by bins."""
    first = next(iter(reports.values()))
    tables = {"all": [], "in source": ["in_source"]}
    for kind, unit in (("by_size", "pixels"), ("by_faintness", "deviations of the head")):
        tables |= {f"in source, {name} {unit}": [kind, name] for name in first[kind]}
    head = f"{'lesions':>8} {'kept':>6} {'lost':>6} {'inverted':>9} {'median ratio':>13}"
    start = max(len("  ") + max(map(len, reports)), 60)
    blocks = []
    for title, path in tables.items():
        lines = [f"Lesions, T1 → T2, {title}".ljust(start) + head]
        for name, report in reports.items():
            f = report
            for key in path:
                f = f[key]
            cells = f"  {name}".ljust(start) + f"{f['lesions']:8d}"
            if f["lesions"]:
                cells += f" {f['kept']:6.2f} {f['lost']:6.2f} {f['inverted']:9.2f}"
                cells += f" {f['median_ratio']:13.2f}"
            lines.append(cells)
        blocks.append("\n".join(lines))
    return blocks


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
            made = {n: predict(pair.images[contrast], to) for n, predict in predictors.items()}
            panels = [(f"{pair.name}\n{contrast}", to_unit(pair.images[contrast]))]
            panels += [(f"{name}\n{contrast} → {to}", image) for name, image in made.items()]
            panels += [(f"true {to}", truth)]
            for axis, (title, image) in zip(row[start:], panels, strict=False):
                axis.imshow(image, cmap="gray", vmin=0, vmax=1)
                axis.set_title(title, fontsize=7)
            for axis, (name, image) in zip(row[start + len(panels) :], made.items(), strict=False):
                errors = axis.imshow(np.abs(image - truth), cmap="magma", vmin=0, vmax=0.5)
                axis.set_title(f"|error| of {name}\n{contrast} → {to}", fontsize=7)
    for axis in axes.flat:
        axis.set_axis_off()
    bar = {"aspect": 40, "fraction": 0.02, "pad": 0.01, "extend": "max"}
    figure.colorbar(errors, ax=axes, label="|translation − truth|", **bar)
    return figure
