"""A seeded sample of `python tests/hostile_server.py`: nothing breaks, leaks or stays."""

import random

import pytest
from hostile_inputs import file_cases
from hostile_server import Trial, judged, sample
from server_process import ServerProcess

SHARE = 0.04
MIB = 2**20


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    with ServerProcess(tmp_path_factory.mktemp("server")) as server:
        yield Trial(server)


def test_what_is_no_sentence_is_told_apart():
    assert judged("scan.png: the file is empty; choose another.") == "refused"
    for text in ("", "None", "Internal Server Error", "a\nb", 'File "x.py", line 3', "x" * 2000):
        assert judged(text) != "refused"


def test_hostile_files_are_refused_in_a_sentence_or_shown(trial):
    rng = random.Random(1)
    for kind, cases in file_cases(seed=1).items():
        trial.files(kind, sample(cases, SHARE, rng))
    assert trial.faults == []
    assert sum(counted.total() for _, counted in trial.table) >= 20
    # One reading may hold the largest volume that is accepted, and what it was unpacked from.
    assert trial.server.peak_bytes() - trial.resident < 1024 * MIB
    assert "Traceback" not in trial.server.log()


def test_broken_requests_are_refused_in_a_sentence(trial):
    trial.requests(0.25, random.Random(2))
    assert trial.faults == []
    assert "Traceback" not in trial.server.log()
