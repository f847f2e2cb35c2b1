"""The most memory that a process has held, for benchmarks and for tests of memory."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_bytes(process: int | str = "self") -> int:
    """Largest resident memory so far, in bytes, of this process or, on Linux, of another.

    Linux's own count where there is one: `ru_maxrss` starts with what the parent held at the fork.

    Args:
        process: its number, or "self".
    """
    status = Path(f"/proc/{process}/status")
    if status.is_file():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
