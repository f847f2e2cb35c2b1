"""Paths of results keep the user's own names of files; in the files there is no patient's name."""

import csv
import hashlib
import io
import zipfile

import pytest
from names import BESIDE, SOURCE, dicom_files, found_names, nifti_file, png_files

from cyclegan.translate import main


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Below a patient's folder: a series with a damaged file, a volume, pictures, and no image."""
    folder = tmp_path_factory.mktemp("archive") / SOURCE
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr(f"{SOURCE}/T1: {SOURCE}.dcm", b"nothing")
    for place, files in {
        "series": dicom_files(SOURCE, "T1"),
        "volume": {f"{SOURCE}.nii.gz": nifti_file(SOURCE, "T1")},
        "picture": dict([*png_files(SOURCE, "T1").items()][:1]),
        "damaged": {f"{SOURCE}.nii.gz": nifti_file(SOURCE, "T1")[:900]},
        "packed": {f"{SOURCE}.zip": buffer.getvalue()},
        "none": {f"{SOURCE}.dcm": dicom_files(SOURCE, "T1")[f"{SOURCE}_4.dcm"]},
    }.items():
        (folder / place).mkdir(parents=True)
        for name, data in files.items():
            (folder / place / name).write_bytes(data)
    return folder


def results(folder):
    """Of all files below a folder: their paths and contents."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_the_command_writes_names_nobody(archive, tmp_path, capsys):
    reference = tmp_path / BESIDE
    reference.mkdir()
    for name, data in dicom_files(BESIDE, "T2").items():
        (reference / name).write_bytes(data)
    out, table = tmp_path / "out", tmp_path / "failures.csv"
    options = ["--to", "T2", "--out", str(out), "--failures", str(table), "--hash-paths"]
    assert main([str(archive), *options, "--style", str(reference)]) == 1
    assert SOURCE in capsys.readouterr().err  # who calls the command reads which files failed
    saved = results(out)
    assert {path.suffix for path in saved} == {".gz", ".png", ".dcm"}
    rows = list(csv.DictReader(table.open(newline="")))
    assert set(rows[0]) == {"failure", "files", "reason", "path_sha256"}
    failed = [next((archive / place).iterdir()) for place in ("damaged", "none", "packed")]
    hashes = [hashlib.sha256(str(path).encode()).hexdigest() for path in failed]
    assert sorted(row["path_sha256"] for row in rows) == sorted(hashes)
    assert all(len(row["reason"]) > 20 for row in rows)
    for path, data in {**saved, table: table.read_bytes()}.items():
        assert found_names(data) == [], path


def test_an_identity_that_is_kept_is_in_the_dicom_alone(archive, tmp_path):
    options = ["--to", "T2", "--out", str(tmp_path), "--keep-identity"]
    assert main([str(archive / "series"), *options]) == 0
    saved = results(tmp_path)
    assert {path.suffix for path in saved} == {".gz", ".dcm"}
    for path, data in saved.items():
        assert bool(found_names(data)) == (path.suffix == ".dcm"), path
