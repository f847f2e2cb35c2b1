"""Every limit of the page and its API, with its reason; nothing else in `web` sets one.

Those of a file's content hold for the command line, too, and come from `reading/volume.py`. The
others are for a free host with two cores and 16 GB that serves strangers; on a larger machine more
is done at once and more is held. Whoever meets a limit gets one sentence that names it and a way
out: here where it has no more to tell, else where the limit is kept.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cyclegan.reading.volume import MAX_FILE_BYTES, MAX_PIXELS, MAX_VOXELS

MIB = 2**20
_CGROUP = Path("/sys/fs/cgroup")  # of a container on Linux, whose machine may have far more


def machine(cgroup: Path = _CGROUP) -> tuple[int, int]:
    """Cores and bytes of memory that this process may use; of what is not told, two and 16 GiB."""
    cores, memory = os.cpu_count() or 2, 16 * 1024 * MIB
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not every system tells
        cores = len(os.sched_getaffinity(0))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # no container, or "max"
        quota, period = (cgroup / "cpu.max").read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int((cgroup / "memory.max").read_text()))
    return cores, memory


_CORES, _MEMORY = machine()


def at_once(each_core: int, most: int, memory: int) -> int:
    """How many at once, if each needs `memory` bytes; never fewer than on two cores."""
    return max(2 * each_core, min(each_core * _CORES, most, _MEMORY // memory))


def held(least: int, share: float) -> int:
    """Bytes that may be held: a share of the memory, and never less than on 16 GiB."""
    return max(least, int(_MEMORY * share))


# What comes in.
UPLOAD_BYTES = 256 * MIB  # of all files sent together: 512 slices of 512x512 in 16 bit
UPLOAD_FILES = 1000  # sent together, as Gradio's parser has it; a zip may hold more
WAITING_UPLOAD_BYTES = 4096 * MIB  # on disk, of everybody: 16 of the largest
WAITING_UPLOAD_S = 600  # an upload that nobody opens by then is deleted
BODY_BYTES = 2 * MIB  # of any other request: the names of 1000 files, several times
UNPACKED_BYTES = MAX_FILE_BYTES  # of an archive, or of files held together
SLICE_PIXELS = MAX_PIXELS
SCAN_VOXELS = MAX_VOXELS  # of a scan that is looked at; translated slice by slice
WHOLE_VOXELS = 2**25  # of a scan that is translated as a whole: 512 slices of 256x256, or frames
API_VOXELS = 2**22  # in one JSON answer: 64 slices of 256x256, 16 MB for each image

# Time. Each is kept between two steps of the work, so it is passed by one step at most: a batch
# on the network, a frame of a file.
OPENING_S = 60.0  # the largest scan that is accepted takes some 10 s on two busy cores
SLICE_S = 120.0  # its wait for the model included, behind 32 readers on two busy cores
API_S = 300.0  # the wait included; 64 slices take some 10 s on two free cores
WHOLE_S = 1800.0  # 512 slices beside seven other volumes

# Waiting.
QUEUE = 256  # requests that wait for their turn, of everybody
TAB_WAITING = 16  # of them of one tab or API client; the page itself never has more than five
# Requests for slices that stand in the model's own line, where they see it.
SLICES_AT_ONCE = at_once(24, 192, 64 * MIB)
# Whole volumes; they take turns batch by batch, and a slice goes before them.
JOBS_AT_ONCE = at_once(4, 32, 2048 * MIB)
OPENINGS_AT_ONCE = at_once(1, 32, 8192 * MIB)  # files read; a gigabyte each for a moment
API_AT_ONCE = at_once(1, 16, 4096 * MIB)
LOOKS_AT_ONCE = at_once(2, 16, 1024 * MIB)
THREADS = SLICES_AT_ONCE + JOBS_AT_ONCE + OPENINGS_AT_ONCE + API_AT_ONCE + LOOKS_AT_ONCE + 16

# Memory.
SCAN_RESULT_BYTES = 2 * 4 * WHOLE_VOXELS  # translations of one scan, there and back, in float32
SCAN_FINDINGS_BYTES = 32 * MIB  # uncertainty maps of one scan: 128 of 256x256
# Of all scans; who looked least recently has theirs computed again.
RESULT_BYTES = held(1024 * MIB, 1 / 16)
# Of all scans; who looked least recently has to open theirs again.
SCAN_BYTES = held(4096 * MIB, 1 / 4)
OUTBOX_BYTES = held(512 * MIB, 1 / 32)  # files to be fetched, of everybody; the oldest goes first
OUTBOX_S = 120.0  # the browser asks for it at once; this is for the one that never does
SESSION_S = 3600.0  # after its last use a scan is forgotten
RECONNECT_S = 600.0  # a tab whose connection was cut, and that did not say that it is being closed
STREAMS = 1024  # held of all tabs, two of each; of those that nobody listens to the oldest go
STREAM_BYTES = 16 * MIB  # of what was sent to a tab, in case that it did not arrive
SESSIONS = 512  # tabs whose choices the server remembers

TOO_LARGE = (
    f"These files have more than {UPLOAD_BYTES // MIB} MB together; send one series at a time, or "
    "run python -m cyclegan.translate on your own machine."
)
TOO_MANY_FILES = (
    f"These are more than {UPLOAD_FILES} files; send one series at a time, or put it into a zip."
)
DISK_FULL = "Too many uploads are waiting to be read at the moment; try again in ten minutes."
BODY_TOO_LARGE = (
    f"A request other than an upload may have {BODY_BYTES // MIB} MB; send images as files."
)
FILES_ONLY = "Files are taken as uploads only, and not fetched from an address."
RESTARTED = "The server was restarted; please drop the file in again."
QUEUE_FULL = f"{QUEUE} requests are waiting already, and that is the most; try again in a minute."
TAB_FULL = (
    f"{TAB_WAITING} of your requests are waiting already; let them finish, then go on from there."
)


def took_too_long(what: str, seconds: float) -> str:
    """The sentence for work that was ended."""
    return (
        f"{what} took more than {seconds:.0f} s and was stopped; try again when fewer people are "
        "here, or run python -m cyclegan.translate on your own machine."
    )
