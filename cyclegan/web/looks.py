"""The looks that a reader of the page can choose, and what is said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclegan.model.style import KnownStyles, Style

SOURCE = "What suits the source"
OWN = "Like a slice of mine"


def choices(known: KnownStyles, look: Style | None, to: str) -> tuple[list[str], str]:
    """The names to choose among for translations into `to`, and the present one."""
    names = [SOURCE, *(each.name for each in known.named if each.contrast == to)]
    if look is not None and look.name not in names:
        names.append(look.name)
    return names, look.name if look is not None else SOURCE


def named(known: KnownStyles, name: str, to: str) -> Style | None:
    """The known look of that name; None for `SOURCE`, and for what nobody knows."""
    return next((x for x in known.named if (x.name, x.contrast) == (name, to)), None)


def words(name: str, to: str, far: bool = False) -> str:
    """What the page says once a look was chosen."""
    if name == SOURCE:
        return f"The synthetic {to} looks as suits the source."
    text = f"The synthetic {to} has the look “{name}”: brightness, sharpness and fat, no anatomy."
    if far:
        text += " This look is far from all that training saw: trust the result less."
    return text
