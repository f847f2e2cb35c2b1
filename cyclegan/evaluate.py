"""Score translations against real images of both contrasts, beside two trivial baselines.

    python -m cyclegan.evaluate --pairs DIR [--weights W ...] [--json FILE] [--figure FILE]

DIR holds the folders T1 and T2, with files of the same name for the same slice, and optionally
lesion, with masks of those names. Any translation must beat both baselines: the input unchanged,
and the input with its grey values reversed inside the head. Scores are means over the slices of
each source (the beginning of a file name, up to the last "_"), then over sources:

    SSIM, PSNR, MAE  inside the head, grey values from 0 to 1
    gradient correlation   of gradient magnitudes: how well edges agree
    full             over the whole image, air included
    lesions          how many have at least half of the real contrast to their surroundings (kept),
                     less than a fifth (lost) or the reverse (inverted): of all, of those that the
                     T1 shows, and of these by size

Two scans of a subject often lie a pixel or two apart, which lowers every score. --register moves
each real image onto its source first, by a rigid motion estimated from the two images alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclegan.evaluation.pairs import load_pairs, with_registered_truth
from cyclegan.evaluation.scores import (
    BASELINES,
    KINDS,
    draw_figure,
    evaluate,
    format_tables,
    with_styles,
)
from cyclegan.model.translator import Translator


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--pairs", required=True, metavar="DIR", help="folder with T1, T2 and optionally lesion")
    add(
        "--weights",
        nargs="+",
        default=["weights"],
        metavar="W",
        help="weights folders or Hugging Face Hub repositories, USER/MODEL, to compare (default: "
        "the weights that come with this program, unless CYCLEGAN_WEIGHTS names others)",
    )
    add("--revision", help="branch, tag or commit of the Hub repositories (default: main)")
    add("--json", type=Path, metavar="FILE", help="write all scores, of each slice, to FILE")
    add("--figure", type=Path, metavar="FILE", help="draw example slices of each source in FILE")
    add("--every", type=int, default=1, metavar="N", help="score every N-th pair only")
    add(
        "--style",
        nargs="+",
        default=[],
        choices=KINDS,
        help="score translations in a style (the code of a scanner's appearance), too: own, "
        "measured on other real slices of the same source, or wrong, measured on another source",
    )
    add("--register", action="store_true", help="move each real image onto its source first")
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error(f"--every {options.every}: 1 or more would work")

    try:
        translators = {
            w: Translator.from_pretrained(w, revision=options.revision) for w in options.weights
        }
        learnt = {weights: t.translate for weights, t in translators.items()}
        pairs, skipped = load_pairs(options.pairs, options.every)
        for weights, t in translators.items():
            learnt |= {f"{weights}, {k} style": with_styles(t, pairs, k) for k in options.style}
        judged = with_registered_truth(pairs) if options.register else pairs
        result = evaluate(judged, BASELINES | learnt)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    result["weights"] = {
        weights: {"version": t.version, "sha256": t.checksum} for weights, t in translators.items()
    }
    result |= {
        "pairs": options.pairs,
        "every": options.every,
        "registered": options.register,
        "skipped": skipped,
    }
    print(format_tables(result))
    if skipped:
        print(f"\nSkipped {len(skipped)}:", *skipped, sep="\n  ")
    for file in filter(None, (options.json, options.figure)):
        file.parent.mkdir(parents=True, exist_ok=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if options.figure:
        draw_figure(pairs, learnt).savefig(options.figure, dpi=150)


if __name__ == "__main__":
    main()
