"""How far to trust one translated slice when its truth is unknown: numbers and maps.

Pure functions on arrays. What each is worth has been measured on pairs, by `calibrate`; some are
worth little, and then the page says so.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from cyclegan import OTHER
from cyclegan.evaluation.metrics import foreground, mae, ssim, structure_agreement
from cyclegan.model.preprocess import Frame, Scale
from cyclegan.model.style import Style
from cyclegan.model.translator import CycleResult, Prepared, Translator

Translate = Callable[..., np.ndarray]  # `Translator.translate`, or one that waits for its turn

UNIT = Scale(0.0, 1.0)  # of images that are scaled already
NOISE = 2 / 255  # standard deviation, in shares of the grey range
SMOOTHING = 1.5  # pixels
LIKELY = (
    "error that the generator expects"  # of `error_maps`; see `Translator.translate_with_error`
)


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
        style: of the source, which the way back keeps, as `Translator.cycle` does.
    """
    back = disturbed(translated)
    return translate(back, OTHER[to], prepared=Prepared(UNIT, frame), style=style)


def own_style(translator: Translator, source: np.ndarray, to: str, frame: Frame) -> Style | None:
    """The style of a scaled source, (H, W) in [0, 1], where the weights know styles."""
    if not translator.has_styles:
        return None
    return translator.style(source, OTHER[to], prepared=Prepared(UNIT, frame))


def cycle_numbers(result: CycleResult, again: np.ndarray) -> dict[str, float]:
    """What the cycle says of one slice, inside the head of the source.

    Args:
        result: (H, W) each.
        again: (H, W) in [0, 1], the reconstruction from the `disturbed` translation.

    Returns:
        `cycle_error`, the mean absolute difference of source and reconstruction in [0, 1], and
        `cycle_robustness`, the SSIM of both reconstructions, 1 when the cycle doesn't live on
        invisible detail. Empty without a head.
    """
    head = foreground(result.source)
    if not head.any():
        return {}
    return {
        "cycle_error": mae(result.reconstructed, result.source, head),
        "cycle_robustness": ssim(again, result.reconstructed, head),
    }


# Structure agreement


def mutual_information(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    """Normalised mutual information of two images over `mask`, in [1, 2]; 32 x 32 bins.

    Studholme et al. 1999: (H(a) + H(b)) / H(a, b). High when one grey value tells the other,
    whatever the contrast.
    """
    joint, _, _ = np.histogram2d(a[mask], b[mask], bins=32, range=[[0, 1], [0, 1]])
    joint /= joint.sum()
    entropy = [-(p[p > 0] * np.log(p[p > 0])).sum() for p in (joint.sum(0), joint.sum(1), joint)]
    return float((entropy[0] + entropy[1]) / entropy[2]) if entropy[2] > 0 else 1.0


def gradient_fields(a: np.ndarray, b: np.ndarray, mask: np.ndarray, edge: float = 0.02) -> float:
    """Normalised gradient fields: mean squared cosine between the gradients, in [0, 1].

    Haber & Modersitzki 2006; gradients well below `edge` per pixel do not count.
    """
    dot, squared_a, squared_b = 0.0, edge**2, edge**2
    for order in ((0, 1), (1, 0)):
        slope_a, slope_b = (ndimage.gaussian_filter(x, 1.0, order=order) for x in (a, b))
        dot, squared_a = dot + slope_a * slope_b, squared_a + slope_a**2
        squared_b = squared_b + slope_b**2
    return float((dot**2 / (squared_a * squared_b))[mask].mean())


def local_correlation(a: np.ndarray, b: np.ndarray, mask: np.ndarray, sigma: float = 3) -> float:
    """Mean squared correlation in Gaussian windows of `sigma` pixels over `mask`, in [0, 1]."""

    def mean(x: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(x, sigma)

    covariance = mean(a * b) - mean(a) * mean(b)
    variances = (mean(a * a) - mean(a) ** 2) * (mean(b * b) - mean(b) ** 2)
    return float(np.clip(covariance**2 / np.maximum(variances, 1e-8), 0, 1)[mask].mean())


# Each is high when source and translation show the same anatomy in whatever contrast.
STRUCTURE: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "correlation of gradient magnitudes": structure_agreement,
    "normalised mutual information": mutual_information,
    "normalised gradient fields": gradient_fields,
    "local squared correlation": local_correlation,
}


def structure(name: str, result: CycleResult) -> dict[str, float]:
    """`structure`: how well source and translation agree inside the head by `STRUCTURE[name]`."""
    source, translated = (np.asarray(x, np.float64) for x in (result.source, result.translated))
    head = foreground(source)
    return {"structure": STRUCTURE[name](source, translated, head)} if head.any() else {}


# Where a translation is likely to be wrong


def local_contrast(image: np.ndarray) -> np.ndarray:
    """Standard deviation of (H, W) in Gaussian windows of 2 pixels, of the grey range."""
    mean = ndimage.gaussian_filter(image, 2)
    return np.sqrt(np.maximum(ndimage.gaussian_filter(image * image, 2) - mean**2, 0))


def error_maps(result: CycleResult, likely: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Every map that might tell where a translated slice is wrong, in shares of the grey range.

    Args:
        result: (H, W) each.
        likely: (H, W), the error that the generator expects, where it expects one.

    Returns:
        Name -> (H, W), higher where the translation is less sure. They are candidates: `calibrate`
        measures which of them rank the true error.
    """
    cycle = np.abs(np.asarray(result.source, np.float64) - result.reconstructed)
    learnt = {} if likely is None else {LIKELY: likely}
    return learnt | {
        "cycle error": cycle,
        "cycle error, smoothed": ndimage.gaussian_filter(cycle, SMOOTHING),
        "local contrast of the translation": local_contrast(result.translated.astype(np.float64)),
    }


def likely_numbers(source: np.ndarray, likely: np.ndarray) -> dict[str, float]:
    """`likely_error`: mean of the expected error inside the head, of the grey range."""
    head = foreground(source)
    return {"likely_error": float(likely[head].mean())} if head.any() else {}
