"""The line that tells how the work goes, as HTML."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cyclegan import OTHER

if TYPE_CHECKING:
    from cyclegan.web.session import Session


def status(text: str, *hints: str, role: str = "status") -> str:
    """A sentence and hints below it; escaped, as it repeats what a file says of itself."""
    more = "".join(f"<p>{html.escape(hint)}</p>" for hint in hints if hint)
    return f'<p role="{role}">{html.escape(text)}</p>{more}'


def place_line(before: int, seconds: float) -> str:
    """While a slice waits for the model: how many come before, and for how long about."""
    if not before:
        return status("Translating.")
    readers = f"{before} translation{'s' if before > 1 else ''} before yours"
    return status(f"Waiting: {readers}, about {max(round(seconds), 1)} s.")


def progress(session: Session, to: str) -> str:
    """While a volume is translated into `to`: how many slices are done."""
    total = session.slices
    done = total - len(session.missing(to))
    return (
        # Not read out at each batch; `done_line` is, at the end.
        f'<p aria-live="off">Translating: {done} of {total} slices '
        f'<progress value="{done}" max="{total}" aria-label="Translated slices"></progress></p>'
    )


def done_line(session: Session, what: str = "") -> str:
    """After a translation; `what` is "all" when that of all slices is done."""
    volume = session.held()
    slices = f", {what} {len(volume.pixels)} slices" if what else ""
    return status(f"{volume.name}: {OTHER[session.to]} → {session.to}{slices}.", *session.hints)


def removal(removed: Sequence[str]) -> Iterator[str]:
    """Hints on what of the DICOM header a saved file leaves out."""
    if removed:
        yield "Removed from the DICOM header:"
        yield from (f"– {words}" for words in removed)
