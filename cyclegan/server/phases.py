"""What may happen to a scan in which state."""

from __future__ import annotations

from enum import Enum

from cyclegan.server.errors import UserError


class Phase(Enum):
    """How far the series on screen is."""

    CHECKING = "checking"
    HALTED = "halted"
    TRANSLATING = "translating"
    TRANSLATED = "translated"


class Action(Enum):
    """What a user can do with a scan; the slice on screen, and closing it, are always theirs."""

    SERIES = "series"
    DIRECTION = "direction"
    STYLE = "style"
    TRANSLATE = "translate"
    REAL = "real"
    SAVE = "save"


MAY = {
    Phase.CHECKING: {Action.SERIES, Action.DIRECTION, Action.STYLE, Action.TRANSLATE, Action.REAL},
    Phase.HALTED: {Action.SERIES, Action.DIRECTION, Action.STYLE, Action.TRANSLATE, Action.REAL},
    Phase.TRANSLATING: set(Action),
    Phase.TRANSLATED: set(Action),
}


def refuse(phase: Phase, action: Action) -> None:
    """Raise UserError where `action` may not happen in `phase`."""
    if action not in MAY[phase]:
        raise UserError("There is no translation to save yet; let it be translated first.")
