"""Files to take away, made in memory. No name of a source is in them, and none is theirs."""

from __future__ import annotations

import asyncio
import io
import secrets
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan import OTHER
from cyclegan.export.bundle import Companions, result_zip
from cyclegan.export.derived import derived_dicom
from cyclegan.export.files import labelled_png, nifti
from cyclegan.export.provenance import CAVEAT, synthetic_label
from cyclegan.model.translator import CycleResult
from cyclegan.server import limits, queue
from cyclegan.server.downloads import Download, Save
from cyclegan.server.errors import UserError, sentence
from cyclegan.server.findings import Measured, signed_error, telling, true_findings, whole_fit
from cyclegan.server.measuring import Order, measuring
from cyclegan.server.phases import Action, refuse
from cyclegan.server.report import report
from cyclegan.server.state import NARROWEST, WIDEST
from cyclegan.trust.calibration import MEASURES

if TYPE_CHECKING:
    from cyclegan.server.scan import Scan
    from cyclegan.server.series import Series

KINDS = ("png", "nifti", "dicom", "everything")
CHANGED = "Stopped: something else is on screen now. Save again."


def order(scan: Scan, sent: Any) -> tuple[str, Order]:
    """What a browser asks to save: the kind, and the rest.

    Raises:
        UserError: it cannot be saved.
    """
    sent = sent if isinstance(sent, dict) else {}
    kind, index = sent.get("kind"), sent.get("index", 0)
    if kind not in KINDS or type(index) is not int:
        raise UserError(f"There is no such file to save; choose one of {', '.join(KINDS)}.")
    with scan.lock:
        refuse(scan.phase(), Action.SAVE)
        series = scan.series
        index = min(max(index, 0), series.slices - 1)
        made = Order(scan.model, series, series.view, index, _window(sent.get("windows")))
    if kind == "dicom" and series.volume.dicom is None:
        raise UserError("The scan is no DICOM, so there is none to derive; save a NIfTI.")
    if kind != "png":
        refuse_large(series)
    return kind, made


def refuse_large(series: Series, most: int = limits.WHOLE_VOXELS) -> None:
    """Raise UserError when there are more than `most` voxels."""
    pixels = series.volume.pixels
    if pixels.size > most:
        shape = " × ".join(str(n) for n in pixels.shape)
        raise UserError(
            f"{shape} voxels are too many to be translated here as a whole; up to {most:,} are. "
            "Run python -m cyclegan.translate on your own machine."
        )


async def save(scan: Scan, kind: str, made: Order, executor: Executor) -> None:
    """Make a file once all of it is translated; the scan's `save` tells how far that is.

    Args:
        scan: that it is of.
        kind: one of `KINDS`.
        made: what is asked for.
        executor: where it is written.
    """
    whole = kind != "png"
    slices = range(made.series.slices) if whole else [made.index]
    measuring = len(slices) if kind == "everything" else 0
    progress = Save(kind, len(slices) + measuring + 1)
    scan.save = progress
    try:
        async with asyncio.timeout(limits.SAVE_S):
            await _translated(scan, made, set(slices), progress)
            measured = []
            for index in range(measuring):
                measured.append(await _measured(scan, made, index, progress))
                progress.done = len(slices) + index + 1
                scan.changes.announce()
            write = (
                partial(_WRITERS[kind], made, measured)
                if measuring
                else partial(_WRITERS[kind], made)
            )
            download, removed = await asyncio.get_running_loop().run_in_executor(executor, write)
        _check(scan, progress)
        with scan.lock:
            progress.file, progress.name = secrets.token_urlsafe(32), download.name
            progress.done, progress.removed = progress.of, removed
            scan.files = {progress.file: download}  # in place of the one before
        scan.grown()
    except TimeoutError:
        progress.error = limits.took_too_long("Saving", limits.SAVE_S)
    except Exception as fault:
        progress.error = sentence(fault, f"save {kind}")
    scan.changes.announce()


def _check(scan: Scan, progress: Save) -> None:
    if scan.is_closed or scan.save is not progress:
        raise UserError(CHANGED)


async def _translated(scan: Scan, made: Order, slices: set[int], progress: Save) -> None:
    """Wait until all slices are there."""
    while True:
        version = scan.changes.version
        _check(scan, progress)
        left = slices - made.series.results.indices(made.view.made)
        if progress.done != len(slices) - len(left):
            progress.done = len(slices) - len(left)
            scan.changes.announce()
            continue
        if not left:
            return
        with scan.lock:
            if scan.series.view.made != made.view.made or scan.series is not made.series:
                raise UserError(CHANGED)
        scan.translation.go_on()
        await scan.changes.wait(version, limits.POLL_S)


async def _measured(scan: Scan, made: Order, index: int, progress: Save) -> Measured:
    """Numbers and map of a slice, all of them."""
    _check(scan, progress)
    future = measuring(made, index, whole=True, handicap=queue.BACKGROUND)
    return await asyncio.wrap_future(future)


Written = tuple[Download, Sequence[str]]


def png_file(made: Order) -> Written:
    """The synthetic slice as a labelled PNG, in the window of the page."""
    volume, to, index = made.series.volume, made.view.to, made.index
    center, width = made.window
    slices = made.series.slices
    data = labelled_png(
        made.result(index).translated,
        label=synthetic_label(to),
        window=made.window,
        spacing=volume.spacing,
        sides=volume.directions,
        slice_of=(index + 1, slices) if slices > 1 else None,
        aspect=volume.aspect,
        provenance={
            **made.series.provenance(made.model, made.view.made).lines(),
            "Window": f"center {center:.3f}, width {width:.3f}",
            "Caveat": CAVEAT,
        },
    )
    return Download(data, f"{made.name}_slice{index + 1}.png", "image/png"), ()


def nifti_file(made: Order) -> Written:
    """All slices as float32 .nii.gz in the grid of the source."""
    provenance = made.series.provenance(made.model, made.view.made)
    words = f"{synthetic_label(made.view.to)}. {CAVEAT} {provenance}"
    data = nifti(made.translated(), made.series.volume, description=words)
    return Download(data, f"{made.name}.nii.gz", "application/gzip"), ()


def dicom_file(made: Order) -> Written:
    """All slices as a derived DICOM series: one .dcm for one slice, else a zip of them."""
    files, removed = derived_dicom(
        made.translated(),
        made.series.volume,
        to=made.view.to,
        provenance=made.series.provenance(made.model, made.view.made),
    )
    name = made.name
    if len(files) == 1:
        return Download(files[0], f"{name}.dcm", "application/dicom"), removed
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, data in enumerate(files, start=1):
            entry = zipfile.ZipInfo(f"{name}/{name}_{number:04}.dcm")  # no times
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, compresslevel=1)
    return Download(buffer.getvalue(), f"{name}_dicom.zip", "application/zip"), removed


def everything_file(made: Order, measured: Sequence[Measured]) -> Written:
    """What is known of all slices, in one zip."""
    series, view = made.series, made.view
    results = [made.result(index) for index in range(series.slices)]
    data = result_zip(
        np.stack([result.translated for result in results]),
        series.volume,
        to=view.to,
        provenance=series.provenance(made.model, view.made),
        window=made.window,
        beside=_companions(made, results, measured),
    )
    removed = () if series.volume.dicom is None else ("what README.txt in the zip lists",)
    return Download(data, f"{made.name}.zip", "application/zip"), removed


_WRITERS: dict[str, Callable[..., Written]] = {
    "png": png_file,
    "nifti": nifti_file,
    "dicom": dicom_file,
    "everything": everything_file,
}


def _companions(
    made: Order, results: Sequence[CycleResult], measured: Sequence[Measured]
) -> Companions:
    """Images, reports and the table for the zip."""
    series, to = made.series, made.view.to
    source, calibration = OTHER[to], made.model.calibration
    original = np.stack([result.source for result in results])
    back = np.stack([result.reconstructed for result in results])
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
    if calibration.map_name(to) and any(measurement.map is not None for measurement in measured):
        empty = np.zeros_like(original[0])
        uncertain = [
            empty if measurement.map is None else measurement.map for measurement in measured
        ]
        maps["desc-uncertainty_map"] = (calibration.map_words(to), np.stack(uncertain))
    real, acquired = series.real if made.view.real is not None else None, None
    if real is not None:
        shape = original[0].shape
        acquired = np.stack([real.truth.slice(i, shape)[0] for i in range(len(results))])
        errors = [signed_error(real, i, result) for i, result in enumerate(results)]
        maps[f"desc-real_{to}w"] = (f"the acquired {to} in this grid, 0 to 1", acquired)
        maps["desc-trueError_map"] = (
            f"synthetic - real {to}; 0 where not covered",
            np.stack(errors),
        )
    reports, table = [], []
    for index, (result, measurement) in enumerate(zip(results, measured, strict=True)):
        readings = calibration.readings(to, measurement.numbers, is_simulated=series.is_simulated)
        fit = whole_fit(series, measurement, telling(readings))
        true, elsewhere = true_findings(real, series, index, result)
        key = made.view.made
        reports.append(
            report(made.model, series, index, key, readings, fit.sentence, real, true, elsewhere)
        )
        label = series.check and series.check.label
        table.append(_row(index, label, fit.word, readings, true))
    return Companions(original, maps, acquired, made.index, reports, table)


def _row(
    index: int,
    label: str | None,
    word: str,
    readings: Sequence[dict[str, Any]],
    true: dict[str, float] | None,
) -> dict[str, Any]:
    """Of the table of slices: the same columns for each."""
    row: dict[str, Any] = {"slice": index + 1, "input": label, "fits": word}
    by_name = {reading["name"]: reading for reading in readings}
    for name in MEASURES:
        reading = by_name.get(name, {})
        low, high = reading.get("expected") or (None, None)
        row |= {name: reading.get("value"), f"{name}_low": low, f"{name}_high": high}
    errors = true or {}
    return row | {f"true_{name}": errors.get(name) for name in ("ssim", "psnr", "mae")}


def _window(windows: Any) -> tuple[float, float]:
    """That of the synthetic image: {"translated": {"center", "width"}}."""
    window = windows.get("translated") if isinstance(windows, dict) else None
    try:
        center, width = float(window["center"]), float(window["width"])  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        return 0.5, 1.0
    if not (np.isfinite(center) and np.isfinite(width)):
        return 0.5, 1.0
    return min(max(center, -1.0), 2.0), min(max(width, NARROWEST), WIDEST)
