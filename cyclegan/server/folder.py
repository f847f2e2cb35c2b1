"""The folder that uploads pass through: private to one process, and not left behind by any."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PREFIX = "t1t2-uploads-"


def claim_folder(parent: str | Path | None = None) -> Path:
    """Make a folder for this process's uploads, and remove those of processes that were killed.

    The owner holds a lock on its folder, which the system lets go however the process ends; so a
    folder whose lock is free belongs to nobody, whichever process has its owner's number by now.
    Where there are no such locks (Windows) nothing of other processes is removed.

    Args:
        parent: where to make it; by default the system's folder for temporary files.

    Returns:
        An empty folder that only this user can read. It is removed when the process exits.
    """
    parent = Path(parent or tempfile.gettempdir()).resolve()
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{PREFIX}*"):
        _remove_abandoned(left)
    unlocked = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))  # mode 0700
    if fcntl is not None:
        # Open until the process ends, and not handed to children, which may outlive it.
        fcntl.flock(os.open(unlocked, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    # Only now by the name that another process, starting at this moment, looks for.
    folder = unlocked.rename(parent / unlocked.name.removeprefix("."))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _remove_abandoned(folder: Path) -> None:
    if fcntl is None:
        return
    try:
        # The folder itself and ours, not a link that somebody put in its place.
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        if os.fstat(lock).st_uid == os.getuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass  # its owner lives
    finally:
        os.close(lock)
