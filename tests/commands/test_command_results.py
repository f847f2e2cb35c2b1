"""What the command writes, read back from its files: order, scale, proportions, letters, names."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import axial_series, mr_image, saved
from known_translator import known_translator
from PIL import Image
from read_picture import SavedPicture

from cyclegan.model.translator import Translator
from cyclegan.reading.read import read_volume
from cyclegan.simulation.phantom import draw_volume
from cyclegan.translate import main

LABEL = "SYNTHETIC T2 from T1 - not for diagnosis"
DEPTH, HEIGHT, WIDTH = 7, 64, 56  # more slices than the network takes at a time


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """(Z, H, W) uint16, like a head; the last slices are the brightest, as in no other order."""
    labels = draw_volume(2, slices=DEPTH, size=HEIGHT)[..., :WIDTH] % 251
    return (labels * np.linspace(0.4, 1, DEPTH)[:, None, None]).astype(np.uint16)


@pytest.fixture
def translate(tmp_path, monkeypatch):
    """A function that runs the command into T2, below `out`: its exit code."""
    monkeypatch.setattr(Translator, "from_pretrained", lambda *_, **__: known_translator())

    def call(path: Path, *options: str) -> int:
        return main([str(path), "--to", "T2", "--out", str(tmp_path / "out"), *options])

    return call


def written(tmp_path: Path) -> set[str]:
    out = tmp_path / "out"
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def expected_of(path: Path, **options) -> np.ndarray:
    return known_translator().translate(read_volume(path).pixels, "T2", **options)


@pytest.mark.parametrize("spacing", [(3.0, 1.0, 1.0), (3.0, 0.6, 1.2)])
def test_a_volume_is_scaled_and_framed_as_one_and_stays_in_order(
    translate, tmp_path, head, spacing
):
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(head.transpose(2, 1, 0), affine), path)
    assert translate(path) == 0
    image = nib.load(tmp_path / "out/scan_synthetic-T2.nii.gz")
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)
    expected = expected_of(path, spacing=spacing[1:])
    np.testing.assert_allclose(image.get_fdata().transpose(2, 1, 0), expected, atol=1e-3)
    assert image.header["descrip"].item().decode().startswith(LABEL)


def test_a_slice_becomes_a_picture_with_its_letters_and_scale(translate, tmp_path, head):
    path = saved(tmp_path, mr_image(head[4], spacing=(0.9, 0.9)), "scan.dcm")
    assert translate(path) == 0
    data = (tmp_path / "out/scan_synthetic-T2.png").read_bytes()
    picture = SavedPicture(data, (HEIGHT, WIDTH))
    assert (np.abs(picture.slice - expected_of(path)[0]) > 0.01).mean() < 0.01
    assert picture.letters == ("R", "L")
    assert picture.mm_per_pixel == pytest.approx(0.9, rel=0.02)
    assert picture.says(LABEL)


def test_a_picture_of_which_only_proportions_are_known_has_them(translate, tmp_path, head):
    path = tmp_path / "scan.png"
    Image.fromarray(head[4].astype(np.uint8)).save(path, dpi=(200, 100))
    assert read_volume(path).aspect == pytest.approx((0.01, 0.005), rel=1e-4)
    assert translate(path) == 0
    with Image.open(tmp_path / "out/scan_synthetic-T2.png") as picture:
        drawn = np.asarray(picture)
    (end,) = np.flatnonzero((drawn == 96).all(axis=1))
    filled = np.flatnonzero(drawn[:end].any(axis=0))
    rows = np.flatnonzero(drawn[:end].any(axis=1))
    heads = np.nonzero(expected_of(path, spacing=(0.01, 0.005))[0])
    wide, high = (np.ptp(axis) + 1 for axis in heads[::-1])
    assert np.ptp(rows) / np.ptp(filled) == pytest.approx(2 * high / wide, rel=0.03)


def test_several_series_are_numbered_from_one_and_each_has_its_slices(translate, tmp_path, head):
    inputs = tmp_path / "in"
    inputs.mkdir()
    for number, stack in enumerate((head, head[:, ::-1]), 1):
        series = axial_series(stack, SeriesDescription=f"t1 {number}", SeriesNumber=number)
        for place, dataset in enumerate(series):
            saved(inputs, dataset, f"{number}_{place}.dcm")
    assert translate(inputs) == 0
    names = [f"in_synthetic-T2_{number}" for number in (1, 2)]
    assert written(tmp_path) == {
        *(f"{name}.nii.gz" for name in names),
        *(f"{name}_dicom/{slice_:04}.dcm" for name in names for slice_ in range(1, DEPTH + 1)),
    }
    for name, stack in zip(names, (head, head[:, ::-1]), strict=True):
        expected = known_translator().translate(stack, "T2", spacing=(0.5, 0.75))
        image = nib.load(tmp_path / f"out/{name}.nii.gz").get_fdata().transpose(2, 1, 0)
        np.testing.assert_allclose(image, expected, atol=1e-3)
        for number, slice_ in enumerate(expected, 1):
            derived = pydicom.dcmread(tmp_path / f"out/{name}_dicom/{number:04}.dcm")
            np.testing.assert_allclose(derived.pixel_array / 10_000, slice_, atol=1e-3)
            assert derived.ImagePositionPatient[2] == 40 + 3 * (number - 1)
            assert derived.InstanceNumber == number
