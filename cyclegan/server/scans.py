"""The scans of all tabs: as much as fits into memory, and no longer than they are used."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING

from cyclegan.server import limits
from cyclegan.server.errors import GoneError
from cyclegan.server.examples import EXAMPLES, example_volume
from cyclegan.server.images import Results
from cyclegan.server.process import trim_memory
from cyclegan.server.scan import Scan
from cyclegan.server.series import Series

if TYPE_CHECKING:
    from cyclegan.server.models import Model


class Scans:
    """By token. When memory is short, those that were used least recently lose their translations
    first, and then go.

    Args:
        model: translates.
        most: bytes of all scans together.

    Attributes:
        server: names this run of the server.
    """

    def __init__(self, model: Model, most: int = limits.HELD_BYTES):
        self.model = model
        self.most = most
        self.server = secrets.token_urlsafe(8)
        self._lock = threading.RLock()
        self._scans: dict[str, Scan] = {}
        self._example_results = [Results() for _ in EXAMPLES]

    def __len__(self) -> int:
        return len(self._scans)

    def get(self, token: str, *, used: bool = True) -> Scan:
        """The scan under a token.

        Args:
            token: of the scan.
            used: whether this is more than asking for the state.

        Raises:
            GoneError: there is none (any more).
        """
        scan = self._scans.get(token)
        if scan is None or scan.is_closed:
            raise GoneError
        scan.touch(used=used)
        return scan

    def hold(self, scan: Scan) -> Scan:
        """Hold a scan until it is closed or forgotten."""
        scan.grown = self.trim
        with self._lock:
            self._scans[scan.token] = scan
        self.trim()
        return scan

    def example(self, number: int) -> Scan:
        """An example that is being translated, which is done once for all; not held yet.

        Raises:
            GoneError: there is no such example.
        """
        if not 0 <= number < len(EXAMPLES):
            raise GoneError("There is no such example.")
        volume, to = example_volume(number), EXAMPLES[number].to
        results = self._example_results[number]
        scan = Scan(Series(self.model, volume, to, is_simulated=True, results=results))
        scan.translate()
        return scan

    def close(self, token: str) -> None:
        """Forget a scan now: its tab was closed."""
        with self._lock:
            scan = self._scans.pop(token, None)
        if scan is not None:
            scan.close()
            trim_memory()

    def leave(self, token: str) -> None:
        """The tab says that it closes: forget the scan soon, unless somebody asks for it again."""
        scan = self._scans.get(token)
        if scan is not None:
            scan.last_seen = time.monotonic() - limits.TAB_S + limits.RELOAD_S

    def trim(self) -> None:
        """Forget what is too much; never the scan that was used last."""
        with self._lock:  # two at once would each forget as much
            by_use = sorted(self._scans.values(), key=lambda scan: scan.last_used)
            total = sum(scan.held_bytes for scan in by_use)
            for scan in by_use[:-1]:
                if total > self.most:
                    total -= scan.result_bytes
                    scan.drop_results()
            for position, scan in enumerate(by_use[:-1]):
                if total > self.most or len(by_use) - position > limits.SCANS:
                    total -= scan.held_bytes
                    self.close(scan.token)

    def sweep(self) -> None:
        """Forget what nobody has used for too long."""
        now = time.monotonic()
        for scan in list(self._scans.values()):
            if now - scan.last_seen > limits.TAB_S or now - scan.last_used > limits.SCAN_S:
                self.close(scan.token)
