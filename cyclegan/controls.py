"""Which of the page's parts change, and how, after each thing that happens.

Updates are {part: {property: value}}; `app.py` knows which component a part is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclegan.page import Opened, Step
    from cyclegan.session import Session

Updates = dict[str, dict[str, Any]]
# Parts that only opening a scan changes.
OF_OPENING = ("session", "upload", "direction", "series", "slider")


def after_opening(opened: Opened) -> Updates:
    """For a scan that was opened, or for one that could not be."""
    session = opened.session
    updates = {
        "message": {"value": opened.status},
        "saved": {"value": ""},
        "translate": {"interactive": opened.ready},
        "upload": {"value": None},  # so that the next file can be dropped in
    }
    if session is None:
        return updates
    selection = session.selection
    choices = selection.choices if selection else ()
    return updates | {
        "session": {"value": session},
        "viewer": {"value": opened.view},
        "direction": {"value": opened.to},
        "series": {
            "choices": [(label, number) for number, label in enumerate(choices)],
            "value": session.choice if choices else None,
            "visible": len(choices) > 1,
        },
        "slider": {
            "maximum": max(session.slices, 2),
            "value": session.middle + 1,
            "visible": session.slices > 1,
        },
        **_buttons(session, working=False),
    }


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
