"""One stream of any supported kind, decoded by the reader of its kind."""

from __future__ import annotations

from importlib import import_module
from typing import Any, BinaryIO

from cyclegan.reading.volume import Volume, checked, damage_refused, file_kind

# What a file of a given kind is called in messages, and the module of this room that reads it.
_READERS = {
    "DICOM": "dicom",
    "NIfTI": "nifti",
    "PNG": "raster",
    "JPEG": "raster",
    "BMP": "raster",
    "GIF": "raster",
    "WebP": "raster",
    "TIFF": "tiff",
}


def decoded(stream: BinaryIO, name: str, *, image: BinaryIO | None = None, **which: Any) -> Volume:
    """Read one volume from a seekable stream.

    Args:
        stream: at its start; the .hdr where the file is half of a pair.
        name: file name for messages and for the volume.
        image: the .img of a pair.
        which: what of the file is wanted, as the reader of its kind takes it.

    Raises:
        ReadError: as for `read_volume`.
    """
    kind = file_kind(stream.read(1024), name)
    stream.seek(0)
    if kind == "NIfTI" and image is not None:
        which["image"] = image
    with damage_refused(name, kind):
        reader = import_module(f"{__package__}.{_READERS[kind]}")
        return checked(reader.read(stream, name, **which))
