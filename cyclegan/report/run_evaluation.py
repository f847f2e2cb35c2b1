"""Validation while a run goes on, and the final evaluation with its worst cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from PIL import Image
from torch import nn

from cyclegan import OTHER
from cyclegan.evaluation.pairs import load_pairs, to_unit
from cyclegan.evaluation.scores import BASELINES, evaluate
from cyclegan.model.translator import Translator
from cyclegan.report.runlog import EVALUATION, MODEL, write_json

EVERY = 3  # pair that validation takes while training runs
WORST = 6  # cases that are shown; half of them for each direction
LARGEST_ERROR = 0.5  # white in the error maps, as in `evaluate.draw_figure`


def make_validation(pairs: Path) -> Callable[[dict[str, nn.Module], dict[str, Any]], dict]:
    """A function that scores generators on every `EVERY`-th pair, as `Trainer` calls it.

    It takes generators (target contrast -> network) and `Trainer.weights_config()`, and returns
    "T2 ssim", "T2 psnr", "T2 ssim SOURCE" and the same for T1.

    Raises:
        PairsError: no usable pairs; now, and not at the first validation hours later.
    """
    loaded, _ = load_pairs(pairs, EVERY)

    def validate(generators: dict[str, nn.Module], config: dict[str, Any]) -> dict[str, float]:
        device = next(generators["T2"].parameters()).device
        translator = Translator(
            generators, config | {"version": "training", "sha256": ""}, device=device
        )
        scores = evaluate(loaded, {MODEL: translator.translate})["predictors"][MODEL]
        flat = {
            f"{to} {name}": scores[to]["mean"][name] for to in OTHER for name in ("ssim", "psnr")
        }
        for to in OTHER:
            flat |= {f"{to} ssim {k}": v["ssim"] for k, v in scores[to]["sources"].items()}
        return flat

    return validate


def final_evaluation(pairs: str | Path, out: Path) -> dict[str, Any]:
    """Score `out/weights` and the baselines on all pairs, and draw the worst cases.

    Args:
        pairs: as `evaluate` takes it.
        out: folder of the run; `evaluation.json` and `worst/` are written into it.

    Returns:
        What `evaluate` returns, with the name of the `pairs`, what `load_pairs` `skipped`, and
        `worst`: dicts of `name`, `to`, `ssim` and `image`, a PNG file below `out` with source,
        translation, truth and error side by side.

    Raises:
        CheckpointError, PairsError: as `Translator.from_pretrained` and `evaluate`.
    """
    translate = Translator.from_pretrained(out / "weights").translate
    loaded, skipped = load_pairs(pairs)
    result = evaluate(loaded, BASELINES | {MODEL: translate})
    # The name alone: not where it lies on this machine.
    result |= {"pairs": Path(pairs).resolve().name, "skipped": skipped, "worst": []}
    (out / "worst").mkdir(exist_ok=True)
    for to, contrast in OTHER.items():
        scores = result["predictors"][MODEL][to]["slices"]
        ranked = sorted(loaded, key=lambda pair: scores[pair.name]["ssim"])
        for pair in ranked[: WORST // 2]:
            image = f"worst/{len(result['worst'])}.png"
            source, truth = to_unit(pair.images[contrast]), to_unit(pair.images[to])
            _panels(source, translate(pair.images[contrast], to), truth).save(out / image)
            ssim = scores[pair.name]["ssim"]
            result["worst"].append({"name": pair.name, "to": to, "ssim": ssim, "image": image})
    write_json(out / EVALUATION, result)
    return result


def _panels(source: np.ndarray, predicted: np.ndarray, truth: np.ndarray) -> Image.Image:
    """Source, translation, truth and |error| in one row; (H, W) in [0, 1] each."""
    grey = np.clip(np.hstack([source, predicted, truth]), 0, 1)[..., None].repeat(3, axis=2)
    error = colormaps["magma"](np.abs(predicted - truth) / LARGEST_ERROR)[..., :3]
    return Image.fromarray((255 * np.hstack([grey, error])).round().astype(np.uint8))
