"""Read one DICOM image object: single-frame, multi-frame or enhanced, with or without preamble.

Parsing and decompression are pydicom's (with the decoders of pylibjpeg and GDCM); what a hostile
file could blow up there (deflated data sets, codestreams larger than the image) is checked first.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import apply_modality_lut, get_decoder, iter_pixels
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from . import dicom_frames
from .geometry import turn_for_reading
from .header_contrast import contrast_from_header
from .volume import (
    MAX_FILE_BYTES,
    ORIENTATION_UNKNOWN,
    DicomSource,
    ReadError,
    Volume,
    check_claimed_size,
)

_OTHER_MODALITIES = frozenset(
    ["CR", "CT", "DX", "ES", "IO", "MG", "NM", "OPT", "PT", "PX", "RF", "RTDOSE", "SEG", "US", "XA"]
)


def read(path: Path) -> Volume:
    """Read a DICOM image object; frames are sorted along the slice normal (PS3.3 C.7.6.2)."""
    name = path.name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom quotes header values, which are the patient's
        dataset = _dataset(path)
        _refuse_unsuitable(dataset, name)
        frames = dicom_frames.order(dataset, name)
        pixels = _physical_values(dataset, frames.indices, name)
    notes = frames.notes
    window = frames.window
    if dataset.PhotometricInterpretation == "MONOCHROME1":  # darkest value is the highest one
        low, high = np.nanmin(pixels), np.nanmax(pixels)
        pixels = np.subtract(high + low, pixels, out=pixels)
        window = (float(high + low) - window[0], window[1]) if window else None
    # Padding is outside the scanned field: as dark as air (PS3.3 C.7.5.1.1.2).
    if np.isnan(pixels).any() and not np.isnan(pixels).all():
        pixels[np.isnan(pixels)] = np.nanmin(pixels)

    modality = str(dataset.get("Modality") or "")
    if modality in _OTHER_MODALITIES:
        notes += (f"The file's modality is {modality}; the models learned MR images only.",)
    indices = frames.indices
    affine = directions = None
    if frames.affine is not None:
        pixels, affine, directions, plane_notes = turn_for_reading(pixels, frames.affine)
        notes += plane_notes
        if frames.affine[:3, 2] @ affine[:3, 2] < 0:
            indices = indices[::-1]
    else:
        notes += (ORIENTATION_UNKNOWN,)
    spacing = frames.spacing
    if affine is not None and spacing is not None:
        column, row = np.linalg.norm(affine[:3, :2], axis=0)  # rows and columns may have swapped
        spacing = (spacing[0], float(row), float(column))
    return Volume(
        pixels=pixels,
        spacing=spacing,
        affine=affine,
        directions=directions,
        window=window,
        contrast_hint=contrast_from_header(dataset),
        name=name,
        notes=notes,
        stored_affine=frames.affine,
        dicom=_source(dataset, indices),
    )


def _source(dataset: pydicom.Dataset, indices: list[int]) -> DicomSource:
    """Where slices came from; `indices` are their frame numbers, from 0."""
    multiple = dicom_frames.count(dataset) > 1 or "PerFrameFunctionalGroupsSequence" in dataset
    uids = str(dataset.get("SOPClassUID") or ""), str(dataset.get("SOPInstanceUID") or "")
    return DicomSource(
        common=_without_pixels(dataset),
        instances=tuple((*uids, index + 1 if multiple else None) for index in indices),
    )


def _without_pixels(dataset: pydicom.Dataset) -> pydicom.Dataset:
    """A copy without pixel data, icons, overlays, curves, private and per-frame attributes."""
    kept = pydicom.Dataset()
    for tag in dataset.keys():  # raw elements are copied unparsed # noqa: SIM118
        repeating = tag.group in range(0x5000, 0x5100) or tag.group in range(0x6000, 0x6100)
        if not (tag.is_private or repeating or tag.group in (0x7FE0, 0xFFFC)):
            kept[tag] = dataset.get_item(tag)
    for keyword in ("PerFrameFunctionalGroupsSequence", "IconImageSequence"):
        kept.pop(keyword, None)
    kept.remove_private_tags()  # inside sequences
    return kept


def _dataset(path: Path) -> pydicom.FileDataset:
    """Parse the file; a deflated data set is measured before pydicom inflates it."""
    try:
        meta = read_file_meta_info(path)
    except Exception:  # no preamble and no meta group: nothing is deflated then
        meta = None
    if meta is not None and meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        inflator = zlib.decompressobj(-zlib.MAX_WBITS)
        # Meta information is group length bytes behind preamble, magic and that element (PS3.10).
        start = 128 + 4 + 12 + int(meta.FileMetaInformationGroupLength)
        inflator.decompress(path.read_bytes()[start:], MAX_FILE_BYTES)
        if inflator.unconsumed_tail:
            raise ReadError(f"{path.name}: the deflated data set is larger than 1 GiB; not read.")
    dataset = pydicom.dcmread(path, force=True)
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian
            if implicit
            else pydicom.uid.ExplicitVRLittleEndian
            if little
            else ExplicitVRBigEndian
        )
    return dataset


def _refuse_unsuitable(dataset: pydicom.Dataset, name: str) -> None:
    """Refuse objects without a grey image, in words for each case."""
    stored = any(key in dataset for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    needed = ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation")
    if not stored or any(dataset.get(key) is None for key in needed):
        kind = UID(str(dataset.get("SOPClassUID") or "")).name or "object of unknown class"
        raise ReadError(
            f"{name}: this DICOM file ({kind}) holds no image or ends before it; "
            "choose an MR image."
        )
    colour = str(dataset.PhotometricInterpretation)
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or not colour.startswith("MONOCHROME"):
        raise ReadError(
            f"{name}: the DICOM image is in colour ({colour}); choose the original grey MR image."
        )
    if "MOSAIC" in (dataset.get("ImageType") or ()):
        raise ReadError(
            f"{name}: this is a Siemens mosaic, many slices tiled in one image; convert it to "
            "NIfTI or enhanced DICOM first."
        )
    frames = dicom_frames.count(dataset)
    check_claimed_size(name, int(dataset.Rows), int(dataset.Columns), frames)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:
            available = False
        if not available:
            raise ReadError(
                f"{name}: there is no decoder here for its compression ({syntax.name}); store it "
                "uncompressed, for example with gdcmconv --raw."
            )
        _refuse_oversized_codestreams(dataset, frames, name)


def _refuse_oversized_codestreams(dataset: pydicom.Dataset, frames: int, name: str) -> None:
    """Decoders allocate what the codestream claims, so it must agree with Rows and Columns."""
    size = int(dataset.Rows), int(dataset.Columns)
    expected_bytes = size[0] * size[1] * int(dataset.BitsAllocated) // 8
    for frame in generate_frames(dataset.PixelData, number_of_frames=frames):
        claimed = codestream_size(frame)
        if claimed not in (None, size) or len(frame) > 2 * expected_bytes + 2**16:
            raise ReadError(
                f"{name}: the compressed image does not have the {size[1]} x {size[0]} pixels that "
                "the header promises; export it again."
            )


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 codestream claims; None if it is neither.

    Frame header of ISO/IEC 10918-1 B.2.2 and 14495-1 C.2.2; SIZ segment of 15444-1 A.5.1.
    """

    def number(at: int, width: int) -> int:
        return int.from_bytes(frame[at : at + width], "big")

    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)  # behind a JP2 file header, if there is one
    if start >= 0:
        columns, rows, column_offset, row_offset = (number(start + 8 + 4 * i, 4) for i in range(4))
        return rows - row_offset, columns - column_offset
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 9 <= len(frame):
        marker = number(at, 2)
        if marker == 0xFFF7 or (
            0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC)
        ):
            return number(at + 5, 2), number(at + 7, 2)
        at += 2 + number(at + 2, 2)
    return None


def _physical_values(dataset: pydicom.Dataset, indices: list[int], name: str) -> np.ndarray:
    """(Z, H, W) float32 after the modality transformation, NaN where pixels are padding."""
    pixels = np.empty((len(indices), int(dataset.Rows), int(dataset.Columns)), dtype=np.float32)
    rank = {frame: place for place, frame in enumerate(indices)}
    done = 0
    for index, stored in enumerate(_decoded(dataset, name)):
        if index not in rank:
            continue
        scale = dicom_frames.rescale(dataset, index)
        if scale is None:
            values = apply_modality_lut(stored, dataset)
        else:
            values = stored.astype(np.float64) * scale[0] + scale[1]
        place = pixels[rank[index]]
        place[...] = values
        place[_padding(dataset, stored)] = np.nan
        done += 1
    if done != len(indices):
        raise ReadError(
            f"{name}: the file ends after {done} of {len(indices)} frames; copy it again."
        )
    return pixels


def _decoded(dataset: pydicom.Dataset, name: str) -> Iterator[np.ndarray]:
    """Yield the stored values of each frame, (H, W); name the compression where decoding fails."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        yield from iter_pixels(dataset, raw=True)
    except Exception as error:
        if not syntax.is_encapsulated:
            raise
        raise ReadError(
            f"{name}: the compressed image ({syntax.name}) is damaged or of a variant that the "
            "decoder does not know; store it uncompressed, for example with gdcmconv --raw."
        ) from error


def _padding(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    """Mask of PixelPaddingValue, or the range it spans with PixelPaddingRangeLimit."""
    value = dataset.get("PixelPaddingValue")
    if value is None or stored.dtype.kind == "f":
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    # Writers get the sign of this element wrong; compare in the bits that are stored.
    bits = 8 * stored.dtype.itemsize
    ends = [int(value), int(value if limit is None else limit)]
    if stored.dtype.kind == "i":
        ends = [end - 2**bits if end >= 2 ** (bits - 1) else end for end in ends]
    else:
        ends = [end % 2**bits for end in ends]
    return (stored >= min(ends)) & (stored <= max(ends))
