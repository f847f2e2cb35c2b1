"""NIfTI: any orientation, any number type, and headers that must not be believed."""

from __future__ import annotations

import gzip
import itertools
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
from cyclegan.reading.series import open_files
from cyclegan.reading.volume import ORIENTATION_UNKNOWN, ReadError

SHAPE = (36, 40, 44)
# Every way to lay three array axes along the body: 6 permutations x 8 sign patterns.
ORIENTATIONS = [
    "".join(letters)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*axes)
]


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(2).integers(-500, 4000, SHAPE, dtype=np.int16)


def affine_for(codes: str, tilt: float = 0.15) -> np.ndarray:
    """A slightly oblique affine for array axes that run towards `codes`."""
    c, s = np.cos(tilt), np.sin(tilt)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([0.8, 0.9, 1.5])
    affine[:3, 3] = [-15, -20, -30]
    # Of canonical axes, `from_canonical` says where each goes in the array and in which direction.
    from_canonical = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    canonical_shape = [SHAPE[int(axis)] for axis in from_canonical[:, 0]]
    return affine @ inv_ornt_aff(from_canonical, canonical_shape)


def saved(tmp_path: Path, data: np.ndarray, affine: np.ndarray, name="scan.nii.gz", kind=None):
    path = tmp_path / name
    nib.save((kind or nib.Nifti1Image)(data, affine), path)
    return path


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_orientation_is_turned_and_keeps_its_place(tmp_path, voxels, codes):
    affine = affine_for(codes)
    assert "".join(nib.aff2axcodes(affine)) == codes
    volume = read_volume(saved(tmp_path, voxels, affine))
    assert volume.directions == ("R", "L", "A", "P")
    assert "".join(nib.aff2axcodes(volume.affine)) == "LPS"
    assert volume.notes == ()
    for index in [(0, 0, 0), (35, 39, 43), (3, 17, 29)]:
        at = np.linalg.solve(volume.affine, affine @ [*index, 1])
        column, row, plane = np.rint(at[:3]).astype(int)
        np.testing.assert_allclose(at[:3], [column, row, plane], atol=1e-4)
        assert volume.pixels[plane, row, column] == voxels[index]
        stored = np.linalg.inv(volume.stored_affine) @ volume.affine @ [column, row, plane, 1]
        np.testing.assert_allclose(stored[:3], index, atol=1e-4)
    # Spacing is that of the patient's axes: foot-head 1.5, front-back 0.9, side-side 0.8 mm.
    np.testing.assert_allclose(volume.spacing, (1.5, 0.9, 0.8), atol=1e-5)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int64"]
)
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_number_types_and_both_versions(tmp_path, voxels, dtype, kind):
    values = abs(voxels) % 256 if dtype == "uint8" else abs(voxels)
    path = tmp_path / "scan"  # no extension: content decides
    image = kind(values.astype(dtype), np.diag([-1, -1, 1, 1]), dtype=dtype)
    path.write_bytes(image.to_bytes())
    np.testing.assert_array_equal(read_volume(path).pixels, values.transpose(2, 1, 0))


def test_big_endian_and_scale_slope(tmp_path, voxels):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.dtype(">i2"))
    image = nib.Nifti1Image(voxels, np.diag([-1, -1, 1, 1]), header)
    image.header.set_slope_inter(0.25, -7)
    path = tmp_path / "scan.nii"
    data = bytearray(image.to_bytes())
    # nibabel rescales when it saves; put the stored values and the scale in by hand instead.
    data[112:120] = np.array([0.25, -7], ">f4").tobytes()
    data[352:] = voxels.astype(">i2").tobytes(order="F")
    path.write_bytes(bytes(data))
    expected = voxels.transpose(2, 1, 0) * 0.25 - 7
    np.testing.assert_array_equal(read_volume(path).pixels, expected)
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj).transpose(2, 1, 0), expected)


def test_without_form_codes_the_orientation_is_unknown(tmp_path, voxels):
    image = nib.Nifti1Image(voxels, None)
    image.header.set_zooms((0.8, 0.9, 1.5))
    image.header["qform_code"] = image.header["sform_code"] = 0
    path = tmp_path / "scan.nii"
    path.write_bytes(image.to_bytes())
    volume = read_volume(path)
    assert volume.directions is None
    assert ORIENTATION_UNKNOWN in volume.notes
    np.testing.assert_allclose(volume.spacing, (1.5, 0.9, 0.8), rtol=1e-6)


def test_trailing_single_dimensions_are_fine_and_real_4d_is_not(tmp_path, voxels):
    path = saved(tmp_path, voxels[..., None, None], np.diag([-1, -1, 1, 1]))
    np.testing.assert_array_equal(read_volume(path).pixels, voxels.transpose(2, 1, 0))
    with pytest.raises(ReadError, match=r"example4d\.nii\.gz: the file holds 2 volumes"):
        read_volume(Path(data_path) / "example4d.nii.gz")


def test_single_slices_keep_their_plane(tmp_path, voxels):
    plane = voxels[:, :, 0]
    axial = read_volume(saved(tmp_path, plane, np.diag([-1, -1, 3, 1])))
    np.testing.assert_array_equal(axial.pixels, plane.T[None])
    assert axial.notes == ()
    sagittal = read_volume(saved(tmp_path, plane[None], np.diag([4.0, 1, 1, 1])))
    assert sagittal.pixels.shape == (1, 40, 36)
    assert sagittal.directions == ("A", "P", "S", "I")
    assert any("sagittal" in note for note in sagittal.notes)


@pytest.mark.parametrize(
    ("sides", "plane", "said"),
    [
        ((2, 1, 1), "axial", ()),
        ((1.6, 0.5, 0.5), "axial", ("cuts through it are coarse (0.5 x 1.6 mm)",)),
        ((5, 1, 1), "sagittal", ("learned axial slices only", "would be coarse (5.0 mm)")),
        ((1, 5, 1), "coronal", ("learned axial slices only", "would be coarse (5.0 mm)")),
        ((1, 1, 5), "axial", ()),
    ],
)
def test_volumes_are_cut_axially_and_thick_stacks_keep_their_plane(
    tmp_path, voxels, sides, plane, said
):
    volume = read_volume(saved(tmp_path, voxels, np.diag([*sides, 1.0])))
    assert plane_of(volume.affine) == plane
    assert len(volume.notes) == len(said)
    assert all(words in note for words, note in zip(said, volume.notes, strict=True))


RGB = [("R", "u1"), ("G", "u1"), ("B", "u1")]


@pytest.mark.parametrize("code", [1, 32, 1536])  # single bits, complex, 128-bit floats
def test_voxels_that_are_no_plain_numbers_are_refused_by_their_type(tmp_path, voxels, code):
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.eye(4)), path)
    patch(path, 70, "h", code)
    with pytest.raises(ReadError, match=f"no real numbers.*data type {code}"):
        read_volume(path)


@pytest.mark.parametrize("opacity", [(), (("A", "u1"),)])
def test_voxels_in_colours_are_read_if_these_are_shades_of_grey(tmp_path, voxels, opacity):
    grey = (voxels * 255 / voxels.max()).astype(np.uint8)
    data = np.zeros(SHAPE, dtype=[*RGB, *opacity])
    for channel in "RGB":
        data[channel] = grey
    if opacity:
        data["A"] = 255
    path = saved(tmp_path, data, np.eye(4))
    np.testing.assert_array_equal(np.sort(read_volume(path).pixels, axis=None), np.sort(grey, None))
    data["G"] = grey.T.reshape(SHAPE)
    with pytest.raises(ReadError, match="colour"):
        open_files([saved(tmp_path, data, np.eye(4))])


def patch(path, at, code, *values):
    """Put numbers into a plain NIfTI-1 header."""
    data = bytearray(path.read_bytes())
    struct.pack_into(f"<{code}", data, at, *values)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("at", "code", "values"),
    [
        (123, "B", (5,)),  # units that nobody defined
        (252, "hh3f", (1, 2, 3, 4, 5)),  # quaternion longer than 1, with a usable matrix beside it
        (344, "4s", (b"ni1",)),  # what stands in the header of a pair
        (108, "f", (348,)),  # where the voxels would start without the four bytes of extensions
    ],
)
def test_a_bad_secondary_number_costs_no_volume(tmp_path, voxels, at, code, values):
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.diag([2.0, 2, 2, 1])), path)
    right = read_volume(path)
    patch(path, at, code, *values)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.pixels, right.pixels)
    np.testing.assert_array_equal(volume.affine, right.affine)


def test_sides_of_voxels_that_are_not_told_are_not_made_up(tmp_path, voxels):
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.eye(4)), path)
    patch(path, 80, "3f", 0, 0, 0)
    patch(path, 252, "hh", 0, 0)
    assert read_volume(path).spacing is None


@pytest.mark.parametrize("name", ["nifti1.hdr", "nifti2.hdr", "analyze.hdr"])
def test_half_of_a_pair_is_refused_in_words(name):
    with pytest.raises(ReadError, match=rf"{name}: .*\.hdr/\.img pair"):
        read_volume(Path(data_path) / name)


def test_files_shipped_with_nibabel():
    path = Path(data_path) / "anatomical.nii"
    volume = read_volume(path)
    assert volume.pixels.shape == (25, 41, 33)
    reference = nib.as_closest_canonical(nib.load(path)).get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(volume.pixels, reference[::-1, ::-1].transpose(2, 1, 0))


@pytest.mark.parametrize("dims", [(30000, 30000, 2), (1024, 1024, 1024), (32767, 32767, 32767)])
def test_bomb_is_refused_by_its_header(tmp_path, dims):
    header = nib.Nifti1Header()
    header.set_data_shape(dims)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4 + 2**16)))
    with pytest.raises(ReadError, match=r"bomb\.nii\.gz: .*more than an MR image"):
        read_volume(path)


def test_gzip_is_unpacked_no_further_than_the_header_accounts_for(tmp_path, voxels):
    image = nib.Nifti1Image(voxels, np.diag([-1, -1, 1, 1]))
    path = tmp_path / "tail.nii.gz"
    path.write_bytes(gzip.compress(image.to_bytes()) + b"what a transfer left behind")
    np.testing.assert_array_equal(read_volume(path).pixels, voxels.transpose(2, 1, 0))
    path.write_bytes(gzip.compress(image.to_bytes() + bytes(2**20)))
    np.testing.assert_array_equal(read_volume(path).pixels, voxels.transpose(2, 1, 0))


@pytest.mark.parametrize("offset", [0.0, 1e9, -1.0, np.nan])
def test_voxel_offsets_out_of_bounds(tmp_path, voxels, offset):
    data = bytearray(nib.Nifti1Image(voxels, np.diag([-1, -1, 1, 1])).to_bytes())
    data[108:112] = np.float32(offset).tobytes()
    path = tmp_path / "offset.nii"
    path.write_bytes(bytes(data))
    if offset == 0:  # the standard lets a writer leave it out
        np.testing.assert_array_equal(read_volume(path).pixels, voxels.transpose(2, 1, 0))
    else:
        with pytest.raises(ReadError, match=r"offset\.nii"):
            read_volume(path)


def test_useless_affine_leaves_orientation_unknown_and_spacing_as_the_header_has_it(
    tmp_path, voxels
):
    image = nib.Nifti1Image(voxels, np.eye(4))
    data = bytearray(image.to_bytes())
    data[280:328] = np.zeros(12, "<f4").tobytes()  # srow_x, srow_y, srow_z
    path = tmp_path / "flat.nii"
    path.write_bytes(bytes(data))
    volume = read_volume(path)
    assert volume.directions is None
    assert volume.spacing == (1, 1, 1)
    assert ORIENTATION_UNKNOWN in volume.notes


def test_real_volumes_lie_over_each_other(shared_data):
    folder = shared_data("readers/nifti")
    t1, t2 = (read_volume(folder / f"openms04_{c}.nii.gz") for c in ("T1W", "T2W"))
    assert t1.pixels.shape == (48, 256, 256)
    assert t2.pixels.shape == (44, 384, 348)
    for volume in (t1, t2):
        assert volume.directions == ("R", "L", "A", "P")
        # The head's centre of mass lies near the middle of the other volume too.
        weights = [volume.pixels.sum(axis=axes) for axes in ((0, 1), (0, 2), (1, 2))]
        centre = [np.average(np.arange(len(w)), weights=w) for w in weights]
        volume_centre = volume.affine @ [*centre, 1]
        other = t2 if volume is t1 else t1
        at = np.linalg.solve(other.affine, volume_centre)[:3] / other.pixels.shape[::-1]
        assert (at > 0.3).all()
        assert (at < 0.7).all()


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
    path = tmp_path / ("scan.nii.gz" if seed % 3 else "scan.nii")
    nib.save(image, path)
    volume = read_volume(path)
    np.testing.assert_allclose(nib.load(path).affine, affine, atol=1e-3)
    for i, j, k in rng.integers(0, values.shape, (40, 3)):
        place = np.linalg.solve(volume.affine, affine @ [i, j, k, 1])[:3]
        np.testing.assert_allclose(place, np.rint(place), atol=2e-3)
        column, row, plane = np.rint(place).astype(int)
        assert volume.pixels[plane, row, column] == values[i, j, k]


def test_sform_goes_before_qform_unless_it_is_broken(tmp_path, voxels):
    image = nib.Nifti1Image(voxels, None)
    image.set_qform(np.diag([-1.0, -1, 1, 1]), code=1)
    image.set_sform(np.diag([-2.0, -2, 2, 1]), code=2)
    path = tmp_path / "scan.nii"
    path.write_bytes(image.to_bytes())
    assert read_volume(path).spacing == (2, 2, 2)
    data = bytearray(image.to_bytes())
    data[280:328] = np.full(12, np.nan, "<f4").tobytes()  # srow_x, srow_y, srow_z
    path.write_bytes(bytes(data))
    assert read_volume(path).spacing == (1, 1, 1)
    assert read_volume(path).directions == ("R", "L", "A", "P")


def test_lengths_in_metres_become_millimetres(tmp_path, voxels):
    image = nib.Nifti1Image(voxels, np.diag([-0.001, -0.001, 0.002, 1]))
    image.header.set_xyzt_units("meter")
    path = tmp_path / "scan.nii"
    path.write_bytes(image.to_bytes())
    np.testing.assert_allclose(read_volume(path).spacing, (2, 1, 1), rtol=1e-5)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux counts the peak there")
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_memory_stays_at_the_result_and_little_more(tmp_path, name):
    slices = np.random.default_rng(0).integers(0, 4096, (192, 192, 160), dtype=np.int16)
    nib.save(nib.Nifti1Image(slices, np.eye(4)), tmp_path / name)
    code = """
import sys
from peak_memory import peak_bytes
from cyclegan.reading.read import read_volume
read_volume(sys.argv[1])
before = peak_bytes()
size = read_volume(sys.argv[2]).pixels.nbytes
print((peak_bytes() - before) / size)
"""
    saved(tmp_path, slices[:40, :40, :2], np.eye(4), "small.nii.gz")
    command = [sys.executable, "-c", code, str(tmp_path / "small.nii.gz"), str(tmp_path / name)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert 0.9 < float(done.stdout) < 1.25
