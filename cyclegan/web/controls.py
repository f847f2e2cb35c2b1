"""Which of the page's parts change, and how, after each thing that happens.

Updates are {part: {property: value}}; `app.py` knows which component a part is.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from cyclegan import OTHER
from cyclegan.web import looks

if TYPE_CHECKING:
    from cyclegan.model.style import KnownStyles
    from cyclegan.web.page import Opened
    from cyclegan.web.session import Session
    from cyclegan.web.work import Step

Updates = dict[str, dict[str, Any]]
# Parts that only opening a scan changes.
OF_OPENING = ("session", "upload", "series", "slider")


def while_waiting(line: str) -> Updates:
    """For a request that stands in line: `line` tells its place."""
    return {"message": {"value": line}}


def after_opening(opened: Opened) -> Updates:
    """For a scan that was opened, or for one that could not be."""
    session = opened.session
    updates: Updates = {
        "message": {"value": opened.status},
        "saved": {"value": ""},
        "translate": {"interactive": opened.ready},
        "upload": {"value": None},  # so that the next file can be dropped in
    }
    if session is None:
        # Its sentence stands alone, not above what was said of the scan before.
        return updates | {"notice": {"value": ""}, "switch": {"visible": False}}
    selection = session.selection
    choices = selection.choices if selection else ()
    return updates | {
        "session": {"value": session},
        "viewer": {"value": opened.view},
        "direction": {"value": opened.to},
        **after_direction(session, opened.to),
        "truth_message": {"value": ""},
        "drop_truth": {"visible": session.has_truth},
        "series": {
            "choices": [(label, number) for number, label in enumerate(choices)],
            "value": session.choice if choices else None,
            "visible": len(choices) > 1,
        },
        "slider": {"maximum": max(session.slices, 2), "value": session.shown + 1},
        **_buttons(session, working=False),
    }


def after_direction(session: Session | None, to: str) -> Updates:
    """For a direction that was chosen: what the input looks like beside it."""
    updates: Updates = {"truth_area": {"label": f"I have the real {to}"}}
    if session is None or session.volume is None:
        return updates
    said = session.notice(to)
    other = said.switch_to
    companion = session.companion(to)
    return updates | {
        "notice": {
            "value": f'<p role="{"alert" if said.warns else "status"}">{html.escape(said.text)}</p>'
        },
        "switch": {
            "visible": other is not None,
            "value": f"Switch to {OTHER[other]} → {other}" if other else "",
        },
        "companion": {
            "visible": companion is not None,
            "value": f"Compare with the real {to}: {companion[1]}" if companion else "",
        },
    }


def after_switch(session: Session | None, to: str, step: Step | None) -> Updates:
    """For the other direction, chosen with one click."""
    updates = {"direction": {"value": to}} | after_direction(session, to)
    return updates | (after_step(session, step) if step else {})


def after_truth(session: Session | None, step: Step) -> Updates:
    """For a real image that was laid over the scan, or taken away, or that did not fit."""
    held = session is not None and session.has_truth
    updates: Updates = {
        "truth_message": {"value": step.status},
        "truth_upload": {"value": None},
        "drop_truth": {"visible": held},
    }
    if held:
        updates["companion"] = {"visible": False}
    return updates | ({} if step.view is None else {"viewer": {"value": step.view}})


def after_look(session: Session | None, step: Step, known: KnownStyles, to: str) -> Updates:
    """For a look that was chosen or measured, or that could not be."""
    updates = after_step(session, step) | {"look_upload": {"value": None}}
    return updates | look_choices(session, known, to)


def look_choices(session: Session | None, known: KnownStyles, to: str) -> Updates:
    """The looks for a direction."""
    names, present = looks.choices(known, session and session.look_for(to), to)
    return {"look": {"choices": names, "value": present}}


def after_step(session: Session | None, step: Step, line: str = "message") -> Updates:
    """For one step of a piece of work, which is told in `line`: "message" or "saved"."""
    updates: Updates = {line: {"value": step.status}, "file_to_save": {"value": step.file}}
    if step.view is not None:
        updates["viewer"] = {"value": step.view}
    return updates | _buttons(session, step.working)


def _buttons(session: Session | None, working: bool) -> Updates:
    """What can be pressed while a volume is worked on, and when not."""
    volume = session and session.volume
    if volume is None:
        return {}
    slices, idle = len(volume.pixels), not working
    saveable = {"interactive": session.to is not None and idle}
    return {
        "translate": {"interactive": idle},
        "translate_all": {"value": f"All {slices} slices", "visible": slices > 1 and idle},
        "cancel": {"visible": working},
        "png": saveable,
        "nifti": saveable,
        "dicom": {**saveable, "visible": volume.dicom is not None},
        "everything": saveable,
    }
