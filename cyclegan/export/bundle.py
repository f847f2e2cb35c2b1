"""Everything that the page shows of a scan, in one zip.

Nothing in it, names included, tells who the patient is; times are those of the zip epoch.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cyclegan import OTHER
from cyclegan.export.derived import derived_dicom
from cyclegan.export.files import labelled_png, nifti
from cyclegan.export.provenance import (
    CAVEAT,
    SOFTWARE,
    SOURCE_TYPE,
    Provenance,
    synthetic_label,
)
from cyclegan.reading.volume import Volume

Window = tuple[float, float]
SIDE_BY_SIDE_WIDTH = 1600  # pixels


@dataclass(frozen=True)
class Companions:
    """What is shown beside the synthetic images; each image (Z, H, W) of the source's shape.

    Attributes:
        original: in [0, 1], as the model sees the source.
        maps: by the name of their file, what they show and their pixels.
        real: the acquired image of the other contrast in [0, 1], or None.
        real_title: what it may be called; default "real" and the contrast.
        shown: index of the slice for the picture of all side by side.
        original_window: (center, width) of the original there.
        reports: of each slice, as text.
        table: of each slice, the same columns in each.
    """

    original: np.ndarray
    maps: Mapping[str, tuple[str, np.ndarray]] = field(default_factory=dict)
    real: np.ndarray | None = None
    real_title: str = ""
    shown: int = 0
    original_window: Window | None = None
    reports: Sequence[str] = ()
    table: Sequence[Mapping[str, Any]] = ()


def result_zip(
    translated: np.ndarray,
    volume: Volume,
    *,
    to: str,
    provenance: Provenance,
    window: Window | None = None,
    beside: Companions | None = None,
) -> bytes:
    """Pack a translated volume: a PNG of each slice, NIfTI with a BIDS sidecar, README, of DICOM
    derived DICOM, and what is shown `beside` it.

    Args:
        translated: (Z, H, W) in [0, 1], of the shape of `volume.pixels`.
        volume: the source as `read_volume` returned it.
        to: the contrast of `translated`, "T1" or "T2".
        provenance: as `provenance()` gives it.
        window: (center, width) of PNG and DICOM in values of `translated`; default all of [0, 1].
        beside: the other images and the reports.

    Raises:
        ValueError: shape and volume do not belong together.
    """
    label, folder = synthetic_label(to), f"synthetic_{to}_{provenance.mark}"
    at_window = " at window center {:.3f}, width {:.3f}".format(*window) if window else ""
    readme = [f"png/: slices in the order shown{at_window}; grey is not calibrated"]
    contents: dict[str, bytes | str] = {}
    text_chunks = {**provenance.lines(), "Caveat": CAVEAT}
    for number, image in enumerate(translated, 1):
        contents[f"png/{folder}_{number:04}.png"] = labelled_png(
            image,
            label=label,
            window=window,
            spacing=volume.spacing,
            sides=volume.directions,
            slice_of=(number, len(translated)) if len(translated) > 1 else None,
            aspect=volume.aspect,
            provenance=text_chunks,
        )
    images = {f"desc-synthetic_{to}w": (f"{label}, 0 to 1", translated)}
    if beside is not None:
        words = f"the original {OTHER[to]}, scaled as the model sees it, 0 to 1"
        images |= {f"desc-original_{OTHER[to]}w": (words, beside.original), **beside.maps}
    for name, (words, pixels) in images.items():
        stem = f"sub-{provenance.mark}_{name}"
        description = f"{words}. {CAVEAT} {provenance}"
        contents[f"{stem}.nii.gz"] = nifti(pixels, volume, description=description)
        fields = _sidecar(words, label, provenance, is_acquired="desc-original" in name)
        contents[f"{stem}.json"] = json.dumps(fields, indent=2) + "\n"
        readme.append(f"{stem}.nii.gz: {words}")
    removed: list[str] = []
    if volume.dicom is not None:
        objects, removed = derived_dicom(
            translated, volume, to=to, provenance=provenance, window=window or (0.5, 1.0)
        )
        for number, data in enumerate(objects, 1):
            contents[f"dicom/{folder}_{number:04}.dcm"] = data
        readme.append("dicom/: derived objects, one for each slice")
    if beside is not None:
        picture = _side_by_side(translated, volume, to, text_chunks, window, beside)
        contents["side_by_side.png"] = picture
        readme.append(f"side_by_side.png: slice {beside.shown + 1}, for a slide")
        if beside.table:
            contents["slices.csv"] = _csv(beside.table)
            contents["report.txt"] = "\n\n\n".join(beside.reports) + "\n"
            readme.append("slices.csv, report.txt: what the page says of each slice")
    lines = [label, CAVEAT, "", *(f"{k}: {v}" for k, v in provenance.lines().items()), "", *readme]
    if removed:
        lines += ["", "Removed from the DICOM header:", *(f"- {words}" for words in removed)]
    lines += ["", "Pixels are not altered to hide a face; a stack through the head may show one."]
    contents["README.txt"] = "\n".join(lines) + "\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in contents.items():
            # PNG and NIfTI are deflated already.
            is_packed = name.endswith((".png", ".gz"))
            method = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(f"{folder}/{name}"), data, method)
    return buffer.getvalue()


def _side_by_side(
    translated: np.ndarray,
    volume: Volume,
    to: str,
    text_chunks: Mapping[str, str],
    window: Window | None,
    beside: Companions,
) -> bytes:
    """Original, synthetic and, where there is one, real slice in one labelled PNG for a slide, each
    in its window, at least `SIDE_BY_SIDE_WIDTH` pixels wide."""
    index = beside.shown
    images = [
        _windowed(beside.original[index], beside.original_window),
        _windowed(translated[index], window),
    ]
    names = [f"original {OTHER[to]}", f"SYNTHETIC {to}"]
    if beside.real is not None:
        images.append(_windowed(beside.real[index], window))
        names.append(beside.real_title or f"real {to}")
    gap = np.zeros((images[0].shape[0], max(4, images[0].shape[1] // 32)))
    row = [part for image in images for part in (gap, image)][1:]
    return labelled_png(
        np.hstack(row),
        label=f"Left to right: {', '.join(names)}. {synthetic_label(to)}",
        spacing=volume.spacing,
        aspect=volume.aspect,
        provenance=text_chunks,
        min_width=SIDE_BY_SIDE_WIDTH,
    )


def _sidecar(
    words: str, label: str, provenance: Provenance, *, is_acquired: bool
) -> dict[str, Any]:
    """What BIDS derivatives say beside an image (BIDS 1.9, "Derivatives: common data types").

    Args:
        words: what the image shows.
        label: of the synthetic image that it is, or comes from.
        provenance: of the result.
        is_acquired: whether it is the source.
    """
    software = {
        "Name": SOFTWARE,
        "Version": provenance.software_version,
        "Description": f"{label}; model {provenance.model_version}, "
        f"weights sha256 {provenance.checksum}",
    }
    synthetic = {"DigitalSourceType": SOURCE_TYPE, "Caveat": CAVEAT}
    return {
        "Description": words,
        "GeneratedBy": [software],
        "Sources": [f"urn:sha256:{provenance.source_sha256}"],
        **({} if is_acquired else synthetic),
    }


def _csv(table: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return buffer.getvalue()


def _windowed(image: np.ndarray, window: Window | None) -> np.ndarray:
    center, width = window or (0.5, 1.0)
    return np.clip((image - center) / width + 0.5, 0.0, 1.0)
