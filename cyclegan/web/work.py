"""Work on a scan that takes its time, step by step, and never for ever."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, NamedTuple

from cyclegan.reading.deadline import TimeLimitExceeded, time_limit
from cyclegan.web import limits
from cyclegan.web.answers import Measured, batches
from cyclegan.web.findings import slice_findings
from cyclegan.web.session import ReaderError
from cyclegan.web.status import place_line, progress, status
from cyclegan.web.turns import Superseded

if TYPE_CHECKING:
    from cyclegan.trust.calibration import Calibration
    from cyclegan.web.session import Session
    from cyclegan.web.turns import SharedModel

# How often a reader who waits is told the place in line, and how much less often those behind:
# each line told costs about as much as a small event.
PLACE_EVERY_S = 0.5
PLACE_EVERY_S_EACH = 0.25


class Step(NamedTuple):
    """How far a piece of work is.

    Attributes:
        status: HTML for the line that tells how the work goes.
        working: whether more is to come, and can be cancelled.
        view: for the viewer; None leaves it as it is.
        file: {"token", "name"} of a file that the browser can fetch now, or None.
    """

    status: str
    working: bool = False
    view: dict | None = None
    file: dict[str, str] | None = None


@contextlib.contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Turn the end of the time for `what`, the start of a sentence, into that sentence.

    Raises:
        ReaderError: it takes longer than `seconds`.
    """
    try:
        with time_limit(seconds):
            yield
    except TimeLimitExceeded:
        raise ReaderError(limits.took_too_long(what, seconds)) from None


def in_line(
    session: Session, model: SharedModel, index: int, to: str, tab: str
) -> Generator[str, None, bool]:
    """Translate slice `index` in its turn, and tell the place in line meanwhile, as HTML.

    Args:
        session: of the scan.
        model: does it.
        index: of the slice.
        to: the contrast to translate to.
        tab: who waits for it, and for what; only the newest such wish is fulfilled.

    Returns:
        False when the same tab has wanted something newer.

    Raises:
        ReaderError: it takes longer than `limits.SLICE_S`.
    """
    end = time.monotonic() + limits.SLICE_S
    turn = session.join(model, index, to, tab)
    if turn is None:
        return True
    try:
        place, told = turn.place(), ""
        while not turn.done(max(PLACE_EVERY_S, place * PLACE_EVERY_S_EACH)):
            if time.monotonic() > end:
                sentence = limits.took_too_long("Translating this slice", limits.SLICE_S)
                raise ReaderError(sentence)
            place = turn.place()
            line = place_line(place, model.turns.expected_s(place))
            if line != told:
                told = line
                yield line
        turn.result()
    except Superseded:
        return False
    finally:
        turn.leave()  # when nobody waits any more; what has begun ends by itself
    return True


def whole(session: Session, model: SharedModel, job: int, near: int) -> Generator[Step, None, bool]:
    """Translate what is missing, batch by batch; silent when the scan is gone.

    Args:
        session: with a translation on screen.
        model: does it.
        job: of `session.begin_job`; it ends with that.
        near: index of the slice to begin with.

    Returns:
        Whether all is translated.
    """
    to, slices = session.to, session.slices
    end = time.monotonic() + limits.WHOLE_S
    try:
        for batch in batches(session.missing(to, near)):
            yield Step(progress(session, to), working=True)
            if time.monotonic() > end:
                text = f"Stopped after {limits.WHOLE_S / 60:.0f} minutes, the most that is given"
                yield Step(status(f"{text}; press the same button to go on from here."))
                return False
            if session.job == job:
                session.translate_slices(model, batch, to)
            if session.job != job:
                done = slices - len(session.missing(to))
                yield Step(status(f"Stopped; {done} of {slices} slices are translated."))
                return False
    except ReaderError:  # another file was opened, or the tab closed
        return False
    return session.volume is not None


def measured(
    session: Session, model: SharedModel, calibration: Calibration, job: int
) -> Generator[Step, None, Measured | None]:
    """Numbers and maps of all slices of a translated scan, slice by slice.

    Args:
        session: with all slices translated.
        model: does it.
        calibration: says which numbers.
        job: of `session.begin_job`; it ends with that.

    Returns:
        One entry for each slice; None when stopped, or when the scan is gone.
    """
    to, done = session.to, []
    try:
        for index in range(session.slices):
            yield Step(status(f"Measuring: {index} of {session.slices} slices."), working=True)
            found = session.kept_findings(index, to) or ({}, None)
            if not found[0]:
                result, prepared = session.result(model, index, to), session.prepared(model)
                look = session.look_for(to)
                for step in slice_findings(model, result, prepared, to, calibration, look):
                    found = step
                    if session.job != job:
                        yield Step(status("Stopped; nothing was saved."))
                        return None
                session.keep_findings(index, to, *found)
            done.append(found)
    except ReaderError:  # another file was opened, or the tab closed
        return None
    return done
