"""Truth laid over the source, where the two scans of a pair do not lie on each other.

Pairs of two scans are registered to a pixel or two, and a translation lies where its source does:
what it loses against a truth beside it says nothing of the translation. Here six affine parameters
bring the truth over the source, by way of the translations of one set of weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from cyclegan import OTHER
from cyclegan.judging.pairs import Pair, to_unit
from cyclegan.model.preprocess import Frame
from cyclegan.model.registration import Views, laid_over, register
from cyclegan.model.translator import Translator


def with_laid_truth(pairs: Iterable[Pair], translator: Translator) -> list[Pair]:
    """The pairs with `laid` truths for both directions.

    Args:
        translator: what it makes of both slices is compared with them. Judge other weights by the
            same one.
    """
    return [replace(pair, laid=_laid(pair, translator)) for pair in pairs]


def _laid(pair: Pair, translator: Translator) -> dict[str, np.ndarray]:
    units = {c: to_unit(image) for c, image in pair.images.items()}
    height, width = units["T1"].shape
    whole = Frame(height, width, 0, 0, max(height, width), max(height, width))
    square = {c: whole.apply(image[None]) for c, image in units.items()}
    views = {
        c: Views(
            _on_grid(square[c], translator.size),
            _on_grid(whole.apply(translator.translate(units[c], OTHER[c])[None]), translator.size),
        )
        for c in units
    }
    laid = {}
    for to, given in OTHER.items():
        transforms, _ = register(views[given], views[to])
        laid[to] = whole.restore(laid_over(square[to], transforms))[0]
    return laid


def _on_grid(square: torch.Tensor, size: int) -> torch.Tensor:
    return F.interpolate(square, (size, size), mode="bilinear", antialias=True)
