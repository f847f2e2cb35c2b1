"""Numbered pictures that came together are the slices of one stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from cyclegan.reading.archive import Member
from cyclegan.reading.deadline import check_time
from cyclegan.reading.image_kind import ImageKind
from cyclegan.reading.notes import quoted
from cyclegan.reading.number_slots import LEAST, stacks_of
from cyclegan.reading.volume import Volume, check_claimed_size


@dataclass(frozen=True, eq=False)
class Choice:
    """One volume that can be opened of the files that came together."""

    label: str
    slices: int
    load: Callable[[], Volume]
    magnitude: bool = True
    details: dict[str, str] = field(default_factory=dict)  # what may tell it from its like
    kind: ImageKind = field(default_factory=ImageKind)


def size_label(depth: int, height: int, width: int) -> str:
    """The end of a label."""
    return f"{depth} slice{'s' * (depth != 1)}, {width} x {height}"


def stacked(pictures: Sequence[tuple[Member | None, Choice]]) -> list[Choice]:
    """Put single pictures together whose names differ in one number and whose sizes are equal.

    Args:
        pictures: files and what was found in them, in the order they came; None for the file of
            what is no picture.

    Returns:
        A choice for each stack of `LEAST` or more, in the order of the numbers, where its first
        picture was; the others as they were.
    """
    single = [(at, member) for at, (member, choice) in enumerate(pictures) if choice.slices == 1]
    single = [(at, member) for at, member in single if member is not None]
    names = [_split_ending(member.name) for _, member in single]
    kinds = [
        (member.archive, member.folder, ending.lower(), *pictures[at][1].label.rsplit(", ", 2)[-2:])
        for (at, member), (_, ending) in zip(single, names, strict=True)
    ]
    stacks: dict[int, list[int]] = {}
    for stack in stacks_of([stem for stem, _ in names], kinds):
        if len(stack) >= LEAST:
            places = [single[at][0] for at in stack]
            stacks |= dict.fromkeys(places, places)
    found, done = [], set()
    for at, (_, choice) in enumerate(pictures):
        stack = stacks.get(at)
        if stack is None:
            found.append(choice)
        elif stack[0] not in done:
            done.add(stack[0])
            found.append(_stack([pictures[place] for place in stack]))
    return found


def _split_ending(name: str) -> tuple[str, str]:
    """The stem and the ending of a name; a number behind the last dot begins no ending."""
    stem, _, ending = name.rpartition(".")
    return (stem, ending) if stem and not ending[:1].isdigit() else (name, "")


def _stack(group: Sequence[tuple[Member | None, Choice]]) -> Choice:
    (first, one), (last, _) = group[0], group[-1]
    assert first is not None
    assert last is not None
    width, height = (int(side) for side in one.label.rsplit(", ", 1)[-1].split(" x "))
    loads = [choice.load for _, choice in group]
    label = f"{first.name} to {last.name}, {size_label(len(group), height, width)}"
    kind = replace(one.kind, planes=lambda: (plane for load in loads for plane in load().pixels))
    return Choice(label, len(group), partial(_load, loads, first.name, last.name), kind=kind)


def _load(loads: Sequence[Callable[[], Volume]], first: str, last: str) -> Volume:
    volumes = []
    for load in loads:
        check_time()
        volumes.append(load())
        rows, columns = volumes[0].pixels.shape[1:]
        check_claimed_size(first, rows, columns, len(loads))
    note = (
        f"{len(loads)} numbered pictures of equal size are shown as one stack, {quoted(first)} to "
        f"{quoted(last)}; how far apart they lie is unknown."
    )
    pixels = np.concatenate([volume.pixels for volume in volumes])
    return replace(volumes[0], pixels=pixels, notes=(note, *volumes[0].notes))
