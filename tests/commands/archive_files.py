"""Small volumes and series on the disk, and what the command makes of them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from dicom_files import axial_series, saved

AFFINE = np.diag([-2.0, -2.0, 5.0, 1.0])


def save_nifti(path: Path, *volumes: np.ndarray) -> Path:
    """One NIfTI file, for .hdr with its .img, of (Z, H, W) volumes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = [volume.transpose(2, 1, 0) for volume in volumes]
    array = np.stack(arrays, -1) if len(arrays) > 1 else arrays[0]
    kind = nib.Nifti1Pair if path.suffix == ".hdr" else nib.Nifti1Image
    nib.save(kind(array, AFFINE), path)
    return path


def save_series(folder: Path, *volumes: np.ndarray, names=(), **attributes) -> list[Path]:
    """A DICOM series of each volume, of one patient and study, saved from top to bottom."""
    folder.mkdir(parents=True, exist_ok=True)
    patient = {"PatientName": "Mustermann^Erika", "PatientID": "MRN-4711"}
    datasets = [
        dataset
        for number, volume in enumerate(volumes, 1)
        for dataset in axial_series(
            volume.astype(np.uint16),
            **{"StudyInstanceUID": "1.2.3", "SeriesNumber": number} | patient | attributes,
        )[::-1]
    ]
    start = len(list(folder.iterdir()))
    names = names or [f"IM{number:03}" for number in range(start, start + len(datasets))]
    return [saved(folder, data, name) for data, name in zip(datasets, names, strict=True)]


def files_below(out: Path) -> dict[str, Path]:
    """All files below a folder, by their paths from there."""
    return {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
