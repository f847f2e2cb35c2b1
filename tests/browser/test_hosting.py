"""The page in a browser behind nginx with TLS, at the top of a host and below a path.

Black boxes only: `python app.py` as a process, the lines of docs/hosting.md, a browser.
"""

from __future__ import annotations

import re
import subprocess
import time

import httpx
import pytest
from files import drop, write_volume
from nginx import running
from pixels import statistics
from serve import READY
from server_process import ROOT, ServerProcess, free_port

START_S = 60.0  # two busy cores


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A folder with a self-signed certificate of 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    options = "-x509 -newkey rsa:2048 -nodes -subj /CN=here -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", folder / "brain.key", "-out", folder / "brain.pem"]
    subprocess.run(["openssl", "req", *options.split(), *files], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    path = tmp_path_factory.mktemp("volume") / "volume.nii.gz"
    return write_volume(path, slices=3, contrast="T1").read_bytes()


def documented(root_path):
    """The lines of docs/hosting.md, and as a proxy has them that says nothing of TLS."""
    text = (ROOT / "docs/hosting.md").read_text("utf-8")
    top, below, _ = re.findall(r"```nginx\n(.+?)```", text, re.DOTALL)
    if root_path:
        other = "location / { return 204; }\n"  # browsers ask the top of a host for its icon
        return [re.sub(r"location / \{.+\}\n", below + other, top)]
    return [top, re.sub(r".*(X-Forwarded-Proto|request_buffering).*\n", "", top)]


def until_it_answers(url):
    deadline = time.monotonic() + START_S
    while True:
        try:
            return httpx.get(url, verify=False, trust_env=False)
        except httpx.HTTPError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def use(chromium, address, data):
    """Drop a volume on the page, go through two slices, save one; what went wrong on the way."""
    context = chromium.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.set_default_timeout(90_000)  # two busy cores
    wrong, asked = [], set()
    page.on("request", lambda request: asked.add(request.url))
    page.on("console", lambda line: line.type == "error" and wrong.append(line.text))
    page.on("response", lambda got: got.status >= 400 and wrong.append(f"{got.status} {got.url}"))
    page.goto(address)
    page.wait_for_selector(READY)
    drop(page, {"volume.nii.gz": data})
    page.wait_for_selector(".viewer[data-index='1'] [data-panel=translated].filled")
    page.locator("[popovertarget=menu-save]:enabled").wait_for()
    before = [statistics(page, name) for name in ("original", "translated")]
    page.locator("#viewer canvas").first.hover()
    page.mouse.wheel(0, 200)
    page.wait_for_selector(".viewer[data-index='2'] [data-panel=translated].filled")
    after = [statistics(page, name) for name in ("original", "translated")]
    assert all(a != b for a, b in zip(before, after, strict=True))
    page.locator("[popovertarget=menu-save]").click()
    with page.expect_download() as download:
        page.locator("[data-save=png]").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    context.close()
    return wrong + [url for url in asked if not url.startswith((address, "data:", "blob:"))]


@pytest.mark.parametrize("root_path", ["", "/brain"])
def test_behind_tls_as_the_document_says(chromium, certificate, volume, tmp_path, root_path):
    with ServerProcess(tmp_path / "server", GRADIO_ROOT_PATH=root_path) as server:
        for number, lines in enumerate(documented(root_path)):
            here, folder = f"127.0.0.1:{free_port()}", tmp_path / f"nginx{number}"
            folder.mkdir()
            for text, instead in (
                ("listen 443 ssl", f"listen {here} ssl"),
                ("/etc/ssl", str(certificate)),
                ("http://127.0.0.1:7860", server.url),
            ):
                assert text in lines
                lines = lines.replace(text, instead)
            with running(folder, f"access_log off;\n{lines}"):
                answer = until_it_answers(f"https://{here}{root_path}")
                assert not root_path or answer.headers["location"].endswith("/brain/")
                assert use(chromium, f"https://{here}{root_path}/", volume) == []
            is_buffered = "buffered to a temporary file" in (folder / "error").read_text()
            assert is_buffered == (lines.count("request_buffering") == 0)
