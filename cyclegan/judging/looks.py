"""What a look is worth: predictors that are given one, beside those that have to guess it.

A reference from the very slice that is asked for could carry its answer, so a person's own look
comes from the person's other slices, and a wrong one from another source.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cyclegan import CONTRASTS, OTHER
from cyclegan.judging.evaluation import Predictor
from cyclegan.judging.pairs import Pair
from cyclegan.model.look import Look, mean_look
from cyclegan.model.translator import Translator

KINDS = ("own", "wrong")


def with_looks(translator: Translator, pairs: Sequence[Pair], kind: str) -> Predictor:
    """`Translator.translate` with a look for each slice of `pairs`.

    Args:
        translator: of weights that know looks.
        pairs: all that will be asked for.
        kind: "own" for the mean look of the other slices of the source, none where there is one
            slice only; "wrong" for the look of the next source by name.

    Raises:
        ValueError: no such kind, or weights without looks.
    """
    if kind not in KINDS:
        raise ValueError(f'"{kind}": the looks are {" and ".join(KINDS)}')
    sources = sorted({pair.source for pair in pairs})
    members = {s: [p for p in pairs if p.source == s] for s in sources}
    after = dict(zip(sources, [*sources[1:], sources[0]], strict=True))
    chosen: dict[tuple[str, bytes], Look | None] = {}
    for to in CONTRASTS:
        looks = {p.name: translator.look(p.images[to], to) for p in pairs}
        for pair in pairs:
            if kind == "own":
                held = [p for p in members[pair.source] if p.name != pair.name]
            else:
                held = [p for p in members[after[pair.source]] if p.source != pair.source]
            look = mean_look([looks[p.name] for p in held], kind) if held else None
            chosen[to, pair.images[OTHER[to]].tobytes()] = look

    def predict(image: np.ndarray, to: str) -> np.ndarray:
        return translator.translate(image, to, look=chosen[to, image.tobytes()])

    return predict
