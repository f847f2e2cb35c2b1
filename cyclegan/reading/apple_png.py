"""PNG as Apple's tools rewrite it for iPhones, as an ordinary PNG.

Such a file starts with a chunk CgBI; its pixels are deflated without zlib's header and checksum,
in the order blue, green, red, and multiplied by their opacity.
"""

from __future__ import annotations

import zlib

from cyclegan.reading.deadline import check_time
from cyclegan.reading.volume import ReadError, check_claimed_size

_START = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type (PNG specification, 11.2.1)
_ZLIB = b"\x78\x01"  # header: deflate, window of 32 KiB, no dictionary (RFC 1950)
_STEP = 2**16  # bytes unpacked at once


def is_apple(data: bytes) -> bool:
    """Whether a PNG is Apple's."""
    return data.startswith(_START) and data[12:16] == b"CgBI"


def ordinary(data: bytes, name: str) -> bytes:
    """The same picture as any PNG decoder reads it, its colours still in Apple's order.

    Nothing is unpacked beyond the size that the header gives.

    Raises:
        ReadError: the size is outside the limits, or there are more pixels than it gives.
    """
    chunks, at = [], len(_START)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    header = next(content for kind, content in chunks if kind == b"IHDR")
    columns, rows = (int.from_bytes(header[i : i + 4], "big") for i in (0, 4))
    check_claimed_size(name, rows, columns)
    row_bytes = -(-columns * _CHANNELS[header[9]] * header[8] // 8)
    packed = b"".join(content for kind, content in chunks if kind == b"IDAT")
    # Interlaced pictures have up to 15 bytes of filters for each 8 rows, and rounded rows.
    checksum = _checksum(packed, 2 * (row_bytes + 8) * (rows + 8), name)
    pixels = _ZLIB + packed + checksum.to_bytes(4, "big")
    kept = [(kind, content) for kind, content in chunks if kind in (b"IHDR", b"PLTE", b"tRNS")]
    kept += [(b"IDAT", pixels), (b"IEND", b"")]
    return _START + b"".join(
        len(content).to_bytes(4, "big")
        + kind
        + content
        + zlib.crc32(kind + content).to_bytes(4, "big")
        for kind, content in kept
    )


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
