"""Parse a DICOM file and refuse what is no grey image, before anything of it is decoded.

Parsing and decompression are pydicom's (with the decoders of pylibjpeg and GDCM); what a hostile
file could blow up there (deflated data sets, codestreams larger than the image) is checked first.
How pixels are stored is what the file declares, or what its bytes show: archives and converters
rewrite one and forget the other, and vendors declare syntaxes of their own.
"""

from __future__ import annotations

import io
import warnings
import zlib
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import get_decoder

from cyclegan.reading.deadline import check_time
from cyclegan.reading.dicom.header import frame_count
from cyclegan.reading.dicom.repair import repair_header
from cyclegan.reading.volume import (
    MAX_VOXELS,
    NoMRImage,
    ReadError,
    check_claimed_size,
    unpacked_bits,
)

MAX_INFLATED_BYTES = 2 * MAX_VOXELS  # of a deflated data set: 16 bits for each voxel
_ITEM = b"\xfe\xff\x00\xe0"  # what encapsulated pixels start with (PS3.5 A.4)
_GE_SWAPPED = uid.UID("1.2.840.113619.5.2")  # little endian, but for its pixels
_PACKED_BITS = frozenset(range(2, 16)) - {8}
_AT_ONCE = 2**20  # pixels
_NEAR = 0.05  # of the largest value that fits: values on both sides of it are one distribution
_BY_FRAME_MARKER = {
    0xFFC0: uid.JPEGBaseline8Bit,
    0xFFC1: uid.JPEGExtended12Bit,
    0xFFC3: uid.JPEGLossless,
    0xFFF7: uid.JPEGLSLossless,
}


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
        _infer_transfer_syntax(dataset)
        _refuse_undecodable(dataset, name, header_only)
    return dataset


def ends_early(dataset: pydicom.FileDataset, behind: int) -> bool:
    """Whether the `behind` bytes of a file after its header are too few for its plain pixels."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated or syntax == uid.DeflatedExplicitVRLittleEndian:
        return False
    return behind < _plain_bytes(dataset)


def quiet() -> warnings.catch_warnings:
    """Silence pydicom's warnings: they quote header values, which are the patient's."""
    return warnings.catch_warnings(action="ignore")


# Refusals


def _refuse_deflated_bomb(stream: BinaryIO, name: str) -> None:
    """Measure a deflated data set before pydicom inflates it; leaves the stream at its start."""
    try:
        read_preamble(stream, force=False)
        meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        deflated = meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian
    except Exception:  # no preamble and no meta group: nothing is deflated then
        deflated = False
    inflator, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
    # A kilobyte inflates to a megabyte at most, and nothing of it stays in memory.
    while deflated and not inflator.eof and (packed := stream.read(2**10)):
        check_time()
        inflated += len(inflator.decompress(packed))
        if inflated > MAX_INFLATED_BYTES:
            raise ReadError(
                f"{name}: the deflated data set is larger than {MAX_INFLATED_BYTES / 2**20:.0f} "
                "MiB; store it uncompressed."
            )
    stream.seek(0)


def _refuse_unsuitable(dataset: pydicom.Dataset, name: str, header_only: bool) -> None:
    """Refuse objects without a grey image, in words for each case."""
    stored = header_only or any(
        key in dataset for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    )
    needed = ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation")
    if not stored or any(dataset.get(key) is None for key in needed):
        storage = uid.UID(str(dataset.get("SOPClassUID") or ""))
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
    if bits not in (1, 8, 16, 32, 64, *_PACKED_BITS):
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
    """Refuse compression that has no decoder here, and codestreams larger than the image: decoders
    allocate what these claim."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in uid.AllTransferSyntaxes and not syntax.is_encapsulated:
        return
    if syntax == uid.JPEGExtended12Bit and int(dataset.BitsStored) > 8:
        raise ReadError(
            f"{name}: it is compressed as JPEG of 12 bits, for which there is no decoder here; "
            "store it uncompressed, for example with DCMTK's dcmdjpeg."
        )
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise ReadError(
            f"{name}: there is no decoder here for its compression ({syntax.name}); store it "
            "uncompressed, for example with gdcmconv --raw."
        )
    if header_only:
        return
    size, frames = (int(dataset.Rows), int(dataset.Columns)), frame_count(dataset)
    most = 2 * (_plain_bytes(dataset) // frames) + 2**16
    for frame in generate_frames(dataset.PixelData, number_of_frames=frames):
        if _codestream_size(frame) not in (None, size) or len(frame) > most:
            raise ReadError(
                f"{name}: the compressed image does not have the {size[1]} x {size[0]} pixels that "
                "the header promises; export it again."
            )


# How the pixels are stored


def _infer_transfer_syntax(dataset: pydicom.FileDataset) -> None:
    """Give a parsed object the transfer syntax that its pixels, if they were read, are in."""
    declared = dataset.file_meta.get("TransferSyntaxUID")
    implicit, little = dataset.original_encoding
    plain = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    plain = plain if little else uid.ExplicitVRBigEndian
    compressed = declared in uid.AllTransferSyntaxes and declared.is_encapsulated
    if declared not in uid.AllTransferSyntaxes:
        dataset.file_meta.TransferSyntaxUID = plain
    if "PixelData" not in dataset:
        return
    if not compressed:
        _unpack(dataset, little)
    pixels, plain_size = dataset.PixelData or b"", _plain_bytes(dataset)
    whole = len(pixels) in (plain_size, plain_size + 1)
    if pixels[:4] == _ITEM and not whole:
        if not compressed:
            frame = next(generate_frames(pixels, number_of_frames=1), b"")
            dataset.file_meta.TransferSyntaxUID = _of_codestream(frame) or declared or plain
            dataset["PixelData"].is_undefined_length = True
    elif compressed and whole:
        dataset.file_meta.TransferSyntaxUID = plain
    elif declared == _GE_SWAPPED and whole and int(dataset.BitsAllocated) == 16:
        dataset.PixelData = np.frombuffer(pixels[:plain_size], ">u2").astype("<u2").tobytes()
    if whole and int(dataset.BitsAllocated) == 16:
        _fix_bits_stored(dataset, little)


def _unpack(dataset: pydicom.FileDataset, little: bool) -> None:
    """Give packed pixels whole bytes: of 12 bits, as ACR-NEMA and DICOM until 1996 packed them.

    Pixels follow each other bit by bit, lowest first (PS3.5 of 1993, annex D).
    """
    bits, packed = int(dataset.BitsAllocated), dataset.PixelData or b""
    if bits not in _PACKED_BITS or len(packed) < _plain_bytes(dataset):
        return
    count = int(dataset.Rows) * int(dataset.Columns) * int(dataset.SamplesPerPixel)
    count *= frame_count(dataset)
    if bits > 8 and len(packed) // 2 == count:  # not packed, whatever the header says
        dataset.BitsAllocated = 16
        return
    if not little:  # words of 16 bits
        packed = np.frombuffer(packed[: len(packed) // 2 * 2], ">u2").astype("<u2").tobytes()
    values, row = np.empty(count, np.uint16), np.frombuffer(packed, np.uint8)[None]
    for start in range(0, count, _AT_ONCE):  # a multiple of 8 pixels starts at a byte
        part = values[start : start + _AT_ONCE]
        part[:] = unpacked_bits(row[:, start * bits // 8 :], bits, len(part), "little")[0]
    if dataset.PixelRepresentation and dataset.BitsStored < 16:
        sign = 1 << (int(dataset.HighBit))
        values = np.where(values & sign, values | np.uint16(0x10000 - 2 * sign), values)
    dataset.BitsAllocated = 16
    dataset.PixelData = values.astype("<u2" if little else ">u2").tobytes()
    dataset["PixelData"].VR = "OW"


def _fix_bits_stored(dataset: pydicom.FileDataset, little: bool) -> None:
    """Take all bits for the values where these go on beyond BitsStored.

    Programs that put other pixels under an old header forget it, and the values would wrap. Those
    of an overlay in the bits that the pixels leave free (PS3.3 C.9.2, retired) lie far from them.
    """
    stored, signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
    kind = f"{'<' if little else '>'}{'i' if signed else 'u'}2"
    values = np.frombuffer(dataset.PixelData[: _plain_bytes(dataset)], kind)
    if stored == 16 or not values.size:
        return
    for end in (2**stored, *[-(2 ** (stored - 1))] * signed):
        near = values[np.abs(values.astype(np.int32) - end) <= _NEAR * abs(end)]
        if near.size and near.min() < end <= near.max():
            dataset.BitsStored, dataset.HighBit = 16, 15


def _plain_bytes(dataset: pydicom.Dataset) -> int:
    """Bytes of an object's pixels without compression; PS3.3 C.7.6.3.1.2 halves the colours of
    YBR_FULL_422."""
    samples = 2 if dataset.PhotometricInterpretation == "YBR_FULL_422" else dataset.SamplesPerPixel
    pixels = int(dataset.Rows) * int(dataset.Columns) * frame_count(dataset)
    return -(-pixels * int(samples) * int(dataset.BitsAllocated) // 8)


def _of_codestream(frame: bytes) -> uid.UID | None:
    """The transfer syntax of one compressed frame, or None where its start tells nothing."""
    if _jpeg_2000_at(frame) >= 0:
        return uid.JPEG2000
    if (header := frame_header(frame)) is not None:
        return _BY_FRAME_MARKER.get(header[0])
    segments, first = (int.from_bytes(frame[at : at + 4], "little") for at in (0, 4))
    return uid.RLELossless if 0 < segments < 16 and first == 64 else None  # PS3.5 G.5


def _codestream_size(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 codestream claims; None if it is neither.

    Frame header of ISO/IEC 10918-1 B.2.2 and 14495-1 C.2.2; SIZ segment of 15444-1 A.5.1.
    """
    start = _jpeg_2000_at(frame)
    if start >= 0:
        columns, rows, left, top = (_number(frame, start + 8 + 4 * i, 4) for i in range(4))
        return rows - top, columns - left
    if (header := frame_header(frame)) is None:
        return None
    return _number(frame, header[1] + 5, 2), _number(frame, header[1] + 7, 2)


def _jpeg_2000_at(frame: bytes) -> int:
    """Where a JPEG 2000 codestream starts, behind a JP2 file header if there is one, else -1."""
    return frame.find(b"\xff\x4f\xff\x51", 0, 4096)


def frame_header(frame: bytes) -> tuple[int, int] | None:
    """Marker and place of the frame header of a JPEG or JPEG-LS codestream, or None."""
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 9 <= len(frame):
        marker = _number(frame, at, 2)
        is_frame = 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC)
        if is_frame or marker == 0xFFF7:
            return marker, at
        at += 2 + _number(frame, at + 2, 2)
    return None


def _number(frame: bytes, at: int, width: int) -> int:
    return int.from_bytes(frame[at : at + width], "big")
