"""The file formats: one entry each in `FORMATS`, from which all lists of formats are made.

The content of a file decides what it is, never its name. To add a format, add an entry, and a
module with `choices(member, alone) -> list[Choice]`. For one without position in space
`raster.picture_choices` does all but the decoding; for one with an affine, `nifti` is the example
and `geometry.placed_volume` does all but the parsing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from cyclegan.reading.volume import MAX_FILE_BYTES, ReadError, split_name

ZIP_MAGIC = b"PK\x03\x04"
GZIP_MAGIC = b"\x1f\x8b"


class Format(NamedTuple):
    """One format.

    Attributes:
        name: in messages.
        endings: of file names, in lower case; they name results and serve as a first guess.
        starts: whether a file with this first kilobyte, gzip unpacked, is of the format.
        module_name: below this package, of the module that reads it.
        is_picture: whether it is an ordinary picture, which says nothing of a patient.
        is_gzipped: whether it is read from inside a gzip file, too.
        example: what stands behind the name in the list of formats.
    """

    name: str
    endings: tuple[str, ...]
    starts: Callable[[bytes], bool]
    module_name: str
    is_picture: bool = True
    is_gzipped: bool = False
    example: str = ""

    @property
    def module(self) -> ModuleType:
        """What reads it, imported when it is needed: some libraries take a while."""
        return import_module(f"{__package__}.{self.module_name}")


def is_nifti(head: bytes) -> bool:
    """Whether a header of NIfTI-1, NIfTI-2 or its ancestor Analyze 7.5 starts here.

    All three start with their own length: https://nifti.nimh.nih.gov/nifti-1, -2.
    """
    return any(int.from_bytes(head[:4], order) in (348, 540) for order in ("little", "big"))


def is_mgh(head: bytes) -> bool:
    """Whether a FreeSurfer MGH header starts here: version 1, four sides, a known number type."""
    if len(head) < 28 or head[:4] != b"\0\0\0\1":
        return False
    *sides, kind = [int.from_bytes(head[i : i + 4], "big") for i in range(4, 24, 4)]
    return all(0 < side < 2**15 for side in sides) and kind in (0, 1, 3, 4)


def _is_dicom(head: bytes) -> bool:
    """The mark behind the preamble, or without these a small element of group 2 or 8, in either
    byte order."""
    if head[128:132] == b"DICM":
        return True
    pairs = [
        [int.from_bytes(head[i : i + 2], order) for i in (0, 2)] for order in ("little", "big")
    ]
    return len(head) > 8 and any(g in (0x0002, 0x0008) and e <= 0x0100 for g, e in pairs)


def _magic(*marks: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(marks)


FORMATS = (
    # First: the preamble of DICOM may pose as TIFF (PS3.10 7.1).
    Format("DICOM", (".dcm", ".dicom", ".ima"), _is_dicom, "dicom.choices", is_picture=False),
    Format(
        "NIfTI",
        (".nii.gz", ".nii", ".mgz", ".mgh", ".hdr", ".img"),
        lambda head: is_nifti(head) or is_mgh(head),
        "nifti",
        is_picture=False,
        is_gzipped=True,
        example=" (.nii, .nii.gz)",
    ),
    Format("PNG", (".png",), _magic(b"\x89PNG\r\n\x1a\n"), "raster"),
    Format("JPEG", (".jpg", ".jpeg"), _magic(b"\xff\xd8\xff"), "raster"),
    Format("TIFF", (".tif", ".tiff"), _magic(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "tiff"),
    Format("BMP", (".bmp",), _magic(b"BM"), "raster"),
    Format("GIF", (".gif",), _magic(b"GIF87a", b"GIF89a"), "raster"),
    Format("WebP", (".webp",), lambda h: h[:4] == b"RIFF" and h[8:12] == b"WEBP", "raster"),
)
DICOM = FORMATS[0]  # the only one whose volumes span files
PAIR = (".hdr", ".img")  # of Analyze and NIfTI: a header and its voxels
# Of files that hold whole volumes.
VOLUME_ENDINGS = tuple(
    ending
    for each in FORMATS[1:]
    if not each.is_picture
    for ending in each.endings
    if ending not in PAIR
)
_NAMES = [each.name + each.example for each in FORMATS]
SUPPORTED = f"{', '.join(_NAMES[:-1])} or {_NAMES[-1]}"

_UNPACK = "unpack it first"
_VOLUME = "save the volume as NIfTI, for example in 3D Slicer"
_PICTURE = "save it as PNG"
_NOT_READ = (  # where a mark stands, the mark, what the file is, and what would work
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


def file_head(path: Path) -> bytes:
    """The first kilobyte of a file of acceptable size.

    Raises:
        ReadError: the file is missing, empty, larger than `MAX_FILE_BYTES` or cannot be opened.
    """
    try:
        if path.is_dir():
            raise ReadError(f"{path.name}: this is a folder; choose the files in it.")
        if not path.is_file():
            raise ReadError(f"{path.name}: there is no such file; choose a {SUPPORTED} file.")
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(1024)
    except OSError as error:
        raise ReadError(f"{path.name}: the file cannot be opened ({error.strerror}).") from error
    if size == 0:
        raise ReadError(f"{path.name}: the file is empty; choose a {SUPPORTED} file.")
    if size > MAX_FILE_BYTES:
        raise ReadError(
            f"{path.name}: the file has {size / 2**20:.0f} MiB; "
            f"up to {MAX_FILE_BYTES / 2**20:.0f} MiB are read."
        )
    return head


def format_of(head: bytes, name: str) -> Format:
    """The format of a file.

    Args:
        head: its first kilobyte.
        name: for messages.

    Raises:
        ReadError: the file is of no format that can be read.
    """
    inside = head
    if head.startswith(GZIP_MAGIC):
        try:
            inside = zlib.decompressobj(31).decompress(head, 1024)
        except zlib.error:
            inside = b""
    for each in FORMATS:
        if each.starts(inside if each.is_gzipped else head):
            return each
    if head.startswith(GZIP_MAGIC):
        if split_name(name)[1] == ".img":
            raise half_of_pair(name)
        raise ReadError(
            f"{name}: the gzip file holds no NIfTI or MGH volume; unpack it and choose the image "
            "inside."
        )
    if head.startswith(ZIP_MAGIC):
        raise ReadError(f"{name}: this is an archive inside another; unpack it first.")
    if hint := unread_format(head):
        raise ReadError(f"{name}: this is {hint}.")
    raise ReadError(f"{name}: this is not an image that can be read; choose a {SUPPORTED} file.")


def unread_format(head: bytes) -> str | None:
    """What a file of a format that is not read is, and what would work, as the end of a sentence;
    None for any other file.

    Args:
        head: its first kilobyte.
    """
    for at, mark, name, remedy in _NOT_READ:
        if head[at:].startswith(mark):
            return f"{name}, which is not read here: {remedy}"
    return None


def half_of_pair(name: str) -> ReadError:
    """The error for a .hdr without its .img, or the reverse."""
    return ReadError(
        f"{name}: this is half of an Analyze or NIfTI .hdr/.img pair; choose both files "
        "together, or convert the pair to one .nii or .nii.gz file."
    )
