"""What the page saves and answers, from a file to bytes and back to numbers.

`Visit` alone knows how the page is asked; everything else looks at files.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import axial_series, saved
from known_translator import known_translator
from read_picture import SavedPicture
from server_process import Tab
from starlette.testclient import TestClient

from cyclegan import read_volume
from cyclegan.evaluation.metrics import mae
from cyclegan.model.head import joint_head
from cyclegan.model.translator import CycleResult
from cyclegan.reading.archive import Member
from cyclegan.server.answers import answer
from cyclegan.server.models import Model
from cyclegan.server.receiving import Uploads
from cyclegan.server.routes import api
from cyclegan.server.scans import Scans
from cyclegan.simulation.phantom import draw_volume
from cyclegan.trust import evidence
from cyclegan.trust.calibration import MEASURES, Calibration
from cyclegan.trust.truth import match

SHAPE = (5, 64, 56)
SPACING = (3.0, 0.9, 0.9)
FULL = (0.5, 1.0)
LABEL = "SYNTHETIC T2 from T1 - not for diagnosis"


class Visit(Tab):
    """A user who translates a file from T1 to T2 and takes everything home."""

    def __init__(self, client: TestClient, model: Model, file: Path, real: Path | None = None):
        self.http, self.state, self.status = client, {}, 0
        self.model, self.file, self.real = model, file, real
        self.open(file.name, file.read_bytes())
        self.until(lambda state: state["check"])
        if self.state["to"] != "T2":
            self.choose(to="T2")
        self.translated()
        if real is not None:
            self.give("real", real.name, real.read_bytes())
            self.choose(register=False)

    def png(self, number: int, window: tuple[float, float] = FULL) -> bytes:
        """Slice `number`, from 1."""
        return self.save("png", number - 1, window)

    def everything(self, number: int = 1) -> dict[str, bytes]:
        """The zip's files by name, without folders."""
        with zipfile.ZipFile(io.BytesIO(self.save("everything", number - 1))) as held:
            return {Path(name).name: held.read(name) for name in held.namelist()}

    def api(self) -> dict:
        """What a program gets for the same files."""
        uploads = Uploads("folder")

        def sent(file: Path) -> dict[str, str]:
            (path,) = uploads.hold([Member(file.name, file.read_bytes())])
            return {"path": path}

        real = self.real and sent(self.real)
        return answer(self.model, uploads.read, sent(self.file), "T2", truth=real)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """(Z, H, W) int16, something like a head; no slice is like another, no side like the other."""
    labels = draw_volume(2, slices=SHAPE[0], size=SHAPE[1])[..., : SHAPE[2]] % 251
    ramp = np.linspace(0.5, 1, SHAPE[2])
    return (labels * ramp * np.linspace(0.6, 1, SHAPE[0])[:, None, None]).astype(np.int16)


def save(path: Path, pixels: np.ndarray) -> Path:
    """As a NIfTI that lies in space as `pixels` are shown."""
    affine = np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0])
    nib.save(nib.Nifti1Image(pixels.transpose(2, 1, 0), affine), path)
    return path


def pixels_of(data: bytes) -> np.ndarray:
    """(Z, H, W) as shown, of a NIfTI of the zip, which has the source's own axes."""
    return nib.Nifti1Image.from_bytes(gzip.decompress(data)).get_fdata().transpose(2, 1, 0)


@pytest.fixture
def visit(tmp_path, pixels):
    """A function that visits the page with the head and perhaps a real T2: the visit, and what the
    translator makes of the file without any page."""
    translator = known_translator()
    direction = {
        "expected": {key: [0.0, 1.0] for key in MEASURES},
        "ranks": dict.fromkeys(MEASURES, 0.6),
        "maps": {"cycle error": 0.5, "brightness of the translation": 0.1},
        "map": "cycle error",
    }
    record = {"subjects": ["a"], "slices": 9}
    calibration = Calibration(record | {"directions": {"T1": direction, "T2": direction}})
    model = Model(translator, calibration=calibration)
    with TestClient(api(Scans(model), Uploads(tmp_path))) as client:

        def go(file: Path | None = None, real: Path | None = None) -> tuple[Visit, CycleResult]:
            file = file or save(tmp_path / "scan.nii.gz", pixels)
            expected = translator.cycle(read_volume(file).pixels, "T2")
            return Visit(client, model, file, real), expected

        yield go


@pytest.mark.parametrize("number", [2, 5])
def test_a_saved_picture_shows_its_slice_sides_number_and_scale(visit, number):
    home, expected = visit()
    picture = SavedPicture(home.png(number), SHAPE[1:])
    wrong = np.abs(picture.slice - expected.translated[number - 1]) > 0.01
    assert wrong.mean() < 0.01  # the letters
    assert picture.letters == ("R", "L")
    assert picture.mm_per_pixel == pytest.approx(SPACING[1], rel=0.02)
    assert picture.says(f"Slice {number} of {SHAPE[0]}")
    assert picture.says(LABEL)


def test_a_saved_picture_has_the_window_of_the_screen(visit):
    home, expected = visit()
    center, width = float(np.median(expected.translated[2])), 0.1
    shown = SavedPicture(home.png(3, (center, width)), SHAPE[1:]).slice
    wanted = np.clip((expected.translated[2] - center) / width + 0.5, 0, 1)
    assert (np.abs(shown - wanted) > 0.02).mean() < 0.01
    assert 0.1 < wanted.mean() < 0.9


def test_the_images_of_the_zip_are_what_their_names_say(visit, tmp_path, pixels):
    real = save(tmp_path / "real.nii.gz", (250 - pixels) * (pixels > 0))
    home, expected = visit(real=real)
    files = {name.partition("_")[2]: data for name, data in home.everything(3).items()}
    source, acquired = read_volume(home.file), read_volume(real)
    truth = match(acquired, source, register=False).scale.apply(acquired.pixels)
    cycle = [
        CycleResult(*(getattr(expected, n)[k] for n in ("source", "translated", "reconstructed")))
        for k in range(SHAPE[0])
    ]
    for name, image in {
        "desc-synthetic_T2w": expected.translated,
        "desc-original_T1w": expected.source,
        "desc-reconstruction_T1w": expected.reconstructed,
        "desc-cycleError_map": np.abs(expected.source - expected.reconstructed),
        "desc-uncertainty_map": np.abs(expected.source - expected.reconstructed),
        "desc-real_T2w": truth,
        "desc-trueError_map": expected.translated - truth,
    }.items():
        np.testing.assert_allclose(pixels_of(files[f"{name}.nii.gz"]), image, atol=1e-3)
    rows = list(csv.DictReader(io.StringIO(home.everything()["slices.csv"].decode())))
    for row, each, real_slice in zip(rows, cycle, truth, strict=True):
        head = joint_head(each.source, real_slice)
        assert float(row["true_mae"]) == pytest.approx(
            mae(each.translated, real_slice, head), abs=1e-3
        )
        assert float(row["cycle_error"]) == pytest.approx(
            evidence.cycle_numbers(each, each.reconstructed)["cycle_error"], abs=1e-3
        )


def test_the_state_tells_the_place_of_the_file(visit, pixels):
    home, _ = visit()
    np.testing.assert_allclose(home.state["spacing"], SPACING, rtol=1e-5)
    affine = np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0])
    np.testing.assert_allclose(home.state["affine"], affine, atol=1e-5)
    assert home.state["directions"] == ["R", "L", "A", "P"]
    # The values that 0 and 1 stand for bring a pixel back to what the file has.
    low, high = home.state["units"]
    values = low + home.image("original", 3) / 65535 * (high - low)
    inside = (pixels[3] > low) & (pixels[3] < high)
    np.testing.assert_allclose(values[inside], pixels[3][inside], atol=(high - low) / 60_000)


def test_the_api_answers_with_the_place_and_the_images_of_the_file(visit):
    home, expected = visit()
    answer = home.api()
    assert answer["shape"] == list(SHAPE)
    np.testing.assert_allclose(answer["spacing"], SPACING, rtol=1e-5)
    assert answer["directions"] == ["R", "L", "A", "P"]
    for name in ("source", "translated", "reconstructed"):
        image = np.frombuffer(base64.b64decode(answer[name]), "<f4").reshape(SHAPE)
        np.testing.assert_allclose(image, getattr(expected, name), atol=1e-3)


def test_a_saved_dicom_series_is_in_the_order_of_its_source(visit, tmp_path, pixels):
    objects = axial_series(pixels.astype(np.uint16), PixelSpacing=[0.9, 0.9])
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as archive:
        for number, dataset in enumerate(objects):
            archive.write(saved(tmp_path, dataset, "one.dcm"), f"{number}.dcm")
    home, expected = visit(tmp_path / "series.zip")
    named = home.everything()
    numbers = sorted(name for name in named if name.endswith(".dcm"))
    assert len(numbers) == SHAPE[0]
    assert numbers[0].endswith("_0001.dcm")
    again = tmp_path / "again"
    again.mkdir()
    for number, name in enumerate(numbers):
        (again / "one.dcm").write_bytes(named[name])
        volume, image = read_volume(again / "one.dcm"), expected.translated[number]
        np.testing.assert_allclose(volume.pixels[0] / 10_000, image, atol=1e-3)
        assert volume.affine[2, 3] == pytest.approx(40 + 3 * number)
        picture = SavedPicture(named[name.replace(".dcm", ".png")], SHAPE[1:])
        assert (np.abs(picture.slice - image) > 0.01).mean() < 0.01
