"""Every limit of `cyclegan.web.limits` on the way that strangers take: the running server."""

import contextlib
import io
import json
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import nibabel as nib
import numpy as np
import pytest
from browser.serve import serve
from cyclegan.web import limits
from cyclegan.web.outbox import Outbox, Parcel
from cyclegan.web.page import Page
from cyclegan.web.session import ReaderError, Session
from cyclegan.web.sessions import Sessions
from cyclegan.web.turns import Rank, Superseded, Turns
from cyclegan.web.work import Step
from dicom_files import mr_image, saved
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from pydicom.uid import RLELossless
from server_process import Tab, run_to_its_end

import app
from cyclegan.model.checkpoint import export_weights, file_sha256
from cyclegan.model.networks import UNetGenerator
from cyclegan.reading import dicom_decode
from cyclegan.reading.deadline import TimeLimitExceeded, time_limit
from cyclegan.reading.read import read_volume
from cyclegan.reading.series import open_files
from cyclegan.reading.volume import Volume

ROOT = Path(__file__).parents[2]
WAIT_S = 30  # for what takes a moment on an idle machine


@pytest.mark.parametrize(
    ("machine", "openings", "jobs", "slices", "results"),
    [
        ((2, 16 * 2**30), 2, 8, 48, 2**30),
        ((1, 2 * 2**30), 2, 8, 48, 2**30),  # what is smaller has the same limits
        ((16, 64 * 2**30), 8, 32, 192, 4 * 2**30),
        ((16, 16 * 2**30), 2, 8, 192, 2**30),  # many cores with little memory read no more at once
    ],
)
def test_limits_fit_the_machine(machine, openings, jobs, slices, results, monkeypatch):
    monkeypatch.setattr(limits, "_CORES", machine[0])
    monkeypatch.setattr(limits, "_MEMORY", machine[1])
    assert limits.at_once(1, 32, 8192 * limits.MIB) == openings
    assert limits.at_once(4, 32, 2048 * limits.MIB) == jobs
    assert limits.at_once(24, 192, 64 * limits.MIB) == slices
    assert limits.held(1024 * limits.MIB, 1 / 16) == results


def test_a_container_counts_what_it_is_given(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    cores, memory = limits.machine(tmp_path)
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert limits.machine(tmp_path) == (1, 2**30)
    assert cores >= 1
    assert memory > 2**30


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    options = {"channels": (8, 16)}
    return export_weights(
        tmp_path_factory.mktemp("tiny"),
        {to: UNetGenerator(**options) for to in ("T1", "T2")},
        generator="unet",
        generator_options=options,
        size=64,
        version="test",
    )


@pytest.fixture(scope="module")
def server(weights, tmp_path_factory):
    """The page over HTTP, and the objects behind it."""
    uploads, made = tmp_path_factory.mktemp("uploads"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "Page", lambda *given: made.append(Page(*given)) or made[0])
        with serve(weights, uploads) as url:
            yield SimpleNamespace(url=url, page=made[0], uploads=uploads)


@pytest.fixture
def client(server):
    return Client(server.url, verbose=False)


@pytest.fixture
def page(server, tmp_path):
    return Page(server.page.model.translator, tmp_path / "uploads")


def pixels(height=64, width=64):
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return ((x**2 + y**2 < 0.6) * (150 + 80 * np.sin(7 * x) * np.cos(5 * y))).astype(np.uint8)


def png(image=None):
    buffer = io.BytesIO()
    Image.fromarray(pixels() if image is None else image).save(buffer, "PNG")
    return buffer.getvalue()


def session_of(slices=6):
    stack = np.repeat(pixels()[None].astype(np.float32), slices, axis=0)
    names = dict.fromkeys(("spacing", "affine", "directions", "window", "contrast_hint"))
    return Session(Volume(pixels=stack, name="scan.nii", **names))


def sent(server, files, **options):
    return httpx.post(f"{server.url}gradio_api/upload", files=files, timeout=WAIT_S, **options)


def left(server):
    return [path for path in server.uploads.rglob("*") if path.is_file()]


@contextlib.contextmanager
def busy(page):
    """While somebody's work takes its time."""
    begun, go_on = threading.Event(), threading.Event()
    turn = page.model.turns.join(lambda: (begun.set(), go_on.wait(WAIT_S)))
    begun.wait(WAIT_S)
    try:
        yield
    finally:
        go_on.set()
        turn.result()


def until(condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


# What comes in.


@pytest.mark.parametrize("sizes", [[3], [1, 1, 1]], ids=["one file", "several"])
def test_too_large_an_upload_is_refused_and_nothing_is_kept(server, monkeypatch, sizes):
    monkeypatch.setattr(limits, "UPLOAD_BYTES", limits.MIB)
    answer = sent(server, [("files", ("scan", bytes(size * limits.MIB))) for size in sizes])
    assert (answer.status_code, answer.text) == (413, limits.TOO_LARGE)
    assert "256 MB" in answer.text
    assert list(server.uploads.iterdir()) == []


def test_too_many_files_are_refused(server):
    files = [("files", (f"{number}", b"x")) for number in range(limits.UPLOAD_FILES + 1)]
    answer = sent(server, files)
    assert (answer.status_code, answer.text) == (413, limits.TOO_MANY_FILES)
    assert list(server.uploads.iterdir()) == []


def test_uploads_that_nobody_opens_cannot_fill_the_disk(server, monkeypatch):
    monkeypatch.setattr(limits, "WAITING_UPLOAD_BYTES", limits.UPLOAD_BYTES + 100)
    assert sent(server, {"files": ("scan", bytes(101))}).status_code == 200
    answer = sent(server, {"files": ("scan", b"x")})
    assert (answer.status_code, answer.text) == (503, limits.DISK_FULL)
    monkeypatch.setattr(limits, "WAITING_UPLOAD_S", 0)
    server.page.uploads.sweep()
    assert list(server.uploads.iterdir()) == []


def test_other_requests_are_small(server):
    answer = httpx.post(f"{server.url}gradio_api/queue/join", content=bytes(3 * limits.MIB))
    assert (answer.status_code, answer.json()) == (413, {"detail": limits.BODY_TOO_LARGE})


def test_the_api_says_how_many_voxels_it_takes(server, client, tmp_path):
    volume = np.repeat(pixels(256, 256)[..., None], 65, axis=2)
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "big.nii.gz")
    with pytest.raises(AppError, match=r"big\.nii\.gz: 65 × 256 × 256 .* 4,194,304 are\. Run "):
        client.predict(handle_file(str(tmp_path / "big.nii.gz")), "T2", api_name="/translate")
    assert left(server) == []


def test_a_slice_has_at_most_so_many_pixels(server, client, tmp_path):
    (tmp_path / "wide.png").write_bytes(png(np.zeros((8193, 8193), bool)))
    with pytest.raises(AppError, match=r"wide\.png: 8193 x 8193 pixels .* 64 million per slice"):
        client.predict(handle_file(str(tmp_path / "wide.png")), "T2", api_name="/translate")
    assert left(server) == []


# Time.


def test_opening_ends_when_its_time_is_up(server, monkeypatch):
    volume = np.repeat(pixels()[..., None], 8, axis=2)
    data = nib.Nifti1Image(volume, np.eye(4)).to_bytes()
    with Tab(server.url) as tab:
        monkeypatch.setattr(limits, "OPENING_S", 1e-4)
        answer = tab.open("scan.nii", data)
        assert "Opening these files took more than 0 s and was stopped;" in answer.status
        monkeypatch.undo()
        assert "scan.nii is loaded" in tab.open("scan.nii", data).status
    assert left(server) == []


def test_a_decoder_that_hangs_is_no_damage_when_the_time_is_up(tmp_path):
    dataset = mr_image(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))
    dataset.compress(RLELossless)
    path = saved(tmp_path, dataset)
    read_volume(path)
    others = dicom_decode._helper._lock  # somebody else's image is being decoded
    with others, pytest.raises(TimeLimitExceeded), time_limit(0.2):
        open_files([path]).read(0)
    hanging = dicom_decode._helper._process
    hanging.send_signal(19)  # SIGSTOP
    with pytest.raises(TimeLimitExceeded), time_limit(0.2):
        open_files([path]).read(0)
    assert hanging.poll() is not None
    assert read_volume(path).pixels.shape == (1, 64, 64)


def test_a_slice_that_waits_too_long_gives_up_its_turn(page, monkeypatch):
    monkeypatch.setattr(limits, "SLICE_S", 0.5)
    monkeypatch.setattr("cyclegan.web.work.PLACE_EVERY_S", 0.05)
    monkeypatch.setattr("cyclegan.web.work.PLACE_EVERY_S_EACH", 0)
    session = session_of()
    sentence = "Translating this slice took more than 0 s and was stopped; try again when"
    with busy(page):
        with pytest.raises(ReaderError, match=sentence):
            list(page.translate(session, "T2", 1, "tab"))
        session.start("T2")
        with pytest.raises(ReaderError, match="Translating this slice took"):
            page.show_slice(session, 2, tab="tab")
    assert session.missing("T2") == list(range(6))  # what nobody waits for is not done
    monkeypatch.undo()
    *_, step = page.translate(session, "T2", 1, "tab")
    assert step.view["panels"]["translated"]


def test_a_volume_ends_after_a_batch_when_its_time_is_up(page, monkeypatch):
    session = session_of()
    monkeypatch.setattr(limits, "WHOLE_S", 0)
    *_, last = page.translate_all(session, "T2", 1, "tab")
    assert "Stopped after 0 minutes, the most that is given; press" in last.status
    assert not last.working
    monkeypatch.undo()
    *_, last = page.translate_all(session, "T2", 1, "tab")
    assert "all 6 slices" in last.status


def test_an_api_call_that_takes_too_long_frees_its_turn(server, client, tmp_path, monkeypatch):
    (tmp_path / "scan.png").write_bytes(png())
    file = handle_file(str(tmp_path / "scan.png"))
    monkeypatch.setattr(limits, "API_S", 0.5)
    with busy(server.page):
        for _ in range(limits.API_AT_ONCE + 1):
            with pytest.raises(AppError, match="This request took more than"):
                client.predict(file, "T2", api_name="/translate")
    monkeypatch.undo()
    assert client.predict(file, "T2", api_name="/translate")["shape"] == [1, 64, 64]


# Waiting.


def test_a_full_queue_says_so_and_loses_nobody(server, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "QUEUE", 3)
    tabs = [Tab(server.url) for _ in range(12)]
    joined = []
    with busy(server.page):
        for tab in tabs:
            try:
                tab.join("translate", tab.upload("scan.png", png()), "T2")
            except httpx.HTTPStatusError as error:
                refusal = error.response
                break
            joined.append(tab)
            begun = min(len(joined), limits.API_AT_ONCE)  # the others wait for these
            until(lambda begun=begun: len(server.page.model.turns._waiting) == begun)
    assert len(joined) == limits.API_AT_ONCE + 3
    assert (refusal.status_code, refusal.json()) == (429, {"detail": limits.QUEUE_FULL})
    assert [tab.answer("translate").sentence for tab in joined] == [""] * len(joined)
    assert tabs[-1].do("translate", tabs[-1].upload("scan.png", png()), "T2").sentence == ""
    for tab in tabs:
        tab.close()


def test_one_tab_cannot_fill_the_queue(server):
    with Tab(server.url) as tab, Tab(server.url) as other:
        for _ in range(limits.TAB_WAITING):
            tab.join("translate", {}, "T2")
        with pytest.raises(httpx.HTTPStatusError) as refused:
            tab.join("translate", {}, "T2")
        assert refused.value.response.json() == {"detail": limits.TAB_FULL}
        assert "Upload a file" in other.do("translate", {}, "T2").sentence
        done = [each for each in tab.messages() if each["msg"] == "process_completed"]
        assert len(done) == limits.TAB_WAITING
        assert "Upload a file" in tab.do("translate", {}, "T2").sentence


def test_the_place_in_line_is_told(server):
    with Tab(server.url) as tab:
        tab.open("scan.png", png())
        with busy(server.page):
            others = [server.page.model.turns.join(lambda: None) for _ in range(2)]
            tab.join("Translate", "T2", 1)
            told = []
            for message in tab.messages():
                told.append(json.dumps(message))
                if "Waiting: 3 translations before yours, about " in told[-1]:
                    break
        assert len(told) < 30
        for turn in others:
            turn.result()
        until(lambda: server.page.sessions._by_tab[tab.session][-1].has(0, "T2"))


def test_thirty_two_readers_at_once_are_all_served_in_order(server, monkeypatch):
    translator, widths, order = server.page.model.translator, range(64, 96), []
    cycle = translator.cycle

    def noted(image, *given, **options):
        order.append(image.shape[-1])
        return cycle(image, *given, **options)

    monkeypatch.setattr(translator, "cycle", noted)
    with contextlib.ExitStack() as opened:
        tabs = [opened.enter_context(Tab(server.url)) for _ in widths]
        for tab, width in zip(tabs, widths, strict=True):
            assert "is loaded" in tab.open("scan.png", png(pixels(64, width))).status
        with busy(server.page):
            for number, tab in enumerate(tabs, start=1):
                tab.join("Translate", "T2", 1)
                until(lambda number=number: len(server.page.model.turns._waiting) == number)
        answers = [tab.answer("Translate") for tab in tabs]
    assert [answer.sentence for answer in answers] == [""] * len(tabs)
    assert all("T1 → T2" in answer.status for answer in answers)
    assert order == list(widths)


def test_tabs_are_served_in_order_and_of_one_tab_only_the_newest():
    turns, order = Turns(), []
    with busy(SimpleNamespace(model=SimpleNamespace(turns=turns))):
        hammering = [
            turns.join(lambda number=number: order.append(f"a{number}"), tab="a")
            for number in range(50)
        ]
        others = [turns.join(lambda tab=tab: order.append(tab), tab=tab) for tab in "bc"]
        newest = turns.join(lambda: order.append("a"), tab="a")
        assert [others[0].place(), others[1].place(), newest.place()] == [1, 2, 3]
    newest.result()
    assert order == ["b", "c", "a"]
    with pytest.raises(Superseded):
        hammering[-1].result()
    assert not turns._by_tab


def test_what_comes_by_itself_waits_but_not_for_ever(monkeypatch):
    turns, order, now = Turns(), [], [100.0]
    monkeypatch.setattr("cyclegan.web.turns.time", SimpleNamespace(monotonic=lambda: now[0]))
    waiting = []
    with busy(SimpleNamespace(model=SimpleNamespace(turns=turns))):
        waiting.append(turns.join(lambda: order.append("volume"), rank=Rank.WHOLE))
        for number in range(4):  # somebody scrolls without end
            now[0] += 2
            waiting.append(turns.join(lambda number=number: order.append(number)))
    for turn in waiting:
        turn.result()
    assert order == [0, 1, "volume", 2, 3]


# Memory.


def test_the_oldest_files_to_be_fetched_make_room():
    outbox = Outbox(most=250)
    tokens = [outbox.put(Parcel(bytes(100), "a", "b"), f"tab {number}") for number in range(3)]
    assert outbox.take(tokens[0]) is None
    assert outbox.take(tokens[1]) is not None
    assert outbox.take(tokens[2]) is not None
    alone = outbox.put(Parcel(bytes(1000), "a", "b"), "tab")
    assert len(outbox.take(alone).data) == 1000


def test_who_looked_least_recently_loses_translations_first_then_the_scan(page):
    model = page.model
    page.sessions = Sessions(result_bytes=7 * 2 * 4 * 64 * 64, scan_bytes=10**9)
    first, second, third = (session_of(4) for _ in range(3))
    for tab, session in (("1", first), ("2", second), ("3", third)):
        page.sessions.open(tab, session)
        session.translate_slices(model, [0, 1, 2], "T2")
        if session is second:
            first.result(model, 0, "T2")  # looked at again, so the second one is the oldest
    assert (len(first.missing("T2")), len(second.missing("T2"))) == (1, 4)
    assert second.result(model, 1, "T2").translated.shape == (64, 64)  # computed again

    page.sessions.scan_bytes = 2 * first.scan_bytes
    page.sessions.trim()  # the third has not been looked at since
    assert [session.volume is None for session in (first, second, third)] == [False, False, True]
    assert "3" not in page.sessions
    with pytest.raises(ReaderError, match="Nothing is loaded any more; drop in a file"):
        list(page.translate(third, "T2", 1, "3"))


def test_files_held_for_other_series_count_as_memory(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    selection = open_files([tmp_path / "a.png"])
    assert selection.size == len(png())
    volume = selection.read(0)
    assert Session(volume, selection).scan_bytes == len(png()) + volume.pixels.nbytes


def test_a_scan_is_forgotten_some_time_after_its_last_use(monkeypatch):
    now = [0.0]
    for module in ("session", "sessions"):
        clock = SimpleNamespace(monotonic=lambda: now[0])
        monkeypatch.setattr(f"cyclegan.web.{module}.time", clock)
    sessions, used, unused = Sessions(lifetime=0.1), session_of(), session_of()
    for name, session in (("used", used), ("unused", unused)):
        session.held()
        sessions.open(name, session)
    now[0] = 0.06
    used.held()
    now[0] = 0.12
    until(lambda: unused.volume is None)
    assert used.volume is not None
    now[0] = 0.18
    until(lambda: used.volume is None)
    assert "used" not in sessions


# One upload, one reader, one failure at a time.


def test_the_same_file_sent_twice_at_once_is_read_twice(server):
    data, barrier = png(), threading.Barrier(2)

    def translate(_):
        with Tab(server.url) as tab:
            file = tab.upload("scan.png", data)
            barrier.wait(WAIT_S)
            answer = tab.do("load", [file], "T2")
            barrier.wait(WAIT_S)
            return file["path"], answer

    with ThreadPoolExecutor(2) as pool:
        (path, one), (other_path, other) = pool.map(translate, range(2))
    assert path != other_path
    assert "scan.png is loaded" in one.status
    assert "scan.png is loaded" in other.status
    assert not any(Path(each).parents[1].exists() for each in (path, other_path))


def test_a_failure_does_not_poison_what_follows(server, client, tmp_path, monkeypatch, caplog):
    (tmp_path / "scan.png").write_bytes(png())
    file = handle_file(str(tmp_path / "scan.png"))
    volume = nib.Nifti1Image(np.repeat(pixels()[..., None], 40, axis=2), np.eye(4)).to_bytes()

    patient = "Doe"

    def broken(*_, **__):
        raise MemoryError(patient)

    with Tab(server.url) as tab:
        tab.open("scan.nii", volume)
        with monkeypatch.context() as patch:
            patch.setattr(server.page.model.translator, "cycle", broken)
            assert "fault of ours" in tab.do("Translate", "T2", 1).status
            assert "fault of ours" in tab.do("All slices", "T2", 1).status
            with pytest.raises(AppError, match="fault of ours"):
                client.predict(file, "T2", api_name="/translate")
        assert "Doe" not in caplog.text
        assert "scan.nii: T1 → T2" in tab.do("Translate", "T2", 1).status
        assert "all 40 slices" in tab.do("All slices", "T2", 1).status
        assert client.predict(file, "T2", api_name="/translate")["shape"] == [1, 64, 64]
    assert server.page.model.turns._thread.is_alive()


def test_a_failure_in_the_middle_of_a_volume_leaves_what_is_done(page, monkeypatch):
    session, translate = session_of(), page.model.translator.cycle
    calls = []

    def breaks_once(*given, **options):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError
        return translate(*given, **options)

    monkeypatch.setattr(page.model.translator, "cycle", breaks_once)
    *_, last = app.in_steps(page.translate_all)(session, "T2", 1, "tab")
    assert isinstance(last, Step)
    assert "fault of ours" in last.status
    assert len(session.missing("T2")) == 5
    *_, last = page.translate_all(session, "T2", 1, "tab")
    assert "all 6 slices" in last.status


@pytest.mark.parametrize("kind", ["flipped bit", "pickle"])
def test_weights_that_are_not_what_they_say_end_the_start(weights, tmp_path, kind):
    folder, ran = tmp_path / "weights", tmp_path / "ran"
    folder.mkdir()
    config = json.loads((weights / "config.json").read_text("utf-8"))
    data = bytearray((weights / "model.safetensors").read_bytes())
    if kind == "pickle":
        data = pickle.dumps(_Opens(str(ran)))
    else:
        data[-5] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    if kind == "pickle":  # a stranger would give a checksum that fits
        config["sha256"] = file_sha256(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    done = run_to_its_end(folder)
    assert done.returncode == 2
    *_, sentence = done.stderr.strip().splitlines()
    assert str(folder / "model.safetensors") in sentence
    assert {"flipped bit": "checksum", "pickle": "does not fit"}[kind] in sentence
    assert "Traceback" not in done.stderr
    assert not ran.exists()


class _Opens:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_the_readme_tells_the_limits():
    text = (ROOT / "README.md").read_text("utf-8")
    for words in (
        f"{limits.UPLOAD_BYTES // limits.MIB} MB, {limits.UPLOAD_FILES} files",
        f"{limits.UNPACKED_BYTES // 2**30} GiB unpacked",
        f"{limits.SLICE_PIXELS // 2**20} million pixels; {limits.SCAN_VOXELS // 2**20} million vox",
        f"{limits.WHOLE_VOXELS // 2**20} million voxels ({limits.WHOLE_VOXELS // 2**16} slices of",
        f"{limits.API_VOXELS // 2**20} million ({limits.API_VOXELS // 2**16})",
        f"{limits.OPENING_S:.0f} s, {limits.SLICE_S:.0f} s, {limits.API_S:.0f} s, "
        f"{limits.WHOLE_S / 60:.0f} minutes",
        f"{limits.QUEUE}, of them {limits.TAB_WAITING} of one tab",
    ):
        assert words in text
