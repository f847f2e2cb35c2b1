"""After a session nothing of it is anywhere: disk, log, browser, other sessions, other origins.

The server is a process of its own, with home and temporary files in a folder that is searched for
the pixels and the names of what was sent, as they were sent and as they come back.
"""

from __future__ import annotations

import base64
import os
import re
import socket
import sys
import tempfile
import time
import zlib
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from files import drop, give
from serve import CHROMIUM_ARGUMENTS, READY, find_chromium

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from dicom_files import mr_image
from intact_files import dicom_bytes
from server_process import ServerProcess, Tab

from cyclegan.server import middleware

KEPT_BY_BROWSERS = (*middleware.CACHEABLE, "/viewer/")  # parts of the page itself

GONE_S = 60.0  # two busy cores
NAME = "Quxiberg_Zoltana"
PATIENT = "Quxiberg^Zoltana"
STORES = """async () => JSON.stringify({
  local: { ...localStorage },
  session: { ...sessionStorage },
  databases: (await indexedDB.databases()).map((database) => database.name),
  caches: await caches.keys(),
  cookies: document.cookie,
  workers: (await navigator.serviceWorker.getRegistrations()).length,
})"""


class Scan:
    """A DICOM slice of noise, which is found wherever a piece of it is kept."""

    def __init__(self, seed: int):
        self.pixels = np.random.default_rng(seed).integers(0, 4096, (256, 256), dtype=np.uint16)
        dataset = mr_image(self.pixels)
        dataset.PatientName, dataset.PatientID = PATIENT, "Q-4711-XYZZY"
        self.name = f"{NAME}_{seed}.dcm"
        self.data = dicom_bytes(dataset)

    def patterns(self, images: dict) -> dict[str, bytes]:
        """What must be nowhere: names, and pieces of pixels as sent, scaled and translated."""
        found = {}
        for each in (NAME, PATIENT, "Q-4711-XYZZY"):
            for form in (each, each.lower(), each.upper(), quote(each)):
                found[form] = form.encode()
                found[f"{form} in UTF-16"] = form.encode("utf-16-le")
        middle = self.pixels.tobytes()
        found["uploaded pixels"] = middle[60_000:60_024]
        found["uploaded pixels in base64"] = base64.b64encode(middle[60_000:60_024])
        for name, values in images.items():
            found[name] = values.tobytes()[60_000:60_024]
            found[f"{name} in base64"] = base64.b64encode(values.tobytes()[60_000:60_024])
        return found


def contents(data: bytes) -> list[bytes]:
    """The bytes of a file, and what is deflated (gzip, zlib) somewhere in them."""
    found = [data]
    for start in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", data):
        try:
            packed = data[start.start() :]
            found.append(zlib.decompressobj(47).decompress(packed, 2**24))
        except zlib.error:
            continue
    return found


def traces(folder: Path, patterns: dict[str, bytes]) -> list[str]:
    """What of `patterns` is in the files below `folder`, or in their names."""
    found = []
    for base, folders, files in os.walk(folder):
        for name in folders + files:
            found += [f"{what} names {name}" for what, p in patterns.items() if p in name.encode()]
        for name in files:
            try:
                data = Path(base, name).read_bytes()
            except OSError:  # sockets, and what is gone already
                continue
            for content in contents(data):
                found += [f"{what} in {name}" for what, p in patterns.items() if p in content]
    return found


def wait_until(condition, seconds: float = GONE_S) -> bool:
    """Whether `condition` comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ServerProcess(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def scan(server):
    """A scan, and all its `patterns`; a first session has sent it, got it back and ended."""
    scan = Scan(1)
    with Tab(server.url) as tab:
        tab.open(scan.name, scan.data)
        tab.translated(0)
        names = ("original", "translated", "reconstructed")
        scan.all = scan.patterns({name: tab.image(name) for name in names})
    return scan


def browser_page(context, url):
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(url)
    page.wait_for_selector(READY)
    return page


def send(page, scan):
    """Drop a file, and wait until it is shown."""
    give(page, lambda: drop(page, {scan.name: scan.data}))


def translate(page):
    page.get_by_role("button", name="Translate anyway").click()  # noise is no head
    page.wait_for_selector("[data-panel=translated].filled")


def test_the_search_finds_what_is_there(tmp_path, scan):
    (tmp_path / "kept").write_bytes(b"..." + zlib.compress(scan.data) + b"...")
    (tmp_path / f"{NAME}.txt").write_bytes(b"")
    found = " ".join(traces(tmp_path, scan.all))
    assert "uploaded pixels in kept" in found
    assert f"{PATIENT} in kept" in found
    assert f"{NAME} names {NAME}.txt" in found


@pytest.fixture
def browser_home():
    """A folder of short name: Chromium puts a socket into it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_a_finished_session_leaves_nothing(server, scan, chromium, browser_home, tmp_path):
    asked, answers, sockets = [], [], []
    with persistent(chromium, browser_home, tmp_path / "downloads") as context:
        context.on("request", lambda request: asked.append(request.url))
        context.on("response", lambda response: answers.append(response))
        page = browser_page(context, server.url)
        page.on("websocket", lambda opened: sockets.append(opened.url))
        send(page, scan)
        translate(page)
        for kind in ("png", "nifti"):
            page.get_by_role("button", name="Save", exact=True).click()
            with page.expect_download() as download:
                page.locator(f"[data-save={kind}]").click()
            assert NAME not in download.value.suggested_filename
        page.wait_for_timeout(3000)  # what is cached is written with a delay
        stores = page.evaluate(STORES)
        headers = {answer.url: answer.headers for answer in answers}
        page.close()
    outside = [url for url in asked if not url.startswith((server.url, "blob:", "data:"))]
    assert outside == []
    assert sockets == []
    ours = {u.removeprefix(server.url): h for u, h in headers.items() if u.startswith(server.url)}
    assert any("/images/" in url for url in ours)
    kept = {url for url, h in ours.items() if "no-store" not in h.get("cache-control", "")}
    assert {url for url in kept if not url.startswith(KEPT_BY_BROWSERS)} == set()
    assert not [what for what, p in scan.all.items() if p in stores.encode()]
    assert '"databases":[],"caches":[],"cookies":"","workers":0' in stores, stores

    assert any(browser_home.rglob("*")), "there is no profile to search"
    assert traces(browser_home, scan.all) == []
    cached = cached_addresses(browser_home)
    assert any("/assets/" in url for url in cached), "the browser's cache was not found"
    paths = {url.split(server.url, 1)[1] for url in cached if server.url in url}
    assert {path for path in paths if not path.startswith(KEPT_BY_BROWSERS)} == set()

    assert wait_until(lambda: server.uploads() == [])
    assert traces(server.folder, scan.all) == []


@contextmanager
def persistent(chromium, home: Path, downloads: Path):
    """A browser that writes its profile below `home`."""
    for name in ("tmp", "profile"):
        (home / name).mkdir()
    context = chromium.browser_type.launch_persistent_context(
        home / "profile",
        executable_path=find_chromium(),
        args=CHROMIUM_ARGUMENTS,
        downloads_path=downloads,
        env={**os.environ, "HOME": str(home), "TMPDIR": str(home / "tmp")},
    )
    try:
        yield context
    finally:
        context.close()


def cached_addresses(folder: Path) -> set[str]:
    """Addresses of what Chromium keeps in its disk cache: the last word of each entry's key."""
    found = set()
    for path in folder.rglob("Cache_Data/*_0"):
        data = path.read_bytes()
        length = int.from_bytes(data[12:16], "little")  # net/disk_cache/simple, SimpleFileHeader
        found.add(data[24 : 24 + length].decode().split()[-1])
    return found


def half_an_upload(server, scan) -> socket.socket:
    """Send the first three quarters of a file to where programs send theirs, and to the page's."""
    head = (
        f'--cut\r\nContent-Disposition: form-data; name="files"; filename="{scan.name}"\r\n'
        "Content-Type: application/dicom\r\n\r\n"
    ).encode()
    whole = head + scan.data + b"\r\n--cut--\r\n"
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
    for connection in half_an_upload(server, scan):
        assert traces(server.folder, scan.all) == []  # nor while it arrives
        connection.close()
    assert wait_until(lambda: server.uploads() == []), server.uploads()
    assert traces(server.folder, scan.all) == []


def test_a_tab_that_is_closed_in_the_middle_leaves_nothing(server, scan, chromium):
    for closing in ("sending", "loading", "translating"):
        context = chromium.new_context()
        page = browser_page(context, server.url)
        if closing == "sending":
            drop(page, {scan.name: scan.data})
        elif closing == "loading":
            with page.expect_response(re.compile("/scans$")):
                drop(page, {scan.name: scan.data})
        else:
            send(page, scan)
            page.get_by_role("button", name="Translate anyway").click()
        context.close()
    assert wait_until(lambda: server.uploads() == []), server.uploads()
    assert traces(server.folder, scan.all) == []


def test_what_a_killed_server_leaves_is_nothing(scan, tmp_path):
    with ServerProcess(tmp_path) as server:
        tab = Tab(server.url)
        tab.open(scan.name, scan.data)
        connections = list(half_an_upload(server, Scan(2)))
        server.kill()
        for connection in connections:
            connection.close()
        tab.http.close()
        assert traces(tmp_path, {**scan.all, **Scan(2).patterns({})}) == []


def test_two_users_see_their_own_and_cannot_fetch_each_others(server, chromium):
    scans = {"first": Scan(3), "second": Scan(4)}
    contexts = {who: chromium.new_context() for who in scans}
    pages = {who: browser_page(context, server.url) for who, context in contexts.items()}
    for who, page in pages.items():
        send(page, scans[who])
        translate(page)
    assert NAME not in "".join(page.inner_text("body") for page in pages.values())
    drawn = "document.querySelector('[data-panel=original] canvas').toDataURL()"
    assert pages["first"].evaluate(drawn) != pages["second"].evaluate(drawn)
    pages["first"].get_by_role("button", name="Save", exact=True).click()
    with pages["first"].expect_download() as download:
        pages["first"].locator("[data-save=png]").click()
    assert download.value.path().stat().st_size > 1000
    token = pages["first"].evaluate("sessionStorage.getItem('scan')")
    assert len(token) >= 40
    status = "(url) => fetch(url).then((answer) => answer.status)"
    for path in (token[:-1], f"{token[:-1]}x/images/0/original/0", f"x{token}/files/0"):
        assert pages["second"].evaluate(status, f"{server.url}/scans/{path}") == 404
    for context in contexts.values():
        context.close()


def test_the_log_says_nothing_of_the_users(server, scan):
    before = server.log()
    with Tab(server.url) as tab:
        assert "error" in tab.open(scan.name, b"no image at all")
        tab.open(scan.name, scan.data[:-1000])
    log = server.log()
    assert "Running on" in log
    assert not [what for what, pattern in scan.all.items() if pattern in log.encode()]
    assert "Traceback" not in log.removeprefix(before)
