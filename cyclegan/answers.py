"""What leaves the page: files to save and the API's answer, made in memory, never on disk."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan import CONTRASTS, OTHER
from cyclegan.export import labelled_png, nifti, synthetic_label
from cyclegan.session import CAVEAT, ReaderError, Session

if TYPE_CHECKING:
    from cyclegan.translate import Translator
    from cyclegan.volume import Volume

LARGEST = 2**22  # voxels in one answer: 64 slices of 256x256, 16 MB of float32 per image
NARROWEST, WIDEST = 0.02, 2.0  # the limits of the viewer's own window


def encode_float32(image: np.ndarray) -> str:
    """Base64 of `image` as little-endian float32, last axis fastest."""
    return base64.b64encode(np.ascontiguousarray(image, dtype="<f4").tobytes()).decode("ascii")


def png_file(
    session: Session, translator: Translator, index: int, center: float, width: float
) -> dict[str, str]:
    """The synthetic slice `index` as a labelled PNG, seen through a window in shares of 1.

    Returns:
        {"name", "type" (MIME), "data" (base64)}. The name says nothing of the source's name, which
        may be a patient's.
    """
    window = (center, min(max(width, NARROWEST), WIDEST))
    data = labelled_png(
        session.result(translator, index, session.to).translated,
        label=synthetic_label(session.to),
        window=window,
        spacing=session.volume.spacing,
        provenance={
            "Direction": f"{OTHER[session.to]} to {session.to}",
            "Model": translator.version,
            "Weights-SHA256": translator.checksum,
            "Window": f"center {window[0]:.3f}, width {window[1]:.3f}",
            "Caveat": CAVEAT,
        },
    )
    return _file(data, f"synthetic_{session.to}_slice{index + 1}.png", "image/png")


def nifti_file(
    session: Session,
    translator: Translator,
    progress: Callable[[float], Any] = lambda share: None,
) -> dict[str, str]:
    """All slices of the result as float32 .nii.gz in the grid of the source.

    Raises:
        ReaderError: more than `LARGEST` voxels.
    """
    refuse_large(session.volume)
    data = nifti(
        session.translated_volume(translator, progress),
        session.volume,
        description=f"SYNTHETIC {session.to}, not for diagnosis",
    )
    return _file(data, f"synthetic_{session.to}.nii.gz", "application/gzip")


def api_answer(volume: Volume, translator: Translator, to: str) -> dict[str, Any]:
    """Translate `volume` to the contrast `to` and back, as JSON; `Page.api` lists the fields.

    Raises:
        ReaderError: `to` is not "T1" or "T2", or more than `LARGEST` voxels.
    """
    if to not in CONTRASTS:
        raise ReaderError('`to` must be "T1" or "T2".')
    refuse_large(volume)
    result = translator.cycle(volume.pixels, to=to)
    return {
        "name": volume.name,
        "to": to,
        "shape": list(volume.pixels.shape),
        "spacing": list(volume.spacing) if volume.spacing else None,
        "directions": list(volume.directions) if volume.directions else None,
        "notes": list(volume.notes),
        "source": encode_float32(result.source),
        "translated": encode_float32(result.translated),
        "reconstructed": encode_float32(result.reconstructed),
        "cycle_error": float(np.abs(result.source - result.reconstructed).mean()),
        "version": translator.version,
        "checksum": translator.checksum,
        "caveat": CAVEAT,
    }


def refuse_large(volume: Volume) -> None:
    """Raise ReaderError when `volume` is too large to be sent back in one answer."""
    if volume.pixels.size > LARGEST:
        shape = " × ".join(str(n) for n in volume.pixels.shape)
        raise ReaderError(
            f"{volume.name}: {shape} voxels are too many to send back at once; "
            "run python -m cyclegan.translate on your own machine."
        )


def _file(data: bytes, name: str, mime: str) -> dict[str, str]:
    return {"name": name, "type": mime, "data": base64.b64encode(data).decode("ascii")}
