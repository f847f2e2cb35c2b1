"""What the page saves and the API answers, from a file to bytes and back to numbers."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import axial_series, saved
from known_translator import known_translator
from PIL import Image
from read_picture import SavedPicture
from server_process import Tab
from small_scans import busy, calibration, head, nifti
from starlette.testclient import TestClient

from cyclegan import __version__, read_volume
from cyclegan.evaluation.metrics import mae
from cyclegan.export.bundle import SIDE_BY_SIDE_WIDTH
from cyclegan.export.provenance import CAVEAT, SOURCE_TYPE, pixels_sha256
from cyclegan.model.head import joint_head
from cyclegan.model.translator import CycleResult
from cyclegan.server.models import Model
from cyclegan.server.routes import api
from cyclegan.server.scans import Scans
from cyclegan.server.uploads import Uploads
from cyclegan.simulation.phantom import draw_volume
from cyclegan.trust import evidence
from cyclegan.trust.truth import match

SHAPE = (5, 64, 56)
SPACING = (3.0, 0.9, 0.9)
LABEL = "SYNTHETIC T2 from T1 - not for diagnosis"
AFFINE = np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0])


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """(Z, H, W) int16, something like a head; no slice is like another, no side like the other."""
    labels = draw_volume(2, slices=SHAPE[0], size=SHAPE[1])[..., : SHAPE[2]] % 251
    ramp = np.linspace(0.5, 1, SHAPE[2])
    return (labels * ramp * np.linspace(0.6, 1, SHAPE[0])[:, None, None]).astype(np.int16)


def nifti_path(path: Path, pixels: np.ndarray) -> Path:
    """A NIfTI that lies in space as `pixels` are shown."""
    nib.save(nib.Nifti1Image(pixels.transpose(2, 1, 0), AFFINE), path)
    return path


@pytest.fixture
def known() -> Model:
    """A model whose images and ranges are known."""
    return Model(known_translator(), calibration=calibration())


@pytest.fixture
def visit(tmp_path, pixels, known):
    """A function that opens a file, or the head, from T1 to T2: the tab, and what the translator
    makes of the file without any page."""
    with TestClient(api(Scans(known), Uploads(tmp_path))) as client:

        def go(file: Path | None = None) -> tuple[Tab, CycleResult]:
            file = file or nifti_path(tmp_path / "scan.nii.gz", pixels)
            tab = Tab(client)
            tab.open(file.name, file.read_bytes())
            tab.until(lambda state: state["check"])
            tab.choose(to="T2")
            tab.translated()
            return tab, known.translator.cycle(read_volume(file).pixels, "T2")

        yield go


def unzipped(data: bytes) -> dict[str, bytes]:
    """The zip's files by name, without folders."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {Path(name).name: archive.read(name) for name in archive.namelist()}


def windowed(image, center, width):
    return np.clip((image - center) / width + 0.5, 0, 1)


@pytest.mark.parametrize("number", [2, 5])
def test_a_saved_picture_shows_its_slice_as_on_screen_its_sides_number_and_scale(visit, number):
    tab, expected = visit()
    image = expected.translated[number - 1]
    window = float(np.median(image)), 0.1
    picture = SavedPicture(tab.save("png", number - 1, translated=window), SHAPE[1:])
    shown = windowed(image, *window)
    assert (np.abs(picture.slice - shown) > 0.02).mean() < 0.01  # the letters
    assert 0.1 < shown.mean() < 0.9
    assert picture.letters == ("R", "L")
    assert picture.mm_per_pixel == pytest.approx(SPACING[1], rel=0.02)
    assert picture.says(f"Slice {number} of {SHAPE[0]}")
    assert picture.says(LABEL)
    assert picture.text["Window"] == f"center {window[0]:.3f}, width 0.100"
    assert picture.text["DigitalSourceType"].endswith("trainedAlgorithmicMedia")
    assert tab.state["save"]["name"].startswith("synthetic_T2_")
    assert tab.state["save"]["name"].endswith(f"_slice{number}.png")


def test_a_zip_holds_all_that_is_on_screen(visit, tmp_path, pixels):
    tab, expected = visit()
    real = nifti_path(tmp_path / "real.nii.gz", (250 - pixels) * (pixels > 0))
    tab.give("real", real.name, real.read_bytes())
    tab.choose(register=False)
    windows = {"original": (0.3, 0.4), "translated": (0.6, 0.5)}
    zipped = unzipped(tab.save("everything", 3, **windows))
    files = {name.partition("_")[2]: data for name, data in zipped.items()}
    source, acquired = read_volume(tmp_path / "scan.nii.gz"), read_volume(real)
    truth = match(acquired, source, register=False).scale.apply(acquired.pixels)
    images = {
        "desc-synthetic_T2w": expected.translated,
        "desc-original_T1w": expected.source,
        "desc-reconstruction_T1w": expected.reconstructed,
        "desc-cycleError_map": np.abs(expected.source - expected.reconstructed),
        "desc-uncertainty_map": np.abs(expected.source - expected.reconstructed),
        "desc-real_T2w": truth,
        "desc-trueError_map": expected.translated - truth,
    }
    readme, checksum = zipped["README.txt"].decode(), pixels_sha256(source)
    for name, image in images.items():
        nii = nib.Nifti1Image.from_bytes(gzip.decompress(files[f"{name}.nii.gz"]))
        np.testing.assert_allclose(nii.get_fdata().transpose(2, 1, 0), image, atol=1e-3)
        fields = json.loads(files[f"{name}.json"])
        assert fields["Sources"] == [f"urn:sha256:{checksum}"]
        assert fields["GeneratedBy"][0]["Version"] == __version__
        is_acquired = name == "desc-original_T1w"
        assert fields.get("DigitalSourceType") == (None if is_acquired else SOURCE_TYPE)
        assert f"{name}.nii.gz: {fields['Description']}" in readme
        assert checksum in nii.header.extensions[0].get_content().decode()
    assert len(zipped) == 2 * len(images) + SHAPE[0] + 4  # and no DICOM: the source was none
    for sentence in (LABEL, CAVEAT, checksum, "window center 0.600, width 0.500"):
        assert sentence in readme

    rows = list(csv.DictReader(io.StringIO(zipped["slices.csv"].decode())))
    for index, (row, real_slice) in enumerate(zip(rows, truth, strict=True)):
        cycle = CycleResult(*(image[index] for image in vars(expected).values()))
        error = mae(cycle.translated, real_slice, joint_head(cycle.source, real_slice))
        assert float(row["true_mae"]) == pytest.approx(error, abs=1e-3)
        cycle_error = evidence.cycle_error(cycle)["cycle_error"]
        assert float(row["cycle_error"]) == pytest.approx(cycle_error, abs=1e-3)
        assert f"slice {index + 1} of {SHAPE[0]}" in zipped["report.txt"].decode()

    title = tab.state["real"]["title"]
    gap, width = 4, 3 * SHAPE[2] + 2 * 4
    assert Image.open(io.BytesIO(zipped["side_by_side.png"])).width >= SIDE_BY_SIDE_WIDTH == 1600
    slide = SavedPicture(zipped["side_by_side.png"], (SHAPE[1], width))
    words = f"Left to right: original T1, SYNTHETIC T2, {title}. {LABEL}"
    assert slide.text["Description"] == words
    for place, name in enumerate(("desc-original_T1w", "desc-synthetic_T2w", "desc-real_T2w")):
        start = place * (SHAPE[2] + gap)
        shown = windowed(images[name][3], *windows["translated" if place else "original"])
        np.testing.assert_allclose(slide.slice[:, start : start + SHAPE[2]], shown, atol=0.01)


def test_a_saved_nifti_lies_in_the_grid_of_its_source(visit):
    tab, expected = visit()
    image = nib.Nifti1Image.from_bytes(gzip.decompress(tab.save("nifti")))
    assert image.get_data_dtype() == np.float32
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
    np.testing.assert_allclose(image.get_fdata().transpose(2, 1, 0), expected.translated, atol=1e-3)


def test_a_saved_dicom_series_is_in_the_order_and_opens_in_the_window_of_the_screen(
    visit, tmp_path, pixels
):
    objects = axial_series(pixels.astype(np.uint16), PixelSpacing=[0.9, 0.9])
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as archive:
        for number, dataset in enumerate(objects):
            archive.write(saved(tmp_path, dataset, "one.dcm"), f"{number}.dcm")
    tab, expected = visit(tmp_path / "series.zip")
    assert tab.state["dicom"]
    zipped = unzipped(tab.save("everything", translated=(0.4, 0.3)))
    only = unzipped(tab.save("dicom", translated=(0.4, 0.3)))
    assert tab.state["save"]["removed"]
    assert "Removed from the DICOM header" in zipped["README.txt"].decode()
    assert sorted(only) == sorted(name for name in zipped if name.endswith(".dcm"))
    for number, name in enumerate(sorted(only)):
        assert name.endswith(f"_{number + 1:04}.dcm")
        for data in (only[name], zipped[name]):
            (tmp_path / "one.dcm").write_bytes(data)
            volume = read_volume(tmp_path / "one.dcm")
            image = expected.translated[number]
            np.testing.assert_allclose(volume.pixels[0] / 10_000, image, atol=1e-3)
            assert volume.affine[2, 3] == pytest.approx(40 + 3 * number)
            dataset = pydicom.dcmread(io.BytesIO(data))
            assert (dataset.WindowCenter, dataset.WindowWidth) == (4000, 3000)
        picture = SavedPicture(zipped[name.replace(".dcm", ".png")], SHAPE[1:])
        shown = windowed(expected.translated[number], 0.4, 0.3)
        assert (np.abs(picture.slice - shown) > 0.02).mean() < 0.01


def test_progress_is_in_the_state_and_the_file_can_be_fetched_twice(page):
    page.open("scan.nii", nifti(head(slices=4)))
    page.until(lambda state: state["ready"])
    first = page.order("nifti")["save"]
    assert (first["kind"], first["of"], first["file"]) == ("nifti", 5, None)
    save = page.until(lambda state: state["save"]["file"])["save"]
    where = f"files/{save['file']}"
    responses = [page.get(where) for _ in range(2)]
    assert responses[0].content == responses[1].content
    disposition = responses[0].headers["content-disposition"]
    assert disposition == f'attachment; filename="{save["name"]}"'
    page.save("png", 99)  # the nearest
    assert page.state["save"]["name"].endswith("_slice4.png")
    assert page.get(where).status_code == 404  # one file at a time


def test_saving_ends_when_something_else_is_chosen(page, model):
    page.open("scan.nii", nifti(head(slices=6)))
    page.until(lambda state: state["ready"])
    with busy(model):
        page.order("nifti")
        page.choose(to="T1", translate=True)
        save = page.until(lambda state: state["save"]["error"])["save"]
    assert save["error"] == "Stopped: something else is on screen now. Save again."
    assert save["file"] is None
