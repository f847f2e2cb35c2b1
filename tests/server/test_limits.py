"""Every limit of `cyclegan.server.limits`, met the way that strangers meet it."""

import contextlib
import io
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from dicom_files import mr_image, saved
from PIL import Image
from pydicom.uid import RLELossless
from server_process import Program, Tab
from small_scans import WAIT_S, busy, done, head, members, nifti, png, volume_of

from cyclegan.reading.deadline import TimeLimitExceeded, time_limit
from cyclegan.reading.dicom import decoder
from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files
from cyclegan.server import limits
from cyclegan.server.errors import UserError
from cyclegan.server.scan import Scan
from cyclegan.server.scans import Scans
from cyclegan.server.series import Series
from cyclegan.server.uploads import Uploads

MIB = limits.MIB


@pytest.mark.parametrize(
    ("cores", "gib", "openings", "held"),
    [
        (2, 16, 2, 5),
        (1, 2, 2, 5),  # what is smaller has the same limits
        (16, 64, 8, 20),
        (16, 16, 2, 5),  # many cores with little memory read no more at once
    ],
)
def test_limits_fit_the_machine(cores, gib, openings, held, monkeypatch):
    monkeypatch.setattr(limits, "_CORES", cores)
    monkeypatch.setattr(limits, "_MEMORY", gib * 2**30)
    assert limits.at_once(1, 32, 8192 * MIB) == openings
    assert limits.share_of_memory(5120 * MIB, 5 / 16) == held * 2**30


def test_a_container_counts_what_it_may_use(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    cores, memory = limits.machine(tmp_path)
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert limits.machine(tmp_path) == (1, 2**30)
    assert cores >= 1
    assert memory > 2**30


# What comes in.


def send(served, files, where="scans"):
    return httpx.post(f"{served.url}{where}", files=files, timeout=WAIT_S)


@pytest.mark.parametrize("where", ["scans", "gradio_api/upload"])
@pytest.mark.parametrize(
    ("limit", "most", "sizes", "status", "message"),
    [
        ("UPLOAD_BYTES", MIB, [3 * MIB], 413, limits.TOO_LARGE),
        ("UPLOAD_BYTES", MIB, [MIB] * 3, 413, limits.TOO_LARGE),
        ("UPLOAD_FILES", 20, [1] * 21, 413, limits.TOO_MANY_FILES),
        ("UPLOADING_BYTES", MIB, [2 * MIB], 503, limits.BUSY),  # of everybody
    ],
)
def test_uploads_are_bounded(served, monkeypatch, where, limit, most, sizes, status, message):
    monkeypatch.setattr(limits, limit, most)
    files = [("files", (f"{number}", bytes(size))) for number, size in enumerate(sizes)]
    response = send(served, files, where)
    assert response.status_code == status
    assert message in response.text
    response = send(served, [("files", ("a.png", png(head())))], where)
    assert response.is_success  # nothing is left of the others


def test_files_of_programs_that_are_not_asked_for_are_bounded_and_go(tmp_path, monkeypatch):
    uploads = Uploads(tmp_path)
    monkeypatch.setattr(limits, "WAITING_UPLOAD_BYTES", 150)
    (path,) = uploads.hold(members(("a", bytes(100))))
    with pytest.raises(UserError, match="Too many files"):
        uploads.hold(members(("b", bytes(100))))
    monkeypatch.setattr(limits, "WAITING_UPLOAD_S", -1)
    assert uploads.hold(members(("b", bytes(100))))
    assert path not in uploads


def test_an_upload_that_stops_on_its_way_is_given_up(served, monkeypatch):
    monkeypatch.setattr(limits, "UPLOAD_PAUSE_S", 0.1)
    answered = threading.Event()

    def halting():
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        answered.wait(1)
        yield b"x\r\n--x--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    response = httpx.post(f"{served.url}scans", content=halting(), headers=kind, timeout=WAIT_S)
    assert response.status_code == 408
    assert "stopped on its way" in response.json()["error"]


def test_other_requests_are_small(served):
    for where in ("gradio_api/queue/join", "scans/x/choices"):
        response = httpx.post(f"{served.url}{where}", content=bytes(3 * MIB))
        assert response.status_code == 413
        assert set(response.json().values()) == {limits.BODY_TOO_LARGE}


def test_a_slice_has_at_most_so_many_pixels(served):
    buffer = io.BytesIO()
    Image.new("1", (8193, 8193)).save(buffer, "PNG")
    with Tab(served.url) as tab:
        error = tab.open("wide.png", buffer.getvalue())["error"]
    assert "wide.png: 8193 x 8193 pixels" in error
    assert "64 million per slice" in error


def test_a_whole_scan_has_at_most_so_many_voxels(served, monkeypatch):
    volume = np.repeat(head(256)[None], 65, axis=0)
    with Program(served.url) as program:
        _, error = program.call(program.upload("big.nii", nifti(volume)), "T2")
    assert error.startswith("65 × 256 × 256 voxels are too many")
    assert "4,194,304 are. Run " in error
    with Tab(served.url) as tab:
        tab.open("scan.nii", nifti(head(slices=3)))
        tab.translated()
        monkeypatch.setattr(limits, "WHOLE_VOXELS", 64 * 64 * 2)
        assert "3 × 64 × 64 voxels are too many" in tab.order("nifti")["error"]
        assert tab.save("png")


# Time.


def test_opening_and_saving_end_when_their_time_is_up(served, monkeypatch):
    data = nifti(head(slices=8))
    with Tab(served.url) as tab:
        with monkeypatch.context() as patch:
            patch.setattr(limits, "OPENING_S", 1e-4)
            error = tab.open("scan.nii", data)["error"]
            assert "Opening these files took more than 0 s and was stopped;" in error
        assert tab.open("scan.nii", data)["slices"] == 8
        tab.until(lambda state: state["check"])
        monkeypatch.setattr(limits, "SAVE_S", 0.1)
        with busy(served.scans.model):
            tab.order("nifti")
            error = tab.until(lambda state: state["save"]["error"])["save"]["error"]
        assert "Saving took more than 0 s and was stopped;" in error


def test_a_decoder_that_hangs_is_no_damage_when_the_time_is_up(tmp_path):
    dataset = mr_image(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))
    dataset.compress(RLELossless)
    path = saved(tmp_path, dataset)
    read_volume(path)
    others = decoder.helper.lock  # somebody else's image is being decoded
    with others, pytest.raises(TimeLimitExceeded), time_limit(0.2):
        open_files([path]).read(0)
    hanging = decoder.helper.pid
    os.kill(hanging, signal.SIGSTOP)
    with pytest.raises(TimeLimitExceeded), time_limit(0.2):
        open_files([path]).read(0)
    with pytest.raises(ProcessLookupError):
        os.kill(hanging, 0)
    assert read_volume(path).pixels.shape == (1, 64, 64)


def test_an_api_call_that_takes_too_long_frees_its_turn(served, monkeypatch):
    with Program(served.url) as program:

        def call():
            return program.call(program.upload("scan.png", png(head())), "T2")

        with monkeypatch.context() as patch, busy(served.scans.model):
            patch.setattr(limits, "API_S", 0.3)
            for _ in range(limits.API_AT_ONCE + 1):
                assert call()[1].startswith("This request took more than")
        assert call()[1] == ""


# Waiting.


def test_all_programs_that_wait_are_answered(served):
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(Program(served.url)) for _ in range(limits.API_AT_ONCE + 6)]
        with busy(served.scans.model):
            for program in programs:
                program.join(program.upload("scan.png", png(head())), "T2")
        assert [program.answer()[1] for program in programs] == [""] * len(programs)


def test_thirty_two_users_at_once_are_all_served_in_order(served, monkeypatch):
    model, widths, order = served.scans.model, range(64, 96), []
    cycle = model.translator.cycle

    def note(pixels, *rest, **options):
        order.append(pixels.shape[-1])
        return cycle(pixels, *rest, **options)

    tabs = [Tab(served.url) for _ in widths]
    with busy(model):
        monkeypatch.setattr(model.translator, "cycle", note)
        for tab, width in zip(tabs, widths, strict=True):
            tab.open("scan.png", png(head(width)))
            tab.until(lambda state: state["translating"])
        waiting = [tab.get().json() for tab in tabs]
    with ThreadPoolExecutor(len(tabs)) as pool:
        states = list(pool.map(lambda tab: tab.translated(), tabs))
    assert [state["place"] for state in waiting] == list(range(1, 33))
    assert all(state["seconds"] is not None for state in waiting)
    assert all((state["place"], state["translating"]) == (None, False) for state in states)
    assert [state["ready"] for state in states] == [[[0, 0]]] * len(tabs)
    assert order == list(widths)
    for tab in tabs:
        tab.close()


# Memory.


def test_who_is_longest_away_loses_translations_first_then_the_scan(model):
    scans = Scans(model, most=10**9)
    first, second, third = (
        scans.hold(Scan(Series(model, volume_of(head(slices=4))))) for _ in range(3)
    )
    for scan in (first, second, third):
        scan.check()
        done(scan).touch()
    first.touch()  # the second one is the oldest now
    scans.most = sum(scan.held_bytes for scan in (first, second, third)) - 1
    scans.trim()
    assert [scan.result_bytes > 0 for scan in (first, second, third)] == [True, False, True]
    second.touch()
    second.choose(index=1)  # on screen again, it is translated again
    assert done(second).result_bytes
    scans.most = 2 * second.held_bytes + 1
    scans.trim()
    assert [scan.is_closed for scan in (first, second, third)] == [False, False, False]
    assert first.result_bytes == third.result_bytes == 0
    scans.most = second.held_bytes + first.held_bytes
    scans.trim()
    assert [scan.is_closed for scan in (first, second, third)] == [False, False, True]
    assert len(scans) == 2


def test_the_scan_that_was_used_last_always_stays_and_so_many_others(model, monkeypatch):
    def held(scans):
        return [scans.hold(Scan(Series(model, volume_of(head()[None])))) for _ in range(4)]

    assert [scan.is_closed for scan in held(Scans(model, most=1))] == [True, True, True, False]
    monkeypatch.setattr(limits, "SCANS", 2)
    assert [scan.is_closed for scan in held(Scans(model))] == [True, True, False, False]


def test_uncertainty_maps_and_files_count_as_memory(scans):
    data = png(head())
    scan = scans.hold(Scan.open(scans.model, members(("a.png", data))))
    assert scan.held_bytes == len(data) + 64 * 64 * 4
    scan.check()
    view = done(scan).view(scan.key())
    before = scan.held_bytes
    measured = scan.measured(view, 0).result()
    assert measured.map is None  # of weights without calibration
    view.stored(0).measured = measured._replace(map=np.zeros((64, 64), "<f4"))
    assert scan.held_bytes == before + 64 * 64 * 4


def test_a_scan_is_forgotten_after_its_tab_or_after_its_last_use(scans, opened):
    used, polled, left = (opened(head()[None]) for _ in range(3))
    now = time.monotonic()
    used.last_used = used.last_seen = now - 1
    polled.last_used, polled.last_seen = now - limits.SCAN_S - 1, now
    left.last_used = left.last_seen = now - limits.TAB_S - 1
    scans.sweep()
    assert [scan.is_closed for scan in (used, polled, left)] == [False, True, True]


# One upload, one user, one failure at a time.


def test_the_same_file_sent_twice_at_once_is_read_twice(served):
    data, barrier = png(head()), threading.Barrier(2)

    def translate(_):
        with Program(served.url) as program:
            file = program.upload("scan.png", data)
            barrier.wait(WAIT_S)
            return file["path"], program.call(file, "T2", None, "translation")

    with ThreadPoolExecutor(2) as pool:
        (path, one), (other_path, other) = pool.map(translate, range(2))
    assert path != other_path
    assert one[1] == other[1] == ""
    assert one[0]["translated"] == other[0]["translated"]


def test_the_documentation_has_the_limits():
    text = (Path(__file__).parents[2] / "docs/hosting.md").read_text("utf-8")
    for words in (
        f"{limits.UPLOAD_BYTES // MIB} MB, {limits.UPLOAD_FILES} files",
        f"{limits.UNPACKED_BYTES // 2**30} GiB unpacked",
        f"{limits.SLICE_PIXELS // 2**20} million pixels; {limits.SCAN_VOXELS // 2**20} million vox",
        f"{limits.WHOLE_VOXELS // 2**20} million voxels ({limits.WHOLE_VOXELS // 2**16} slices of",
        f"{limits.API_VOXELS // 2**20} million ({limits.API_VOXELS // 2**16})",
        f"{limits.OPENING_S:.0f} s, {limits.API_S:.0f} s, {limits.SAVE_S / 60:.0f} minutes",
        f"requests of programs that wait | {limits.QUEUE}",
    ):
        assert words in text
