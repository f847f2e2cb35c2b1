"""Parse a DICOM file and refuse what is no grey image, before anything of it is decoded.

Parsing and decompression are pydicom's (with the decoders of pylibjpeg and GDCM); what a hostile
file could blow up there (deflated data sets, codestreams larger than the image) is checked first.
"""

from __future__ import annotations

import io
import warnings
import zlib
from typing import BinaryIO

import pydicom
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    JPEGExtended12Bit,
)

from cyclegan.reading.deadline import check_time
from cyclegan.reading.dicom.header import frame_count
from cyclegan.reading.dicom.repair import repair_header
from cyclegan.reading.dicom.transfer_syntax import (
    PACKED_BITS,
    codestream_size,
    infer_transfer_syntax,
    native_bytes,
)
from cyclegan.reading.volume import MAX_VOXELS, NoMRImage, ReadError, check_claimed_size

MAX_INFLATED_BYTES = 2 * MAX_VOXELS  # of a deflated data set: 16 bits for each voxel


def parse(data: bytes, name: str, *, header_only: bool = False) -> pydicom.FileDataset:
    """Parse one file and refuse what is no grey image of acceptable size.

    Args:
        data: content of the file.
        name: file name for messages.
        header_only: leave the pixels out; what is wrong with them is then not noticed.

    Returns:
        The data set with its numbers repaired. `repair_notes` says what was left out,
        `header_bytes` where the header ended.

    Raises:
        ReadError: the object holds no image that can be read.
    """
    stream = io.BytesIO(data)
    with quiet():
        _refuse_deflated_bomb(stream, name)
        dataset = pydicom.dcmread(stream, force=True, stop_before_pixels=header_only)
        dataset.header_bytes = stream.tell()
        if not hasattr(dataset, "file_meta"):
            dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.repair_notes = repair_header(dataset)
        _refuse_unsuitable(dataset, name, header_only)
        infer_transfer_syntax(dataset)
        _refuse_undecodable(dataset, name, header_only)
    return dataset


def ends_early(dataset: pydicom.FileDataset, behind: int) -> bool:
    """Whether the `behind` bytes of a file after its header are too few for its plain pixels."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated or syntax == DeflatedExplicitVRLittleEndian:
        return False
    return behind < native_bytes(dataset)


def quiet() -> warnings.catch_warnings:
    """Silence pydicom's warnings: they quote header values, which are the patient's."""
    return warnings.catch_warnings(action="ignore")


def _refuse_deflated_bomb(stream: BinaryIO, name: str) -> None:
    """Measure a deflated data set before pydicom inflates it; leaves the stream at its start."""
    try:
        read_preamble(stream, force=False)
        meta = read_dataset(
            stream,
            is_implicit_VR=False,
            is_little_endian=True,
            stop_when=lambda tag, vr, length: tag.group != 2,
        )
        deflated = meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    except Exception:  # no preamble and no meta group: nothing is deflated then
        deflated = False
    inflator, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while deflated and not inflator.eof:
        # A kilobyte inflates to a megabyte at most, and nothing of it stays in memory.
        check_time()
        packed = stream.read(2**10)
        inflated += len(inflator.decompress(packed))
        if not packed or inflated > MAX_INFLATED_BYTES:
            break
    if inflated > MAX_INFLATED_BYTES:
        raise ReadError(
            f"{name}: the deflated data set is larger than {MAX_INFLATED_BYTES / 2**20:.0f} MiB; "
            "store it uncompressed."
        )
    stream.seek(0)


def _refuse_unsuitable(dataset: pydicom.Dataset, name: str, header_only: bool) -> None:
    """Refuse objects without a grey image, in words for each case."""
    stored = header_only or any(
        key in dataset for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    )
    needed = ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation")
    if not stored or any(dataset.get(key) is None for key in needed):
        storage = UID(str(dataset.get("SOPClassUID") or ""))
        is_image = not storage.is_private and ("Image" in storage.name or "Map" in storage.name)
        if storage.name and not is_image and storage.name != storage:  # such as a report
            raise NoMRImage(f"{name}: this DICOM file ({storage.name}) holds no image.")
        kind = storage.name or "object of unknown class"
        raise ReadError(
            f"{name}: this DICOM file ({kind}) holds no image or ends before it; "
            "choose an MR image."
        )
    samples, colour = int(dataset.SamplesPerPixel), str(dataset.PhotometricInterpretation)
    one = colour.startswith("MONOCHROME") or colour == "PALETTE COLOR"
    if samples != (1 if one else 3):
        raise ReadError(
            f"{name}: the DICOM image is in colour ({colour}); choose the original grey MR image."
        )
    bits = int(dataset.BitsAllocated)
    if bits not in (1, 8, 16, 32, 64, *PACKED_BITS):
        raise ReadError(
            f"{name}: it stores {bits} bits per pixel, which no decoder here knows; export it "
            "again with 16 bits."
        )
    frames = frame_count(dataset)
    lone = frames == 1 and "PerFrameFunctionalGroupsSequence" not in dataset
    if lone and "MOSAIC" in (dataset.get("ImageType") or ()):
        raise ReadError(
            f"{name}: this is a Siemens mosaic, many slices tiled in one image; convert it to "
            "NIfTI or enhanced DICOM first."
        )
    check_claimed_size(name, int(dataset.Rows), int(dataset.Columns), frames)


def _refuse_undecodable(dataset: pydicom.Dataset, name: str, header_only: bool) -> None:
    """Refuse compression that has no decoder here, and codestreams larger than the image."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in AllTransferSyntaxes or syntax.is_encapsulated:
        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:
            available = False
        if syntax == JPEGExtended12Bit and int(dataset.BitsStored) > 8:
            raise ReadError(
                f"{name}: it is compressed as JPEG of 12 bits, for which there is no decoder here; "
                "store it uncompressed, for example with DCMTK's dcmdjpeg."
            )
        if not available:
            raise ReadError(
                f"{name}: there is no decoder here for its compression ({syntax.name}); store it "
                "uncompressed, for example with gdcmconv --raw."
            )
        if not header_only:
            _refuse_oversized_codestreams(dataset, name)


def _refuse_oversized_codestreams(dataset: pydicom.Dataset, name: str) -> None:
    """Decoders allocate what the codestream claims, so it must agree with Rows and Columns."""
    size = int(dataset.Rows), int(dataset.Columns)
    frames = frame_count(dataset)
    expected_bytes = native_bytes(dataset) // frames
    for frame in generate_frames(dataset.PixelData, number_of_frames=frames):
        claimed = codestream_size(frame)
        if claimed not in (None, size) or len(frame) > 2 * expected_bytes + 2**16:
            raise ReadError(
                f"{name}: the compressed image does not have the {size[1]} x {size[0]} pixels that "
                "the header promises; export it again."
            )
