"""nginx before the page, for tests; in CI it must be there."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextlib.contextmanager
def running(folder: Path, lines: str) -> Iterator[subprocess.Popen]:
    """nginx with the lines of its `http` block, its files in `folder`: the process."""
    if NGINX is None:
        reason = "no nginx (Debian: apt install nginx-light)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind}; "
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"user {getpass.getuser()}; daemon off; events {{}}\n"
        f"pid {folder}/pid; error_log {folder}/error warn;\n"
        f"http {{ {temporary}\n{lines}}}\n"
    )
    with subprocess.Popen([NGINX, "-p", folder, "-c", folder / "nginx.conf"]) as process:
        try:
            yield process
        finally:
            process.terminate()
