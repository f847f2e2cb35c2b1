"""A patient's names, files that are full of them, and a search for them in whatever is saved."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from urllib.parse import quote

import nibabel as nib
import numpy as np
from dicom_files import axial_series
from intact_files import dicom_bytes
from nibabel.nifti1 import Nifti1Extension
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.uid import generate_uid

from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair

# Of the source and of what is given beside it, a real image or a reference; no other text holds
# them by chance.
SOURCE = "Quxíberg_Zoltána"
BESIDE = "Wrymlünd_Åskäla"
NAMES = [part for name in (SOURCE, BESIDE) for part in name.split("_")]
_DEEPEST = 4


def plain(name: str) -> str:
    """A name without its accents."""
    return unicodedata.normalize("NFD", name).encode("ascii", "ignore").decode()


@cache
def forms(name: str) -> dict[bytes, str]:
    """Every way to write a name that a file or an address may have, ASCII in lower case."""
    found = {plain(name).lower().encode(): "without accents"}
    composed = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    for text in (*composed, name.upper(), name.lower()):
        for encoding in ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le"):
            if "?" not in text.encode(encoding, "replace").decode(encoding):
                found[text.encode(encoding).lower()] = encoding
        for encoding in ("utf-8", "latin-1"):
            percent = quote(text, encoding=encoding, errors="ignore")
            found[percent.lower().encode()] = "percent"
        found[json.dumps(text)[1:-1].lower().encode()] = "JSON"
        found[text.encode("ascii", "xmlcharrefreplace").lower()] = "XML"
    return found


@cache
def base64_forms(name: str) -> list[bytes]:
    """A name in base64, wherever in a text it begins; what is too short to tell is left out."""
    whole = [name.encode(encoding) for encoding in ("utf-8", "latin-1", "utf-16-le")]
    found = [
        base64.b64encode(bytes(start) + data).rstrip(b"=")[4 if start else 0 : -1]
        for data in whole
        for start in range(3)
    ]
    return [form for form in found if len(form) >= 7]


def opened(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """A file's bytes, and those of all that is packed in them: zip, gzip, zlib."""
    yield data
    if depth == _DEEPEST:
        return
    if data.startswith(b"PK") and zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                yield member.filename.encode()
                yield from opened(archive.read(member), depth + 1)
        return
    for start in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", data):
        try:
            unpacked = zlib.decompressobj(47).decompress(data[start.start() :], 2**24)
        except zlib.error:
            continue
        if unpacked:
            yield from opened(unpacked, depth + 1)


def found_names(*saved: str | bytes) -> list[str]:
    """What of `NAMES` is in texts or files, and how it is written there."""
    found = []
    for each in saved:
        for content in opened(each.encode() if isinstance(each, str) else each):
            lower = content.lower()
            for name in NAMES:
                found += [f"{name} in {how}" for form, how in forms(name).items() if form in lower]
                found += [f"{name} in base64" for form in base64_forms(name) if form in content]
    return found


def head_slices(contrast: str, count: int = 3, size: int = 64) -> np.ndarray:
    """(count, size, size) of a simulated head in [0, 1], lowest slice first."""
    levels = np.linspace(0.45, 0.55, count)
    pairs = [simulate_pair(draw_slice(1, z, size), np.random.default_rng(0)) for z in levels]
    return np.stack([getattr(pair, contrast.lower()) for pair in pairs])


def nifti_file(name: str, contrast: str) -> bytes:
    """A .nii.gz whose header and extension say a name, and the gzip header, too."""
    voxels = (1000 * head_slices(contrast)).astype(np.int16).transpose(2, 1, 0)[:, ::-1]
    image = nib.Nifti1Image(voxels, np.diag([-3.0, 3.0, 4.0, 1.0]))
    data = name.encode("latin-1")
    image.header["descrip"], image.header["aux_file"] = data, data
    image.header["intent_name"], image.header["db_name"] = data[:15], data
    image.header.extensions.append(Nifti1Extension("comment", name.encode()))
    buffer = io.BytesIO()
    with gzip.GzipFile(f"{name}.nii", "wb", fileobj=buffer) as packed:
        packed.write(image.to_bytes())
    return buffer.getvalue()


def png_files(name: str, contrast: str) -> dict[str, bytes]:
    """Numbered pictures by their names, with a name in text chunks of each."""
    text = PngInfo()
    text.add_text("Author", name)
    text.add_itxt("Description", name, zip=True)
    files = {}
    for number, pixels in enumerate(head_slices(contrast), 1):
        buffer = io.BytesIO()
        Image.fromarray((255 * pixels).astype(np.uint8)).save(buffer, "PNG", pnginfo=text)
        files[f"{name}_{number:03}.png"] = buffer.getvalue()
    return files


def dicom_files(name: str, contrast: str) -> dict[str, bytes]:
    """A series by the names of its files; a name in many elements, and one file cut short."""
    patient = name.replace("_", "^")
    stack = (1000 * head_slices(contrast, 4)).astype(np.uint16)
    files = {}
    study = generate_uid()
    for number, dataset in enumerate(axial_series(stack, 4.0, PixelSpacing=[3, 3]), 1):
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.StudyInstanceUID = study
        dataset.PatientName = dataset.OtherPatientNames = dataset.ReferringPhysicianName = patient
        dataset.PatientID = dataset.StudyID = dataset.AccessionNumber = name[:16]
        dataset.StudyDescription = dataset.SeriesDescription = f"{contrast} {name}"
        dataset.PatientComments = dataset.ImageComments = dataset.InstitutionName = name
        dataset.BodyPartExamined = plain(name.split("_")[0]).upper()
        dataset.PositionReferenceIndicator = dataset.ProtocolName = name
        dataset.RepetitionTime, dataset.EchoTime = (500, 10) if contrast == "T1" else (4000, 100)
        dataset.private_block(0x0011, name[:16], create=True).add_new(1, "LO", name)
        data = dicom_bytes(dataset)
        files[f"{name}_{number}.dcm"] = data[: -stack[0].nbytes // 2] if number == 4 else data
    return files
