"""PNG and NIfTI: the slice, its words, its place; read back from the bytes."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest
from exports import loaded
from nibabel.orientations import axcodes2ornt, ornt_transform
from PIL import Image
from pydicom.data import get_testdata_file
from read_picture import SavedPicture
from small_scans import volume_of

from cyclegan import __version__
from cyclegan.export.files import labelled_png, nifti
from cyclegan.export.provenance import SOURCE_TYPE, Provenance, pixels_sha256, synthetic_label
from cyclegan.reading.read import read_volume

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
LABEL = "SYNTHETIC T2 from T1 - not for diagnosis"
SHAPE = (5, 64, 48)
STACK = np.random.default_rng(5).random(SHAPE).astype(np.float32)  # each slice its own noise


def picture_of(image, label="x", **options):
    return SavedPicture(labelled_png(image, label=label, **options), SHAPE[1:])


# PNG


@pytest.mark.parametrize("to", ["T1", "T2"])
@pytest.mark.parametrize("mm", [0.3, 0.9, 2.0])
def test_a_picture_says_its_contrast_its_number_and_its_scale(to, mm):
    volume = volume_of(STACK, spacing=(5.0, mm, mm))
    picture = picture_of(STACK[1], synthetic_label(to), volume=volume, index=1)
    np.testing.assert_allclose(picture.slice, STACK[1], atol=0.003)
    assert picture.mm_per_pixel == pytest.approx(mm, rel=0.03)
    for other, source in (("T1", "T2"), ("T2", "T1")):
        words = f"SYNTHETIC {other} from {source} - not for diagnosis"
        assert picture.says(words) is (other == to)
    assert [n for n in range(1, 9) if picture.says(f"Slice {n} of {len(STACK)}")] == [2]


@pytest.mark.parametrize("sides", ["RLAP", "LRPA", "APSI", "PASI", "ISAP", None])
def test_the_letters_of_a_picture_are_at_their_sides(sides):
    volume = volume_of(STACK, directions=sides and tuple(sides))
    picture = picture_of(STACK[0], volume=volume, index=0)
    assert picture.letters == (tuple(sides[:2]) if sides else ("", ""))
    assert picture.mm_per_pixel is None
    assert picture_of(STACK[0], volume=volume).letters == ("", "")  # several images in one


def test_a_window_an_arrow_a_large_and_a_narrow_picture():
    picture = picture_of(STACK[0], "T1 → T2", window=(0.5, 0.2))
    np.testing.assert_allclose(picture.slice, np.clip((STACK[0] - 0.4) / 0.2, 0, 1), atol=0.003)
    assert picture.says("T1 to T2")  # the built-in font has no arrow
    assert picture.text["Window"] == "center 0.500, width 0.200"
    large = Image.open(io.BytesIO(labelled_png(np.zeros((512, 640)), label="x")))
    assert large.width == 640
    narrow = Image.open(io.BytesIO(labelled_png(np.zeros((512, 100)), label=LABEL)))
    strip = np.asarray(narrow)[514:]
    rows = np.flatnonzero(strip.max(axis=1) > 128)
    assert 1 + np.count_nonzero(np.diff(rows) > 2) >= 3  # several lines of text
    assert strip[:, -2:].max() == 0  # nothing runs off the edge


@pytest.mark.parametrize("sides", [{"spacing": (1, 3, 1)}, {"aspect": (3, 1)}])
@pytest.mark.parametrize("factor", [1, 1e9])  # the latter is implausible
def test_oblong_pixels_are_stretched_along_their_longer_side(sides, factor):
    square = np.zeros((60, 60))
    square[20:40, 20:40] = 1
    known = {name: (*value[:-2], value[-2] * factor, value[-1]) for name, value in sides.items()}
    data = labelled_png(square, label="x", volume=volume_of([square], **known))
    picture = np.asarray(Image.open(io.BytesIO(data)))
    (end,) = np.flatnonzero((picture == 96).all(axis=1))
    rows, columns = np.nonzero(picture[:end] > 128)
    ratio = 3 if factor == 1 else 1
    assert np.ptp(rows) == pytest.approx(ratio * np.ptp(columns), rel=0.05)


def test_a_picture_carries_its_provenance():
    lines = {"Model version": "1.0 → 2", "Source SHA-256": "ab" * 32}
    text = picture_of(STACK[0], LABEL, provenance=lines).text
    assert {"Description": LABEL, "DigitalSourceType": SOURCE_TYPE, **lines}.items() <= text.items()
    assert "not for diagnosis" in text["Caveat"]
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
    text = f"{LABEL}; modèle 1.0; " + "checksum " * 20
    data = nifti(volume.pixels, volume, description=text)
    assert data == nifti(volume.pixels, volume, description=text)  # no time stamps
    result = loaded(data)
    np.testing.assert_array_equal(result.affine, original.affine)
    np.testing.assert_array_equal(result.get_fdata(), original.get_fdata())
    assert result.get_data_dtype() == np.float32
    assert result.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(result.header.get_qform(), original.affine, atol=1e-4)
    assert result.header.extensions[0].get_content().decode() == text
    assert bytes(result.header["descrip"]).decode().startswith(LABEL)
    with pytest.raises(ValueError, match="does not lie in"):
        nifti(volume.pixels[1:], volume, description=LABEL)


def test_a_nifti_of_a_dicom_slice_has_its_millimetres_or_claims_no_place():
    volume = read_volume(get_testdata_file("MR_small.dcm"))
    result = loaded(nifti(volume.pixels, volume, description=LABEL))
    np.testing.assert_allclose(result.affine, volume.stored_affine, atol=1e-4)
    np.testing.assert_array_equal(result.get_fdata()[..., 0], volume.pixels[0].T)
    assert result.header["sform_code"] == 1
    # A series of uneven distances has directions, but no affine says where its slices are.
    volume = replace(volume, affine=None)
    result = loaded(nifti(volume.pixels, volume, description=LABEL))
    assert int(result.header["sform_code"]) == int(result.header["qform_code"]) == 0
    np.testing.assert_allclose(result.header.get_zooms(), volume.spacing[::-1])


def test_a_nifti_of_an_image_without_a_place_has_its_sizes(tmp_path):
    Image.fromarray((STACK[0] * 255).astype(np.uint8)).save(tmp_path / "a.png")
    image = nib.Nifti1Image(STACK.transpose(2, 1, 0), None)
    image.header.set_zooms((0.75, 0.5, 3.0))
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    for name in ("a.png", "a.nii"):
        volume = replace(read_volume(tmp_path / name), spacing=(3.0, 0.5, 0.75))
        result = loaded(nifti(volume.pixels, volume, description=LABEL))
        np.testing.assert_allclose(result.header.get_zooms(), (0.75, 0.5, 3.0))
        assert (result.header["sform_code"], result.header["qform_code"]) == (0, 0)
    np.testing.assert_allclose(result.affine, nib.load(tmp_path / "a.nii").affine, atol=1e-5)
    np.testing.assert_array_equal(result.get_fdata(), image.get_fdata())


def test_provenance_names_model_and_source():
    checksum = pixels_sha256(volume_of(STACK))
    assert checksum == hashlib.sha256(STACK.astype("<f4").tobytes()).hexdigest()
    origin = Provenance("1.2", "ab" * 32, "T1", checksum)
    for value in ("1.2", "ab" * 32, "T2 to T1", checksum, __version__):
        assert value in str(origin)
        assert any(value in line for line in origin.lines().values())
