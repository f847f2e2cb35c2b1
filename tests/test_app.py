"""The page's handlers as plain functions, and its API over HTTP."""

import base64
import json

import gradio as gr
import nibabel as nib
import numpy as np
import pytest
from browser.serve import serve, weights_folder
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import app
from cyclegan import ReadError, Translator, answers
from cyclegan.examples import EXAMPLES, example_volume
from cyclegan.page import Page
from cyclegan.session import ReaderError, Session, encode_uint16
from cyclegan.volume import Volume

TAB = "one tab"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return weights_folder(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def translator(weights):
    return Translator.from_pretrained(weights)


@pytest.fixture
def page(translator, tmp_path):
    return Page(translator, tmp_path / "uploads")


def volume_of(pixels, **known):
    fields = {
        "spacing": None,
        "affine": None,
        "directions": None,
        "window": None,
        "contrast_hint": None,
        "name": "scan.png",
    }
    return Volume(pixels=np.asarray(pixels, np.float32), **{**fields, **known})


def uploaded(tmp_path, name, content):
    """File data as Gradio hands it over, with the file where Gradio puts uploads."""
    folder = tmp_path / "uploads" / "0123abcd"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    return {"path": str(folder / name)}


def png_bytes(tmp_path, pixels):
    Image.fromarray(np.asarray(pixels)).save(tmp_path / "made.png")
    return (tmp_path / "made.png").read_bytes()


def head(dtype=np.uint16, top=40_000):
    return (example_volume(0).pixels[0] * top).astype(dtype)


def decoded(panel):
    return np.frombuffer(base64.b64decode(panel["data"]), "<u2")


def test_the_viewer_gets_sixteen_bits():
    ramp = np.linspace(0, 1, 40_000, dtype=np.float32).reshape(200, 200)
    values = np.frombuffer(base64.b64decode(encode_uint16(ramp)), "<u2")
    assert len(np.unique(values)) == 40_000
    np.testing.assert_allclose(values / 65535, ramp.ravel(), atol=1e-5)


def test_upload_is_shown_then_translated_and_the_file_is_gone(page, tmp_path):
    file = uploaded(tmp_path, "scan", png_bytes(tmp_path, head()))
    opened = page.load(file, "T2", TAB)
    assert list(opened.view["panels"]) == ["original"]
    assert opened.view["key"] == opened.session.key
    assert len(np.unique(decoded(opened.view["panels"]["original"]))) > 256
    assert not any((tmp_path / "uploads").rglob("*"))
    for to, source in (("T2", "T1"), ("T1", "T2")):
        shown = page.translate(opened.session, to, 1).view
        panels = shown["panels"]
        assert panels["translated"]["title"] == f"Synthetic {to}"
        assert panels["reconstructed"]["sub"] == f"{source} → {to} → {source}"
        assert not np.array_equal(decoded(panels["original"]), decoded(panels["translated"]))
        assert page.translator.checksum[:16] in shown["provenance"]


def test_a_bad_file_is_one_sentence_and_keeps_everything(page, tmp_path):
    opened = page.load(uploaded(tmp_path, "<b>notes.txt", b"no image at all"), "T2", TAB)
    assert opened.session is None
    updates = app.show_opened(opened)
    assert updates[:6] == [gr.skip()] * 6
    assert updates[6] == opened.status
    assert not opened.ready  # there is nothing from before to translate either
    assert 'role="alert"' in opened.status
    assert "&lt;b&gt;notes.txt" in opened.status
    assert "<b>" not in opened.status
    assert not any((tmp_path / "uploads").rglob("*"))


def test_the_command_line_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["app.py", "--weights", str(tmp_path)])
    with pytest.raises(SystemExit):
        app.main()
    assert "config.json is missing" in capsys.readouterr().err


def test_only_uploads_are_read(page, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png_bytes(tmp_path, head()))
    climbing = tmp_path / "uploads" / "x" / ".." / ".." / "secret.png"
    for file in ({"path": str(secret)}, {"path": str(climbing)}, str(secret), {}, None):
        with pytest.raises(ReaderError):
            page.read_upload(file)
    assert secret.is_file()


def test_the_header_presets_the_direction_as_a_hint(page, tmp_path, monkeypatch):
    hinted = volume_of(head()[None], contrast_hint="T2")
    monkeypatch.setattr("cyclegan.page.read_volume", lambda path: hinted)
    opened = page.load(uploaded(tmp_path, "scan.dcm", b"x"), "T2", TAB)
    assert opened.to == "T1"
    assert "hint" in opened.status
    assert opened.session.to is None  # nothing is translated before the reader asks for it


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_are_translated_at_once(page, number):
    opened = page.open_example(number, TAB)
    example = EXAMPLES[number]
    assert opened.to == example.to
    assert set(opened.view["panels"]) == {
        "original",
        "translated",
        "reconstructed",
        "difference",
    }
    assert opened.view["slices"] == (24 if example.level is None else 1)
    assert opened.view["directions"] == ["R", "L", "A", "P"]


def test_slices_of_a_volume_share_one_scale_and_are_kept(page):
    pixels = example_volume(2).pixels[8:12] * 300
    session = Session(volume_of(pixels, spacing=(4, 1, 1)))
    session.start("T2")
    result = session.result(page.translator, 1, "T2")
    assert session.result(page.translator, 1, "T2") is result
    whole = page.translator.cycle(pixels, to="T2")
    np.testing.assert_array_equal(result.source, whole.source[1])
    np.testing.assert_allclose(result.translated, whole.translated[1], atol=1e-3)
    shares = []
    stack = session.translated_volume(page.translator, shares.append)
    np.testing.assert_allclose(stack, whole.translated, atol=1e-3)
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_the_cache_of_slices_is_bounded(page, monkeypatch):
    monkeypatch.setattr("cyclegan.session.CACHE_BYTES", 2 * 3 * 4 * 64 * 64)
    session = Session(volume_of(example_volume(2).pixels[8:12, ::4, ::4]))
    results = [session.result(page.translator, index, "T2") for index in range(4)]
    assert session.result(page.translator, 3, "T2") is results[3]
    assert session.result(page.translator, 0, "T2") is not results[0]


def test_pixel_spacing_and_orientation_reach_the_viewer(page):
    known = Session(volume_of(head()[None], spacing=(5, 2, 1), directions=("R", "L", "A", "P")))
    unknown = Session(volume_of(head()[None]))
    assert known.view(page.translator, 0)["aspect"] == 2
    assert known.view(page.translator, 0)["directions"] == ["R", "L", "A", "P"]
    shown = unknown.view(page.translator, 0)
    assert shown["directions"] is None
    assert "orientation unknown" in shown["caption"]


def test_downloads(page, tmp_path):
    session = page.open_example(2, TAB).session
    window = json.dumps({"center": 0.4, "width": 0.5})
    png = page.save_png(session, 13, window)
    (tmp_path / "a.png").write_bytes(base64.b64decode(png["data"]))
    with Image.open(tmp_path / "a.png") as image:
        assert image.height > image.width >= 256  # the slice and the strip with the label
        assert image.text["Weights-SHA256"] == page.translator.checksum
    other = page.save_png(session, 13, json.dumps({"center": 0.8, "width": 0.1}))
    assert other["data"] != png["data"]

    saved = page.save_nifti(session)
    (tmp_path / "a.nii.gz").write_bytes(base64.b64decode(saved["data"]))
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == np.float32
    assert sorted(image.shape) == sorted(session.volume.pixels.shape)


def test_too_large_for_one_answer_names_the_way_out(translator):
    large = volume_of(np.zeros((65, 256, 256), np.float32), name="big.nii")
    with pytest.raises(ReaderError, match=r"big\.nii: 65 × 256 × 256 .* cyclegan\.translate"):
        answers.refuse_large(large)


def test_a_closed_tab_is_forgotten(page):
    session = page.open_example(0, TAB).session
    page.forget(TAB)
    assert session.volume is None
    with pytest.raises(ReaderError, match="Nothing is loaded"):
        page.translate(session, "T2", 1)


def test_failures_become_one_sentence_without_the_message(caplog):
    patient = "Doe"

    def fails():
        raise RuntimeError(patient)

    def refuses():
        raise ReadError("scan.txt: no image.")

    with pytest.raises(gr.Error) as shown:
        app.in_one_sentence(fails)()
    assert "fault of ours" in shown.value.message
    assert "Doe" not in shown.value.message + caplog.text
    assert "RuntimeError in fails" in caplog.text
    with pytest.raises(gr.Error, match=r"scan\.txt: no image\."):
        app.in_one_sentence(refuses)()


@pytest.fixture(scope="module")
def client(weights, tmp_path_factory):
    uploads = tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        with serve(weights, uploads) as url:
            client = Client(url, verbose=False)
            client.uploads = uploads
            yield client


def test_api_translates_and_leaves_nothing(client, translator, tmp_path):
    (tmp_path / "scan.png").write_bytes(png_bytes(tmp_path, head()))
    answer = client.predict(
        file=handle_file(str(tmp_path / "scan.png")), to="T2", api_name="/translate"
    )
    assert answer["shape"] == [1, 256, 256]
    assert answer["checksum"] == translator.checksum
    assert "not for diagnosis" in answer["caveat"]
    expected = translator.translate(head().astype(np.float32)[None], to="T2")
    received = np.frombuffer(base64.b64decode(answer["translated"]), "<f4").reshape(1, 256, 256)
    np.testing.assert_allclose(received, expected, atol=1e-3)
    assert not [path for path in client.uploads.rglob("*") if path.is_file()]


@pytest.mark.parametrize("to", ["T3", "", "t2"])
def test_api_refuses_another_contrast(client, tmp_path, to):
    (tmp_path / "scan.png").write_bytes(png_bytes(tmp_path, head()))
    with pytest.raises(AppError, match="must be"):
        client.predict(file=handle_file(str(tmp_path / "scan.png")), to=to, api_name="/translate")
    assert not [path for path in client.uploads.rglob("*") if path.is_file()]


def test_api_does_not_read_the_servers_files(client):
    own = {"path": app.__file__}
    with pytest.raises(AppError, match="Upload one file"):
        client.predict(file=own, to="T2", api_name="/translate")


def test_only_translate_is_offered(client):
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/translate"]
