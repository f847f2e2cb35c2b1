"""What a name says of an MR image: of a series, a protocol, a file or a folder, in any spelling.

Names are read as whole words ("POST FOSSA" is no contrast agent, "SWITZERLAND" no SWI), in the
languages that scanners are set to; a negation before or behind the agent takes it back.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

_PATTERNS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_NAMED = {name: "|".join(words) for name, words in _PATTERNS.pop("contrasts").items()}
_FOREIGN, _SIGNS, _SPLIT = (_PATTERNS.pop(name) for name in ("foreign", "signs", "split"))
_PATTERNS = {name: "|".join(words) for name, words in _PATTERNS.items()}
_T1, _AGENT, _NOT, _NATIVE = (_PATTERNS[name] for name in ("t1", "agent", "not", "native"))
_SIGNS = [(p.replace("AGENT", f"(?:{_PATTERNS['agent_beside_sign']})"), r) for p, r in _SIGNS]
_AND, _LINK = (f"(?:{_PATTERNS[name]})" for name in ("and", "link"))

FLAIR, DIFFUSION, ANGIOGRAPHY = "FLAIR", "diffusion-weighted", "angiography"
ENHANCED, PROTON_DENSITY = "post-contrast", "proton density"
SUSCEPTIBILITY = "susceptibility-weighted"
DUAL = "dual echo"

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z][a-z]|[A-Z]{2})|(?<=[A-Z]{3})(?=[A-Z][a-z]{3})")
# Entities of BIDS that name no contrast of the image itself.
_ENTITY = re.compile(r"(?:^|(?<=[_/\\ ]))(?:sub|ses|run|space|from|to|mode|rec|res)-[a-z0-9]+")
_VERTEBRA = re.compile(r"\bc\d\s*-\s*t[12]\b")
_LETTERS = str.maketrans({"ø": "o", "æ": "ae", "ł": "l", "đ": "d", "ı": "i"})


@dataclass(frozen=True)
class NameFacts:
    """What one name says.

    Attributes:
        weights: those of "T1" and "T2" that it names.
        others: contrasts beside them that it names, the most telling first, such as "FLAIR".
        is_special: whether it names a technique that is no plain T1 or T2 (fat suppression, EPI).
        agent: whether it says with or without contrast agent; None for neither, or both.
        is_label_map: whether it names a mask, a segmentation or an atlas.
    """

    weights: frozenset[str] = frozenset()
    others: tuple[str, ...] = ()
    is_special: bool = False
    agent: bool | None = None
    is_label_map: bool = False

    @property
    def tells(self) -> bool:
        """Whether it says anything of the contrast, the agent aside."""
        return bool(self.weights or self.others or self.is_special or self.is_label_map)

    @property
    def contrast(self) -> str | None:
        """ "T1" or "T2" where the name says so and nothing else, or None."""
        spoiled = self.others or self.is_special or self.is_label_map or self.agent
        return next(iter(self.weights)) if len(self.weights) == 1 and not spoiled else None

    @property
    def rank(self) -> int:
        """0 for a plain T1 or T2, 1 for a name that tells nothing, 2 for any other contrast."""
        if self.contrast:
            return 0
        return 2 if self.tells or self.agent else 1


def read_name(text: str) -> NameFacts:
    """Read one name; words count wherever case, digits or underscores part them."""
    words = _words(text)
    weights = {"T1"} if _has(_T1, words) else set()
    weights |= {"T2"} if re.search(r"\bt2\b(?! star(?:w|weighted)?\b)", words) else set()
    others = [name for name, pattern in _NAMED.items() if _has(pattern, words)]
    if FLAIR in others and "T1" in weights and "T2" not in weights and _is_t1_flair(words):
        others.remove(FLAIR)
    if _has(r"dual|double echo|pd ?t2|t2 pd", words):
        others.append(DUAL)
    is_special, is_label_map = (_has(_PATTERNS[name], words) for name in ("special", "labels"))
    return NameFacts(frozenset(weights), tuple(others), is_special, _agent(words), is_label_map)


def read_names(texts: Iterable[str]) -> NameFacts:
    """What several names of one image say together: the first that tells the contrast is
    believed, and the first that tells of the agent."""
    facts = [read_name(text) for text in texts if text]
    telling = next((fact for fact in facts if fact.tells), NameFacts())
    agent = next((fact.agent for fact in facts if fact.agent is not None), None)
    return replace(telling, agent=agent)


def contrast_in_name(name: str) -> str | None:
    """ "T1" or "T2" where a name of a series, file or folder says so and nothing else, or None."""
    return read_name(name).contrast


def negates_agent(text: str) -> bool:
    """Whether a field for the contrast agent says that there was none."""
    words = _words(text).strip()
    return bool(re.fullmatch(rf"(?:{_NOT}|{_NATIVE}|n a|0|0 ?ml|-)?", words)) or (
        _agent(words) is False
    )


def _has(pattern: str, words: str) -> bool:
    return re.search(rf"\b(?:{pattern})\b", words) is not None


def _words(text: str) -> str:
    """The words of a name in lower case without accents, one blank between them; signs that tell
    of the agent as words."""
    text = re.sub(r"(\.nii|\.img|\.hdr)?(\.gz|\.[a-z]{3,5})?$", "", text, flags=re.IGNORECASE)
    text = _CAMEL.sub(" ", text)
    text = unicodedata.normalize("NFKD", text.casefold())
    text = "".join(c for c in text if not unicodedata.combining(c)).translate(_LETTERS)
    for foreign, ours in _FOREIGN:
        text = text.replace(foreign, ours)
    text = _VERTEBRA.sub(" ", _ENTITY.sub(" ", text)).replace("_", " ")
    for pattern, ours in _SIGNS:
        text = re.sub(pattern, ours, text)
    words = " ".join(re.findall(r"\w+", text))
    for pattern, ours in _SPLIT:
        words = re.sub(pattern, ours, words)
    return f" {words} "


def _is_t1_flair(words: str) -> bool:
    """Whether FLAIR is the T1 FLAIR of GE: an inversion recovery that keeps fluid dark anyway."""
    return re.search(rf"\b(?:{_T1})\b.*\b(?:flair|tirm|dark|da fl)", words) is not None


def _agent(words: str) -> bool | None:
    """Whether a name says with (True) or without contrast agent, or None."""
    words = re.sub(
        r"\b(?:phase|multi|dual|soft|tissue|high|low|edge|flow|image) (?:contrast|enh)\w*",
        " ",
        words,
    )
    words = re.sub(rf"\b(?:post|pre)(?= (?:{_PATTERNS['event']})\b)", " ", words)
    words = re.sub(rf"\b({_PATTERNS['before_post']}) post\b", r"\1", words)
    without = rf"(?:{_NOT}|{_NATIVE})"
    one_with = rf"(?:{_PATTERNS['with']})(?: {_LINK})?"
    for both in (
        rf"\b{without}(?: {_AND})? (?:with|w|mit|avec|con|com|met|med|post|nach)\b(?! ?o\b)",
        rf"\b(?:with|w|mit|avec|con|com|met|med|post|nach)(?: {_AND})? (?!no\b)(?:{_NOT})\b(?! \d)",
        rf"\b(?:{_NATIVE})(?: {_AND})? (?:{_AGENT})\b",
    ):
        if re.search(both, words):
            return None
    negated = rf"\b(?:{_NOT})(?: {_LINK})* (?:{_AGENT})\b"
    behind = rf"\b(?:{_AGENT}) (?:without|wo|sans|ohne|no|non|none|nil|neg|negative?)\b"
    if _has(_NATIVE, words) or re.search(negated, words) or re.search(behind, words):
        return False
    if re.search(r"\bpre\b", words):
        return False
    if _has(_AGENT, words) or re.search(rf"\b{one_with} (?:iv|c)\b(?! \d)", words):
        return True
    if re.search(rf"\bpost(?: (?:{_PATTERNS['plain_word']})\b)* *$", words):
        return True
    follows = re.search(r"\bpost \w", words)
    return True if follows and _has(_T1, words) else None
