"""What goes wrong in an event of the page becomes one sentence for its reader, and is not logged
with anything of theirs."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from cyclegan.reading.volume import ReadError
from cyclegan.web.session import ReaderError
from cyclegan.web.status import status
from cyclegan.web.work import Step

log = logging.getLogger("cyclegan.app")


FAULT = "This failed through a fault of ours; please try again or with another file."
NOT_UNDERSTOOD = (
    "This request cannot be understood; use the page, or gradio_client with /translate."
)


def log_fault(fault: BaseException, where: str) -> None:
    """Log type and place of an unexpected error, not its message, which can hold a file's (a
    patient's) name."""
    frames = "".join(traceback.format_tb(fault.__traceback__))
    log.error("%s in %s\n%s", type(fault).__name__, where, frames)


def in_one_sentence(handler: Callable, error: Any) -> Callable:
    """Turn any failure of an event handler into one sentence on the page.

    Gradio then leaves all outputs, and so the previous result, as they are.

    Args:
        handler: any function.
        error: Gradio's exception, called with the sentence, that shows it on the page.
    """

    @wraps(handler)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except (ReadError, ReaderError) as refusal:
            raise error(str(refusal), print_exception=False) from None
        except Exception as fault:
            log_fault(fault, handler.__name__)
            raise error(FAULT, print_exception=False) from None

    return guarded


def one_by_one(handler: Callable, error: Any) -> Callable:
    """The same for a handler that yields its answers."""

    @wraps(handler)
    def guarded(*args: Any, **kwargs: Any) -> Iterator[Any]:
        answers = handler(*args, **kwargs)

        @wraps(handler)
        def following() -> Any:
            return next(answers, None)

        next_answer = in_one_sentence(following, error)
        while (answer := next_answer()) is not None:
            yield answer

    return guarded


def in_steps(handler: Callable, error: Any) -> Callable:
    """The same for a handler that yields `Step`s: the sentence becomes its last step."""

    @wraps(handler)
    def guarded(*args: Any, **kwargs: Any) -> Iterator[Step]:
        try:
            yield from one_by_one(handler, error)(*args, **kwargs)
        except error as shown:
            yield Step(status(shown.message, role="alert"))

    return guarded
