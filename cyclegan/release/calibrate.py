"""Measure how well the page's trust numbers and maps predict the true error, on unseen pairs.

    python -m cyclegan.release.calibrate --pairs DIR --weights weights

DIR holds T1/ and T2/ with equal file names. Writes trust.json into the weights folder: the expected
range of each number, how well each number ranks slices and each map ranks pixels by their true
error. It holds the checksum of the model, as it is worth nothing for another one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from tqdm import tqdm

from cyclegan import OTHER
from cyclegan.evaluation.metrics import lesion_parts, ssim
from cyclegan.evaluation.pairs import Pair, load_pairs, to_unit
from cyclegan.model.checkpoint import FORMAT, TRUST
from cyclegan.model.head import foreground, joint_head
from cyclegan.model.hub import weights_folder
from cyclegan.model.translator import Translator
from cyclegan.trust import evidence
from cyclegan.trust.calibration import BASELINE, MEASURES, NEEDED

MULTIPLES = (0.5, 1, 1.5, 2, 2.5, 3, 4, 6)  # of the predicted error
COVERED = 0.9  # share of the pixels whose true value is to lie within the interval
EXPECTED = (10, 90)  # percentiles of a number over validation slices
ALIKE = 0.02  # maps whose rank correlations differ by less are alike: the simplest is shown
SIMULATED = ("sim",)  # how the names of simulated pairs begin; real ones decide


def measure_slice(translator: Translator, pair: Pair, to: str) -> dict[str, Any]:
    """Everything that is measured of one pair, translated into `to`.

    Returns:
        `name`, `subject`, `to`, the true `ssim`, `numbers` (those of `MEASURES`), `maps`
        (Spearman's correlation of each map of `evidence.error_maps`, and of `BASELINE`, with the
        absolute error in the head) and, where the generators predict an error, `within`: the share
        of the head's pixels whose error is at most each of `MULTIPLES` of it.
    """
    image, truth = pair.images[OTHER[to]], to_unit(pair.images[to])
    prepared = translator.prepare(image)
    result = translator.cycle(image, to, prepared=prepared)
    predicted = None
    if translator.predicts_error:
        _, predicted = translator.translate_with_error(image, to, prepared=prepared)
    head = joint_head(to_unit(image), truth)
    error = np.abs(result.translated - truth)[head]
    maps = evidence.error_maps(result, predicted) | {BASELINE: result.translated}
    numbers = evidence.cycle_error(result) | evidence.nmi(result)
    within = {}
    if predicted is not None:
        numbers |= evidence.mean_predicted_error(result.source, predicted)
        ratio = error / np.maximum(predicted[head], 1e-6)
        within = {"within": [_round((ratio <= m).mean()) for m in MULTIPLES]}
    return {
        "name": pair.name,
        "subject": pair.source,
        "to": to,
        "ssim": ssim(result.translated, truth, head),
        "numbers": numbers,
        "maps": {name: _spearman(map_[head], error) for name, map_ in maps.items()},
    } | within


def summarise(slices: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sum up `measure_slice` of many pairs in both directions.

    Each subject counts the same, however many slices there are: correlations are means over
    subjects, of the means over slices for maps and of Spearman's correlation over slices for
    numbers. The number's sign is turned so that a positive rank is the right one.

    Returns:
        `subjects`; `slices`, how many pairs; and `directions[to]` with `expected`, `ranks`, `maps`
        and `map`, the best one if it reaches `NEEDED`, else None.
    """
    subjects = sorted({each["subject"] for each in slices})
    directions = {}
    for to in OTHER:
        groups = [[s for s in slices if s["to"] == to and s["subject"] == p] for p in subjects]
        ranks, expected = {}, {}
        for name in groups[0][0]["numbers"]:
            sign = 1 if MEASURES[name].higher_is_better else -1
            values = [[s["numbers"][name] for s in group] for group in groups]
            true = [[s["ssim"] for s in group] for group in groups]
            ranks[name] = _mean(
                _spearman(sign * np.array(v), t) for v, t in zip(values, true, strict=True)
            )
            # As many draws from each subject, evenly through their slices.
            drawn = [np.percentile(v, np.arange(101)) for v in values]
            expected[name] = [_round(x) for x in np.percentile(np.concatenate(drawn), EXPECTED)]
        maps = {
            name: _mean(np.mean([s["maps"][name] for s in group]) for group in groups)
            for name in groups[0][0]["maps"]
        }
        directions[to] = {
            "expected": expected,
            "ranks": ranks,
            "maps": maps,
            "map": _choose_map(maps),
        }
        if "within" in groups[0][0]:
            directions[to]["interval"] = _interval(dict(zip(subjects, groups, strict=True)))
    return {
        "subjects": subjects,
        "slices": len(slices) // len(OTHER),
        "directions": directions,
    }


def _interval(groups: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The multiple of the predicted error within which `COVERED` of the pixels' true values lie.

    Returns:
        `multiple`, that of the mean over subjects, and `coverage`, the share of pixels within it
        for each subject.
    """
    shares = {p: np.mean([s["within"] for s in group], axis=0) for p, group in groups.items()}
    mean = np.mean(list(shares.values()), axis=0)
    multiple = float(np.interp(COVERED, mean, MULTIPLES))
    covered = {p: _round(np.interp(multiple, MULTIPLES, share)) for p, share in shares.items()}
    return {"multiple": _round(multiple), "coverage": covered}


def _choose_map(maps: dict[str, float]) -> str | None:
    """The first of the maps that rank best, as `error_maps` has them."""
    eligible = {name: rank for name, rank in maps.items() if name != BASELINE}
    best = max(eligible.values())
    if best < NEEDED:
        return None
    return next(name for name, rank in eligible.items() if rank >= max(best - ALIKE, NEEDED))


def calibrate(
    pairs: str | Path, translator: Translator, every: int = 1, leave_out: Sequence[str] = SIMULATED
) -> dict[str, Any]:
    """Measure all pairs of a folder: the content of trust.json.

    Args:
        pairs: folder with T1/ and T2/.
        every: take each n-th pair only.
        leave_out: beginnings of file names to leave out.

    Raises:
        PairsError: the folder is not laid out as that, or nothing is left.
    """
    loaded, _ = load_pairs(pairs, every)
    loaded = [pair for pair in loaded if not pair.name.startswith(tuple(leave_out))] or loaded
    measured = [
        _rounded(measure_slice(translator, pair, to))
        for pair in tqdm(loaded, leave=False, disable=None)
        for to in OTHER
    ]
    head = {"format": FORMAT, "version": translator.version, "sha256": translator.checksum}
    lesions = {"lesions": lesion_contrast(loaded)}
    return head | {"every": every} | summarise(measured) | lesions | {"measured": measured}


def lesion_contrast(pairs: Iterable[Pair]) -> dict[str, Any] | None:
    """How much lesions differ from what is around them, in real images.

    Returns:
        `count`, and for T1 and T2 the median over lesions of the difference of the means, without
        its sign, in shares of the grey range; None where no pair has a lesion.
    """
    contrasts: dict[str, list[float]] = {to: [] for to in OTHER}
    for pair in pairs:
        if pair.lesion is None:
            continue
        images = {to: to_unit(pair.images[to]) for to in OTHER}
        for inside, ring in lesion_parts(pair.lesion, foreground(images["T1"])):
            for to, image in images.items():
                contrasts[to].append(abs(float(image[inside].mean() - image[ring].mean())))
    if not contrasts["T1"]:
        return None
    medians = {to: _round(np.median(values)) for to, values in contrasts.items()}
    return {"count": len(contrasts["T1"])} | medians


def format_table(record: dict[str, Any]) -> str:
    """The ranges and correlations of trust.json as text."""
    lines = [f"{record['slices']} slices of {', '.join(record['subjects'])}"]
    for to, source in OTHER.items():
        direction = record["directions"][to]
        lines += ["", f"{source} → {to}", f"  {'number':<50} expected         ranks slices"]
        for name, (low, high) in direction["expected"].items():
            rank = direction["ranks"][name]
            lines.append(f"  {name:<50} {low:.4f} to {high:.4f} {rank:7.2f}")
        lines.append(f"  {'map':<50} ranks pixels")
        maps = sorted(direction["maps"].items(), key=lambda item: -item[1])
        lines += [f"  {name:<50} {rank:7.3f}" for name, rank in maps]
        if "interval" in direction:
            interval = direction["interval"]
            subjects = ", ".join(f"{p} {c:.2f}" for p, c in interval["coverage"].items())
            within = f"{interval['multiple']:.2f} times the predicted error"
            lines.append(
                f"  {COVERED:.0%} of the pixels lie within {within}; by subject: {subjects}"
            )
        lines.append(f"  shown: {direction['map'] or f'none reaches {NEEDED}'}")
    if record["lesions"]:
        lesions = record["lesions"]
        medians = f"T1 {lesions['T1']}, T2 {lesions['T2']}"
        lines += ["", f"median contrast of {lesions['count']} lesions: {medians}"]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan.release.calibrate", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--pairs",
        required=True,
        metavar="DIR",
        help="folder with T1 and T2, with the same file names",
    )
    parser.add_argument(
        "--weights",
        default="weights",
        metavar="W",
        help="weights folder; trust.json is written there",
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="use every N-th pair only"
    )
    parser.add_argument(
        "--leave-out",
        nargs="*",
        default=SIMULATED,
        metavar="PREFIX",
        help="leave out files whose names begin so (default: sim, simulated pairs)",
    )
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error(f"--every {options.every}: 1 or more would work")
    try:
        translator = Translator.from_pretrained(options.weights)
        record = calibrate(options.pairs, translator, options.every, options.leave_out)
        (weights_folder(options.weights) / TRUST).write_text(_as_text(record), "utf-8")
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    print(format_table(record))


def _as_text(record: dict[str, Any]) -> str:
    """JSON with each measured slice on a line of its own."""
    measured = record["measured"]
    text = json.dumps({**record, "measured": []}, indent=1, ensure_ascii=False)
    lines = ",\n".join(f"  {json.dumps(each)}" for each in measured)
    return text.replace('"measured": []', f'"measured": [\n{lines}\n ]') + "\n"


def _spearman(values: Sequence[float], true: Sequence[float]) -> float:
    """0 where nothing can be ranked: fewer than three slices, or all alike."""
    if len(values) < 3 or np.ptp(values) == 0 or np.ptp(true) == 0:
        return 0.0
    return float(spearmanr(values, true).statistic)


def _mean(values: Iterable[float]) -> float:
    return _round(float(np.mean(list(values))))


def _round(value: float) -> float:
    return round(float(value), 5)


def _rounded(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _rounded(value) for key, value in node.items()}
    return _round(node) if isinstance(node, float) else node


if __name__ == "__main__":
    main()
