"""Seeded samples of `tests/mixture.py` and `tests/hostile_server.py`, and freed memory."""

import os
import random
import sys
from pathlib import Path

import pytest
from hostile_inputs import file_cases
from hostile_server import Trial, judge, sample
from mixture import soak
from server_process import ServerProcess

from cyclegan.server import process

MIB = 2**20


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
