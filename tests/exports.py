"""What tests of exports share: a provenance, and exports read back."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import nibabel as nib
import pydicom

from cyclegan.export.derived import WHITE, derived_dicom
from cyclegan.export.provenance import Provenance
from cyclegan.reading.volume import Volume

ORIGIN = Provenance("1.2", "ab" * 32, "T2", "cd" * 32, software_version="0.1.0")


def derive(volume: Volume, **options) -> list[pydicom.Dataset]:
    """Derived objects of a "translation" that is the source itself, so that pixels can be found."""
    pixels = volume.pixels / WHITE
    files, _ = derived_dicom(pixels, volume, provenance=ORIGIN, **options)
    return [pydicom.dcmread(io.BytesIO(data)) for data in files]


def loaded(data: bytes) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(data))


def unpacked(data: bytes) -> dict[str, bytes]:
    """Files of a zip by their names without folders."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {Path(name).name: archive.read(name) for name in archive.namelist()}
