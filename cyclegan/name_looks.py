"""Keep the looks of training sources beside the weights, under names that readers understand.

    python -m cyclegan.name_looks --data DIR [DIR ...] --name SOURCE=NAME [...] --weights weights

DIR is laid out as for train.py. Writes looks.json into the weights folder: the mean code of each
named source and contrast, and how the codes of all slices are spread. It holds the checksum of the
weights, as a code is worth nothing for others. No image is in it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm

from cyclegan import CONTRASTS
from cyclegan.model.look import KnownLooks, Look
from cyclegan.model.translator import Translator
from cyclegan.slices.data import SliceDataset

BATCH = 16


def known_looks(translator: Translator, dataset: SliceDataset, names: dict[str, str]) -> KnownLooks:
    """Measure every slice of a data set.

    Args:
        translator: of weights that know looks.
        dataset: framed slices.
        names: data source, or the last part of its name -> what readers see. The looks of sources
            with the same name are averaged slice by slice.

    Raises:
        ValueError: a source that is not in the data, or weights without looks.
    """
    if not translator.has_looks:
        raise ValueError(f"version {translator.version} of the weights knows no looks")
    keys = [names.get(n, names.get(n.split("/")[-1])) for n in dataset.names]
    missing = [n for n in names if not any(n in (d, d.split("/")[-1]) for d in dataset.names)]
    if missing:
        raise ValueError(f"no data source {missing[0]}; there are {', '.join(dataset.names)}")
    named, centre, deviation = [], {}, {}
    for contrast in CONTRASTS:
        codes = _codes(translator, dataset, contrast)
        shown = np.array([keys[source] or "" for source in dataset.sources[contrast]])
        for name in dict.fromkeys(names.values()):
            mine = codes[shown == name]
            if len(mine):
                code = tuple(_round(mine.mean(0)))
                named.append(Look(contrast, code, translator.checksum, name))
        centre[contrast], deviation[contrast] = _round(codes.mean(0)), _round(codes.std(0))
    return KnownLooks(tuple(named), centre, deviation)


@torch.inference_mode()
def _codes(translator: Translator, dataset: SliceDataset, contrast: str) -> np.ndarray:
    """(N, numbers), of every slice of a contrast."""
    encoder, slices = translator.generators[contrast].style_encoder, dataset.slices[contrast]
    starts = tqdm(range(0, len(slices), BATCH), desc=contrast, leave=False, disable=None)
    parts = [
        encoder(slices[np.arange(s, min(s + BATCH, len(slices)))].float().to(translator.device))
        for s in starts
    ]
    return torch.cat(parts).cpu().numpy()


def _round(values: np.ndarray) -> list[float]:
    return [round(float(v), 4) for v in values]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan.name_looks", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR")
    parser.add_argument("--name", nargs="*", default=[], metavar="SOURCE=NAME")
    parser.add_argument("--weights", default="weights", metavar="W", help="folder; gets looks.json")
    options = parser.parse_args(arguments)
    names = dict(text.split("=", 1) for text in options.name if "=" in text)
    if len(names) != len(options.name):
        parser.error("--name takes SOURCE=NAME")
    try:
        translator = Translator.from_pretrained(options.weights)
        dataset = SliceDataset.load(
            options.data, translator.size, lambda f: tqdm(f, leave=False, disable=None)
        )
        looks = known_looks(translator, dataset, names)
        looks.save(options.weights, translator.checksum)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    for look in looks.named:
        print(f"{look.contrast} {look.name}")


if __name__ == "__main__":
    main()
