"""A style's worth is measured without its answer: never from the slice that is asked for."""

import numpy as np
import pytest

from cyclegan import OTHER
from cyclegan.evaluation.pairs import Pair
from cyclegan.evaluation.scores import with_styles
from cyclegan.model.style import Style


class Telltale:
    """A translator whose style is a slice's mean, and whose translation is its style."""

    def style(self, image, contrast):
        return Style(contrast, (float(image.mean()),), "weights")

    def translate(self, image, to, *, style=None):
        return np.full(image.shape, np.nan if style is None else style.code[0])


def pair(name, value):
    return Pair(name, {c: np.full((16, 16), value + (c == "T1"), float) for c in ("T1", "T2")})


VALUES = {"anna_1": 10, "anna_2": 20, "anna_3": 60, "ben_1": 7}
PAIRS = [pair(f"{name}.png", value) for name, value in VALUES.items()]


@pytest.mark.parametrize(
    ("kind", "to", "codes"),
    [
        ("own", "T2", [40, 35, 15, np.nan]),  # of the other slices of the source
        ("own", "T1", [41, 36, 16, np.nan]),
        ("wrong", "T2", [7, 7, 7, 30]),  # of another source
    ],
)
def test_a_style_comes_from_other_slices(kind, to, codes):
    predict = with_styles(Telltale(), PAIRS, kind)
    outputs = [predict(p.images[OTHER[to]], to)[0, 0] for p in PAIRS]
    assert outputs == pytest.approx(codes, nan_ok=True)
