"""Parts of Gradio that have no public switch, and what each function works around.

Gradio itself is not imported here: `app.py` passes what is needed. It is pinned to a minor version
for these functions' sake (measured with 6.31); before the pin moves, the tests named here must
pass. A function goes when its test passes without it.

- `forget_session`: Gradio keeps a closed tab's parts and unfetched answers for an hour or longer,
  and the names of uploads for good. `test_the_messages_of_a_closed_tab_are_gone`.
- `waiting`: how long the queue is, in all and for one tab, is not public, and its own limit counts
  all tabs together. `test_one_tab_cannot_fill_the_queue`.
- `refuse_what_does_not_fit`: input of the wrong shape ends in no answer, and in a message that can
  hold the name of a file. `test_what_gradio_refuses_is_one_sentence_without_names`.
- `saver`: Gradio's upload route names folders by content, so two readers with one file would share
  it; ours calls the parser behind it. `test_uploads_that_nobody_opens_cannot_fill_the_disk`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request

from cyclegan.web import failures, limits


def forget_session(app: Any, tab: str) -> None:
    """Drop what Gradio itself holds for a closed tab: parts as they were, answers not fetched.

    Args:
        app: the `gr.Blocks`.
        tab: Gradio's session hash.
    """
    with app.state_holder.lock:
        app.state_holder.session_data.pop(tab, None)
        app.state_holder.time_last_used.pop(tab, None)
    for event in list(app._queue.event_ids_to_events.values()):
        event.alive &= event.session_hash != tab  # what still runs has nobody to tell
    messages = app._queue.pending_messages_per_session.get(tab)
    # Emptied, not removed: a stream that is being closed removes it, and fails if it is not there.
    while messages is not None and not messages.empty():
        messages.get_nowait()
    app.upload_file_set.difference_update(
        [path for path in list(app.upload_file_set) if not os.path.exists(path)]
    )


def waiting(app: Any, tab: str) -> tuple[int, int]:
    """How many requests wait in Gradio's queue: of all, and of `tab` with what it has running."""
    return len(app._queue), len(app._queue.pending_event_ids_session.get(tab, ()))


def refuse_what_does_not_fit(route_utils: Any, error: Any) -> None:
    """Let Gradio refuse in one sentence what its parts cannot take, as no page sends it.

    Args:
        route_utils: Gradio's module, whose `call_process_api` is replaced.
        error: `gr.Error`.
    """
    process = route_utils.call_process_api

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return await process(*args, **kwargs)
        except Exception as fault:
            if isinstance(fault, error) and not fault.print_exception:
                raise  # a sentence of ours; one of Gradio's repeats what was sent
            failures.log.warning("%s of a queued request", type(fault).__name__)
            raise error(failures.NOT_UNDERSTOOD, print_exception=False) from None

    route_utils.call_process_api = guarded


def saver(
    app: Any, upload_fn: Callable, statuses: Any
) -> Callable[[Request, Path], Awaitable[list[str]]]:
    """What `receiving.route` saves an upload with: Gradio's own parser, within our limit.

    Args:
        app: the `gr.Blocks`, which must know the paths to hand them to events.
        upload_fn: Gradio's, of `route_utils`.
        statuses: Gradio's `file_upload_statuses`, for the progress bar.
    """

    async def save_upload(request: Request, folder: Path) -> list[str]:
        upload_id = request.query_params.get("upload_id")
        progress = statuses if upload_id else None
        paths, *_ = await upload_fn(
            request, folder, limits.UPLOAD_BYTES, upload_id, upload_progress=progress
        )
        app.upload_file_set.update(paths)
        return paths

    return save_upload
