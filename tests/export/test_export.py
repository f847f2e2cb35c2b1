"""Exports say what they are, and lie where their source lies."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pydicom
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform
from PIL import Image
from pydicom.data import get_testdata_file

from cyclegan import __version__
from cyclegan.export.bundle import Companions, result_zip
from cyclegan.export.files import MIN_PNG_SIDE, labelled_png, nifti
from cyclegan.export.provenance import CAVEAT, SOURCE_TYPE, Provenance, provenance
from cyclegan.reading.read import read_volume

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
LABEL = "SYNTHETIC T2 from T1 - not for diagnosis"


def drawn(image, **options) -> np.ndarray:
    picture = Image.open(io.BytesIO(labelled_png(image, **{"label": LABEL, **options})))
    assert picture.mode == "L"
    return np.asarray(picture)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(3).random((60, 50)).astype(np.float32)


def test_png_shows_every_pixel_above_the_strip(image):
    picture = drawn(image)
    factor = -(-MIN_PNG_SIDE // 60)
    shown = picture[: 60 * factor, : 50 * factor]
    assert picture.shape[0] > 60 * factor
    expected = np.rint(image * 255).repeat(factor, 0).repeat(factor, 1)
    np.testing.assert_array_equal(shown, expected)


def test_png_large_slices_are_not_enlarged():
    picture = drawn(np.zeros((512, 640)))
    assert picture.shape[1] == 640


def test_png_strip_holds_the_label(image):
    black = np.zeros_like(image)
    with_label = drawn(black)
    other = drawn(black, label="SYNTHETIC T1 from T2 - not for diagnosis")
    strip = slice(60 * -(-MIN_PNG_SIDE // 60) + 2, None)
    assert with_label[: strip.start - 2].max() == 0
    assert with_label[strip].max() == 255
    assert not np.array_equal(with_label[strip], other[strip])
    # Forty letters of this size have hundreds of bright pixels; specks would not do.
    assert np.count_nonzero(with_label[strip] > 128) > 500


def test_png_says_the_sides_at_its_rim_and_the_slice_in_its_strip(image):
    black = np.zeros((512, 512))
    plain = drawn(black)
    told = drawn(black, sides=("R", "L", "A", "P"))
    assert told[:512, 100:-100].max() == 0  # the letters are at the rim
    assert told[240:272, :40].max() == told[240:272, -40:].max() == 255
    mirrored = drawn(black, sides=("L", "R", "A", "P"))
    assert not np.array_equal(told[:, :40], mirrored[:, :40])
    numbered = drawn(black, slice_of=(13, 24))
    assert len(numbered) > len(plain)
    assert not np.array_equal(numbered[512:], drawn(black, slice_of=(14, 24))[512:])


def test_png_label_is_wrapped_not_clipped_on_narrow_slices():
    picture = drawn(np.zeros((512, 100)))
    strip = picture[514:]
    rows = np.flatnonzero(strip.max(axis=1) > 128)
    assert 1 + np.count_nonzero(np.diff(rows) > 2) >= 3  # several lines of text
    assert strip[:, -2:].max() == 0  # nothing runs off the edge


def test_png_arrow_is_drawn_with_letters():
    black = np.zeros((64, 64))
    np.testing.assert_array_equal(drawn(black, label="T1 → T2"), drawn(black, label="T1 to T2"))


@pytest.mark.parametrize(("mm", "bar_mm"), [(1.0, 100), (0.5, 50), (0.2, 20)])
def test_png_scale_bar_has_its_length(mm, bar_mm):
    bare = drawn(np.zeros((512, 512)))
    picture = drawn(np.zeros((512, 512)), spacing=(mm, mm))
    strip = picture[bare.shape[0] - 8 :]
    longest = max(len(run) for row in strip for run in bytes(row == 255).split(b"\0"))
    assert longest == pytest.approx(bar_mm / mm, abs=1)


def test_png_scale_bar_accounts_for_enlargement():
    picture = drawn(np.zeros((256, 256)), spacing=(3.0, 1.0, 1.0))  # a Volume's spacing
    longest = max(len(run) for row in picture[514:] for run in bytes(row == 255).split(b"\0"))
    assert longest == pytest.approx(50 * 2, abs=1)


def test_png_has_true_proportions():
    picture = drawn(np.zeros((300, 600)), spacing=(2.0, 1.0), label="x")
    strip_and_all = picture.shape
    assert strip_and_all[1] == 600
    assert 600 < strip_and_all[0] < 700
    assert drawn(np.zeros((300, 600)), spacing=(1e9, 1.0)).shape[0] < 400  # implausible: ignored


def test_png_window(image):
    picture = drawn(image, window=(0.5, 0.2))[:60, :50]
    factor = -(-MIN_PNG_SIDE // 60)
    expected = np.rint(np.clip((image - 0.4) / 0.2, 0, 1) * 255)
    np.testing.assert_allclose(
        picture[::factor, ::factor], expected[: -(-60 // factor), : -(-50 // factor)], atol=1
    )


def test_png_carries_provenance(image):
    told = {"Model version": "1.0 → 2", "Source SHA-256": "ab" * 32}
    picture = Image.open(io.BytesIO(labelled_png(image, label=LABEL, provenance=told)))
    assert picture.text["Description"] == LABEL
    assert {key: picture.text[key] for key in told} == told
    # For machines: IPTC's term, as a text chunk and where photo software styles for it.
    assert picture.text["DigitalSourceType"] == SOURCE_TYPE
    (described,) = ElementTree.fromstring(picture.text["XML:com.adobe.xmp"]).iter(
        f"{RDF}Description"
    )
    assert described.get(f"{IPTC}DigitalSourceType") == SOURCE_TYPE
    assert SOURCE_TYPE.endswith("/trainedAlgorithmicMedia")


@pytest.mark.parametrize(
    "broken",
    [
        {"image": np.zeros((2, 40, 40))},
        {"image": np.full((40, 40), np.nan)},
        {"image": np.zeros((40, 40)), "window": (0.5, 0.0)},
        {"image": np.zeros((40, 40)), "label": " "},
    ],
)
def test_png_refuses_nonsense(broken):
    with pytest.raises(ValueError, match=r"slice|window|label"):
        labelled_png(**{"label": LABEL, **broken})


def loaded(data: bytes) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(data))


def source(tmp_path: Path, codes: str) -> tuple[Path, nib.Nifti1Image]:
    """A random, oblique, anisotropic volume whose axes run towards `codes`."""
    voxels = np.random.default_rng(4).integers(0, 4000, (36, 40, 44), dtype=np.int16)
    affine = nib.affines.from_matvec(
        nib.eulerangles.euler2mat(0.1, -0.1, 0.15) @ np.diag([0.8, 0.9, 1.5]), [-15, -20, -30]
    )
    image = nib.Nifti1Image(voxels, affine)
    image = image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes)))
    path = tmp_path / "scan.nii.gz"
    nib.save(image, path)
    return path, nib.load(path)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "SLA", "IPL", "ASR"])
def test_nifti_matches_its_source_index_by_index(tmp_path, codes):
    path, original = source(tmp_path, codes)
    volume = read_volume(path)
    result = loaded(nifti(volume.pixels, volume, description=LABEL))
    assert result.shape == original.shape
    np.testing.assert_array_equal(result.affine, original.affine)
    np.testing.assert_array_equal(result.get_fdata(), original.get_fdata())
    assert result.get_data_dtype() == np.float32
    assert result.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(result.header.get_qform(), original.affine, atol=1e-4)


@pytest.mark.parametrize("codes", ["RAS", "PSR"])
def test_nifti_of_one_slice_lies_in_its_place(tmp_path, codes):
    path, original = source(tmp_path, codes)
    volume = read_volume(path)
    result = loaded(nifti(volume.pixels[7], volume, description=LABEL, slice_index=7))
    assert sorted(result.shape) == sorted([1, *volume.pixels.shape[1:]])
    values = result.get_fdata()
    for index in [(0, 0, 0), tuple(np.array(values.shape) - 1)]:
        there = np.linalg.solve(original.affine, result.affine @ [*index, 1])[:3]
        np.testing.assert_allclose(there, np.rint(there), atol=1e-4)
        assert values[index] == original.get_fdata()[tuple(np.rint(there).astype(int))]


def test_nifti_of_a_dicom_slice_keeps_millimetres():
    volume = read_volume(get_testdata_file("MR_small.dcm"))
    result = loaded(nifti(volume.pixels[0], volume, description=LABEL))
    np.testing.assert_allclose(result.affine, volume.stored_affine, atol=1e-4)
    np.testing.assert_array_equal(result.get_fdata()[..., 0], volume.pixels[0].T)
    assert result.header["sform_code"] == 1


def test_nifti_of_an_image_without_geometry_says_so(tmp_path):
    path = tmp_path / "slice.png"
    Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)).save(path)
    volume = read_volume(path)
    result = loaded(nifti(volume.pixels, volume, description=LABEL))
    assert result.shape == (48, 64, 1)
    assert (result.header["sform_code"], result.header["qform_code"]) == (0, 0)


def test_nifti_of_slices_at_uneven_distances_claims_no_place():
    """Such a series has directions, but no affine says where its slices are."""
    volume = read_volume(get_testdata_file("MR_small.dcm"))
    volume = replace(volume, affine=None)
    assert volume.directions is not None
    result = loaded(nifti(volume.pixels, volume, description=LABEL))
    assert int(result.header["sform_code"]) == int(result.header["qform_code"]) == 0
    np.testing.assert_allclose(result.header.get_zooms(), volume.spacing[::-1])


def test_nifti_of_a_nifti_without_form_codes_still_matches_it(tmp_path):
    voxels = np.random.default_rng(5).integers(0, 4000, (36, 40, 44), dtype=np.int16)
    image = nib.Nifti1Image(voxels, None)
    image.header.set_zooms((0.8, 0.9, 1.5))
    path = tmp_path / "scan.nii"
    path.write_bytes(image.to_bytes())
    original, volume = nib.load(path), read_volume(path)
    assert (original.header["sform_code"], original.header["qform_code"]) == (0, 0)
    result = loaded(nifti(volume.pixels, volume, description=LABEL))
    np.testing.assert_allclose(result.affine, original.affine, atol=1e-5)
    np.testing.assert_array_equal(result.get_fdata(), voxels)
    assert (result.header["sform_code"], result.header["qform_code"]) == (0, 0)


def test_nifti_description_is_stored_in_full(tmp_path):
    path, _ = source(tmp_path, "RAS")
    volume = read_volume(path)
    text = f"{LABEL}; modèle 1.0; " + "checksum " * 20
    data = nifti(volume.pixels, volume, description=text)
    result = loaded(data)
    assert result.header.extensions[0].get_content().decode() == text
    assert bytes(result.header["descrip"]).decode().startswith(LABEL)
    assert data == nifti(volume.pixels, volume, description=text)  # no time stamps


@pytest.mark.parametrize(
    ("shape", "slice_index"), [((3, 40, 36), None), ((40, 36), None), ((40, 36), 44), ((5, 5), 0)]
)
def test_nifti_refuses_what_does_not_belong(tmp_path, shape, slice_index):
    volume = read_volume(source(tmp_path, "RAS")[0])
    with pytest.raises(ValueError, match="does not lie in"):
        nifti(np.zeros(shape), volume, description=LABEL, slice_index=slice_index)


def test_nifti_of_a_real_volume_overlays_it(shared_data):
    path = shared_data("readers/nifti") / "openms04_T1W.nii.gz"
    volume, original = read_volume(path), nib.load(path)
    result = loaded(nifti(volume.pixels, volume, description=LABEL))
    np.testing.assert_array_equal(result.affine, original.affine)
    np.testing.assert_array_equal(result.get_fdata(), original.get_fdata())


# Provenance and everything in one zip

ORIGIN = Provenance("1.2", "ab" * 32, "T1 to T2", "cd" * 32, "0.1.0")


def test_provenance_tells_model_and_source(tmp_path):
    volume = read_volume(source(tmp_path, "RAS")[0])
    told = provenance(volume, "1.2", "ab" * 32, "T1")
    pixels = volume.pixels.astype("<f4").tobytes()
    assert told == Provenance(
        "1.2", "ab" * 32, "T2 to T1", hashlib.sha256(pixels).hexdigest(), __version__
    )
    for value in ("1.2", "ab" * 32, "T2 to T1", told.source_sha256, __version__):
        assert value in str(told)
        assert any(value in line for line in told.lines().values())


def unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {Path(name).name: archive.read(name) for name in archive.namelist()}


def test_zip_holds_every_slice_in_every_form(tmp_path):
    path, original = source(tmp_path, "RAS")
    volume = read_volume(path)
    translated = volume.pixels / 4000
    window = (0.4, 0.3)
    files = unpacked(result_zip(translated, volume, to="T2", provenance=ORIGIN, window=window))
    assert len(files) == len(translated) + 3  # and no DICOM: the source was none
    mark = ORIGIN.source_sha256[:6]
    picture = Image.open(io.BytesIO(files[f"synthetic_T2_{mark}_0008.png"]))
    expected = labelled_png(
        translated[7],
        label=LABEL,
        window=window,
        spacing=volume.spacing,
        sides=("R", "L"),
        slice_of=(8, len(translated)),
    )
    np.testing.assert_array_equal(np.asarray(picture), Image.open(io.BytesIO(expected)))
    assert ORIGIN.lines().items() <= picture.text.items()
    name = f"sub-{mark}_desc-synthetic_T2w"
    result = loaded(files[f"{name}.nii.gz"])
    np.testing.assert_allclose(result.get_fdata() * 4000, original.get_fdata(), atol=1e-3)
    assert str(ORIGIN) in result.header.extensions[0].get_content().decode()
    assert result.header["descrip"].item().decode().startswith("SYNTHETIC T2")
    told = json.loads(files[f"{name}.json"])
    assert told["GeneratedBy"][0]["Version"] == ORIGIN.software_version
    assert told["Sources"] == [f"urn:sha256:{ORIGIN.source_sha256}"]
    assert told["DigitalSourceType"] == SOURCE_TYPE
    readme = files["README.txt"].decode()
    for sentence in (LABEL, CAVEAT, *ORIGIN.lines().values()):
        assert sentence in readme


def test_zip_holds_what_is_shown_beside_it(tmp_path):
    path, original = source(tmp_path, "RAS")
    volume = read_volume(path)
    grey = volume.pixels / 4000
    table = [{"slice": n + 1, "cycle_error": n / 100} for n in range(len(grey))]
    beside = Companions(
        original=grey,
        maps={"desc-cycleError_map": ("the cycle error", grey / 2)},
        real=1 - grey,
        shown=2,
        reports=[f"Report of slice {row['slice']}" for row in table],
        table=table,
    )
    packed = result_zip(grey, volume, to="T2", provenance=ORIGIN, beside=beside)
    files = unpacked(packed)
    mark = ORIGIN.source_sha256[:6]
    for name, factor in (("desc-original_T1w", 4000), ("desc-cycleError_map", 8000)):
        result = loaded(files[f"sub-{mark}_{name}.nii.gz"])  # in the grid of the source
        np.testing.assert_allclose(result.get_fdata() * factor, original.get_fdata(), atol=1e-2)
        assert f"sub-{mark}_{name}.json" in files
    assert "DigitalSourceType" not in json.loads(files[f"sub-{mark}_desc-original_T1w.json"])
    assert list(csv.DictReader(io.StringIO(files["slices.csv"].decode()))) == [
        {name: str(value) for name, value in row.items()} for row in table
    ]
    assert f"Report of slice {len(grey)}" in files["report.txt"].decode()
    slide = Image.open(io.BytesIO(files["side_by_side.png"]))
    one = Image.open(io.BytesIO(files[f"synthetic_T2_{mark}_0003.png"]))
    assert slide.width > 2 * grey.shape[2]
    assert slide.width / slide.height > 2 * one.width / one.height
    assert "SYNTHETIC T2" in slide.text["Description"]


def test_zip_of_a_dicom_source_holds_derived_dicom():
    volume = read_volume(get_testdata_file("MR_small.dcm"))
    translated = volume.pixels / volume.pixels.max()
    files = unpacked(result_zip(translated, volume, to="T1", provenance=ORIGIN))
    mark = ORIGIN.source_sha256[:6]
    assert f"synthetic_T1_{mark}_0001.png" in files
    derived = pydicom.dcmread(io.BytesIO(files[f"synthetic_T1_{mark}_0001.dcm"]))
    assert derived.PatientIdentityRemoved == "YES"
    assert derived[0x0008001C].value == "YES"  # Synthetic Data
    assert "Patient's Name" in files["README.txt"].decode()  # of what was removed


def test_zip_refuses_what_does_not_belong(tmp_path):
    volume = read_volume(source(tmp_path, "RAS")[0])
    with pytest.raises(ValueError, match="does not lie in"):
        result_zip(volume.pixels[:-1], volume, to="T2", provenance=ORIGIN)
