"""The viewer's modules where they need no browser, by node's own test runner."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def test_modules():
    node = shutil.which("node")
    if node is None:
        reason = "no node (Debian: apt install nodejs)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    done = subprocess.run(
        [node, "--test", str(Path(__file__).parent)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
