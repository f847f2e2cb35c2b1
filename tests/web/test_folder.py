"""Uploads: a folder of one's own, and nothing left by the dead."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cyclegan.web.folder import PREFIX, claim_folder

ROOT = Path(__file__).parents[2]
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
