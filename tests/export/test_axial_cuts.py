"""Volumes scanned sagittally or coronally: cut axially, and exported on their own slices."""

from __future__ import annotations

import gzip
import io

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import AXIAL, CORONAL, SAGITTAL, enhanced, mr_image, saved
from pydicom.uid import generate_uid

from cyclegan.export.derived import WHITE, derived_dicom
from cyclegan.export.files import nifti
from cyclegan.export.provenance import Provenance
from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files

ORIGIN = Provenance("1.2", "ab" * 32, "T1 to T2", "cd" * 32, "0.1.0")
TO_RAS = np.diag([-1.0, -1, 1, 1])
TILTED = (0, np.cos(0.2), np.sin(0.2), 0, np.sin(0.2), -np.cos(0.2))


def series(cosines, shape=(34, 40, 48), step=1.5, pixel=(1.0, 1.25), thickness=1.5, seed=0):
    """Objects of a scan of random values, and their affine from (column, row, slice) to RAS+."""
    stack = np.random.default_rng(seed).integers(0, WHITE, shape).astype(np.uint16)
    row, column = np.reshape(np.array(cosines, float), (2, 3))
    normal, origin = np.cross(row, column), np.array([-20.0, -30, 40])
    uid, datasets = generate_uid(), []
    for index, stored in enumerate(stack):
        dataset = mr_image(stored, cosines, origin + index * step * normal, pixel)
        dataset.SeriesInstanceUID, dataset.InstanceNumber = uid, index + 1
        dataset.SliceThickness = thickness
        datasets.append(dataset)
    affine = np.eye(4)
    affine[:3] = np.stack([row * pixel[1], column * pixel[0], normal * step, origin], axis=1)
    return datasets, stack, TO_RAS @ affine


def read(tmp_path, datasets):
    paths = [saved(tmp_path, dataset, f"{i:03}.dcm") for i, dataset in enumerate(datasets)]
    selection = open_files(paths[::-1])
    assert len(selection.choices) == 1
    return selection.read(0), selection.choices[0]


@pytest.mark.parametrize("cosines", [SAGITTAL, CORONAL, TILTED, (0, -1, 0, 0, 0, 1)])
def test_dicom_and_nifti_of_a_scan_give_equal_pixels_and_exports_overlay_it(tmp_path, cosines):
    datasets, stack, affine = series(cosines)
    volume, label = read(tmp_path, datasets)
    image = nib.Nifti1Image(stack.transpose(2, 1, 0), affine)
    nib.save(image, tmp_path / "scan.nii.gz")
    same = read_volume(tmp_path / "scan.nii.gz")

    assert volume.directions == same.directions == ("R", "L", "A", "P")
    assert np.array_equal(volume.pixels, same.pixels)
    np.testing.assert_allclose(volume.affine, same.affine, atol=1e-4)
    np.testing.assert_allclose(volume.spacing, same.spacing, atol=1e-5)
    assert "cut axially" in label
    assert any("exports lie on its own slices" in note for note in volume.notes)

    result = volume.pixels / WHITE  # a translation that changes nothing must lie where it was
    files, _ = derived_dicom(result, volume, to="T2", provenance=ORIGIN)
    assert len(files) == len(datasets)
    for data, source in zip(files, datasets, strict=True):
        derived = pydicom.dcmread(io.BytesIO(data))
        assert np.array_equal(derived.pixel_array, source.pixel_array)
        np.testing.assert_allclose(
            derived.ImagePositionPatient, source.ImagePositionPatient, atol=1e-4
        )
        np.testing.assert_allclose(
            derived.ImageOrientationPatient, source.ImageOrientationPatient, atol=1e-4
        )
        assert derived.PixelSpacing == source.PixelSpacing
        assert derived.InstanceNumber == source.InstanceNumber
        (reference,) = derived.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    for scan in (volume, same):
        placed = nib.Nifti1Image.from_bytes(gzip.decompress(nifti(result, scan, description="-")))
        np.testing.assert_allclose(placed.affine, affine, atol=1e-4)
        np.testing.assert_allclose(placed.get_fdata() * WHITE, image.get_fdata(), atol=1e-2)


def test_a_multi_frame_object_is_cut_axially_too(tmp_path):
    stack = np.random.default_rng(1).integers(0, 999, (40, 44, 48)).astype(np.uint16)
    places = [(-30 + index, -30, 40) for index in range(40)]
    volume = read_volume(saved(tmp_path, enhanced(stack, places, SAGITTAL)))
    assert volume.pixels.shape == (44, 48, 40)
    assert [frame for *_, frame in volume.dicom.instances] == list(range(40, 0, -1))


def test_few_slices_are_cut_where_they_span_much_of_a_head(tmp_path):
    datasets, *_ = series(SAGITTAL, (10, 64, 80), 4.0, (3.0, 3.0), 6.0)
    assert read(tmp_path, datasets)[0].pixels.shape == (64, 80, 10)


@pytest.mark.parametrize(
    ("cosines", "changes", "plane"),
    [
        (SAGITTAL, {"step": 5.0, "thickness": 5.0}, "sagittal"),  # thick
        (CORONAL, {"step": 5.0, "thickness": 5.0}, "coronal"),
        (SAGITTAL, {"step": 2.0, "thickness": 1.5}, "sagittal"),  # gaps
        (SAGITTAL, {"shape": (1, 40, 48)}, "sagittal"),
        (SAGITTAL, {"shape": (9, 40, 48)}, "sagittal"),  # a strip of a head
        (AXIAL, {"pixel": (1.0, 3.0)}, None),
    ],
)
def test_what_is_no_volume_keeps_its_plane(tmp_path, cosines, changes, plane):
    datasets, stack, _ = series(cosines, **changes)
    volume, label = read(tmp_path, datasets)
    assert volume.pixels.shape == stack.shape
    assert "cut axially" not in label
    said = [note for note in volume.notes if "learned axial slices only" in note]
    assert said == [f"The slices are {plane}; the models learned axial slices only."] * bool(plane)


def test_a_stack_with_a_missing_slice_keeps_its_plane(tmp_path):
    datasets, *_ = series(SAGITTAL)
    del datasets[20]
    volume, _ = read(tmp_path, datasets)
    assert volume.pixels.shape == (33, 40, 48)
    assert any("varies" in note for note in volume.notes)


def test_one_axial_cut_is_no_slice_of_a_sagittal_series(tmp_path):
    volume, _ = read(tmp_path, series(SAGITTAL)[0])
    with pytest.raises(ValueError, match="no place among them"):
        derived_dicom(volume.pixels[3], volume, to="T2", provenance=ORIGIN, slice_index=3)
