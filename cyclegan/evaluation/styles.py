"""What a style is worth: predictors that follow one, beside those that have to guess it.

A reference from the very slice that is to be made could carry its truth, so a subject's own style
comes from the subject's other slices, and a wrong one from another source.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cyclegan import CONTRASTS, OTHER
from cyclegan.evaluation.pairs import Pair
from cyclegan.evaluation.scores import Predictor
from cyclegan.model.style import Style, mean_style
from cyclegan.model.translator import Translator

KINDS = ("own", "wrong")


def with_styles(translator: Translator, pairs: Sequence[Pair], kind: str) -> Predictor:
    """`Translator.translate` with a style for each slice of `pairs`.

    Args:
        translator: of weights that know styles.
        pairs: all that will be asked for.
        kind: "own" for the mean style of the other slices of the source, none where there is one
            slice only; "wrong" for the style of the next source by name.

    Raises:
        ValueError: no such kind, or weights without styles.
    """
    if kind not in KINDS:
        raise ValueError(f'"{kind}": the styles are {" and ".join(KINDS)}')
    sources = sorted({pair.source for pair in pairs})
    after = dict(zip(sources, [*sources[1:], sources[0]], strict=True))
    chosen: dict[tuple[str, bytes], Style | None] = {}
    for to in CONTRASTS:
        styles = {p.name: translator.style(p.images[to], to) for p in pairs}
        for pair in pairs:
            of_others = [p for p in pairs if p.source == after[pair.source] != pair.source]
            own = [p for p in pairs if p.source == pair.source and p.name != pair.name]
            others = own if kind == "own" else of_others
            style = mean_style([styles[p.name] for p in others], kind) if others else None
            chosen[to, pair.images[OTHER[to]].tobytes()] = style

    def predict(image: np.ndarray, to: str) -> np.ndarray:
        return translator.translate(image, to, style=chosen[to, image.tobytes()])

    return predict
