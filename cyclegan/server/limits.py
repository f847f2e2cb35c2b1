"""Every limit of the page and its API, with its reason; nothing else in `server` sets one.

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


def share_of_memory(least: int, share: float) -> int:
    """Bytes that may be held: a share of the memory, and never less than on 16 GiB."""
    return max(least, int(_MEMORY * share))


# What comes in.
UPLOAD_BYTES = 256 * MIB  # of all files sent together: 512 slices of 512x512 in 16 bit
UPLOAD_FILES = 4000  # sent together: a patient's disc; a zip may hold more
UPLOADING_BYTES = share_of_memory(1024 * MIB, 1 / 16)  # of everybody, until they are read
UPLOAD_PAUSE_S = 30.0  # without a byte, after which an upload is given up
WAITING_UPLOAD_BYTES = share_of_memory(512 * MIB, 1 / 32)  # of programs, until their next request
WAITING_UPLOAD_S = 120.0
BODY_BYTES = 2 * MIB  # of any other request
UNPACKED_BYTES = MAX_FILE_BYTES  # of an archive, or of files held together
SLICE_PIXELS = MAX_PIXELS
SCAN_VOXELS = MAX_VOXELS  # of a scan that is looked at; translated slice by slice
WHOLE_VOXELS = 2**25  # of a scan that is translated as a whole: 512 slices of 256x256, or frames
API_VOXELS = 2**22  # in one JSON answer: 64 slices of 256x256, 16 MB for each image

# Time. Each is kept between two steps of the work, so it is passed by one step at most: a batch
# on the network, a frame of a file.
OPENING_S = 60.0  # the largest scan that is accepted takes some 10 s on two busy cores
API_S = 300.0  # the wait included; 64 slices take some 10 s on two free cores
SAVE_S = 1800.0  # the wait included; 512 slices beside seven other volumes
POLL_S = 20.0  # after which the browser hears that nothing has changed

# Waiting.
QUEUE = 256  # requests of programs that wait for their turn, of everybody
OPENINGS_AT_ONCE = at_once(1, 32, 8192 * MIB)  # files read; a gigabyte each for a moment
SAVES_AT_ONCE = at_once(1, 16, 4096 * MIB)  # files written
API_AT_ONCE = at_once(1, 16, 4096 * MIB)
POLLS = 4096  # of everybody

# Memory.
# Of all scans, their translations and the files made of them. Who looked least recently has the
# translations computed again, then has to open the scan again.
HELD_BYTES = share_of_memory(5120 * MIB, 5 / 16)
SCANS = 512
READ_AHEAD_BYTES = 256 * MIB  # of one scan: series that were read for their small picture
SERIES_RESULT_BYTES = 3 * 4 * WHOLE_VOXELS  # of one series: there, back and a map, in float32
SCAN_S = 3600.0  # after its last use a scan is forgotten
TAB_S = 600.0  # and after the last sign of its tab, which said nothing of being closed
RELOAD_S = 20.0  # and after its tab said so, which one that is loaded anew does, too
END_S = 10.0  # that a server which is stopped waits for the batch it has begun

TOO_LARGE = (
    f"These files have more than {UPLOAD_BYTES // MIB} MB together; send one series at a time, or "
    "run python -m cyclegan.translate on your own machine."
)
TOO_MANY_FILES = (
    f"These are more than {UPLOAD_FILES} files; send one series at a time, or put it into a zip."
)
BUSY = "Too many files are being sent at the moment; try again in a minute."
BODY_TOO_LARGE = (
    f"A request other than an upload may have {BODY_BYTES // MIB} MB; send images as files."
)
FILES_ONLY = "Files are taken as uploads only, and not fetched from an address."


def took_too_long(what: str, seconds: float) -> str:
    """The sentence for work that was ended."""
    return (
        f"{what} took more than {seconds:.0f} s and was stopped; try again when fewer people are "
        "here, or run python -m cyclegan.translate on your own machine."
    )
