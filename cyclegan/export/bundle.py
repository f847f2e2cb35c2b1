"""Everything that the page shows of a scan, in one zip.

Nothing in it, names included, tells who the patient is; times are those of the zip epoch.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cyclegan import OTHER
from cyclegan.export.derived import derived_dicom
from cyclegan.export.files import Window, labelled_png, nifti, windowed
from cyclegan.export.provenance import (
    CAVEAT,
    SOFTWARE,
    SOURCE_TYPE,
    Provenance,
    synthetic_label,
)
from cyclegan.reading.volume import Volume

if TYPE_CHECKING:  # torch is slow to import, and the type suffices here
    from cyclegan.model.translator import CycleResult

SIDE_BY_SIDE_WIDTH = 1600  # pixels


class RealImage(NamedTuple):
    """An acquired image in the grid of the source.

    Attributes:
        title: what it may be called, such as "real T2".
        contrast: for the name of its file.
        pixels: (Z, H, W) in [0, 1].
        covered: (Z, H, W) bool, where it was measured.
    """

    title: str
    contrast: str
    pixels: np.ndarray
    covered: np.ndarray


def result_zip(
    result: CycleResult,
    volume: Volume,
    *,
    provenance: Provenance,
    shown: int,
    windows: tuple[Window, Window],
    uncertainty: tuple[str, np.ndarray] | None = None,
    real: RealImage | None = None,
    reports: Sequence[str] = (),
    table: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    """Pack a translated volume: a PNG of each slice, NIfTI with a BIDS sidecar of each image, of
    DICOM derived DICOM, a picture of all side by side, reports, a table, README.

    Args:
        result: of all slices, each image of the shape of `volume.pixels`.
        volume: the source as `read_volume` returned it.
        provenance: of the result.
        shown: index of the slice for the picture of all side by side.
        windows: of the original, and of the synthetic images, which PNG and DICOM have, too.
        uncertainty: what its map is worth, and the map, (Z, H, W).
        real: to compare with.
        reports: of each slice, as text.
        table: of each slice, the same columns in each.

    Raises:
        ValueError: shape and volume do not belong together.
    """
    to, source = provenance.to, OTHER[provenance.to]
    label, folder = synthetic_label(to), f"synthetic_{to}_{provenance.mark}"
    original_window, window = windows
    lines = provenance.lines()
    contents: dict[str, bytes | str] = {}
    for index, image in enumerate(result.translated):
        contents[f"png/{folder}_{index + 1:04}.png"] = labelled_png(
            image, label=label, volume=volume, index=index, window=window, provenance=lines
        )
    readme = [
        "png/: slices in the order shown at window center {:.3f}, width {:.3f}; grey is not "
        "calibrated".format(*window)
    ]
    for name, (words, pixels) in _images(result, to, uncertainty, real).items():
        stem = f"sub-{provenance.mark}_{name}"
        description = f"{words}. {CAVEAT} {provenance}"
        contents[f"{stem}.nii.gz"] = nifti(pixels, volume, description=description)
        fields = _sidecar(words, label, provenance, is_acquired="desc-original" in name)
        contents[f"{stem}.json"] = json.dumps(fields, indent=2) + "\n"
        readme.append(f"{stem}.nii.gz: {words}")
    removed: list[str] = []
    if volume.dicom is not None:
        objects, removed = derived_dicom(
            result.translated, volume, provenance=provenance, window=window
        )
        for number, data in enumerate(objects, 1):
            contents[f"dicom/{folder}_{number:04}.dcm"] = data
        readme.append("dicom/: derived objects, one for each slice")
    # For a slide: each image in its window.
    row = {
        f"original {source}": windowed(result.source[shown], original_window),
        f"SYNTHETIC {to}": windowed(result.translated[shown], window),
    }
    if real is not None:
        row[real.title] = windowed(real.pixels[shown], window)
    gap = np.zeros((volume.pixels.shape[1], max(4, volume.pixels.shape[2] // 32)))
    contents["side_by_side.png"] = labelled_png(
        np.hstack([part for image in row.values() for part in (gap, image)][1:]),
        label=f"Left to right: {', '.join(row)}. {label}",
        volume=volume,
        provenance=lines,
        min_width=SIDE_BY_SIDE_WIDTH,
    )
    readme.append(f"side_by_side.png: slice {shown + 1}, for a slide")
    contents["slices.csv"] = _csv(table)
    contents["report.txt"] = "\n\n\n".join(reports) + "\n"
    readme.append("slices.csv, report.txt: what the page says of each slice")
    readme = [
        label,
        CAVEAT,
        "",
        *(f"{name}: {value}" for name, value in lines.items()),
        "",
        *readme,
    ]
    if removed:
        readme += ["", "Removed from the DICOM header:", *(f"- {words}" for words in removed)]
    readme += ["", "Pixels are not altered to hide a face; a stack through the head may show one."]
    contents["README.txt"] = "\n".join(readme) + "\n"
    return packed({f"{folder}/{name}": data for name, data in contents.items()})


def packed(contents: Mapping[str, bytes | str]) -> bytes:
    """A zip of files by name, without times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in contents.items():
            is_packed = name.endswith((".png", ".gz"))  # they are deflated already
            method = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name), data, method, compresslevel=1)
    return buffer.getvalue()


def _images(
    result: CycleResult,
    to: str,
    uncertainty: tuple[str, np.ndarray] | None,
    real: RealImage | None,
) -> dict[str, tuple[str, np.ndarray]]:
    """What each image shows, and its pixels, by the end of its file's name."""
    source = OTHER[to]
    images = {
        f"desc-synthetic_{to}w": (f"{synthetic_label(to)}, 0 to 1", result.translated),
        f"desc-original_{source}w": (
            f"the original {source}, scaled as the model sees it, 0 to 1",
            result.source,
        ),
        f"desc-reconstruction_{source}w": (
            f"the synthetic {to} translated back to {source}, 0 to 1",
            result.reconstructed,
        ),
        "desc-cycleError_map": (
            "|original - reconstruction| in shares of the grey range; cycle error, not the "
            "translation's error",
            np.abs(result.source - result.reconstructed),
        ),
    }
    if uncertainty is not None:
        images["desc-uncertainty_map"] = uncertainty
    if real is not None:
        images[f"desc-real_{real.contrast}w"] = (f"{real.title} in this grid, 0 to 1", real.pixels)
        images["desc-trueError_map"] = (
            f"synthetic {to} - {real.title}; 0 where not covered",
            np.where(real.covered, result.translated - real.pixels, 0),
        )
    return images


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
