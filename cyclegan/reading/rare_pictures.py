"""PNG and JPEG that Pillow does not read as they come.

Apple's tools rewrite PNG for iPhones: such a file starts with a chunk CgBI; its pixels are deflated
without zlib's header and checksum, in the order blue, green, red, and multiplied by their opacity.
Lossless JPEG and JPEG-LS go through DICOM's decoders; other rare JPEGs are named.
"""

from __future__ import annotations

import zlib

import numpy as np

from cyclegan.reading.deadline import check_time
from cyclegan.reading.volume import ReadError, check_claimed_size

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type (PNG specification, 11.2.1)
_ZLIB = b"\x78\x01"  # header: deflate, window of 32 KiB, no dictionary (RFC 1950)
_STEP = 2**16  # bytes unpacked at once
# Frame markers of ISO/IEC 10918-1, table B.1, and 14495-1 that are none of Pillow's (libjpeg's).
_LOSSLESS, _JPEG_LS = 0xFFC3, 0xFFF7
_JPEG_NAMES = {
    _LOSSLESS: "lossless JPEG",
    _JPEG_LS: "JPEG-LS",
    **dict.fromkeys((0xFFC5, 0xFFC6, 0xFFC7), "hierarchical JPEG"),
    0xFFCB: "lossless arithmetic-coded JPEG",
    **dict.fromkeys((0xFFCD, 0xFFCE, 0xFFCF), "hierarchical arithmetic-coded JPEG"),
}
_SAVE = "save it as PNG with the program that it came from."


def is_apple_png(data: bytes) -> bool:
    """Whether a file is a PNG of Apple's."""
    return data.startswith(PNG_MAGIC) and data[12:16] == b"CgBI"


def standard_png(data: bytes, name: str) -> bytes:
    """A PNG as Pillow reads it, the colours of Apple's still in their order.

    Texts and colour profile, which may be damaged or longer than Pillow reads, are left out: they
    say nothing of the pixels. Nothing is unpacked beyond the size that the header gives.

    Raises:
        ReadError: the size is outside the limits, or there are more pixels than it gives.
    """
    chunks, at = [], len(PNG_MAGIC)
    while at < len(data):
        check_time()
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if (kind := data[at + 4 : at + 8]) not in _TEXT_CHUNKS:
            chunks.append((kind, data[at:end]))
        at = end
    if is_apple_png(data):
        header = next(chunk for kind, chunk in chunks if kind == b"IHDR")[8:]
        columns, rows = (int.from_bytes(header[i : i + 4], "big") for i in (0, 4))
        check_claimed_size(name, rows, columns)
        row_bytes = -(-columns * _CHANNELS[header[9]] * header[8] // 8)
        packed = b"".join(chunk[8:-4] for kind, chunk in chunks if kind == b"IDAT")
        # Interlaced pictures have up to 15 bytes of filters for each 8 rows, and rounded rows.
        checksum = _checksum(packed, 2 * (row_bytes + 8) * (rows + 8), name)
        pixels = _ZLIB + packed + checksum.to_bytes(4, "big")
        chunks = [(kind, chunk) for kind, chunk in chunks if kind in (b"IHDR", b"PLTE", b"tRNS")]
        chunks += [(b"IDAT", _chunk(b"IDAT", pixels)), (b"IEND", _chunk(b"IEND", b""))]
    return PNG_MAGIC + b"".join(chunk for _, chunk in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + checksum


def _checksum(packed: bytes, most: int, name: str) -> int:
    """Adler-32 of what is packed, at most `most` bytes."""
    inflator, total, checksum = zlib.decompressobj(-zlib.MAX_WBITS), 0, 1
    while packed and not inflator.eof:
        check_time()
        part = inflator.decompress(packed, _STEP)
        packed = inflator.unconsumed_tail
        total += len(part)
        if total > most:
            raise ReadError(f"{name}: the PNG unpacks to more pixels than its header gives.")
        checksum = zlib.adler32(part, checksum)
    return zlib.adler32(inflator.flush(), checksum)


def decode_rare_jpeg(data: bytes, name: str) -> np.ndarray | None:
    """Pixels of a JPEG that Pillow does not read, (H, W) or (H, W, 3); None for any other file.

    Raises:
        ReadError: the size is outside the limits, or the kind has no decoder here; it is named.
    """
    # Imported here: they bring pydicom, which takes a while and which other pictures do not need.
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGLossless, JPEGLSLossless

    from cyclegan.reading.dicom.decoder import frames
    from cyclegan.reading.dicom.transfer_syntax import frame_header

    header = frame_header(data)
    if header is None:
        return None
    marker, at = header
    bits, components = data[at + 4], data[at + 9]
    rows, columns = (int.from_bytes(data[i : i + 2], "big") for i in (at + 5, at + 7))
    kind = _JPEG_NAMES.get(marker, f"JPEG of {bits} bits" if bits != 8 else "")
    if not kind:
        return None
    check_claimed_size(name, rows, columns)
    if marker not in (_LOSSLESS, _JPEG_LS) or components not in (1, 3):
        article = "an" if kind[0] in "aeiou" else "a"
        raise ReadError(f"{name}: this is {article} {kind}, which no decoder here reads; {_SAVE}")
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGLossless if marker == _LOSSLESS else JPEGLSLossless
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, components
    dataset.PhotometricInterpretation = "MONOCHROME2" if components == 1 else "RGB"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored = 8 if bits <= 8 else 16, bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.PixelData = encapsulate([data])
    dataset["PixelData"].is_undefined_length = True
    try:
        (pixels,) = frames(dataset)
    except (RuntimeError, ValueError) as error:
        raise ReadError(
            f"{name}: this {kind} file is damaged or of a variant that the decoder does not know; "
            f"{_SAVE}"
        ) from error
    return pixels
