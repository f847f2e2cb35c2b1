"""Files as people have them, written here, and ways to give them to the page."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
from dicom_files import axial_series, written
from PIL import Image
from playwright.sync_api import Page
from pydicom.uid import generate_uid

from cyclegan.simulation.phantom import draw_slice, draw_volume
from cyclegan.simulation.simulate import simulate_pair

STUDY = {
    "StudyInstanceUID": generate_uid(),
    "FrameOfReferenceUID": generate_uid(),
    "PatientName": "Doe^Jane",
    "PatientID": "MRN-4711",
}
# Lets files fall on a part of the page, as from a folder of the user's.
DROP = """([selector, files]) => {
  const transfer = new DataTransfer();
  for (const [name, data] of files) {
    transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name));
  }
  const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
  const target = document.querySelector(selector);
  for (const kind of ["dragover", "drop"]) target.dispatchEvent(new DragEvent(kind, options));
}"""


# Drops files on the page in the first moment in which it takes some.
DROP_FIRST = (
    """(files) => {
  const timer = setInterval(() => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([], "name"));
    const event = new DragEvent("dragover", { dataTransfer, bubbles: true, cancelable: true });
    if (!document.body || document.body.dispatchEvent(event)) return; // it would leave the page
    clearInterval(timer);
    (DROP)(["body", files]);
  }, 5);
}"""
).replace("DROP", DROP)


def simulated(contrast: str, labels: np.ndarray, seed: int = 3) -> np.ndarray:
    """(H, W) float in [0, 1]."""
    pair = simulate_pair(labels, np.random.default_rng(seed))
    return np.asarray(pair.t1 if contrast == "T1" else pair.t2)


def png(contrast: str = "T1", *, deep: bool = False) -> bytes:
    """A drawn head as PNG, in 8 or 16 bits."""
    pixels = np.clip(simulated(contrast, draw_slice(5, level=0.5)), 0, 1)
    values = (pixels * 30_000).astype(np.uint16) if deep else (pixels * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def write_volume(path: Path, slices: int = 6, contrast: str = "T2", size: int = 128) -> Path:
    """A drawn head as NIfTI of (size, size, slices) in 256 x 256 x 30 mm."""
    images = [simulated(contrast, labels) for labels in draw_volume(6, slices=slices, size=size)]
    # Rows run posterior and columns left in the simulated slices; NIfTI is (x, y, z) in RAS+.
    array = np.stack([image[::-1, ::-1].T for image in images], axis=-1)
    affine = np.diag([256 / size, 256 / size, 30 / slices, 1.0])
    nib.save(nib.Nifti1Image((array * 900).astype(np.int16), affine), path)
    return path


def write_series(folder: Path, contrast: str, slices: int, number: int) -> list[Path]:
    """An axial MR series as scanners send it: names in no order, a window, a patient."""
    folder.mkdir(parents=True)
    images = [simulated(contrast, labels) for labels in draw_volume(7, slices=slices, size=128)]
    series = axial_series(
        (900 * np.stack(images)).astype(np.uint16),
        4.0,
        **STUDY,
        SeriesDescription=f"{contrast} TSE",
        SeriesNumber=number,
        PixelSpacing=[2, 2],
        ImageType=["ORIGINAL", "PRIMARY", "M"],
        WindowCenter=400,
        WindowWidth=1000,
    )
    return written(folder, series, seed=number)


def write_zip(path: Path, folder: Path) -> Path:
    """All files below a folder, with their paths."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def drop(page: Page, files: dict[str, bytes], on: str = "#viewer") -> None:
    """Drop files, by their names, on the element of a selector."""
    coded = [[name, base64.b64encode(data).decode()] for name, data in files.items()]
    page.evaluate(DROP, [on, coded])


def open_files(page: Page, *paths: Path) -> None:
    """Choose files by the page's button, and wait until the new scan is on screen."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open a scan").click()
    give(page, lambda: chooser.value.set_files([str(path) for path in paths]))


def give(page: Page, act) -> None:
    """Do what opens a scan, and wait until it is on screen."""
    before = page.evaluate("sessionStorage.getItem('scan')")
    act()
    page.wait_for_function("(before) => sessionStorage.getItem('scan') !== before", arg=before)
    page.wait_for_selector("[data-panel=original].filled")
