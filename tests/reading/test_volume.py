"""One way in: content decides, claims are checked, and only a ReadError ever comes out."""

from __future__ import annotations

import gzip

import numpy as np
import pydicom
import pytest
from dicom_files import mr_image
from intact_files import ENCODERS, compressed, dicom_bytes, intact_files, picture

from cyclegan.reading.read import read_volume
from cyclegan.reading.volume import ReadError

FILES = intact_files()
FAMILIES = sorted(FILES)


@pytest.mark.parametrize("family", FAMILIES)
def test_intact_files_are_read_whatever_their_name(tmp_path, family):
    path = tmp_path / "misleading.txt"
    path.write_bytes(FILES[family])
    volume = read_volume(path)
    assert volume.pixels.dtype == np.float32
    assert volume.pixels.shape[0] in (1, 2)
    assert volume.name == "misleading.txt"
    assert [p.name for p in tmp_path.iterdir()] == ["misleading.txt"]


@pytest.mark.parametrize("syntax", ENCODERS)
def test_every_compressed_syntax_is_read_exactly(tmp_path, syntax):
    path = tmp_path / "slice.dcm"
    path.write_bytes(FILES[f"{syntax}.dcm"])
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read_volume(path).pixels[0], picture())
    signed = picture().astype(np.int16) - 2000
    path.write_bytes(compressed(dicom_bytes(mr_image(signed)), syntax))
    np.testing.assert_array_equal(read_volume(path).pixels[0], signed)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"Dear colleague, please find attached", "not an image that can be read"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "not an image that can be read"),
        (b"PK\x03\x04" + bytes(200), "zip file is damaged"),
        (gzip.compress(b"a text file" * 100, mtime=0), "gzip file holds no NIfTI"),
        (b"\x1f\x8b" + b"\xff" * 100, "gzip file holds no NIfTI"),
        (b"\x80\x04\x95" + bytes(100), "not an image that can be read"),  # a pickle
        (b"\x93NUMPY\x01\x00v\x00{'descr': '|O'}", "a NumPy array"),
        (b"GIF89a" + bytes(100), "GIF file is damaged"),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(100), "WebP file is damaged"),
        (b"BZh91AY&SY" + bytes(100), "a bzip2 file, .*: unpack it first"),
        (bytes(257) + b"ustar\x0000" + bytes(100), "a tar archive, .*: unpack it first"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "MINC file, .*: convert it to NIfTI"),
        (b"ObjectType = Image\nNDims = 3\n", "a MetaImage file, .*: save the volume as NIfTI"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "a HEIC picture, .*: save it as PNG"),
        (bytes(4096), "not an image that can be read"),
    ],
)
def test_other_content_is_refused_in_words(tmp_path, content, reason):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=rf"^scan\.nii\.gz: .*{reason}"):
        read_volume(path)


def test_missing_file_folder_and_oversized_file(tmp_path, monkeypatch):
    with pytest.raises(ReadError, match=r"^absent\.png: there is no such file"):
        read_volume(tmp_path / "absent.png")
    with pytest.raises(ReadError, match="this is a folder"):
        read_volume(tmp_path)
    path = tmp_path / "large.png"
    path.write_bytes(FILES["png"])
    monkeypatch.setattr("cyclegan.reading.formats.MAX_FILE_BYTES", 100)
    with pytest.raises(ReadError, match=r"^large\.png: "):
        read_volume(str(path))


def test_the_message_names_the_file_but_not_its_folder(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    with pytest.raises(ReadError) as caught:
        read_volume(path)
    assert str(tmp_path) not in str(caught.value)
