"""Files to take away, made in memory. No name of a source is in them, and none is theirs."""

from __future__ import annotations

import asyncio
import io
import secrets
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from cyclegan import OTHER
from cyclegan.export.bundle import Companions, result_zip
from cyclegan.export.derived import derived_dicom
from cyclegan.export.files import labelled_png, nifti
from cyclegan.export.provenance import CAVEAT, synthetic_label
from cyclegan.model.translator import CycleResult
from cyclegan.server import limits, queue
from cyclegan.server.errors import UserError, error_message
from cyclegan.server.measurements import DROPPED, SliceTrust, measured_slice
from cyclegan.server.results import Download, Measured, Save
from cyclegan.server.series import Series, View
from cyclegan.server.state import NARROWEST, WIDEST

if TYPE_CHECKING:
    from cyclegan.server.scan import Scan

CHANGED = "Stopped: something else is on screen now. Save again."


class Window(BaseModel):
    """Of an image on screen, in shares of the grey range."""

    model_config = ConfigDict(allow_inf_nan=False)
    center: float = 0.5
    width: float = 1.0

    def limited(self) -> tuple[float, float]:
        """(center, width) as the page can show them."""
        return min(max(self.center, -1.0), 2.0), min(max(self.width, NARROWEST), WIDEST)


class Windows(BaseModel):
    """Of the images that a file shows."""

    original: Window = Window()
    translated: Window = Window()


class SaveRequest(BaseModel):
    """What the browser asks to save: a kind of file, and what is on screen."""

    kind: Literal["png", "nifti", "dicom", "everything"]
    index: int = 0
    windows: Windows = Windows()


@dataclass(frozen=True)
class Order:
    """A `SaveRequest` and what was on screen at its time."""

    request: SaveRequest
    series: Series
    view: View
    index: int

    @property
    def name(self) -> str:
        """Of files: what they are, and six digits of the pixels' checksum."""
        return f"synthetic_{self.view.target.to}_{self.series.provenance(self.view.target).mark}"

    @property
    def window(self) -> tuple[float, float]:
        """(center, width) of the synthetic image."""
        return self.request.windows.translated.limited()

    def result(self, index: int) -> CycleResult:
        """Of a slice.

        Raises:
            UserError: memory was short, and it is not there any more.
        """
        result = self.series.result(self.view.target, index)
        if result is None:
            raise UserError(DROPPED)
        return result

    def translated(self) -> np.ndarray:
        """(Z, H, W) float32 in [0, 1]."""
        return np.stack([self.result(index).translated for index in range(self.series.slices)])


def order(scan: Scan, request: SaveRequest) -> Order:
    """What is on screen, to be saved.

    Raises:
        UserError: it cannot be saved.
    """
    with scan.lock:
        series = scan.series
        if not series.may_translate:
            raise UserError("There is no translation to save yet; let it be translated first.")
        index = min(max(request.index, 0), series.slices - 1)
        new = Order(request, series, series.view, index)
    if request.kind == "dicom" and series.volume.dicom is None:
        raise UserError("The scan is no DICOM, so there is none to derive; save a NIfTI.")
    if request.kind != "png":
        refuse_large(series, limits.WHOLE_VOXELS)
    return new


def refuse_large(series: Series, most: int) -> None:
    """Raise UserError when there are more than `most` voxels."""
    pixels = series.volume.pixels
    if pixels.size > most:
        shape = " × ".join(str(n) for n in pixels.shape)
        raise UserError(
            f"{shape} voxels are too many to be translated here as a whole; up to {most:,} are. "
            "Run python -m cyclegan.translate on your own machine."
        )


async def save(scan: Scan, new: Order, executor: Executor) -> None:
    """Make a file once all of it is translated; `scan.save` says how far that is.

    Args:
        scan: that it is of.
        new: what to save.
        executor: where it is written.
    """
    kind = new.request.kind
    slices = [new.index] if kind == "png" else list(range(new.series.slices))
    measuring = slices if kind == "everything" else []
    progress = scan.save = Save(kind, len(slices) + len(measuring) + 1)
    try:
        async with asyncio.timeout(limits.SAVE_S):
            await _translated(scan, new, set(slices), progress)
            measured = []
            for index in measuring:
                _check(scan, progress)
                future = measured_slice(
                    new.series, new.view.target, index, whole=True, handicap=queue.BACKGROUND
                )
                measured.append(await asyncio.wrap_future(future))
                progress.done += 1
                scan.updates.announce()
            write = partial(_WRITERS[kind], new, *([measured] if measuring else []))
            loop = asyncio.get_running_loop()
            download, progress.removed = await loop.run_in_executor(executor, write)
        _check(scan, progress)
        with scan.lock:
            progress.file, progress.name = secrets.token_urlsafe(32), download.name
            progress.done = progress.of
            scan.files = {progress.file: download}  # in place of the one before
        scan.grown()
    except TimeoutError:
        progress.error = limits.took_too_long("Saving", limits.SAVE_S)
    except Exception as fault:
        progress.error = error_message(fault, f"save {kind}")
    scan.updates.announce()


def _check(scan: Scan, progress: Save) -> None:
    if scan.is_closed or scan.save is not progress:
        raise UserError(CHANGED)


async def _translated(scan: Scan, new: Order, slices: set[int], progress: Save) -> None:
    """Wait until all slices are there."""
    while True:
        version = scan.updates.version
        _check(scan, progress)
        left = slices - new.series.results.indices(new.view.target)
        if progress.done != len(slices) - len(left):
            progress.done = len(slices) - len(left)
            scan.updates.announce()
            continue
        if not left:
            return
        if scan.series is not new.series or scan.series.target != new.view.target:
            raise UserError(CHANGED)
        scan.translation.go_on()
        await scan.updates.wait(version, limits.POLL_S)


Written = tuple[Download, list[str]]


def png_file(new: Order) -> Written:
    """The synthetic slice as a labelled PNG, in the window of the page."""
    volume, target, slices = new.series.volume, new.view.target, new.series.slices
    center, width = new.window
    data = labelled_png(
        new.result(new.index).translated,
        label=synthetic_label(target.to),
        window=new.window,
        spacing=volume.spacing,
        sides=volume.directions,
        slice_of=(new.index + 1, slices) if slices > 1 else None,
        aspect=volume.aspect,
        provenance={
            **new.series.provenance(target).lines(),
            "Window": f"center {center:.3f}, width {width:.3f}",
            "Caveat": CAVEAT,
        },
    )
    return Download(data, f"{new.name}_slice{new.index + 1}.png", "image/png"), []


def nifti_file(new: Order) -> Written:
    """All slices as float32 .nii.gz in the grid of the source."""
    target = new.view.target
    description = f"{synthetic_label(target.to)}. {CAVEAT} {new.series.provenance(target)}"
    data = nifti(new.translated(), new.series.volume, description=description)
    return Download(data, f"{new.name}.nii.gz", "application/gzip"), []


def dicom_file(new: Order) -> Written:
    """All slices as a derived DICOM series: one .dcm for one slice, else a zip of them."""
    target, name = new.view.target, new.name
    files, removed = derived_dicom(
        new.translated(),
        new.series.volume,
        to=target.to,
        provenance=new.series.provenance(target),
        window=new.window,
    )
    if len(files) == 1:
        return Download(files[0], f"{name}.dcm", "application/dicom"), removed
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, data in enumerate(files, start=1):
            entry = zipfile.ZipInfo(f"{name}/{name}_{number:04}.dcm")  # no times
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, compresslevel=1)
    return Download(buffer.getvalue(), f"{name}_dicom.zip", "application/zip"), removed


def everything_file(new: Order, measured: Sequence[Measured]) -> Written:
    """What is known of all slices, in one zip."""
    series, target = new.series, new.view.target
    results = [new.result(index) for index in range(series.slices)]
    data = result_zip(
        np.stack([result.translated for result in results]),
        series.volume,
        to=target.to,
        provenance=series.provenance(target),
        window=new.window,
        beside=_companions(new, results, measured),
    )
    removed = [] if series.volume.dicom is None else ["what README.txt in the zip lists"]
    return Download(data, f"{new.name}.zip", "application/zip"), removed


_WRITERS: dict[str, Callable[..., Written]] = {
    "png": png_file,
    "nifti": nifti_file,
    "dicom": dicom_file,
    "everything": everything_file,
}


def _companions(
    new: Order, results: Sequence[CycleResult], measured: Sequence[Measured]
) -> Companions:
    """Images, reports and the table for the zip."""
    series, to = new.series, new.view.target.to
    source, calibration = OTHER[to], series.model.calibration
    slices = [
        SliceTrust(series, new.view, index, result, measurement)
        for index, (result, measurement) in enumerate(zip(results, measured, strict=True))
    ]
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
        uncertainty = [empty if m.map is None else m.map for m in measured]
        maps["desc-uncertainty_map"] = (calibration.map_words(to), np.stack(uncertainty))
    real, acquired = slices[0].real, None
    if real is not None:
        placed = [real.truth.slice(i, original[0].shape) for i in range(len(results))]
        acquired, covered = (np.stack(images) for images in zip(*placed, strict=True))
        translated = np.stack([result.translated for result in results])
        name = f"desc-real_{real.contrast or to}w"
        maps[name] = (f"{real.title} in this grid, 0 to 1", acquired)
        maps["desc-trueError_map"] = (
            f"synthetic {to} - {real.title}; 0 where not covered",
            np.where(covered, translated - acquired, 0),
        )
    return Companions(
        original,
        maps,
        real=acquired,
        real_title=real.title if real else "",
        shown=new.index,
        original_window=new.request.windows.original.limited(),
        reports=[each.report() for each in slices],
        table=[each.row() for each in slices],
    )
