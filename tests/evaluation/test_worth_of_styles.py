"""A style's worth is measured without its answer: never from the slice that is asked for."""

import numpy as np
import pytest

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


def outputs(kind, to):
    predict = with_styles(Telltale(), PAIRS, kind)
    other = "T1" if to == "T2" else "T2"
    return [predict(p.images[other], to)[0, 0] for p in PAIRS]


def test_own_styles_come_from_the_other_slices_of_the_source():
    assert outputs("own", "T2") == pytest.approx([40, 35, 15, np.nan], nan_ok=True)
    assert outputs("own", "T1") == pytest.approx([41, 36, 16, np.nan], nan_ok=True)


def test_wrong_styles_come_from_another_source():
    assert outputs("wrong", "T2") == pytest.approx([7, 7, 7, 30])


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="own and wrong"):
        with_styles(Telltale(), PAIRS, "good")
