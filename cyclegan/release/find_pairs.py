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

import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm

from cyclegan import CONTRASTS, OTHER
from cyclegan.data.dataset import SliceDataset
from cyclegan.data.paired_slices import PairedSlices
from cyclegan.model.preprocess import Frame
from cyclegan.model.translator import Translator
from cyclegan.release.affine import Views, laid_over, register
from cyclegan.release.pair_search import LIKELY, Match, copies, find_partners

FINER = 1.5  # than the network's grid: what is written will be framed, and so resampled, once more
TABLE = "pairs.csv"


class Pair(NamedTuple):
    """Two partners: their data source, how well they agree, and (S, S) in [0, 1] of each."""

    source: str
    agreement: float
    t1: torch.Tensor
    t2: torch.Tensor


def found_pairs(translator: Translator, dataset: SliceDataset) -> Iterator[Pair]:
    """The pairs in unpaired slices, source by source."""
    for index, name in enumerate(dataset.names):
        slices = {c: dataset.slices[c][dataset.sources[c] == index] for c in CONTRASTS}
        if min(len(stack) for stack in slices.values()) == 0:
            continue
        views = {c: _views(translator, slices[c], c, name) for c in CONTRASTS}
        matches = find_partners(views["T1"], views["T2"], _bar(f"comparing {name}"))
        yield from _laid(name, matches, slices)


def known_pairs(translator: Translator, paired: PairedSlices) -> Iterator[Pair]:
    """Known pairs, laid over each other anew; those that agree too little are left out."""
    for index, name in enumerate(paired.names):
        slices = {c: paired.slices[c][paired.sources == index] for c in CONTRASTS}
        views = {c: _views(translator, slices[c], c, name) for c in CONTRASTS}
        registered = zip(*register(views["T1"], views["T2"]), strict=True)
        matches = [Match(k, k, matrix, float(a)) for k, (matrix, a) in enumerate(registered)]
        yield from _laid(name, [m for m in matches if m.agreement >= LIKELY], slices)


def _views(translator: Translator, slices: torch.Tensor, contrast: str, name: str) -> Views:
    """Slices of a contrast on the network's grid, and what they translate to."""
    size = (translator.size, translator.size)
    own, translated = [], []
    for image in _bar(f"translating {contrast} of {name}")(slices):
        own.append(F.interpolate(image[None].float(), size, mode="bilinear", antialias=True))
        answer = translator.translate(own[-1][0, 0].numpy(), to=OTHER[contrast])
        translated.append(torch.from_numpy(answer)[None, None])
    return Views(torch.cat(own), torch.cat(translated))


def _laid(name: str, matches: Iterable[Match], slices: dict[str, torch.Tensor]) -> Iterator[Pair]:
    for match in matches:
        moving = slices["T2"][[match.t2]].float()
        over = laid_over(moving, match.transform[None])[0, 0]
        yield Pair(name, match.agreement, slices["T1"][match.t1, 0].float(), over)


def write_pairs(out: Path, pairs: Iterable[Pair]) -> list[tuple[float, str]]:
    """Write pairs as PNG files of equal names, and the table.

    Returns:
        (agreement, name) of each, the least first.
    """
    numbers: Counter[str] = Counter()
    rows = []
    for pair in pairs:
        source = pair.source.split("/")[-1].replace("_", "-")  # known and found ones count as one
        numbers[source] += 1
        name = f"{source}_{numbers[source]:04}.png"  # train.py takes what is before the _ as source
        for contrast, image in zip(CONTRASTS, (pair.t1, pair.t2), strict=True):
            grey = (255 * image).round().byte().numpy()
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
    found = []
    if options.data:
        dataset = SliceDataset.load(options.data, finer, _bar("reading"), options.cache)
        found = list(found_pairs(translator, dataset))
        yield from found
    if not options.pairs:
        return
    paired = PairedSlices.load(options.pairs, finer, _bar("reading pairs"), options.cache)
    known = list(known_pairs(translator, paired))
    again = copies(_alone(known), _alone(found)).tolist()
    yield from (pair for pair, seen in zip(known, again, strict=True) if not seen)


def _alone(pairs: Sequence[Pair]) -> torch.Tensor:
    """The T1 of each, framed without regard to the T2: (N, 1, S, S)."""
    images = [pair.t1.numpy() for pair in pairs]
    framed = [Frame.fit(image, len(image)).apply(image[None]) for image in images]
    return torch.cat(framed) if framed else torch.empty(0, 1, 4, 4)


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
    parser.add_argument("--cache", metavar="DIR", help="keep decoded slices in this folder instead "
                        "of in memory")  # fmt: skip
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
