"""docs/hosting.md's nginx before two copies: a tab stays with its copy, and outlives the other."""

import getpass
import itertools
import os
import re
import shutil
import subprocess
import time

import httpx
import pytest
from mixture import slice_png, told
from server_process import ROOT, ServerProcess, Tab, free_port

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
WHO = "$http_cookie|$upstream_addr"  # each line of the proxy's log


@pytest.fixture
def copies(tmp_path):
    with ServerProcess(tmp_path / "one") as one, ServerProcess(tmp_path / "two") as two:
        yield {server.url.removeprefix("http://"): server for server in (one, two)}


@pytest.fixture
def proxy(copies, tmp_path):
    """nginx as docs/hosting.md says, and its log."""
    text = (ROOT / "docs/hosting.md").read_text("utf-8")
    (said,) = [
        lines for lines in re.findall(r"```nginx\n(.+?)```", text, re.DOTALL) if "map " in lines
    ]
    for number, address in enumerate(copies, 1):
        assert f"10.0.0.{number}:7860" in said
        said = said.replace(f"10.0.0.{number}:7860", address)
    here = f"127.0.0.1:{free_port()}"
    (tmp_path / "nginx.conf").write_text(
        f"user {getpass.getuser()}; daemon off; events {{}}\n"
        f"pid {tmp_path}/pid; error_log {tmp_path}/error;\n"
        f"http {{ log_format who '{WHO}'; access_log {tmp_path}/log who;\n"
        f"client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxied;\n"
        + said.replace("server {", f"server {{ listen {here};", 1)
        + "}\n"
    )
    with subprocess.Popen([NGINX, "-p", tmp_path, "-c", tmp_path / "nginx.conf"]) as process:
        while True:
            try:
                httpx.get(f"http://{here}/config").raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None
                time.sleep(0.1)
        yield f"http://{here}", tmp_path / "log"
        process.terminate()


def routes(log):
    """Which copies answered each cookie."""
    found = {}
    for line in log.read_text().splitlines():
        cookie, _, copy = line.partition("|")
        found.setdefault(cookie, set()).add(copy)
    return found


@pytest.mark.skipif(
    not NGINX and "CI" not in os.environ, reason="no nginx (Debian: apt install nginx-light)"
)
def test_a_tab_stays_with_its_copy_and_outlives_the_other(copies, proxy):
    url, log = proxy
    tabs = {}  # one of either copy
    for _ in itertools.takewhile(lambda _: len(tabs) < 2, range(30)):
        tab = Tab(url, cookies=httpx.get(url).cookies)
        assert not tab.open("slice.png", slice_png()).sentence
        (copy,) = routes(log)[f"copy={tab.http.cookies['copy']}"]
        if tabs.setdefault(copy, tab) is not tab:
            tab.close()
    (gone, lost), (left, stays) = tabs.items()
    for tab in (lost, stays):
        answer = tab.do("Translate", "T2", 1)
        assert answer.panels, told(answer)
    assert all(len(found) == 1 for cookie, found in routes(log).items() if cookie != "-")
    copies[gone].kill()
    answer = stays.open("slice.png", slice_png(seed=1))
    assert not answer.sentence
    assert answer.panels
    answer = lost.open("slice.png", slice_png())  # opened again, on the other copy
    assert not answer.sentence
    assert answer.panels
    assert copies[left].alive
