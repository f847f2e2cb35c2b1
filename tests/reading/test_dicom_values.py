"""Values of DICOM images, and headers that were written wrongly: every number is known."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest
from dicom_files import axial_series, described, enhanced, item, mr_image, read_only, saved, written
from exports import derive
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from cyclegan.reading.dicom.repair import repair_header
from cyclegan.reading.read import read_volume

PLACES = [(-20, -30, 40 + 3 * index) for index in range(5)]


def raw(keyword, text):
    """An element that holds text instead of what the standard allows."""
    data = text.encode() + b" " * (len(text) % 2)
    return RawDataElement(Tag(tag_for_keyword(keyword)), "DS", len(data), data, 0, False, True)


def with_raw(tmp_path, datasets, **texts):
    """Files of data sets with attributes of any text, or without them for None."""
    for dataset in datasets:
        for keyword, text in texts.items():
            if text is None:
                dataset.pop(keyword, None)
            else:
                dataset[keyword] = raw(keyword, text)
    with warnings.catch_warnings(action="ignore"):
        return written(tmp_path, datasets)


def world(**values):
    """A real-world value map; PS3.3 C.7.6.16.2.11."""
    return [item(**{f"RealWorldValue{name}": value for name, value in values.items()})]


@pytest.mark.parametrize(
    ("values", "factor", "offset", "window"),
    [
        (
            {
                "RescaleSlope": "0.5",
                "RescaleIntercept": "-3",
                "WindowCenter": ["100", "5"],
                "WindowWidth": ["400", "9"],
            },
            *(0.5, -3, (100, 400)),
        ),
        ({"RealWorldValueMappingSequence": world(Slope=0.5, Intercept=10.0)}, 0.5, 10, None),
        (
            {
                "RealWorldValueMappingSequence": world(Slope=0.5, Intercept=10.0),
                "RescaleSlope": 2,
                "RescaleIntercept": 100,
                "WindowCenter": 2100,  # stored 1000, 200 wide
                "WindowWidth": 400,
            },
            *(0.5, 10, (510, 100)),
        ),
        *(
            ({"WindowCenter": 600, "WindowWidth": 400, "VOILUTFunction": name}, 1, 0, (600, 400))
            for name in ("LINEAR", "LINEAR_EXACT", "SIGMOID")
        ),
    ],
)
def test_values_and_window_after_the_modality_transformation(
    tmp_path, stored, values, factor, offset, window
):
    signed = stored.astype(np.int16) - 2000
    volume = read_volume(saved(tmp_path, mr_image(signed, **values), "no_extension"))
    np.testing.assert_array_equal(volume.pixels[0], signed * factor + offset)
    assert volume.window == window
    assert volume.directions == ("R", "L", "A", "P")
    assert volume.spacing == (4.0, 0.5, 0.75)
    assert volume.notes == ()


def test_a_real_world_table_is_not_used_and_a_note_says_so(tmp_path, stored):
    dataset = mr_image(stored, RescaleSlope=2, RescaleIntercept=100)
    dataset.RealWorldValueMappingSequence = world(LUTData=[1.0, 2.0])
    volume = read_volume(saved(tmp_path, dataset))
    np.testing.assert_array_equal(volume.pixels[0], stored * 2.0 + 100)
    assert any("real-world value map" in note for note in volume.notes)


def test_an_image_whose_lowest_value_is_white_is_inverted_with_its_window(tmp_path, stored):
    ends = int(stored.max()) + int(stored.min())
    dataset = mr_image((ends - stored).astype(np.uint16), PhotometricInterpretation="MONOCHROME1")
    volume = read_volume(
        saved(tmp_path, described(dataset, WindowCenter=ends - 900, WindowWidth=200))
    )
    np.testing.assert_array_equal(volume.pixels[0], stored)
    assert volume.window == (900.0, 200.0)


@pytest.mark.parametrize(
    ("photometric", "vr", "value", "limit"),
    [
        ("MONOCHROME2", "SS", -2000, -1985),
        ("MONOCHROME1", "SS", -2000, -1985),
        ("MONOCHROME2", "SS", -1985, -2000),
        ("MONOCHROME2", "US", 2**16 - 2000, 2**16 - 1985),  # of the wrong sign, as writers have it
    ],
)
def test_padding_is_as_dark_as_air(tmp_path, stored, photometric, vr, value, limit):
    signed = stored.astype(np.int16)
    signed[:5], signed[5:7] = -2000, -1990
    dataset = mr_image(signed, PhotometricInterpretation=photometric)
    dataset.add_new("PixelPaddingValue", vr, value)
    dataset.add_new("PixelPaddingRangeLimit", vr, limit)
    pixels, rest = read_volume(saved(tmp_path, dataset)).pixels[0], stored[7:]
    assert (pixels[:7] == rest.min()).all()
    expected = rest if photometric == "MONOCHROME2" else rest.max() + rest.min() - rest
    np.testing.assert_array_equal(pixels[7:], expected)


def test_one_value_or_the_lowest_number_far_below_all_else_is_padding(tmp_path, stored):
    signed = stored.astype(np.int16)
    signed[:5] = -(2**15)
    for values in ({}, {"PixelPaddingValue": -(2**15)}):
        dataset = mr_image(signed)
        for keyword, value in values.items():
            dataset.add_new(keyword, "SS", value)
        pixels = read_volume(saved(tmp_path, dataset)).pixels[0]
        assert pixels.min() == stored[5:].min()
        np.testing.assert_array_equal(pixels[5:], stored[5:])


def test_window_and_contrast_are_those_of_the_middle_slice(tmp_path, stack):
    datasets = axial_series(stack, ScanningSequence="SE", EchoTime=12, WindowWidth=40)
    for number, dataset in enumerate(datasets):
        # As no protocol has it: by its times only the middle one is a T1.
        described(dataset, WindowCenter=100 + number, RepetitionTime=500 if number == 2 else 4000)
    volume = read_only(written(tmp_path, datasets))
    assert volume.window == (102, 40)
    assert volume.contrast_hint == "T1"


@pytest.mark.parametrize(("between", "expected"), [(5.5, 5.5), (-5.5, 5.5), (None, 4.0)])
def test_a_lone_slice_has_the_distance_that_its_header_says(tmp_path, stored, between, expected):
    volume = read_volume(saved(tmp_path, mr_image(stored, SpacingBetweenSlices=between)))
    assert volume.spacing == (expected, 0.5, 0.75)


# Headers that were written wrongly


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
    volume = read_only(with_raw(tmp_path, axial_series(stack), PixelSpacing=text))
    np.testing.assert_array_equal(volume.pixels, stack)
    assert volume.spacing == (None if spacing is None else pytest.approx(spacing))
    assert volume.directions == ("R", "L", "A", "P")
    assert (volume.affine is None) == (spacing is None)
    assert any("size unknown" in note for note in volume.notes) == (spacing is None)
    shown = 'PixelSpacing "unknown" cannot be read and is not used.'
    assert (shown in volume.notes) == (text == "unknown")


GREYSCALE = 'PhotometricInterpretation "GRAYSCALE" is unknown; the highest value is shown white.'


@pytest.mark.parametrize(
    ("keyword", "text", "notes"),
    [
        *(
            (keyword, text, (f'{keyword} "{text}" cannot be read and is not used.',))
            for keyword, text in (
                ("SliceThickness", "n/a"),
                ("SpacingBetweenSlices", "three"),
                ("WindowCenter", "NONE"),
                ("EchoTime", "short"),
            )
        ),
        ("RescaleIntercept", "0\\0", ()),
        *(
            (keyword, None, ())
            for keyword in ("PixelRepresentation", "BitsStored", "HighBit", "SamplesPerPixel")
        ),
        *(
            ("PhotometricInterpretation", text, (GREYSCALE,) if text == "GRAYSCALE" else ())
            for text in ("MONOCHROME", "MONOCHROME 2", "GRAYSCALE", "MONOCHROME2 ")
        ),
    ],
)
def test_a_secondary_attribute_never_costs_the_picture(tmp_path, stack, keyword, text, notes):
    if keyword == "PhotometricInterpretation":
        paths = written(tmp_path, axial_series(stack, PhotometricInterpretation=text))
    else:
        paths = with_raw(tmp_path, axial_series(stack), **{keyword: text})
    volume = read_only(paths)
    np.testing.assert_array_equal(volume.pixels, stack)
    assert volume.notes == notes


def test_decimal_commas_in_rescale_window_and_orientation(tmp_path, stack):
    commas = {
        "RescaleSlope": "0,5",
        "RescaleIntercept": "10,0",
        "WindowCenter": "600,5",
        "WindowWidth": "1200,5",
        "ImageOrientationPatient": "1,0\\0,0\\0,0\\0,0\\1,0\\0,0",
    }
    volume = read_only(with_raw(tmp_path, axial_series(stack), **commas))
    np.testing.assert_array_equal(volume.pixels, stack * np.float32(0.5) + 10)
    assert volume.window == (600.5, 1200.5)
    assert volume.directions == ("R", "L", "A", "P")
    assert volume.notes == ()


@pytest.mark.parametrize(
    ("macro", "keyword", "vr", "data"),
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
    tmp_path, stack, shared, macro, keyword, vr, data
):
    dataset = enhanced(stack, PLACES)
    groups = dataset.SharedFunctionalGroupsSequence
    group = groups[0] if shared else dataset.PerFrameFunctionalGroupsSequence[2]
    bad = group.get(macro, [item()])[0]
    tag = Tag(tag_for_keyword(keyword))
    bad[keyword] = RawDataElement(tag, "ST", len(data), data, 0, False, True)
    if macro not in group:
        inner = item()  # and one sequence deeper
        inner[keyword] = bad[keyword]
        bad.PurposeOfReferenceCodeSequence = [inner]
        setattr(group, macro, [bad])
    path = saved(tmp_path, dataset)
    start = struct.pack("<HH", *divmod(int(tag), 2**16))
    path.write_bytes(path.read_bytes().replace(start + b"ST", start + vr.encode()))
    volume = read_only([path])
    np.testing.assert_array_equal(volume.pixels, stack)
    (note,) = volume.notes
    assert note.startswith(keyword)
    assert len(derive(volume)) == 5


def test_binary_numbers_of_another_length_and_numbers_in_nested_items(stored):
    dataset, deep = mr_image(stored), item()
    for keyword, vr, data in (
        ("Rows", "US", (40).to_bytes(4, "little")),
        ("Columns", "US", b"\x30"),
        ("DiffusionBValue", "FD", np.float32(5).tobytes()),
    ):
        tag = Tag(tag_for_keyword(keyword))
        dataset[tag] = RawDataElement(tag, vr, len(data), data, 0, False, True)
    deep["RescaleSlope"] = raw("RescaleSlope", "0,5")
    dataset.SharedFunctionalGroupsSequence = [item(PixelValueTransformationSequence=[deep])]
    assert repair_header(dataset) == ()
    assert (dataset.Rows, dataset.Columns, dataset.DiffusionBValue) == (40, 48, 5.0)
    assert deep.RescaleSlope == 0.5


@pytest.mark.parametrize("keyword", ["Manufacturer", "Rows", "Modality", "ImagePositionPatient"])
def test_an_attribute_whose_type_is_damaged_is_read_as_the_dictionary_says(
    tmp_path, stored, keyword
):
    path = saved(tmp_path, mr_image(stored, Manufacturer="X"))
    intact, data, tag = read_volume(path), path.read_bytes(), Tag(tag_for_keyword(keyword))
    at = data.index(struct.pack("<HH", tag.group, tag.elem)) + 4
    path.write_bytes(data[:at] + b"ZZ" + data[at + 2 :])
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.pixels, intact.pixels)
    np.testing.assert_array_equal(volume.affine, intact.affine)


@pytest.mark.parametrize(
    ("declared", "encoding", "expected", "name"),
    [
        ("ISO-IR 144", "iso8859_5", "ISO_IR 144", "Иванов^И"),
        ("iso_ir 144", "iso8859_5", "ISO_IR 144", "Иванов^И"),
        ("ISO IR 100", "latin_1", "ISO_IR 100", "Müller^J"),
        ("ISO_IR 192", "utf-8", "ISO_IR 192", "Иванов^И"),
        (None, "utf-8", "ISO_IR 192", "Иванов^И"),
        ("ISO_IR 192", "latin_1", "ISO_IR 100", "Müller^J"),
    ],
)
def test_a_name_is_copied_in_any_character_set(
    tmp_path, stored, declared, encoding, expected, name
):
    encoded = name.encode(encoding)
    encoded += b" " * (len(encoded) % 2)
    dataset = mr_image(stored, PatientName="X" * len(encoded))
    if declared:
        dataset.SpecificCharacterSet = "ISO_IR 6".ljust(len(declared))
    path = saved(tmp_path, dataset, "a.dcm")
    data = path.read_bytes().replace(b"X" * len(encoded), encoded)
    if declared:
        data = data.replace(b"ISO_IR 6".ljust(len(declared)), declared.encode())
    path.write_bytes(data)
    (result,) = derive(read_volume(path), keep_identity=True)
    assert result.PatientName == name
    assert result.SpecificCharacterSet == expected


# Sizes of pixels


@pytest.mark.parametrize(
    ("keyword", "text", "spacing", "sides"),
    [
        ("PixelAspectRatio", "1\\2", None, (1, 2)),
        ("NominalScannedPixelSpacing", "0.5\\1", (1, 0.5, 1), (0.5, 1)),
        ("ImagerPixelSpacing", "2\\1", (1, 2, 1), (2, 1)),
    ],
)
def test_the_shape_of_pixels_where_pixel_spacing_is_missing(
    tmp_path, stored, keyword, text, spacing, sides
):
    volume = read_only(with_raw(tmp_path, [mr_image(stored, cosines=None)], **{keyword: text}))
    assert volume.spacing == spacing
    assert volume.pixel_spacing == sides


def test_the_aspect_turns_with_the_slice(tmp_path, stored):
    dataset = mr_image(stored, cosines=(0, 1, 0, 1, 0, 0))
    texts = {"PixelSpacing": None, "PixelAspectRatio": "1\\2"}
    volume = read_only(with_raw(tmp_path, [dataset], **texts))
    assert volume.pixels.shape == (1, 48, 40)
    assert volume.pixel_spacing == (2, 1)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("EchoTime", None), ("PixelSpacing", None), ("PixelSpacing", [0.5, 0.7502])],
)
@pytest.mark.parametrize("which", [0, 2])
def test_a_slice_that_says_less_stays_with_the_others(tmp_path, stack, keyword, value, which):
    datasets = axial_series(stack, EchoTime=12)
    described(datasets[which], **{keyword: value})
    volume = read_only(written(tmp_path, datasets))
    np.testing.assert_array_equal(volume.pixels, stack)
    assert volume.spacing == pytest.approx((3, 0.5, 0.75), rel=1e-3)
