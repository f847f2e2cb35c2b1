"""Find slices of the same place among unpaired T1 and T2 slices, as pairs for train.py --pairs.

    python -m cyclegan.release.find_pairs [--data DIR ...] [--pairs DIR ...] --out OUT [--weights W]

DIR is laid out as for train.py. Every slice is translated and compared with the real slices of the
other contrast in the same data source; where one matches, it is registered onto it. OUT gets T1/
and T2/ with the same file names, and pairs.csv with how well each pair agrees, the least certain
first: look at some before you train. Known pairs (--pairs) are registered anew, and added to those
found unless they are found again.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm

from cyclegan import CONTRASTS, OTHER
from cyclegan.data.dataset import SliceDataset
from cyclegan.data.paired_slices import PairedSlices
from cyclegan.model.preprocess import Frame
from cyclegan.model.translator import Translator
from cyclegan.release.pair_search import (
    LIKELY,
    Match,
    Views,
    are_copies,
    find_partners,
    register,
    resample,
)

FINER = 1.5  # than the network's grid: what is written will be framed, and so resampled, once more
TABLE = "pairs.csv"


class Pair(NamedTuple):
    """Two partners: their data source, how well they agree, and (S, S) in [0, 1] of each."""

    source: str
    agreement: float
    t1: np.ndarray
    t2: np.ndarray


def new_pairs(translator: Translator, dataset: SliceDataset) -> Iterator[Pair]:
    """The pairs in unpaired slices, source by source."""
    for index, name in enumerate(dataset.names):
        slices = {c: dataset.slices[c][dataset.sources[c] == index] for c in CONTRASTS}
        if min(len(stack) for stack in slices.values()) == 0:
            continue
        views = {c: _views(translator, slices[c], c, name) for c in CONTRASTS}
        matches = find_partners(views["T1"], views["T2"], _bar(f"comparing {name}"))
        yield from _registered(name, matches, slices)


def known_pairs(translator: Translator, paired: PairedSlices) -> Iterator[Pair]:
    """Known pairs, registered anew; those that agree too little are left out."""
    for index, name in enumerate(paired.names):
        slices = {c: paired.slices[c][paired.sources == index] for c in CONTRASTS}
        t1, t2 = (_views(translator, slices[c], c, name) for c in CONTRASTS)
        rows = _bar(f"registering {name}")(range(len(t1.own)))
        matches = [register(t1, t2, row, row) for row in rows]
        yield from _registered(name, [m for m in matches if m.agreement >= LIKELY], slices)


def _views(translator: Translator, slices: torch.Tensor, contrast: str, name: str) -> Views:
    """Slices of a contrast on the network's grid, and what they translate to."""
    size = (translator.size, translator.size)
    own = F.interpolate(slices.float(), size, mode="bilinear", antialias=True)[:, 0].numpy()
    images = _bar(f"translating {contrast} of {name}")(own)
    translated = [translator.translate(image, to=OTHER[contrast]) for image in images]
    return Views(own, np.stack(translated))


def _registered(
    name: str, matches: Iterable[Match], slices: dict[str, torch.Tensor]
) -> Iterator[Pair]:
    for match in matches:
        t1, t2 = (
            slices[c][row, 0].float().numpy() for c, row in zip(CONTRASTS, match, strict=False)
        )
        yield Pair(name, match.agreement, t1, resample(t2[None], match.transform)[0])


def write_pairs(out: Path, pairs: Iterable[Pair]) -> list[tuple[float, str]]:
    """Write pairs as PNG files of equal names, and the table.

    Returns:
        (agreement, name) of each, the least first.
    """
    numbers: Counter[str] = Counter()
    rows = []
    for pair in pairs:
        source = pair.source.split("/")[-1].replace("_", "-")  # known and new ones count as one
        numbers[source] += 1
        name = f"{source}_{numbers[source]:04}.png"  # train.py takes what is before the _ as source
        for contrast, image in zip(CONTRASTS, (pair.t1, pair.t2), strict=True):
            grey = (255 * image).round().astype(np.uint8)
            (out / contrast).mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey).save(out / contrast / name)
        rows.append((round(pair.agreement, 3), name))
    rows.sort()
    out.mkdir(parents=True, exist_ok=True)
    with (out / TABLE).open("w", newline="") as file:
        csv.writer(file).writerows([("agreement", "name"), *rows])
    return rows


def _bar(what: str):
    return partial(tqdm, desc=what, leave=False, disable=None)


def _search(options: argparse.Namespace, translator: Translator) -> Iterator[Pair]:
    finer = round(FINER * translator.size)
    new = []
    if options.data:
        dataset = SliceDataset.load(options.data, finer, _bar("reading"), options.cache)
        new = list(new_pairs(translator, dataset))
        yield from new
    if options.pairs:
        paired = PairedSlices.load(options.pairs, finer, _bar("reading pairs"), options.cache)
        known = list(known_pairs(translator, paired))
        again = are_copies(_framed_t1(known), _framed_t1(new))
        yield from (pair for pair, is_copy in zip(known, again, strict=True) if not is_copy)


def _framed_t1(pairs: Sequence[Pair]) -> np.ndarray:
    """The T1 of each, framed without regard to the T2: (N, S, S)."""
    images = [Frame.fit(pair.t1, len(pair.t1)).apply(pair.t1[None])[0, 0] for pair in pairs]
    return np.array([image.numpy() for image in images])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan.release.find_pairs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", nargs="*", default=[], metavar="DIR", help="folders of unpaired "
                        "slices")  # fmt: skip
    parser.add_argument("--pairs", nargs="*", default=[], metavar="DIR", help="folders of known "
                        "pairs")  # fmt: skip
    parser.add_argument("--out", required=True, type=Path, metavar="OUT", help="folder for the "
                        "pairs, which must not exist yet")  # fmt: skip
    parser.add_argument(
        "--weights",
        default="weights",
        metavar="W",
        help="weights folder or Hugging Face Hub repository, to translate with",
    )
    parser.add_argument("--cache", metavar="DIR", help="folder for decoded slices "
                        "(default: a temporary one)")  # fmt: skip
    options = parser.parse_args(arguments)
    if not options.data and not options.pairs:
        parser.error("give --data, --pairs, or both")
    if options.out.exists():
        parser.error(f"{options.out} is there already; name a new folder")
    try:
        rows = write_pairs(
            options.out, _search(options, Translator.from_pretrained(options.weights))
        )
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    sources = Counter(name.rsplit("_", 1)[0] for _, name in rows)
    for source, count in sorted(sources.items()):
        print(f"{source}: {count} pairs")
    print(f"{len(rows)} pairs in {options.out}; the least sure first in {TABLE}")


if __name__ == "__main__":
    main()
