"""NIfTI, Analyze and MGH: any orientation and number type, and headers not to be believed."""

from __future__ import annotations

import gzip
import itertools
import os
import struct
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform
from nibabel.testing import data_path

from cyclegan.reading.geometry import plane_of
from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import ORIENTATION_UNKNOWN, ReadError

SHAPE = (36, 40, 44)
LPS = np.diag([-1.0, -1, 1, 1])
# Every way to lay three array axes along the body: 6 permutations x 8 sign patterns.
ORIENTATIONS = [
    "".join(letters)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*axes)
]


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(2).integers(-500, 4000, SHAPE, dtype=np.int16)


def saved(tmp_path: Path, data, affine, name="scan.nii", kind=nib.Nifti1Image, **header) -> Path:
    """A file of voxels, with fields of its header set."""
    image = data if affine is None and hasattr(data, "header") else kind(data, affine)
    for field, value in header.items():
        image.header[field] = value
    nib.save(image, tmp_path / name)
    return tmp_path / name


def patch(path: Path, at: int, code: str, *values) -> Path:
    """Put numbers into a plain NIfTI-1 header."""
    data = bytearray(path.read_bytes())
    struct.pack_into(f"<{code}", data, at, *values)
    path.write_bytes(bytes(data))
    return path


def assert_in_place(volume, affine, voxels, indices, atol=2e-3):
    """Voxels of a file at (i, j, k) are where the affine of the shown volume says."""
    for index in indices:
        at = np.linalg.solve(volume.affine, affine @ [*index, 1])[:3]
        column, row, plane = np.rint(at).astype(int)
        np.testing.assert_allclose(at, [column, row, plane], atol=atol)
        assert volume.pixels[plane, row, column] == voxels[tuple(index)]
        stored = np.linalg.inv(volume.stored_affine) @ volume.affine @ [column, row, plane, 1]
        np.testing.assert_allclose(stored[:3], index, atol=atol)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_orientation_is_turned_and_keeps_its_place(tmp_path, voxels, codes):
    c, s = np.cos(0.15), np.sin(0.15)
    affine = np.eye(4)  # slightly oblique
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([0.8, 0.9, 1.5])
    affine[:3, 3] = [-15, -20, -30]
    # Of canonical axes, where each goes in the array and in which direction.
    from_canonical = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    canonical_shape = [SHAPE[int(axis)] for axis in from_canonical[:, 0]]
    affine = affine @ inv_ornt_aff(from_canonical, canonical_shape)
    assert "".join(nib.aff2axcodes(affine)) == codes
    path = saved(tmp_path, voxels, affine, "scan.nii.gz")
    volume = read_volume(path)
    assert open_files([path]).shapes == (volume.pixels.shape,)
    assert volume.directions == ("R", "L", "A", "P")
    assert "".join(nib.aff2axcodes(volume.affine)) == "LPS"
    assert volume.notes == ()
    assert_in_place(volume, affine, voxels, [(0, 0, 0), (35, 39, 43), (3, 17, 29)])
    # Spacing is that of the patient's axes: foot-head 1.5, front-back 0.9, side-side 0.8 mm.
    np.testing.assert_allclose(volume.spacing, (1.5, 0.9, 0.8), atol=1e-5)


@pytest.mark.parametrize("seed", range(12))
def test_any_affine_and_number_type_keeps_values_at_their_place(tmp_path, seed):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(rng.choice(["uint8", "int16", "uint16", "int32", "float32", "float64"]))
    values = rng.integers(0, 256, (34, 37, 40)).astype(dtype)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] @ np.diag(rng.uniform(0.5, 3, 3))
    affine[:3, 3] = rng.uniform(-90, 90, 3)
    image = nib.Nifti1Image(values, affine)
    image.set_qform(affine, code=int(seed % 2))  # sform alone, both, or qform alone
    image.set_sform(None if seed % 4 == 3 else affine, code=0 if seed % 4 == 3 else 1)
    path = saved(tmp_path, image, None, "scan.nii.gz" if seed % 3 else "scan.nii")
    indices = rng.integers(0, values.shape, (40, 3))
    assert_in_place(read_volume(path), affine, values, indices)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int64"]
)
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_number_types_and_both_versions(tmp_path, voxels, dtype, kind):
    values = abs(voxels) % 256 if dtype == "uint8" else abs(voxels)
    path = tmp_path / "scan"  # no extension: content decides
    path.write_bytes(kind(values.astype(dtype), LPS, dtype=dtype).to_bytes())
    np.testing.assert_array_equal(read_volume(path).pixels, values.transpose(2, 1, 0))


def test_big_endian_and_scale_slope(tmp_path, voxels):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.dtype(">i2"))
    data = bytearray(nib.Nifti1Image(voxels, LPS, header).to_bytes())
    # nibabel rescales when it saves; put the stored values and the scale in by hand instead.
    data[112:120] = np.array([0.25, -7], ">f4").tobytes()
    data[352:] = voxels.astype(">i2").tobytes(order="F")
    (tmp_path / "scan.nii").write_bytes(data)
    expected = voxels.transpose(2, 1, 0) * 0.25 - 7
    np.testing.assert_array_equal(read_volume(tmp_path / "scan.nii").pixels, expected)


@pytest.mark.parametrize("ending", ["mgh", "mgz"])
def test_mgh_opens_as_nifti_does(tmp_path, voxels, ending):
    affine = np.array([[-2, 0, 0, 40], [0, 0, 3, -50], [0, -2, 0, 60], [0, 0, 0, 1]], float)
    mgh = read_volume(saved(tmp_path, voxels, affine, f"a.{ending}", nib.MGHImage))
    nifti = read_volume(saved(tmp_path, voxels, affine))
    np.testing.assert_array_equal(mgh.pixels, nifti.pixels)
    np.testing.assert_allclose(mgh.affine, nifti.affine, atol=1e-4)
    assert mgh.directions == nifti.directions


@pytest.mark.parametrize(
    ("sides", "shape", "plane", "words"),
    [
        ((2, 1, 1), SHAPE, "axial", ()),
        ((1.6, 0.5, 0.5), SHAPE, "axial", ("cuts through it are coarse (0.5 x 1.6 mm)",)),
        ((5, 1, 1), SHAPE, "sagittal", ("learned axial slices only", "be coarse (5.0 mm)")),
        ((1, 5, 1), SHAPE, "coronal", ("learned axial slices only", "be coarse (5.0 mm)")),
        ((1, 1, 5), SHAPE, "axial", ()),
        ((1, 1, 3), (36, 40), "axial", ()),
        ((4, 1, 1), (1, 40, 44), "sagittal", ("learned axial slices only",)),
    ],
)
def test_volumes_are_cut_axially_and_thick_stacks_keep_their_plane(
    tmp_path, voxels, sides, shape, plane, words
):
    data = np.resize(voxels, shape)
    volume = read_volume(saved(tmp_path, data, np.diag([*sides, 1.0])))
    assert plane_of(volume.affine) == plane
    assert len(volume.notes) == len(words)
    assert all(text in note for text, note in zip(words, volume.notes, strict=True))


# What a header says of the place, and what is no reason to lose a volume


def placed(voxels, qform=None, sform=None, zooms=None, units=None):
    image = nib.Nifti1Image(voxels, None)
    if zooms is not None:
        image.header.set_zooms(zooms)
    image.set_qform(qform, code=int(qform is not None))
    image.set_sform(sform, code=2 * (sform is not None))
    if units:
        image.header.set_xyzt_units(units)
    return image


NOWHERE = np.full(12, np.nan, "<f4")


@pytest.mark.parametrize(
    ("form", "matrix", "spacing", "is_placed"),
    [
        ({"zooms": (0.8, 0.9, 1.5)}, None, (1.5, 0.9, 0.8), False),
        ({"qform": LPS, "sform": np.diag([-2.0, -2, 2, 1])}, None, (2, 2, 2), True),
        ({"qform": LPS, "sform": np.diag([-2.0, -2, 2, 1])}, NOWHERE, (1, 1, 1), True),
        ({"sform": np.eye(4), "zooms": (1, 1, 1)}, np.zeros(12), (1, 1, 1), False),
        ({"sform": np.diag([-0.001, -0.001, 0.002, 1]), "units": "meter"}, None, (2, 1, 1), True),
        ({"sform": np.diag([-1000, -1000, 2000, 1]), "units": "micron"}, None, (2, 1, 1), True),
    ],
)
def test_spacing_and_place_are_those_of_the_best_form(
    tmp_path, voxels, form, matrix, spacing, is_placed
):
    path = saved(tmp_path, placed(voxels, **form), None)
    if matrix is not None:
        patch(path, 280, "12f", *matrix)  # srow_x, srow_y, srow_z
    volume = read_volume(path)
    np.testing.assert_allclose(volume.spacing, spacing, rtol=1e-5)
    assert volume.directions == (("R", "L", "A", "P") if is_placed else None)
    assert (ORIENTATION_UNKNOWN in volume.notes) == (not is_placed)


def test_sides_of_voxels_that_are_missing_are_not_made_up(tmp_path, voxels):
    path = saved(tmp_path, voxels.astype(np.float32), np.eye(4))
    patch(path, 80, "3f", 0, 0, 0)
    assert read_volume(patch(path, 252, "hh", 0, 0)).spacing is None


@pytest.mark.parametrize(
    ("at", "code", "values"),
    [
        (123, "B", (5,)),  # units that nobody defined
        (252, "hh3f", (1, 2, 3, 4, 5)),  # quaternion longer than 1, with a usable matrix beside it
        (344, "4s", (b"ni1",)),  # what stands in the header of a pair
        (108, "f", (0,)),  # where the voxels start, which a writer may leave out,
        (108, "f", (348,)),  # and where they would without the four bytes of extensions
        (40, "5h", (4, *SHAPE, 0)),  # a fourth dimension of zero
        (116, "f", (np.nan,)),  # an intercept that is no number
    ],
)
def test_a_bad_secondary_number_costs_no_volume(tmp_path, voxels, at, code, values):
    path = saved(tmp_path, voxels.astype(np.float32), np.diag([2.0, 2, 2, 1]))
    right = read_volume(path)
    volume = read_volume(patch(path, at, code, *values))
    np.testing.assert_array_equal(volume.pixels, right.pixels)
    np.testing.assert_array_equal(volume.affine, right.affine)


def test_what_follows_the_voxels_is_not_unpacked(tmp_path, voxels):
    data, path = nib.Nifti1Image(voxels, LPS).to_bytes(), tmp_path / "tail.nii.gz"
    for packed in (gzip.compress(data) + b"left by a transfer", gzip.compress(data + bytes(2**20))):
        path.write_bytes(packed)
        np.testing.assert_array_equal(read_volume(path).pixels, voxels.transpose(2, 1, 0))


# Other axes and colours


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 0), (1, 1, 0, 0), (0, 0)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_axes_of_one_before_and_behind_the_voxels(tmp_path, voxels, shape, kind):
    affine = np.array([[4, 0, 0, -72], [0, 4, 0, -88], [0, 0, 5, -56], [0, 0, 0, 1.0]])
    plain = read_volume(saved(tmp_path, voxels, affine))
    data = voxels.reshape(*[1] * shape.count(1), *SHAPE, *[1] * shape.count(0))
    path = saved(tmp_path, data, affine, "a.nii.gz", kind)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.pixels, plain.pixels)
    np.testing.assert_array_equal(volume.affine, plain.affine)
    assert open_files([path]).choices == ("a.nii.gz, 44 slices, 36 x 40",)


def test_sides_of_all_axes_of_a_file_without_a_place(tmp_path, voxels):
    for sides in ((1, 4, 4, 5), (4, 4, 5, 1)):
        image = placed(voxels[None], zooms=sides)
        assert read_volume(saved(tmp_path, image, None)).spacing == (5, 4, 4)


def test_channels_first_of_two_volumes_of_one_slice_and_of_a_time_series(tmp_path):
    data = np.random.default_rng(0).random((1, 36, 44, 28, 2), np.float32)
    assert len(open_files([saved(tmp_path, data, LPS)]).choices) == 2
    assert read_volume(saved(tmp_path, data[None, ..., 3, 0], LPS)).pixels.shape == (1, 44, 36)
    one = saved(tmp_path, data[..., 0, 0], np.diag([6, 1, 1, 1.0]))
    assert read_volume(one).directions == ("A", "P", "S", "I")
    series = nib.Nifti1Image(data[..., :9, 0], np.diag([6, 1, 1, 1.0]))
    series.header.set_xyzt_units("mm", "sec")
    assert len(open_files([saved(tmp_path, series, None)]).choices) == 9


@pytest.mark.parametrize("opacity", [(), (("A", "u1"),)])
def test_voxels_in_colours_are_read_if_these_are_shades_of_grey(tmp_path, voxels, opacity):
    grey = (voxels * 255 / voxels.max()).astype(np.uint8)
    data = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1"), *opacity])
    for channel in data.dtype.names:
        data[channel] = 255 if channel == "A" else grey
    pixels = read_volume(saved(tmp_path, data, np.eye(4))).pixels
    np.testing.assert_array_equal(np.sort(pixels, axis=None), np.sort(grey, axis=None))
    data["G"] = grey.T.reshape(SHAPE)
    with pytest.raises(ReadError, match="colour"):
        open_files([saved(tmp_path, data, np.eye(4))])


def test_volumes_with_content_are_a_choice(tmp_path, voxels):
    volumes = np.stack([voxels, np.zeros_like(voxels), voxels // 2], axis=3)
    path = saved(tmp_path, volumes, LPS, "two.nii.gz")
    selection = open_files([path])
    assert selection.choices == (
        "two.nii.gz, volume 1 of 3, 44 slices, 36 x 40",
        "two.nii.gz, volume 3 of 3, 44 slices, 36 x 40",
    )
    assert selection.notes == ("two.nii.gz: 1 of its 3 volumes are empty.",)
    for index, values in enumerate((voxels, voxels // 2)):
        np.testing.assert_array_equal(selection.read(index).pixels, values.transpose(2, 1, 0))
    with pytest.raises(ReadError, match=r"two\.nii\.gz: the file holds 2 images or series"):
        read_volume(path)
    path = saved(tmp_path, volumes[..., 1:], LPS)
    np.testing.assert_array_equal(read_volume(path).pixels, (voxels // 2).transpose(2, 1, 0))


def test_numbers_without_end_become_the_nearest(tmp_path):
    values = np.random.default_rng(0).random((40, 36, 34)).astype(np.float32)
    values[5, 5, 5], values[6, 6, 6], values[7, 7, 7] = np.inf, -np.inf, np.nan
    volume = read_volume(saved(tmp_path, values, LPS))
    finite = values[np.isfinite(values)]
    nearest = volume.pixels[[5, 6, 7], [5, 6, 7], [5, 6, 7]]
    assert nearest.tolist() == [finite.max(), finite.min(), finite.min()]


# Refusals


@pytest.mark.parametrize("name", ["nifti1.hdr", "nifti2.hdr", "analyze.hdr"])
def test_half_of_a_pair_is_refused_in_words(name):
    with pytest.raises(ReadError, match=rf"{name}: .*\.hdr/\.img pair"):
        read_volume(Path(data_path) / name)


@pytest.mark.parametrize(
    ("at", "code", "value", "words"),
    [
        *((70, "h", kind, f"no real numbers.*data type {kind}") for kind in (1, 32, 1536)),
        *((108, "f", start, "the voxels at byte|damaged") for start in (1e9, -1.0, np.nan)),
    ],
)
def test_headers_that_cannot_be_believed_are_refused(tmp_path, voxels, at, code, value, words):
    path = saved(tmp_path, voxels.astype(np.float32), np.eye(4))
    with pytest.raises(ReadError, match=rf"^scan\.nii: .*({words})"):
        read_volume(patch(path, at, code, value))


def test_real_volumes_lie_over_each_other(shared_data):
    t1, t2 = (
        read_volume(shared_data("readers") / f"nifti/openms04_{c}.nii.gz") for c in ("T1W", "T2W")
    )
    assert t1.pixels.shape == (48, 256, 256)
    assert t2.pixels.shape == (44, 384, 348)
    for volume, other in ((t1, t2), (t2, t1)):
        assert volume.directions == ("R", "L", "A", "P")
        # The head's centre of mass lies near the middle of the other volume too.
        weights = [volume.pixels.sum(axis=axes) for axes in ((0, 1), (0, 2), (1, 2))]
        centre = volume.affine @ [*(np.average(np.arange(len(w)), weights=w) for w in weights), 1]
        at = np.linalg.solve(other.affine, centre)[:3] / other.pixels.shape[::-1]
        assert ((at > 0.3) & (at < 0.7)).all()


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux counts the peak there")
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_memory_stays_at_the_result_and_the_file(tmp_path, name):
    slices = np.random.default_rng(0).integers(0, 4096, (192, 192, 160), dtype=np.int16)
    saved(tmp_path, slices, np.eye(4), name)
    saved(tmp_path, slices[:40, :40, :2], np.eye(4), "small.nii.gz")
    code = """
import sys
from peak_memory import peak_bytes
from cyclegan.reading.read import read_volume
read_volume(sys.argv[1])
before = peak_bytes()
size = read_volume(sys.argv[2]).pixels.nbytes
print((peak_bytes() - before) / size)
"""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])}
    command = [sys.executable, "-c", code, str(tmp_path / "small.nii.gz"), str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert 0.9 < float(done.stdout) < 1.75  # the file has half the size of the result
