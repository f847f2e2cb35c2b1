"""Several images of each place: no slice of one volume ever stands in another, whatever is lost."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest
from dicom_files import (
    CORONAL,
    SAGITTAL,
    axial_series,
    described,
    enhanced,
    item,
    mr_image,
    saved,
    written,
)
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import ReadError

DEPTH = 8
ONE_TIME_EACH = [0, 2, 4, 6, 1, 3, 5, 7]  # order in which interleaved slices are taken
NAMES = ("magnitude", "phase", "real part", "imaginary part")


def picture(volume: int, place: int) -> np.ndarray:
    """(40, 36) uint16 whose brightest pixels tell the volume and whose second row the place."""
    pixels = np.tile(np.arange(36, dtype=np.uint16), (40, 1))
    pixels[0], pixels[1] = 1000 * (volume + 1), 100 + place
    return pixels


def images(volumes: int, attributes=lambda volume, place: {}, depth=DEPTH, step=3.0):
    """{(volume, place): image} of one series, numbered volume after volume from 1."""
    series = {"SeriesInstanceUID": generate_uid(), "SeriesDescription": "t1"}
    return {
        (volume, place): mr_image(
            picture(volume, place),
            position=(-20, -30, 40 + step * place),
            **{
                "InstanceNumber": 1 + volume * depth + place,
                **series,
                **attributes(volume, place),
            },
        )
        for volume, place in product(range(volumes), range(depth))
    }


def renumbered(datasets, seed=5):
    """Images with numbers in no order."""
    numbers = random.Random(seed).sample(range(1, len(datasets) + 1), len(datasets))
    for dataset, number in zip(datasets.values(), numbers, strict=True):
        dataset.InstanceNumber = number
    return datasets


def of_each(**keywords):
    """A function for `images` that gives each volume its own value of an attribute."""
    return lambda volume, place: {keyword: v[volume] for keyword, v in keywords.items()}


def opened(tmp_path, datasets, lost=()) -> dict[str, tuple]:
    return choices(written(tmp_path, [d for at, d in datasets.items() if at not in lost], seed=1))


def choices(paths) -> dict[str, tuple]:
    """By label the volume, places and notes of each choice; of one volume each, in order."""
    selection = open_files(paths)
    volumes = {}
    for index, label in enumerate(selection.choices):
        volume = selection.read(index)
        tops = {int(plane.max()) // 1000 - 1 for plane in volume.pixels}
        assert len(tops) == 1, f"{label} mixes volumes {tops}"
        places = [int(plane[1, 0]) - 100 for plane in volume.pixels]
        assert places == sorted(places)
        volumes[label] = (tops.pop(), places, volume.notes)
    return volumes


def places_of(volumes: dict[str, tuple]) -> list[tuple[int, list[int]]]:
    return sorted((number, places) for number, places, _ in volumes.values())


def left(count: int, lost=(), depth=DEPTH) -> list[tuple[int, list[int]]]:
    return [(n, [p for p in range(depth) if (n, p) not in lost]) for n in range(count)]


def private(dataset, group, creator, element, vr, value):
    dataset.private_block(group, creator, create=True).add_new(element, vr, value)


# What divides volumes: three values of an attribute, and how a label says it where it does.
MARKS = {
    "AcquisitionNumber": ((1, 2, 3), "acquisition {}"),
    "TemporalPositionIdentifier": ((1, 2, 3), "time point {}"),
    "DiffusionBValue": ((0.0, 500.0, 1000.0), "b {:g} s/mm²"),
    "DiffusionGradientOrientation": (([1.0, 0, 0], [0.0, 1, 0], [0.0, 0, 1]), ""),
    "InversionTime": ((100, 400, 2500), "inversion time {} ms"),
    "FlipAngle": ((3, 10, 20), "flip angle {}°"),
    "TriggerTime": ((0, 50, 100), "trigger time {} ms"),
    "AcquisitionTime": (("120500", "121000", "121500.5"), ""),
    "AcquisitionDateTime": (("20240101120500", "20240101121000", "20240102121000"), ""),
    "AcquisitionDate": (("20240101", "20240102", "20240103"), ""),
    "ContentTime": (("120000", "121000", "122000"), ""),
    "RepetitionTime": ((500, 1000, 2000), "repetition time {} ms"),
    "EchoNumbers": ((1, 2, 3), "echo {}"),
    "EchoTime": ((10, 20, 30), ""),
    "SequenceName": (("*ep_b0", "*ep_b500#1", "*ep_b1000#1"), ""),
    "ImageComments": (("rest", "left", "right"), ""),
    "ScanOptions": (("PFP", "PFP\\FS", "MT"), ""),
}


@pytest.mark.parametrize("lost", [(), [(0, 3)], [(0, 0)], [(1, 7), (2, 0), (2, 1), (0, 4)]])
@pytest.mark.parametrize("keyword", MARKS)
def test_a_mark_divides_volumes_whatever_the_numbers_and_losses(tmp_path, keyword, lost):
    values, words = MARKS[keyword]
    datasets = renumbered(images(3, of_each(**{keyword: values})))
    volumes = opened(tmp_path, datasets, lost)
    assert places_of(volumes) == left(3, lost)
    for label, (number, places, notes) in volumes.items():
        missing = DEPTH - len(places)
        assert any(f"{missing} of 8 slices" in note for note in notes) == bool(missing), number
        assert label.endswith(words.format(values[number]))


MANY = list(product((100, 900), (5, 15), (1, 2, 3)))


def three_marks(volume, place):
    return dict(zip(("InversionTime", "FlipAngle", "EchoNumbers"), MANY[volume], strict=True))


def rounded(volume, place):
    return {"InversionTime": ((100, 900), ("100.00004", "899.9996"))[place == 2 + volume][volume]}


def lost_mark(volume, place):
    return {} if (volume, place) == (0, 3) else {"AcquisitionNumber": volume}


def slice_locations(volume, place):
    where = {"ImagePositionPatient": None, "SliceLocation": 3.0 * place}
    return {"AcquisitionNumber": volume, **where}


def equal_identifiers(volume, place):
    numbers = {"AcquisitionNumber": volume, "InstanceNumber": place}
    return {**numbers, "SOPInstanceUID": f"1.2.3.{place}"}


def moved(offset, is_marked):
    return lambda volume, place: {
        "AcquisitionNumber": volume if is_marked else None,
        "ImagePositionPatient": [-20, -30, 40 + 3 * place + offset * volume],
    }


def tilted_gantry(_, place):
    return {"ImagePositionPatient": [-20, -30 + 9 * place, 40 + 3 * place]}


def varying(_, place):
    return {
        "AcquisitionTime": f"1200{place * 7 % 60:02}.250000",
        "ContentTime": f"1300{place * 11 % 60:02}",
        "TriggerTime": 37 * place,
        "AcquisitionNumber": place + 1,
        "TemporalPositionIdentifier": place + 1,
        "ImageComments": f"slice {place}",
        "WindowCenter": 100 + place,
    }


def packages(_, place):
    return {"AcquisitionNumber": 1 + place % 2, "AcquisitionTime": f"12000{1 + place % 2}"}


def filling_each_other(_, place):
    number = 1 + place // 2 + 8 * (place % 2)
    return {"AcquisitionNumber": 1 + place % 2, "InstanceNumber": number}


def gaps(of_first):
    """One of two volumes at each place; of three, the third everywhere."""
    return [(int(place in of_first), place) for place in range(DEPTH)]


B_VALUES = of_each(DiffusionBValue=(0.0, 500.0, 1000.0))
NO_B_VALUE = of_each(DiffusionBValue=(None, 500.0, 1000.0))
CASES = [  # volumes, attributes of each image, what is lost, depth, and whether numbers stay
    (2, of_each(EchoTime=(10, 90), DiffusionBValue=(0.0, 1000.0))),  # that vary together
    (6, of_each(EchoTime=(10, 10, 10, 90, 90, 90), DiffusionBValue=(0.0, 500.0, 1000.0) * 2)),
    (len(MANY), three_marks),
    (2, rounded),
    (2, lost_mark),
    (2, slice_locations),
    (2, equal_identifiers, (), DEPTH, True),
    *((2, moved(offset, True)) for offset in (0.03, 0.1, 0.4, 1.0)),
    *((2, moved(offset, False), (), DEPTH, True) for offset in (0.03, 0.1, 0.4, 1.0)),
    (1, tilted_gantry),
    *((1, kind, lost) for kind in (varying, packages) for lost in ((), [(0, 5)], [(0, 0)])),
    (1, filling_each_other, (), 16, True),
    (3, B_VALUES, (), 1),
    (3, NO_B_VALUE, [(0, 1), (1, 2), (2, 3)]),
    # Slices of two volumes never fill each other's gaps; no b-value is 0, not forgotten.
    (2, B_VALUES, gaps(range(4)), DEPTH, True),
    (3, NO_B_VALUE, gaps(range(3)), DEPTH, True),
    (2, of_each(AcquisitionNumber=(1, 2)), gaps((1, 2, 5, 7)), DEPTH, True),
]


@pytest.mark.parametrize("case", CASES)
def test_volumes_come_apart_whole(tmp_path, case):
    count, attributes, lost, depth, is_numbered = (*case, *((), DEPTH, False)[len(case) - 2 :])
    datasets = images(count, attributes, depth)
    if not is_numbered:
        renumbered(datasets)
    for dataset in datasets.values():
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    volumes = opened(tmp_path, datasets, lost)
    assert places_of(volumes) == left(count, lost, depth)
    notes = [note for *_, notes in volumes.values() for note in notes]
    if count == 1:
        assert any("a slice may be missing" in note for note in notes) == (lost == [(0, 5)])
    if attributes is NO_B_VALUE:
        assert next(iter(volumes)).endswith("no b-value given")


@pytest.mark.parametrize(
    "element",
    [
        (0x0019, "SIEMENS MR HEADER", 0x0C, "IS", (0, 800)),
        (0x2001, "Philips Imaging DD 001", 0x03, "FL", (0.0, 800.0)),
        (0x0043, "GEMS_PARM_01", 0x39, "IS", ([0, 8, 0, 0], [1000000800, 8, 0, 0])),
    ],
)
@pytest.mark.parametrize("form", ["as declared", "as bytes", "without creator"])
def test_b_values_where_vendors_put_them(tmp_path, element, form):
    group, creator, number, vr, values = element
    datasets = renumbered(images(2))
    for (volume, _), dataset in datasets.items():
        value = values[volume]
        if form == "as bytes":  # as it comes out of archives without the vendor's dictionary
            text = "\\".join(map(str, value)) if isinstance(value, list) else str(value)
            data = np.float32(value).tobytes() if vr == "FL" else text.encode()
            private(dataset, group, creator, number, "UN", data)
        elif form == "as declared":
            private(dataset, group, creator, number, vr, value)
        else:
            dataset.add_new((group << 16) + 0x1000 + number, vr, value)
    volumes = opened(tmp_path, datasets, [(1, 5)])
    assert [label.rsplit(", ", 1)[-1] for label in volumes] == ["b 0 s/mm²", "b 800 s/mm²"]


@pytest.mark.parametrize("thickness", [150, 30, 0.2, 0, None])
def test_positions_win_over_thickness(tmp_path, thickness):
    slab = {"SliceThickness": thickness, "SpacingBetweenSlices": 75}
    datasets = images(1, lambda *at: slab, depth=24, step=1.0)
    assert places_of(opened(tmp_path, datasets)) == left(1, depth=24)
    selection = open_files(list(tmp_path.iterdir()))
    assert selection.read(0).spacing == pytest.approx((1.0, 0.5, 0.75))


# Divided by order


@pytest.mark.parametrize("lost", [(), [(0, 3)], [(1, 6), (1, 2)]])
def test_repeats_of_two_packages_are_two_volumes(tmp_path, lost):
    datasets = images(2, lambda v, p: {"AcquisitionNumber": 1 + p % 2 + 2 * v})
    volumes = opened(tmp_path, renumbered(datasets), lost)
    assert [number for number, _ in places_of(volumes)] == [0, 1]


@pytest.mark.parametrize(
    "lost", [(), [(0, 3)], [(0, 0)], [(1, 0)], [(0, 7)], [(1, 7)], [(0, 6), (0, 7), (1, 0)]]
)
@pytest.mark.parametrize("pause", [0, 300])
@pytest.mark.parametrize("numbered", [False, True])
def test_times_that_differ_for_every_slice(tmp_path, lost, pause, numbered):
    def attributes(volume, place):
        seconds = 2 * (place + DEPTH * volume) + pause * volume
        return {"AcquisitionTime": f"12{seconds // 60:02}{seconds % 60:02}.5"}

    datasets = images(2, attributes)
    datasets = datasets if numbered else renumbered(datasets)
    assert places_of(opened(tmp_path, datasets, lost)) == left(2, lost)


def interleaved(volume, place):
    return {"AcquisitionTime": f"1200{ONE_TIME_EACH.index(place) + DEPTH * volume:02}"}


def test_interleaved_times_back_to_back_leave_out_what_may_be_either(tmp_path):
    volumes = opened(tmp_path, renumbered(images(2, interleaved)), [(0, 0)])  # the first one taken
    assert places_of(volumes) == left(2, [(0, 0), (1, 0)])
    for _, _, notes in volumes.values():
        assert any("1 image left out" in note for note in notes)


def test_a_gap_that_lost_images_leave_is_no_pause(tmp_path):
    lost = [(0, 0), (1, 2), (1, 4), (1, 6)]  # 0 lies before the gap
    for number, places, _ in opened(tmp_path, renumbered(images(2, interleaved)), lost).values():
        assert 0 not in places or number == 1


@pytest.mark.parametrize("lost", [(), [(0, 3)], [(0, 0)], [(1, 0)], [(1, 7)]])
@pytest.mark.parametrize("by_place", [False, True])
def test_numbers_divide_where_they_follow_a_rule(tmp_path, lost, by_place):
    datasets = images(2)
    for (volume, place), dataset in datasets.items() if by_place else ():
        dataset.InstanceNumber = 1 + place * 2 + volume
    volumes = opened(tmp_path, datasets, lost)
    assert len(volumes) == 2
    for number, places, notes in volumes.values():
        expected = {p for p in range(DEPTH) if (number, p) not in lost}
        assert expected - set(places) <= {p for _, p in lost}
        assert len(places) == DEPTH or notes


def test_a_heart_that_beats_unevenly(tmp_path):
    rng = random.Random(2)
    datasets = images(4, lambda v, p: {"TriggerTime": f"{60 * v + rng.uniform(-9, 9):.1f}"})
    volumes = opened(tmp_path, renumbered(datasets), [(2, 3), (0, 7)])
    assert sum(len(places) for _, places, _ in volumes.values()) == 4 * DEPTH - 2
    assert len(volumes) == 4


@pytest.mark.parametrize("lost", [(), [(0, 3)]])
def test_where_nothing_decides_one_sentence_says_so(tmp_path, lost):
    with pytest.raises(ReadError, match=r"images lie at 8 places, and nothing in their headers"):
        opened(tmp_path, renumbered(images(2)), lost)
    good = axial_series(np.stack([picture(0, place) for place in range(4)]))
    (tmp_path / "good").mkdir()
    selection = open_files([*tmp_path.glob("IM*"), *written(tmp_path / "good", good)])
    assert len(selection.choices) == 1
    assert any("nothing in their headers" in note for note in selection.notes)


# Copies and short files


def test_what_was_sent_twice_is_read_once_and_acquisitions_stay(tmp_path):
    datasets = list(images(2, of_each(AcquisitionNumber=(1, 2))).values())
    paths = written(tmp_path, datasets)
    for dataset in datasets:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    (tmp_path / "again").mkdir()
    again = written(tmp_path / "again", datasets)
    del paths[3]
    selection = open_files([*paths, *again])
    assert any(note.startswith("15 files left out (repeats") for note in selection.notes)
    assert places_of(choices([*paths, *again])) == left(2)


# Enhanced objects


def group(macro: str, **values) -> dict[str, Dataset]:
    return {macro: item(**values)}


GROUPS = [  # what divides frames: an attribute of a functional group, of each of three volumes
    ("FrameContentSequence", "TemporalPositionIndex", (1, 2, 3)),
    ("FrameContentSequence", "FrameAcquisitionNumber", (1, 2, 3)),
    ("MRDiffusionSequence", "DiffusionBValue", (0.0, 500.0, 1000.0)),
    (
        *("MRDiffusionSequence", "DiffusionGradientDirectionSequence"),
        [[item(DiffusionGradientOrientation=axis.tolist())] for axis in np.eye(3)],
    ),
    ("MRModifierSequence", "InversionTimes", ([100.0], [400.0], [700.0])),
    ("MRTimingAndRelatedParametersSequence", "FlipAngle", (5.0, 10.0, 15.0)),
    ("MREchoSequence", "EffectiveEchoTime", (10.0, 15.0, 20.0)),
    ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", (0.0, 50.0, 100.0)),
    ("FrameContentSequence", "FrameAcquisitionDateTime", [f"20240101120{n}00.5" for n in range(3)]),
    ("MRArterialSpinLabelingSequence", "ASLContext", ("LABEL", "CONTROL", "M_ZERO_SCAN")),
    ("MRReceiveCoilSequence", "ReceiveCoilName", ("coil 0", "coil 1", "coil 2")),
    ("FrameContentSequence", "FrameComments", ("kind 0", "kind 1", "kind 2")),
    ("UnassignedPerFrameConvertedAttributesSequence", "AcquisitionNumber", (1, 2, 3)),
    ("FrameContentSequence", "DimensionIndexValues", None),
]


def frames_of(volumes, groups=lambda volume, place: {}, lost=()):
    return [
        (n, p, groups(n, p)) for n in range(volumes) for p in range(DEPTH) if (n, p) not in lost
    ]


def enhanced_of(frames: list[tuple[int, int, dict]], seed: int | None = 3, **attributes):
    """An enhanced object of (volume, place, functional groups), in no order but for None."""
    if seed is not None:
        random.Random(seed).shuffle(frames)
    stack = np.stack([picture(volume, place) for volume, place, _ in frames])
    places = [(-20, -30, 40 + 3 * place) for _, place, _ in frames]
    dataset = enhanced(stack, places, kinds="M" * 99)
    for own, (_, _, groups) in zip(dataset.PerFrameFunctionalGroupsSequence, frames, strict=True):
        described(own, **{macro: [values] for macro, values in groups.items()})
    return described(dataset, **attributes)


@pytest.mark.parametrize("lost", [(), [(0, 3)], [(1, 0), (2, 7), (2, 6)]])
@pytest.mark.parametrize(("macro", "keyword", "values"), GROUPS)
def test_functional_groups_divide_frames_in_any_order(tmp_path, macro, keyword, values, lost):
    def groups(volume, place):
        return group(macro, **{keyword: values[volume] if values else [1, place + 1, volume + 1]})

    path = saved(tmp_path, enhanced_of(frames_of(3, groups, lost)))
    assert places_of(choices([path])) == left(3, lost)


@pytest.mark.parametrize("by_place", [False, True])
def test_the_order_of_frames_divides_where_it_follows_a_rule(tmp_path, by_place):
    frames = sorted(frames_of(3), key=lambda frame: frame[by_place])
    assert places_of(choices([saved(tmp_path, enhanced_of(frames, None))])) == left(3)
    path = saved(tmp_path, enhanced_of(frames))
    for read in (read_volume, lambda path: open_files([path])):
        with pytest.raises(ReadError, match=r"slice\.dcm: 24 images lie at 8 places, and nothing"):
            read(path)


# Magnitude, phase, real and imaginary parts


def component(number):
    return group(
        "MRImageFrameTypeSequence",
        FrameType=["ORIGINAL", "PRIMARY", "OTHER", "NONE"],
        ComplexImageComponent=("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")[number],
    )


@pytest.mark.parametrize("order", ["phase first", "changing"])
@pytest.mark.parametrize("lost", [(), [(0, 4)]])
def test_complex_components_are_volumes_of_their_own(tmp_path, order, lost):
    frames = frames_of(4, lambda n, p: component(n), lost)
    frames.sort(key=lambda frame: (frame[0] != 1, frame[0]))
    seed = None if order == "phase first" else 7
    path = saved(tmp_path, enhanced_of(frames, seed, ComplexImageComponent="MIXED"))
    selection, volumes = open_files([path]), choices([path])
    assert places_of(volumes) == left(4, lost)
    assert selection.choices[selection.best].endswith(", magnitude")
    for label, (number, _, notes) in volumes.items():
        assert label.endswith(f", {NAMES[number]}")
        note = f"This is the {NAMES[number]} of the signal; the models learned magnitude images"
        assert any(text.startswith(note) for text in notes) == (number > 0)
    main = read_volume(path)
    assert set(np.unique(main.pixels[:, 0])) == {1000}
    assert any("4 images per slice; the magnitude is shown" in note for note in main.notes)


@pytest.mark.parametrize(
    "types",
    [
        [["ORIGINAL", "PRIMARY", "M", "SE"], ["ORIGINAL", "PRIMARY", "P", "SE"]],
        [["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"], ["ORIGINAL", "PRIMARY", "PHASE MAP", "P"]],
        [["ORIGINAL", "PRIMARY", "MAGNITUDE"], ["ORIGINAL", "PRIMARY", "REAL"]],
        [["ORIGINAL", "PRIMARY", "M_IR"], ["ORIGINAL", "PRIMARY", "R_IR"]],
        ["MAGNITUDE", "PHASE"],
        [0, 1],
        [0, 3],
    ],
)
def test_classic_magnitude_is_opened_first_and_both_are_named(tmp_path, types):
    datasets = renumbered(images(2, lambda *at: {"SeriesDescription": "FLAIR"}))
    for (volume, _), dataset in datasets.items():
        kind = types[volume]
        if isinstance(kind, int):
            private(dataset, 0x0043, "GEMS_PARM_01", 0x2F, "SS", kind)
        else:
            keyword = "ImageType" if isinstance(kind, list) else "ComplexImageComponent"
            setattr(dataset, keyword, kind)
    # The magnitude has fewer slices, and is opened first all the same.
    assert places_of(opened(tmp_path, datasets, [(0, 2)])) == left(2, [(0, 2)])
    selection = open_files(list(tmp_path.iterdir()))
    assert "magnitude" in selection.choices[selection.best]
    assert any(name in selection.choices[1 - selection.best] for name in NAMES[1:])


def test_echoes_by_components_each_say_what_is_missing(tmp_path):
    def attributes(volume, _):
        kind = ["ORIGINAL", "PRIMARY", "MP"[volume % 2], "FFE"]
        return {"EchoTime": (10, 10, 20, 20)[volume], "ImageType": kind}

    volumes = opened(tmp_path, renumbered(images(4, attributes)), [(0, 0), (2, 3)])
    texts = {number: " ".join(notes) for number, _, notes in volumes.values()}
    assert sorted(n for n, text in texts.items() if "1 of 8 slices is missing" in text) == [0, 2]
    assert sum("magnitude, echo time" in label for label in volumes) == 2


def test_an_object_without_magnitude_is_a_choice(tmp_path):
    frames = frames_of(2, lambda n, p: component(2 + n))
    path = saved(tmp_path, enhanced_of(frames))
    assert places_of(choices([path])) == left(2)
    with pytest.raises(ReadError, match=r"the file holds 2 images .*real part.*choose one"):
        read_volume(path)


# Side by side


@pytest.mark.parametrize("cosines", [(1, 0, 0, 0, 1, 0), CORONAL, SAGITTAL])
@pytest.mark.parametrize("shift", [0.0, 1.5])
@pytest.mark.parametrize("lost", [(), [(0, 3)], [(1, p) for p in range(1, 8)]])
def test_stacks_side_by_side_are_two(tmp_path, cosines, shift, lost):
    across, normal = np.array(cosines[:3]), np.cross(cosines[:3], cosines[3:])
    datasets = images(2)
    for (number, place), dataset in datasets.items():
        position = normal * (3 * place + shift * number) + across * 40 * number
        described(
            dataset,
            ImageOrientationPatient=list(cosines),
            ImagePositionPatient=position.tolist(),
        )
    paths = written(tmp_path, [d for at, d in datasets.items() if at not in lost])
    selection = open_files(paths)
    assert len(selection.choices) == 2
    for index, label in enumerate(selection.choices):
        volume = selection.read(index)
        assert "stack " in label
        if volume.affine is not None and len(volume.pixels) == DEPTH:
            assert volume.spacing == pytest.approx((3.0, 0.5, 0.75))
        (number,) = {int(plane.max()) // 1000 - 1 for plane in volume.pixels}
        to_ras = np.array([-1, -1, 1])
        if volume.stored_affine is not None:
            from_edge = volume.stored_affine[:3, 3] - to_ras * across * 40 * number
            np.testing.assert_allclose(np.cross(from_edge, to_ras * normal), 0, atol=1e-6)


def test_two_acquisitions_of_each_of_two_stacks(tmp_path):
    def attributes(volume, place):
        position = [-20 + 60 * (volume // 2), -30, 40 + 3 * place + 1.5 * (volume // 2)]
        return {"AcquisitionNumber": 1 + volume % 2, "ImagePositionPatient": position}

    volumes = opened(tmp_path, renumbered(images(4, attributes)), [(0, 0), (3, 4)])
    assert [number for number, *_ in volumes.values()] == [0, 1, 2, 3]
    assert next(iter(volumes)).endswith("stack 1 of 2 from right to left, acquisition 1")
