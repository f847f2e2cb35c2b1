"""What leaves the page: files to save and the API's answer, made in memory, never on disk."""

from __future__ import annotations

import base64
import io
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cyclegan import CONTRASTS
from cyclegan.results.derived import derived_dicom
from cyclegan.results.export import labelled_png, nifti, result_zip
from cyclegan.results.provenance import CAVEAT, synthetic_label
from cyclegan.trust.truth import TruthError, match
from cyclegan.web.findings import slice_findings, slice_true_error
from cyclegan.web.limits import API_VOXELS, WHOLE_VOXELS
from cyclegan.web.outbox import Parcel
from cyclegan.web.panels import NARROWEST, WIDEST
from cyclegan.web.report import NOT_A_DEVICE, report
from cyclegan.web.session import ReaderError, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclegan.model.translator import CycleResult
    from cyclegan.reading.volume import Volume
    from cyclegan.trust.calibration import Calibration
    from cyclegan.web.turns import SharedModel

# Of a volume between two turns of the model. On a CPU four are no faster per slice than two
# (362 and 338 ms on two busy cores), and a reader who scrolls waits for at most one batch.
BATCH = 2


class Saved(NamedTuple):
    """A file to save, and what of the source's header it leaves out, in words."""

    parcel: Parcel
    removed: tuple[str, ...] = ()


def encode_float32(image: np.ndarray) -> str:
    """Base64 of `image` as little-endian float32, last axis fastest."""
    return base64.b64encode(np.ascontiguousarray(image, dtype="<f4").tobytes()).decode("ascii")


def png_file(
    session: Session, model: SharedModel, index: int, window: tuple[float, float]
) -> Saved:
    """The synthetic slice `index` as a labelled PNG, seen through a window in shares of 1.

    The name says nothing of the source's name, which may be a patient's.
    """
    volume, to = session.held(), session.to
    center, width = window[0], min(max(window[1], NARROWEST), WIDEST)
    data = labelled_png(
        session.result(model, index, to).translated,
        label=synthetic_label(to),
        window=(center, width),
        spacing=volume.spacing,
        provenance={
            **session.provenance(model).lines(),
            "Window": f"center {center:.3f}, width {width:.3f}",
            "Caveat": CAVEAT,
        },
    )
    return Saved(Parcel(data, f"synthetic_{to}_slice{index + 1}.png", "image/png"))


def nifti_file(session: Session, model: SharedModel, window: tuple[float, float]) -> Saved:
    """All slices of the result as float32 .nii.gz in the grid of the source."""
    volume, to = session.held(), session.to
    data = nifti(
        session.translated_volume(model),
        volume,
        description=f"{synthetic_label(to)}. {CAVEAT} {session.provenance(model)}",
    )
    return Saved(Parcel(data, f"synthetic_{to}.nii.gz", "application/gzip"))


def dicom_file(session: Session, model: SharedModel, window: tuple[float, float]) -> Saved:
    """The result as a derived DICOM series: one .dcm for one slice, else a zip of them.

    Raises:
        ReaderError: the source was no DICOM.
    """
    volume, to = session.held(), session.to
    if volume.dicom is None:
        raise ReaderError(f"{volume.name} is no DICOM, so there is none to derive; save a NIfTI.")
    files, removed = derived_dicom(
        session.translated_volume(model),
        volume,
        to=to,
        provenance=session.provenance(model),
    )
    if len(files) == 1:
        return Saved(Parcel(files[0], f"synthetic_{to}.dcm", "application/dicom"), tuple(removed))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, data in enumerate(files, start=1):
            entry = zipfile.ZipInfo(f"synthetic_{to}/synthetic_{to}_{number:04}.dcm")  # no times
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, compresslevel=1)
    parcel = Parcel(buffer.getvalue(), f"synthetic_{to}_dicom.zip", "application/zip")
    return Saved(parcel, tuple(removed))


def everything_file(session: Session, model: SharedModel, window: tuple[float, float]) -> Saved:
    """PNGs, NIfTI, DICOM where the source was, and a README, in one zip."""
    volume, to = session.held(), session.to
    data = result_zip(
        session.translated_volume(model),
        volume,
        to=to,
        provenance=session.provenance(model),
        window=window,
    )
    removed = () if volume.dicom is None else ("see README.txt in the zip",)
    return Saved(Parcel(data, f"synthetic_{to}.zip", "application/zip"), removed)


# What the page can save of a whole volume.
WHOLE = {"nifti": nifti_file, "dicom": dicom_file, "everything": everything_file}


def api_answer(
    session: Session,
    model: SharedModel,
    to: str,
    calibration: Calibration,
    real: Volume | None = None,
) -> dict[str, Any]:
    """Translate to the contrast `to` and back, as JSON; the API's help lists the fields.

    Raises:
        ReaderError: `to` is not "T1" or "T2", more than `API_VOXELS` voxels, or a `real` image that
            cannot be laid over the source.
    """
    if to not in CONTRASTS:
        raise ReaderError('`to` must be "T1" or "T2".')
    volume = session.held()
    refuse_large(volume, API_VOXELS)
    if real is not None:
        try:
            session.set_truth(match(real, volume), to)
        except TruthError as error:
            raise ReaderError(str(error)) from None
    for batch in batches(session.missing(to)):
        session.translate_slices(model, batch, to)
    session.start(to)
    results = [session.result(model, index, to) for index in range(session.slices)]
    source, translated, reconstructed = (
        np.stack([getattr(result, name) for result in results])
        for name in ("source", "translated", "reconstructed")
    )
    return {
        "name": volume.name,
        "to": to,
        "shape": list(volume.pixels.shape),
        "spacing": list(volume.spacing) if volume.spacing else None,
        "directions": list(volume.directions) if volume.directions else None,
        "notes": list(volume.notes),
        "source": encode_float32(source),
        "translated": encode_float32(translated),
        "reconstructed": encode_float32(reconstructed),
        "cycle_error": float(np.abs(source - reconstructed).mean()),
        **_trust(session, model, calibration, results),
        "version": model.translator.version,
        "checksum": model.translator.checksum,
        "caveat": f"{CAVEAT} {NOT_A_DEVICE}",
    }


def _trust(
    session: Session, model: SharedModel, calibration: Calibration, results: list[CycleResult]
) -> dict[str, Any]:
    """How far to trust each slice: input check, numbers, uncertainty map, true error, reports."""
    to, prepared = session.to, session.prepared(model)
    said, check, truth = session.notice(to), session.check, session.truth_for(to)
    slices, maps = [], []
    for index, result in enumerate(results):
        *_, (numbers, uncertainty) = slice_findings(
            model.translate, result, prepared, to, calibration
        )
        readings = calibration.readings(to, numbers)
        true = slice_true_error(truth, result, index)
        slices.append(
            {
                "numbers": readings,
                "true_error": true,
                "report": report(session, model, calibration, index, readings, true),
            }
        )
        maps.append(np.zeros_like(result.source) if uncertainty is None else uncertainty)
    shown = calibration.map_name(to) is not None
    return {
        "input_check": {
            "text": said.text,
            "warns": said.warns,
            "label": check and check.label,
            "probabilities": check and check.probabilities,
        },
        "slices": slices,
        "uncertainty": encode_float32(np.stack(maps)) if shown else None,
        "uncertainty_help": calibration.map_words(to),
        "expected_ranges_missing": calibration.missing or None,
    }


def batches(indices: Sequence[int]) -> list[Sequence[int]]:
    """Cut `indices` into the batches that the network runs on."""
    return [indices[start : start + BATCH] for start in range(0, len(indices), BATCH)]


def refuse_large(volume: Volume, most: int = WHOLE_VOXELS) -> None:
    """Raise ReaderError when `volume` has more than `most` voxels."""
    if volume.pixels.size > most:
        shape = " × ".join(str(n) for n in volume.pixels.shape)
        raise ReaderError(
            f"{volume.name}: {shape} voxels are too many to be translated here as a whole; up to "
            f"{most:,} are. Run python -m cyclegan.translate on your own machine."
        )
