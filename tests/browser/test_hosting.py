"""The page as others reach it: through nginx with TLS, below a path, and from a machine whose
environment names a proxy; what keeps it from starting is said in one sentence.

Black boxes only: `python app.py` as a process, the lines of docs/hosting.md, a browser.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from files import drop
from nginx import running
from pixels import statistics
from serve import READY

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from server_process import free_port

from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair

ROOT = Path(__file__).parents[2]
START_S = 180.0  # two busy cores


@contextmanager
def started(folder, *options, **environment):
    """`python app.py`, and its port."""
    port = free_port()
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("GRADIO")}
    temporary = {"TMPDIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False"}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), *options],
            cwd=ROOT,
            env=inherited | temporary | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            until_it_answers(f"http://127.0.0.1:{port}/", process, folder / "log")
            yield port
        finally:
            process.terminate()


def until_it_answers(url, process, log):
    deadline = time.monotonic() + START_S
    while True:
        try:
            httpx.get(url, verify=False, trust_env=False).raise_for_status()
            return
        except httpx.HTTPError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate of 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(here, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "brain.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "brain.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return folder


def documented():
    """The lines of docs/hosting.md: of a server, and of its location below a path."""
    text = (ROOT / "docs/hosting.md").read_text("utf-8")
    server, below, _ = re.findall(r"```nginx\n(.+?)```", text, re.DOTALL)
    return server, below


@contextmanager
def nginx(folder, certificate, lines, port):
    """nginx with the lines of a server in front of `port`: the origin and its error log."""
    folder.mkdir()
    here = f"127.0.0.1:{free_port()}"
    for said, instead in (
        ("listen 443 ssl", f"listen {here} ssl"),
        ("/etc/ssl", str(certificate)),
        ("127.0.0.1:7860", f"127.0.0.1:{port}"),
    ):
        assert said in lines
        lines = lines.replace(said, instead)
    with running(folder, f"access_log off;\n{lines}") as process:
        until_it_answers(f"https://{here}/", process, folder / "error")
        yield f"https://{here}", folder / "error"


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """Three simulated slices of a head in one NIfTI file."""
    slices = [
        simulate_pair(draw_slice(1, level), np.random.default_rng(0)).t1
        for level in (0.45, 0.5, 0.55)
    ]
    voxels = (1000 * np.stack(slices)).astype(np.int16).transpose(2, 1, 0)[:, ::-1]
    path = tmp_path_factory.mktemp("volume") / "volume.nii.gz"
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, 1.0, 3.0, 1.0])), path)
    return path.read_bytes()


def use(chromium, address, data):
    """Drop a volume on the page, look at two slices, save one; what went wrong on the way."""
    context = chromium.new_context(
        ignore_https_errors=True, viewport={"width": 1400, "height": 900}
    )
    page = context.new_page()
    page.set_default_timeout(90_000)  # two busy cores
    wrong, asked = [], set()
    page.on("request", lambda request: asked.add(request.url))
    page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    page.on(
        "response",
        lambda got: wrong.append(f"{got.status} {got.url}") if got.status >= 400 else None,
    )
    try:
        page.goto(address)
        page.wait_for_selector(READY)
        drop(page, {"volume.nii.gz": data})
        page.wait_for_selector(".viewer[data-index='1'] [data-panel=translated].filled")
        button = page.get_by_role("button", name="Save", exact=True)
        page.wait_for_function("(button) => !button.disabled", arg=button.element_handle())
        before = [statistics(page, name) for name in ("original", "translated")]
        page.locator("#viewer canvas").first.hover()
        page.mouse.wheel(0, 200)
        page.wait_for_selector(".viewer[data-index='2'] [data-panel=translated].filled")
        after = [statistics(page, name) for name in ("original", "translated")]
        assert all(a != b for a, b in zip(before, after, strict=True))
        button.click()
        with page.expect_download() as download:
            page.locator("[data-save=png]").click()
        assert download.value.path().read_bytes().startswith(b"\x89PNG")
    finally:
        context.close()
    return wrong + [url for url in asked if not url.startswith((address, "data:", "blob:"))]


@pytest.fixture(scope="module")
def at_the_top(tmp_path_factory):
    with started(tmp_path_factory.mktemp("top")) as port:
        yield port


def test_behind_tls_as_the_document_says(chromium, at_the_top, certificate, volume, tmp_path):
    server, _ = documented()
    assert "X-Forwarded-Proto $scheme" in server
    with nginx(tmp_path / "nginx", certificate, server, at_the_top) as (origin, log):
        assert use(chromium, f"{origin}/", volume) == []
        assert "buffered to a temporary file" not in log.read_text()


def test_behind_a_tls_proxy_that_says_nothing_of_it(
    chromium, at_the_top, certificate, volume, tmp_path
):
    server, _ = documented()
    bare = re.sub(r".*(X-Forwarded-Proto|request_buffering).*\n", "", server)
    with nginx(tmp_path / "nginx", certificate, bare, at_the_top) as (origin, log):
        assert use(chromium, f"{origin}/", volume) == []
        # Else the test above sees nothing in its log.
        assert "buffered to a temporary file" in log.read_text()


def test_below_a_path_which_the_proxy_takes_away_or_leaves(chromium, certificate, volume, tmp_path):
    server, below = documented()
    whole = "location / { proxy_pass http://127.0.0.1:7860; }\n"
    assert whole in server
    other = "location / { return 204; }\n"  # browsers ask the top of a host for its icon
    away = server.replace(whole, below + other)
    left = server.replace(whole, re.sub(r":7860/;", ":7860;", below) + other)
    assert left != away
    with started(tmp_path, "--root-path", "/brain") as port:
        for number, lines in enumerate((away, left)):
            folder = tmp_path / f"nginx{number}"
            with nginx(folder, certificate, lines, port) as (origin, _):
                assert use(chromium, f"{origin}/brain/", volume) == []
                answer = httpx.get(f"{origin}/brain", verify=False, trust_env=False)
                assert answer.headers["location"].endswith("/brain/")
