"""Does the input look like what the chosen direction needs? A word, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cyclegan import OTHER
from cyclegan.trust.checks import DOUBTFUL, FITS, UNLEARNT

if TYPE_CHECKING:
    from cyclegan.trust.checks import Assessment

UNKNOWN = (
    "The model knows axial T1 and T2 only; of anything else it makes a picture that may look "
    "plausible and means nothing."
)
ENHANCED = (
    "The model takes what contrast agent brightens for fat or blood: enhancing tumour, vessels and "
    "meninges may come out dark in a synthetic T2, where a real one shows them grey or bright. "
    "Choose the series from before the agent."
)
OUTSIDE = (
    "Its outermost slices show neck, face or the top of the head: outside of what training saw."
)


class Fit(NamedTuple):
    """Whether an input is what the direction needs.

    Attributes:
        word: `FITS`, `DOUBTFUL` or `UNLEARNT`.
        sentence: why, in one or more sentences.
        switch_to: the contrast to translate to instead, or None.
        asks: whether the translation waits until the user wants it in spite of this. An input that
            is hard to classify is doubtful, and translated all the same.
    """

    word: str
    sentence: str
    switch_to: str | None = None
    asks: bool = False

    @property
    def warns(self) -> bool:
        """Whether something speaks against the translation."""
        return self.word != FITS

    @property
    def rank(self) -> int:
        """Higher is worse."""
        return (FITS, DOUBTFUL, UNLEARNT).index(self.word)


def input_fit(
    check: Assessment | None,
    hint: str | None,
    to: str,
    unchecked: str = "",
    other: str | None = None,
) -> Fit:
    """Compare the input check, the header and the chosen direction.

    Args:
        check: of the pixels; None when the weights have no input check.
        hint: "T1" or "T2" as the header suggests, or None.
        to: the contrast to translate to.
        unchecked: why there is no check.
        other: a contrast that is neither, as the header names it, or None.
    """
    header = f"The header suggests {hint}." if hint else ""
    if other:
        header = f"The header says {other}, which the model does not know."
        if other == "post-contrast" and (check is None or check.kind != "T1POST"):
            header = f"{header} {ENHANCED}"
    direction = f"The chosen direction is {OTHER[to]} → {to}."
    if check is None:
        sentence = f"Not checked: {unchecked or 'these weights have no input check'}."
        contradicts = hint == to
        sentence = _joined(sentence, header, direction if contradicts else "")
        return Fit(DOUBTFUL, sentence, OTHER[hint] if contradicts else None, asks=True)
    if check.to is None:
        unknown = ENHANCED if check.kind == "T1POST" else UNKNOWN
        return Fit(UNLEARNT, _joined(check.sentence, unknown, header), asks=True)
    if check.contradicts(to):
        differs = header if other or hint != check.label else ""
        sentence = _joined(check.sentence, differs, direction)
        return Fit(UNLEARNT, sentence, check.to, asks=True)
    outside = OUTSIDE if check.outside else ""
    if other:
        return Fit(DOUBTFUL, _joined(check.sentence, outside, header), asks=True)
    if hint is not None and hint != check.label:
        disagrees = f"{header[:-1]}: look for yourself."
        return Fit(DOUBTFUL, _joined(check.sentence, outside, disagrees), asks=True)
    return Fit(check.fit, _joined(check.sentence, outside))


def simulated_fit(contrast: str | None, to: str) -> Fit:
    """Of an example, whose contrast is known."""
    if contrast == to:
        sentence = f"This head is a drawn {contrast}; the chosen direction is {OTHER[to]} → {to}."
        return Fit(UNLEARNT, sentence, OTHER[to], asks=True)
    return Fit(FITS, f"A drawn head, shown as {contrast}.")


def slice_fit(check: Assessment, to: str) -> Fit:
    """Of one slice by itself; the check of a series looks at its middle alone."""
    word = DOUBTFUL if check.fit == FITS and check.contradicts(to) else check.fit
    return Fit(word, check.sentence if word == FITS else f"This slice by itself: {check.sentence}")


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
