"""Files to take away, made in memory. No name of a source is in them, and none is theirs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from cyclegan.export.bundle import RealImage, packed, result_zip
from cyclegan.export.derived import derived_dicom
from cyclegan.export.files import labelled_png, nifti
from cyclegan.export.provenance import CAVEAT, Provenance, synthetic_label
from cyclegan.server import limits, queue
from cyclegan.server.errors import UserError, error_message
from cyclegan.server.images import Measured
from cyclegan.server.measurements import SliceTrust, measured_slice
from cyclegan.server.scan import Download, Save, Scan
from cyclegan.server.series import Real, Series, View
from cyclegan.server.state import NARROWEST, WIDEST

CHANGED = "Stopped: something else is on screen now. Save again."
DROPPED = "Memory was short, and a part was dropped. Save again."


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
    """A `SaveRequest`, what was on screen at its time, and what was measured of that."""

    request: SaveRequest
    view: View
    index: int
    measured: list[Measured] = field(default_factory=list)

    @property
    def provenance(self) -> Provenance:
        """Of the translation."""
        return self.view.series.provenance(self.view.target)

    @property
    def name(self) -> str:
        """Of files: what they are, and six digits of the pixels' checksum."""
        return f"synthetic_{self.view.target.to}_{self.provenance.mark}"

    @property
    def window(self) -> tuple[float, float]:
        """(center, width) of the synthetic image."""
        return self.request.windows.translated.limited()


def order(scan: Scan, request: SaveRequest) -> Order:
    """What is on screen, to be saved.

    Raises:
        UserError: it cannot be saved.
    """
    with scan.lock:
        series = scan.series
        if not series.may_translate:
            raise UserError("There is no translation to save yet; let it be translated first.")
        new = Order(request, View.of(series), min(max(request.index, 0), series.slices - 1))
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
    kind, whole = new.request.kind, range(new.view.series.slices)
    slices = [new.index] if kind == "png" else list(whole)
    measuring = slices if kind == "everything" else []
    progress = scan.save = Save(kind, len(slices) + len(measuring) + 1)
    try:
        async with asyncio.timeout(limits.SAVE_S):
            await _translated(scan, new, set(slices), progress)
            for index in measuring:
                _check(scan, progress)
                future = measured_slice(new.view, index, queue.BACKGROUND)
                new.measured.append(await asyncio.wrap_future(future))
                progress.done += 1
                scan.updates.announce()
            loop = asyncio.get_running_loop()
            download, removed = await loop.run_in_executor(executor, _WRITERS[kind], new)
        _check(scan, progress)
        with scan.lock:
            progress.file, progress.name = secrets.token_urlsafe(32), download.name
            progress.done, progress.removed = progress.of, removed
            scan.files = {progress.file: download}  # in place of the one before
        scan.grown()
    except TimeoutError:
        progress.error = limits.took_too_long("Saving", limits.SAVE_S)
    except Exception as fault:
        was_dropped = getattr(fault, "status", None) == 409
        progress.error = DROPPED if was_dropped else error_message(fault, f"save {kind}")
    scan.updates.announce()


def _check(scan: Scan, progress: Save) -> None:
    if scan.is_closed or scan.save is not progress:
        raise UserError(CHANGED)


async def _translated(scan: Scan, new: Order, slices: set[int], progress: Save) -> None:
    """Wait until all slices are there."""
    series, target, _ = new.view
    while True:
        version = scan.updates.version
        _check(scan, progress)
        left = slices - series.results.indices(target)
        if progress.done != len(slices) - len(left):
            progress.done = len(slices) - len(left)
            scan.updates.announce()
            continue
        if not left:
            return
        if scan.series is not series or series.target != target:
            raise UserError(CHANGED)
        scan.translate()
        await scan.updates.wait(version, limits.POLL_S)


Written = tuple[Download, list[str]]


def png_file(new: Order) -> Written:
    """The synthetic slice as a labelled PNG, in the window of the page."""
    data = labelled_png(
        new.view.stored(new.index).translated,
        label=synthetic_label(new.view.target.to),
        volume=new.view.series.volume,
        index=new.index,
        window=new.window,
        provenance=new.provenance.lines(),
    )
    return Download(data, f"{new.name}_slice{new.index + 1}.png", "image/png"), []


def nifti_file(new: Order) -> Written:
    """All slices as float32 .nii.gz in the grid of the source."""
    description = f"{synthetic_label(new.view.target.to)}. {CAVEAT} {new.provenance}"
    data = nifti(new.view.translated(), new.view.series.volume, description=description)
    return Download(data, f"{new.name}.nii.gz", "application/gzip"), []


def dicom_file(new: Order) -> Written:
    """All slices as a derived DICOM series: one .dcm for one slice, else a zip of them."""
    volume, name = new.view.series.volume, new.name
    files, removed = derived_dicom(
        new.view.translated(), volume, provenance=new.provenance, window=new.window
    )
    if len(files) == 1:
        return Download(files[0], f"{name}.dcm", "application/dicom"), removed
    data = packed({f"{name}/{name}_{n:04}.dcm": file for n, file in enumerate(files, 1)})
    return Download(data, f"{name}_dicom.zip", "application/zip"), removed


def everything_file(new: Order) -> Written:
    """What is known of all slices, in one zip."""
    series, to, result = new.view.series, new.view.target.to, new.view.whole()
    calibration, uncertainty, real = series.model.calibration, None, new.view.real
    if calibration.map_name(to) and any(known.map is not None for known in new.measured):
        empty = np.zeros_like(result.source[0])
        maps = [empty if known.map is None else known.map for known in new.measured]
        uncertainty = calibration.map_words(to), np.stack(maps)
    trusts = [SliceTrust(new.view, index, known) for index, known in enumerate(new.measured)]
    data = result_zip(
        result,
        series.volume,
        provenance=new.provenance,
        shown=new.index,
        windows=(new.request.windows.original.limited(), new.window),
        uncertainty=uncertainty,
        real=real and _in_grid(real, result.source.shape, to),
        reports=[each.report() for each in trusts],
        table=[each.row() for each in trusts],
    )
    removed = [] if series.volume.dicom is None else ["what README.txt in the zip lists"]
    return Download(data, f"{new.name}.zip", "application/zip"), removed


def _in_grid(real: Real, shape: tuple[int, int, int], to: str) -> RealImage:
    placed = [real.truth.slice(index, shape[1:]) for index in range(shape[0])]
    return RealImage(real.title, real.contrast or to, *map(np.stack, zip(*placed, strict=True)))


_WRITERS: dict[str, Callable[[Order], Written]] = {
    "png": png_file,
    "nifti": nifti_file,
    "dicom": dicom_file,
    "everything": everything_file,
}
