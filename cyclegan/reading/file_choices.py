"""Files that are no DICOM, each as a choice of its volumes: NIfTI, Analyze and pictures."""

from __future__ import annotations

import io
from functools import partial

from cyclegan.reading import nifti, tiff
from cyclegan.reading.archive import Member
from cyclegan.reading.decode import decoded
from cyclegan.reading.image_kind import ImageKind, intent_says
from cyclegan.reading.numbered import Choice, size_label
from cyclegan.reading.sequence_names import read_names
from cyclegan.reading.volume import Volume


def nifti_choices(member: Member, image: Member | None, notes: list[str]) -> list[Choice]:
    """One choice for each volume with content."""

    def streams() -> dict[str, io.BytesIO]:
        return {"image": io.BytesIO(image.data)} if image else {}

    def load(index: int) -> Volume:
        return decoded(io.BytesIO(member.data), member.name, index=index, **streams())

    layout = nifti.read_layout(io.BytesIO(member.data), member.name, **streams())
    look_in = layout.count > 1 or layout.coloured
    indices = nifti.volumes_with_content(member.name, layout) if look_in else [0]
    depth, height, width = layout.slices
    size = size_label(depth, height, width)
    if not indices:
        notes.append(f"{member.name}: none of its {layout.count} volumes has content.")
    elif len(indices) < layout.count:
        notes.append(
            f"{member.name}: {layout.count - len(indices)} of its {layout.count} volumes are empty."
        )
    foreign, is_labels = intent_says(layout.intent)
    names = read_names(member.names)

    def kind(index: int) -> ImageKind:
        planes = partial(nifti.planes_of, member.name, layout, index)
        return ImageKind(names.rank, foreign, False, is_labels or names.is_label_map, planes=planes)

    if layout.count == 1:
        return [Choice(f"{member.name}, {size}", depth, partial(load, 0), kind=kind(0))]
    return [
        Choice(
            f"{member.name}, volume {index + 1} of {layout.count}, {size}",
            depth,
            partial(load, index),
            kind=kind(index),
        )
        for index in indices
    ]


def picture_choices(member: Member, kind: str) -> list[Choice]:
    """A picture or stack of pages, one choice for each channel and time; decoded once to see
    whether it can be, and not kept."""

    def load(index: int | None) -> Volume:
        which = {} if index is None else {"index": index}
        return decoded(io.BytesIO(member.data), member.name, **which)

    parts = tiff.parts(io.BytesIO(member.data), member.name) if kind == "TIFF" else [""]
    choices, names = [], read_names(member.names)
    for index, part in enumerate(parts):
        read = partial(load, index if len(parts) > 1 else None)
        shape = read().pixels.shape
        label = ", ".join(filter(None, [member.name, part, size_label(*shape)]))
        what = ImageKind(
            names.rank,
            is_named_labels=names.is_label_map,
            planes=lambda read=read: iter(read().pixels),
        )
        choices.append(Choice(label, shape[0], read, kind=what))
    return choices
