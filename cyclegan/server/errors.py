"""What goes wrong becomes one sentence for the user, and no log holds anything of theirs."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Iterator

from cyclegan.reading.deadline import TimeLimitExceeded, time_limit
from cyclegan.reading.volume import ReadError
from cyclegan.server import limits

log = logging.getLogger("cyclegan.server")

FAULT = "This failed through a fault of ours; please try again or with another file."
NOT_UNDERSTOOD = (
    "This request cannot be understood; use the page, or gradio_client with /translate."
)
GONE = "This scan is not held any more; open the file again."


class UserError(ValueError):
    """Something that the user can put right.

    Args:
        message: one sentence.
        status: of the HTTP response.
    """

    def __init__(self, message: str, status: int = 422):
        super().__init__(message)
        self.status = status


class GoneError(UserError):
    """What is asked for is not held (any more)."""

    def __init__(self, message: str = GONE):
        super().__init__(message, 404)


def error_message(fault: BaseException, where: str) -> str:
    """The sentence that the user gets for a failure.

    Of an unexpected one type and place are logged, not its message, which can hold a file's (a
    patient's) name.
    """
    if isinstance(fault, (ReadError, UserError)):
        return str(fault)
    frames = "".join(traceback.format_tb(fault.__traceback__))
    log.error("%s in %s\n%s", type(fault).__name__, where, frames)
    return FAULT


@contextlib.contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Limit the time for `what`, which begins the error message.

    Raises:
        UserError: it takes longer than `seconds`.
    """
    try:
        with time_limit(seconds):
            yield
    except TimeLimitExceeded:
        raise UserError(limits.took_too_long(what, seconds)) from None
