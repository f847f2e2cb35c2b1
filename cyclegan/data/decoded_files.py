"""Each file is decoded once: the cache remembers its slices and summary by content."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch

from cyclegan import __version__
from cyclegan.data.file_summary import FileSummary, summarise_file
from cyclegan.data.framed_slices import frame_slices
from cyclegan.data.item_facts import Facts, Found, describe, read_series
from cyclegan.data.slice_cache import SliceCache
from cyclegan.model.preprocess import scale_intensity
from cyclegan.reading.read import parts, read_volume
from cyclegan.reading.volume import ReadError

Files = tuple[Path, ...]
AHEAD = min(4, os.cpu_count() or 1)  # threads; each may hold a volume and its copies, 1/4 GB


class Looked(NamedTuple):
    """A file as found: its `_stamp`, SHA-256, why it cannot be read, and if that is news."""

    stamp: str
    digest: str
    error: str | None = None
    new: bool = False


class Decoded(NamedTuple):
    """A file's (N, 1, S, S) float16 slices, their bool head masks, its summary and facts."""

    slices: torch.Tensor
    heads: torch.Tensor
    summary: FileSummary
    facts: Facts


class DecodedFiles:
    """Items by content, decoded when they are new; for as long as `cache` is open.

    An item is a tuple of files that are read together, as `training_folders.Item` has them.
    """

    def __init__(self, cache: SliceCache):
        self.cache = cache
        self._decoding: set[str] = set()  # digests, in threads

    def digest_of(self, files: Files) -> str:
        """SHA-256 of an item, from the index when sizes and times are as they were.

        Raises:
            ReadError: the file cannot be opened.
        """
        looked = self._look(files)
        if looked.new:
            self._remember(files, looked)
        return looked.digest

    def summary_of(self, files: Files) -> FileSummary | None:
        """What an item shows, decoded when it is new; None when it cannot be read.

        Raises:
            ReadError: the file cannot be opened.
        """
        looked = self._look(files)
        if looked.error:
            return None
        known = self.cache.arrays(f"summary {looked.digest}")
        if known is not None:
            return FileSummary(**known)
        try:
            summary = _decode(files, looked.stamp, size=None).summary
        except ReadError as error:
            self._remember(files, looked._replace(error=str(error)))
            return None
        with self.cache.transaction():
            self._remember(files, looked)
            self.cache.keep(f"summary {looked.digest}", summary._asdict())
        return summary

    def slices_of(self, items: Sequence[Files]) -> Iterator[Found | ReadError]:
        """Each item in turn, or why it cannot be read.

        What is new is decoded a few items ahead, in threads, and kept in the given order.
        """
        ahead: deque[tuple[Files, Looked | ReadError, Future | None]] = deque()
        with ThreadPoolExecutor(AHEAD) as pool:
            try:
                for number, files in enumerate(items):
                    ahead.append((files, *self._begin(files, pool)))
                    self.cache.remaining = len(items) - number + len(ahead) - 1
                    if len(ahead) > AHEAD:
                        yield self._finish(*ahead.popleft())
                while ahead:
                    self.cache.remaining = len(ahead)
                    yield self._finish(*ahead.popleft())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _begin(
        self, files: Files, pool: ThreadPoolExecutor
    ) -> tuple[Looked | ReadError, Future | None]:
        try:
            looked = self._look(files)
        except ReadError as error:
            return error, None
        known = looked.error or self.cache.rows(looked.digest) is not None
        if known or looked.digest in self._decoding:  # the same content under another name
            return looked, None
        self._decoding.add(looked.digest)
        return looked, pool.submit(_decode, files, looked.stamp, self.cache.size)

    def _finish(
        self, files: Files, looked: Looked | ReadError, decoding: Future | None
    ) -> Found | ReadError:
        if isinstance(looked, ReadError):
            return looked
        if looked.error:
            return ReadError(looked.error)
        self._decoding.discard(looked.digest)
        rows = self.cache.rows(looked.digest)
        if rows is None:
            try:
                size = self.cache.size
                decoded = decoding.result() if decoding else _decode(files, looked.stamp, size)
            except ReadError as error:
                self._remember(files, looked._replace(error=str(error)))
                return error
            with self.cache.transaction(len(decoded.slices)):
                self._remember(files, looked)
                self.cache.keep(f"summary {looked.digest}", decoded.summary._asdict())
                self.cache.keep(f"facts {looked.digest}", decoded.facts._asdict())
                rows = self.cache.add(looked.digest, decoded.slices, decoded.heads)
        elif looked.new:
            self._remember(files, looked)
        facts = self.cache.arrays(f"facts {looked.digest}") or {}
        return Found(looked.digest, rows, Facts(**facts))

    def _look(self, files: Files) -> Looked:
        try:
            stamp = _stamp(files)
            known = self.cache.file(os.path.abspath(files[0]), stamp)
            return Looked(stamp, *known) if known else Looked(stamp, file_digest(files), new=True)
        except OSError as error:
            reason = f"the file cannot be opened ({error.strerror})"
            raise ReadError(f"{files[0].name}: {reason}.") from error

    def _remember(self, files: Files, looked: Looked) -> None:
        self.cache.remember(os.path.abspath(files[0]), looked.stamp, looked.digest, looked.error)


def file_digest(files: Files) -> str:
    """SHA-256, in hexadecimal, of what reading an item reads: also of the other half of a pair.

    Raises:
        OSError: the file cannot be opened.
        ReadError: as `read.parts`.
    """
    total = hashlib.sha256()
    for part in _parts(files):
        with part.open("rb") as file:
            hashlib.file_digest(file, lambda: total)
    return total.hexdigest()


def _decode(files: Files, stamp: str, size: int | None) -> Decoded:
    """Decode an item that should still be the one with this stamp; without `size`, no slices."""
    volume, others = read_series(files) if len(files) > 1 else (read_volume(files[0]), 0)
    if not all(path.is_file() for path in files) or _stamp(files) != stamp:
        raise ReadError(f"{files[0].name}: it changed while it was read; start again.")
    scaled = scale_intensity(volume.pixels)
    nothing = torch.zeros(0, 1, 0, 0)
    framed = frame_slices(scaled, size, volume.pixel_spacing) if size else (nothing, nothing)
    return Decoded(*framed, summarise_file(volume, scaled), describe(volume, others))


def _parts(files: Files) -> list[Path]:
    return [part for path in files for part in parts(path)]


def _stamp(files: Files) -> str:
    """What changes when a file does; the version, too, as other readers may read other files."""
    stats = [part.stat() for part in _parts(files)]
    stamp = " ".join([__version__, *(f"{s.st_size}:{s.st_mtime_ns}" for s in stats)])
    return stamp if len(files) == 1 else hashlib.sha256(stamp.encode()).hexdigest()
