"""Measure the input check on labelled slices: confusion by source, and calibration.

    python -m cyclegan.release.check_report --val DIR [...] [--only NAME] [--weights W] [--json F]

DIR holds folders named T1, T2, FLAIR, T1POST, NEWBORN_T1, NEWBORN_T2, OUTSIDE (neck, face, top of
the head), or any other of `checks.KINDS`, with slices that the check was not trained on. --only
uses the files whose names begin so, where a folder also holds subjects that it was trained on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cyclegan.model.checkpoint import CheckpointError
from cyclegan.model.head import head_mask
from cyclegan.model.preprocess import scale_intensity
from cyclegan.reading.read import read_volume
from cyclegan.reading.volume import ReadError
from cyclegan.release.check_data import FOLDERS, group_of
from cyclegan.trust.checks import INNER, KINDS, LABELS, InputCheck, frame_slice, group

EDGES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)  # of the confidence bins


def measure(
    check: InputCheck, folders: list[Path], only: tuple[str, ...] = ("",)
) -> dict[str, Any]:
    """Assess every slice below the kind folders of `folders`, in files named as `only` begins.

    Returns:
        "sources": "KIND source" -> {"slices": n, label: share of the slices, ...};
        "t1_or_t2": share of true T1 and T2 whose more probable of T1 and T2 is right;
        "t1_or_t2_inner": the same over slices whose section of the head is at least `INNER` of the
            source's largest, which are those that a volume is judged by;
        "false_alarms": share of true T1 and T2 that are labelled neither;
        "flagged": kind -> share of the slices of other kinds with the right label;
        "ece": expected calibration error (Naeini et al. 2015) over bins of confidence;
        "reliability": one {"from", "to", "slices", "confidence", "accuracy"} per bin.

    Raises:
        ValueError: no readable slice.
    """
    truth, sources, outputs, areas = [], [], [], []
    for folder in folders:
        for name, kind in FOLDERS.items():
            for path in sorted((folder / name).glob("*.*")):
                if not path.name.startswith(only):
                    continue
                try:
                    slices = read_volume(path).pixels
                except ReadError:
                    continue
                framed = np.concatenate([frame_slice(image) for image in slices])
                outputs.append(check.kind_probabilities(framed))
                areas += [head_mask(scale_intensity(image)).sum() for image in slices]
                truth += [kind] * len(slices)
                sources += [f"{name} {group_of(path)}"] * len(slices)
    if not outputs:
        raise ValueError(
            f"{', '.join(str(f) for f in folders)}: no readable slice; expected folders named "
            + ", ".join(FOLDERS)
        )
    probabilities = group(np.concatenate(outputs))
    labels = np.array(LABELS)[probabilities.argmax(1)]
    answers = np.array([KINDS[kind] for kind in truth])
    truth, sources = np.array(truth), np.array(sources)
    plain = np.isin(truth, ("T1", "T2"))
    largest = {source: max(np.array(areas)[sources == source]) for source in np.unique(sources)}
    inner = plain & (np.array(areas) >= INNER * np.array([largest[s] for s in sources]))
    preferred = np.array(LABELS)[probabilities[:, :2].argmax(1)]
    report: dict[str, Any] = {"sources": {}}
    for source in np.unique(sources):
        own = labels[sources == source]
        shares = {label: round(float(np.mean(own == label)), 4) for label in LABELS}
        report["sources"][str(source)] = {"slices": len(own), **shares}
    if plain.any():
        report["t1_or_t2"] = float(np.mean(preferred[plain] == truth[plain]))
        report["t1_or_t2_inner"] = float(np.mean(preferred[inner] == truth[inner]))
        report["false_alarms"] = float(np.mean(~np.isin(labels[plain], ("T1", "T2"))))
    report["flagged"] = {
        str(kind): float(np.mean((labels == answers)[truth == kind]))
        for kind in np.unique(truth[~plain])
    }
    return report | reliability(probabilities.max(1), labels == answers)


def reliability(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """The "ece" and "reliability" that `measure` returns, from (N,) floats and (N,) bools."""
    bins, error = [], 0.0
    for low, high in itertools.pairwise(EDGES):
        inside = (confidence > low) & (confidence <= high)
        if not inside.any():
            continue
        mean, accuracy = float(confidence[inside].mean()), float(right[inside].mean())
        error += inside.mean() * abs(mean - accuracy)
        bins.append(
            {
                "from": low,
                "to": high,
                "slices": int(inside.sum()),
                "confidence": round(mean, 4),
                "accuracy": round(accuracy, 4),
            }
        )
    return {"ece": float(error), "reliability": bins}


def table(report: dict[str, Any]) -> str:
    """The report as text for a terminal or a model card (Markdown)."""
    lines = [f"| source | slices | {' | '.join(LABELS)} |", "|---|---:|" + "---:|" * len(LABELS)]
    for source, row in report["sources"].items():
        shares = " | ".join(f"{row[label]:.3f}" for label in LABELS)
        lines.append(f"| {source} | {row['slices']} | {shares} |")
    lines.append("")
    if "t1_or_t2" in report:
        lines.append(f"T1 versus T2 right: {report['t1_or_t2']:.4f}")
        lines.append(f"the same, larger sections of the head: {report['t1_or_t2_inner']:.4f}")
        lines.append(f"False alarms on true T1 and T2: {report['false_alarms']:.4f}")
    lines += [f"{kind} flagged: {share:.4f}" for kind, share in report["flagged"].items()]
    lines += [f"Expected calibration error: {report['ece']:.4f}", ""]
    lines += ["| confidence | slices | mean | right |", "|---|---:|---:|---:|"]
    for row in report["reliability"]:
        shares = f"{row['confidence']:.3f} | {row['accuracy']:.3f}"
        lines.append(f"| {row['from']:.2f} to {row['to']:.2f} | {row['slices']} | {shares} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan.release.check_report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--val", nargs="+", required=True, type=Path, metavar="DIR", help="folders "
                        "of labelled slices")  # fmt: skip
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="use only files "
                        "whose names begin so")  # fmt: skip
    parser.add_argument("--weights", default="weights", metavar="W", help="weights folder "
                        "(default: weights)")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to FILE")
    options = parser.parse_args(arguments)
    try:
        report = measure(
            InputCheck.from_pretrained(options.weights), options.val, tuple(options.only)
        )
    except (ValueError, CheckpointError) as error:
        print(f"check_report: {error}", file=sys.stderr)
        return 1
    print(table(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
