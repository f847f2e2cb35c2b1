"""Files as bytes in memory, archives unpacked by counting; no name in an archive touches a disk."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cyclegan.reading.deadline import check_time
from cyclegan.reading.formats import SUPPORTED, ZIP_MAGIC, file_head
from cyclegan.reading.volume import MAX_FILE_BYTES, ReadError, damage_refused

MAX_ENTRIES = 10_000
MAX_DIRECTORY_BYTES = 4 * 2**20  # of an archive's list of entries, before it is parsed
MAX_RATIO = 300  # deflate reaches 1032; slices of a head, air and all, stay below 20
_RATIO_FROM = 16 * 2**20  # bytes; a small archive of black pictures is no bomb
_CHUNK = 2**20
NO_IMAGE = "no image that can be read"  # why a file is left out
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others cannot be stopped in time


@dataclass(frozen=True, eq=False)
class Member:
    """One file.

    Attributes:
        name: without folders, printable.
        data: its content.
        archive: name of the archive that it came in, else "".
        folder: where in the archive, or among the files that came together, it lay, else "".
        image: of the .hdr of a pair, the .img that came with it.
    """

    name: str
    data: bytes
    archive: str = ""
    folder: str = ""
    image: Member | None = None

    @property
    def names(self) -> tuple[str, str]:
        """Its own name and that of its folder."""
        return self.name, PurePosixPath(self.folder).name


def members_of(files: Sequence[Path | Member]) -> tuple[list[Member], dict[str, list[str]]]:
    """Read files and unpack zip archives, `MAX_FILE_BYTES` in all.

    Args:
        files: on disk, or in memory.

    Returns:
        The files in order, and names of those left out by reason.

    Raises:
        ReadError: a file cannot be opened, an archive is damaged or blown up, or all together are
            too large.
    """
    members: list[Member] = []
    left_out: dict[str, list[str]] = defaultdict(list)
    budget = MAX_FILE_BYTES
    for file in files:
        check_time()
        size = len(file.data) if isinstance(file, Member) else _size(file)
        if size == 0 and len(files) > 1:
            left_out["empty"].append(file.name)
            continue
        if size == 0:
            raise ReadError(f"{file.name}: the file is empty; choose a {SUPPORTED} file.")
        head = file.data[:1024] if isinstance(file, Member) else file_head(file)
        try:
            if head[:4] == ZIP_MAGIC:
                new = _unpacked(file, budget, left_out)
            elif size > budget:
                raise _too_large(file.name)
            else:
                new = [file if isinstance(file, Member) else Member(file.name, file.read_bytes())]
        except OSError as error:
            raise ReadError(
                f"{file.name}: the file cannot be opened ({error.strerror})."
            ) from error
        budget -= sum(len(member.data) for member in new)
        members += new
    return members, left_out


def _size(path: Path) -> int | None:
    """Bytes of a file; None where there is none to be read, which `file_head` explains."""
    with suppress(OSError):
        return path.stat().st_size if path.is_file() else None
    return None


class _Archive(io.BufferedReader):
    """An archive that refuses to be read in large pieces: `ZipFile` reads its list of entries in
    one, and every entry costs half a kilobyte when it is parsed."""

    def __init__(self, file: Path | Member):
        self.title = file.name
        super().__init__(
            io.BytesIO(file.data) if isinstance(file, Member) else io.FileIO(file)  # type: ignore[arg-type]
        )

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise ReadError(f"{self.title}: the archive lists too many files; send one series.")
        return super().read(size)


def _unpacked(file: Path | Member, budget: int, left_out: dict[str, list[str]]) -> list[Member]:
    members = []
    with (
        damage_refused(file.name, "zip"),
        _Archive(file) as stream,
        zipfile.ZipFile(stream) as archive,
    ):
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > MAX_ENTRIES:
            raise ReadError(
                f"{file.name}: the archive holds {len(entries)} files; up to {MAX_ENTRIES} "
                "are read, so send one series."
            )
        for entry in entries:
            # Some programs on Windows separate folders in their own way.
            where = PurePosixPath(entry.filename.replace("\\", "/"))
            name = "".join(c if c.isprintable() else "?" for c in where.name)
            if name.startswith(".") or "__MACOSX" in where.parts:
                left_out[NO_IMAGE].append(name)
            elif entry.flag_bits & 1:
                left_out["encrypted"].append(name)
            elif entry.compress_type not in _METHODS:
                left_out["packed by a rare method"].append(name)
            else:
                try:
                    data = _inflated(archive, entry, file.name, budget)
                except (zipfile.BadZipFile, zlib.error, EOFError):
                    left_out["damaged in the archive"].append(name)
                    continue
                budget -= len(data)
                if data:
                    folder = f"{file.name}/{where.parent}"
                    members.append(Member(name, data, archive=file.name, folder=folder))
                else:
                    left_out["empty"].append(name)
    return members


def _inflated(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, archive_name: str, budget: int
) -> bytes:
    """Content of an entry; counts what comes out, whatever the directory claims."""
    content = bytearray()
    packed = min(entry.compress_size, archive.start_dir)  # what is packed lies before the list
    with archive.open(entry) as stream:
        while chunk := stream.read(_CHUNK):
            check_time()
            content += chunk
            if len(content) > budget:
                raise _too_large(archive_name)
            if len(content) > max(_RATIO_FROM, MAX_RATIO * packed):
                raise ReadError(
                    f"{archive_name}: a file in the archive unpacks to more than {MAX_RATIO} times "
                    "its size, as no image does; nothing was read."
                )
    return bytes(content)


def _too_large(name: str) -> ReadError:
    return ReadError(
        f"{name}: together the files have more than {MAX_FILE_BYTES / 2**20:.0f} MiB unpacked; "
        "send one series at a time."
    )
