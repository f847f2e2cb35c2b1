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
        real: the acquired image of the wanted contrast in [0, 1], or None.
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
    files = {
        f"{folder}_{number:04}.png": data
        for number, data in _pictures(translated, volume, label, window, provenance)
    }
    contents = {f"png/{name}": data for name, data in files.items()}
    said = [f"png/: slices in the order shown{_said(window)}; grey is not calibrated"]
    for name, (words, pixels) in _images(translated, to, beside).items():
        contents |= _bids(f"sub-{provenance.mark}_{name}", words, pixels, volume, to, provenance)
        said.append(f"sub-{provenance.mark}_{name}.nii.gz: {words}")
    objects, removed = [], []
    if volume.dicom is not None:
        objects, removed = derived_dicom(
            translated, volume, to=to, provenance=provenance, window=window or (0.5, 1.0)
        )
        said.append("dicom/: derived objects, one for each slice")
    for number, data in enumerate(objects, 1):
        contents[f"dicom/{folder}_{number:04}.dcm"] = data
    if beside is not None:
        contents["side_by_side.png"] = side_by_side(
            translated, volume, to, provenance, window, beside
        )
        said.append(f"side_by_side.png: slice {beside.shown + 1}, for a slide")
        if beside.table:
            contents["slices.csv"] = _csv(beside.table)
            contents["report.txt"] = "\n\n\n".join(beside.reports) + "\n"
            said.append("slices.csv, report.txt: what the page says of each slice")
    contents["README.txt"] = _readme(label, said, removed, provenance)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in contents.items():
            # PNG and NIfTI are deflated already.
            packed = name.endswith((".png", ".gz"))
            how = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(f"{folder}/{name}"), data, how)
    return buffer.getvalue()


def side_by_side(
    translated: np.ndarray,
    volume: Volume,
    to: str,
    provenance: Provenance,
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
        provenance={**provenance.lines(), "Caveat": CAVEAT},
        min_width=SIDE_BY_SIDE_WIDTH,
    )


def sidecar(words: str, to: str, provenance: Provenance) -> dict[str, Any]:
    """What BIDS derivatives say beside an image (BIDS 1.9, "Derivatives: common data types").

    Args:
        words: what the image shows.
        to: the contrast of the synthetic image that it is, or comes from.
        provenance: of the result.
    """
    return {
        "Description": words,
        "GeneratedBy": [
            {
                "Name": SOFTWARE,
                "Version": provenance.software_version,
                "Description": f"{synthetic_label(to)}; model {provenance.model_version}, "
                f"weights sha256 {provenance.checksum}",
            }
        ],
        "Sources": [f"urn:sha256:{provenance.source_sha256}"],
        "DigitalSourceType": SOURCE_TYPE,
        "Caveat": CAVEAT,
    }


def _images(
    translated: np.ndarray, to: str, beside: Companions | None
) -> dict[str, tuple[str, np.ndarray]]:
    """By BIDS name, without the subject: what each image shows, and its pixels."""
    images = {f"desc-synthetic_{to}w": (f"{synthetic_label(to)}, 0 to 1", translated)}
    if beside is not None:
        source = OTHER[to]
        words = f"the original {source}, scaled as the model sees it, 0 to 1"
        images[f"desc-original_{source}w"] = (words, beside.original)
        images |= dict(beside.maps)
    return images


def _bids(
    name: str, words: str, pixels: np.ndarray, volume: Volume, to: str, provenance: Provenance
) -> dict[str, bytes | str]:
    data = nifti(pixels, volume, description=f"{words}. {CAVEAT} {provenance}")
    told = sidecar(words, to, provenance)
    if "desc-original" in name:  # as acquired
        del told["DigitalSourceType"], told["Caveat"]
    return {f"{name}.nii.gz": data, f"{name}.json": json.dumps(told, indent=2) + "\n"}


def _pictures(
    translated: np.ndarray,
    volume: Volume,
    label: str,
    window: Window | None,
    provenance: Provenance,
) -> list[tuple[int, bytes]]:
    told = {**provenance.lines(), "Caveat": CAVEAT}
    return [
        (
            number,
            labelled_png(
                image,
                label=label,
                window=window,
                spacing=volume.spacing,
                sides=volume.directions,
                slice_of=(number, len(translated)) if len(translated) > 1 else None,
                aspect=volume.aspect,
                provenance=told,
            ),
        )
        for number, image in enumerate(translated, 1)
    ]


def _readme(label: str, said: Sequence[str], removed: Sequence[str], provenance: Provenance) -> str:
    lines = [label, CAVEAT, "", *(f"{k}: {v}" for k, v in provenance.lines().items()), "", *said]
    if removed:
        lines += ["", "Removed from the DICOM header:", *(f"- {words}" for words in removed)]
    lines += ["", "Pixels are not altered to hide a face; a stack through the head may show one."]
    return "\n".join(lines) + "\n"


def _csv(table: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return buffer.getvalue()


def _windowed(image: np.ndarray, window: Window | None) -> np.ndarray:
    center, width = window or (0.5, 1.0)
    return np.clip((image - center) / width + 0.5, 0.0, 1.0)


def _said(window: Window | None) -> str:
    return f" at window center {window[0]:.3f}, width {window[1]:.3f}" if window else ""
