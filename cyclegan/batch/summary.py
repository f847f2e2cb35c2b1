"""What became of all jobs: counts on the way, failures at the end, and a table without patients."""

from __future__ import annotations

import csv
import hashlib
import re
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from cyclegan.batch.jobs import Job
from cyclegan.batch.translation import Outcome
from cyclegan.reading.volume import without_quoted

_LINE_S = 30.0  # between two lines in a log; on a terminal the line renews itself
_COLUMNS = ("failure", "files", "reason")


class RunSummary:
    """Counts of the images of a run, and what failed or was left out.

    Args:
        table: CSV file for the failures, with one row for each as it happens, or None.
        hash_paths: give each row the SHA-256 of its first file's path, for whoever has the archive.
        count: called in a thread of its own for about how many files there are.

    Attributes:
        done, failed, existing: numbers of images; of the last, the result was there before.
        files, worked_on: how many are behind it, and how many of them took time.
        failures, left_out: sentences.
        expected: about how many files there are; 0 until they are counted.
    """

    def __init__(self, table: Path | None, hash_paths: bool, count: Callable[[], int]):
        self.done = self.failed = self.existing = 0
        self.files = self.worked_on = self.expected = 0
        self.failures: list[str] = []
        self.left_out: list[str] = []
        self._started = self._shown = time.monotonic()
        self._bar = tqdm(bar_format="{desc}", disable=None, leave=False)
        self._hash_paths = hash_paths
        self._file: TextIO | None = None
        if table is not None:
            self._file = table.open("w", newline="", buffering=1)
            self._rows = csv.writer(self._file)
            self._rows.writerow((*_COLUMNS, "path_sha256") if hash_paths else _COLUMNS)
        threading.Thread(target=lambda: setattr(self, "expected", count()), daemon=True).start()

    def fail(self, files: Iterable[Path], sentence: str) -> None:
        """Note a failure; its sentence may begin with a file's name, which the table leaves out."""
        files = list(files)
        self.failed += 1
        self.failures.append(sentence)
        if self._file is not None:
            row = [self.failed, len(files), without_names(sentence, files)]
            if self._hash_paths:
                row.append(hashlib.sha256(str(files[0].absolute()).encode()).hexdigest())
            self._rows.writerow(row)

    def add(self, job: Job, outcome: Outcome) -> None:
        """Count what became of the images of a job."""
        self.files += len(job.files)
        self.worked_on += len(job.files)
        self.left_out += outcome.left_out
        for sentence in outcome.failures:
            self.fail(job.files, sentence)
        self.done += len(outcome.written)
        self.existing += len(outcome.existing)

    def add_existing(self, job: Job) -> None:
        """Count a job of one image whose result was there before."""
        self.files += len(job.files)
        self.existing += 1

    def line(self) -> str:
        """Done, failed, there before, left out, left, the pace and the time left."""
        minutes = (time.monotonic() - self._started) / 60
        pace = self.done / minutes if minutes else 0.0
        left = max(0, self.expected - self.files)
        words = [f"{self.done} done", f"{self.failed} failed"]
        words += [f"{self.existing} there before"] * bool(self.existing)
        words += [f"{len(self.left_out)} left out"] * bool(self.left_out)
        words += [f"about {left} files left"] * bool(left)
        words.append(f"{pace:.1f} series/min")
        if left and self.worked_on:
            words.append(f"{duration(60 * minutes * left / self.worked_on)} left")
        return ", ".join(words)

    def show(self) -> None:
        """Show the line: renewed on a terminal, now and then in a log."""
        now = time.monotonic()
        if now - self._shown >= (0.5 if sys.stderr.isatty() else _LINE_S):
            self._shown = now
            if sys.stderr.isatty():
                self._bar.set_description_str(self.line())
            else:
                print(self.line(), file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the table and the line, which stays where there was more than one series."""
        self._bar.close()
        if self._file is not None:
            self._file.close()
        if self.done + self.failed + self.existing + len(self.left_out) > 1:
            print(self.line(), file=sys.stderr)


def duration(seconds: float) -> str:
    """Seconds in words, such as "45 s", "12 min" or "3.4 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def without_names(sentence: str, files: Iterable[Path]) -> str:
    """A sentence with "…" for the names of files, of folders above and of files in zips, and for
    what it quotes of a header.

    They often say who the patient is.
    """
    names: set[str] = set()
    for path in files:
        names |= {str(path), path.stem, *path.parts} - {path.anchor, ".."}
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    names |= {member, *Path(member).parts, Path(member).stem}
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if name)
    plain = without_quoted(sentence)
    if known:
        plain = re.sub(rf"(?<!\w)(?:{known})(?!\w)", "…", plain)
    return plain.removeprefix("…: ")
