"""After a session nothing of it is anywhere: disk, log, browser, other sessions, other origins.

The server is a process of its own, with home and temporary files in a folder that is searched for
the pixels and the names of what was sent, as they were sent and as they come back.
"""

from __future__ import annotations

import base64
import os
import re
import socket
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from dicom_files import mr_image
from files import drop, give
from intact_files import dicom_bytes
from names import SOURCE, found_names, opened
from serve import CHROMIUM_ARGUMENTS, READY, find_chromium
from server_process import ServerProcess, Tab

from cyclegan.server import middleware

KEPT_BY_BROWSERS = (*middleware.CACHEABLE, "/viewer/")  # parts of the page itself
GONE_S = 60.0  # two busy cores
NAME = f"{SOURCE}.dcm"
STORES = """async () => JSON.stringify({
  local: { ...localStorage },
  session: { ...sessionStorage },
  databases: (await indexedDB.databases()).map((database) => database.name),
  caches: await caches.keys(),
  cookies: document.cookie,
  workers: (await navigator.serviceWorker.getRegistrations()).length,
})"""


def noise(seed: int) -> tuple[bytes, dict[str, bytes]]:
    """A DICOM slice of noise with a patient, and pieces by which its pixels are known."""
    pixels = np.random.default_rng(seed).integers(0, 4096, (256, 256), dtype=np.uint16)
    dataset = mr_image(pixels, SpecificCharacterSet="ISO_IR 192")
    dataset.PatientName, dataset.PatientID = SOURCE.replace("_", "^"), SOURCE
    return dicom_bytes(dataset), pieces("uploaded", pixels)


def pieces(name: str, pixels: np.ndarray) -> dict[str, bytes]:
    """What must be nowhere of an image: some pixels, plain and in base64."""
    data = pixels.tobytes()
    return {
        f"{name} pixels": data[60_000:60_024],
        f"{name} pixels in base64": base64.b64encode(data)[80_000:80_024],
    }


def traces(folder: Path, patterns: dict[str, bytes]) -> list[str]:
    """What of `patterns` and of the patient's name is in the files below `folder`, packed or not,
    or in their names."""
    found = []
    for base, folders, files in os.walk(folder):
        found += found_names(*folders, *files)
        for name in files:
            try:
                data = Path(base, name).read_bytes()
            except OSError:  # sockets, and what is gone already
                continue
            for content in opened(data):
                found += [f"{what} in {name}" for what, p in patterns.items() if p in content]
            found += [f"{what} in {name}" for what in found_names(data)]
    return found


def uploads_go(server) -> bool:
    """Whether no uploaded file is left in time."""
    deadline = time.monotonic() + GONE_S
    while server.uploads() and time.monotonic() < deadline:
        time.sleep(0.1)
    return server.uploads() == []


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ServerProcess(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def scan(server):
    """A file, and the patterns of all its images; a first session has sent it, got it back and
    ended."""
    data, patterns = noise(1)
    with Tab(server.url) as tab:
        tab.open(NAME, data)
        tab.translated(0)
        for name in ("original", "translated", "reconstructed"):
            patterns |= pieces(name, tab.image(name))
    return data, patterns


def test_the_search_finds_what_is_there(tmp_path, scan):
    data, patterns = scan
    (tmp_path / "kept").write_bytes(b"..." + zlib.compress(data) + b"...")
    (tmp_path / f"{SOURCE}.txt").write_bytes(b"")
    found = " ".join(traces(tmp_path, patterns))
    assert "uploaded pixels in kept" in found
    assert "utf-8 in kept" in found
    assert re.search("utf-8(?! in)", found)  # a file's name


def test_a_finished_session_leaves_nothing(server, scan, chromium, tmp_path):
    data, patterns = scan
    asked, headers, sockets = [], {}, []
    with tempfile.TemporaryDirectory() as home:  # of short name: Chromium puts a socket into it
        profile = Path(home, "profile")
        context = chromium.browser_type.launch_persistent_context(
            profile,
            executable_path=find_chromium(),
            args=CHROMIUM_ARGUMENTS,
            downloads_path=tmp_path / "downloads",
            env={**os.environ, "HOME": home, "TMPDIR": home},
        )
        context.on("request", lambda request: asked.append(request.url))
        context.on("response", lambda got: headers.update({got.url: got.headers}))
        page = context.new_page()
        page.on("websocket", lambda opened: sockets.append(opened.url))
        page.set_default_timeout(60_000)
        page.goto(server.url)
        page.wait_for_selector(READY)
        give(page, lambda: drop(page, {NAME: data}))
        page.get_by_role("button", name="Translate anyway").click()  # noise is no head
        page.wait_for_selector("[data-panel=translated].filled")
        page.get_by_role("button", name="Save", exact=True).click()
        with page.expect_download() as download:
            page.locator("[data-save=nifti]").click()
        assert download.value.path().stat().st_size > 1000
        page.wait_for_timeout(3000)  # what is cached is written with a delay
        stores = page.evaluate(STORES)
        assert traces(server.folder, patterns) == []  # nor if it were killed now
        context.close()

        assert traces(Path(home), patterns) == []
        cached = cached_addresses(profile)
        assert any("/assets/" in url for url in cached), "the browser's cache was not found"
        kept = {url.split(server.url, 1)[1] for url in cached if server.url in url}
    assert [url for url in asked if not url.startswith((server.url, "blob:", "data:"))] == []
    assert sockets == []
    ours = {u.removeprefix(server.url): h for u, h in headers.items() if u.startswith(server.url)}
    assert any("/images/" in url for url in ours)
    kept |= {url for url, h in ours.items() if "no-store" not in h.get("cache-control", "")}
    assert {url for url in kept if not url.startswith(KEPT_BY_BROWSERS)} == set()
    assert found_names(stores) == []
    assert '"databases":[],"caches":[],"cookies":"","workers":0' in stores, stores
    assert uploads_go(server)
    assert traces(server.folder, patterns) == []


def cached_addresses(folder: Path) -> set[str]:
    """Addresses of what Chromium keeps in its disk cache: the last word of each entry's key."""
    found = set()
    for path in folder.rglob("Cache_Data/*_0"):
        data = path.read_bytes()
        length = int.from_bytes(data[12:16], "little")  # net/disk_cache/simple, SimpleFileHeader
        found.add(data[24 : 24 + length].decode().split()[-1])
    return found


def half_an_upload(server, data: bytes) -> socket.socket:
    """Send the first three quarters of a file to where programs send theirs, and to the page's."""
    head = (
        f'--cut\r\nContent-Disposition: form-data; name="files"; filename="{NAME}"\r\n'
        "Content-Type: application/dicom\r\n\r\n"
    ).encode()
    whole = head + data + b"\r\n--cut--\r\n"
    host, port = server.url.removeprefix("http://").split(":")
    for path in ("/gradio_api/upload", "/scans"):
        connection = socket.create_connection((host, int(port)))
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(whole)}"
            "\r\nContent-Type: multipart/form-data; boundary=cut\r\n\r\n".encode()
        )
        connection.sendall(whole[: len(whole) * 3 // 4])
        time.sleep(0.5)
        yield connection


def test_an_upload_that_is_cut_off_leaves_nothing(server, scan):
    data, patterns = scan
    for connection in half_an_upload(server, data):
        assert traces(server.folder, patterns) == []  # nor while it arrives
        connection.close()
    assert uploads_go(server)
    assert traces(server.folder, patterns) == []


def test_two_users_see_their_own_and_cannot_fetch_each_others(server):
    with Tab(server.url) as first, Tab(server.url) as second:
        for seed, tab in enumerate((first, second), 3):
            tab.open(NAME, noise(seed)[0])
        assert (first.image("original") != second.image("original")).mean() > 0.9
        token = first.state["scan"]
        assert len(token) >= 40
        for path in (token[:-1], f"{token[:-1]}x/images/0/original/0", f"x{token}/files/0"):
            assert second.http.get(f"/scans/{path}").status_code == 404


def test_the_log_says_nothing_of_the_users(server, scan):
    before = server.log()
    with Tab(server.url) as tab:
        assert "error" in tab.open(NAME, b"no image at all")
        tab.open(NAME, scan[0][:-1000])
    log = server.log()
    assert "Running on" in log
    assert found_names(log) == []
    assert "Traceback" not in log.removeprefix(before)
