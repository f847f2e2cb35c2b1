"""What was dropped together: which volumes it holds, which is opened first, what is left out."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import axial_series, mr_image, saved, written
from intact_files import ENCODERS, compressed, dicom_bytes, intact_files, picture
from PIL import Image
from pydicom.uid import generate_uid

from cyclegan.batch.jobs import find_jobs
from cyclegan.reading.choice import value_statistics
from cyclegan.reading.formats import FORMATS, SUPPORTED
from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import NoMRImage, ReadError
from cyclegan.simulation.phantom import draw_volume

FILES = intact_files()
AFFINE = np.diag([-1.0, -1, 2, 1])
SEG, SC, US = ("1.2.840.10008.5.1.4.1.1." + end for end in ("66.4", "7", "6.1"))
SR, PR, RTSTRUCT = ("1.2.840.10008.5.1.4.1.1." + end for end in ("88.11", "11.1", "481.3"))
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 4096, (6, 40, 48), dtype=np.uint16)
DISC = (np.hypot(*np.mgrid[-20:20, -24:24]) < 18) * np.ones((6, 1, 1))
HEAD = (DISC * RNG.integers(300, 900, DISC.shape)).astype(np.int16)
LABELS = (draw_volume(1, slices=6, size=96) % 251).astype(np.int16)


def series(folder, name, slices=4, **attributes):
    datasets = axial_series(NOISE[:slices], **attributes)
    for dataset in datasets:
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    return [saved(folder, d, f"{name}{number}.dcm") for number, d in enumerate(datasets)]


def nifti(folder, name, values, intent=None):
    image = nib.Nifti1Image(np.asarray(values).transpose(2, 1, 0), np.diag([-2, -2, 3, 1]))
    if intent:
        image.header.set_intent(intent, allow_unknown=True)
    nib.save(image, folder / name)
    return folder / name


def zipped(folder: Path, members: dict[str, bytes], name: str = "study.zip") -> Path:
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return folder / name


def png(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def first_label(paths):
    selection = open_files(paths)
    return selection.choices[selection.best]


# Every format by its content


@pytest.mark.parametrize("family", FILES)
def test_intact_files_are_read_whatever_their_name(tmp_path, family):
    path = tmp_path / "misleading.txt"
    path.write_bytes(FILES[family])
    volume = read_volume(path)
    assert volume.pixels.dtype == np.float32
    assert volume.pixels.shape[0] in (1, 2)
    assert volume.name == "misleading.txt"
    assert [p.name for p in tmp_path.iterdir()] == ["misleading.txt"]


@pytest.mark.parametrize("syntax", ENCODERS)
def test_every_compressed_syntax_is_read_exactly(tmp_path, syntax):
    path = tmp_path / "slice.dcm"
    for values in (np.stack([picture(), picture() // 2]), picture()[None].astype(np.int16) - 2000):
        path.write_bytes(compressed(dicom_bytes(mr_image(values)), syntax))
        np.testing.assert_array_equal(read_volume(path).pixels, values)


def test_a_format_has_one_entry_that_messages_sniffing_and_results_follow(tmp_path):
    (tmp_path / "in").mkdir()
    for number, file_format in enumerate(FORMATS):
        assert file_format.name in SUPPORTED
        for ending in file_format.endings:
            (tmp_path / "in" / f"{number}{ending.replace('.', '_')}{ending}").write_bytes(b"x")
    jobs = find_jobs(sorted((tmp_path / "in").iterdir()), tmp_path / "out")
    assert not [job.base.name for job in jobs if "." in job.base.name]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"Dear colleague, please find attached", "not an image that can be read"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "not an image that can be read"),
        (b"PK\x03\x04" + bytes(200), "zip file is damaged"),
        (gzip.compress(b"a text file" * 100, mtime=0), "gzip file holds no NIfTI"),
        (b"\x1f\x8b" + b"\xff" * 100, "gzip file holds no NIfTI"),
        (b"\x80\x04\x95" + bytes(100), "not an image that can be read"),  # a pickle
        (b"GIF89a" + bytes(100), "GIF file is damaged"),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(100), "WebP file is damaged"),
        (b"BZh91AY&SY" + bytes(100), "a bzip2 file, .*: unpack it first"),
        (bytes(257) + b"ustar\x0000" + bytes(100), "a tar archive, .*: unpack it first"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "MINC file, .*: convert it to NIfTI"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "a HEIC picture, .*: save it as PNG"),
        (bytes(128) + b"DICM" + bytes(64), "no image"),
        (bytes(4096), "not an image that can be read"),
    ],
)
def test_other_content_is_refused_in_words(tmp_path, content, reason):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(content)
    for read in (read_volume, lambda path: open_files([path])):
        with pytest.raises(ReadError, match=rf"^scan\.nii\.gz: .*{reason}") as caught:
            read(path)
        assert str(tmp_path) not in str(caught.value)


def test_missing_file_folder_oversized_file_and_half_of_a_pair(tmp_path, monkeypatch):
    (tmp_path / "a.img.gz").write_bytes(gzip.compress(bytes(999)))
    (tmp_path / "large.png").write_bytes(FILES["png"])
    for read in (read_volume, lambda path: open_files([path])):
        for path, words in (
            (tmp_path / "absent.png", r"^absent\.png: there is no such file"),
            (tmp_path, "this is a folder"),
            (tmp_path / "a.img.gz", "half of an Analyze or NIfTI"),
        ):
            with pytest.raises(ReadError, match=words):
                read(path)
        with monkeypatch.context() as patch:
            patch.setattr("cyclegan.reading.formats.MAX_FILE_BYTES", 100)
            with pytest.raises(ReadError, match=r"^large\.png: "):
                read(tmp_path / "large.png")


# Archives and pairs


def test_an_archive_with_folders_and_clutter(tmp_path, stack):
    members = {"DICOMDIR": b"\0" * 128 + b"DICM" + bytes(100), "study/README.txt": b"hello"}
    members |= {"study/.DS_Store": b"x", "__MACOSX/study/._IM0": b"x", "empty": b""}
    members["of\\Windows\\DICOMDIR"] = members["DICOMDIR"]
    members["viewer/logo.gif"] = FILES["gif"]
    for number, dataset in enumerate(axial_series(stack)):
        members[f"study/../../{number % 2}/IM{9 - number}"] = dicom_bytes(dataset)
    path = zipped(tmp_path, members)
    selection = open_files([path])
    assert selection.choices == ("MR axial, 5 slices, 48 x 40",)
    assert len(selection.notes) == 3
    assert "1 file left out (a picture on a patient's disc): logo.gif." in selection.notes
    assert any("README.txt" in note and "no image" in note for note in selection.notes)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.pixels, stack)
    assert volume.name == "study.zip"
    assert [file.name for file in tmp_path.iterdir()] == ["study.zip"]


def test_one_of_several_volumes_of_an_archive_by_label_or_index(tmp_path, stack):
    volume = gzip.compress(nib.Nifti1Image(stack.T, AFFINE).to_bytes())
    path = zipped(tmp_path, {"a/t1.png": png(stack[0]), "b/t2.nii.gz": volume})
    selection = open_files([path])
    assert selection.choices == ("t1.png, 1 slice, 48 x 40", "t2.nii.gz, 5 slices, 48 x 40")
    assert selection.best == 1
    for choice in (0, selection.choices[0]):
        np.testing.assert_array_equal(read_volume(path, choice=choice).pixels[0], stack[0])
    np.testing.assert_array_equal(selection.read(1).pixels, stack)
    with pytest.raises(ReadError, match=r"^study\.zip: the archive holds 2 images or series"):
        read_volume(path)
    for wrong in (2, -1, "echo 3"):
        with pytest.raises(ReadError, match="there is no choice"):
            read_volume(path, choice=wrong)


def test_archives_without_images_and_inside_another_are_refused(tmp_path):
    path = zipped(tmp_path, {"notes.txt": b"no image", "more/readme": b"nor here"})
    with pytest.raises(ReadError, match=r"^study\.zip: nothing in it can be read as an MR image"):
        read_volume(path)
    outer = zipped(tmp_path, {"inner.zip": FILES["zip"]}, "outer.zip")
    with pytest.raises(ReadError, match=r"an archive inside another: unpack it first\): inner.zip"):
        open_files([outer])


def test_what_is_unpacked_or_comes_together_is_bounded(tmp_path, stack, monkeypatch):
    paths = written(tmp_path, axial_series(stack))
    noise = random.Random(0).randbytes(2**16)
    many = zipped(tmp_path, {f"{n}": noise for n in range(8)}, "many.zip")
    for limit, value, files, words in (
        ("MAX_FILE_BYTES", 2**18, [many], r"many\.zip: together the files have more than"),
        ("MAX_FILE_BYTES", 3 * paths[0].stat().st_size, paths, "together the files have more"),
        ("MAX_ENTRIES", 7, [many], r"many\.zip: the archive holds 8 files"),
        ("MAX_DIRECTORY_BYTES", 100, [many], r"many\.zip: the archive lists too many files"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"cyclegan.reading.archive.{limit}", value)
            with pytest.raises(ReadError, match=words):
                open_files(files)


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.AnalyzeImage])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_both_halves_of_a_pair(tmp_path, stack, kind, end):
    image = kind(stack.T.astype(np.int16), AFFINE if kind is nib.Nifti1Pair else None)
    nib.save(image, tmp_path / f"scan.img{end}")
    header, voxels = tmp_path / f"scan.hdr{end}", tmp_path / f"scan.img{end}"
    members = {f"deep/{half.name}": half.read_bytes() for half in (header, voxels)}
    volumes = [
        open_files([voxels, header]).read(0),
        *map(read_volume, (header, voxels, zipped(tmp_path, members))),
    ]
    # Analyze says nothing of directions; by its convention j runs to anterior, so rows turn over.
    expected = stack if kind is nib.Nifti1Pair else stack[:, ::-1]
    for volume in volumes:
        np.testing.assert_array_equal(volume.pixels, expected)
        assert volume.directions == (("R", "L", "A", "P") if kind is nib.Nifti1Pair else None)
    assert open_files([voxels, header]).notes == ()
    voxels.unlink()
    with pytest.raises(ReadError, match=r"half of an Analyze or NIfTI \.hdr/\.img pair"):
        read_volume(header)


# What is opened first


@pytest.mark.parametrize(
    "other",
    [
        *({"Modality": modality} for modality in ("CT", "PT", "NM", "RTDOSE")),
        {"Modality": "SEG", "SOPClassUID": SEG},
        {"Modality": "MR", "SOPClassUID": SEG},  # of a program that copies the source's
        {"Modality": "US", "SOPClassUID": US},
        {"Modality": "", "SOPClassUID": US},
        {"Modality": "OT", "SOPClassUID": SC},
        {"Modality": "MR", "SOPClassUID": SC},
        *({"SeriesDescription": name} for name in ("T2 FLAIR", "ADC map", "T1 localizer", "T1 +C")),
        {"SeriesDescription": "t1 phase", "ImageType": ["ORIGINAL", "M", "P"]},
    ],
)
def test_the_t1_of_few_slices_is_opened_before(tmp_path, other):
    paths = series(tmp_path, "a", 6, **other)
    paths += series(tmp_path, "b", 3, SeriesDescription="t1_se_tra")
    for order in (paths, paths[::-1]):
        assert first_label(order).startswith("t1_se_tra axial, 3 slices")
    if "SeriesDescription" in other:  # what is known to be another comes behind the unknown, too
        unknown = series(tmp_path, "c", 3, SeriesDescription="head")
        assert first_label([*paths[:6], *unknown]).startswith("head")
        times = {"EchoTime": 95, "RepetitionTime": 5000}
        t2 = series(tmp_path, "d", 2, SeriesDescription="tse", **times)
        assert first_label([*unknown, *t2]).startswith("tse")
    selection = open_files(paths)
    is_foreign = any("modality is" in n for index in (0, 1) for n in selection.read(index).notes)
    modality, storage = other.get("Modality", "MR"), other.get("SOPClassUID")
    assert is_foreign == (modality not in ("MR", "OT", "") or storage in (SEG, US))


@pytest.mark.parametrize(
    ("name", "labels", "intent"),
    [
        ("brainmask.nii.gz", (HEAD > 0).astype(np.uint8), None),
        ("aparc+aseg.nii.gz", np.repeat(LABELS[:, :40, :48] * 37, 3, 0), None),
        ("a.nii.gz", np.kron(LABELS, np.ones((1, 2, 2))).astype(np.float32), None),
        ("a.nii", LABELS, None),
        ("T1_label.nii", LABELS, 1002),
        ("a_T1.nii", HEAD / 9.7, 5),  # z scores
        ("lesion.nii", ((HEAD > 800) * 255).astype(np.int16), None),
    ],
)
def test_images_come_before_label_maps_and_statistics(tmp_path, name, labels, intent):
    paths = [nifti(tmp_path, name, labels, intent), nifti(tmp_path, "z.nii.gz", HEAD)]
    selection = open_files(paths)
    assert selection.choices[selection.best].startswith("z.nii.gz")
    np.testing.assert_array_equal(selection.read(selection.best).pixels, HEAD)
    assert selection.not_mr(selection.best) == ""


def test_a_mask_by_name_that_is_an_image_stays_one(tmp_path):
    path = nifti(tmp_path, "brainmask.nii.gz", HEAD)  # FreeSurfer calls a stripped T1 so
    assert open_files([path]).not_mr(0) == ""
    other = nifti(tmp_path, "FLAIR.nii.gz", HEAD[:4] // 2)
    assert first_label([path, other]).startswith("FLAIR")


def test_folders_and_pictures_of_masks_are_known(tmp_path):
    members = {
        f"{folder}/v.nii": nifti(tmp_path, "v.nii", values.astype(np.int16)).read_bytes()
        for folder, values in (("FLAIR", HEAD), ("T2", HEAD[:4] // 2), ("masks", HEAD > 0))
    }
    assert first_label([zipped(tmp_path, members)]) == "v.nii, 4 slices, 48 x 40"
    for name, pixels in (("a.png", (HEAD[2] > 0) * 255), ("b.png", HEAD[2] % 251)):
        (tmp_path / name).write_bytes(png(pixels.astype(np.uint8)))
    assert first_label([tmp_path / "a.png", tmp_path / "b.png"]).startswith("b.png")


@pytest.mark.parametrize("levels", [256, 64, 32, 16])
def test_a_real_image_of_few_grey_values_is_no_label_map(levels):
    shading = np.linspace(0.5, 1, 96)
    image = (LABELS > 0) * (LABELS % 7 + 3) * shading + RNG.normal(0, 0.3, LABELS.shape)
    grey = np.round((levels - 1) * np.clip(image / 10, 0, 1))
    assert not value_statistics(grey).are_labels


def test_label_maps_are_recognised_by_their_values():
    whole = draw_volume(1, slices=6, size=160) % 251
    for labels in (whole, whole.astype(np.float32), whole * 37, whole % 3):
        values = value_statistics(labels)
        assert values.count == len(np.unique(labels))
        assert values.are_labels
    coarse = value_statistics(LABELS)
    assert (coarse.are_labels, coarse.may_be_labels) == (False, True)
    ids = RNG.permutation(14_000)[:144].reshape(1, 12, 12)  # as an atlas numbers its regions
    for labels in (HEAD > 0, np.kron(ids, np.ones((8, 8)))):
        assert value_statistics(labels).are_labels
    for image in (LABELS + 0.5, NOISE, np.full((2, 40, 40), np.nan), np.ones((2, 40, 40))):
        assert value_statistics(image) == (0, 0, 0, False)


# What is left out


@pytest.mark.parametrize("storage", [SR, PR, RTSTRUCT])
def test_objects_without_an_image_are_named(tmp_path, storage):
    report = mr_image(NOISE[0], SOPClassUID=storage)
    report.file_meta.MediaStorageSOPClassUID = storage
    for keyword in ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation", "PixelData"):
        delattr(report, keyword)
    path = saved(tmp_path, report, "report.dcm")
    words = r"^report\.dcm: this DICOM file \(.+ Storage\) holds no im"
    with pytest.raises(NoMRImage, match=words):
        open_files([path])
    selection = open_files([path, *series(tmp_path, "a")])
    assert len(selection.choices) == len(selection.foreign) == 1
    assert selection.failures == ()


def test_foreign_damaged_and_other_files_among_good_ones_are_notes(tmp_path):
    colours = RNG.integers(0, 255, (40, 48, 3), dtype=np.uint8).tobytes()
    screen = mr_image(NOISE[0].astype(np.uint8), PixelData=colours, SamplesPerPixel=3)
    screen.PhotometricInterpretation, screen.PlanarConfiguration = "RGB", 0
    screen.SOPInstanceUID = generate_uid()
    palette = mr_image(NOISE[0], PhotometricInterpretation="PALETTE COLOR")
    short = nifti(tmp_path, "short.nii", HEAD)
    short.write_bytes(short.read_bytes()[:-900])
    (tmp_path / "letter.txt").write_text("Dear colleague")
    paths = [saved(tmp_path, screen, "screen.dcm"), saved(tmp_path, palette, "palette.dcm"), short]
    selection = open_files([*paths, tmp_path / "letter.txt", *series(tmp_path, "a")])
    assert selection.choices == ("MR axial, 4 slices, 48 x 40",)
    names = [note.partition(":")[0] for note in selection.foreign]
    assert names == ["screen.dcm", "palette.dcm"]
    assert [note.partition(":")[0] for note in selection.failures] == ["short.nii"]
    assert set(selection.foreign + selection.failures) <= set(selection.notes)
    assert any("letter.txt" in note for note in selection.notes)


def test_lost_members_of_an_archive_are_failures(tmp_path):
    members = {"v.nii": nifti(tmp_path, "v.nii", HEAD).read_bytes(), "README.txt": b"hello"}
    members["more.zip"] = b"PK\x03\x04" + bytes(99)
    (failure,) = open_files([zipped(tmp_path, members, "a.zip")]).failures
    assert "more.zip" in failure
    assert "README" not in failure


def test_more_images_than_a_list_shows_are_there_for_the_command(tmp_path):
    volume = np.stack([HEAD.transpose(2, 1, 0) + n for n in range(66)], axis=3)
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "many.nii")
    assert len(open_files([tmp_path / "many.nii"]).choices) == 64
    assert len(open_files([tmp_path / "many.nii"], most=None).choices) == 66


def test_numbered_pictures_of_equal_size_are_one_stack(tmp_path):
    paths = []
    for contrast, numbers, side in (
        ("T1", (-5, 0, 2.5, 10), 40),
        ("T2", (-5, 0, 2.5, 10), 40),
        ("T1", (12,), 48),
    ):
        for number in numbers:
            pixels = np.tile(np.arange(side, dtype=np.uint8), (32, 1))
            pixels[0, 0] = 100 + 10 * number
            paths.append(tmp_path / f"z_{number}mm_{contrast}.png")
            paths[-1].write_bytes(png(pixels))
    selection = open_files(paths[::-1])  # in no order
    assert sorted(selection.choices) == [
        "z_-5mm_T1.png to z_10mm_T1.png, 4 slices, 40 x 32",
        "z_-5mm_T2.png to z_10mm_T2.png, 4 slices, 40 x 32",
        "z_12mm_T1.png, 1 slice, 48 x 32",  # of another size
    ]
    volume = selection.read(selection.best)
    assert volume.pixels[:, 0, 0].tolist() == [50, 100, 125, 200]
    assert "4 numbered pictures of equal size" in volume.notes[0]
    assert len(open_files(paths[:2]).choices) == 2  # rather a pair
