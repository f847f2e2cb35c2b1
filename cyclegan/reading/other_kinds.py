"""Kinds of files that people bring and that are not read here, and what would work for each."""

from __future__ import annotations

_UNPACK = "unpack it first"
_VOLUME = "save the volume as NIfTI, for example in 3D Slicer"
_PICTURE = "save it as PNG"
_KINDS = (  # where a mark stands, the mark
    (0, b"BZh", "a bzip2 file", _UNPACK),
    (0, b"\xfd7zXZ\0", "an xz file", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"NRRD", "an NRRD file", _VOLUME),
    (0, b"ObjectType", "a MetaImage file", _VOLUME),
    (0, b"NDims", "a MetaImage file", _VOLUME),
    (0, b"CDF\x01", "a MINC file", "convert it to NIfTI, for example by mnc2nii"),
    (0, b"\x89HDF", "an HDF5 or MINC file", "convert it to NIfTI, for example by mnc2nii"),
    (0, b"\x93NUMPY", "a NumPy array", "save it as NIfTI or TIFF"),
    (0, b"# === DATA DESCRIPTION FILE", "half of a Philips PAR/REC scan", "convert it by dcm2niix"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", _PICTURE),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture", _PICTURE),
    (4, b"ftypavif", "an AVIF picture", _PICTURE),
    (4, b"ftyphei", "a HEIC picture", _PICTURE),
    (4, b"ftypmif1", "a HEIC picture", _PICTURE),
)


def named(head: bytes) -> str | None:
    """What a file is and what would work, as the end of a sentence; None for any other file.

    Args:
        head: its first kilobyte.
    """
    for at, mark, what, remedy in _KINDS:
        if head[at:].startswith(mark):
            return f"{what}, which is not read here: {remedy}"
    return None
