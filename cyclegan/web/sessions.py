"""The scans of all open tabs: as much as fits into memory, and no longer than they are used."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from cyclegan.web import limits

if TYPE_CHECKING:
    from cyclegan.web.session import Session


class Sessions:
    """One `Session` for each tab; bounded, and forgotten some time after its last use.

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
        self._by_tab: dict[str, Session] = {}
        self._timer: threading.Timer | None = None

    def __contains__(self, tab: str) -> bool:
        with self._lock:
            return tab in self._by_tab

    def open(self, tab: str, session: Session) -> None:
        """Hold `session` for `tab`, in place of the one before."""
        with self._lock:
            before = self._by_tab.pop(tab, None)
            self._by_tab[tab] = session
            self._watch()
        if before is not None:
            before.clear()
        session.grown = self.trim
        self.trim()

    def close(self, tab: str) -> None:
        """Forget the scan of `tab`."""
        with self._lock:
            session = self._by_tab.pop(tab, None)
        if session is not None:
            session.clear()

    def trim(self) -> None:
        """Forget what is too much; never the scan that was used last."""
        with self._lock:
            by_use = sorted(self._by_tab.items(), key=lambda item: item[1].last_used)
        results = sum(session.result_bytes for _, session in by_use)
        scans = sum(session.scan_bytes for _, session in by_use)
        for tab, session in by_use[:-1]:
            if results > self.result_bytes:
                results -= session.result_bytes
                session.drop_results()
            if scans > self.scan_bytes:
                scans -= session.scan_bytes
                self.close(tab)

    def _watch(self) -> None:
        """Wake up when the first scan may have been unused for too long; call with the lock."""
        if self._timer is None and self._by_tab:
            first = min(session.last_used for session in self._by_tab.values())
            wait = max(first + self.lifetime - time.monotonic(), 0.01)
            self._timer = threading.Timer(wait, self._forget_unused)
            self._timer.daemon = True  # or the server would wait for it to stop
            self._timer.start()

    def _forget_unused(self) -> None:
        end = time.monotonic() - self.lifetime
        with self._lock:
            unused = [tab for tab, each in self._by_tab.items() if each.last_used <= end]
        for tab in unused:
            self.close(tab)
        with self._lock:
            self._timer = None
            self._watch()
