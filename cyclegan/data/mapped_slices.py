"""Images in a file that is too large for memory, and what stands for a tensor of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch


class MappedSlices:
    """Chosen rows of a memory-mapped file; indexing copies what it selects into a tensor.

    Stands for a (N, 1, S, S) tensor wherever one is indexed along its first axis.
    """

    def __init__(self, file: RowFile, rows: np.ndarray):
        self.file, self.rows = file, rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.rows), 1, self.file.size, self.file.size))

    @property
    def dtype(self) -> torch.dtype:
        return self.file.dtype

    def __getitem__(self, key: Any) -> torch.Tensor:
        first, *rest = key if isinstance(key, tuple) else (key,)
        rows = self.rows[first]
        images = self.file.read(np.atleast_1d(rows))
        if np.ndim(rows) == 0:
            return images[(0, *rest)]
        return images[(slice(None), *rest)]

    def extended(self, rows: np.ndarray) -> MappedSlices:
        """These rows and more of the same file."""
        return MappedSlices(self.file, np.concatenate([self.rows, rows]))


class RowFile:
    """A file of equal rows, one image each: float16, or bool packed into bits."""

    def __init__(self, path: Path, size: int, dtype: torch.dtype):
        self.path, self.size, self.dtype = path, size, dtype
        self.row_bytes = 2 * size**2 if dtype == torch.float16 else -(-(size**2) // 8)
        self._map: np.ndarray | None = None

    def read(self, rows: np.ndarray) -> torch.Tensor:
        """Copy rows: (N, 1, S, S)."""
        if self._map is None or (len(rows) and rows.max() >= len(self._map)):
            count = self.path.stat().st_size // self.row_bytes
            self._map = np.memmap(self.path, np.uint8, "r", shape=(count, self.row_bytes))
        raw = np.asarray(self._map[rows])
        if self.dtype == torch.bool:
            values = np.unpackbits(raw, axis=1, count=self.size**2).view(bool)
        else:
            values = raw.view("<f2").astype(np.float16, copy=False)
        return torch.from_numpy(values).reshape(-1, 1, self.size, self.size)

    def write(self, start: int, images: torch.Tensor) -> None:
        """Write (N, 1, S, S) images as rows from `start` on."""
        flat = images.flatten(1).numpy()
        packed = np.packbits(flat, axis=1) if self.dtype == torch.bool else flat.astype("<f2")
        try:
            with self.path.open("r+b") as file:
                file.seek(start * self.row_bytes)
                file.write(packed.data)
        except OSError:
            os.truncate(self.path, start * self.row_bytes)  # what is full needs the room
            raise

    def sync(self) -> None:
        """Wait until the disk has what was written."""
        with self.path.open("r+b") as file:
            os.fsync(file.fileno())
