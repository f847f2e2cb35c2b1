"""How far to trust one translated slice when its truth is unknown: numbers and maps.

Pure functions on arrays. What each is worth has been measured on pairs, by `calibrate`; some are
worth little, and then the page says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from cyclegan import OTHER
from cyclegan.judging.metrics import foreground, mae, ssim, structure_agreement
from cyclegan.model.preprocess import Frame, Scale
from cyclegan.model.translator import CycleResult, Prepared

Translate = Callable[..., np.ndarray]  # `Translator.translate`, or one that waits for its turn

UNIT = Scale(0.0, 1.0)  # of images that are scaled already
NOISE = 2 / 255  # standard deviation, in shares of the grey range
SMOOTHING = 1.5  # pixels


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
    translate: Translate, translated: np.ndarray, to: str, frame: Frame
) -> np.ndarray:
    """Reconstruction, (H, W) in [0, 1], from the `disturbed` translation into `to`."""
    return translate(disturbed(translated), OTHER[to], prepared=Prepared(UNIT, frame))


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


# Uncertainty


@dataclass(frozen=True)
class Variant:
    """The source, changed so that a sure translation would stay the same.

    Attributes:
        image: (H, W) float32 in [0, 1].
        frame: how it goes to the network's grid.
        undo: brings its translation, (H, W), back onto the source's pixels.
    """

    image: np.ndarray
    frame: Frame
    undo: Callable[[np.ndarray], np.ndarray]


def variants(source: np.ndarray, frame: Frame) -> list[Variant]:
    """Five changed copies: mirrored, darker and brighter midtones, a wider frame, smoothed.

    Averaging over such copies is test-time augmentation; their spread is an estimate of the
    uncertainty (Wang et al. 2019, "Aleatoric uncertainty estimation with test-time augmentation").

    Args:
        source: (H, W) in [0, 1], scaled as the network sees it.
        frame: of the source.
    """
    source = np.asarray(source, np.float32)
    rim = round(0.06 * frame.side)
    wider = replace(frame, top=frame.top - rim, left=frame.left - rim, side=frame.side + 2 * rim)
    return [
        Variant(
            np.ascontiguousarray(source[:, ::-1]), frame.mirrored(), lambda image: image[:, ::-1]
        ),
        Variant(source**0.7, frame, np.asarray),
        Variant(source**1.4, frame, np.asarray),
        Variant(source, wider, np.asarray),
        Variant(ndimage.gaussian_filter(source, 1.0), frame, np.asarray),
    ]


def translate_variants(
    translate: Translate, source: np.ndarray, to: str, frame: Frame
) -> Iterator[np.ndarray]:
    """Translations, (H, W) in [0, 1], of the `variants` of `source`, undone, one after another."""
    for variant in variants(source, frame):
        yield variant.undo(translate(variant.image, to, prepared=Prepared(UNIT, variant.frame)))


def spread(translated: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Standard deviation of a translation and those of its `variants`: (H, W), of the grey range.

    Args:
        translated: (H, W) in [0, 1].
        others: (H, W) each, undone.
    """
    return np.std(np.stack([translated, *others]), axis=0)


def local_contrast(image: np.ndarray) -> np.ndarray:
    """Standard deviation of (H, W) in Gaussian windows of 2 pixels, of the grey range."""
    mean = ndimage.gaussian_filter(image, 2)
    return np.sqrt(np.maximum(ndimage.gaussian_filter(image * image, 2) - mean**2, 0))


def error_maps(result: CycleResult, others: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Every map that might tell where a translated slice is wrong, in shares of the grey range.

    Args:
        result: (H, W) each.
        others: translations of the `variants`, undone.

    Returns:
        Name -> (H, W) float64, higher where the translation is less sure, combinations last. They
        are candidates:
        `calibrate` measures which of them rank the true error.
    """
    source, translated, reconstructed = (
        np.asarray(x, np.float64) for x in (result.source, result.translated, result.reconstructed)
    )

    def smooth(image: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(image, SMOOTHING)

    cycle, wide = np.abs(source - reconstructed), spread(translated, others)
    contrast = local_contrast(translated)
    return {
        "cycle error": cycle,
        "cycle error, smoothed": smooth(cycle),
        "spread over five variants": wide,
        "spread when mirrored": spread(translated, others[:1]),
        "spread over grey curves": spread(translated, others[1:3]),
        "spread over five variants, smoothed": smooth(wide),
        "local contrast of the translation": contrast,
        "spread times local contrast": np.sqrt(smooth(wide) * contrast),
        "spread times local contrast times cycle error": np.cbrt(
            smooth(wide) * contrast * smooth(cycle)
        ),
    }


def mean_spread(source: np.ndarray, translated: np.ndarray, others: Sequence) -> dict[str, float]:
    """`spread`: mean of `spread` inside the head, one number for the slice, of the grey range."""
    head = foreground(source)
    return {"spread": float(spread(translated, others)[head].mean())} if head.any() else {}
