"""How Gradio serves the page: privately, offline, and with failures as one sentence each."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import gradio as gr

from cyclegan import ReadError
from cyclegan.page import Step
from cyclegan.session import ReaderError
from cyclegan.status import status
from layout import VIEWER

log = logging.getLogger("cyclegan.app")


def in_one_sentence(handler: Callable) -> Callable:
    """Turn any failure of an event handler into one sentence on the page.

    Gradio then leaves all outputs, and so the previous result, as they are. The log gets type and
    place of an unexpected error, not its message, which can hold a file's (a patient's) name.
    """

    @wraps(handler)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except (ReadError, ReaderError) as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception as error:
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s in %s\n%s", type(error).__name__, handler.__name__, where)
            sentence = "This failed through a fault of ours; please try again or with another file."
            raise gr.Error(sentence, print_exception=False) from None

    return guarded


def one_by_one(handler: Callable) -> Callable:
    """The same for a handler that yields its answers."""

    @wraps(handler)
    def guarded(*args: Any, **kwargs: Any) -> Iterator[Any]:
        answers = handler(*args, **kwargs)

        @in_one_sentence
        @wraps(handler)
        def following() -> Any:
            return next(answers, None)

        while (answer := following()) is not None:
            yield answer

    return guarded


def in_steps(handler: Callable) -> Callable:
    """The same for a handler that yields `Step`s: the sentence becomes its last step."""

    @wraps(handler)
    def guarded(*args: Any, **kwargs: Any) -> Iterator[Step]:
        try:
            yield from one_by_one(handler)(*args, **kwargs)
        except gr.Error as error:
            yield Step(status(error.message, role="alert"))

    return guarded


def launch_options(app: gr.Blocks) -> dict[str, Any]:
    """Arguments of `app.launch` for an app of `create_app`: private, offline, quiet."""
    font = ["system-ui", "Segoe UI", "Helvetica Neue", "Arial", "sans-serif"]
    return {
        "theme": gr.themes.Base(
            primary_hue="sky",
            neutral_hue="slate",
            radius_size="sm",
            font=font,
            font_mono=["ui-monospace", "Menlo", "monospace"],
        ).set(
            button_primary_background_fill="*primary_700",
            button_primary_background_fill_hover="*primary_800",
            button_primary_text_color="white",
            button_secondary_background_fill_dark="*neutral_700",
            button_secondary_background_fill_hover_dark="*neutral_600",
        ),
        # Not as `css`: Gradio rewrites selectors there and drops container queries.
        "head": f"<style>{(VIEWER / 'viewer.css').read_text('utf-8')}</style>",
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
        "ssr_mode": False,
        "share": False,
        "max_file_size": "256mb",  # 512 slices of 512x512 in 16 bit, half as large once zipped
        "app_kwargs": {
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
            "routes": [app.results],
        },
    }
