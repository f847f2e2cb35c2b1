"""Memory that was freed is given back."""

import os
import sys
from pathlib import Path

import pytest

from cyclegan.server import memory

MIB = 2**20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or memory._glibc() is None, reason="no glibc here"
)
def test_what_is_freed_between_what_is_kept_goes_back():
    # Small enough for the pool, and some kept, so that its end cannot simply be cut off.
    blocks = [bytearray(b"x" * 60_000) for _ in range(1500)]
    full = resident_bytes()
    kept = blocks[::100]
    del blocks
    freed = resident_bytes()
    assert full - freed < 40 * MIB, "the C library gives it back by itself"
    memory.give_back()
    assert full - resident_bytes() > 60 * MIB
    assert len(kept) == 15


def test_on_other_systems_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    memory.few_pools()
    memory.give_back()
