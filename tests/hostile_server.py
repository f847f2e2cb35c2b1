"""Hostile inputs by the hundred against the running page.

    python tests/hostile_server.py [--seed 0] [--share 1.0]

Starts `python app.py` as its own process, sends bombs, damaged files, names that are paths, pages
and programs posing as images, pickles and broken requests, and prints what became of each kind.
A file must be refused in one sentence or become a picture; between kinds a good slice must give the
same answer as at the start, and no upload may be left. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import httpx
from server_process import ROOT, Program, ServerProcess, Tab

sys.path.insert(0, str(ROOT))
from hostile_inputs import FILES, Case, file_cases, requests

PATHS = re.compile(r"(/tmp/|/home/|/usr/|/etc/|/proc/|[A-Z]:\\\\|\.py\b|site-packages|uploads-)")


def judge(text: str) -> str:
    """ "refused" for one clean sentence or two, else what is wrong with it."""
    for wrong, is_so in (
        ("a fault of ours", "fault of ours" in text),
        ("a traceback", "Traceback" in text or 'File "' in text),
        ("several lines", "\n" in text.strip()),
        ("no words", not text.strip() or text.strip() in ("None", "Internal Server Error")),
        ("too long", len(text) > 1000),
    ):
        if is_so:
            return f"{wrong}: {text[:200]!r}"
    return "refused"


def judge_opening(name: str, response: dict) -> str:
    """What opening a file came to: "accepted", "refused" or what is wrong."""
    if "error" not in response:
        return "accepted"
    # What the sender called the file may be repeated.
    words = response["error"].replace(name, "").replace(Path(name).name, "")
    if PATHS.search(words):
        return f"a path: {response['error'][:200]!r}"
    return judge(response["error"])


def form(name: str, data: bytes) -> tuple[bytes, str]:
    """A form with one file whose name is sent as it is, and its content type."""
    raw = name.encode("utf-8", "surrogatepass")
    head = b'--cut\r\nContent-Disposition: form-data; name="files"; filename="' + raw
    body = head + b'"\r\nContent-Type: application/octet-stream\r\n\r\n' + data + b"\r\n--cut--\r\n"
    return body, "multipart/form-data; boundary=cut"


def send_file(tab: Tab, case: Case) -> str:
    """Send a file through the page: what it came to."""
    body, kind = form(case.name, case.data)
    answer = tab.http.post("/scans", content=body, headers={"Content-Type": kind})
    if answer.is_success:
        tab.http.delete(f"/scans/{answer.json()['scan']}")
    return judge_opening(case.name, answer.json())


def judge_response(answer: httpx.Response) -> str:
    """What a plain request came to."""
    if answer.status_code < 400:
        return "accepted"
    text = answer.text
    if answer.headers.get("content-type", "").startswith("application/json"):
        message = answer.json()
        text = json.dumps(message.get("detail") or message.get("error"))
    return f"a path: {text[:200]!r}" if PATHS.search(text) else judge(text)


def send_request(program: Program, method: str, where: str, body: bytes, kind: str) -> str:
    """Send a broken request, and wait for its event if it is queued: what it came to."""
    headers = {"Content-Type": kind} if kind else {}
    try:
        url = program.http.base_url.copy_with(raw_path=where.encode())  # as it is, untidied
        answer = program.http.request(method, url, content=body, headers=headers)
    except httpx.TransportError as error:
        return f"the connection was cut: {error}"
    outcome = judge_response(answer)
    if outcome != "accepted" or not answer.text.startswith('{"event_id"'):
        return outcome
    program.session = json.loads(body).get("session_hash") or json.loads(answer.text)["event_id"]
    _, text = program.answer()
    if not text:
        return "accepted"
    for sent in re.findall(rb'"(/[^"]*)"', body):  # a sentence may say it again
        text = text.replace(sent.decode(), "")
    return f"a path: {text[:300]!r}" if PATHS.search(text) else judge(text)


class Trial:
    """Sends kinds of inputs to a running server and keeps count.

    Attributes:
        table: (kind, outcomes by their number).
        faults: what must not be: other outcomes, changed answers, files left, a dead server.
    """

    def __init__(self, server: ServerProcess):
        self.server = server
        self.table: list[tuple[str, Counter]] = []
        self.faults: list[str] = []
        self.config = httpx.get(f"{server.url}/config").json()
        self.good = self._good()
        self.resident = server.resident_bytes()

    def files(self, kind: str, cases: list[Case]) -> None:
        """Open every file of a kind."""
        with Tab(self.server.url) as tab:
            self._count(kind, [(case.name, send_file(tab, case)) for case in cases])

    def requests(self, share: float, rng: random.Random) -> None:
        """Send the broken requests."""
        with Tab(self.server.url) as tab, Program(self.server.url) as program:
            path = program.upload("good.png", FILES["png"])["path"]
            scan = tab.open("good.png", FILES["png"])["scan"]
            tab.translated()
            every = requests(self.config, path, scan)
            outcomes = []
            for method, where, body, kind in [each for each in every if rng.random() < share]:
                case = f"{method} {where[:60]} {body[:120]!r}"
                outcomes.append((case, send_request(program, method, where, body, kind)))
            self._count("broken requests", outcomes)

    def _count(self, kind: str, outcomes: list[tuple[str, str]]) -> None:
        counted: Counter = Counter()
        for name, outcome in outcomes:
            known = outcome in ("refused", "accepted")
            counted[outcome if known else "other"] += 1
            if not known:
                self.faults.append(f"{kind}, {name[:200]!r}: {outcome}")
        self.table.append((kind, counted))
        if not self.server.alive:
            raise RuntimeError(f"the server died of: {kind}")
        if self._good() != self.good:
            self.faults.append(f"after {kind} a good slice has another answer")
        if self.server.uploads():
            self.faults.append(f"after {kind}: {len(self.server.uploads())} files are left")

    def _good(self) -> dict[str, bytes]:
        with Tab(self.server.url) as tab:
            tab.open("good.png", FILES["png"])
            tab.until(lambda state: state["check"])
            tab.choose(to="T2")
            tab.translated()
            names = ("original", "translated", "reconstructed")
            return {name: tab.image(name).tobytes() for name in names}


def sample(cases: list[Case], share: float, rng: random.Random) -> list[Case]:
    """A share of the cases, at least one."""
    return rng.sample(cases, max(1, round(share * len(cases))))


def main() -> int:
    """Send everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of the cases of each kind")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder, ServerProcess(Path(folder)) as server:
        trial = Trial(server)
        for kind, cases in file_cases(arguments.seed).items():
            trial.files(kind, sample(cases, arguments.share, rng))
        trial.requests(arguments.share, rng)
        for kind, counted in trial.table:
            print(f"{kind}: {counted.total()} tried, {dict(counted)}")
        if "Traceback" in server.log():
            trial.faults.append(f"a traceback in the log: {server.log()[:3000]}")
    for fault in trial.faults:
        print(f"- {fault}")
    return 1 if trial.faults else 0


if __name__ == "__main__":
    sys.exit(main())
