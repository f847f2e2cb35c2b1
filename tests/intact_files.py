"""One small valid file of each family that is read, and copies that are damaged."""

from __future__ import annotations

import gzip
import io
import random
import tempfile
import zipfile
from pathlib import Path

import gdcm
import nibabel as nib
import numpy as np
import tifffile
from dicom_files import enhanced, mr_image
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian

# Compressed syntaxes that GDCM can write, by the name of its constant.
ENCODERS = (
    "RLELossless",
    "JPEGLosslessProcess14",
    "JPEGLosslessProcess14_1",
    "JPEGLSLossless",
    "JPEG2000Lossless",
)


def picture() -> np.ndarray:
    """(40, 36) uint16 using 12 bits, without symmetry."""
    rows, columns = np.mgrid[0:40, 0:36]
    return (rows * 97 + columns * 7).astype(np.uint16)


def intact_files() -> dict[str, bytes]:
    """Contents by family; the family is also a fitting file name extension."""
    deep = picture()
    shallow = (deep // 16).astype(np.uint8)
    tiff, archive = io.BytesIO(), io.BytesIO()
    tifffile.imwrite(tiff, np.stack([deep, deep[::-1]]))
    image = nib.Nifti1Image(np.stack([deep, deep // 2], axis=2), np.eye(4))
    plain = dicom_bytes(mr_image(deep))
    deflated = mr_image(deep)
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    frames = enhanced(np.stack([deep, deep // 2]), [(0, 0, 0), (0, 0, 3)])
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("study/IM1", plain)
        writer.writestr("study/README", b"no image")
    return {
        "png": _encoded(deep, "PNG"),
        "jpg": _encoded(shallow, "JPEG"),
        "bmp": _encoded(shallow, "BMP"),
        "gif": _encoded(shallow, "GIF"),
        "webp": _encoded(shallow, "WEBP"),
        "tif": tiff.getvalue(),
        "lzw.tif": _encoded(deep, "TIFF", compression="tiff_lzw"),
        "nii": image.to_bytes(),
        "nii.gz": gzip.compress(image.to_bytes()),
        "plain.dcm": plain,
        "deflated.dcm": dicom_bytes(deflated),
        "enhanced.dcm": dicom_bytes(frames),
        **{f"{syntax}.dcm": compressed(plain, syntax) for syntax in ENCODERS},
        "zip": archive.getvalue(),
    }


def truncated(files: dict[str, bytes]) -> dict[str, bytes]:
    """Every tenth of each file, by name."""
    return {
        f"{tenth}.{family}": data[: len(data) * tenth // 10]
        for family, data in files.items()
        for tenth in range(10)
    }


def flipped(files: dict[str, bytes], copies: int, seed: int = 0) -> dict[str, bytes]:
    """Copies of files with 1 to 16 bits flipped, by name; half of the hits in the header, where
    they do most harm."""
    damaged = {}
    for family, intact in files.items():
        rng = random.Random(f"{family}{seed}")
        for number in range(copies):
            data = bytearray(intact)
            for _ in range(rng.choice([1, 4, 16])):
                end = min(len(data), 1500) if rng.random() < 0.5 else len(data)
                data[rng.randrange(end)] ^= 1 << rng.randrange(8)
            damaged[f"{number}.{family}"] = bytes(data)
    return damaged


def dicom_bytes(dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def compressed(plain: bytes, syntax: str) -> bytes:
    """An uncompressed DICOM file in one of `ENCODERS`."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before"), Path(folder, "after")
        before.write_bytes(plain)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(before))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(after))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return after.read_bytes()


def _encoded(values: np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()
