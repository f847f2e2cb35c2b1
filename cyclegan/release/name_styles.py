"""Save the styles of training sources with the weights, under names that the page then offers.

    python -m cyclegan.release.name_styles --data DIR [...] --name SOURCE=NAME [...] --weights W

DIR is laid out as for train.py. Writes styles.json into the weights folder: the mean code of each
named source and contrast, and how the codes of all slices are spread. It holds the checksum of the
weights, as a code is worth nothing for others. No image is in it. `--default T2=0.66` also writes
into config.json what the translator uses where no style is given: that share of the mean code of
all T2 slices, where 0 is what the generator infers from the source. Choose it on validation pairs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from tqdm import tqdm

from cyclegan import CONTRASTS
from cyclegan.data.dataset import SliceDataset
from cyclegan.model.checkpoint import write_config
from cyclegan.model.hub import weights_folder
from cyclegan.model.style import KnownStyles, Style
from cyclegan.model.translator import Translator

BATCH = 16


def known_styles(
    translator: Translator, dataset: SliceDataset, names: dict[str, str]
) -> KnownStyles:
    """Measure every slice of a data set.

    Args:
        translator: of weights that know styles.
        dataset: framed slices.
        names: data source, or the last part of its name -> what users see. The styles of sources
            with the same name are averaged slice by slice.

    Raises:
        ValueError: a source that is not in the data, or weights without styles.
    """
    if not translator.has_styles:
        raise ValueError(f"version {translator.version} of the weights knows no styles")
    keys = [names.get(n, names.get(n.split("/")[-1])) for n in dataset.names]
    missing = [n for n in names if not any(n in (d, d.split("/")[-1]) for d in dataset.names)]
    if missing:
        raise ValueError(f"no data source {missing[0]}; there are {', '.join(dataset.names)}")
    named, centre, deviation = [], {}, {}
    for contrast in CONTRASTS:
        codes = _codes(translator, dataset, contrast)
        shown = np.array([keys[source] or "" for source in dataset.sources[contrast]])
        for name in dict.fromkeys(names.values()):
            own = codes[shown == name]
            if len(own):
                code = tuple(_round(own.mean(0)))
                named.append(Style(contrast, code, translator.checksum, name))
        centre[contrast], deviation[contrast] = _round(codes.mean(0)), _round(codes.std(0))
    return KnownStyles(tuple(named), centre, deviation)


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
        prog="python -m cyclegan.release.name_styles", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="training folders, "
                        "laid out as for train.py")  # fmt: skip
    parser.add_argument("--name", nargs="*", default=[], metavar="SOURCE=NAME", help="data source, "
                        "and what the page calls its style (default: as before)")  # fmt: skip
    parser.add_argument("--default", nargs="*", default=[], metavar="CONTRAST=SHARE", help="share "
                        "of the mean style to use by default (default: as it is)")  # fmt: skip
    parser.add_argument(
        "--weights",
        default="weights",
        metavar="W",
        help="weights folder; styles.json is written there",
    )
    options = parser.parse_args(arguments)
    names = dict(text.split("=", 1) for text in options.name if "=" in text)
    if len(names) != len(options.name):
        parser.error("--name takes SOURCE=NAME")
    try:
        shares = {to: float(share) for to, share in (t.split("=") for t in options.default)}
    except ValueError:
        parser.error("--default takes CONTRAST=SHARE, for example T2=0.66")
    if not set(shares) <= set(CONTRASTS):
        parser.error(f"--default takes the contrasts {' and '.join(CONTRASTS)}")
    try:
        translator = Translator.from_pretrained(options.weights)
        dataset = SliceDataset.load(
            options.data, translator.size, lambda f: tqdm(f, leave=False, disable=None)
        )
        styles = known_styles(translator, dataset, names)
        folder = weights_folder(options.weights)
        if not names:  # those of before stay
            before = KnownStyles.from_pretrained(folder, translator.checksum)
            styles = replace(styles, named=before.named)
        styles.save(folder, translator.checksum)
        if shares:
            default = {
                to: _round(share * np.array(styles.centre[to])) for to, share in shares.items()
            }
            config = translator.config
            config["default_style"] = config.get("default_style", {}) | default
            write_config(folder, config)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    for style in styles.named:
        print(f"{style.contrast} {style.name}")


if __name__ == "__main__":
    main()
