"""Tissues and their signals: relaxation times per label, label maps from files, the equations."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image


@dataclass(frozen=True)
class Tissue:
    """Proton density relative to water, T1 and T2 in ms at 1.5 T."""

    pd: float
    t1: float
    t2: float
    inside_brain: bool


# Values at 1.5 T after Bojorquez et al. 2017 (T1), Stanisz et al. 2005 (T2) and the tissue models
# of BrainWeb (Collins et al. 1998); bone and air are nearly silent. Keys are FreeSurfer labels,
# and 500 upwards outside the brain, as in `phantom.py`.
TISSUES: dict[int, Tissue] = {
    2: Tissue(0.70, 780, 78, True),  # white matter
    3: Tissue(0.83, 1200, 98, True),  # cortical grey matter
    4: Tissue(1.00, 4000, 1500, True),  # ventricular CSF
    24: Tissue(1.00, 4000, 1200, True),  # sulcal CSF
    7: Tissue(0.72, 830, 80, True),  # cerebellar white matter
    8: Tissue(0.83, 1220, 99, True),  # cerebellar grey matter
    10: Tissue(0.79, 1020, 85, True),  # thalamus
    11: Tissue(0.82, 1120, 90, True),  # caudate
    12: Tissue(0.81, 1080, 86, True),  # putamen
    13: Tissue(0.73, 900, 66, True),  # pallidum (iron)
    16: Tissue(0.74, 900, 82, True),  # brainstem
    25: Tissue(0.85, 1300, 130, True),  # lesion
    62: Tissue(0.60, 1550, 150, True),  # vessel
    506: Tissue(1.00, 3500, 900, False),  # vitreous
    508: Tissue(0.90, 300, 110, False),  # fat
    509: Tissue(0.85, 1300, 95, False),  # mucosa and glands
    511: Tissue(0.78, 950, 47, False),  # muscle
    514: Tissue(0.45, 450, 75, False),  # bone marrow
    515: Tissue(0.06, 500, 5, False),  # cortical bone, air
    516: Tissue(0.80, 520, 70, False),  # skin
}


def read_tissues(path: str | Path) -> dict[int, Tissue]:
    """Read a tissue table: columns labels (space-separated), pd, t1_ms, t2_ms, inside_brain.

    Raises:
        ValueError: naming the file and the missing column or unreadable row.
    """
    path, table = Path(path), {}
    with path.open(newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            try:
                values = [float(row[k]) for k in ("pd", "t1_ms", "t2_ms")]
                tissue = Tissue(*values, inside_brain=row["inside_brain"].strip() == "1")
                table.update({int(label): tissue for label in row["labels"].split()})
            except (KeyError, TypeError, ValueError, AttributeError):
                raise ValueError(
                    f"{path.name}, line {number}: expected the columns labels, pd, t1_ms, t2_ms "
                    "and inside_brain, with numbers"
                ) from None
    return table


def read_label_maps(folder: str | Path) -> tuple[np.ndarray, dict[int, Tissue]]:
    """Read a folder of label-map PNGs and the `tissues.csv` beside them.

    Returns:
        ((N, S, S) uint16 labels, padded with air to one square, and the tissue table.

    Raises:
        ValueError: when the folder holds no label maps or no table.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise ValueError(f"{folder}: no label maps; expected 16-bit PNG files and tissues.csv")
    if not (folder / "tissues.csv").is_file():
        raise ValueError(f"{folder}: tissues.csv is missing; it says which label is which tissue")
    maps = []
    for path in paths:
        with Image.open(path) as image:
            maps.append(np.asarray(image).astype(np.uint16))
        if maps[-1].ndim != 2:
            raise ValueError(f"{path.name}: a label map has one channel, this has several")
    side = max(max(m.shape) for m in maps)
    labels = np.zeros((len(maps), side, side), np.uint16)
    for padded, m in zip(labels, maps, strict=True):
        top, left = (side - m.shape[0]) // 2, (side - m.shape[1]) // 2
        padded[top : top + m.shape[0], left : left + m.shape[1]] = m
    return labels, read_tissues(folder / "tissues.csv")


def spin_echo(pd, t1, t2, repetition_time, echo_time) -> torch.Tensor:
    """Spin echo signal PD (1 - exp(-TR/T1)) exp(-TE/T2), times in ms (Bernstein et al. 2004)."""
    return pd * (1 - torch.exp(-repetition_time / t1)) * torch.exp(-echo_time / t2)


def inversion_recovery(pd, t1, t2, repetition_time, inversion_time, echo_time) -> torch.Tensor:
    """Inversion-recovery gradient echo, magnitude (Mugler & Brookeman 1990), times in ms."""
    recovered = 1 - 2 * torch.exp(-inversion_time / t1) + torch.exp(-repetition_time / t1)
    return (pd * recovered).abs() * torch.exp(-echo_time / (0.7 * t2))
