"""What leaves the page: files to save and the API's answer, made in memory, never on disk."""

from __future__ import annotations

import base64
import io
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple, NotRequired, TypedDict

import numpy as np

from cyclegan import CONTRASTS, OTHER
from cyclegan.reading.notes import without_quoted
from cyclegan.results.bundle import Companions, result_zip
from cyclegan.results.derived import derived_dicom
from cyclegan.results.export import labelled_png, nifti
from cyclegan.results.provenance import CAVEAT, SOURCE_TYPE, synthetic_label
from cyclegan.trust.calibration import MEASURES
from cyclegan.trust.truth import TruthError, match
from cyclegan.web.findings import is_of_elsewhere, slice_findings, slice_true_error
from cyclegan.web.limits import API_VOXELS, WHOLE_VOXELS
from cyclegan.web.outbox import Parcel
from cyclegan.web.panels import NARROWEST, WIDEST
from cyclegan.web.report import NOT_A_DEVICE, report
from cyclegan.web.session import ReaderError, Session
from cyclegan.web.turns import Rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclegan.model.translator import CycleResult
    from cyclegan.reading.volume import Volume
    from cyclegan.trust.calibration import Calibration
    from cyclegan.web.turns import SharedModel

# Of a volume between two turns of the model. On a CPU four are no faster per slice than two
# (362 and 338 ms on two busy cores), and a reader who scrolls waits for at most one batch.
BATCH = 2
PARTS = ("everything", "translation")  # that a program may ask for


# Of each slice: its numbers by name, and its uncertainty map, (H, W), or None.
Measured = list[tuple[dict[str, float], np.ndarray | None]]


class Saved(NamedTuple):
    """A file to save, and what of the source's header it leaves out, in words."""

    parcel: Parcel
    removed: tuple[str, ...] = ()


class InputCheckAnswer(TypedDict):
    """What the input looks like. text: in words; warns: whether that speaks against the direction;
    label: "T1", "T2", "other" or "not a brain slice"; probabilities: of each label."""

    text: str
    warns: bool
    label: str | None
    probabilities: dict[str, float] | None


class SliceAnswer(TypedDict):
    """Of one slice. numbers: how far to trust it, each with name, value and its usual range in
    people; true_error: ssim, psnr in dB and mae in the head against `truth`, or null;
    true_error_of_another_place: whether `truth`, by its pixels, shows another place; report: all of
    it as text."""

    numbers: list[dict[str, Any]]
    true_error: dict[str, float] | None
    true_error_of_another_place: bool
    report: str


class Answer(TypedDict):
    """What the API answers. Images are base64 of little-endian float32 in [0, 1] of `shape`.

    Attributes:
        to: the contrast of `translated`.
        shape: slices, rows, columns.
        spacing: mm between slices, rows and columns, or null.
        directions: of the left, right, top and bottom edge, or null.
        notes: what was noticed in reading, without names of files and values of headers.
        input_check: what the input looks like.
        version, checksum: of the model; the checksum is its SHA-256.
        digital_source_type: IPTC's word for what a model made.
        caveat: to be shown with the images.
        translated: the synthetic images.
        source: the input, scaled as the model sees it. This and the rest: not with `parts`
            "translation".
        reconstructed: the synthetic images translated back.
        slices: of each slice, how far to trust it.
        uncertainty: a map like `source`, or null; uncertainty_help: what it is worth.
        expected_ranges_missing: why there are no usual ranges, or null.
    """

    to: str
    shape: list[int]
    spacing: list[float] | None
    directions: list[str] | None
    notes: list[str]
    input_check: InputCheckAnswer
    version: str
    checksum: str
    digital_source_type: str
    caveat: str
    translated: str
    source: NotRequired[str]
    reconstructed: NotRequired[str]
    slices: NotRequired[list[SliceAnswer]]
    uncertainty: NotRequired[str | None]
    uncertainty_help: NotRequired[str]
    expected_ranges_missing: NotRequired[str | None]


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
        sides=volume.directions,
        slice_of=(index + 1, session.slices) if session.slices > 1 else None,
        aspect=volume.aspect,
        provenance={
            **session.provenance(model).lines(),
            "Window": f"center {center:.3f}, width {width:.3f}",
            "Caveat": CAVEAT,
        },
    )
    name = f"{_name(session, model)}_slice{index + 1}.png"
    return Saved(Parcel(data, name, "image/png"))


def nifti_file(session: Session, model: SharedModel, window: tuple[float, float]) -> Saved:
    """All slices of the result as float32 .nii.gz in the grid of the source."""
    volume, to = session.held(), session.to
    data = nifti(
        session.translated_volume(model),
        volume,
        description=f"{synthetic_label(to)}. {CAVEAT} {session.provenance(model)}",
    )
    return Saved(Parcel(data, f"{_name(session, model)}.nii.gz", "application/gzip"))


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
    name = _name(session, model)
    if len(files) == 1:
        return Saved(Parcel(files[0], f"{name}.dcm", "application/dicom"), tuple(removed))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, data in enumerate(files, start=1):
            entry = zipfile.ZipInfo(f"{name}/{name}_{number:04}.dcm")  # no times
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, compresslevel=1)
    parcel = Parcel(buffer.getvalue(), f"{name}_dicom.zip", "application/zip")
    return Saved(parcel, tuple(removed))


def everything_file(
    session: Session,
    model: SharedModel,
    window: tuple[float, float],
    index: int,
    calibration: Calibration,
    measured: Measured,
) -> Saved:
    """What the page shows of all slices, in one zip.

    Args:
        session: with all slices translated.
        model: that did it.
        window: of the synthetic PNGs.
        index: of the slice on screen.
        calibration: of the model.
        measured: numbers and map of each slice.
    """
    volume, to = session.held(), session.to
    results = [session.result(model, each, to) for each in range(session.slices)]
    beside = _beside(session, model, results, index, calibration, measured)
    data = result_zip(
        np.stack([result.translated for result in results]),
        volume,
        to=to,
        provenance=session.provenance(model),
        window=window,
        beside=beside,
    )
    removed = () if volume.dicom is None else ("what README.txt in the zip lists",)
    return Saved(Parcel(data, f"{_name(session, model)}.zip", "application/zip"), removed)


def _beside(
    session: Session,
    model: SharedModel,
    results: list[CycleResult],
    index: int,
    calibration: Calibration,
    measured: Measured,
) -> Companions:
    """Images and reports for the zip."""
    to, source, truth = session.to, OTHER[session.to], session.truth_for(session.to)
    original, back = (
        np.stack([getattr(result, name) for result in results])
        for name in ("source", "reconstructed")
    )
    maps = {
        f"desc-reconstruction_{source}w": (
            f"the synthetic {to} translated back to {source}, 0 to 1",
            back,
        ),
        "desc-cycleError_map": (
            "|original - reconstruction| in shares of the grey range; cycle error, not the "
            "translation's error",
            np.abs(original - back),
        ),
    }
    if calibration.map_name(to) and any(found is not None for _, found in measured):
        empty = np.zeros_like(original[0])
        uncertain = [empty if found is None else found for _, found in measured]
        maps["desc-uncertainty_map"] = (calibration.map_words(to), np.stack(uncertain))
    real = None
    if truth is not None:
        pairs = [truth.slice(each, original[0].shape) for each in range(len(results))]
        real = np.stack([pixels for pixels, _ in pairs])
        errors = [
            np.where(covered, result.translated - pixels, 0)
            for result, (pixels, covered) in zip(results, pairs, strict=True)
        ]
        maps[f"desc-real_{to}w"] = (f"the acquired {to} in this grid, 0 to 1", real)
        maps["desc-trueError_map"] = (
            f"synthetic - real {to}; 0 where not covered",
            np.stack(errors),
        )
    reports, table = [], []
    for each, (numbers, _) in enumerate(measured):
        readings = calibration.readings(to, numbers, drawn=session.drawn)
        true = slice_true_error(truth, results[each], each)
        elsewhere = is_of_elsewhere(session, model, each)
        reports.append(report(session, model, calibration, each, readings, true, elsewhere))
        table.append(_row(session, each, readings, true))
    return Companions(original, maps, real, index, reports, table)


def _row(
    session: Session,
    index: int,
    readings: Sequence[dict[str, Any]],
    true: dict[str, float] | None,
) -> dict[str, Any]:
    """Of the table of slices: the same columns for each."""
    row: dict[str, Any] = {"slice": index + 1, "input": session.check and session.check.label}
    by_name = {reading["name"]: reading for reading in readings}
    for name in MEASURES:
        reading = by_name.get(name, {})
        low, high = reading.get("expected") or (None, None)
        row |= {name: reading.get("value"), f"{name}_low": low, f"{name}_high": high}
    errors = true or {}
    return row | {f"true_{name}": errors.get(name) for name in ("ssim", "psnr", "mae")}


def _name(session: Session, model: SharedModel) -> str:
    """Of files: what they are, and six digits of the source's checksum."""
    return f"synthetic_{session.to}_{session.provenance(model).mark}"


# What the page can save of a whole volume; "everything" needs more.
WHOLE = {"nifti": nifti_file, "dicom": dicom_file}


def api_answer(
    session: Session,
    model: SharedModel,
    to: str,
    calibration: Calibration,
    real: Volume | None = None,
    parts: str = "everything",
) -> dict[str, Any]:
    """Translate to the contrast `to`, and back unless `parts` is "translation", as JSON; the
    API's help lists the fields.

    Raises:
        ReaderError: `to` is not "T1" or "T2", more than `API_VOXELS` voxels, or a `real` image that
            cannot be laid over the source.
    """
    if to not in CONTRASTS:
        raise ReaderError('`to` must be "T1" or "T2".')
    if parts not in PARTS:
        raise ReaderError(f"`parts` must be one of {', '.join(PARTS)}.")
    if parts == "translation" and real is not None:
        raise ReaderError('A real image is compared with `parts` "everything" only.')
    volume = session.held()
    refuse_large(volume, API_VOXELS)
    if real is not None:
        try:
            session.set_truth(match(real, volume), to)
        except TruthError as error:
            raise ReaderError(str(error)) from None
    session.start(to)
    if parts == "translation":
        return _described(session, model) | {"translated": _translated(session, model, to)}
    for batch in batches(session.missing(to)):
        session.translate_slices(model, batch, to)
    results = [session.result(model, index, to) for index in range(session.slices)]
    source, translated, reconstructed = (
        np.stack([getattr(result, name) for result in results])
        for name in ("source", "translated", "reconstructed")
    )
    return {
        **_described(session, model),
        "translated": encode_float32(translated),
        "source": encode_float32(source),
        "reconstructed": encode_float32(reconstructed),
        **_trust(session, model, calibration, results),
    }


def _described(session: Session, model: SharedModel) -> dict[str, Any]:
    """What an answer says of its source and of the model."""
    volume = session.held()
    said, check = session.notice(session.to), session.check
    return {
        "to": session.to,
        "shape": list(volume.pixels.shape),
        "spacing": list(volume.spacing) if volume.spacing else None,
        "directions": list(volume.directions) if volume.directions else None,
        "notes": [without_quoted(note) for note in volume.notes],
        "input_check": {
            "text": said.text,
            "warns": said.warns,
            "label": check and check.label,
            "probabilities": check and check.probabilities,
        },
        "version": model.translator.version,
        "checksum": model.translator.checksum,
        "digital_source_type": SOURCE_TYPE,
        "caveat": f"{CAVEAT} {NOT_A_DEVICE}",
    }


def _translated(session: Session, model: SharedModel, to: str) -> str:
    """All slices through the network once, and not back."""
    pixels, prepared, look = session.held().pixels, session.prepared(model), session.look_for(to)
    done = [
        model.translate(pixels[list(batch)], to, prepared=prepared, style=look, rank=Rank.WHOLE)
        for batch in batches(range(len(pixels)))
    ]
    return encode_float32(np.concatenate(done))


def _trust(
    session: Session, model: SharedModel, calibration: Calibration, results: list[CycleResult]
) -> dict[str, Any]:
    """How far to trust each slice: input check, numbers, uncertainty map, true error, reports."""
    to, prepared = session.to, session.prepared(model)
    truth, look = session.truth_for(to), session.look_for(to)
    slices, maps = [], []
    for index, result in enumerate(results):
        *_, (numbers, uncertainty) = slice_findings(model, result, prepared, to, calibration, look)
        readings = calibration.readings(to, numbers)
        true = slice_true_error(truth, result, index)
        elsewhere = is_of_elsewhere(session, model, index)
        slices.append(
            {
                "numbers": readings,
                "true_error": true,
                "true_error_of_another_place": elsewhere,
                "report": report(session, model, calibration, index, readings, true, elsewhere),
            }
        )
        maps.append(np.zeros_like(result.source) if uncertainty is None else uncertainty)
    shown = calibration.map_name(to) is not None
    return {
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
