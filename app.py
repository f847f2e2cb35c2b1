"""The page: open a brain MRI scan, and read its synthetic counterpart beside it.

    python app.py [--host H] [--port P] [--root-path PATH] [--weights W] [--revision R]

Layout, events and the start of the server: the one file that knows Gradio. What is in memory
and the routes are in `cyclegan/server/`, what is drawn in `cyclegan/viewer/`.
"""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import os
from pathlib import Path
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI

import cyclegan
from cyclegan.export.provenance import CAVEAT
from cyclegan.model.checkpoint import CheckpointError
from cyclegan.server import limits
from cyclegan.server.api import TranslateResponse, translate_file
from cyclegan.server.errors import GoneError, error_message
from cyclegan.server.examples import EXAMPLES
from cyclegan.server.models import SOURCE, Model
from cyclegan.server.process import (
    StartError,
    limit_arenas,
    listen,
    port,
    root_path,
    without_proxies,
)
from cyclegan.server.routes import api
from cyclegan.server.scans import Scans
from cyclegan.server.state import state
from cyclegan.server.uploads import Uploads

with without_proxies():
    import gradio as gr
    from gradio.utils import get_upload_folder

TITLE = "T1 ↔ T2 brain MRI translation"
DIRECTIONS = [("T1 → T2", "T2"), ("T2 → T1", "T1")]
HOSTING = (
    "Files go to the computer that runs this page, stay in its memory and are gone when you close "
    "the tab, or an hour later at most. Research demo, not for diagnosis."
)
VIEWER = Path(cyclegan.__file__).parent / "viewer"
# The script has what the viewer needs to know, and keeps a file that is dropped before the viewer
# is there from being opened in its place.
HEAD = """<link rel="stylesheet" href="viewer/viewer.css">
<script>
  const settings = SETTINGS;
  const drops = [];
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    const { items, files } = event.dataTransfer;
    const entries = [...items].map((item) => item.webkitGetAsEntry());
    if (files.length) drops.push({ target: event.target, entries, files: [...files] });
  }, true);
</script>
<script type="module" src="viewer/main.js"></script>"""
# Runs once, when Gradio has made a part. Gradio wants the names of events here, in quotes.
MOUNT = """import(new URL("viewer/main.js", document.baseURI))
  .then(({{ mount }}) => mount("{name}", element, (scan) => trigger("shown", {{ scan }})));"""
# The viewer asks for files and sends them, chooses, and says what takes its time.
CALL = """(value) => void import(new URL("viewer/main.js", document.baseURI))
  .then((viewer) => viewer.{what})"""


def create_app(weights: str = "weights", revision: str | None = None) -> gr.Blocks:
    """Build the page around the weights in a folder, or in a Hub repository at a revision.

    Raises:
        CheckpointError: no usable weights there.
    """
    scans, uploads = Scans(Model.load(weights, revision)), Uploads(get_upload_folder())
    page = create_page(scans)
    with page:
        place_api(scans, uploads)
    page.scans, page.uploads = scans, uploads  # type: ignore[attr-defined] # attributes of ours
    return page.queue(max_size=limits.QUEUE, api_open=False)  # no way past the queue


def create_page(scans: Scans) -> gr.Blocks:
    """Build the page; `serve` gives it its images."""
    parts: dict[str, Any] = {}
    with gr.Blocks(title=TITLE, fill_width=True, analytics_enabled=False) as page:
        with gr.Row(elem_id="top"):  # what is open, where it goes, and saving: one line
            viewer_part("bar")
            parts["direction"] = gr.Radio(
                DIRECTIONS,
                value="T2",
                label="Direction",
                show_label=False,
                container=False,
                elem_id="direction",
            )
            parts["companion"] = gr.Button("", visible=False, size="sm", elem_id="companion")
        place_side(parts, scans)
        parts["viewer"] = viewer_part("viewer")
        follow(parts, scans)
        change(parts)
    return page


def viewer_part(name: str) -> gr.HTML:
    """A part of the page that `cyclegan/viewer/` draws."""
    return gr.HTML(
        None,
        html_template=(VIEWER / f"{name}.html").read_text("utf-8"),
        js_on_load=MOUNT.format(name=name),
        apply_default_css=False,
        elem_id=name,
    )


def place_side(parts: dict[str, Any], scans: Scans) -> None:
    """A panel that opens: the real image, and the style of the synthetic one."""
    with gr.Sidebar(open=False, position="right", width=280, elem_id="side"):
        with gr.Column(elem_id="real"):
            parts["choose_real"] = gr.Button("Choose the real T2", size="md")
            parts["real"] = gr.Markdown("", visible=False)
            parts["register"] = gr.Checkbox(True, label="Register onto the scan", visible=False)
            parts["drop_real"] = gr.Button("Remove the real image", size="md", visible=False)
        with gr.Column(elem_id="style-area", visible=scans.model.translator.has_styles):
            parts["style"] = gr.Dropdown(
                [SOURCE],
                value=SOURCE,
                label="Style of the synthetic image",
                info=scans.model.styles.missing or None,
            )
            parts["choose_style"] = gr.Button("Take the style of a real slice", size="md")
        gr.Markdown(HOSTING, elem_id="hosting")


# Events: the viewer changes the scan as the controls say, draws what the scan's state says, and
# reports when the controls have to follow.


def follow(parts: dict[str, Any], scans: Scans) -> None:
    """The controls show the scan that the browser shows."""

    def shown(event: gr.EventData) -> dict[Any, Any]:
        try:
            scan = scans.get(event.scan, used=False)
            now = state(scan)
        except (GoneError, AttributeError, TypeError):  # the last two of no page
            return gr.skip()
        to, other, real = now["to"], now["companion"], now["real"]
        styles = [style["name"] for style in now["styles"]]
        offer = f"Compare with the real {to}" if other else ""
        title = f"{real['title'][0].upper()}{real['title'][1:]}: {real['label']}" if real else ""
        is_registered = real["registered"] if real else True
        return {
            parts["direction"]: to,
            parts["companion"]: gr.Button(offer, visible=bool(other)),
            parts["choose_real"]: f"Choose the real {to}",
            parts["real"]: gr.Markdown(title, visible=bool(real)),
            parts["register"]: gr.Checkbox(is_registered, visible=bool(real)),
            parts["drop_real"]: gr.Button(visible=bool(real)),
            parts["style"]: gr.Dropdown(styles, value=now["style"] if styles else None),
        }

    parts["viewer"].shown(
        shown,
        None,
        [*parts.values()],
        api_visibility="private",  # as all but `translate`
        queue=False,
        show_progress="hidden",
        # Each counts: what a scan is, is known a moment after it is opened. ("always_last" would
        # resend the first one's data.)
        trigger_mode="multiple",
    )


def change(parts: dict[str, Any]) -> None:
    """The user changes the scan: the viewer asks the server for it."""
    for name, event, what in (
        ("direction", "input", "choose({ to: value })"),
        ("style", "input", "choose({ style: value })"),
        ("register", "input", "register(value)"),
        ("companion", "click", "compareWithCompanion()"),
        ("choose_real", "click", "chooseReal()"),
        ("drop_real", "click", "removeReal()"),
        ("choose_style", "click", "chooseStyle()"),
    ):
        part = parts[name]
        getattr(part, event)(None, part, None, js=CALL.format(what=what))


def place_api(scans: Scans, uploads: Uploads) -> None:
    """What programs may call."""

    def translate(
        file: dict,
        to: Literal["T1", "T2"],
        truth: dict | None = None,
        parts: Literal["everything", "translation"] = "everything",
        reference: dict | None = None,
    ) -> TranslateResponse:
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
            What `cyclegan.server.api.TranslateResponse` describes, field by field.
        """
        try:
            return translate_file(scans.model, uploads.read, file, to, truth, parts, reference)
        except Exception as fault:
            message = error_message(fault, "translate")
            raise gr.Error(message, print_exception=False) from None

    # Gradio's schema has no words for the fields of a response, but for the whole.
    documented = (translate, TranslateResponse)
    description = "\n\n".join(inspect.cleandoc(each.__doc__ or "") for each in documented)
    gr.api(
        translate,
        api_name="translate",
        api_description=description,
        concurrency_id="api",
        concurrency_limit=limits.API_AT_ONCE,
    )


def serve(page: gr.Blocks, root_path: str = "") -> FastAPI:
    """The application that answers for a page of `create_app`: its own routes, then Gradio's."""
    settings = {
        "limits": {"bytes": limits.UPLOAD_BYTES, "files": limits.UPLOAD_FILES},  # of one upload
        "examples": [example.label for example in EXAMPLES],
        "caveat": CAVEAT,
    }
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
        theme=theme(),
        head=HEAD.replace("SETTINGS", json.dumps(settings)),
    )


def theme() -> gr.themes.Base:
    """Plain type, the system's own: nothing is fetched from elsewhere."""
    return gr.themes.Base(
        primary_hue="sky",
        neutral_hue="slate",
        radius_size="sm",
        font=["system-ui", "Segoe UI", "Helvetica Neue", "Arial", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "monospace"],
    )


def main() -> None:
    """Parse the command line and serve the page."""
    parser = argparse.ArgumentParser(
        description="Serve the web page that translates brain MRI between T1 and T2. Its address "
        "is printed; Ctrl-C ends it."
    )
    parser.add_argument(
        "--host",
        help="address to listen on: 127.0.0.1 for this computer alone (the default), 0.0.0.0 for "
        "all that can reach it",
    )
    parser.add_argument(
        "--port",
        type=port,
        default=os.environ.get("GRADIO_SERVER_PORT"),
        help="port to listen on (default: the first free one from 7860)",
    )
    parser.add_argument(
        "--root-path",
        type=root_path,
        default=os.environ.get("GRADIO_ROOT_PATH", ""),
        help="path under which a proxy serves the page, such as /brain (default: /); see "
        "docs/hosting.md",
    )
    parser.add_argument(
        "--weights",
        default="weights",
        help="weights folder or Hugging Face Hub repository, USER/MODEL (default: the weights that "
        "come with this program, unless CYCLEGAN_WEIGHTS names others)",
    )
    parser.add_argument(
        "--revision", help="branch, tag or commit of the Hub repository (default: main)"
    )
    arguments = parser.parse_args()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    host = arguments.host or os.environ.get("GRADIO_SERVER_NAME")
    if host is None:  # a Space is reached through its proxy
        host = "0.0.0.0" if os.environ.get("SPACE_ID") else "127.0.0.1"
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # a stranger can make warnings
    limit_arenas()
    try:
        listening = listen(host, arguments.port)
        page = create_app(arguments.weights, arguments.revision)
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
