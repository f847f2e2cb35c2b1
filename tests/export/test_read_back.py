"""Saved files are read back: what a picture shows and says, and where a result without a place or
of a zip has its pixels."""

from __future__ import annotations

import gzip
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import axial_series, mr_image, saved
from PIL import Image
from read_picture import SavedPicture

from cyclegan.export.bundle import Companions, result_zip
from cyclegan.export.derived import WHITE, derived_dicom
from cyclegan.export.files import labelled_png, nifti
from cyclegan.export.provenance import Provenance, synthetic_label
from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files

ORIGIN = Provenance("1.2", "ab" * 32, "T1 to T2", "cd" * 32, "0.1.0")
SHAPE = (5, 64, 48)


@pytest.fixture
def stack() -> np.ndarray:
    """(Z, H, W) in [0, 1], each slice a noise of its own."""
    return np.random.default_rng(5).random(SHAPE).astype(np.float32)


@pytest.mark.parametrize("to", ["T1", "T2"])
@pytest.mark.parametrize("mm", [0.3, 0.9, 2.0])
def test_a_picture_says_its_contrast_its_number_and_its_scale(stack, to, mm):
    data = labelled_png(
        stack[1], label=synthetic_label(to), spacing=(5.0, mm, mm), slice_of=(2, len(stack))
    )
    picture = SavedPicture(data, SHAPE[1:])
    np.testing.assert_allclose(picture.slice, stack[1], atol=0.003)
    assert picture.mm_per_pixel == pytest.approx(mm, rel=0.03)
    for other in ("T1", "T2"):
        words = {"T1": "SYNTHETIC T1 from T2", "T2": "SYNTHETIC T2 from T1"}[other]
        assert picture.says(f"{words} - not for diagnosis") is (other == to)
    assert [n for n in range(1, 9) if picture.says(f"Slice {n} of {len(stack)}")] == [2]


@pytest.mark.parametrize("sides", ["RLAP", "LRPA", "APSI", "PASI", "ISAP"])
def test_the_letters_of_a_picture_are_at_their_sides(stack, sides):
    data = labelled_png(stack[0], label="x", sides=tuple(sides))
    assert SavedPicture(data, SHAPE[1:]).letters == tuple(sides[:2])


def test_a_picture_without_a_place_or_a_size_claims_none(stack):
    picture = SavedPicture(labelled_png(stack[0], label="x"), SHAPE[1:])
    assert picture.letters == ("", "")
    assert picture.mm_per_pixel is None


@pytest.mark.parametrize("given", ["spacing", "aspect"])
def test_oblong_pixels_are_stretched_along_their_longer_side(given):
    square = np.zeros((60, 60))
    square[20:40, 20:40] = 1
    drawn = np.asarray(Image.open(io.BytesIO(labelled_png(square, label="x", **{given: (3, 1)}))))
    (end,) = np.flatnonzero((drawn == 96).all(axis=1))
    rows, columns = np.nonzero(drawn[:end] > 128)
    assert np.ptp(rows) == pytest.approx(3 * np.ptp(columns), rel=0.05)


@pytest.mark.parametrize("with_real", [False, True])
def test_side_by_side_shows_the_slice_on_screen_as_its_words_say(stack, tmp_path, with_real):
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image(stack.transpose(2, 1, 0), np.diag([-1, -1, 3.0, 1])), path)
    original, real = stack[::-1] ** 2, 1 - stack
    beside = Companions(original=original, real=real if with_real else None, shown=3)
    data = result_zip(
        *(stack, read_volume(path)),
        to="T2",
        provenance=ORIGIN,
        window=(0.4, 0.5),
        beside=beside,
    )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("side_by_side.png")]
        picture = archive.read(name)
    seen = [original[3], np.clip((stack[3] - 0.4) / 0.5 + 0.5, 0, 1)]
    words = "Left to right: original T1, SYNTHETIC T2"
    if with_real:
        seen.append(np.clip((real[3] - 0.4) / 0.5 + 0.5, 0, 1))
        words += ", real T2"
    gap = 4
    width = len(seen) * SHAPE[2] + (len(seen) - 1) * gap
    shown = SavedPicture(picture, (SHAPE[1], width))
    for place, image in enumerate(seen):
        left = place * (SHAPE[2] + gap)
        np.testing.assert_allclose(shown.slice[:, left : left + SHAPE[2]], image, atol=0.003)
    assert shown.text["Description"].startswith(f"{words}. SYNTHETIC T2 from T1")


def test_images_of_a_zip_of_a_dicom_series_are_in_one_order(stack, tmp_path):
    stored = (stack * WHITE).astype(np.uint16)
    paths = [saved(tmp_path, d, f"{n}.dcm") for n, d in enumerate(axial_series(stored))]
    volume = open_files(paths[::-1]).read(0)
    data = result_zip(volume.pixels / WHITE, volume, to="T2", provenance=ORIGIN, window=(0.5, 1))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {Path(name).name: archive.read(name) for name in archive.namelist()}
    readme = files["README.txt"].decode()
    assert "window center 0.500, width 1.000" in readme
    for number, image in enumerate(stored, 1):
        derived = pydicom.dcmread(io.BytesIO(files[f"synthetic_T2_cdcdcd_{number:04}.dcm"]))
        np.testing.assert_array_equal(derived.pixel_array, image)
        assert derived.ImagePositionPatient[2] == 40 + 3 * (number - 1)
        assert derived.SpacingBetweenSlices == pytest.approx(3)
        data = files[f"synthetic_T2_cdcdcd_{number:04}.png"]
        shown = np.asarray(Image.open(io.BytesIO(data)))
        # Pixels of 0.5 x 0.75 mm are stretched: the mean of the slice is what can be compared.
        (end,) = np.flatnonzero((shown == 96).all(axis=1))
        middle = np.s_[end // 4 : end // 2, 60:-60]
        rows, columns = (round(s * SHAPE[k] / n) for k, s, n in ((1, end / 4, end), (2, 60, 512)))
        part = image[rows : 2 * rows, columns : SHAPE[2] - columns] / WHITE
        assert shown[middle].mean() / 255 == pytest.approx(part.mean(), abs=0.02)


@pytest.mark.parametrize(
    ("told", "attribute"), [("PixelSpacing", [0.5, 0.75]), ("PixelAspectRatio", [3, 2])]
)
def test_a_capture_has_the_pixels_of_its_source(tmp_path, told, attribute):
    dataset = mr_image(np.arange(40 * 36, dtype=np.uint16).reshape(40, 36), cosines=None)
    setattr(dataset, told, attribute)
    volume = read_volume(saved(tmp_path, dataset))
    (data,), _ = derived_dicom(volume.pixels / WHITE, volume, to="T2", provenance=ORIGIN)
    assert list(pydicom.dcmread(io.BytesIO(data))[told].value) == attribute


def test_a_nifti_without_a_place_has_the_sizes_of_its_source(stack, tmp_path):
    path = tmp_path / "scan.png"
    Image.fromarray((stack[0] * 255).astype(np.uint8)).save(path)
    volume = replace(read_volume(path), spacing=(3.0, 0.5, 0.75))
    image = nib.Nifti1Image.from_bytes(
        gzip.decompress(nifti(volume.pixels, volume, description="x"))
    )
    np.testing.assert_allclose(image.header.get_zooms(), (0.75, 0.5, 3.0))


def test_a_derived_series_is_numbered_apart_from_its_source(tmp_path):
    for number in (0, 7, 1007):
        dataset = mr_image(np.arange(40 * 36, dtype=np.uint16).reshape(40, 36))
        dataset.SeriesNumber, dataset.InstanceNumber = number, 4
        volume = read_volume(saved(tmp_path, dataset))
        (data,), _ = derived_dicom(volume.pixels / WHITE, volume, to="T2", provenance=ORIGIN)
        derived = pydicom.dcmread(io.BytesIO(data))
        assert derived.SeriesNumber == 1000 + number % 1000
        assert derived.InstanceNumber == 1  # a series of its own starts with 1
