"""The page: drop in a brain MRI slice, choose T1 → T2 or T2 → T1, read the result.

    python app.py [--host H] [--port P] [--weights W]

Layout and events only. What an event does is in `cyclegan/page.py`, what a tab holds in
`cyclegan/session.py`, what is drawn in `cyclegan/viewer/`.
"""

from __future__ import annotations

import argparse
import logging
import os
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from cyclegan import ReadError, Translator
from cyclegan.checkpoint import CheckpointError
from cyclegan.examples import EXAMPLES
from cyclegan.page import Opened, Page, status
from cyclegan.session import ReaderError, Session

VIEWER = Path(__file__).parent / "cyclegan" / "viewer"
DIRECTIONS = [("T1 → T2", "T2"), ("T2 → T1", "T1")]
FORGET_AFTER_S = 3600
INTRODUCTION = """<h1>T1 ↔ T2 brain MRI translation</h1>
<p>Drop in an axial brain slice or volume and compare it with its synthetic counterpart and the
cycle back. Files are read in memory and deleted at once.</p>"""

# Gradio's own download button needs a file on the server; this goes through memory only.
SAVE_FILE = """(file) => {
  if (!file) return null;
  const bytes = Uint8Array.from(atob(file.data), (c) => c.charCodeAt(0));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: file.type }));
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return null;
}"""
WITH_WINDOW = """(session, position, window) =>
  [session, position, document.querySelector("#viewer .viewer").dataset.window]"""

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


def show_opened(opened: Opened) -> list[Any]:
    """Updates for the components that opening a file concerns, in the order of `create_app`."""
    translate = gr.Button(interactive=opened.ready)
    emptied = None  # the upload, so that the next file can be dropped in
    session = opened.session
    if session is None:
        return [*[gr.skip()] * 6, opened.status, translate, emptied]
    save = gr.Button(interactive=session.to is not None)
    slider = gr.Slider(
        maximum=max(session.slices, 2), value=session.middle + 1, visible=session.slices > 1
    )
    return [session, opened.view, slider, save, save, opened.to, opened.status, translate, emptied]


def forget_expired(session: Session | None) -> None:
    """Drop the scan of a tab that has been idle for `FORGET_AFTER_S`."""
    if session is not None:
        session.clear()


def create_app(weights: str = "weights") -> gr.Blocks:
    """Build the page around the weights in the folder `weights`.

    Raises:
        CheckpointError: no usable weights there.
    """
    page = Page(Translator.from_pretrained(weights), uploads=get_upload_folder())
    scripts = "\n".join((VIEWER / name).read_text("utf-8") for name in ("viewer.js", "controls.js"))
    private = {"api_visibility": "private"}
    on_model = {**private, "concurrency_id": "model", "concurrency_limit": 1}

    def heading(text: str) -> None:
        gr.HTML(f"<p>{text}</p>", elem_classes="heading", apply_default_css=False)

    with gr.Blocks(
        fill_width=True,
        title="T1 ↔ T2 brain MRI translation",
        analytics_enabled=False,
        delete_cache=(60, 600),  # the safety net for uploads whose event never fired
    ) as app:
        session = gr.State(None, time_to_live=FORGET_AFTER_S, delete_callback=forget_expired)
        file_to_save = gr.JSON(visible=False)
        window = gr.Textbox(visible=False)

        gr.HTML(INTRODUCTION, elem_id="masthead", apply_default_css=False)
        with gr.Row(elem_id="controls"):
            with gr.Column(scale=5, min_width=260):
                heading("Slice or volume: PNG, JPEG, TIFF, BMP, DICOM, NIfTI")
                upload = gr.File(
                    label="Slice or volume", show_label=False, height=92, elem_id="upload"
                )
            with gr.Column(scale=3, min_width=240):
                heading("Direction")
                direction = gr.Radio(
                    DIRECTIONS,
                    value="T2",
                    label="Direction",
                    show_label=False,
                    container=False,
                    elem_id="direction",
                )
                translate = gr.Button("Translate", variant="primary", interactive=False)
            with gr.Column(scale=4, min_width=260):
                heading("Examples, simulated")
                with gr.Row(elem_id="examples"):
                    examples = [gr.Button(e.label, size="md", min_width=100) for e in EXAMPLES]
        message = gr.HTML(status(""), elem_id="status", apply_default_css=False)
        slider = gr.Slider(1, 2, value=1, step=1, label="Slice", visible=False, elem_id="slice")
        viewer = gr.HTML(
            None,
            html_template=(VIEWER / "viewer.html").read_text("utf-8"),
            js_on_load=scripts,
            apply_default_css=False,
            elem_id="viewer",
        )
        with gr.Row(elem_id="downloads"):
            save_png = gr.Button("Save PNG with label", size="md", interactive=False)
            save_nifti = gr.Button("Save NIfTI (float)", size="md", interactive=False)

        opened = [session, viewer, slider, save_png, save_nifti, direction, message, translate]
        opened.append(upload)
        guard = in_one_sentence

        @guard
        def load(file: Any, to: str, request: gr.Request) -> list[Any]:
            return show_opened(page.load(file, to, request.session_hash))

        @guard
        def open_example(number: int, request: gr.Request) -> list[Any]:
            return show_opened(page.open_example(number, request.session_hash))

        @guard
        def translate_slice(state: Any, to: str, position: int) -> list[Any]:
            done = page.translate(state, to, position)
            return [done.view, *[gr.Button(interactive=True)] * 2, done.status]

        @guard
        def nifti(state: Any, progress: Any = gr.Progress()) -> dict:  # noqa: B008
            return page.save_nifti(state, lambda share: progress(share, desc="Translating"))

        @guard
        def api(file: dict, to: str) -> dict:
            """Translate a brain MRI slice or volume into the other contrast and back.

            Args:
                file: an image, DICOM or NIfTI file.
                to: the wanted contrast, "T1" or "T2".

            Returns:
                name, to, shape [slices, rows, columns], spacing in mm or null, directions, notes;
                source, translated and reconstructed, each base64 of little-endian float32 in
                [0, 1] of that shape; cycle_error (mean absolute; it is not the translation's
                error); version and checksum (sha256) of the model; caveat.
            """
            return page.answer(file, to)

        # First, or the button's handler takes the name.
        gr.api(api, api_name="translate", concurrency_id="model", concurrency_limit=1)
        # The raw file data, not Gradio's copy of it: `read_upload` checks and deletes the path.
        upload.upload(
            lambda: gr.Button(interactive=False), None, translate, queue=False, **private
        ).then(load, [upload, direction], opened, preprocess=False, **private)
        for number, button in enumerate(examples):
            button.click(
                open_example, gr.State(number), opened, show_progress_on=message, **on_model
            )
        translate.click(
            translate_slice,
            [session, direction, slider],
            [viewer, save_png, save_nifti, message],
            show_progress_on=message,
            **on_model,
        )
        slider.input(
            guard(page.show_slice),
            [session, slider],
            viewer,
            trigger_mode="always_last",
            show_progress="hidden",
            **on_model,
        )
        save_png.click(
            guard(page.save_png),
            [session, slider, window],
            file_to_save,
            js=WITH_WINDOW,
            **on_model,
        ).success(None, file_to_save, file_to_save, js=SAVE_FILE, **private)
        save_nifti.click(
            nifti, session, file_to_save, show_progress_on=message, **on_model
        ).success(None, file_to_save, file_to_save, js=SAVE_FILE, **private)

        def forget(request: gr.Request) -> None:
            page.forget(request.session_hash)

        app.unload(forget)
    return app.queue(max_size=64)


def launch_options() -> dict[str, Any]:
    """Arguments of `Blocks.launch`: private, offline, quiet."""
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
        "max_file_size": "64mb",
        "app_kwargs": {"docs_url": None, "redoc_url": None, "openapi_url": None},
    }


def main() -> None:
    """Parse the command line and serve the page."""
    parser = argparse.ArgumentParser(description="Serve the T1/T2 translation page.")
    parser.add_argument("--host", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, help="port (default: the first free one from 7860)")
    parser.add_argument("--weights", default="weights", help="folder with the model's weights")
    arguments = parser.parse_args()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    host = arguments.host or os.environ.get("GRADIO_SERVER_NAME")
    if host is None and os.environ.get("SPACE_ID"):
        host = "0.0.0.0"  # a Space is reached through its proxy
    try:
        app = create_app(arguments.weights)
    except CheckpointError as error:
        parser.error(str(error))
    app.launch(server_name=host, server_port=arguments.port, **launch_options())


if __name__ == "__main__":
    main()
