"""How the pixels of a DICOM object are stored: as the file declares it, or as its bytes show.

Archives and converters rewrite one and forget the other; vendors declare syntaxes of their own.
"""

from __future__ import annotations

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.uid import (
    JPEG2000,
    UID,
    AllTransferSyntaxes,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
)

from cyclegan.reading.dicom.header import frame_count
from cyclegan.reading.volume import unpacked_bits

_ITEM = b"\xfe\xff\x00\xe0"  # what encapsulated pixels start with (PS3.5 A.4)
_GE_SWAPPED = UID("1.2.840.113619.5.2")  # little endian, but for its pixels
PACKED_BITS = frozenset(range(2, 16)) - {8}
_AT_ONCE = 2**20  # pixels
_NEAR = 0.05  # of the largest value that fits: values on both sides of it are one distribution
_BY_FRAME_MARKER = {
    0xFFC0: JPEGBaseline8Bit,
    0xFFC1: JPEGExtended12Bit,
    0xFFC3: JPEGLossless,
    0xFFF7: JPEGLSLossless,
}


def infer_transfer_syntax(dataset: pydicom.FileDataset) -> None:
    """Give a parsed object the transfer syntax that its pixels, if they were read, are in."""
    declared = dataset.file_meta.get("TransferSyntaxUID")
    implicit, little = dataset.original_encoding
    plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    plain = plain if little else ExplicitVRBigEndian
    compressed = declared in AllTransferSyntaxes and declared.is_encapsulated
    if declared not in AllTransferSyntaxes:
        dataset.file_meta.TransferSyntaxUID = plain
    if "PixelData" not in dataset:
        return
    if not compressed:
        _unpack(dataset, little)
    pixels, plain_size = dataset.PixelData or b"", native_bytes(dataset)
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
        fix_bits_stored(dataset, little)


def _unpack(dataset: pydicom.FileDataset, little: bool) -> None:
    """Give packed pixels whole bytes: of 12 bits, as ACR-NEMA and DICOM until 1996 packed them.

    Pixels follow each other bit by bit, lowest first (PS3.5 of 1993, annex D).
    """
    bits, packed = int(dataset.BitsAllocated), dataset.PixelData or b""
    if bits not in PACKED_BITS or len(packed) < native_bytes(dataset):
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


def fix_bits_stored(dataset: pydicom.FileDataset, little: bool) -> None:
    """Take all bits for the values where these go on beyond BitsStored.

    Programs that put other pixels under an old header forget it, and the values would wrap. Those
    of an overlay in the bits that the pixels leave free (PS3.3 C.9.2, retired) lie far from them.
    """
    stored, signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
    kind = f"{'<' if little else '>'}{'i' if signed else 'u'}2"
    values = np.frombuffer(dataset.PixelData[: native_bytes(dataset)], kind)
    if stored == 16 or not values.size:
        return
    ends = [2**stored] * bool(values.max() >= 2**stored)
    ends += [-(2 ** (stored - 1))] * bool(signed and values.min() < -(2 ** (stored - 1)))
    for end in ends:
        near = values[np.abs(values.astype(np.int32) - end) <= _NEAR * abs(end)]
        if near.size and near.min() < end <= near.max():
            dataset.BitsStored, dataset.HighBit = 16, 15


def native_bytes(dataset: pydicom.Dataset) -> int:
    """Bytes of an object's pixels without compression; PS3.3 C.7.6.3.1.2 halves the colours of
    YBR_FULL_422."""
    samples = 2 if dataset.PhotometricInterpretation == "YBR_FULL_422" else dataset.SamplesPerPixel
    pixels = int(dataset.Rows) * int(dataset.Columns) * frame_count(dataset)
    return -(-pixels * int(samples) * int(dataset.BitsAllocated) // 8)


def _of_codestream(frame: bytes) -> UID | None:
    """The transfer syntax of one compressed frame, or None where its start tells nothing."""
    if _jpeg_2000_at(frame) >= 0:
        return JPEG2000
    if (header := frame_header(frame)) is not None:
        return _BY_FRAME_MARKER.get(header[0])
    segments, first = (int.from_bytes(frame[at : at + 4], "little") for at in (0, 4))
    return RLELossless if 0 < segments < 16 and first == 64 else None  # PS3.5 G.5


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 codestream claims; None if it is neither.

    Frame header of ISO/IEC 10918-1 B.2.2 and 14495-1 C.2.2; SIZ segment of 15444-1 A.5.1.
    """
    start = _jpeg_2000_at(frame)
    if start >= 0:
        columns, rows, column_offset, row_offset = (
            _number(frame, start + 8 + 4 * i, 4) for i in range(4)
        )
        return rows - row_offset, columns - column_offset
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
        if marker == 0xFFF7 or (
            0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC)
        ):
            return marker, at
        at += 2 + _number(frame, at + 2, 2)
    return None


def _number(frame: bytes, at: int, width: int) -> int:
    return int.from_bytes(frame[at : at + width], "big")
