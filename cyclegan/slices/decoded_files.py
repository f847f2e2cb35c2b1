"""Each file is decoded once: the cache remembers its slices and summary by content."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cyclegan import __version__
from cyclegan.model.preprocess import scale_intensity
from cyclegan.reading.read import parts, read_volume
from cyclegan.reading.volume import ReadError
from cyclegan.slices.file_summary import FileSummary, summarise_file
from cyclegan.slices.framed_slices import frame_slices
from cyclegan.slices.slice_cache import SliceCache

AHEAD = min(4, os.cpu_count() or 1)  # threads; each may hold a volume and its copies, 1/4 GB


class Looked(NamedTuple):
    """A file as found: its `_stamp`, SHA-256, why it cannot be read, and if that is news."""

    stamp: str
    digest: str
    error: str | None = None
    new: bool = False


class Decoded(NamedTuple):
    """A file's (N, 1, S, S) float16 slices, their bool head masks, and its summary."""

    slices: torch.Tensor
    heads: torch.Tensor
    summary: FileSummary


class DecodedFiles:
    """Files by content, decoded when they are new; for as long as `cache` is open."""

    def __init__(self, cache: SliceCache):
        self.cache = cache
        self._decoding: set[str] = set()  # digests, in threads

    def digest_of(self, path: Path) -> str:
        """SHA-256 of a file, from the index when its size and time are as they were.

        Raises:
            ReadError: the file cannot be opened.
        """
        looked = self._look(path)
        if looked.new:
            self._remember(path, looked)
        return looked.digest

    def summary_of(self, path: Path) -> FileSummary | None:
        """What a file shows, decoded when it is new; None when it cannot be read.

        Raises:
            ReadError: the file cannot be opened.
        """
        looked = self._look(path)
        if looked.error:
            return None
        known = self.cache.arrays(f"summary {looked.digest}")
        if known is not None:
            return FileSummary(**known)
        try:
            summary = _decode(path, looked.stamp, size=None).summary
        except ReadError as error:
            self._remember(path, looked._replace(error=str(error)))
            return None
        with self.cache.transaction():
            self._remember(path, looked)
            self.cache.keep(f"summary {looked.digest}", summary._asdict())
        return summary

    def slices_of(self, paths: Sequence[Path]) -> Iterator[tuple[str, np.ndarray] | ReadError]:
        """SHA-256 and row numbers of each file in turn, or why it cannot be read.

        What is new is decoded a few files ahead, in threads, and kept in the given order.
        """
        ahead: deque[tuple[Path, Looked | ReadError, Future | None]] = deque()
        with ThreadPoolExecutor(AHEAD) as pool:
            try:
                for number, path in enumerate(paths):
                    ahead.append((path, *self._begin(path, pool)))
                    self.cache.remaining = len(paths) - number + len(ahead) - 1
                    if len(ahead) > AHEAD:
                        yield self._finish(*ahead.popleft())
                while ahead:
                    self.cache.remaining = len(ahead)
                    yield self._finish(*ahead.popleft())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _begin(
        self, path: Path, pool: ThreadPoolExecutor
    ) -> tuple[Looked | ReadError, Future | None]:
        try:
            looked = self._look(path)
        except ReadError as error:
            return error, None
        known = looked.error or self.cache.rows(looked.digest) is not None
        if known or looked.digest in self._decoding:  # the same content under another name
            return looked, None
        self._decoding.add(looked.digest)
        return looked, pool.submit(_decode, path, looked.stamp, self.cache.size)

    def _finish(
        self, path: Path, looked: Looked | ReadError, decoding: Future | None
    ) -> tuple[str, np.ndarray] | ReadError:
        if isinstance(looked, ReadError):
            return looked
        if looked.error:
            return ReadError(looked.error)
        self._decoding.discard(looked.digest)
        rows = self.cache.rows(looked.digest)
        if rows is None:
            try:
                size = self.cache.size
                decoded = decoding.result() if decoding else _decode(path, looked.stamp, size)
            except ReadError as error:
                self._remember(path, looked._replace(error=str(error)))
                return error
            with self.cache.transaction(len(decoded.slices)):
                self._remember(path, looked)
                self.cache.keep(f"summary {looked.digest}", decoded.summary._asdict())
                rows = self.cache.add(looked.digest, decoded.slices, decoded.heads)
        elif looked.new:
            self._remember(path, looked)
        return looked.digest, rows

    def _look(self, path: Path) -> Looked:
        try:
            stamp = _stamp(path)
            known = self.cache.file(os.path.abspath(path), stamp)
            return Looked(stamp, *known) if known else Looked(stamp, file_digest(path), new=True)
        except OSError as error:
            reason = f"the file cannot be opened ({error.strerror})"
            raise ReadError(f"{path.name}: {reason}.") from error

    def _remember(self, path: Path, looked: Looked) -> None:
        self.cache.remember(os.path.abspath(path), looked.stamp, looked.digest, looked.error)


def file_digest(path: Path) -> str:
    """SHA-256, in hexadecimal, of what reading this file reads: of both halves of a pair.

    Raises:
        OSError: the file cannot be opened.
        ReadError: as `read.parts`.
    """
    total = hashlib.sha256()
    for part in parts(path):
        with part.open("rb") as file:
            hashlib.file_digest(file, lambda: total)
    return total.hexdigest()


def _decode(path: Path, stamp: str, size: int | None) -> Decoded:
    """Decode a file that should still be the one with this stamp; without `size`, no slices."""
    volume = read_volume(path)
    if not path.is_file() or _stamp(path) != stamp:
        raise ReadError(f"{path.name}: it changed while it was read; start again.")
    scaled = scale_intensity(volume.pixels)
    nothing = torch.zeros(0, 1, 0, 0)
    framed = frame_slices(scaled, size, volume.pixel_spacing) if size else (nothing, nothing)
    return Decoded(*framed, summarise_file(volume, scaled))


def _stamp(path: Path) -> str:
    """What changes when a file does; the version, too, as other readers may read other files."""
    stats = [part.stat() for part in parts(path)]
    return " ".join([__version__, *(f"{s.st_size}:{s.st_mtime_ns}" for s in stats)])
