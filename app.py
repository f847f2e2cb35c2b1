"""The page: open a brain MRI scan, and read its synthetic counterpart beside it.

    python app.py [--host H] [--port P] [--root-path PATH] [--weights W]

Layout, events and the start of the server: the one file that knows Gradio. What is held and
answered is in `cyclegan/server/`, what is drawn in `cyclegan/viewer/`.
"""

from __future__ import annotations

import argparse
import html
import inspect
import json
import logging
import os
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI

from cyclegan.model.checkpoint import CheckpointError
from cyclegan.server import limits, memory
from cyclegan.server.answers import Answer, answer
from cyclegan.server.errors import GoneError, sentence
from cyclegan.server.examples import EXAMPLES
from cyclegan.server.models import SOURCE, Model
from cyclegan.server.receiving import Uploads
from cyclegan.server.routes import api
from cyclegan.server.scans import Scans
from cyclegan.server.starting import StartError, listen, port, root_path, without_proxies

with without_proxies():
    import gradio as gr
    from gradio.utils import get_upload_folder

TITLE = "T1 ↔ T2 brain MRI translation"
DIRECTIONS = [("T1 → T2", "T2"), ("T2 → T1", "T1")]
# No handler but `translate` is in the public API; those of the page are quick, need no queue, and
# check for themselves what they are given.
PAGE = {
    "api_visibility": "private",
    "queue": False,
    "show_progress": "hidden",
    "preprocess": False,
}

LIMITS = {"upload_bytes": limits.UPLOAD_BYTES, "upload_files": limits.UPLOAD_FILES}
VIEWER = f'<div class="viewer" data-limits="{html.escape(json.dumps(LIMITS))}"></div>'

# Runs once, when Gradio has made the element. Gradio wants the names of events here, in quotes.
START = """
import(new URL("viewer/main.js", document.baseURI))
  .then(({ start }) => start({ element, show: (scan) => trigger("shown", { scan }) }));
"""


def create_app(weights: str = "weights") -> gr.Blocks:
    """Build the page around the weights in the folder, or Hub repository, `weights`.

    Raises:
        CheckpointError: no usable weights there.
    """
    scans, uploads = Scans(Model.load(weights)), Uploads(get_upload_folder())
    page = create_page(scans)
    with page:
        place_api(scans, uploads)
    page.scans, page.uploads = scans, uploads  # type: ignore[attr-defined] # attributes of ours
    return page.queue(max_size=limits.QUEUE, api_open=False)  # no way past the queue


def create_page(scans: Scans) -> gr.Blocks:
    """Build the page; `serve` gives it its images."""
    with gr.Blocks(title=TITLE, fill_width=True, analytics_enabled=False) as page:
        token = gr.Textbox(visible=False)
        with gr.Row(elem_id="bar"):
            gr.HTML(f"<h1>{TITLE}</h1>", elem_id="title", apply_default_css=False)
            open_button = gr.Button(
                "Open a scan", variant="primary", scale=0, elem_id="open", size="md"
            )
            direction = gr.Radio(
                DIRECTIONS, value="T2", show_label=False, container=False, elem_id="direction"
            )
        with gr.Sidebar(open=False, position="right", width=280, elem_id="side"):
            style = gr.Dropdown(
                [SOURCE],
                value=SOURCE,
                label="Style",
                info=scans.model.styles.missing or None,
                elem_id="style",
            )
            examples = [
                gr.Button(each.label, size="md", elem_classes=f"example example-{number}")
                for number, each in enumerate(EXAMPLES)
            ]
        viewer = gr.HTML(
            None,
            html_template=VIEWER,
            js_on_load=START,
            apply_default_css=False,
            elem_id="viewer",
        )

        # The browser tells which scan it shows, and when its state has changed.
        def shown(event: gr.EventData) -> Any:
            try:
                scan = scans.get(event.scan, used=False)
                series = scan.series
            except (GoneError, AttributeError, TypeError):  # the last two of no page
                return "", gr.skip(), gr.skip()
            names = [SOURCE, *(s.name for s in scans.model.styles.named if s.contrast == series.to)]
            present = series.style.name if series.style else SOURCE
            choices = names if present in names else [*names, present]
            return scan.token, series.to, gr.Dropdown(choices, value=present)

        viewer.shown(guarded(shown), None, [token, direction, style], **PAGE)

        def choose(name: str) -> Any:
            def chosen(token: Any, value: Any) -> None:
                if isinstance(token, str) and isinstance(value, str):
                    scans.get(token).choose(**{name: value})

            return chosen

        for name, part in (("to", direction), ("style", style)):
            part.input(guarded(choose(name)), [token, part], None, **PAGE)
        open_button.click(None, None, None, js="() => window.viewer?.open()")
        for number, button in enumerate(examples):
            button.click(None, None, None, js=f"() => window.viewer?.example({number})")
    return page


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """An event's handler whose failures are a sentence on the page."""

    @wraps(handler)
    def handle(*values: Any) -> Any:
        try:
            return handler(*values)
        except Exception as fault:
            raise gr.Error(sentence(fault, handler.__name__), print_exception=False) from None

    return handle


def place_api(scans: Scans, uploads: Uploads) -> None:
    """What programs may call."""

    def translate(
        file: dict,
        to: Literal["T1", "T2"],
        truth: dict | None = None,
        parts: Literal["everything", "translation"] = "everything",
        reference: dict | None = None,
    ) -> Answer:
        """Translate a brain MRI slice or volume into the other contrast, and back.

        Up to 4,194,304 voxels (64 slices of 256 x 256) in a file of up to 256 MB, and up to
        300 s; larger ones through the page or `python -m cyclegan.translate`.

        Args:
            file: an image, DICOM or NIfTI file, or a zip with one DICOM series.
            to: the contrast to translate to, "T1" or "T2".
            truth: optionally the real image of that contrast, to measure the true error with.
            parts: "everything", or "translation": alone, without reconstruction, numbers and map,
                with one run of the network for each slice.
            reference: optionally a real slice or series of that contrast from the same scanner, of
                any patient, whose style the translation follows.

        Returns:
            What `cyclegan.server.answers.Answer` describes, field by field.
        """
        return answer(scans.model, uploads.read, file, to, truth, parts, reference)

    # Gradio's schema has no words for the fields of an answer, but for the whole.
    words = (
        f"{inspect.cleandoc(translate.__doc__ or '')}\n\n{inspect.cleandoc(Answer.__doc__ or '')}"
    )
    gr.api(
        guarded(translate),
        api_name="translate",
        api_description=words,
        concurrency_id="api",
        concurrency_limit=limits.API_AT_ONCE,
    )


def serve(page: gr.Blocks, root_path: str = "") -> FastAPI:
    """The application that answers for a page of `create_app`: its own routes, then Gradio's."""
    page.has_launched = True  # or Gradio does not check which files an event names
    return gr.mount_gradio_app(
        api(page.scans, page.uploads, root_path),  # type: ignore[attr-defined]
        page,
        path="/",
        root_path=root_path or None,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        show_error=False,
        ssr_mode=False,
        max_file_size=limits.UPLOAD_BYTES,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        theme=gr.themes.Base(primary_hue="sky", neutral_hue="slate", radius_size="sm"),
    )


def main() -> None:
    """Parse the command line and serve the page."""
    parser = argparse.ArgumentParser(description="Serve the T1/T2 translation page.")
    parser.add_argument("--host", help="address to listen on (default: this machine only)")
    parser.add_argument(
        "--port",
        type=port,
        default=os.environ.get("GRADIO_SERVER_PORT"),
        help="port (default: the first free one from 7860)",
    )
    parser.add_argument(
        "--root-path",
        type=root_path,
        default=os.environ.get("GRADIO_ROOT_PATH", ""),
        help="path of the page behind a proxy, such as /brain (default: /); see docs/hosting.md",
    )
    parser.add_argument("--weights", default="weights", help="folder with the model's weights")
    arguments = parser.parse_args()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    host = arguments.host or os.environ.get("GRADIO_SERVER_NAME")
    if host is None:  # a Space is reached through its proxy
        host = "0.0.0.0" if os.environ.get("SPACE_ID") else "127.0.0.1"
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # a stranger can make warnings
    memory.few_pools()
    try:
        listening = listen(host, arguments.port)
        page = create_app(arguments.weights)
    except (StartError, CheckpointError) as error:
        parser.error(str(error))
    address = "{}:{}".format(*listening.getsockname()[:2])
    print(f"Running on http://{address}{arguments.root_path}", flush=True)
    config = uvicorn.Config(
        serve(page, arguments.root_path),
        log_level="warning",
        access_log=False,  # addresses hold tokens
        proxy_headers=True,
        forwarded_allow_ips="*",  # what they say matters to the sender alone
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
