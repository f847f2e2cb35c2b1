"""Read the volumes of NIfTI-1, NIfTI-2, Analyze 7.5 and FreeSurfer's MGH.

The voxels are read here, plane by plane into the result, and not by nibabel, because only so can a
compressed file be stopped soon after what its header accounts for, and memory stay at the result
and one plane.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import partial

import numpy as np

from cyclegan.reading.archive import Member
from cyclegan.reading.choice import Choice, ImageKind
from cyclegan.reading.deadline import check_time
from cyclegan.reading.geometry import placed_volume, volume_reorientation
from cyclegan.reading.nifti_header import Layout, read_layout, unpacked
from cyclegan.reading.sequence_names import read_names
from cyclegan.reading.volume import ReadError, Volume, checked, damage_refused, grey

MAX_TAIL_BYTES = 64 * 2**20  # unpacked behind the voxels in search of gzip's checksum
_INTENT_LABEL = 1002  # nifti1.h; 2 to 24 are statistics
_INTENTS_OF_STATISTICS = range(2, 25)


def choices(member: Member, alone: bool) -> list[Choice]:
    """One choice for each volume with content of a NIfTI, Analyze or MGH file.

    Args:
        member: the file, or the .hdr of a pair with its `image`; plain or gzip.
        alone: whether nothing else came with the file.

    Raises:
        ReadError: the header cannot be believed, the file is damaged, or none of its volumes has
            content.
    """
    name, names = member.name, read_names(member.names)
    layout = read_layout(member)
    indices = [0]
    if layout.count > 1 or layout.dtype.names:
        indices = _volumes_with_content(name, layout)
    if not indices:
        raise ReadError(f"{name}: none of its {layout.count} volumes has content.")
    is_statistics = layout.intent in _INTENTS_OF_STATISTICS
    foreign = f"it is a statistical map (intent code {layout.intent})" if is_statistics else ""
    is_labels = layout.intent == _INTENT_LABEL or names.is_label_map
    empty = layout.count - len(indices)
    note = f"{name}: {empty} of its {layout.count} volumes are empty." if empty else ""
    place = layout.affine, layout.sides, layout.oriented
    shape = volume_reorientation(*place).shape

    def choice(index: int) -> Choice:
        planes = partial(_planes, name, layout, range(index, index + 1))

        def load() -> Volume:
            with damage_refused(name, "NIfTI"):
                return checked(placed_volume(name, planes(), *place))

        kind = ImageKind(names.rank, foreign, is_named_labels=is_labels, planes=planes)
        number = f", volume {index + 1} of {layout.count}" if layout.count > 1 else ""
        return Choice(f"{name}{number}", shape, load, kind=kind, note=note)

    return [choice(index) for index in indices]


def _volumes_with_content(name: str, layout: Layout) -> list[int]:
    """Which volumes of a file hold more than one finite value, in one pass over the file.

    Raises:
        ReadError: the file is damaged, or in colours that are more than shades of grey.
    """
    ranges = np.tile([np.inf, -np.inf], (layout.count, 1))
    planes = _planes(name, layout, range(layout.count))
    for number, values in enumerate(planes):
        low_high = ranges[number // layout.sides[2]]
        if low_high[0] >= low_high[1]:
            finite = values[np.isfinite(values)]
            if finite.size:
                low_high[:] = min(low_high[0], finite.min()), max(low_high[1], finite.max())
    return [int(index) for index in np.flatnonzero(ranges[:, 0] < ranges[:, 1])]


def _planes(name: str, layout: Layout, volumes: range) -> Iterator[np.ndarray]:
    """Yield the planes (i, j) of volumes in physical values; read to the end behind the last."""
    (height, width, depth), dtype = layout.sides, layout.dtype
    slope, intercept = layout.scale
    plane_bytes = height * width * dtype.itemsize
    with unpacked(layout.voxels) as stream, np.errstate(over="ignore", invalid="ignore"):
        stream.seek(layout.start + volumes.start * depth * plane_bytes)
        for number in range(len(volumes) * depth):
            check_time()
            data = stream.read(plane_bytes)
            if len(data) < plane_bytes:
                raise ReadError(
                    f"{name}: the file ends early, after {number} of {len(volumes) * depth} "
                    "planes; copy it again."
                )
            stored = np.frombuffer(data, dtype=dtype).reshape((height, width), order="F")
            if dtype.names:  # red, green, blue and perhaps opacity
                stored = grey(np.stack([stored[part] for part in dtype.names], axis=-1), name)
            plain = (slope, intercept) == (1.0, 0.0)
            yield stored if plain else stored.astype(np.float64) * slope + intercept
        try:  # gzip verifies its checksum at the very end
            for _ in range(MAX_TAIL_BYTES // 2**20):
                if not stream.read(2**20):
                    break
        except gzip.BadGzipFile as error:
            if not str(error).startswith("Not a gzipped"):  # what a transfer left behind it
                raise
