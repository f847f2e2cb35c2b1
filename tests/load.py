"""Many readers at once, and many requests after another, on the running page.

    python tests/load.py [--clients 1 8 32] [--requests 6] [--weights weights]
    python tests/load.py --soak 500 [--seed 0]

Starts `python app.py` as its own process and drives it over HTTP as the page does. The first form
prints, for each number of clients, how long readers waited, what failed, whether the server was
fair, and its memory; the second what a mixed session of many requests leaves in memory, as Markdown
tables.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from server_process import ROOT, ServerProcess, Tab

sys.path.insert(0, str(ROOT))
from mixture import MIB, slice_png, soak, volume_nifti


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        clients: how many at once.
        seconds: that each request took, by kind.
        errors: sentences instead of answers.
        completed: translations by client, at the moment when the first client had all of its own.
        before, after: resident memory in bytes.
    """

    clients: int
    seconds: dict[str, list[float]]
    errors: list[str]
    completed: list[int]
    before: int
    after: int


def measure(server: ServerProcess, clients: int, requests: int) -> Row:
    """Let `clients` open a volume each at the same moment, and wait until its first `requests`
    slices are translated, each asking for the next one as soon as one is there."""
    data = volume_nifti(requests, side=256)
    before = server.resident_bytes()
    seconds: dict[str, list[float]] = {"open": [], "translate": []}
    errors: list[str] = []
    counts, at_first = [0] * clients, []
    lock, together = threading.Lock(), threading.Barrier(clients)

    def work(client: int) -> None:
        with Tab(server.url) as tab:
            together.wait()
            start = time.perf_counter()
            opened = tab.open("volume.nii", data)
            tab.image("original")
            seconds["open"].append(time.perf_counter() - start)
            if "error" in opened:
                errors.append(opened["error"])
            together.wait()
            for index in range(requests):
                start = time.perf_counter()
                tab.translated(index)
                tab.image("translated", index)
                seconds["translate"].append(time.perf_counter() - start)
                with lock:
                    counts[client] += 1
                    if counts[client] == requests and not at_first:
                        at_first.extend(counts)

    def guarded(client: int) -> None:
        try:
            work(client)
        except Exception as fault:
            errors.append(f"{type(fault).__name__}: {fault}")
            together.abort()  # or the others would wait for this one

    threads = [threading.Thread(target=guarded, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Row(clients, seconds, errors, at_first or counts, before, server.resident_bytes())


def quantile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def markdown(rows: list[Row]) -> str:
    """The table of the load test."""
    lines = [
        "| clients | requests | open p50 / p95, s | translate p50 / p95, s | errors "
        "| translations of each client when the first was done | memory before / after, MiB |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        times = []
        for kind in ("open", "translate"):
            taken = row.seconds.get(kind) or [float("nan")]
            times.append(f"{statistics.median(taken):.2f} / {quantile(taken, 0.95):.2f}")
        made = sum(len(taken) for taken in row.seconds.values())
        lines.append(
            f"| {row.clients} | {made} | {times[0]} | {times[1]} | {len(row.errors)} "
            f"| {min(row.completed)} to {max(row.completed)} "
            f"| {row.before / MIB:.0f} / {row.after / MIB:.0f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--requests", type=int, default=6, help="slices that each translates")
    parser.add_argument("--soak", type=int, metavar="N", help="N mixed requests instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", default="weights")
    arguments = parser.parse_args()
    weights = Path(arguments.weights)
    weights = weights.resolve() if weights.exists() else weights  # else a Hub repository
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(Path(folder), weights) as server,
    ):
        if arguments.soak:
            soaked = soak(server, arguments.soak, arguments.seed)
            print(soaked.markdown())
            errors = soaked.errors
        else:
            with Tab(server.url) as tab:
                tab.open("slice.png", slice_png())
                tab.translated()
            rows = [measure(server, n, arguments.requests) for n in arguments.clients]
            print(markdown(rows))
            errors = [error for row in rows for error in row.errors]
        left = server.uploads()
    for error in sorted(set(errors))[:20]:
        print(f"- {error}")
    if left:
        print(f"- {len(left)} uploads are left")
    return 1 if errors or left else 0


if __name__ == "__main__":
    sys.exit(main())
