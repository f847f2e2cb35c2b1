"""JPEG that Pillow does not read: lossless and JPEG-LS by DICOM's decoders; others are named."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGLossless, JPEGLSLossless

from cyclegan.reading.dicom_decode import frames
from cyclegan.reading.dicom_syntax import frame_header
from cyclegan.reading.volume import ReadError, check_claimed_size

# Frame markers of ISO/IEC 10918-1, table B.1, and 14495-1 that are none of Pillow's (libjpeg's).
_DECODED: dict[int, tuple[str, UID]] = {
    0xFFC3: ("lossless JPEG", JPEGLossless),
    0xFFF7: ("JPEG-LS", JPEGLSLossless),
}
_NAMED = {
    **dict.fromkeys((0xFFC5, 0xFFC6, 0xFFC7), "hierarchical JPEG"),
    0xFFCB: "lossless arithmetic-coded JPEG",
    **dict.fromkeys((0xFFCD, 0xFFCE, 0xFFCF), "hierarchical arithmetic-coded JPEG"),
}


_SAVE = "save it as PNG with the program that it came from."


def decode_rare(stream: BinaryIO, name: str) -> np.ndarray | None:
    """Pixels of a JPEG that Pillow does not read, (H, W) or (H, W, 3); None for any other file.

    Args:
        stream: at its start, where it is left.
        name: file name for messages.

    Raises:
        ReadError: the size is outside the limits, or the kind has no decoder here; it is named.
    """
    data = stream.read()
    stream.seek(0)
    if (found := frame_header(data)) is None:
        return None
    marker, at = found
    bits, components = data[at + 4], data[at + 9]
    rows, columns = (int.from_bytes(data[i : i + 2], "big") for i in (at + 5, at + 7))
    kind, syntax = _DECODED.get(marker, ("", None))
    kind = kind or _NAMED.get(marker, f"JPEG of {bits} bits" if bits != 8 else "")
    if not kind:
        return None
    check_claimed_size(name, rows, columns)
    if syntax is None or components not in (1, 3):
        article = "an" if kind[0] in "aeiou" else "a"
        raise ReadError(f"{name}: this is {article} {kind}, which no decoder here reads; {_SAVE}")
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
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
