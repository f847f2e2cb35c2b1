"""Several images of each place: no slice of one volume ever stands in another, whatever is lost."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from dicom_files import CORONAL, SAGITTAL, axial_series, enhanced, mr_image, saved
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import ReadError

DEPTH = 8


def picture(volume: int, place: int) -> np.ndarray:
    """(40, 36) uint16 whose brightest pixels tell the volume and whose second row the place."""
    pixels = np.tile(np.arange(36, dtype=np.uint16), (40, 1))
    pixels[0] = 1000 * (volume + 1)
    pixels[1] = 100 + place
    return pixels


def images(volumes: int, depth: int = DEPTH, step: float = 3.0) -> list[list[Dataset]]:
    """Images of one series by volume and place, numbered volume after volume from 1."""
    series, found = generate_uid(), []
    for volume in range(volumes):
        stack = np.stack([picture(volume, place) for place in range(depth)])
        found.append(axial_series(stack, step, SeriesInstanceUID=series, SeriesDescription="t1"))
        for place, dataset in enumerate(found[-1]):
            dataset.InstanceNumber = 1 + volume * depth + place
    return found


def shuffled_numbers(volumes: list[list[Dataset]], seed: int = 5) -> None:
    flat = list(itertools.chain(*volumes))
    numbers = random.Random(seed).sample(range(1, len(flat) + 1), len(flat))
    for dataset, number in zip(flat, numbers, strict=True):
        dataset.InstanceNumber = number


def opened(tmp_path, volumes: list[list[Dataset]], lost=()) -> dict[str, tuple]:
    """By label the volume, places and notes of each choice; of one volume each, in order."""
    flat = [
        dataset
        for number, each in enumerate(volumes)
        for place, dataset in enumerate(each)
        if (number, place) not in lost
    ]
    random.Random(1).shuffle(flat)
    return choices([saved(tmp_path, each, f"IM{at:04}") for at, each in enumerate(flat)])


def choices(paths) -> dict[str, tuple]:
    selection = open_files(paths)
    found = {}
    for index, label in enumerate(selection.choices):
        volume = selection.read(index)
        tops = {int(plane.max()) // 1000 - 1 for plane in volume.pixels}
        assert len(tops) == 1, f"{label} mixes volumes {tops}"
        places = [int(plane[1, 0]) - 100 for plane in volume.pixels]
        assert places == sorted(places)
        found[label] = (tops.pop(), places, volume.notes)
    return found


def whole(found: dict[str, tuple], count: int, depth: int = DEPTH) -> bool:
    return sorted(v[:2] for v in found.values()) == [(n, list(range(depth))) for n in range(count)]


def set_all(volumes, **values):
    """Give each volume its own value of attributes."""
    for keyword, each in values.items():
        for volume, value in zip(volumes, each, strict=True):
            for dataset in volume:
                setattr(dataset, keyword, value)


def private(dataset, group, creator, element, vr, value):
    dataset.private_block(group, creator, create=True).add_new(element, vr, value)


MARKS = {
    "AcquisitionNumber": (1, 2, 3),
    "TemporalPositionIdentifier": (1, 2, 3),
    "DiffusionBValue": (0.0, 500.0, 1000.0),
    "DiffusionGradientOrientation": ([1.0, 0, 0], [0.0, 1, 0], [0.0, 0, 1]),
    "InversionTime": (100, 400, 2500),
    "FlipAngle": (3, 10, 20),
    "TriggerTime": (0, 50, 100),
    "AcquisitionTime": ("120500", "121000", "121500.5"),
    "AcquisitionDateTime": ("20240101120500", "20240101121000", "20240102121000"),
    "RepetitionTime": (500, 1000, 2000),
    "EchoNumbers": (1, 2, 3),
    "EchoTime": (10, 20, 30),
    "SequenceName": ("*ep_b0", "*ep_b500#1", "*ep_b1000#1"),
    "ImageComments": ("rest", "left", "right"),
    "ScanOptions": ("PFP", "PFP\\FS", "MT"),
}


@pytest.mark.parametrize("lost", [(), [(0, 3)], [(0, 0)], [(1, 7), (2, 0), (2, 1), (0, 4)]])
@pytest.mark.parametrize("keyword", MARKS)
def test_a_mark_tells_volumes_apart_whatever_the_numbers_and_losses(tmp_path, keyword, lost):
    volumes = images(3)
    set_all(volumes, **{keyword: MARKS[keyword]})
    shuffled_numbers(volumes)
    found = opened(tmp_path, volumes, lost)
    left = {n: [p for p in range(DEPTH) if (n, p) not in lost] for n in range(3)}
    assert {number: places for number, places, _ in found.values()} == left
    for number, places, notes in found.values():
        missing = DEPTH - len(places)
        assert any(f"{missing} of 8 slices" in note for note in notes) == bool(missing), number


@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("DiffusionBValue", ("b 0 s/mm²", "b 500 s/mm²", "b 1000 s/mm²")),
        ("AcquisitionNumber", ("acquisition 1", "acquisition 2", "acquisition 3")),
        ("InversionTime", ("inversion time 100 ms", "inversion time 400 ms", "2500 ms")),
        ("FlipAngle", ("flip angle 3°", "flip angle 10°", "flip angle 20°")),
        ("TriggerTime", ("trigger time 0 ms", "trigger time 50 ms", "trigger time 100 ms")),
    ],
)
def test_labels_name_what_tells_volumes_apart(tmp_path, keyword, words):
    volumes = images(3)
    set_all(volumes, **{keyword: MARKS[keyword]})
    found = opened(tmp_path, volumes, [(0, 2)])
    assert [number for number, *_ in found.values()] == [0, 1, 2]
    for label, word in zip(found, words, strict=True):
        assert label.endswith(word)


@pytest.mark.parametrize(
    "tag",
    [
        (0x0019, "SIEMENS MR HEADER", 0x0C, "IS", (0, 800)),
        (0x2001, "Philips Imaging DD 001", 0x03, "FL", (0.0, 800.0)),
        (0x0043, "GEMS_PARM_01", 0x39, "IS", ([0, 8, 0, 0], [1000000800, 8, 0, 0])),
    ],
)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_b_values_where_vendors_put_them(tmp_path, tag, as_bytes):
    group, creator, element, vr, values = tag
    volumes = images(2)
    shuffled_numbers(volumes)
    for volume, value in zip(volumes, values, strict=True):
        for dataset in volume:
            if as_bytes:  # as it comes out of archives that do not know the vendor's dictionary
                raw = np.float32(value).tobytes() if vr == "FL" else b""
                text = "\\".join(map(str, value)) if isinstance(value, list) else str(value)
                private(dataset, group, creator, element, "UN", raw or text.encode())
            else:
                private(dataset, group, creator, element, vr, value)
    found = opened(tmp_path, volumes, [(1, 5)])
    assert [label.rsplit(", ", 1)[-1] for label in found] == ["b 0 s/mm²", "b 800 s/mm²"]


def test_an_ordinary_series_stays_one_whatever_differs_from_slice_to_slice(tmp_path):
    volumes = images(1, depth=12)
    for place, dataset in enumerate(volumes[0]):
        dataset.AcquisitionTime = f"1200{place * 7 % 60:02}.250000"
        dataset.ContentTime = f"1300{place * 11 % 60:02}"
        dataset.TriggerTime = 37 * place
        dataset.AcquisitionNumber = place + 1
        dataset.TemporalPositionIdentifier = place + 1
        dataset.ImageComments = f"slice {place}"
        dataset.WindowCenter = 100 + place
    found = opened(tmp_path, volumes, [(0, 4)])
    ((_, places, notes),) = found.values()
    assert places == [0, 1, 2, 3, *range(5, 12)]
    assert len(notes) == 1
    assert "a slice may be missing" in notes[0]


@pytest.mark.parametrize("lost", [(), [(0, 5)], [(0, 0)]])
def test_two_packages_of_slices_are_one_volume(tmp_path, lost):
    volumes = images(1)
    for place, dataset in enumerate(volumes[0]):
        dataset.AcquisitionNumber = 1 + place % 2
        dataset.AcquisitionTime = f"12000{1 + place % 2}"
    assert len(opened(tmp_path, volumes, lost)) == 1


@pytest.mark.parametrize("lost", [(), [(0, 3)], [(1, 6), (1, 2)]])
def test_repeats_of_two_packages_are_two_volumes(tmp_path, lost):
    volumes = images(2)
    shuffled_numbers(volumes)
    for number, volume in enumerate(volumes):
        for place, dataset in enumerate(volume):
            dataset.AcquisitionNumber = 1 + place % 2 + 2 * number
    assert sorted(v[0] for v in opened(tmp_path, volumes, lost).values()) == [0, 1]


@pytest.mark.parametrize("together", [False, True])
def test_two_marks_that_vary_together_or_each_for_itself(tmp_path, together):
    volumes = images(2 if together else 6)
    echoes, weights = ((10, 90), (0.0, 1000.0)) if together else ((10, 10, 10, 90, 90, 90),) * 2
    if not together:
        weights = (0.0, 500.0, 1000.0) * 2
    set_all(volumes, EchoTime=echoes, DiffusionBValue=weights)
    shuffled_numbers(volumes)
    assert whole(opened(tmp_path, volumes), len(volumes))


def test_inversion_times_by_flip_angles_by_time_points(tmp_path):
    marks = list(itertools.product((100, 900), (5, 15), (1, 2, 3)))
    volumes = images(len(marks), depth=4)
    for at, keyword in enumerate(("InversionTime", "FlipAngle", "TemporalPositionIdentifier")):
        set_all(volumes, **{keyword: [mark[at] for mark in marks]})
    shuffled_numbers(volumes)
    assert whole(opened(tmp_path, volumes), len(marks), depth=4)


@pytest.mark.parametrize(
    "lost", [(), [(0, 3)], [(0, 0)], [(1, 0)], [(0, 7)], [(1, 7)], [(0, 6), (0, 7), (1, 0)]]
)
@pytest.mark.parametrize("pause", [0, 300])
@pytest.mark.parametrize("numbered", [False, True])
def test_times_that_differ_for_every_slice(tmp_path, lost, pause, numbered):
    volumes = images(2)
    for number, volume in enumerate(volumes):
        for place, dataset in enumerate(volume):
            seconds = 2 * (place + DEPTH * number) + pause * number
            dataset.AcquisitionTime = f"12{seconds // 60:02}{seconds % 60:02}.5"
    if not numbered:
        shuffled_numbers(volumes)
    found = opened(tmp_path, volumes, lost)
    left = {n: [p for p in range(DEPTH) if (n, p) not in lost] for n in range(2)}
    assert {number: places for number, places, _ in found.values()} == left


def test_interleaved_times_back_to_back_leave_out_what_may_be_either(tmp_path):
    volumes, order = images(2), [0, 2, 4, 6, 1, 3, 5, 7]
    for number, volume in enumerate(volumes):
        for place, dataset in enumerate(volume):
            dataset.AcquisitionTime = f"1200{order.index(place) + DEPTH * number:02}"
    shuffled_numbers(volumes)
    found = opened(tmp_path, volumes, [(0, 0)])  # the first one taken
    assert {n: p for n, p, _ in found.values()} == {
        number: list(range(1, 8)) for number in range(2)
    }
    for _, _, notes in found.values():
        assert any("1 image left out" in note for note in notes)


def test_a_gap_that_lost_images_leave_is_no_pause(tmp_path):
    volumes, order = images(2), [0, 2, 4, 6, 1, 3, 5, 7]
    for number, volume in enumerate(volumes):
        for place, dataset in enumerate(volume):
            dataset.AcquisitionTime = f"1200{order.index(place) + DEPTH * number:02}"
    shuffled_numbers(volumes)
    found = opened(tmp_path, volumes, [(0, 0), (1, 2), (1, 4), (1, 6)])  # 0 lies before the gap
    for number, places, _ in found.values():
        assert 0 not in places or number == 1


@pytest.mark.parametrize("lost", [(), [(0, 3)], [(0, 0)], [(1, 0)], [(1, 7)]])
@pytest.mark.parametrize("by_place", [False, True])
def test_numbers_tell_where_they_follow_a_rule(tmp_path, lost, by_place):
    volumes = images(2)
    if by_place:
        for number, volume in enumerate(volumes):
            for place, dataset in enumerate(volume):
                dataset.InstanceNumber = 1 + place * 2 + number
    found = opened(tmp_path, volumes, lost)
    for number, places, notes in found.values():
        left = [p for p in range(DEPTH) if (number, p) not in lost]
        assert set(left) - set(places) <= {p for _, p in lost}
        assert len(places) == DEPTH or notes
    assert len(found) == 2


@pytest.mark.parametrize("lost", [(), [(0, 3)]])
def test_where_nothing_tells_one_sentence_says_so(tmp_path, lost):
    volumes = images(2)
    shuffled_numbers(volumes)
    with pytest.raises(ReadError, match=r"images lie at 8 places, and nothing in their headers"):
        opened(tmp_path, volumes, lost)
    good = axial_series(np.stack([picture(0, place) for place in range(4)]))
    paths = [saved(tmp_path, each, f"good{at}") for at, each in enumerate(good)]
    selection = open_files([*tmp_path.glob("IM*"), *paths])
    assert len(selection.choices) == 1
    assert any("nothing in their headers" in note for note in selection.notes)


def test_a_slice_that_lost_its_mark_stays_where_only_it_can_belong(tmp_path):
    volumes = images(2)
    set_all(volumes, AcquisitionNumber=(1, 2))
    shuffled_numbers(volumes)
    del volumes[0][3].AcquisitionNumber
    assert whole(opened(tmp_path, volumes), 2)


def test_images_without_a_b_value_are_a_volume_of_their_own(tmp_path):
    volumes = images(3)
    set_all(volumes[1:], DiffusionBValue=(500.0, 1000.0))
    shuffled_numbers(volumes)
    found = opened(tmp_path, volumes, [(0, 1), (1, 2), (2, 3)])
    assert sorted(n for n, *_ in found.values()) == [0, 1, 2]
    assert next(iter(found)).endswith("no b-value given")


def test_b_values_are_never_one_volume_even_at_different_places(tmp_path):
    volumes = images(2)
    set_all(volumes, DiffusionBValue=(0.0, 1000.0))
    lost = [(0, p) for p in range(4)] + [(1, p) for p in range(4, 8)]
    found = opened(tmp_path, volumes, lost)
    assert sorted((n, p) for n, p, _ in found.values()) == [(0, [4, 5, 6, 7]), (1, [0, 1, 2, 3])]


def test_values_that_are_rounded_differently_are_one(tmp_path):
    volumes = images(2)
    set_all(volumes, InversionTime=(100, 900))
    volumes[0][2].InversionTime = "100.00004"
    volumes[1][3].InversionTime = "899.9996"
    shuffled_numbers(volumes)
    assert whole(opened(tmp_path, volumes), 2)


def test_a_heart_that_beats_unevenly(tmp_path):
    volumes = images(4)
    rng = random.Random(2)
    for number, volume in enumerate(volumes):
        for dataset in volume:
            dataset.TriggerTime = f"{60 * number + rng.uniform(-9, 9):.1f}"
    shuffled_numbers(volumes)
    lost = [(2, 3), (0, 7)]
    found = opened(tmp_path, volumes, lost)
    assert sum(len(places) for _, places, _ in found.values()) == 4 * DEPTH - 2
    assert len(found) == 4


def test_one_place_and_many_b_values(tmp_path):
    volumes = images(3, depth=1)
    set_all(volumes, DiffusionBValue=(0.0, 500.0, 1000.0))
    found = opened(tmp_path, volumes)
    assert [(n, p) for n, p, _ in found.values()] == [(0, [0]), (1, [0]), (2, [0])]


def test_what_was_sent_twice_is_read_once_and_acquisitions_are_kept(tmp_path):
    volumes = images(2)
    set_all(volumes, AcquisitionNumber=(1, 2))
    paths = [saved(tmp_path, d, f"a{i}") for i, d in enumerate(itertools.chain(*volumes))]
    again = []
    for number, dataset in enumerate(itertools.chain(*volumes)):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        again.append(saved(tmp_path, dataset, f"b{number}"))
    del paths[3]
    selection = open_files([*paths, *again])
    assert len(selection.choices) == 2
    assert any(note.startswith("15 files left out (repeats") for note in selection.notes)
    assert whole(choices([*paths, *again]), 2)


def test_acquisitions_whose_images_share_identifiers_and_numbers(tmp_path):
    volumes = images(2)
    set_all(volumes, AcquisitionNumber=(1, 2))
    for one, two in zip(*volumes, strict=True):
        two.InstanceNumber = one.InstanceNumber
        two.SOPInstanceUID = two.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    assert whole(opened(tmp_path, volumes), 2)


def test_a_short_file_of_one_acquisition_is_a_gap(tmp_path):
    volumes = images(2)
    set_all(volumes, AcquisitionNumber=(1, 2))
    paths = [saved(tmp_path, d, f"IM{i}") for i, d in enumerate(itertools.chain(*volumes))]
    paths[3].write_bytes(paths[3].read_bytes()[:-400])
    found = choices(paths)
    assert [(n, len(places)) for n, places, _ in found.values()] == [(0, 7), (1, 8)]
    assert "IM3" in next(iter(found.values()))[2][0]
    assert next(iter(found)).startswith("t1 axial, 7 slices")


@pytest.mark.parametrize("offset", [0.03, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("told_by", ["mark", "numbers"])
def test_acquisitions_between_which_the_patient_moved(tmp_path, offset, told_by):
    volumes = images(2)
    for dataset in volumes[1]:
        dataset.ImagePositionPatient = [-20, -30, dataset.ImagePositionPatient[2] + offset]
    if told_by == "mark":
        set_all(volumes, AcquisitionNumber=(1, 2))
        shuffled_numbers(volumes)
    assert whole(opened(tmp_path, volumes), 2)


def test_interleaved_acquisitions_that_fill_each_other_are_one_volume(tmp_path):
    volumes = images(1, depth=16, step=1.5)
    for place, dataset in enumerate(volumes[0]):
        dataset.AcquisitionNumber = 1 + place % 2
        dataset.InstanceNumber = 1 + place // 2 + 8 * (place % 2)
    assert whole(opened(tmp_path, volumes), 1, depth=16)


def test_slices_of_two_acquisitions_never_fill_each_other_s_gaps(tmp_path):
    volumes = images(2)
    set_all(volumes, AcquisitionNumber=(1, 2))
    lost = [(0, p) for p in (0, 3, 4, 6)] + [(1, p) for p in (1, 2, 5, 7)]
    found = opened(tmp_path, volumes, lost)
    assert sorted((n, p) for n, p, _ in found.values()) == [(0, [1, 2, 5, 7]), (1, [0, 3, 4, 6])]


@pytest.mark.parametrize(
    ("keyword", "values"),
    [("AcquisitionDate", ("20240101", "20240102")), ("ContentTime", ("120000", "121000"))],
)
def test_dates_and_times_of_creation_tell_volumes_apart(tmp_path, keyword, values):
    volumes = images(2)
    set_all(volumes, **{keyword: values})
    shuffled_numbers(volumes)
    assert whole(opened(tmp_path, volumes), 2)


def test_a_vendor_s_b_value_whose_creator_was_removed(tmp_path):
    volumes = images(2)
    shuffled_numbers(volumes)
    for number, volume in enumerate(volumes):
        for dataset in volume:
            dataset.add_new(0x0019100C, "IS", 1000 * number)
    assert whole(opened(tmp_path, volumes), 2)


def test_images_without_positions_are_told_apart_by_slice_location(tmp_path):
    volumes = images(2)
    set_all(volumes, AcquisitionNumber=(1, 2))
    for volume in volumes:
        for place, dataset in enumerate(volume):
            del dataset.ImagePositionPatient
            dataset.SliceLocation = 3.0 * place
    shuffled_numbers(volumes)
    assert whole(opened(tmp_path, volumes), 2)


# Enhanced objects


def group(macro: str, **values) -> dict[str, Dataset]:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return {macro: item}


def direction(vector) -> dict[str, Dataset]:
    inner = Dataset()
    inner.DiffusionGradientOrientation = list(vector)
    return group("MRDiffusionSequence", DiffusionGradientDirectionSequence=[inner])


GROUPS = {
    "time point": lambda n: group("FrameContentSequence", TemporalPositionIndex=n + 1),
    "acquisition": lambda n: group("FrameContentSequence", FrameAcquisitionNumber=n + 1),
    "b-value": lambda n: group("MRDiffusionSequence", DiffusionBValue=500.0 * n),
    "direction": lambda n: direction(np.eye(3)[n]),
    "inversion": lambda n: group("MRModifierSequence", InversionTimes=[100.0 + 300 * n]),
    "flip": lambda n: group("MRTimingAndRelatedParametersSequence", FlipAngle=5.0 + 5 * n),
    "echo": lambda n: group("MREchoSequence", EffectiveEchoTime=10.0 + 5 * n),
    "trigger": lambda n: group(
        "CardiacSynchronizationSequence", NominalCardiacTriggerDelayTime=50.0 * n
    ),
    "moment": lambda n: group(
        "FrameContentSequence", FrameAcquisitionDateTime=f"2024010112{n:02}00.5"
    ),
    "label": lambda n: group(
        "MRArterialSpinLabelingSequence", ASLContext=("LABEL", "CONTROL", "M_ZERO_SCAN")[n]
    ),
    "coil": lambda n: group("MRReceiveCoilSequence", ReceiveCoilName=f"coil {n}"),
    "comment": lambda n: group("FrameContentSequence", FrameComments=f"kind {n}"),
}


def enhanced_of(frames: list[tuple[int, int, dict]], **attributes) -> Dataset:
    """An enhanced object of (volume, place, functional groups)."""
    stack = np.stack([picture(volume, place) for volume, place, _ in frames])
    dataset = enhanced(
        stack, [(-20, -30, 40 + 3 * place) for _, place, _ in frames], kinds="M" * 99
    )
    for item, (_, _, groups) in zip(dataset.PerFrameFunctionalGroupsSequence, frames, strict=True):
        for macro, values in groups.items():
            setattr(item, macro, [values])
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize("lost", [(), [(0, 3)], [(1, 0), (2, 7), (2, 6)]])
@pytest.mark.parametrize("name", GROUPS)
def test_functional_groups_tell_frames_apart_in_any_order(tmp_path, name, lost):
    frames = [(n, p, GROUPS[name](n)) for n in range(3) for p in range(DEPTH) if (n, p) not in lost]
    random.Random(3).shuffle(frames)
    found = choices([saved(tmp_path, enhanced_of(frames))])
    left = {n: [p for p in range(DEPTH) if (n, p) not in lost] for n in range(3)}
    assert {number: places for number, places, _ in found.values()} == left


@pytest.mark.parametrize("lost", [(), [(0, 3)]])
def test_dimension_indices_tell_frames_apart_where_nothing_else_does(tmp_path, lost):
    frames = [
        (n, p, group("FrameContentSequence", DimensionIndexValues=[1, p + 1, n + 1]))
        for n in range(3)
        for p in range(DEPTH)
        if (n, p) not in lost
    ]
    random.Random(3).shuffle(frames)
    found = choices([saved(tmp_path, enhanced_of(frames))])
    assert sorted(n for n, *_ in found.values()) == [0, 1, 2]


@pytest.mark.parametrize("by_place", [False, True])
def test_the_order_of_frames_tells_where_it_follows_a_rule(tmp_path, by_place):
    frames = [(n, p, {}) for n in range(3) for p in range(DEPTH)]
    frames.sort(key=lambda frame: frame[1] if by_place else frame[0])
    path = saved(tmp_path, enhanced_of(frames))
    assert whole(choices([path]), 3)
    random.Random(3).shuffle(frames)
    path = saved(tmp_path, enhanced_of(frames))
    with pytest.raises(ReadError, match="nothing in their headers"):
        open_files([path])
    with pytest.raises(ReadError, match=r"slice\.dcm: 24 images lie at 8 places"):
        read_volume(path)


def test_a_converted_object_keeps_marks_that_have_no_group(tmp_path):
    frames = [
        (n, p, group("UnassignedPerFrameConvertedAttributesSequence", AcquisitionNumber=n + 1))
        for n in range(2)
        for p in range(DEPTH)
    ]
    random.Random(3).shuffle(frames)
    assert whole(choices([saved(tmp_path, enhanced_of(frames))]), 2)


# Magnitude, phase, real and imaginary parts


COMPONENTS = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")
NAMES = ("magnitude", "phase", "real part", "imaginary part")


@pytest.mark.parametrize("order", ["phase first", "changing"])
@pytest.mark.parametrize("lost", [(), [(0, 4)]])
def test_complex_components_are_volumes_of_their_own(tmp_path, order, lost):
    frames = []
    for place in range(DEPTH):
        for number in range(4):
            kind = group(
                "MRImageFrameTypeSequence",
                FrameType=["ORIGINAL", "PRIMARY", "OTHER", "NONE"],
                ComplexImageComponent=COMPONENTS[number],
            )
            if (number, place) not in lost:
                frames.append((number, place, kind))
    if order == "phase first":
        frames.sort(key=lambda frame: (frame[0] != 1, frame[0]))
    else:
        random.Random(7).shuffle(frames)
    path = saved(tmp_path, enhanced_of(frames, ComplexImageComponent="MIXED"))
    selection = open_files([path])
    found = choices([path])
    assert selection.choices[selection.best].endswith(", magnitude")
    for label, (number, _, notes) in found.items():
        assert label.endswith(f", {NAMES[number]}")
        told = f"This is the {NAMES[number]} of the signal; the models learned magnitude images"
        assert any(note.startswith(told) for note in notes) == (number > 0)
    assert set(np.unique(read_volume(path).pixels[:, 0])) == {1000}


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
    volumes = images(2)
    for volume, kind in zip(volumes, types, strict=True):
        for dataset in volume:
            if isinstance(kind, list):
                dataset.ImageType = kind
            elif isinstance(kind, str):
                dataset.ComplexImageComponent = kind
            else:
                private(dataset, 0x0043, "GEMS_PARM_01", 0x2F, "SS", kind)
    shuffled_numbers(volumes)
    del volumes[0][2]  # the magnitude has fewer slices, and is opened first all the same
    found = opened(tmp_path, volumes[::-1])
    selection = open_files(list(tmp_path.iterdir()))
    assert "magnitude" in selection.choices[selection.best]
    assert sorted(n for n, *_ in found.values()) == [0, 1]
    other = selection.choices[1 - selection.best]
    assert any(name in other for name in NAMES[1:])


def test_echoes_by_components_each_say_what_is_missing(tmp_path):
    volumes = images(4)
    for number, volume in enumerate(volumes):
        for dataset in volume:
            dataset.EchoTime = (10, 10, 20, 20)[number]
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "MP"[number % 2], "FFE"]
    shuffled_numbers(volumes)
    found = opened(tmp_path, volumes, [(0, 0), (2, 3)])
    notes = {number: " ".join(notes) for number, _, notes in found.values()}
    assert sorted(n for n, text in notes.items() if "1 of 8 slices is missing" in text) == [0, 2]
    assert sum("magnitude, echo time" in label for label in found) == 2


def test_an_object_without_magnitude_is_refused_in_words_or_a_choice(tmp_path):
    frames = [
        (n, p, group("MRImageFrameTypeSequence", ComplexImageComponent=COMPONENTS[2 + n]))
        for p in range(DEPTH)
        for n in range(2)
    ]
    path = saved(tmp_path, enhanced_of(frames))
    assert whole(choices([path]), 2)
    with pytest.raises(ReadError, match=r"the file holds 2 images .*real part.*choose one"):
        read_volume(path)


# Side by side, and slabs


@pytest.mark.parametrize("cosines", [(1, 0, 0, 0, 1, 0), CORONAL, SAGITTAL])
@pytest.mark.parametrize("shift", [0.0, 1.5])
@pytest.mark.parametrize("lost", [(), [(0, 3)], [(1, p) for p in range(1, 8)]])
def test_stacks_side_by_side_are_two(tmp_path, cosines, shift, lost):
    across, normal = np.array(cosines[:3]), np.cross(cosines[:3], cosines[3:])
    volumes, series = [], generate_uid()
    for number in range(2):
        volumes.append([])
        for place in range(DEPTH):
            position = normal * (3 * place + shift * number) + across * 40 * number
            dataset = mr_image(picture(number, place), cosines, position)
            dataset.SeriesInstanceUID = series
            dataset.InstanceNumber = 1 + place + DEPTH * number
            volumes[-1].append(dataset)
    flat = [
        saved(tmp_path, dataset, f"IM{number}{place}")
        for number, each in enumerate(volumes)
        for place, dataset in enumerate(each)
        if (number, place) not in lost
    ]
    selection = open_files(flat)
    assert len(selection.choices) == 2
    for index, label in enumerate(selection.choices):
        volume = selection.read(index)
        assert "stack " in label
        if volume.affine is not None and len(volume.pixels) == DEPTH:
            assert volume.spacing == pytest.approx((3.0, 0.5, 0.75))
        numbers = {int(plane.max()) // 1000 - 1 for plane in volume.pixels}
        assert len(numbers) == 1
        at = np.array([-1, -1, 1]) * across * 40 * numbers.pop()
        inside = volume.stored_affine
        if inside is not None:
            normal_ras = np.array([-1, -1, 1]) * normal
            np.testing.assert_allclose(np.cross(inside[:3, 3] - at, normal_ras), 0, atol=1e-6)


def test_a_stack_that_shifts_evenly_is_one(tmp_path):
    volumes = images(1)
    for place, dataset in enumerate(volumes[0]):  # a tilted gantry
        dataset.ImagePositionPatient = [-20, -30 + 9 * place, 40 + 3 * place]
    assert whole(opened(tmp_path, volumes), 1)


@pytest.mark.parametrize("thickness", [150, 30, 0.2, 0, None])
def test_positions_win_over_thickness(tmp_path, thickness):
    volumes = images(1, depth=24, step=1.0)
    for dataset in volumes[0]:
        dataset.SliceThickness = thickness
        dataset.SpacingBetweenSlices = 75
    found = opened(tmp_path, volumes)
    assert whole(found, 1, depth=24)
    selection = open_files(list(tmp_path.iterdir()))
    assert selection.read(0).spacing == pytest.approx((1.0, 0.5, 0.75))


def test_a_slab_in_an_enhanced_object(tmp_path):
    dataset = enhanced_of([(0, place, {}) for place in range(24)])
    for place, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        item.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 1.0 * place]
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness = 150
    volume = read_volume(saved(tmp_path, dataset))
    assert volume.spacing == (1.0, 0.5, 0.75)
    assert volume.affine is not None


def test_two_acquisitions_of_each_of_two_stacks(tmp_path):
    volumes = images(4)
    for number, volume in enumerate(volumes):
        for dataset in volume:
            dataset.AcquisitionNumber = 1 + number % 2
            height = dataset.ImagePositionPatient[2] + 1.5 * (number // 2)
            dataset.ImagePositionPatient = [-20 + 60 * (number // 2), -30, height]
    shuffled_numbers(volumes)
    found = opened(tmp_path, volumes, [(0, 0), (3, 4)])
    assert [number for number, *_ in found.values()] == [0, 1, 2, 3]
    assert next(iter(found)).endswith("stack 1 of 2 from right to left, acquisition 1")


def test_stacks_side_by_side_in_one_object(tmp_path):
    stack = np.stack([picture(number, place) for number in range(2) for place in range(DEPTH)])
    places = [(-20 + 40 * n, -30, 3 * p + 1.5 * n) for n in range(2) for p in range(DEPTH)]
    path = saved(tmp_path, enhanced(stack, places))
    assert whole(choices([path]), 2)
    with pytest.raises(ReadError, match=r"stack 1 of 2 from right to left"):
        read_volume(path)
