"""Small files that claim or inflate to much."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib

import nibabel as nib
import numpy as np
import tifffile
from dicom_files import mr_image
from intact_files import dicom_bytes
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cyclegan.reading.volume import MAX_PIXELS


def zeros(count: int, wbits: int) -> bytes:
    """`count` zero bytes, deflated; ends without a checksum, which no reader should get to."""
    blocks = []
    for bits in (wbits, -15):
        packer = zlib.compressobj(9, wbits=bits)
        blocks.append(packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH))
    return blocks[0] + (count // 2**20 - 1) * blocks[1]


def nifti_header(shape: tuple[int, ...]) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    return header.binaryblock + bytes(4)


def bombs() -> dict[str, tuple[bytes, str]]:
    """Small files that claim or inflate to much, and the words they are refused with."""
    found = {}
    for shape in ((30000, 30000, 2), (1024, 1024, 1024), (32767, 32767, 32767)):
        claim = nifti_header(shape)
        found[f"{shape[0]}.nii"] = claim + bytes(2**12), "more than an MR image"
        found[f"{shape[0]}.nii.gz"] = gzip.compress(claim + bytes(2**16)), "more than an MR image"
    found["short.nii"] = nifti_header((512, 512, 512)) + bytes(2**12), "ends early"
    found["short.nii.gz"] = gzip.compress(found["short.nii"][0]), "ends early"
    found["many.nii"] = nifti_header((256, 256, 256, 99)) + bytes(2**12), "more than the 1 GiB"
    largest = gzip.compress(nifti_header((512, 512, 512))) + 256 * gzip.compress(bytes(2**20))
    found["empty.nii.gz"] = largest, "all pixels have the same value"
    found["text.gz"] = zeros(2**28, 31), "no NIfTI"

    for kind, extension in ((zipfile.ZIP_DEFLATED, "zip"), (zipfile.ZIP_LZMA, "lzma.zip")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", kind) as archive:
            archive.writestr("slice.dcm", bytes(2**26))
        words = "300 times" if extension == "zip" else "rare method"
        found[f"one.{extension}"] = buffer.getvalue(), words
    # The same 64 MiB many times over, listed again and again in the archive's directory.
    found["overlapping.zip"] = overlapping_zip(20), "overlapping.zip"

    dataset = mr_image(np.eye(40, dtype=np.uint16))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data = dicom_bytes(dataset)
    end = 132 + 12 + int.from_bytes(data[140:144], "little")  # PS3.10 table 7.1-1
    found["deflated.dcm"] = data[:end] + zeros(2**29, -15), "deflated data set is larger"
    for keyword, value in (("Rows", 60000), ("NumberOfFrames", 2_000_000)):
        dataset = mr_image(np.eye(40, dtype=np.uint16))
        dataset.Columns = 60000 if keyword == "Rows" else 40
        setattr(dataset, keyword, value)
        found[f"{keyword}.dcm"] = dicom_bytes(dataset), "more than an MR image"

    side = int(MAX_PIXELS**0.5) + 1
    picture = io.BytesIO()
    Image.new("1", (side, side)).save(picture, "PNG")
    found["side.png"] = picture.getvalue(), "more than an MR image"
    found["strip.tif"] = tiff_bomb(), "strip.tif"
    return found


def overlapping_zip(times: int) -> bytes:
    """One packed file that the directory lists many times, as the better known bombs do."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(2**26))
    data = buffer.getvalue()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    tail = bytearray(data[end:])
    tail[8:16] = struct.pack("<HHI", times, times, times * (end - start))
    return data[:start] + times * data[start:end] + bytes(tail)


def tiff_bomb() -> bytes:
    """A strip that claims 64 x 64 bytes and holds a deflate stream of 128 MiB of zeros."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.eye(64, dtype=np.uint8), compression="zlib")
    data, stream = bytearray(buffer.getvalue()), zeros(2**27, 15)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
        places = [tags[name].valueoffset for name in ("StripOffsets", "StripByteCounts")]
    for at, number in zip(places, (len(data), len(stream)), strict=True):
        data[at : at + 4] = number.to_bytes(4, "little")
    return bytes(data) + stream
