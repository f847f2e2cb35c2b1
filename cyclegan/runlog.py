"""What a run writes for people: CSV logs that survive a resume, and sheets of sample slices."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import torch
from torch import nn
from torchvision.utils import save_image
from tqdm import tqdm

from cyclegan import CONTRASTS, OTHER


class CsvLog:
    """Rows of numbers by step, in one CSV file."""

    def __init__(self, path: Path):
        self.path = path

    def rows(self) -> list[dict[str, str]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def append(self, row: dict[str, float]) -> None:
        """Add a row, and say it where there is no progress bar.

        A new column (the second stage has losses of its own) is added to the earlier rows, empty.
        """
        rows = self.rows()
        columns = list(dict.fromkeys([*(rows[0] if rows else []), *row]))
        text = {k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()}
        if rows and columns == list(rows[0]):
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, columns).writerow(text)
        else:
            self._write(columns, [*rows, text])
        if not sys.stderr.isatty():
            tqdm.write(" ".join(f"{k} {v}" for k, v in text.items()))

    def truncate(self, step: int) -> None:
        """Drop rows that a killed run wrote after its last checkpoint."""
        rows = self.rows()
        if rows:
            self._write(list(rows[0]), [r for r in rows if int(r["step"]) <= step])

    def _write(self, columns: list[str], rows: list[dict]) -> None:
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


@torch.no_grad()
def write_sample_sheet(
    path: Path, generators: dict[str, nn.Module], samples: dict[str, torch.Tensor]
) -> None:
    """Write rows of source, translation and cycle, for T1 and then for T2.

    Args:
        path: a PNG file; its folder is created.
        generators: wanted contrast -> network.
        samples: contrast -> (N, 1, S, S) in [0, 1].
    """
    rows = []
    for given in CONTRASTS:
        translated = generators[OTHER[given]](samples[given])
        rows += [samples[given], translated, generators[given](translated)]
    path.parent.mkdir(exist_ok=True)
    save_image(torch.cat(rows).cpu(), path, nrow=len(rows[0]))
