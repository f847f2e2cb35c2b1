"""Decoded slices on disk: each file is decoded once, and training maps its slices into memory.

A cache folder holds one folder for each grid and each way of scaling and framing, such as
`256-3-1a2b3c4d/`, and in it

    files/*.json    for each path, size and time of the file, and the SHA-256 of its content
    slices/*.npy    for each content, (N,) records of a slice, (S, S) little-endian float16, and its
                    head mask, eight pixels a byte; also of pairs and stripped copies
    arrays/*.npz    for each content, facts, and what the report shows of it; brain masks

Every file is written beside its place and moved there whole (os.replace), so a process that is
killed leaves nothing half; what a broken disk has damaged is made anew. Processes that share a
cache take turns at filling it. What belonged to files that have changed or gone is not used and not
taken back: delete the folder between runs to be rid of it.
"""

from __future__ import annotations

import atexit
import errno
import functools
import hashlib
import io
import itertools
import json
import logging
import os
import shutil
import tempfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout

from cyclegan import __version__
from cyclegan.data.decoding import Decoded, Facts, Files, FileSummary, decode, recipe, summarise
from cyclegan.reading.read import parts
from cyclegan.reading.volume import ReadError

FORMAT = 4  # raised when the layout changes, or when `read_volume` gives other pixels for a file
THREADS = min(4, os.cpu_count() or 1)  # each may hold a volume and its copies, 1/4 GB
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DAMAGED = (
    ValueError,
    TypeError,
    KeyError,
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)  # or not there
ENDINGS = {"files": ".json", "slices": ".npy", "arrays": ".npz"}
Arrays = dict[str, np.ndarray]


class CacheError(ValueError):
    """The cache cannot be written; the message says which folder, and what would work."""


class StoredSlices:
    """Slices or head masks in files of a cache; indexing copies what it selects into a tensor.

    Stands for a (N, 1, S, S) tensor wherever one is indexed along its first axis.

    Args:
        name: "slice" or "head", a field of the records.
        size: S.
        paths, rows: (N,) the file of each slice, and its record there.
    """

    def __init__(self, name: str, size: int, paths: np.ndarray, rows: np.ndarray):
        self.name, self.size, self.paths, self.rows = name, size, paths, rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.rows), 1, self.size, self.size))

    @property
    def dtype(self) -> torch.dtype:
        return torch.float16 if self.name == "slice" else torch.bool

    def __getitem__(self, key: Any) -> torch.Tensor:
        first, *rest = key if isinstance(key, tuple) else (key,)
        rows = self.rows[first]
        images = self._read(np.atleast_1d(self.paths[first]), np.atleast_1d(rows))
        return images[(0 if np.ndim(rows) == 0 else slice(None), *rest)]

    def _read(self, paths: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        records = [np.empty(0, record_of(self.size))[self.name]]
        for path, group in itertools.groupby(zip(paths, rows, strict=True), lambda item: item[0]):
            mapped = _mapped(path, os.stat(path).st_mtime_ns)[self.name]
            records.append(mapped[[row for _, row in group]])
        raw = np.concatenate(records)
        if self.dtype == torch.bool:
            values = np.unpackbits(raw, axis=1, count=self.size**2).view(bool)
        else:
            values = raw.astype(np.float16, copy=False)
        return torch.from_numpy(values).reshape(-1, 1, self.size, self.size)


@functools.lru_cache(maxsize=128)  # a process may have some thousand open files
def _mapped(path: str, modified: int) -> np.ndarray:
    return np.load(path, mmap_mode="r")


class ItemSlices(NamedTuple):
    """Files that were read together: the key of their content, slices, head masks, and facts."""

    key: str
    slices: StoredSlices  # (N, 1, S, S) float16 in [0, 1]
    heads: StoredSlices  # the same shape, bool
    facts: Facts


def concatenate(stacks: Sequence[StoredSlices]) -> StoredSlices:
    """Several stacks of slices or head masks as one."""
    paths, rows = (np.concatenate([getattr(s, name) for s in stacks]) for name in ("paths", "rows"))
    return StoredSlices(stacks[0].name, stacks[0].size, paths, rows)


def record_of(size: int) -> np.dtype:
    """What is stored of a slice and its head mask."""
    return np.dtype([("slice", "<f2", (size, size)), ("head", "u1", (-(-(size**2) // 8),))])


class SliceCache:
    """The cache of one folder and grid; a context manager wherever it may be filled.

    Args:
        folder: created when missing; several runs may share it. None: a temporary one, which goes
            when the process ends, unless it is killed.
        size: side of the network's grid.

    Raises:
        CacheError: on entering and inside, when the folder cannot be written.
    """

    def __init__(self, folder: str | Path | None, size: int):
        if folder is None:
            try:
                folder = tempfile.mkdtemp(prefix="cyclegan-slices-")
            except OSError as error:
                raise CacheError(f"no folder for decoded slices ({error}); name one") from error
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.folder = Path(folder) / f"{size}-{FORMAT}-{recipe()}"
        self.size = size
        self._parts = self.folder / "parts"
        self._lock = FileLock(self.folder / "lock")

    def __enter__(self) -> SliceCache:
        with self._writable():
            for name in ("parts", *ENDINGS):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=1)
            except Timeout:
                logging.getLogger(__name__).warning(
                    "waiting for another process that fills %s", self.folder.parent
                )
                self._lock.acquire()
            for part in self._parts.iterdir():  # of a process that was killed
                part.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def read(self, files: Files) -> ItemSlices:
        """An item, decoded when it is new.

        Raises:
            ReadError: it cannot be read.
        """
        record = self._record(files)
        key, decoded = record["content"], functools.cache(lambda: self._decode(files, record))
        if record["error"]:
            raise ReadError(record["error"])

        def facts() -> Arrays:
            self._summary(key, decoded)  # for the report, while the file is in memory
            return decoded().facts._asdict()

        known = self.arrays(f"facts {key}", facts)
        stored = self.slices(key, lambda: decoded().frame(self.size))
        return ItemSlices(key, *stored, Facts(**known))

    def content_of(self, files: Files) -> str:
        """SHA-256 of an item, remembered while sizes and times are as they were.

        Raises:
            ReadError: a file cannot be opened.
        """
        return self._record(files)["content"]

    def summary_of(self, files: Files) -> FileSummary:
        """What an item shows, decoded when it is new.

        Raises:
            ReadError: it cannot be read.
        """
        record = self._record(files)
        return self._summary(record["content"], lambda: self._decode(files, record))

    def slices(
        self, key: str, make: Callable[[], tuple[torch.Tensor, torch.Tensor]]
    ) -> tuple[StoredSlices, StoredSlices]:
        """Slices and head masks that are stored under a key.

        Args:
            make: called when there are none yet: (N, 1, S, S) float16, and bool.
        """
        if stored := self._stored(key):
            return stored
        slices, heads = make()
        records = np.empty(len(slices), record_of(self.size))
        records["slice"] = slices[:, 0].numpy()
        records["head"] = np.packbits(heads.flatten(1).numpy(), axis=1)
        buffer = io.BytesIO()
        np.save(buffer, records)
        self._write(self._path("slices", key), buffer.getbuffer())
        return self._records(self._path("slices", key), len(slices))

    def arrays(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """Small arrays that are stored under a key; `make` is called when there are none yet."""
        path = self._path("arrays", key)
        with suppress(*DAMAGED), np.load(path, allow_pickle=False) as stored:
            return dict(stored)
        arrays, buffer = make(), io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        self._write(path, buffer.getbuffer())
        return arrays

    def _summary(self, key: str, decoded: Callable[[], Decoded]) -> FileSummary:
        arrays = self.arrays(f"summary {key}", lambda: summarise(decoded())._asdict())
        return FileSummary(**arrays)

    def _record(self, files: Files) -> dict[str, Any]:
        """Of an item: its `stamp`, the SHA-256 of its `content`, and `error`, if it has one."""
        try:
            stamp, record = _stamp(files), self._known(files)
            if record is None or record.get("stamp") != stamp:
                record = {"stamp": stamp, "content": content_of(files), "error": None}
                self._remember(files, record)
        except OSError as error:
            reason = f"the file cannot be opened ({error.strerror})"
            raise ReadError(f"{files[0].name}: {reason}.") from error
        return record

    def _decode(self, files: Files, record: dict[str, Any]) -> Decoded:
        if record["error"]:
            raise ReadError(record["error"])
        try:
            decoded = decode(files)
        except ReadError as error:
            self._remember(files, record | {"error": str(error)})
            raise
        if not all(path.is_file() for path in files) or _stamp(files) != record["stamp"]:
            raise ReadError(f"{files[0].name}: it changed while it was read; start again.")
        return decoded

    def _stored(self, key: str) -> tuple[StoredSlices, StoredSlices] | None:
        path = self._path("slices", key)
        with suppress(*DAMAGED):
            return self._records(path, len(np.load(path, mmap_mode="r")))
        return None

    def _records(self, path: Path, count: int) -> tuple[StoredSlices, StoredSlices]:
        places = np.full(count, str(path), object), np.arange(count)
        slices, heads = (StoredSlices(name, self.size, *places) for name in ("slice", "head"))
        return slices, heads

    def _path(self, kind: str, key: str) -> Path:
        name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        return self.folder / kind / f"{name}{ENDINGS[kind]}"

    def _known(self, files: Files) -> dict[str, Any] | None:
        path = self._path("files", os.path.abspath(files[0]))
        with suppress(*DAMAGED):
            return dict(json.loads(path.read_text("utf-8")))
        return None

    def _remember(self, files: Files, record: dict[str, Any]) -> None:
        path = self._path("files", os.path.abspath(files[0]))
        self._write(path, json.dumps(record).encode())

    def _write(self, path: Path, data: bytes | memoryview) -> None:
        with self._writable():
            part = self._parts / uuid.uuid4().hex
            try:
                part.write_bytes(data)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)  # what is full needs the room

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """Say in a sentence what keeps the cache from being written."""
        try:
            yield
        except OSError as error:
            folder, reason = self.folder.parent, error.strerror or error
            if error.errno in FULL:
                mib = record_of(self.size).itemsize * 1000 / 2**20
                raise CacheError(
                    f"{folder}: the disk is full; 1000 slices take {mib:.0f} MiB: make room, or "
                    "choose another folder (--cache)"
                ) from error
            raise CacheError(
                f"{folder}: slices cannot be cached there ({reason}); choose a folder that can be "
                "written (--cache)"
            ) from error


def content_of(files: Files) -> str:
    """SHA-256, in hexadecimal, of what reading an item reads: also of the other half of a pair.

    Raises:
        OSError: a file cannot be opened.
        ReadError: as `read.parts`.
    """
    total = hashlib.sha256()
    for path in _paths(files):
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: total)
    return total.hexdigest()


def _stamp(files: Files) -> str:
    """What changes when a file does; the version, too, as other formats may read other files."""
    stats = [path.stat() for path in _paths(files)]
    stamp = " ".join([__version__, *(f"{s.st_size}:{s.st_mtime_ns}" for s in stats)])
    return hashlib.sha256(stamp.encode()).hexdigest()


def _paths(files: Files) -> list[Path]:
    return [part for path in files for part in parts(path)]


def read_ahead(
    read: Callable[[Files], ItemSlices], items: Sequence[Files]
) -> Iterator[ItemSlices | ReadError]:
    """Read items in threads, a few at a time: each in turn, or why it cannot be read."""

    def attempt(files: Files) -> ItemSlices | ReadError:
        try:
            return read(files)
        except ReadError as error:
            return error

    pool = ThreadPoolExecutor(THREADS)
    try:
        yield from pool.map(attempt, items)
    finally:
        pool.shutdown(cancel_futures=True)
