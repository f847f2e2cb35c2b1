"""Every MR image of the input has its own result, and what is left out is named."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from archive_files import save_nifti, save_series
from dicom_files import mr_image, saved

from cyclegan.export.provenance import pixels_sha256, source_of
from cyclegan.reading.read import read_volume

DISC = np.hypot(*np.mgrid[-32:32, -32:32]) < 26
SR = "1.2.840.10008.5.1.4.1.1.88.11"


def head(seed: int) -> np.ndarray:
    """(3, 64, 64) int16, another one for each seed."""
    values = np.random.default_rng(seed).integers(300, 900, (3, 64, 64))
    return (DISC * values).astype(np.int16)


def save_zip(path: Path, *volumes: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number, volume in enumerate(volumes):
            member = save_nifti(path.parent / "member" / f"{number}.nii", volume)
            archive.write(member, member.name)
            member.unlink()
        (path.parent / "member").rmdir()
    return path


def made(tmp_path: Path) -> dict[str, str]:
    """Source of each result by the result's name."""
    paths = (tmp_path / "out").rglob("*.nii.gz")
    return {str(path.relative_to(tmp_path / "out")): source_of(path) for path in paths}


def archive_beside_file(folder):
    return [save_zip(folder / "a.zip", head(1), head(2)), save_nifti(folder / "a_1.nii", head(3))]


def series_beside_series(folder):
    save_series(folder / "scan", head(1), head(2))
    save_series(folder / "scan_1", head(3))
    return [folder / "scan", folder / "scan_1"]


@pytest.mark.parametrize("write", [archive_beside_file, series_beside_series])
@pytest.mark.parametrize("is_folder", [True, False])
def test_no_result_takes_the_name_of_another(run, tmp_path, write, is_folder):
    inputs = write(tmp_path / "in")
    inputs = [tmp_path / "in"] if is_folder else inputs
    assert run(*inputs) == 0
    first = made(tmp_path)
    assert len(set(first.values()) - {""}) == 3
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.nii.gz")}
    assert run(*inputs) == 0
    assert made(tmp_path) == first
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert run(*inputs, options=("--force",)) == 0
    assert made(tmp_path) == first


@pytest.mark.parametrize("late", [0, 1])
def test_what_comes_later_takes_no_name_either(run, tmp_path, late):
    inputs = archive_beside_file(tmp_path / "in")
    hidden = inputs[late].rename(tmp_path / inputs[late].name)
    assert run(tmp_path / "in") == 0
    before = made(tmp_path)
    hidden.rename(inputs[late])
    for _ in range(2):
        assert run(tmp_path / "in") == 0
        assert len(set(made(tmp_path).values())) == 3
        assert before.items() <= made(tmp_path).items()


def test_a_number_that_was_another_image_s_is_not_taken(run, tmp_path):
    save_zip(tmp_path / "a.zip", head(1), head(2))
    assert run(tmp_path / "a.zip") == 0
    before = made(tmp_path)
    save_zip(tmp_path / "a.zip", head(3), head(1), head(2))
    for _ in range(2):
        assert run(tmp_path / "a.zip") == 0
        assert len(set(made(tmp_path).values())) == 3
        assert before.items() <= made(tmp_path).items()


def test_an_image_missing_of_several_counts(run, tmp_path, capsys):
    whole, cut = (save_nifti(tmp_path / name, head(n)) for n, name in enumerate(("a.nii", "b.nii")))
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("b.nii", cut.read_bytes()[:-5000])
        archive.write(whole, "c.nii")
        archive.writestr("README.txt", "hello")
    for times in ("1 done, 1 failed", "0 done, 1 failed, 1 there before"):
        assert run(tmp_path / "two.zip") == 1
        printed = capsys.readouterr().err
        assert times in printed
        assert "b.nii: the file ends early" in printed
        assert [*made(tmp_path).values()] == [pixels_sha256(read_volume(whole))]


def test_other_modalities_and_reports_are_left_out_with_a_line(run, tmp_path, capsys):
    folder = tmp_path / "in/study"
    save_series(folder, head(1), SeriesDescription="t1_se")
    for modality in ("CT", "PT", "US"):
        save_series(folder, head(2), Modality=modality, SeriesDescription=f"{modality} head")
    screen = "1.2.840.10008.5.1.4.1.1.7"
    save_series(folder, head(3)[:1], Modality="OT", SOPClassUID=screen, SeriesDescription="screen")
    report = mr_image(head(1)[0].astype(np.uint16))
    for keyword in ("Rows", "Columns", "PixelData", "PhotometricInterpretation"):
        delattr(report, keyword)
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = SR
    saved(folder, report, "report")
    saved(tmp_path / "in", report, "alone")
    assert run(tmp_path / "in") == 0
    assert list(made(tmp_path)) == ["study_synthetic-T2.nii.gz"]
    printed = capsys.readouterr().err
    for line in (
        "left out: study: CT head axial, 3 slices, 64 x 64: no MR image, its modality is CT",
        "its modality is PT",
        "its modality is US",
        "left out: study: screen axial, 1 slice, 64 x 64: no MR image, it does not say",
        "left out: report: this DICOM file (Basic Text SR Storage) holds no image",
        "left out: alone: this DICOM file (Basic Text SR Storage) holds no image",
        "1 done, 0 failed, 6 left out",
    ):
        assert line in printed


def test_where_nothing_is_mr_the_command_fails(run, tmp_path, capsys):
    save_series(tmp_path / "in", head(1), Modality="CT")
    assert run(tmp_path / "in") == 1
    printed = capsys.readouterr().err
    assert "its modality is CT" in printed
    assert printed.endswith("translate: nothing here is an MR image\n")
    assert made(tmp_path) == {}


def test_masks_and_label_maps_are_left_out_and_images_are_not(run, tmp_path, capsys):
    labels = (np.kron(np.arange(16).reshape(1, 4, 4), np.ones((3, 16, 16))) * 7).astype(np.int16)
    folder = tmp_path / "in"
    for name, volume in (
        ("sub-01_T1w.nii.gz", head(1)),
        ("lesions.nii", (head(1) > 700).astype(np.int16)),
        ("aparc+aseg.nii.gz", labels),
        ("unnamed.nii", labels),
        ("brainmask.nii", head(2)),  # FreeSurfer calls a stripped T1 so
    ):
        save_nifti(folder / name, volume)
    save_nifti(tmp_path / "in/drawn/phantom.nii", labels)  # nothing says that these are labels
    assert run(folder) == 0
    assert set(made(tmp_path)) == {
        f"{name}_synthetic-T2.nii.gz" for name in ("sub-01_T1w", "brainmask", "drawn/phantom")
    }
    printed = capsys.readouterr().err
    for line in (
        "lesions.nii, 3 slices, 64 x 64: no MR image, it is a mask or label map of 2 values",
        "aparc+aseg.nii.gz, 3 slices, 64 x 64: no MR image, it is a mask or label map of 16 values",
        "unnamed.nii, 3 slices, 64 x 64: no MR image, it looks like a label map of 16 values",
    ):
        assert f"left out: {line}" in printed


def test_one_image_beside_others_of_its_folder_goes_by_the_folder_s_name(run, tmp_path):
    folder = tmp_path / "study"
    save_series(folder, head(1), Modality="CT")
    save_series(folder, head(2), SeriesDescription="t1")
    assert run(folder) == 0
    assert list(made(tmp_path)) == ["study_synthetic-T2.nii.gz"]
