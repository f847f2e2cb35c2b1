"""Numbered pictures that came together are the slices of one stack."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from cyclegan.reading.archive import Member
from cyclegan.reading.deadline import check_time
from cyclegan.reading.notes import quoted
from cyclegan.reading.volume import Volume, check_claimed_size

LEAST = 3  # two pictures are more likely a pair than a stack
_LAST_NUMBER = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)


@dataclass(frozen=True, eq=False)
class Choice:
    """One volume that can be opened of the files that came together."""

    label: str
    slices: int
    load: Callable[[], Volume]
    magnitude: bool = True
    details: dict[str, str] = field(default_factory=dict)  # what may tell it from its like


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
    alike: dict[tuple, list[tuple[int, Member, Choice]]] = defaultdict(list)
    for member, choice in pictures:
        if (key := _key(member, choice)) is not None:
            alike[key].append((_number(member.name), member, choice))
    found, done = [], set()
    for member, choice in pictures:
        key = _key(member, choice)
        group = alike.get(key, []) if key is not None else []
        if len({number for number, *_ in group}) < max(LEAST, len(group)):  # numbers repeat
            found.append(choice)
        elif key not in done:
            done.add(key)
            found.append(_stack(sorted(group, key=lambda each: each[0])))
    return found


def _key(member: Member | None, choice: Choice) -> tuple | None:
    """What the slices of one stack have in common; None for what is no numbered picture."""
    split = None if member is None else _LAST_NUMBER.fullmatch(_stem(member.name))
    if split is None or choice.slices != 1:
        return None
    before, _, after = split.groups()
    size = choice.label.rsplit(", ", 2)[-2:]
    return member.archive, member.folder, before, after, *size


def _number(name: str) -> int:
    return int(_LAST_NUMBER.fullmatch(_stem(name))[2])


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _stack(group: list[tuple[int, Member, Choice]]) -> Choice:
    first, last = group[0][1].name, group[-1][1].name
    width, height = (int(side) for side in group[0][2].label.rsplit(", ", 1)[-1].split(" x "))
    loads = [choice.load for _, _, choice in group]
    label = f"{first} to {last}, {size_label(len(group), height, width)}"
    return Choice(label, len(group), partial(_load, loads, first, last))


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
