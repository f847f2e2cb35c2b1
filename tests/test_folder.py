"""Uploads: a folder of one's own, nothing left by the dead, nothing left by the cut off."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from gradio.route_utils import GradioMultiPartParser
from starlette.applications import Starlette
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from cyclegan.web.aborted import AbortedUploads
from cyclegan.web.folder import PREFIX, claim_folder

ROOT = Path(__file__).parents[1]
OWNER = """
import os, sys
from cyclegan.web.folder import claim_folder
print(claim_folder(sys.argv[1]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def owner(tmp_path):
    """A function that starts a process with a folder of its own: the process and the folder."""
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        folder = Path(process.stdout.readline().strip())
        (folder / "hash").mkdir()
        (folder / "hash" / "Doe^Jane.dcm").write_bytes(b"pixels")
        return process, folder

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_folder_is_private_and_goes_with_its_process(owner):
    process, folder = owner()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    process.communicate()  # closes stdin: it ends by itself
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(owner, tmp_path):
    dead, left = owner()
    dead.kill()
    dead.wait()
    assert (left / "hash" / "Doe^Jane.dcm").exists()
    _, kept = owner()
    assert not left.exists()
    mine = claim_folder(tmp_path)
    assert (kept / "hash" / "Doe^Jane.dcm").exists()
    assert sorted(tmp_path.iterdir()) == sorted([kept, mine])


def test_only_folders_of_this_kind_are_removed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("years of work")
    parent = tmp_path / "tmp"
    (parent / "gradio").mkdir(parents=True)
    (parent / f"{PREFIX}link").symlink_to(elsewhere)
    (parent / f"{PREFIX}file").write_text("no folder")
    claim_folder(parent)
    assert (elsewhere / "thesis.txt").exists()
    assert {"gradio", f"{PREFIX}link", f"{PREFIX}file"} < set(os.listdir(parent))


@pytest.mark.parametrize("cut_off", [True, False])
def test_an_upload_that_is_cut_off_leaves_no_file(tmp_path, cut_off):
    async def upload(request: Request):
        parser = GradioMultiPartParser(
            request.headers, request.stream(), upload_dir=tmp_path, max_file_size=2**20
        )
        try:
            await parser.parse()
        except MultiPartException as error:  # as Gradio's own route does
            return PlainTextResponse(error.message, 400)
        return PlainTextResponse("")

    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\npixels'
    answers, messages = [], [{"type": "http.request", "body": head, "more_body": True}]
    if cut_off:
        messages.append({"type": "http.disconnect"})
    else:
        messages.append({"type": "http.request", "body": b"\r\n--x--\r\n", "more_body": False})

    async def receive():
        return messages.pop(0)

    async def send(message):
        answers.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/upload",
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=x")],
    }
    app = AbortedUploads(Starlette(routes=[Route("/upload", upload, methods=["POST"])]))
    anyio.run(app, scope, receive, send)
    assert answers[0]["status"] == (400 if cut_off else 200)
    assert len(list(tmp_path.iterdir())) == (0 if cut_off else 1)
