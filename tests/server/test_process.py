"""`python app.py` as others run it: behind docs/hosting.md's nginx, cut off, restarted, in copies,
under mixed and hostile requests (`tests/mixture.py` and `tests/hostile_server.py`, sampled)."""

import contextlib
import os
import random
import re
import socket
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from cuttable import Cuttable
from hostile_inputs import file_cases
from hostile_server import Trial, judge, sample
from mixture import soak
from nginx import running
from server_process import ROOT, Program, ServerProcess, Tab, free_port
from small_scans import busy, head, nifti, png, until

import app
from cyclegan.server import process

MIB = 2**20

WHO = "$http_cookie|$upstream_addr"  # each line of the proxy's log


@contextlib.contextmanager
def nginx(folder, lines, log=""):
    """nginx with the lines of a `http` block, in which {here} is where it listens: its address."""
    here = f"127.0.0.1:{free_port()}"
    with running(folder, f"{log}\n{lines.replace('{here}', here)}") as process:
        until(lambda: process.poll() is not None or answers(here), 30)
        yield f"http://{here}"


def answers(here):
    host, port = here.split(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
        return True
    return False


def documented(word):
    """The lines of docs/hosting.md with a word in them."""
    text = (ROOT / "docs/hosting.md").read_text("utf-8")
    (lines,) = [b for b in re.findall(r"```nginx\n(.+?)```", text, re.DOTALL) if word in b]
    return lines


def use(url):
    """Open a volume, have it translated, save it, call the API: all that goes through a proxy."""
    with Tab(url) as tab:
        tab.open("scan.nii", nifti(head(slices=3)))
        tab.translated()
        tab.image("translated", 1)
        assert tab.save("nifti")
        assert tab.http.get("/viewer/main.js").status_code == 200
    with Program(url) as program:
        answer, sentence = program.call(program.upload("a.png", png(head())), "T2")
        assert (sentence, answer["shape"]) == ("", [1, 64, 64])


@pytest.fixture(scope="module")
def below(tiny, tmp_path_factory):
    """The address of the page for a proxy that shows it below /brain, whatever proxies the
    environment names: a hospital's, and one of a kind that Gradio's HTTP library does not know."""
    proxies = {"http_proxy": "http://127.0.0.1:9", "ALL_PROXY": "socks://127.0.0.1:9/"}
    options = {"GRADIO_ROOT_PATH": "/brain", "no_proxy": "", "NO_PROXY": "", **proxies}
    with ServerProcess(tmp_path_factory.mktemp("below"), tiny, **options) as server:
        yield server.url.removeprefix("http://")
        assert "Traceback" not in server.log()


HELD_BACK = """proxy_buffering on; proxy_buffers 64 64k; client_max_body_size 260m;
  gzip on; gzip_types *; gzip_min_length 1;"""


@pytest.mark.parametrize(
    ("path", "more"),
    [("/", ""), ("", ""), ("/", HELD_BACK)],
    ids=["taken away", "left", "answers held back until they are whole"],
)
def test_below_a_path_behind_a_proxy(below, tmp_path, path, more):
    lines = documented("location /brain/").replace("127.0.0.1:7860/;", f"{below}{path};")
    assert "7860" not in lines
    with nginx(tmp_path, f"server {{ listen {{here}};\n{more}\n{lines}}}") as url:
        use(f"{url}/brain/")
        assert "/brain" in httpx.get(f"{url}/brain/").text
        assert httpx.get(f"{url}/brain").status_code == 308
        assert httpx.get(f"{url}/brain/scans/x").headers["cache-control"] == "no-store"
        assert httpx.get(f"{url}/brain/gradio_api/file=/etc/passwd").status_code == 404


def test_it_knows_that_it_is_behind_tls(served):
    headers = {"X-Forwarded-Proto": "https", "Host": "brain.example.org"}
    text = httpx.get(served.url, headers=headers).text
    assert "https://brain.example.org" in text
    assert "http://brain.example.org" not in text


def test_a_connection_that_is_cut_in_the_middle_of_a_volume_loses_nothing(served, monkeypatch):
    model = served.scans.model
    cycle, cuts = model.translator.cycle, 0
    with Cuttable(served.url) as connection, Tab(connection.url) as tab:

        def cutting(*arguments, **options):  # in the middle of each batch, while the tab waits
            connection.cut()
            connection.mend()
            return cycle(*arguments, **options)

        monkeypatch.setattr(model.translator, "cycle", cutting)
        with busy(model):
            tab.open("scan.nii", nifti(head(slices=12)))
        while tab.state["ready"] != [[0, 11]]:
            try:
                tab.poll()
            except httpx.HTTPError:
                cuts += 1  # and asks again
        assert cuts > 1
        assert tab.image("translated", 11).any()
        assert not tab.state["message"]
    assert served.scans.model.queue._thread.is_alive()


@pytest.fixture
def copies(tiny, tmp_path):
    with (
        ServerProcess(tmp_path / "one", tiny) as one,
        ServerProcess(tmp_path / "two", tiny) as two,
    ):
        yield {server.url.removeprefix("http://"): server for server in (one, two)}


def routes(log):
    """Which copies answered each cookie."""
    copies_of = {}
    for line in log.read_text().splitlines():
        cookie, _, copy = line.partition("|")
        copies_of.setdefault(cookie, set()).add(copy)
    return copies_of


def test_a_tab_stays_with_its_copy_and_outlives_the_other(copies, tmp_path):
    lines = documented("map ")
    for number, address in enumerate(copies, 1):
        assert f"10.0.0.{number}:7860" in lines
        lines = lines.replace(f"10.0.0.{number}:7860", address)
    lines = lines.replace("server {", "server { listen {here};", 1)
    log = tmp_path / "log"
    with nginx(tmp_path, lines, f"log_format who '{WHO}'; access_log {log} who;") as url:
        tabs = {}  # one of either copy
        while len(tabs) < 2:
            tab = Tab(url, cookies=httpx.get(url).cookies)
            tab.open("scan.nii", nifti(head(slices=3)))
            (copy,) = routes(log)[f"copy={tab.http.cookies['copy']}"]
            tabs.setdefault(copy, tab)
        (gone, lost), (left, stays) = tabs.items()
        shown = [tab.translated()["scan"] and tab.image("translated", 1) for tab in (lost, stays)]
        np.testing.assert_array_equal(*shown)
        assert all(
            len(copies_of) == 1 for cookie, copies_of in routes(log).items() if cookie != "-"
        )
        copies[gone].kill()
        assert stays.image("translated", 2).any()
        error = lost._update(lost.get())
        assert lost.status == 404
        assert error["server"] != lost.state["server"]
        assert "open the file again" in error["error"]
        answer = lost.http.post(lost.at("choices"), json={"to": "T1"})
        assert (answer.status_code, answer.json()) == (404, error)
        lost.open("scan.nii", nifti(head(slices=3)))  # opened again, on the other copy
        assert lost.translated()["server"] == stays.state["server"]
        assert copies[left].alive
        for copy in copies.values():
            assert copy.files() == []
            assert "Traceback" not in copy.log()


@pytest.fixture
def refusal(monkeypatch, capsys):
    """A function that starts `app.py` here and returns the last line that it says."""
    for name in ("GRADIO_SERVER_PORT", "GRADIO_SERVER_NAME", "GRADIO_ROOT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "0")  # what the command sets is undone

    def refusal(*options):
        monkeypatch.setattr("sys.argv", ["app.py", *options])
        with pytest.raises(SystemExit) as end:
            app.main()
        assert end.value.code == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    return refusal


def test_what_keeps_it_from_starting_is_one_sentence(refusal, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"--port {port}: another program listens there" in refusal("--port", port)
    assert "--port: 70000: a port is a number" in refusal("--port", "70000")
    assert "--host 192.0.2.1: this is no address" in refusal("--host", "192.0.2.1")
    assert "--host no such: this is no address" in refusal("--host", "no such")
    for path in ("brain", "/a b", "https://elsewhere/brain"):
        assert f"--root-path: {path}: a path begins with a slash" in refusal("--root-path", path)
    assert "config.json" in refusal("--weights", str(tmp_path))


# What many readers, and hostile ones, leave behind.


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ServerProcess(tmp_path_factory.mktemp("server")) as server:
        yield server
        assert "Traceback" not in server.log()
        assert server.uploads() == []


def test_mixed_requests_leave_neither_errors_nor_memory(server):
    soaked = soak(server, 18, warm_up=8)
    assert soaked.errors == []
    assert len(soaked.kinds) >= 6
    # The whole of the volumes, results and messages of 18 requests would be more.
    assert soaked.growth_bytes < 50 * MIB, soaked.markdown()


def test_hostile_files_and_requests_are_refused_in_a_sentence_or_shown(server):
    for text in ("", "None", "Internal Server Error", "a\nb", 'File "x.py", line 3', "x" * 2000):
        assert judge(text) != "refused"
    assert judge("scan.png: the file is empty; choose another.") == "refused"
    trial, rng = Trial(server), random.Random(1)
    for kind, cases in file_cases(seed=1).items():
        trial.files(kind, sample(cases, 0.04, rng))
    trial.requests(0.25, rng)
    assert trial.faults == []
    assert sum(counted.total() for _, counted in trial.table) >= 100
    # One reading may hold the largest volume that is accepted, and what it was unpacked from.
    assert server.peak_bytes() - trial.resident < 1024 * MIB


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or process._glibc() is None, reason="no glibc here"
)
def test_what_is_freed_between_what_stays_goes_back():
    def resident_bytes():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    # Small enough for the pool, and some stay, so that its end cannot simply be cut off.
    blocks = [bytearray(b"x" * 60_000) for _ in range(1500)]
    full = resident_bytes()
    staying = blocks[::100]
    del blocks
    freed = resident_bytes()
    assert full - freed < 40 * MIB, "the C library gives it back by itself"
    process.trim_memory()
    assert full - resident_bytes() > 60 * MIB
    assert len(staying) == 15


def test_on_other_systems_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    process.limit_arenas()
    process.trim_memory()
