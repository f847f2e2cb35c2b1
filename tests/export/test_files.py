"""Saved PNG, NIfTI and zip: read back as a user would, they show and say what they should."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import axial_series, read_only, written
from exports import ORIGIN, loaded, unpacked
from nibabel.orientations import axcodes2ornt, ornt_transform
from PIL import Image
from pydicom.data import get_testdata_file
from read_picture import SavedPicture

from cyclegan import __version__
from cyclegan.export.bundle import Companions, result_zip
from cyclegan.export.derived import WHITE
from cyclegan.export.files import labelled_png, nifti
from cyclegan.export.provenance import CAVEAT, SOURCE_TYPE, provenance, synthetic_label
from cyclegan.reading.read import read_volume

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
LABEL = "SYNTHETIC T2 from T1 - not for diagnosis"
SHAPE = (5, 64, 48)
MARK = ORIGIN.mark


@pytest.fixture
def stack() -> np.ndarray:
    """(Z, H, W) in [0, 1], each slice a noise of its own."""
    return np.random.default_rng(5).random(SHAPE).astype(np.float32)


# PNG


@pytest.mark.parametrize("to", ["T1", "T2"])
@pytest.mark.parametrize("mm", [0.3, 0.9, 2.0])
def test_a_picture_says_its_contrast_its_number_and_its_scale(stack, to, mm):
    data = labelled_png(
        stack[1], label=synthetic_label(to), spacing=(5.0, mm, mm), slice_of=(2, len(stack))
    )
    picture = SavedPicture(data, SHAPE[1:])
    np.testing.assert_allclose(picture.slice, stack[1], atol=0.003)
    assert picture.mm_per_pixel == pytest.approx(mm, rel=0.03)
    for other, source in (("T1", "T2"), ("T2", "T1")):
        words = f"SYNTHETIC {other} from {source} - not for diagnosis"
        assert picture.says(words) is (other == to)
    assert [n for n in range(1, 9) if picture.says(f"Slice {n} of {len(stack)}")] == [2]


@pytest.mark.parametrize("sides", ["RLAP", "LRPA", "APSI", "PASI", "ISAP", ""])
def test_the_letters_of_a_picture_are_at_their_sides(stack, sides):
    picture = SavedPicture(labelled_png(stack[0], label="x", sides=tuple(sides)), SHAPE[1:])
    assert picture.letters == (tuple(sides[:2]) or ("", ""))
    assert picture.mm_per_pixel is None


def test_a_window_an_arrow_and_a_large_picture(stack):
    windowed = SavedPicture(labelled_png(stack[0], label="T1 → T2", window=(0.5, 0.2)), SHAPE[1:])
    np.testing.assert_allclose(windowed.slice, np.clip((stack[0] - 0.4) / 0.2, 0, 1), atol=0.003)
    assert windowed.says("T1 to T2")  # the built-in font has no arrow
    large = Image.open(io.BytesIO(labelled_png(np.zeros((512, 640)), label="x")))
    assert large.width == 640


def test_a_label_is_wrapped_on_narrow_slices():
    picture = np.asarray(Image.open(io.BytesIO(labelled_png(np.zeros((512, 100)), label=LABEL))))
    strip = picture[514:]
    rows = np.flatnonzero(strip.max(axis=1) > 128)
    assert 1 + np.count_nonzero(np.diff(rows) > 2) >= 3  # several lines of text
    assert strip[:, -2:].max() == 0  # nothing runs off the edge


@pytest.mark.parametrize("argument", ["spacing", "aspect"])
@pytest.mark.parametrize(("sides", "ratio"), [((3, 1), 3), ((1e9, 1), 1)])  # or implausible
def test_oblong_pixels_are_stretched_along_their_longer_side(argument, sides, ratio):
    square = np.zeros((60, 60))
    square[20:40, 20:40] = 1
    data = labelled_png(square, label="x", **{argument: sides})
    picture = np.asarray(Image.open(io.BytesIO(data)))
    (end,) = np.flatnonzero((picture == 96).all(axis=1))
    rows, columns = np.nonzero(picture[:end] > 128)
    assert np.ptp(rows) == pytest.approx(ratio * np.ptp(columns), rel=0.05)


def test_a_picture_carries_its_provenance(stack):
    lines = {"Model version": "1.0 → 2", "Source SHA-256": "ab" * 32}
    text = SavedPicture(labelled_png(stack[0], label=LABEL, provenance=lines), SHAPE[1:]).text
    assert {"Description": LABEL, "DigitalSourceType": SOURCE_TYPE, **lines}.items() <= text.items()
    # For machines: IPTC's term, as a text chunk and where photo software looks for it.
    xmp = ElementTree.fromstring(text["XML:com.adobe.xmp"])
    (description,) = xmp.iter(f"{RDF}Description")
    assert description.get(f"{IPTC}DigitalSourceType") == SOURCE_TYPE
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
def test_nonsense_is_no_picture(broken):
    with pytest.raises(ValueError, match=r"slice|window|label"):
        labelled_png(**{"label": LABEL, **broken})


# NIfTI


def source(tmp_path: Path, codes: str) -> tuple[Path, nib.Nifti1Image]:
    """A random, oblique, anisotropic volume whose axes run towards `codes`."""
    voxels = np.random.default_rng(4).integers(0, 4000, (36, 40, 44), dtype=np.int16)
    affine = nib.affines.from_matvec(
        nib.eulerangles.euler2mat(0.1, -0.1, 0.15) @ np.diag([0.8, 0.9, 1.5]), [-15, -20, -30]
    )
    image = nib.Nifti1Image(voxels, affine)
    image = image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes)))
    nib.save(image, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz", nib.load(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "SLA", "IPL", "ASR", "real"])
def test_a_nifti_matches_its_source_index_by_index(tmp_path, shared_data, codes):
    if codes == "real":
        path = shared_data("readers/nifti") / "openms04_T1W.nii.gz"
        original = nib.load(path)
    else:
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
def test_a_nifti_of_one_slice_lies_in_its_place(tmp_path, codes):
    path, original = source(tmp_path, codes)
    volume = read_volume(path)
    result = loaded(nifti(volume.pixels[7], volume, description=LABEL, slice_index=7))
    assert sorted(result.shape) == sorted([1, *volume.pixels.shape[1:]])
    values = result.get_fdata()
    for index in [(0, 0, 0), tuple(np.array(values.shape) - 1)]:
        there = np.linalg.solve(original.affine, result.affine @ [*index, 1])[:3]
        np.testing.assert_allclose(there, np.rint(there), atol=1e-4)
        assert values[index] == original.get_fdata()[tuple(np.rint(there).astype(int))]


def test_a_nifti_of_a_dicom_slice_has_its_millimetres_or_claims_no_place():
    volume = read_volume(get_testdata_file("MR_small.dcm"))
    result = loaded(nifti(volume.pixels[0], volume, description=LABEL))
    np.testing.assert_allclose(result.affine, volume.stored_affine, atol=1e-4)
    np.testing.assert_array_equal(result.get_fdata()[..., 0], volume.pixels[0].T)
    assert result.header["sform_code"] == 1
    # A series of uneven distances has directions, but no affine says where its slices are.
    volume = replace(volume, affine=None)
    result = loaded(nifti(volume.pixels, volume, description=LABEL))
    assert int(result.header["sform_code"]) == int(result.header["qform_code"]) == 0
    np.testing.assert_allclose(result.header.get_zooms(), volume.spacing[::-1])


def test_a_nifti_of_an_image_without_a_place_has_its_sizes(tmp_path, stack):
    Image.fromarray((stack[0] * 255).astype(np.uint8)).save(tmp_path / "a.png")
    image = nib.Nifti1Image(stack.transpose(2, 1, 0), None)
    image.header.set_zooms((0.75, 0.5, 3.0))
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    for name in ("a.png", "a.nii"):
        volume = replace(read_volume(tmp_path / name), spacing=(3.0, 0.5, 0.75))
        result = loaded(nifti(volume.pixels, volume, description=LABEL))
        np.testing.assert_allclose(result.header.get_zooms(), (0.75, 0.5, 3.0))
        assert (result.header["sform_code"], result.header["qform_code"]) == (0, 0)
    np.testing.assert_allclose(result.affine, nib.load(tmp_path / "a.nii").affine, atol=1e-5)
    np.testing.assert_array_equal(result.get_fdata(), image.get_fdata())


def test_the_description_of_a_nifti_is_stored_in_full(tmp_path):
    volume = read_volume(source(tmp_path, "RAS")[0])
    text = f"{LABEL}; modèle 1.0; " + "checksum " * 20
    data = nifti(volume.pixels, volume, description=text)
    result = loaded(data)
    assert result.header.extensions[0].get_content().decode() == text
    assert bytes(result.header["descrip"]).decode().startswith(LABEL)
    assert data == nifti(volume.pixels, volume, description=text)  # no time stamps


@pytest.mark.parametrize(
    ("shape", "slice_index"), [((3, 40, 36), None), ((40, 36), None), ((40, 36), 44), ((5, 5), 0)]
)
def test_a_result_that_does_not_belong_is_refused(tmp_path, shape, slice_index):
    volume = read_volume(source(tmp_path, "RAS")[0])
    with pytest.raises(ValueError, match="does not lie in"):
        nifti(np.zeros(shape), volume, description=LABEL, slice_index=slice_index)
    if len(shape) == 3:
        with pytest.raises(ValueError, match="does not lie in"):
            result_zip(np.zeros(shape), volume, to="T2", provenance=ORIGIN)


# Provenance and everything in one zip


def test_provenance_names_model_and_source(tmp_path):
    volume = read_volume(source(tmp_path, "RAS")[0])
    origin = provenance(volume, "1.2", "ab" * 32, "T1")
    pixels = volume.pixels.astype("<f4").tobytes()
    assert origin.source_sha256 == hashlib.sha256(pixels).hexdigest()
    for value in ("1.2", "ab" * 32, "T2 to T1", origin.source_sha256, __version__):
        assert value in str(origin)
        assert any(value in line for line in origin.lines().values())


def test_a_zip_holds_every_slice_in_every_form_and_what_is_shown_beside_it(tmp_path):
    path, original = source(tmp_path, "RAS")
    volume = read_volume(path)
    translated, window = volume.pixels / 4000, (0.4, 0.3)
    table = [{"slice": n + 1, "cycle_error": n / 100} for n in range(len(translated))]
    beside = Companions(
        original=translated,
        maps={"desc-cycleError_map": ("the cycle error", translated / 2)},
        shown=2,
        reports=[f"Report of slice {row['slice']}" for row in table],
        table=table,
    )
    options = {"to": "T2", "provenance": ORIGIN, "window": window}
    plain = unpacked(result_zip(translated, volume, **options))
    assert len(plain) == len(translated) + 3  # and no DICOM: the source was none
    files = unpacked(result_zip(translated, volume, **options, beside=beside))
    picture = Image.open(io.BytesIO(files[f"synthetic_T2_{MARK}_0008.png"]))
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
    for name, factor in (
        ("desc-synthetic_T2w", 4000),
        ("desc-original_T1w", 4000),
        ("desc-cycleError_map", 8000),
    ):
        result = loaded(files[f"sub-{MARK}_{name}.nii.gz"])  # in the grid of the source
        np.testing.assert_allclose(result.get_fdata() * factor, original.get_fdata(), atol=1e-2)
        assert str(ORIGIN) in result.header.extensions[0].get_content().decode()
        fields = json.loads(files[f"sub-{MARK}_{name}.json"])
        assert fields["GeneratedBy"][0]["Version"] == ORIGIN.software_version
        assert fields["Sources"] == [f"urn:sha256:{ORIGIN.source_sha256}"]
        is_acquired = "original" in name
        assert fields.get("DigitalSourceType") == (None if is_acquired else SOURCE_TYPE)
    rows = list(csv.DictReader(io.StringIO(files["slices.csv"].decode())))
    assert rows == [{name: str(value) for name, value in row.items()} for row in table]
    assert f"Report of slice {len(table)}" in files["report.txt"].decode()
    readme = files["README.txt"].decode()
    for sentence in (LABEL, CAVEAT, *ORIGIN.lines().values()):
        assert sentence in readme


@pytest.mark.parametrize("with_real", [False, True])
def test_side_by_side_shows_the_slice_on_screen_as_its_words_say(stack, tmp_path, with_real):
    affine = np.diag([-1, -1, 3.0, 1])
    nib.save(nib.Nifti1Image(stack.transpose(2, 1, 0), affine), tmp_path / "scan.nii")
    original, real = stack[::-1] ** 2, 1 - stack
    beside = Companions(original=original, real=real if with_real else None, shown=3)
    options = {"to": "T2", "provenance": ORIGIN, "window": (0.4, 0.5), "beside": beside}
    picture = unpacked(result_zip(stack, read_volume(tmp_path / "scan.nii"), **options))
    images = [original[3], np.clip((stack[3] - 0.4) / 0.5 + 0.5, 0, 1)]
    words = "Left to right: original T1, SYNTHETIC T2"
    if with_real:
        images.append(np.clip((real[3] - 0.4) / 0.5 + 0.5, 0, 1))
        words += ", real T2"
    gap = 4
    width = len(images) * SHAPE[2] + (len(images) - 1) * gap
    shown = SavedPicture(picture["side_by_side.png"], (SHAPE[1], width))
    for place, image in enumerate(images):
        start = place * (SHAPE[2] + gap)
        np.testing.assert_allclose(shown.slice[:, start : start + SHAPE[2]], image, atol=0.003)
    assert shown.text["Description"].startswith(f"{words}. SYNTHETIC T2 from T1")


def test_images_of_a_zip_of_a_dicom_series_are_in_one_order(stack, tmp_path):
    stored = (stack * WHITE).astype(np.uint16)
    paths = written(tmp_path, axial_series(stored, PixelSpacing=[0.5, 0.5]), seed=1)
    volume = read_only(paths)
    options = {"to": "T2", "provenance": ORIGIN, "window": (0.5, 1)}
    files = unpacked(result_zip(volume.pixels / WHITE, volume, **options))
    readme = files["README.txt"].decode()
    assert "window center 0.500, width 1.000" in readme
    assert "Patient's" in readme or "Removed from the DICOM header" in readme
    for number, image in enumerate(stored, 1):
        derived = pydicom.dcmread(io.BytesIO(files[f"synthetic_T2_{MARK}_{number:04}.dcm"]))
        np.testing.assert_array_equal(derived.pixel_array, image)
        assert derived.ImagePositionPatient[2] == 40 + 3 * (number - 1)
        assert derived.SpacingBetweenSlices == pytest.approx(3)
        assert derived.PatientIdentityRemoved == "YES"
        picture = SavedPicture(files[f"synthetic_T2_{MARK}_{number:04}.png"], SHAPE[1:])
        letters = np.s_[:, 12:-12]  # those at the rim cover pixels
        np.testing.assert_allclose(picture.slice[letters], (image / WHITE)[letters], atol=0.003)
