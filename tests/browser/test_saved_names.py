"""No patient's name is in anything that the page saves, copies or answers to programs.

The names are those of files and of what their headers say; the user's own browser may show them.
"""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from files import drop, give
from gradio_client import Client, handle_file
from names import BESIDE, SOURCE, dicom_files, found_names, nifti_file, png_files
from serve import READY

SAVED = {
    "NIfTI": (
        {f"{SOURCE}.nii.gz": nifti_file(SOURCE, "T1")},
        {f"{BESIDE}.nii.gz": nifti_file(BESIDE, "T2")},
    ),
    "pictures": (png_files(SOURCE, "T1"), {}),
    "DICOM": (dicom_files(SOURCE, "T1"), dicom_files(BESIDE, "T2")),
}


@pytest.fixture
def fresh(chromium, url):
    """A page as a visitor finds it; `page.headers` are those of all answers."""
    context = chromium.new_context(
        viewport={"width": 1400, "height": 900},
        permissions=["clipboard-read", "clipboard-write"],
    )
    page = context.new_page()
    page.set_default_timeout(90_000)  # two busy cores
    page.headers = []
    page.on("response", lambda response: page.headers.append(response.headers))
    page.goto(url)
    page.wait_for_selector(READY)
    yield page
    context.close()


def save(page, kind):
    """Choose an entry of the menu: the name of the file, and its bytes."""
    page.get_by_role("button", name="Save", exact=True).click()
    with page.expect_download() as download:
        page.locator(f"[data-save={kind}]").click()
    return download.value.suggested_filename, download.value.path().read_bytes()


@pytest.mark.parametrize("kind", SAVED)
def test_nothing_that_the_page_saves_names_the_patient(fresh, kind):
    files, real = SAVED[kind]
    give(fresh, lambda: drop(fresh, files))
    if kind != "DICOM":  # whose series have descriptions
        fresh.get_by_text(next(iter(files))[:8]).first.wait_for()
    translate = fresh.get_by_role("button", name="Translate anyway")
    shown = fresh.locator("[data-panel=translated].filled")
    translate.or_(shown).first.wait_for()
    if translate.is_visible():
        translate.click()
    shown.wait_for()
    if real:
        fresh.locator("#side .toggle-button").click()
        with fresh.expect_file_chooser() as chooser:
            fresh.get_by_role("button", name="Choose the real T2").click()
        chooser.value.set_files(
            [{"name": name, "mimeType": "", "buffer": data} for name, data in real.items()]
        )
        fresh.wait_for_selector("[data-panel=real].filled")
        fresh.get_by_text(BESIDE).first.wait_for()  # its own user sees the name
    fresh.locator(".trust:visible").click()
    fresh.locator("[data-do=copyReport]:not([disabled])").click()
    fresh.get_by_role("button", name="Copied").wait_for()
    fresh.keyboard.press("Escape")
    kinds = ["png", "nifti", *(["dicom"] if kind == "DICOM" else []), "everything"]
    saved = [save(fresh, each) for each in kinds]

    report = fresh.evaluate("navigator.clipboard.readText()")
    said = [value for headers in fresh.headers for value in headers.values()]
    assert "Synthetic T2 from T1" in report
    assert found_names(report, *said, *(name for name, _ in saved)) == []
    for name, data in saved:
        assert found_names(data) == [], name
    everything = zipfile.ZipFile(io.BytesIO(saved[-1][1]))
    (texts,) = [everything.read(n).decode() for n in everything.namelist() if "report.txt" in n]
    assert ("True error against the real T2" in texts) == bool(real)
    # What would name files does so where this stands.
    assert ("…" in texts) == (kind != "NIfTI")


def test_nothing_that_the_api_answers_names_the_patient(url, tmp_path):
    (tmp_path / f"{SOURCE}.zip").write_bytes(in_zip(dicom_files(SOURCE, "T1")))
    (tmp_path / f"{BESIDE}.zip").write_bytes(in_zip(dicom_files(BESIDE, "T2")))
    source, beside = (handle_file(str(path)) for path in sorted(tmp_path.iterdir()))
    answer = Client(url, verbose=False).predict(
        file=source, to="T2", truth=beside, reference=beside, api_name="/translate"
    )
    assert answer["shape"][0] == 3
    for text in (json.dumps(answer), json.dumps(answer, ensure_ascii=False)):
        assert found_names(text) == []
    assert any("…" in note for note in answer["notes"])


def in_zip(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
