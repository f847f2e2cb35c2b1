"""Decoded slices on disk: each file is decoded once, and training reads memory-mapped rows.

A cache folder holds one folder for each grid and each way of scaling and framing, such as
`256-1-1a2b3c4d/`, and in it

    pixels.f16     (N, S, S) little-endian float16, the framed slices
    heads.bits     (N, ceil(S² / 8)) uint8, the head masks, eight pixels a byte
    index.sqlite   which rows belong to which content, and which file had which content when

Rows are only ever added: written and synced first, then committed to the index, after each file but
not more than once a second. So a process that is killed loses the files in work and those of that
second; it leaves at worst bytes that nothing refers to, and the next one writes over them.
Processes that share a cache take turns at filling it. What belonged to files that have changed or
gone is not used and not taken back: delete the folder between runs to be rid of it.
"""

from __future__ import annotations

import errno
import io
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from cyclegan.data.framed_slices import recipe
from cyclegan.data.mapped_slices import MappedSlices, RowFile

FORMAT = 2  # raised when the layout changes, or when `read_volume` gives other pixels for a file
COMMIT_EVERY = 1.0  # seconds; a commit took 13 ms on a busy disk, decoding a slice 4
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT, digest TEXT, error TEXT);
CREATE TABLE IF NOT EXISTS slices (key TEXT PRIMARY KEY, start INTEGER, count INTEGER);
CREATE TABLE IF NOT EXISTS arrays (key TEXT PRIMARY KEY, npz BLOB);
"""


class CacheError(ValueError):
    """The cache cannot be written; the message says which folder, and what would work."""


class SliceCache:
    """The cache of one folder and grid; a context manager wherever it may be filled.

    Args:
        folder: created when missing; several runs may share it.
        size: side of the network's grid.

    Raises:
        CacheError: on entering and inside, when the folder cannot be written.
    """

    def __init__(self, folder: str | Path, size: int):
        self.folder = Path(folder) / f"{size}-{FORMAT}-{recipe()}"
        self.size = size
        self.remaining = 1  # files still to come, this one too; for the message on a full disk
        self._pixels = RowFile(self.folder / "pixels.f16", size, torch.float16)
        self._heads = RowFile(self.folder / "heads.bits", size, torch.bool)
        self._added = (0, 0)  # files and rows, by this process
        self._inside = 0  # transactions within transactions
        self._committed = 0.0

    def __enter__(self) -> SliceCache:
        with self._writable():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / "lock")
            try:
                self._lock.acquire(timeout=1)
            except Timeout:
                logging.getLogger(__name__).warning(
                    "waiting for another process that fills %s", self.folder.parent
                )
                self._lock.acquire()
            try:
                self._open()
            except BaseException:
                self._lock.release()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._writable():
                self._commit()
        except CacheError:
            if kind is None:  # else the first error says more
                raise
        finally:
            self._index.close()
            self._lock.release()

    def file(self, path: str, stamp: str) -> tuple[str, str | None] | None:
        """The digest of a file, and why it cannot be read, if remembered with this stamp."""
        return self._index.execute(
            "SELECT digest, error FROM files WHERE path = ? AND stamp = ?", (path, stamp)
        ).fetchone()

    def remember(self, path: str, stamp: str, digest: str, error: str | None) -> None:
        """Remember a file by its path, in place of what it was before."""
        with self.transaction():
            row = (path, stamp, digest, error)
            self._index.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", row)

    def rows(self, key: str) -> np.ndarray | None:
        """Row numbers that were added under a key, or None."""
        found = self._index.execute("SELECT start, count FROM slices WHERE key = ?", (key,))
        return next((start + np.arange(count) for start, count in found), None)

    def add(self, key: str, slices: torch.Tensor, heads: torch.Tensor) -> np.ndarray:
        """Keep (N, 1, S, S) float16 slices and their bool head masks; returns their row numbers."""
        with self.transaction(needed=len(slices)):
            (start,) = self._index.execute("SELECT coalesce(max(start + count), 0) FROM slices")
            self._pixels.write(start[0], slices)
            self._heads.write(start[0], heads)
            row = (key, start[0], len(slices))
            self._index.execute("INSERT INTO slices VALUES (?, ?, ?)", row)
        self._added = self._added[0] + 1, self._added[1] + len(slices)
        return start[0] + np.arange(len(slices))

    def arrays(self, key: str) -> dict[str, np.ndarray] | None:
        """Small arrays that were kept under a key, or None."""
        for (npz,) in self._index.execute("SELECT npz FROM arrays WHERE key = ?", (key,)):
            with np.load(io.BytesIO(npz), allow_pickle=False) as found:
                return dict(found)
        return None

    def keep(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        """Keep small arrays under a key."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        with self.transaction():
            row = (key, buffer.getvalue())
            self._index.execute("INSERT OR REPLACE INTO arrays VALUES (?, ?)", row)

    def mapped(self, rows: np.ndarray) -> tuple[MappedSlices, MappedSlices]:
        """Slices and head masks of these rows; they stay readable when the cache is closed."""
        return MappedSlices(self._pixels, rows), MappedSlices(self._heads, rows)

    def _open(self) -> None:
        path = self.folder / "index.sqlite"
        for attempt in ("as it is", "anew"):
            # Transactions are begun by hand: sqlite3's own leave out what only reads.
            self._index = sqlite3.connect(path, isolation_level=None)
            try:
                self._index.executescript(SCHEMA)
                (end,) = self._index.execute("SELECT max(start + count) FROM slices").fetchone()
            except sqlite3.DatabaseError as error:
                self._index.close()
                if attempt == "anew" or isinstance(error, sqlite3.OperationalError):
                    raise
            else:
                if all(_rows_in(file) >= (end or 0) for file in (self._pixels, self._heads)):
                    break
                self._index.close()
            # A damaged index, or rows that are gone: nothing in it can be trusted.
            for file in self.folder.glob("index.sqlite*"):
                file.unlink()
        for rows in (self._pixels, self._heads):
            if not end:  # a run may still be reading rows of a lost index: a new file, not new rows
                rows.path.unlink(missing_ok=True)
            rows.path.touch()

    @contextmanager
    def transaction(self, needed: int = 0) -> Iterator[None]:
        """All that is kept inside, or nothing; inside another transaction, a part of that.

        Args:
            needed: rows that are to be added, for the message on a full disk.
        """
        with self._writable(needed):
            outermost = not self._inside
            if not self._index.in_transaction:
                self._index.execute("BEGIN")
            self._index.execute("SAVEPOINT part")
            self._inside += 1
            try:
                yield
            except BaseException:
                if self._index.in_transaction:  # SQLite has gone back by itself when it was full
                    self._index.execute("ROLLBACK TO part")
                    self._index.execute("RELEASE part")
                raise
            finally:
                self._inside -= 1
            self._index.execute("RELEASE part")
            if outermost and time.monotonic() - self._committed > COMMIT_EVERY:
                self._commit()

    def _commit(self) -> None:
        if self._index.in_transaction:
            for file in (self._pixels, self._heads):
                file.sync()
            self._index.execute("COMMIT")
        self._committed = time.monotonic()

    @contextmanager
    def _writable(self, needed: int = 0) -> Iterator[None]:
        """Say in a sentence what keeps the cache from being written."""
        try:
            yield
        except (OSError, sqlite3.OperationalError) as error:
            full = getattr(error, "errno", None) in FULL or "disk is full" in str(error)
            if not full:
                reason = getattr(error, "strerror", None) or error
                raise CacheError(
                    f"{self.folder.parent}: slices cannot be cached there ({reason}); "
                    "choose a folder that can be written (--cache)"
                ) from error
            files, rows = self._added
            mean = (rows + needed) / (files + 1)
            bytes_needed = mean * self.remaining * (self._pixels.row_bytes + self._heads.row_bytes)
            raise CacheError(
                f"{self.folder.parent}: the disk is full; about "
                f"{max(bytes_needed, 2**20) / 2**20:.0f} MiB more are needed to keep the slices of "
                "all files: make room, or choose another folder (--cache)"
            ) from error


def _rows_in(file: RowFile) -> int:
    return file.path.stat().st_size // file.row_bytes if file.path.is_file() else 0
