"""Decompress DICOM pixels in a process of its own.

GDCM ends its whole process on some damaged JPEG streams (an exception that nothing catches), and
a page must outlive what is dropped on it. `frames` talks to a helper, this module run as a script,
that is started for the first compressed object, used for the next ones and replaced when it dies.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.pixels import iter_pixels

from cyclegan.reading.deadline import TimeLimitExceeded, check_time, time_left
from cyclegan.reading.dicom.header import frame_count

# Groups that decoding needs (PS3.3 C.7.6.3); the rest, the patient's name too, stays here.
_NEEDED = (0x0028, 0x7FE0)
# What the helper gets of the environment, by name: where programs and libraries lie, which language
# and folder for temporary files, how many threads. No token is handed on.
_INHERITED = (
    *("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR"),
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("SYSTEMROOT", "WINDIR", "TEMP", "TMP"),  # Windows starts no Python without the first
)
_FRAME, _END, _FAILED = b"F", b"E", b"X"
FRAME_LIMIT_S = 30.0  # a frame takes milliseconds; a damaged one may never end


def frames(dataset: pydicom.Dataset) -> Iterator[np.ndarray]:
    """Yield the stored values of each frame, (H, W) or (H, W, 3) RGB, of a parsed object.

    Raises:
        RuntimeError: a compressed frame could not be decoded.
    """
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        yield from iter_pixels(dataset, raw=dataset.SamplesPerPixel == 1)  # colours become RGB
        return
    small = pydicom.Dataset()
    for group in _NEEDED:
        small.update(dataset.group_dataset(group))
    small.file_meta = pydicom.dataset.FileMetaDataset()
    small.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    buffer = io.BytesIO()
    small.save_as(buffer)
    yield from helper.frames(buffer.getvalue())


class DecoderProcess:
    """The helper process, started when it is first needed; one object at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._owner = 0

    @property
    def pid(self) -> int | None:
        """Of the process that runs, if one does."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def frames(self, data: bytes) -> Iterator[np.ndarray]:
        with self._locked():
            process = self._running()
            done = False
            try:
                with _time_limit(process):
                    process.stdin.write(len(data).to_bytes(8, "big") + data)
                    process.stdin.flush()
                    mark = process.stdout.read(1)
                check_time()  # rather than blame the image for a helper ended by the limit
                while mark == _FRAME:
                    length = int.from_bytes(process.stdout.read(8), "big")
                    yield np.load(io.BytesIO(process.stdout.read(length)), allow_pickle=False)
                    with _time_limit(process):
                        mark = process.stdout.read(1)
                    check_time()
                done = mark in (_END, _FAILED)
                if mark != _END:
                    raise RuntimeError("the decoder failed on this image")
            finally:
                if not done:  # it died, or the rest of its answer is not needed any more
                    process.kill()
                    process.wait()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Wait for the lock, but not beyond the time limit of the work that needs it."""
        left = time_left()
        if not self.lock.acquire(timeout=-1 if left is None else left):
            raise TimeLimitExceeded
        try:
            yield
        finally:
            self.lock.release()

    def _running(self) -> subprocess.Popen:
        # After a fork the pipes are the parent's, so the child needs a helper of its own.
        if self._owner != os.getpid() or self._process is None or self._process.poll() is not None:
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                # -P: no module of the folder that the command was called in, which may be a disc's.
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
            )
        return self._process


def _environment() -> dict[str, str]:
    """The helper's environment: what is `_INHERITED`, and where Python finds its modules."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    places = [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
    return {**inherited, "PYTHONPATH": os.pathsep.join(filter(None, places))}


@contextmanager
def _time_limit(process: subprocess.Popen) -> Iterator[None]:
    """End the helper if it takes longer; who waits for its answer then reads nothing."""
    left = time_left()
    seconds = FRAME_LIMIT_S if left is None else min(FRAME_LIMIT_S, left)
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


helper = DecoderProcess()


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the other side closes its end, as it does when it ends."""
    while length := requests.read(8):
        data = requests.read(int.from_bytes(length, "big"))
        try:
            dataset = pydicom.dcmread(io.BytesIO(data), force=True)
            # With indices, pydicom (3.0) decodes into arrays that it may write to, as it must
            # where the sign of JPEG 2000 and JPEG-LS samples needs correction.
            indices = range(frame_count(dataset))
            is_grey = dataset.SamplesPerPixel == 1
            for stored in iter_pixels(dataset, indices=indices, raw=is_grey):
                frame = io.BytesIO()
                np.save(frame, stored, allow_pickle=False)
                answers.write(_FRAME + frame.tell().to_bytes(8, "big") + frame.getvalue())
            answers.write(_END)
        except Exception:
            answers.write(_FAILED)
        answers.flush()


if __name__ == "__main__":
    # Decoders print; what they print must not get between the frames.
    own = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _serve(sys.stdin.buffer, own)
