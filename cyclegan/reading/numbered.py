"""Numbered pictures that came together are the slices of one stack.

A name is texts with numbers between them. Of names with equal texts, the number that differs from
slice to slice is the slice's; numbers of few values (T1 and T2, subjects, echoes) divide stacks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

from cyclegan.reading.archive import Member
from cyclegan.reading.choice import Choice
from cyclegan.reading.deadline import check_time
from cyclegan.reading.volume import Volume, check_claimed_size, quoted

MOST_SLOTS = 5  # numbers of a name that differ; of more only the last can be the slice's
LEAST = 3  # two pictures are more likely a pair than a stack
_DECIMAL = re.compile(r"[-+−]?(?:\d+(?:\.\d+){2,}|\d+(?:[.,]\d+|[_p]\d+(?=_? ?mm\b))?)")
_WHOLE = re.compile(r"[-+−]?\d+")
_OF_SLICES = re.compile(r"(?:^|[^a-z])(?:sl|slices?|slc|z|pos|loc|frame)[^a-z]*$")
_OF_STACKS = re.compile(
    r"(?:^|[^a-z])(?:sub|subj\w*|pat|patient|p|case|ses|session|visit|series|ser|se|scan|study|"
    r"run|acq|echo|te|tr|b|vol|volume|time|tp|ch|channel|day|week|grade)[^a-z]*$|(?:^|[^a-z])im-$"
)
_OF_CONTRAST = re.compile(r"(?:^|[^a-z])(?:ax|sag|cor|tra|[23]d|fs|ir)?t$")


class _Number(NamedTuple):
    sign: str
    digits: str
    is_joined: bool  # whether a letter or digit stands before the sign, which may be a hyphen then


def stacked(pictures: Sequence[tuple[Member | None, Choice]]) -> list[Choice]:
    """Put single pictures together whose names differ in one number and whose sizes are equal.

    Args:
        pictures: files and the choices in them, in the order they came; None for the file of
            what is no picture.

    Returns:
        A choice for each stack of `LEAST` or more, in the order of the numbers, where its first
        picture was; the others as they were.
    """
    single = [
        (at, member, *_split_ending(member.name))
        for at, (member, choice) in enumerate(pictures)
        if member is not None and choice.shape[0] == 1
    ]
    kinds = [
        (member.archive, member.folder, ending.lower(), pictures[at][1].shape)
        for at, member, _, ending in single
    ]
    stacks: dict[int, list[int]] = {}
    for stack in stacks_of([stem for _, _, stem, _ in single], kinds):
        if len(stack) >= LEAST:
            places = [single[at][0] for at in stack]
            stacks |= dict.fromkeys(places, places)
    result, done = [], set()
    for at, (_, choice) in enumerate(pictures):
        stack = stacks.get(at)
        if stack is None:
            result.append(choice)
        elif stack[0] not in done:
            done.add(stack[0])
            result.append(_stack([pictures[place] for place in stack]))
    return result


def _split_ending(name: str) -> tuple[str, str]:
    """The stem and the ending of a name; a number behind the last dot begins no ending."""
    stem, _, ending = name.rpartition(".")
    return (stem, ending) if stem and not ending[:1].isdigit() else (name, "")


def _stack(group: Sequence[tuple[Member, Choice]]) -> Choice:
    (first, choice), (last, _) = group[0], group[-1]
    loads = [choice.load for _, choice in group]
    shape = (len(group), *choice.shape[1:])

    def load() -> Volume:
        check_claimed_size(first.name, *shape[1:], len(loads))
        volumes = []
        for read in loads:
            check_time()
            volumes.append(read())
        note = (
            f"{len(loads)} numbered pictures of equal size are shown as one stack, "
            f"{quoted(first.name)} to {quoted(last.name)}; how far apart they lie is unknown."
        )
        pixels = np.concatenate([volume.pixels for volume in volumes])
        return replace(volumes[0], pixels=pixels, notes=(note, *volumes[0].notes))

    kind = replace(choice.kind, planes=lambda: (plane for read in loads for plane in read().pixels))
    return Choice(f"{first.name} to {last.name}", shape, load, kind=kind)


def stacks_of(names: Sequence[str], kinds: Sequence[Hashable]) -> Iterator[list[int]]:
    """Groups of names that are the slices of one stack, in the order of their numbers.

    Args:
        names: without their endings.
        kinds: what else the slices of one stack have in common, one for each name.

    Yields:
        Places in `names`; each is in one group at most. Names without a number are in none.
    """
    left = list(range(len(names)))
    for pattern in (_DECIMAL, _WHOLE):
        groups: dict[tuple, list[int]] = defaultdict(list)
        split = {at: _split(names[at], pattern) for at in left}
        for at in left:
            groups[kinds[at], split[at][0]].append(at)
        done: set[int] = set()
        for (_, texts), group in groups.items():
            for stack in _divided(texts, group, [split[at][1] for at in group]):
                done.update(stack)
                yield stack
        left = [at for at in left if at not in done]


def _split(name: str, pattern: re.Pattern[str]) -> tuple[tuple[str, ...], tuple[_Number, ...]]:
    """Texts in lower case, one more than numbers, and the numbers."""
    texts, numbers, end = [], [], 0
    for match in pattern.finditer(name):
        text = match[0].replace("−", "-")
        digits = text.lstrip("+-")
        if digits.count(".") > 1:  # a UID: its last component counts
            head, _, digits = digits.rpartition(".")
            texts.append(f"{name[end : match.start()]}{head}.".lower())
            numbers.append(_Number("", digits, False))
        else:
            before = name[end : match.start()]
            is_joined = before[-1:].isalnum() or (not before and end > 0)
            texts.append(before.lower())
            numbers.append(_Number(text[: len(text) - len(digits)], digits, is_joined))
        end = match.end()
    return (*texts, name[end:].lower()), tuple(numbers)


def _divided(
    texts: tuple[str, ...], group: list[int], numbers: list[tuple[_Number, ...]]
) -> Iterator[list[int]]:
    """Divide names of equal texts into stacks by the best choice of the slice's number."""
    columns = [_values(column) for column in zip(*numbers, strict=True)]
    differing = [slot for slot, column in enumerate(columns) if len(set(column)) > 1]
    dividing = {slot for slot in differing if _is_contrast(texts[slot], numbers, slot)}
    free = [slot for slot in differing if slot not in dividing]
    named = [slot for slot in free if _OF_STACKS.search(texts[slot])]
    if len(named) < len(free):
        dividing |= set(named)
        free = [slot for slot in free if slot not in named]
    best: tuple[tuple, list[list[int]]] | None = None
    for slot in free if len(free) <= MOST_SLOTS else free[-1:]:
        stacks = _stacks(slot, [other for other in free if other != slot], dividing, columns)
        if stacks:
            score = (_OF_SLICES.search(texts[slot]) is not None, max(map(len, stacks)), slot)
            if best is None or score > best[0]:
                best = score, stacks
    for stack in best[1] if best else ():
        yield [group[at] for at in stack]


def _stacks(
    slot: int, others: list[int], dividing: set[int], columns: list[list[float]]
) -> list[list[int]]:
    """Stacks in the order of one column, divided by as few others as make its numbers unique.

    The columns that do not divide must run along: nearly as many values as slices; or else dividing
    by them leaves no stack, as by the tenths of z_2_5.
    """
    whole = _groups(tuple(dividing), columns)
    for count in range(len(others) + 1):
        for by in combinations(others, count):
            groups = _groups((*dividing, *by), columns)
            along = [other for other in others if other not in by]
            if max(map(len, groups)) >= LEAST and all(
                _is_stack(slot, along, group, columns) for group in groups
            ):
                return [sorted(group, key=columns[slot].__getitem__) for group in groups]
    if all(_is_stack(slot, [], group, columns) for group in whole):
        return [sorted(group, key=columns[slot].__getitem__) for group in whole]
    return []


def _groups(keys: tuple[int, ...], columns: list[list[float]]) -> list[list[int]]:
    """Places of equal numbers in some columns."""
    groups: dict[tuple, list[int]] = defaultdict(list)
    for at in range(len(columns[0])):
        groups[tuple(columns[key][at] for key in keys)].append(at)
    return list(groups.values())


def _is_stack(slot: int, along: list[int], group: list[int], columns: list[list[float]]) -> bool:
    if len({columns[slot][at] for at in group}) < len(group):
        return False
    return all(2 * len({columns[other][at] for at in group}) > len(group) for other in along)


def _is_contrast(before: str, numbers: list[tuple[_Number, ...]], slot: int) -> bool:
    """Whether a number is that of T1 or T2."""
    values = {row[slot].digits for row in numbers}
    return values <= {"1", "2"} and _OF_CONTRAST.search(before) is not None


def _values(column: Sequence[_Number]) -> list[float]:
    """The numbers of one slot; a hyphen behind a word is no sign where all names have it."""
    hyphen = all(number.sign and number.is_joined for number in column)
    fractions = [re.split("[.,_p]", number.digits) for number in column]
    wholes = {parts[0].lstrip("0") for parts in fractions}
    lengths = {len(parts[1]) for parts in fractions if len(parts) == 2}
    # 1.8, 1.9, 1.10 count on; 0.5 and 0.25 are decimals.
    counts = len(wholes) == 1 and wholes != {""} and len(lengths) > 1
    values = []
    for number, parts in zip(column, fractions, strict=True):
        value = float(".".join(parts))
        if counts:
            value = float(parts[1]) if len(parts) == 2 else 0.0
        values.append(-value if number.sign == "-" and not hyphen else value)
    return values
