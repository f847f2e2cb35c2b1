"""A short version of `python tests/load.py`: no errors, fair order, and memory that stays."""

import pytest
from load import markdown, measure
from mixture import MIB, soak
from server_process import ServerProcess

CLIENTS = 5
REQUESTS = 3


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ServerProcess(tmp_path_factory.mktemp("server")) as server:
        yield server


def test_many_at_once_are_all_answered_in_fair_order(server):
    row = measure(server, CLIENTS, REQUESTS)
    assert row.errors == []
    assert len(row.seconds["translate"]) == CLIENTS * REQUESTS
    # First come, first served: when one has all its answers, nobody is two behind.
    assert min(row.completed) >= REQUESTS - 2, row.completed
    assert f"| {CLIENTS} | {CLIENTS * (REQUESTS + 1)} |" in markdown([row])


def test_mixed_requests_leave_neither_errors_nor_memory(server):
    soaked = soak(server, 18, warm_up=8)
    assert soaked.errors == []
    assert len(soaked.kinds) >= 6
    # The whole of the volumes, results and messages of 18 requests would be more.
    assert soaked.growth_bytes < 50 * MIB, soaked.markdown()
    assert server.uploads() == []
    assert "Traceback" not in server.log()
