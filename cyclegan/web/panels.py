"""What the page shows of a `Session`: one slice in four panels, with its captions."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan import OTHER
from cyclegan.model.training_data import told_data

if TYPE_CHECKING:
    from cyclegan.model.preprocess import Scale
    from cyclegan.model.translator import CycleResult
    from cyclegan.reading.volume import Volume
    from cyclegan.trust.truth import Truth
    from cyclegan.web.session import Session
    from cyclegan.web.turns import SharedModel

# The limits of the viewer's window, in shares of the grey range (windows.js has the same).
NARROWEST, WIDEST = 0.02, 2.0


Encode = Callable[[np.ndarray], Any]


def levels(image: np.ndarray) -> np.ndarray:
    """(H, W) real in [0, 1] as little-endian uint16, 65535 standing for 1.

    Sixteen bits keep the depth that a narrow window shows; eight would band.
    """
    return np.rint(np.clip(image, 0, 1) * 65535).astype("<u2")


def encode_uint16(image: np.ndarray) -> str:
    """Encode (H, W) real in [0, 1] as base64 of its `levels`."""
    return base64.b64encode(levels(image).tobytes()).decode("ascii")


def view(
    session: Session, model: SharedModel, index: int, encode: Encode = encode_uint16
) -> dict[str, Any]:
    """Everything the viewer shows of slice `index`, as JSON (the form is in viewer.js).

    Before the first translation only the original is there. Images, (H, W) in [0, 1], go in as
    `encode` returns them.
    """
    volume, scale, to = session.held(), session.prepared(model).scale, session.to
    row, column = volume.pixel_spacing or (1.0, 1.0)
    height, width = volume.pixels.shape[1:]
    window = _shown_window(volume, scale)
    size = _size(volume)
    place = _place(volume, index)
    if to is None:
        panels = _original(scale.apply(volume.pixels[index]), size, place, encode)
    else:
        result = session.result(model, index, to)
        truth = session.truth_for(to)
        panels = _panels(result, to, size, truth, place, encode)
        panels |= _truth_panels(truth, result, to, index, place, encode)
    return {
        "key": session.key,
        "token": session.token,
        "run": session.run,
        "index": index,
        "slices": len(volume.pixels),
        "width": width,
        "height": height,
        "aspect": row / column,
        "spacing": volume.spacing and list(volume.spacing),
        "affine": None if volume.affine is None else volume.affine.tolist(),
        "units": [scale.low, scale.high],
        "window": window,
        "directions": list(volume.directions) if volume.directions else None,
        "caption": _caption(volume, index),
        "notes": " ".join(_sentence(note) for note in volume.notes),
        "provenance": ""
        if to is None
        else f"Model {model.translator.version} · weights sha256 {model.translator.checksum[:16]}",
        "saw": told_data(model.translator.config) or "not recorded in these weights",
        "panels": panels,
    }


def _original(
    source: np.ndarray, size: str, place: str, encode: Encode, read_as: str = ""
) -> dict[str, Any]:
    sub = f"as {read_as}" if read_as else ""
    return {
        "original": {
            "title": "Original",
            "sub": sub,
            "note": size,
            "alt": f"Original slice {sub}".strip() + place,
            "data": encode(source),
        }
    }


def _panels(
    result: CycleResult, to: str, size: str, truth: Truth | None, place: str, encode: Encode
) -> dict[str, Any]:
    source = OTHER[to]
    unknown = f" The true {to} is unknown." if truth is None else ""
    return {
        **_original(result.source, size, place, encode, source),
        "translated": {
            "title": f"Synthetic {to}",
            "sub": f"{source} → {to}",
            "note": f"Made by the model, not acquired.{unknown}",
            "alt": f"Synthetic {to} made from the original{place}",
            "data": encode(result.translated),
        },
        "reconstructed": {
            "title": "Cycle reconstruction",
            "sub": f"{source} → {to} → {source}",
            "note": f"The synthetic {to} translated back to {source}.",
            "alt": f"Reconstruction of the original from the synthetic {to}{place}",
            "data": encode(result.reconstructed),
        },
        "difference": {
            "title": "Cycle error",
            "sub": "|original − reconstruction|, share of the grey range",
            "alt": "Map of the absolute difference between original and reconstruction; "
            f"cycle error, not translation error{place}",
        },
    }


def _truth_panels(
    truth: Truth | None, result: CycleResult, to: str, index: int, place: str, encode: Encode
) -> dict[str, Any]:
    if truth is None:
        return {}
    real, covered = truth.slice(index, result.source.shape)
    # Zero error, half grey in 16 bits, where the truth has not been measured.
    difference = np.where(covered, result.translated - real, 0)
    return {
        "truth": {
            "title": f"Real {to}",
            "sub": "acquired, for comparison",
            "note": f"{truth.volume.name}: {'; '.join(truth.notes)}.",
            "alt": f"The real {to} slice{place}",
            "data": encode(real),
        },
        "trueDifference": {
            "title": f"True error: synthetic − real {to}",
            "sub": "share of the grey range",
            "alt": f"Map of the signed difference between synthetic and real {to}{place}",
            "data": encode((difference + 1) / 2),
        },
    }


def _place(volume: Volume, index: int) -> str:
    """Which slice of a volume this is, at the end of a text alternative; "" for a single slice."""
    if len(volume.pixels) < 2:
        return ""
    left, _, top, _ = volume.directions or ("",) * 4
    axial = left in ("L", "R") and top in ("A", "P")
    return f", {'axial ' if axial else ''}slice {index + 1} of {len(volume.pixels)}"


def _caption(volume: Volume, index: int) -> str:
    parts = [volume.name]
    if len(volume.pixels) > 1:
        parts.append(f"slice {index + 1} of {len(volume.pixels)}")
    if volume.directions is None:
        parts.append("orientation unknown")
    return " · ".join(parts)


def _shown_window(volume: Volume, scale: Scale) -> dict[str, float] | None:
    """The file's own window in shares of the grey range, as the viewer counts; None if useless."""
    span = scale.high - scale.low
    if volume.window is None or not span > 0:
        return None
    center, width = (volume.window[0] - scale.low) / span, volume.window[1] / span
    if not (width > 0 and center + width / 2 > 0 and center - width / 2 < 1):
        return None  # all black or all white
    return {
        "center": min(max(center, -0.5), 1.5),
        "width": min(max(width, NARROWEST), WIDEST),
    }


def _size(volume: Volume) -> str:
    """Matrix and, when known, pixel size: "256 × 256, 1.00 × 1.00 mm"."""
    height, width = volume.pixels.shape[1:]
    matrix = f"{width} × {height}"
    if volume.spacing is None:
        return f"{matrix} pixels, size unknown"
    thickness, row, column = volume.spacing
    size = f"{column:.2f} × {row:.2f} mm"
    if len(volume.pixels) > 1:
        size += f", slices {thickness:.2f} mm apart"
    return f"{matrix} pixels of {size}"


def _sentence(note: str) -> str:
    """A note of the reader as a sentence: capital first, full stop last."""
    text = note.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
