"""Files as public bug reports describe them: what can be read is read, the rest is said."""

from __future__ import annotations

import gzip
import io
import struct
import warnings
import zipfile

import nibabel as nib
import numpy as np
import pydicom
import pytest
import tifffile
from dicom_files import axial_series, enhanced, mr_image, saved
from PIL import Image
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import generate_uid

from cyclegan.export.derived import derived_dicom
from cyclegan.export.files import labelled_png
from cyclegan.export.provenance import Provenance
from cyclegan.reading.dicom.repair import repair_header
from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import ReadError


@pytest.fixture
def stack():
    return np.random.default_rng(4).integers(0, 2000, (5, 48, 40)).astype(np.uint16)


def written(tmp_path, datasets, **raw):
    """Files of a series whose attributes hold `raw` text instead of what the standard allows."""
    paths = []
    for number, dataset in enumerate(datasets, 1):
        for keyword, text in raw.items():
            if text is None:
                dataset.pop(keyword, None)
            else:
                dataset[keyword] = raw_element(dataset, keyword, text)
        with warnings.catch_warnings(action="ignore"):
            paths.append(saved(tmp_path, dataset, f"IM{number:03}.dcm"))
    return paths


def raw_element(dataset, keyword, text):
    tag = Tag(tag_for_keyword(keyword))
    data = text.encode() + b" " * (len(text) % 2)
    return RawDataElement(tag, "DS", len(data), data, 0, False, True)


@pytest.mark.parametrize(
    ("text", "spacing"),
    [
        ("0,5\\0,75", (3.0, 0.5, 0.75)),
        ("0.5", (3.0, 0.5, 0.5)),
        ("0.5 mm\\0.75 mm", (3.0, 0.5, 0.75)),
        ("0.5,0.75", (3.0, 0.5, 0.75)),
        ("unknown", None),
        ("", None),
        (None, None),
    ],
)
def test_pixel_spacing_is_read_or_left_out(tmp_path, stack, text, spacing):
    volume = read(written(tmp_path, axial_series(stack), PixelSpacing=text))
    assert np.array_equal(volume.pixels, stack)
    assert volume.spacing == (None if spacing is None else pytest.approx(spacing))
    assert volume.directions == ("R", "L", "A", "P")
    if spacing is None:
        assert any("size unknown" in note for note in volume.notes)
        assert volume.affine is None
    if text == "unknown":
        assert 'PixelSpacing "unknown" cannot be read and is not used.' in volume.notes


def read(paths):
    selection = open_files(paths)
    assert len(selection.choices) == 1
    return selection.read(0)


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("SliceThickness", "n/a"),
        ("SpacingBetweenSlices", "three"),
        ("WindowCenter", "NONE"),
        ("EchoTime", "short"),
    ],
)
def test_a_secondary_number_never_costs_the_picture(tmp_path, stack, keyword, text):
    volume = read(written(tmp_path, axial_series(stack), **{keyword: text}))
    assert np.array_equal(volume.pixels, stack)
    assert volume.notes == (f'{keyword} "{text}" cannot be read and is not used.',)


@pytest.mark.parametrize(
    ("where", "keyword", "vr", "data"),
    [
        ("MREchoSequence", "EffectiveEchoTime", "FD", b"abcdef"),
        ("MRModifierSequence", "InversionTimes", "FD", b"123456"),
        ("FrameContentSequence", "DimensionIndexValues", "UL", b"abcdef"),
        ("PixelMeasuresSequence", "SliceThickness", "DS", b"n/a "),
        ("ReferencedImageSequence", "Rows", "US", b"abc"),
    ],
)
@pytest.mark.parametrize("shared", [True, False])
def test_a_bad_number_in_a_functional_group_costs_no_frame(
    tmp_path, stack, shared, where, keyword, vr, data
):
    dataset = enhanced(stack, [(-20, -30, 40 + 3 * index) for index in range(5)])
    groups = dataset.SharedFunctionalGroupsSequence
    if not shared:
        groups = dataset.PerFrameFunctionalGroupsSequence[2:3]
    bad = groups[0].get(where, [Dataset()])[0]
    bad[keyword] = RawDataElement(
        Tag(tag_for_keyword(keyword)), "ST", len(data), data, 0, False, True
    )
    if where not in groups[0]:
        inner = Dataset()  # and one sequence deeper
        inner[keyword] = bad[keyword]
        bad.PurposeOfReferenceCodeSequence = [inner]
        setattr(groups[0], where, [bad])
    path = saved(tmp_path, dataset)
    tag = struct.pack("<HH", *divmod(tag_for_keyword(keyword), 2**16))
    path.write_bytes(path.read_bytes().replace(tag + b"ST", tag + vr.encode()))
    volume = read([path])
    assert np.array_equal(volume.pixels, stack)
    assert len(volume.notes) == 1
    assert volume.notes[0].startswith(keyword)
    origin = Provenance("1.2", "ab" * 32, "T1 to T2", "cd" * 32, "0.1.0")
    files, _ = derived_dicom(volume.pixels / 2000, volume, to="T2", provenance=origin)
    assert len(files) == 5


def test_a_frame_without_a_place_is_left_out_with_a_note(tmp_path, stack):
    dataset = enhanced(stack, [(-20, -30, 40 + 3 * index) for index in range(5)])
    del dataset.PerFrameFunctionalGroupsSequence[4].PlanePositionSequence
    volume = read_volume(saved(tmp_path, dataset))
    assert np.array_equal(volume.pixels, stack[:4])
    assert "4 of 5 images are shown; the others do not say where they lie." in volume.notes


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("EchoTime", None), ("PixelSpacing", None), ("PixelSpacing", [0.5, 0.7502])],
)
@pytest.mark.parametrize("which", [0, 2])
def test_a_slice_that_tells_less_stays_with_the_others(tmp_path, stack, keyword, value, which):
    datasets = axial_series(stack, EchoTime=12)
    del datasets[which][keyword]
    if value:
        setattr(datasets[which], keyword, value)
    volume = read(written(tmp_path, datasets))
    assert np.array_equal(volume.pixels, stack)
    assert volume.spacing == pytest.approx((3, 0.5, 0.75), rel=1e-3)


def test_slices_with_pixels_of_two_sizes_are_two_choices(tmp_path, stack):
    datasets = axial_series(stack)
    datasets[1].PixelSpacing = datasets[3].PixelSpacing = [0.6, 0.9]
    del datasets[4].PixelSpacing
    assert len(open_files(written(tmp_path, datasets)).choices) == 2


@pytest.mark.parametrize("word", ["MONOCHROME", "MONOCHROME 2", "GRAYSCALE", "MONOCHROME2 "])
def test_words_for_grey_that_are_no_defined_terms(tmp_path, stack, word):
    volume = read(written(tmp_path, axial_series(stack, PhotometricInterpretation=word)))
    assert np.array_equal(volume.pixels, stack)
    said = 'PhotometricInterpretation "GRAYSCALE" is unknown; the highest value is shown white.'
    assert volume.notes == ((said,) if word == "GRAYSCALE" else ())


def test_decimal_commas_in_rescale_window_and_orientation(tmp_path, stack):
    commas = {
        "RescaleSlope": "0,5",
        "RescaleIntercept": "10,0",
        "WindowCenter": "600,5",
        "WindowWidth": "1200,5",
        "ImageOrientationPatient": "1,0\\0,0\\0,0\\0,0\\1,0\\0,0",
    }
    volume = read(written(tmp_path, axial_series(stack), **commas))
    assert np.array_equal(volume.pixels, stack * np.float32(0.5) + 10)
    assert volume.window == (600.5, 1200.5)
    assert volume.directions == ("R", "L", "A", "P")
    assert volume.notes == ()


@pytest.mark.parametrize(
    "keyword",
    [
        *("PixelRepresentation", "BitsStored", "HighBit"),
        *("SamplesPerPixel", "PhotometricInterpretation"),
    ],
)
def test_obvious_descriptions_of_pixels_are_filled_in(tmp_path, stack, keyword):
    volume = read(written(tmp_path, axial_series(stack), **{keyword: None}))
    assert np.array_equal(volume.pixels, stack)


def test_a_short_file_is_named_and_left_out(tmp_path, stack):
    paths = written(tmp_path, axial_series(stack))
    paths[2].write_bytes(paths[2].read_bytes()[:-400])
    volume = read(paths)
    assert np.array_equal(volume.pixels, np.delete(stack, 2, axis=0))
    assert "IM003.dcm" in volume.notes[0]
    assert len(volume.dicom.instances) == 4


def test_a_multi_frame_object_is_no_mosaic(tmp_path, stack):
    places = [(-20, -30, 40 + 3 * index) for index in range(5)]
    dataset = enhanced(stack, places)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
    assert np.array_equal(read([saved(tmp_path, dataset)]).pixels, stack)


def test_without_positions_the_slice_location_orders(tmp_path, stack):
    datasets = axial_series(stack)
    order = [3, 0, 4, 1, 2]
    for dataset, place in zip(datasets, order, strict=True):
        del dataset.ImagePositionPatient
        dataset.InstanceNumber = 1
        dataset.SliceLocation = 4.0 * place
    volume = read(written(tmp_path, datasets))
    assert np.array_equal(volume.pixels, stack[np.argsort(order)])
    assert any("SliceLocation" in note for note in volume.notes)


def test_where_nothing_tells_the_order_a_note_says_so(tmp_path, stack):
    datasets = axial_series(stack)
    for dataset in datasets:
        del dataset.ImagePositionPatient, dataset.InstanceNumber
    assert any("Nothing in the files tells" in n for n in read(written(tmp_path, datasets)).notes)


def test_equal_positions_are_ordered_by_number(tmp_path, stack):
    datasets = axial_series(stack, step=0)
    for dataset in datasets:
        dataset.InstanceNumber = 6 - dataset.InstanceNumber
    volume = read(written(tmp_path, datasets))
    assert np.array_equal(volume.pixels, stack[::-1])
    assert volume.affine is None
    assert any("InstanceNumber" in note for note in volume.notes)


def test_images_of_one_place_taken_one_after_the_other_stay_apart(tmp_path, stack):
    datasets = axial_series(stack, step=0)
    for dataset in datasets:
        dataset.AcquisitionTime = f"12000{dataset.InstanceNumber}"
    assert len(open_files(written(tmp_path, datasets)).choices) == 5


@pytest.mark.parametrize("concatenation", [None, "1.2.826.0.1.3680043.8.498.7"])
def test_enhanced_objects_of_one_series_are_one_volume(tmp_path, stack, concatenation):
    series, datasets = generate_uid(), []
    parts = [slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 4), slice(4, 5)]
    if concatenation:
        parts = [slice(0, 2), slice(2, 5)]
    for part in parts:
        places = [(-20, -30, 40 + 3 * index) for index in range(5)][part]
        dataset = enhanced(stack[part], places)
        dataset.NumberOfFrames = part.stop - part.start
        dataset.SeriesInstanceUID = series
        if concatenation:
            dataset.ConcatenationUID = concatenation
        datasets.append(dataset)
    assert np.array_equal(read(written(tmp_path, datasets)).pixels, stack)


@pytest.mark.parametrize(("echo", "volumes"), [(4.6001, 1), (4.7, 2)])
def test_echo_times_that_hardly_differ_are_one(tmp_path, stack, echo, volumes):
    datasets = axial_series(stack, EchoTime=4.6)
    datasets[2].EchoTime = echo
    assert len(open_files(written(tmp_path, datasets)).choices) == volumes


def test_the_lowest_number_far_below_all_else_is_padding(tmp_path, stack):
    signed = stack.astype(np.int16)
    signed[:, :5] = -(2**15)
    volume = read(written(tmp_path, axial_series(signed)))
    assert volume.pixels.min() >= 0
    assert np.array_equal(volume.pixels[:, 5:], stack[:, 5:])


def test_a_fourth_dimension_of_zero_counts_as_one(tmp_path):
    voxels = np.random.default_rng(0).random((40, 48, 36), np.float32)
    image = nib.Nifti1Image(voxels, np.diag([4, 4, 5, 1]))
    image.header["dim"][:5] = 4, 40, 48, 36, 1
    nib.save(image, tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[40:42], data[48:50] = (4).to_bytes(2, "little"), bytes(2)
    (tmp_path / "a.nii").write_bytes(data)
    assert read_volume(tmp_path / "a.nii").pixels.shape == (36, 48, 40)


def test_an_intercept_that_is_no_number_counts_as_none(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 99, (40, 48, 36)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[112:120] = np.array([2, np.nan], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    assert read_volume(tmp_path / "a.nii").pixels.max() == 2 * voxels.max()


def test_the_transparent_value_of_a_png_is_black(tmp_path):
    grey = np.full((40, 40), 255, np.uint8)
    grey[10:30, 10:30] = np.arange(20, 40)
    Image.fromarray(grey).save(tmp_path / "a.png", transparency=255)
    expected = np.where(grey == 255, 0, grey)
    assert np.array_equal(read_volume(tmp_path / "a.png").pixels[0], expected)


def test_an_alpha_that_is_zero_everywhere_is_ignored(tmp_path):
    grey = np.arange(1600, dtype=np.uint8).reshape(40, 40)
    rgba = np.dstack([grey, grey, grey, np.zeros_like(grey)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert np.array_equal(read_volume(tmp_path / "a.png").pixels[0], grey)


def test_an_archive_inside_another_is_named(tmp_path):
    saved(tmp_path, mr_image(np.ones((40, 40), np.uint16)))
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as archive:
        archive.write(tmp_path / "slice.dcm", "slice.dcm")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(tmp_path / "inner.zip", "inner.zip")
    with pytest.raises(ReadError, match=r"an archive inside another: unpack it first\): inner.zip"):
        open_files([tmp_path / "outer.zip"])


@pytest.mark.parametrize(
    ("declared", "encoding", "written_set", "name"),
    [
        ("ISO-IR 144", "iso8859_5", "ISO_IR 144", "Иванов^И"),
        ("iso_ir 144", "iso8859_5", "ISO_IR 144", "Иванов^И"),
        ("ISO IR 100", "latin_1", "ISO_IR 100", "Müller^J"),
        ("ISO_IR 192", "utf-8", "ISO_IR 192", "Иванов^И"),
        (None, "utf-8", "ISO_IR 192", "Иванов^И"),
        ("ISO_IR 192", "latin_1", "ISO_IR 100", "Müller^J"),
    ],
)
def test_a_kept_name_is_kept_in_any_character_set(
    tmp_path, stack, declared, encoding, written_set, name
):
    dataset = mr_image(stack[0])
    stored = name.encode(encoding)
    stored += b" " * (len(stored) % 2)
    dataset.PatientName = "X" * len(stored)
    if declared:
        dataset.SpecificCharacterSet = "ISO_IR 6".ljust(len(declared))
    path = saved(tmp_path, dataset, "a.dcm")
    data = path.read_bytes().replace(b"X" * len(stored), stored)
    if declared:
        data = data.replace(b"ISO_IR 6".ljust(len(declared)), declared.encode())
    path.write_bytes(data)
    volume = read_volume(path)
    origin = Provenance("1.2", "ab" * 32, "T1 to T2", "cd" * 32, "0.1.0")
    (data,), _ = derived_dicom(
        volume.pixels / 2000, volume, to="T2", provenance=origin, keep_identity=True
    )
    result = pydicom.dcmread(io.BytesIO(data))
    assert result.PatientName == name
    assert result.SpecificCharacterSet == written_set


@pytest.mark.parametrize("ending", ["mgh", "mgz"])
def test_mgh_opens_as_nifti_does(tmp_path, ending):
    voxels = np.random.default_rng(0).integers(0, 999, (40, 48, 36)).astype(np.int16)
    affine = np.array([[-2, 0, 0, 40], [0, 0, 3, -50], [0, -2, 0, 60], [0, 0, 0, 1]], float)
    nib.save(nib.MGHImage(voxels, affine), tmp_path / f"a.{ending}")
    nib.save(nib.Nifti1Image(voxels, affine), tmp_path / "a.nii")
    mgh, nifti = read_volume(tmp_path / f"a.{ending}"), read_volume(tmp_path / "a.nii")
    assert np.array_equal(mgh.pixels, nifti.pixels)
    np.testing.assert_allclose(mgh.affine, nifti.affine, atol=1e-4)
    assert mgh.directions == nifti.directions


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.nrrd", b"NRRD0004\n" + bytes(99), "save the volume as NIfTI"),
        ("a.img.gz", gzip.compress(bytes(999)), "half of an Analyze or NIfTI"),
    ],
    ids=["nrrd", "img.gz"],
)
def test_sentences_about_other_formats_are_true(tmp_path, name, data, sentence):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ReadError, match=sentence):
        read_volume(tmp_path / name)


def test_channels_and_times_of_imagej_are_a_choice(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 999, (2, 5, 3, 48, 40)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "TZCYX"})
    selection = open_files([tmp_path / "a.tif"])
    assert len(selection.choices) == 6
    assert selection.choices[4] == "a.tif, time 2 of 2, channel 2 of 3, 5 slices, 40 x 48"
    assert np.array_equal(selection.read(4).pixels, pixels[1, :, 1])
    with pytest.raises(ReadError, match="holds 6 images or series"):
        read_volume(tmp_path / "a.tif")


def test_channels_of_ome_are_a_choice(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 999, (2, 5, 48, 40)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, ome=True, metadata={"axes": "CZYX"})
    selection = open_files([tmp_path / "a.ome.tif"])
    assert len(selection.choices) == 2
    assert np.array_equal(selection.read(1).pixels, pixels[1])


def test_slices_of_imagej_are_one_stack(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 999, (5, 48, 40)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "ZYX"})
    assert np.array_equal(read_volume(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize(
    ("keyword", "text", "spacing", "shape"),
    [
        ("PixelAspectRatio", "1\\2", None, (1, 2)),
        ("NominalScannedPixelSpacing", "0.5\\1", (1, 0.5, 1), (0.5, 1)),
        ("ImagerPixelSpacing", "2\\1", (1, 2, 1), (2, 1)),
    ],
)
def test_the_shape_of_pixels_where_pixel_spacing_is_missing(
    tmp_path, stack, keyword, text, spacing, shape
):
    volume = read(written(tmp_path, [mr_image(stack[0], cosines=None)], **{keyword: text}))
    assert volume.spacing == spacing
    assert volume.pixel_spacing == shape


def test_the_aspect_turns_with_the_slice(tmp_path, stack):
    dataset = mr_image(stack[0], cosines=(0, 1, 0, 1, 0, 0))
    volume = read(written(tmp_path, [dataset], PixelSpacing=None, PixelAspectRatio="1\\2"))
    assert volume.pixels.shape == (1, 40, 48)
    assert volume.pixel_spacing == (2, 1)


def test_the_resolution_of_tiff_is_the_shape_of_pixels(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 999, (48, 40)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, resolution=(200, 100), resolutionunit="INCH")
    volume = read_volume(tmp_path / "a.tif")
    assert volume.spacing is None
    assert volume.pixel_spacing[0] / volume.pixel_spacing[1] == pytest.approx(2)


def test_imagej_tells_the_size_of_pixels(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 999, (3, 48, 40)).astype(np.uint16)
    told = {"axes": "ZYX", "unit": "mm", "spacing": 3.0}
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, imagej=True, resolution=(1 / 0.8, 1 / 0.4), metadata=told
    )
    assert read_volume(tmp_path / "a.tif").spacing == pytest.approx((3, 0.4, 0.8))


def test_one_of_several_volumes_by_label_or_index(tmp_path, stack):
    datasets = axial_series(stack, EchoTime=10) + axial_series(stack[::-1] // 2, EchoTime=90)
    series = generate_uid()
    for dataset in datasets:
        dataset.SeriesInstanceUID = series
    paths = written(tmp_path, datasets)
    archive = tmp_path / "two.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for path in paths:
            target.write(path, path.name)
    labels = open_files([archive]).choices
    assert len(labels) == 2
    assert np.array_equal(read_volume(archive, choice=1).pixels, stack[::-1] // 2)
    assert np.array_equal(read_volume(archive, choice=labels[0]).pixels, stack)
    for wrong in (2, -1, "echo 3"):
        with pytest.raises(ReadError, match="there is no choice"):
            read_volume(archive, choice=wrong)
    with pytest.raises(ReadError, match="choose one of them"):
        read_volume(archive)


def test_a_folder_is_called_one(tmp_path):
    for read_it in (read_volume, lambda path: open_files([path])):
        with pytest.raises(ReadError, match="this is a folder"):
            read_it(tmp_path)


def test_ome_tells_the_size_of_pixels(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 999, (3, 48, 40)).astype(np.uint16)
    told = {"axes": "ZYX", "PhysicalSizeX": 750, "PhysicalSizeY": 500, "PhysicalSizeZ": 2}
    told |= {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm", "PhysicalSizeZUnit": "mm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, ome=True, metadata=told)
    assert read_volume(tmp_path / "a.ome.tif").spacing == pytest.approx((2, 0.5, 0.75))


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.parametrize(("dpi", "aspect"), [((150, 75), 2), ((300, 300), None), (None, None)])
def test_unequal_resolutions_of_pictures_are_the_shape_of_pixels(tmp_path, ending, dpi, aspect):
    grey = np.random.default_rng(1).integers(0, 255, (48, 40)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / f"a.{ending}", **({"dpi": dpi} if dpi else {}))
    shape = read_volume(tmp_path / f"a.{ending}").aspect
    assert (shape and shape[0] / shape[1]) == (aspect and pytest.approx(aspect, rel=1e-2))


def test_the_shape_of_pixels_goes_into_exports(tmp_path, stack):
    raw = {"PixelSpacing": None, "PixelAspectRatio": "1\\2"}
    volume = read(written(tmp_path, [mr_image(stack[0], cosines=None)], **raw))
    origin = Provenance("1.2", "ab" * 32, "T1 to T2", "cd" * 32, "0.1.0")
    (data,), _ = derived_dicom(volume.pixels / 2000, volume, to="T2", provenance=origin)
    assert pydicom.dcmread(io.BytesIO(data)).PixelAspectRatio == [1, 2]
    picture = labelled_png(volume.pixels[0] / 2000, label="synthetic", aspect=volume.aspect)
    width, height = Image.open(io.BytesIO(picture)).size
    assert width >= 2 * 40 * 7  # 80 x 48 square pixels, seven times as large
    assert 48 * 7 < height < 48 * 7 + 60  # with its strip, without a bar of millimetres


def test_the_choice_says_how_many_slices_are_whole(tmp_path, stack):
    paths = written(tmp_path, axial_series(stack))
    paths[2].write_bytes(paths[2].read_bytes()[:-400])
    selection = open_files(paths)
    assert "4 slices" in selection.choices[0]
    assert len(selection.read(0).pixels) == 4


def test_binary_numbers_of_another_length_are_read(tmp_path, stack):
    dataset = mr_image(stack[0])
    for keyword, vr, data in (
        ("Rows", "US", (48).to_bytes(4, "little")),
        ("Columns", "US", b"\x28"),
        ("DiffusionBValue", "FD", np.float32(5).tobytes()),
    ):
        tag = Tag(tag_for_keyword(keyword))
        dataset[tag] = RawDataElement(tag, vr, len(data), data, 0, False, True)
    repair_header(dataset)
    assert (dataset.Rows, dataset.Columns, dataset.DiffusionBValue) == (48, 40, 5.0)


def test_numbers_in_nested_items_are_repaired(tmp_path, stack):
    dataset = mr_image(stack[0])
    item = pydicom.Dataset()
    item[0x00281053] = RawDataElement(Tag(0x00281053), "DS", 4, b"0,5 ", 0, False, True)
    group = pydicom.Dataset()
    group.PixelValueTransformationSequence = [item]
    dataset.SharedFunctionalGroupsSequence = [group]
    assert repair_header(dataset) == ()
    assert item.RescaleSlope == 0.5
