"""How soon a recipe reaches its quality: scores at fixed marks of the training's own clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import nn

from cyclegan import OTHER
from cyclegan.judging.evaluation import evaluate
from cyclegan.model.translator import Translator
from cyclegan.training.reference_recipe import ReferenceRecipe
from cyclegan.training.trainer import Trainer

Generators = dict[str, nn.Module]  # wanted contrast -> network


class Mark(NamedTuple):
    """The scores of a recipe after `minutes` of training.

    `ssim`: wanted contrast -> masked SSIM, mean over sources; `lesions`: the share of them in which
    the synthetic T2 keeps half of the true contrast, NaN where the pairs have no masks.
    """

    recipe: str
    minutes: float
    steps: int
    ssim: dict[str, float]
    lesions: float


def scores_over_time(
    recipe: str,
    step: Callable[[float], object],
    generators: Generators,
    marks: Sequence[float],
    pairs: Path,
    size: int,
    every: int,
) -> Iterator[Mark]:
    """Train until the last mark, and score at each; scoring does not count as training.

    Args:
        step: makes one step of the recipe; is told the seconds trained so far.
        generators: that `step` trains.
        marks: minutes, ascending.
        pairs: folder, as `evaluate` takes it.
        size: of the networks' grid.
        every: takes each n-th pair only.
    """
    seconds, steps = 0.0, 0
    for minutes in marks:
        while seconds < 60 * minutes:
            started = time.monotonic()
            step(seconds)
            seconds, steps = seconds + time.monotonic() - started, steps + 1
        training = [network.training for network in generators.values()]
        found = _scores(generators, pairs, size, every)
        for network, mode in zip(generators.values(), training, strict=True):
            network.train(mode)
        yield Mark(recipe, seconds / 60, steps, *found)


def our_step(trainer: Trainer) -> Callable[[float], None]:
    """A step of our recipe, which follows the clock: stages and learning rates are shares of it."""

    def step(seconds: float) -> None:
        trainer.seconds = seconds
        trainer.train_step()
        trainer.step += 1

    return step


def reference_step(reference: ReferenceRecipe) -> Callable[[float], None]:
    """A step of Zhu et al. 2017, whose learning rate is still constant in such a time."""
    return lambda seconds: reference.train_step()


def _scores(
    generators: Generators, pairs: Path, size: int, every: int
) -> tuple[dict[str, float], float]:
    device = next(generators["T2"].parameters()).device
    identity = {"size": size, "version": "training", "sha256": ""}
    translator = Translator(generators, identity, device=device)
    scores = evaluate(pairs, {"it": translator.translate}, every)["predictors"]["it"]
    lesions = scores.get("lesions") or {}
    kept = lesions.get("kept")
    return {to: scores[to]["mean"]["ssim"] for to in OTHER}, math.nan if kept is None else kept


def as_table(marks: Sequence[Mark]) -> str:
    """A Markdown table: a row for each mark, recipes one after another."""
    rows = [
        "| recipe | minutes | steps | SSIM T1 → T2 / T2 → T1 | lesions kept |",
        "|---|---|---|---|---|",
    ]
    for mark in marks:
        ssim = " / ".join(f"{mark.ssim[to]:.3f}" for to in OTHER)
        kept = "-" if math.isnan(mark.lesions) else f"{mark.lesions:.0%}"
        rows.append(f"| {mark.recipe} | {mark.minutes:.1f} | {mark.steps} | {ssim} | {kept} |")
    return "\n".join(rows)
