"""The page as a process of its own, and a browser tab as that process sees one, without a browser.

For tests and measurements of what a user's `python app.py` does: its memory, its files, its log.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cyclegan.judging.peak_memory import peak_bytes

ROOT = Path(__file__).resolve().parents[1]
START_S = 180.0  # two busy cores
ANSWER_S = 300.0


def run_to_its_end(weights: str | Path) -> subprocess.CompletedProcess[str]:
    """`python app.py` with weights that should be refused, until it ends; with what it printed."""
    return subprocess.run(
        [sys.executable, "app.py", "--weights", str(weights)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


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
        found = [Path(base, name) for base, _, names in os.walk(self.folder) for name in names]
        return [path for path in found if path != self.folder / "log"]

    def uploads(self) -> list[Path]:
        """Every file among its temporary files."""
        return [path for path in self.files() if path.is_relative_to(self.folder / "tmp")]


class Answer(NamedTuple):
    """What an event came to.

    Attributes:
        parts: new values by `elem_id` of the component, or by its number where it has none.
        sentence: what the page shows as an error; "" when there was none.
    """

    parts: dict[str, Any]
    sentence: str

    @property
    def status(self) -> str:
        """The line that tells how the work goes, as HTML."""
        return self.parts.get("status") or ""

    @property
    def panels(self) -> dict[str, Any]:
        """The pictures sent, by name of the panel."""
        return (self.parts.get("viewer") or {}).get("panels", {})


class Tab:
    """A browser tab: page, heartbeat, uploads and queued events over HTTP. A context manager.

    Args:
        url: of the server.
        config: the page's, if it has been fetched before.
        cookies: that came with the page.
    """

    def __init__(self, url: str, config: dict | None = None, cookies: httpx.Cookies | None = None):
        self.session = secrets.token_hex(6)
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=ANSWER_S, cookies=cookies)
        self.config = config or self.http.get("/config").json()
        self._names = {
            part["id"]: (part["props"].get("elem_id") or str(part["id"]))
            for part in self.config["components"]
        }
        self._states = {p["id"] for p in self.config["components"] if p["type"] == "state"}
        # By what is pressed, moved or filled (its `elem_id`, else its label), then by handler.
        parts = {part["id"]: part["props"] for part in self.config["components"]}
        self._events: dict[str, dict] = {}
        for each in self.config["dependencies"]:
            for part, _ in each["targets"]:
                props = parts.get(part, {})
                self._events.setdefault(props.get("elem_id") or props.get("value"), each)
        for each in self.config["dependencies"]:
            self._events.setdefault(each["api_name"], each)
        self._beating = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()
        self._beating.wait(ANSWER_S)

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the tab as a browser does: its connections end, nothing is said."""
        self._heartbeat.close()
        self.http.close()

    def _beat(self) -> None:
        with httpx.Client(
            base_url=self.url, timeout=None, cookies=self.http.cookies
        ) as self._heartbeat:
            try:
                where = f"/gradio_api/heartbeat/{self.session}"
                with self._heartbeat.stream("GET", where) as answer:
                    for _ in answer.iter_raw():
                        self._beating.set()
            except (httpx.HTTPError, RuntimeError, OSError):
                self._beating.set()

    def upload(self, name: str, data: bytes) -> dict[str, Any]:
        """Send a file as the page does.

        Returns:
            Gradio's file data.

        Raises:
            httpx.HTTPStatusError: the server refused it.
        """
        answer = self.http.post(
            "/gradio_api/upload",
            params={"upload_id": secrets.token_hex(5)},
            files={"files": (name, data, "application/octet-stream")},
        )
        answer.raise_for_status()
        (path,) = answer.json()
        return {
            "path": path,
            "orig_name": name,
            "size": len(data),
            "meta": {"_type": "gradio.FileData"},
        }

    def open(self, name: str, data: bytes, to: str = "T2") -> Answer:
        """Drop a file in."""
        return self.do("load", [self.upload(name, data)], to)

    def do(self, event: str, *values: Any) -> Answer:
        """Let an event of the page happen and wait for its answer.

        Args:
            event: what is pressed or moved, "Translate" or "slice", or the name of its handler,
                "load", "look_again" or, for the API, "translate".
            values: for its inputs in order, without the states, which the server holds; what is
                missing at the end is null.

        Raises:
            httpx.HTTPStatusError: the queue is full.
        """
        self.join(event, *values)
        return self.answer(event)

    def join(self, event: str, *values: Any) -> None:
        """Put an event into the queue, and do not wait."""
        dependency, rest = self._events[event], iter(values)
        data = [None if each in self._states else next(rest, None) for each in dependency["inputs"]]
        self.http.post(
            "/gradio_api/queue/join",
            json={
                "data": data,
                "event_data": None,
                "fn_index": dependency["id"],
                "trigger_id": None,
                "session_hash": self.session,
            },
        ).raise_for_status()

    def answer(self, event: str) -> Answer:
        """Wait for the answer to an event that was joined."""
        parts: dict[str, Any] = {}
        outputs = [self._names[each] for each in self._events[event]["outputs"]]
        for message in self.messages():
            output = message.get("output") or {}
            if message["msg"] in ("process_generating", "process_completed"):
                for name, value in zip(outputs, output.get("data") or (), strict=False):
                    if isinstance(value, dict) and value.get("__type__") == "update":
                        value = value.get("value")
                    if value is not None:
                        parts[name] = value
            if message["msg"] == "process_completed":
                return Answer(parts, "" if message["success"] else str(output.get("error")))
        return Answer(parts, "the stream ended without an answer")

    def messages(self) -> Iterator[dict[str, Any]]:
        """The server's messages to this tab, as they come."""
        where = "/gradio_api/queue/data"
        with self.http.stream("GET", where, params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])
