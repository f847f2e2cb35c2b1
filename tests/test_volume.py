"""One way in: content decides, claims are checked, and only a ReadError ever comes out."""

from __future__ import annotations

import gzip
import io
import random
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom.data import get_testdata_file

from cyclegan.volume import ReadError, Volume, read_volume


def _encoded(values: np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()


def intact_files() -> dict[str, bytes]:
    """One small file of each family, with more than 8 bits where the family can hold them."""
    rows, columns = np.mgrid[0:40, 0:36]
    deep = (rows * 1400 + columns * 37).astype(np.uint16)
    shallow = (rows * 4 + columns).astype(np.uint8)
    stack = io.BytesIO()
    tifffile.imwrite(stack, np.stack([deep, deep.T[:36].repeat(2, 0)[:40, :36]]))
    nifti = nib.Nifti1Image(np.stack([deep, deep // 2], axis=2), np.eye(4)).to_bytes()
    shipped = ("MR_small", "MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless")
    return {
        "png": _encoded(deep, "PNG"),
        "jpg": _encoded(shallow, "JPEG"),
        "bmp": _encoded(shallow, "BMP"),
        "tif": stack.getvalue(),
        "lzw.tif": _encoded(deep, "TIFF", compression="tiff_lzw"),
        "nii": nifti,
        "nii.gz": gzip.compress(nifti),
        **{f"{name}.dcm": Path(get_testdata_file(f"{name}.dcm")).read_bytes() for name in shipped},
    }


FILES = intact_files()
FAMILIES = sorted(FILES)


def assert_image_or_refusal(path: Path) -> Volume | None:
    """Read a damaged file; anything but a sound volume or a ReadError that names it fails."""
    try:
        volume = read_volume(path)
    except ReadError as error:
        message = str(error)
    else:
        message = None
    if message is not None:
        assert message.startswith(f"{path.name}: ")
        assert "\n" not in message
        return None
    assert volume.pixels.dtype == np.float32
    assert volume.pixels.ndim == 3
    assert np.isfinite(volume.pixels).all()
    assert volume.pixels.min() < volume.pixels.max()
    return volume


@pytest.mark.parametrize("family", FAMILIES)
def test_intact_files_are_read_whatever_their_name(tmp_path, family):
    path = tmp_path / "misleading.txt"
    path.write_bytes(FILES[family])
    volume = assert_image_or_refusal(path)
    assert volume is not None
    assert volume.name == "misleading.txt"
    assert [p.name for p in tmp_path.iterdir()] == ["misleading.txt"]


@pytest.mark.parametrize("family", FAMILIES)
def test_truncated_at_every_tenth(tmp_path, family):
    data = FILES[family]
    path = tmp_path / f"cut.{family}"
    for tenth in range(10):
        path.write_bytes(data[: len(data) * tenth // 10])
        with pytest.raises(ReadError, match=rf"^cut\.{family}: "):
            read_volume(path)


@pytest.mark.parametrize("family", FAMILIES)
def test_flipped_bits(tmp_path, family):
    rng = random.Random(family)
    path = tmp_path / f"flipped.{family}"
    for _ in range(25):
        data = bytearray(FILES[family])
        for _ in range(rng.choice([1, 4, 16])):
            # Half of the hits in the header, where they do most harm.
            end = min(len(data), 1500) if rng.random() < 0.5 else len(data)
            data[rng.randrange(end)] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data))
        assert_image_or_refusal(path)


def test_checksummed_families_never_show_damaged_pixels(tmp_path):
    for family in ("png", "nii.gz"):
        path = tmp_path / f"whole.{family}"
        path.write_bytes(FILES[family])
        whole = read_volume(path).pixels
        for at in range(40, len(FILES[family]) - 12, max(1, len(FILES[family]) // 60)):
            data = bytearray(FILES[family])
            data[at] ^= 0x10
            path.write_bytes(bytes(data))
            volume = assert_image_or_refusal(path)
            assert volume is None or np.array_equal(volume.pixels, whole)


@pytest.mark.parametrize("family", FAMILIES)
def test_magic_followed_by_rubbish(tmp_path, family):
    path = tmp_path / f"rubbish.{family}"
    path.write_bytes(FILES[family][:16] + random.Random(family).randbytes(5000))
    with pytest.raises(ReadError, match="rubbish"):
        read_volume(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"Dear colleague, please find attached", "not an image that can be read"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "not an image that can be read"),
        (b"PK\x03\x04" + bytes(200), "zip file is damaged"),
        (gzip.compress(b"a text file" * 100), "gzip file holds no NIfTI"),
        (b"\x1f\x8b" + b"\xff" * 100, "gzip file holds no NIfTI"),
        (b"\x80\x04\x95" + bytes(100), "not an image that can be read"),  # a pickle
        (b"\x93NUMPY\x01\x00v\x00{'descr': '|O'}", "not an image that can be read"),
        (b"GIF89a" + bytes(100), "not an image that can be read"),
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
    with pytest.raises(ReadError, match="no such file"):
        read_volume(tmp_path)
    path = tmp_path / "large.png"
    path.write_bytes(FILES["png"])
    monkeypatch.setattr("cyclegan.volume.MAX_FILE_BYTES", 100)
    with pytest.raises(ReadError, match=r"^large\.png: "):
        read_volume(str(path))


def test_the_message_names_the_file_but_not_its_folder(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    with pytest.raises(ReadError) as caught:
        read_volume(path)
    assert str(tmp_path) not in str(caught.value)
