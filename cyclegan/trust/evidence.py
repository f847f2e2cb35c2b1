"""How far to trust one translated slice when its truth is unknown: numbers and maps.

Pure functions on arrays. What each is worth has been measured on pairs, by
`cyclegan.release.calibrate`; some are worth little, and then the page says so.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from skimage.metrics import normalized_mutual_information

from cyclegan import OTHER
from cyclegan.evaluation.metrics import mae, ssim
from cyclegan.model.head import foreground
from cyclegan.model.preprocess import Frame, Scale
from cyclegan.model.style import Style
from cyclegan.model.translator import CycleResult, Prepared, Translator

Translate = Callable[..., np.ndarray]  # `Translator.translate`, or one that queues first

UNIT = Scale(0.0, 1.0)  # of images that are scaled already
NOISE = 2 / 255  # standard deviation, in shares of the grey range
PREDICTED_ERROR, CYCLE_ERROR = "predicted error", "cycle error"  # of `error_maps`


def disturbed(translated: np.ndarray) -> np.ndarray:
    """A translation as it would come back from an 8-bit file, with slight noise.

    A generator can hide the source in faint patterns of the translation that survive neither
    (Chu et al. 2017, "CycleGAN, a Master of Steganography"); then the cycle proves nothing.

    Args:
        translated: (H, W) in [0, 1].

    Returns:
        (H, W) float32 in [0, 1], in 256 levels with Gaussian noise of `NOISE`; the same noise
        each time, so that the same slice gives the same number.
    """
    levels = np.rint(translated * 255) / 255
    noise = np.random.default_rng(0).normal(0, NOISE, translated.shape)
    return np.clip(levels + noise, 0, 1).astype(np.float32)


def reconstruct_disturbed(
    translate: Translate, translated: np.ndarray, to: str, frame: Frame, style: Style | None = None
) -> np.ndarray:
    """Reconstruction, (H, W) in [0, 1], from the `disturbed` translation into `to`.

    Args:
        style: of the source, which the reconstruction keeps, as in `Translator.cycle`.
    """
    image = disturbed(translated)
    return translate(image, OTHER[to], prepared=Prepared(UNIT, frame), style=style)


def own_style(translator: Translator, source: np.ndarray, to: str, frame: Frame) -> Style | None:
    """The style of a scaled source, (H, W) in [0, 1], where the weights know styles."""
    if not translator.has_styles:
        return None
    return translator.style(source, OTHER[to], prepared=Prepared(UNIT, frame))


def cycle_numbers(result: CycleResult, from_disturbed: np.ndarray) -> dict[str, float]:
    """What the cycle shows of one slice, inside the head of the source.

    Args:
        result: (H, W) each.
        from_disturbed: (H, W) in [0, 1], the reconstruction from the `disturbed` translation.

    Returns:
        `cycle_error`, the mean absolute difference of source and reconstruction in [0, 1], and
        `cycle_robustness`, the SSIM of both reconstructions, 1 when the cycle doesn't depend on
        invisible detail. Empty without a head.
    """
    head = foreground(result.source)
    if not head.any():
        return {}
    return {
        "cycle_error": mae(result.reconstructed, result.source, head),
        "cycle_robustness": ssim(from_disturbed, result.reconstructed, head),
    }


def mutual_information(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    """Normalised mutual information of two images over `mask`, in [1, 2]; 32 x 32 bins.

    Studholme et al. 1999: (H(a) + H(b)) / H(a, b). High when one grey value predicts the other,
    whatever the contrast.
    """
    edges = np.linspace(0, 1, 33)
    with np.errstate(invalid="ignore"):  # two flat images
        value = normalized_mutual_information(a[mask], b[mask], bins=[edges, edges])
    return float(np.nan_to_num(value, nan=1.0))


def nmi(result: CycleResult) -> dict[str, float]:
    """`nmi`: normalised mutual information of source and translation inside the head; empty
    without one."""
    source, translated = (np.asarray(x, np.float64) for x in (result.source, result.translated))
    head = foreground(source)
    return {"nmi": mutual_information(source, translated, head)} if head.any() else {}


def mean_predicted_error(source: np.ndarray, predicted_error: np.ndarray) -> dict[str, float]:
    """`predicted_error`: its mean inside the head, of the grey range; empty without one.

    Args:
        source: (H, W) in [0, 1].
        predicted_error: (H, W), of `Translator.translate_with_error`.
    """
    head = foreground(source)
    return {"predicted_error": float(predicted_error[head].mean())} if head.any() else {}


def error_maps(
    result: CycleResult, predicted_error: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The maps that might show where a translated slice is wrong, in shares of the grey range.

    Args:
        result: (H, W) each.
        predicted_error: (H, W), where the generators predict it.

    Returns:
        Name -> (H, W), higher where the translation is less sure. Calibration measures which of
        them rank the true error; `PREDICTED_ERROR` comes first where there is one.
    """
    learnt = {} if predicted_error is None else {PREDICTED_ERROR: predicted_error}
    return learnt | {CYCLE_ERROR: np.abs(np.float64(result.source) - result.reconstructed)}
