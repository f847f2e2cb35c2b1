"""Score translations on paired slices, beside the baselines that any translation must beat.

    python -m cyclegan.evaluate --pairs DIR [--weights W ...] [--json FILE] [--figure FILE]

DIR holds T1/ and T2/ with equal file names, and optionally lesion/ with masks of those names.
--register moves each truth onto its source first, by a rigid motion that is estimated from the two
images alone: two scans often lie a pixel or two apart, and every translation scores worse for it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclegan.evaluation.pairs import load_pairs, with_registered_truth
from cyclegan.evaluation.scores import BASELINES, draw_figure, evaluate, format_tables
from cyclegan.evaluation.styles import KINDS, with_styles
from cyclegan.model.translator import Translator


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan.evaluate", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--pairs", required=True, metavar="DIR", help="holds T1/ and T2/")
    parser.add_argument("--weights", nargs="+", default=["weights"], metavar="W")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every score here")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="write example slices here")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="score each N-th pair")
    parser.add_argument("--style", nargs="+", default=[], choices=KINDS, help="score with a style, "
                        "too: of the same source's other slices, or of another source")  # fmt: skip
    parser.add_argument("--register", action="store_true", help="move each truth onto its "
                        "source first (rigid)")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error(f"--every {options.every}: 1 or more would work")

    try:
        translators = {weights: Translator.from_pretrained(weights) for weights in options.weights}
        learnt = {weights: t.translate for weights, t in translators.items()}
        pairs, _ = load_pairs(options.pairs, options.every)
        for weights, t in translators.items():
            learnt |= {f"{weights}, {k} style": with_styles(t, pairs, k) for k in options.style}
        prepare = with_registered_truth if options.register else list
        result = evaluate(options.pairs, BASELINES | learnt, options.every, prepare)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    result["weights"] = {
        weights: {"version": t.version, "sha256": t.checksum} for weights, t in translators.items()
    }
    result["registered"] = options.register
    print(format_tables(result))
    if result["skipped"]:
        print(f"\nSkipped {len(result['skipped'])}:", *result["skipped"], sep="\n  ")
    for file in filter(None, (options.json, options.figure)):
        file.parent.mkdir(parents=True, exist_ok=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if options.figure:
        draw_figure(pairs, learnt).savefig(options.figure, dpi=150)


if __name__ == "__main__":
    main()
