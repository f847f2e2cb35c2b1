"""The scans of all open tabs: as much as fits into memory, and no longer than they are used."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from cyclegan.web import limits

if TYPE_CHECKING:
    from cyclegan.web.session import Session


class Sessions:
    """The scan of each tab, with others that came in the same files and were looked at; bounded,
    and forgotten some time after their last use.

    When memory is short, the tabs that were used least recently lose their translations first,
    which are computed again when somebody looks, and then their scans.

    Args:
        lifetime: seconds after its last use until a scan is forgotten.
        result_bytes: of translations and maps, all scans together.
        scan_bytes: of all scans together.
    """

    def __init__(
        self,
        lifetime: float = limits.SESSION_S,
        result_bytes: int = limits.RESULT_BYTES,
        scan_bytes: int = limits.SCAN_BYTES,
    ):
        self.lifetime = lifetime
        self.result_bytes = result_bytes
        self.scan_bytes = scan_bytes
        self._lock = threading.Lock()
        self._by_tab: dict[str, list[Session]] = {}  # the one on screen last
        self._timer: threading.Timer | None = None

    def __contains__(self, tab: str) -> bool:
        with self._lock:
            return tab in self._by_tab

    def open(self, tab: str, session: Session) -> None:
        """Hold `session` for `tab`, in place of those of other files."""
        with self._lock:
            before = [each for each in self._by_tab.pop(tab, ()) if each is not session]
            kept = [
                each for each in before if each.selection and each.selection is session.selection
            ]
            self._by_tab[tab] = [*kept, session]
            self._watch()
        for each in before:
            if each not in kept:
                each.clear()
        session.grown = self.trim
        self.trim()

    def of_series(self, tab: str, choice: int) -> Session | None:
        """What is still held of a series of the files on screen, with its translations."""
        with self._lock:
            held = [each for each in self._by_tab.get(tab, ()) if each.selection]
        found = [each for each in held if each.choice == choice and each.volume is not None]
        return found[0] if found else None

    def close(self, tab: str) -> None:
        """Forget the scans of `tab`."""
        with self._lock:
            sessions = self._by_tab.pop(tab, ())
        for session in sessions:
            session.clear()

    def trim(self) -> None:
        """Forget what is too much; never the scan that was used last."""
        by_use = sorted(self._all(), key=lambda each: each[1].last_used)
        results = sum(session.result_bytes for _, session in by_use)
        scans = sum(session.scan_bytes for _, session in by_use)
        for tab, session in by_use[:-1]:
            if results > self.result_bytes:
                results -= session.result_bytes
                session.drop_results()
            if scans > self.scan_bytes:
                scans -= session.scan_bytes
                self._forget(tab, session)

    def _all(self) -> list[tuple[str, Session]]:
        with self._lock:
            return [(tab, each) for tab, held in self._by_tab.items() for each in held]

    def _forget(self, tab: str, session: Session) -> None:
        with self._lock:
            left = [each for each in self._by_tab.get(tab, ()) if each is not session]
            if left:
                self._by_tab[tab] = left
            else:
                self._by_tab.pop(tab, None)
        session.clear()

    def _watch(self) -> None:
        """Wake up when the first scan may have been unused for too long; call with the lock."""
        if self._timer is None and self._by_tab:
            first = min(each.last_used for held in self._by_tab.values() for each in held)
            wait = max(first + self.lifetime - time.monotonic(), 0.01)
            self._timer = threading.Timer(wait, self._forget_unused)
            self._timer.daemon = True  # or the server would wait for it to stop
            self._timer.start()

    def _forget_unused(self) -> None:
        end = time.monotonic() - self.lifetime
        for tab, session in self._all():
            if session.last_used <= end:
                self._forget(tab, session)
        with self._lock:
            self._timer = None
            self._watch()
