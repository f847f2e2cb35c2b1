"""What the page says of the input: does it look like what the chosen direction wants?"""

from __future__ import annotations

from dataclasses import dataclass
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


WORDS = (FITS, DOUBTFUL, UNLEARNT)  # from good to bad


class Fit(NamedTuple):
    """Whether an input is what the direction wants: one of `WORDS`, and why."""

    word: str
    sentence: str

    @property
    def rank(self) -> int:
        """Higher is worse."""
        return WORDS.index(self.word)


@dataclass(frozen=True)
class InputWarning:
    """A line above the panels; it warns and never blocks.

    Attributes:
        text: plain sentences.
        warns: whether something speaks against the translation.
        switch_to: the contrast to translate to instead, or None.
        learnt: whether it is what the model learnt to translate, as far as is known.
    """

    text: str
    warns: bool
    switch_to: str | None = None
    learnt: bool = True

    @property
    def fit(self) -> Fit:
        """In a word or two."""
        word = WORDS[0 if not self.warns else 1 if self.learnt else 2]
        return Fit(word, self.text)


def input_warning(
    check: Assessment | None,
    hint: str | None,
    to: str,
    missing: str = "",
    *,
    other: str | None = None,
) -> InputWarning:
    """Put the input check, the header and the chosen direction side by side.

    Args:
        check: of the pixels; None when the weights have no input check.
        hint: "T1" or "T2" as the header suggests, or None.
        to: the contrast to translate to.
        missing: why there is no check.
        other: a contrast that is neither, as the header names it, or None.
    """
    source = OTHER[to]
    header = f"The header suggests {hint}." if hint else ""
    if other:
        header = f"The header says {other}, which the model does not know."
        if other == "post-contrast" and (check is None or check.kind != "T1POST"):
            header = f"{header} {ENHANCED}"
    chosen = f"The chosen direction is {source} → {to}."
    if check is None:
        words = f"Not checked: {missing or 'these weights have no input check'}."
        if hint == to:
            return InputWarning(_joined(words, header, chosen), True, OTHER[hint])
        return InputWarning(_joined(words, header), True)
    if check.to is None:
        words = ENHANCED if check.kind == "T1POST" else UNKNOWN
        return InputWarning(_joined(check.sentence, words, header), True, learnt=False)
    differs = hint is not None and hint != check.label
    if not other:
        header = f"{header[:-1]}: look for yourself." if differs else ""
    if check.contradicts(to):
        return InputWarning(_joined(check.sentence, header, chosen), True, check.to, learnt=False)
    return InputWarning(_joined(check.sentence, header), differs or other is not None)


def simulated_warning(contrast: str | None, to: str) -> InputWarning:
    """Of an example, whose contrast is known."""
    if contrast == to:
        words = f"This head is a drawn {contrast}; the chosen direction is {OTHER[to]} → {to}."
        return InputWarning(words, True, OTHER[to], learnt=False)
    return InputWarning(f"A drawn head, shown as {contrast}.", False)


def preset(check: Assessment | None, hint: str | None, to: str) -> str:
    """The direction to open with: by the pixels, else by the header, else as it was."""
    if check is not None and check.to is not None:
        return check.to
    return OTHER.get(hint, to)


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
