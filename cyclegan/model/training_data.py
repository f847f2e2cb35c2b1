"""What weights learnt from, in words, as their config records it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def told_data(config: dict[str, Any]) -> str:
    """The data sources as part of a sentence, "" when none are recorded.

    Args:
        config: of the weights; its `training` names `sources` of unpaired slices and
            `paired_sources`, and what slices were `simulated_from`, of these weights and of those
            that they started from.
    """
    training = config.get("training") or {}
    sources, paired = training.get("sources") or [], training.get("paired_sources") or []
    stripped = ", stripped"  # how `slices.stripped_copies` calls them
    told = {str(source).rsplit("/", 1)[-1] for source in sources}
    names = sorted({name.removesuffix(stripped) for name in told})
    pairs = sorted({str(source).rsplit("/", 1)[-1] for source in paired})
    parts = []
    if names:
        again = sum(name.endswith(stripped) for name in told)
        also = f"; those of {again} also with the skull removed" if again else ""
        parts.append(f"axial slices of {_listed(names)}{also}, unmatched")
    if pairs:
        parts.append(f"T1 and T2 of the same slices of {_listed(pairs)}")
    if origins := training.get("simulated_from"):
        parts.append(f"slices simulated from {_listed(sorted(origins))}")
    return "; ".join(parts)


def _listed(names: Sequence[str]) -> str:
    """Names as a part of a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
