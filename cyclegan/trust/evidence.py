"""How far to trust one translated slice when its truth is unknown: numbers and maps.

Pure functions on arrays. What each is worth has been measured on pairs, by
`cyclegan.release.calibrate`; some are worth little, and then the page says so.
"""

from __future__ import annotations

import numpy as np
from skimage.metrics import normalized_mutual_information

from cyclegan.evaluation.metrics import mae
from cyclegan.model.head import foreground
from cyclegan.model.translator import CycleResult

PREDICTED_ERROR, CYCLE_ERROR = "predicted error", "cycle error"  # of `error_maps`


def cycle_error(result: CycleResult) -> dict[str, float]:
    """`cycle_error`: mean absolute difference of source and reconstruction in [0, 1], inside the
    head; empty without one."""
    head = foreground(result.source)
    return {"cycle_error": mae(result.reconstructed, result.source, head)} if head.any() else {}


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
