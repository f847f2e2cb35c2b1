"""The page as a process of its own, and a browser tab as that process sees one, without a browser.

For tests and measurements of what a user's `python app.py` does: its memory, its files, its log.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from peak_memory import peak_bytes

ROOT = Path(__file__).resolve().parents[1]
START_S = 180.0  # two busy cores
ANSWER_S = 300.0
UNTIL_S = 120.0


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerProcess:
    """`python app.py` on a free port, with home and temporary files below one folder.

    A context manager; leaving it stops the server.

    Args:
        folder: gets `home`, `tmp` and `log`; a second server may be started in the same folder.
        weights: passed on.
        environment: more variables.
    """

    def __init__(self, folder: Path, weights: str | Path = "weights", **environment: str):
        self.folder, self.weights, self.environment = Path(folder), str(weights), environment
        self.url = ""
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers."""
        for name in ("home", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            **{name: value for name, value in os.environ.items() if "GRADIO" not in name},
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "XDG_CACHE_HOME": str(self.folder / "home" / ".cache"),
            "XDG_CONFIG_HOME": str(self.folder / "home" / ".config"),
            **self.environment,
        }
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "app.py", "--port", str(port), "--weights", self.weights],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                httpx.get(f"{self.url}/config").raise_for_status()
                return
            except httpx.HTTPError:
                if not self.alive or time.monotonic() > deadline:
                    raise RuntimeError(f"the server did not start: {self.log()[-2000:]}") from None
                time.sleep(0.2)

    def stop(self) -> None:
        """Stop it as a container is stopped; kill it if it does not."""
        if self._process is not None and self.alive:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def log(self) -> str:
        """All that it wrote to stdout and stderr, and those before it in the same folder."""
        return (self.folder / "log").read_text("utf-8", errors="replace")

    def resident_bytes(self) -> int:
        """The process's resident memory."""
        text = Path(f"/proc/{self._process.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def peak_bytes(self) -> int:
        """The most resident memory that it has had."""
        return peak_bytes(self._process.pid)

    def files(self) -> list[Path]:
        """Every file below its folder except the log."""
        paths = [Path(base, name) for base, _, names in os.walk(self.folder) for name in names]
        return [path for path in paths if path != self.folder / "log"]

    def uploads(self) -> list[Path]:
        """Every file among its temporary files."""
        return [path for path in self.files() if path.is_relative_to(self.folder / "tmp")]


class Tab:
    """A browser tab: one scan over HTTP, as the page has it. A context manager that closes it.

    Args:
        server: its URL, or a client that talks to it.
        cookies: that came with the page.

    Attributes:
        state: the latest of the scan.
        status: of the last response.
    """

    def __init__(self, server: str | httpx.Client, cookies: httpx.Cookies | None = None):
        is_url = isinstance(server, str)
        self.http = (
            httpx.Client(base_url=server, timeout=ANSWER_S, cookies=cookies) if is_url else server
        )
        self.state: dict[str, Any] = {}
        self.status = 0

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the tab, and have its scan forgotten at once."""
        if "scan" in self.state:
            with contextlib.suppress(httpx.HTTPError):
                self.http.delete(self.at())
        self.http.close()

    def at(self, below: str = "") -> str:
        """An address of the scan."""
        return f"/scans/{self.state['scan']}" + (f"/{below}" if below else "")

    def get(self, below: str = "", **options: Any) -> httpx.Response:
        """Ask for an address of the scan."""
        return self.http.get(self.at(below), **options)

    def open(self, *files: str | bytes | tuple[str, bytes]) -> dict[str, Any]:
        """Drop a name and its bytes in, or several such pairs: the state, or {"error": ...}."""
        pairs = [files] if isinstance(files[0], str) else files
        return self._update(self.http.post("/scans", files=_form(pairs)))

    def example(self, number: int) -> dict[str, Any]:
        """Open a simulated one."""
        return self._update(self.http.post(f"/examples/{number}"))

    def choose(self, **choices: Any) -> dict[str, Any]:
        """Change what is on screen."""
        response = self.http.post(self.at("choices"), json=choices)
        assert response.is_success, response.text
        return self._update(response)

    def give(self, what: str, name: str, data: bytes) -> dict[str, Any]:
        """The real image, or a slice with the style: `what` is "real" or "style"."""
        return self._update(self.http.post(self.at(what), files=_form([(name, data)])))

    def poll(self) -> dict[str, Any]:
        """Wait for the next state, or a while."""
        return self._update(self.get(params={"after": self.state["version"]}))

    def until(self, is_so: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Poll until something is so in the state."""
        deadline = time.monotonic() + UNTIL_S
        while not is_so(self.state):
            assert time.monotonic() < deadline, self.state
            assert "error" not in self.state, self.state
            self.poll()
        return self.state

    def translated(self, index: int | None = None) -> dict[str, Any]:
        """Have it translated whatever the check says, and wait for a slice or for all."""
        self.until(lambda state: state["check"])
        if index is not None:
            self.choose(index=index)
        if self.state["halted"]:
            self.choose(translate=True)

        def done(state: dict[str, Any]) -> bool:
            assert not state["message"], state["message"]
            if index is None:
                return state["ready"] == [[0, state["slices"] - 1]]
            return any(first <= index <= last for first, last in state["ready"])

        return self.until(done)

    def image(self, name: str, index: int = 0) -> np.ndarray:
        """(H, W) uint16, or an `httpx.HTTPStatusError`."""
        response = self.get(f"images/{self.state['key']}/{name}/{index}").raise_for_status()
        shape = self.state["height"], self.state["width"]
        return np.frombuffer(response.content, "<u2").reshape(shape)

    def measurements(self, index: int = 0) -> dict[str, Any]:
        """How far to trust a slice."""
        return self.get(f"findings/{self.state['key']}/{index}").raise_for_status().json()

    def order(self, kind: str, index: int = 0, **windows: tuple[float, float]) -> dict[str, Any]:
        """Ask for a file with an image's (center, width) by its name: the state, or an error."""
        shown = {
            name: {"center": center, "width": width} for name, (center, width) in windows.items()
        }
        request = {"kind": kind, "index": index, "windows": shown}
        return self._update(self.http.post(self.at("save"), json=request))

    def save(self, kind: str, index: int = 0, **windows: tuple[float, float]) -> bytes:
        """Ask for a file, wait, and fetch the bytes; its name is in the state."""
        response = self.order(kind, index, **windows)
        assert "error" not in response, response
        save = self.until(lambda state: state["save"]["file"] or state["save"]["error"])["save"]
        assert not save["error"], save["error"]
        return self.get(f"files/{save['file']}").raise_for_status().content

    def _update(self, response: httpx.Response) -> dict[str, Any]:
        self.status = response.status_code
        state = response.json()
        if response.is_success:
            self.state = state
        return state


def _form(files: Iterable[tuple[str, bytes]]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", file) for file in files]


class Program:
    """What calls the API, without gradio_client. A context manager.

    Args:
        url: of the server.
    """

    def __init__(self, url: str):
        self.http = httpx.Client(base_url=url, timeout=ANSWER_S)
        self.session = secrets.token_hex(6)
        dependencies = self.http.get("/config").json()["dependencies"]
        self.event = next(each["id"] for each in dependencies if each["api_name"] == "translate")

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def upload(self, name: str, data: bytes) -> dict[str, Any]:
        """Send a file: what stands for it in a call.

        Raises:
            httpx.HTTPStatusError: it was refused.
        """
        answer = self.http.post("/gradio_api/upload", files=_form([(name, data)]))
        answer.raise_for_status()
        (path,) = answer.json()
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def join(self, *values: Any) -> None:
        """Call, and do not wait.

        Raises:
            httpx.HTTPStatusError: it was refused.
        """
        data = [*values, *[None] * (5 - len(values))]
        body = {"data": data, "fn_index": self.event, "session_hash": self.session}
        self.http.post("/gradio_api/queue/join", json=body).raise_for_status()

    def answer(self) -> tuple[dict[str, Any], str]:
        """What a call that was joined came to: the answer, or a sentence."""
        where, params = "/gradio_api/queue/data", {"session_hash": self.session}
        with self.http.stream("GET", where, params=params) as stream:
            for line in stream.iter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                if message.get("msg") == "process_completed":
                    output = message["output"]
                    if message["success"]:
                        return output["data"][0], ""
                    return {}, str(output.get("error"))
        return {}, "the stream ended without an answer"

    def call(self, *values: Any) -> tuple[dict[str, Any], str]:
        """Call and wait: the answer, or a sentence."""
        self.join(*values)
        return self.answer()
