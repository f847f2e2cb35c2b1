"""The page: drop in a brain MRI slice, choose T1 → T2 or T2 → T1, read the result.

    python app.py [--host H] [--port P] [--weights W]

Layout and events only, as the one file that knows Gradio. What an event does is in
`cyclegan/web/page.py`, which parts change then in `cyclegan/web/controls.py`, what a tab holds in
`cyclegan/web/session.py`, and what is drawn in `cyclegan/viewer/`.
"""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from cyclegan import Translator
from cyclegan.calibration import Calibration
from cyclegan.checkpoint import CheckpointError
from cyclegan.checks import InputCheck
from cyclegan.hub import weights_folder
from cyclegan.web import failures
from cyclegan.web.aborted import AbortedUploads
from cyclegan.web.controls import (
    OF_OPENING,
    after_direction,
    after_opening,
    after_step,
    after_switch,
    after_truth,
)
from cyclegan.web.examples import EXAMPLES
from cyclegan.web.folder import claim_folder
from cyclegan.web.headers import SecurityHeaders
from cyclegan.web.outbox import route
from cyclegan.web.page import Page
from cyclegan.web.session import Session
from cyclegan.web.slices import routes
from cyclegan.web.status import status

VIEWER = Path(__file__).parent / "cyclegan" / "viewer"
SCRIPTS = ("viewer", "findings", "slices", "controls")  # one function body; the last one starts it
DIRECTIONS = [("T1 → T2", "T2"), ("T2 → T1", "T1")]
SAVES = (("NIfTI", "nifti"), ("DICOM", "dicom"), ("Everything (zip)", "everything"))
INTRODUCTION = """<h1>T1 ↔ T2 brain MRI translation</h1>
<p>Drop in an axial brain slice, volume or series and compare it with its synthetic counterpart and
the cycle back. Files are read in memory and deleted at once.</p>"""
FORGET_AFTER_S = 3600
JOBS_AT_ONCE = 8  # whole volumes; they take turns batch by batch, and a slice goes before them

# Gradio's own download button needs a file on the server; this fetches from the outbox in memory.
SAVE_FILE = """(file) => {
  if (!file) return null;
  const link = document.createElement("a");
  link.href = `${window.gradio_config.root.replace(/[/]+$/, "")}/results/${file.token}`;
  link.download = file.name;
  link.click();
  return null;
}"""
WITH_WINDOW = """(session, position, window) =>
  [session, position, document.querySelector("#viewer .viewer").dataset.window]"""
# The viewer shows a slice that it has already, and the server needs not send it.
WITH_KEPT = """(session, position) =>
  [session, position, document.querySelector("#viewer .viewer").keeps(position)]"""


in_one_sentence = partial(failures.in_one_sentence, error=gr.Error)
one_by_one = partial(failures.one_by_one, error=gr.Error)
in_steps = partial(failures.in_steps, error=gr.Error)


def lay_out() -> tuple[dict[str, Any], list[gr.Button]]:
    """Put the parts on the page, inside `gr.Blocks`.

    Returns:
        The parts by the names that `cyclegan.web.controls` uses, and the buttons of the examples.
    """
    scripts = "\n".join((VIEWER / f"{name}.js").read_text("utf-8") for name in SCRIPTS)

    gr.HTML(INTRODUCTION, elem_id="masthead", apply_default_css=False)
    with gr.Row(elem_id="controls"):
        with gr.Column(scale=5, min_width=260):
            heading("PNG, JPEG, TIFF, BMP, NIfTI, DICOM; a series as many files or as a zip")
            upload = gr.File(
                label="Slice, volume or series",
                show_label=False,
                file_count="multiple",
                height=92,
                elem_id="upload",
            )
        with gr.Column(scale=3, min_width=260):
            heading("Direction")
            direction = gr.Radio(
                DIRECTIONS,
                value="T2",
                label="Direction",
                show_label=False,
                container=False,
                elem_id="direction",
            )
            with gr.Row(elem_id="work"):
                translate = gr.Button(
                    "Translate", variant="primary", interactive=False, min_width=100
                )
                translate_all = gr.Button("All slices", visible=False, min_width=100)
                cancel = gr.Button("Cancel", variant="stop", visible=False, min_width=100)
        with gr.Column(scale=4, min_width=260):
            heading("Examples, simulated")
            with gr.Row(elem_id="examples"):
                examples = [gr.Button(e.label, size="md", min_width=100) for e in EXAMPLES]
    message = gr.HTML(status(""), elem_id="status", apply_default_css=False)
    with gr.Row(elem_id="input-check"):
        notice = gr.HTML("", elem_id="notice", apply_default_css=False)
        switch = gr.Button("", visible=False, size="md", min_width=160, elem_id="switch")
    with gr.Row(elem_id="where"):
        series = gr.Dropdown(
            [], label="Series", visible=False, scale=1, min_width=260, elem_id="series"
        )
        slider = gr.Slider(
            minimum=1,
            maximum=2,
            value=1,
            step=1,
            label="Slice",
            visible=False,
            buttons=[],
            scale=2,
            min_width=260,
            elem_id="slice",
        )
    viewer = gr.HTML(
        None,
        html_template=(VIEWER / "viewer.html").read_text("utf-8"),
        js_on_load=scripts,
        apply_default_css=False,
        elem_id="viewer",
    )
    with gr.Accordion("I have the real T2", open=False, elem_id="truth") as truth_area:
        heading(
            "Drop in the acquired image of the contrast to translate to; it is laid over the "
            "scan by the position in both headers, else pixel by pixel, and compared"
        )
        truth_upload = gr.File(
            label="Real image",
            show_label=False,
            file_count="multiple",
            height=92,
            elem_id="truth-upload",
        )
        truth_message = gr.HTML("", elem_id="truth-status", apply_default_css=False)
        drop_truth = gr.Button("Remove the real image", visible=False, size="md")
    heading("Save the synthetic images, labelled as such")
    with gr.Row(elem_id="downloads"):
        png = gr.Button("PNG of this slice", size="md", interactive=False)
        saves = {
            kind: gr.Button(
                label, size="md", interactive=False, visible=kind != "dicom", elem_id=kind
            )
            for label, kind in SAVES
        }
    saved = gr.HTML("", elem_id="saved", apply_default_css=False)

    return {
        "viewer": viewer,
        "message": message,
        "saved": saved,
        "notice": notice,
        "switch": switch,
        "truth_area": truth_area,
        "truth_upload": truth_upload,
        "truth_message": truth_message,
        "drop_truth": drop_truth,
        "upload": upload,
        "direction": direction,
        "series": series,
        "slider": slider,
        "translate": translate,
        "translate_all": translate_all,
        "cancel": cancel,
        "png": png,
        **saves,
    }, examples


def heading(text: str) -> None:
    """A line in small print above a group of parts."""
    gr.HTML(f"<p>{text}</p>", elem_classes="heading", apply_default_css=False)


def forget_expired(session: Session | None) -> None:
    """Drop the scan of a tab that has been idle for `FORGET_AFTER_S`."""
    if session is not None:
        session.clear()


def forget_session(app: gr.Blocks, tab: str) -> None:
    """Drop what Gradio itself holds for a closed tab: parts as they were, answers not fetched.

    It would keep them for an hour or longer, and the names of uploads for good.
    """
    with app.state_holder.lock:
        app.state_holder.session_data.pop(tab, None)
        app.state_holder.time_last_used.pop(tab, None)
    for event in list(app._queue.event_ids_to_events.values()):
        event.alive &= event.session_hash != tab  # what still runs has nobody to tell
    app._queue.pending_messages_per_session.pop(tab, None)
    app.upload_file_set.difference_update(
        [path for path in app.upload_file_set if not os.path.exists(path)]
    )


def create_app(weights: str = "weights") -> gr.Blocks:
    """Build the page around the weights in the folder, or Hub repository, `weights`.

    Raises:
        CheckpointError: no usable weights there.
    """
    folder = weights_folder(weights)
    translator = Translator.from_pretrained(folder)
    try:
        check = InputCheck.from_pretrained(folder)
    except CheckpointError as error:  # one's own weights may have none; the page says so
        check = str(error)
    calibration = Calibration.from_pretrained(folder, translator.checksum)
    page = Page(translator, get_upload_folder(), check, calibration)
    private = {"api_visibility": "private"}
    # The model's own turns decide who is next; this only bounds how many threads wait for one.
    on_model = {**private, "concurrency_id": "model", "concurrency_limit": 4}
    on_volume = {**private, "concurrency_id": "volume", "concurrency_limit": JOBS_AT_ONCE}

    with gr.Blocks(
        fill_width=True,
        title="T1 ↔ T2 brain MRI translation",
        analytics_enabled=False,
        delete_cache=(60, 600),  # the safety net for uploads whose event never fired
    ) as app:
        session = gr.State(None, time_to_live=FORGET_AFTER_S, delete_callback=forget_expired)
        file_to_save = gr.JSON(visible=False)
        window = gr.Textbox(visible=False)
        kept = gr.Checkbox(visible=False)

        placed, examples = lay_out()
        parts = {"session": session, "file_to_save": file_to_save, **placed}
        everything = list(parts.values())
        in_step = [parts[name] for name in parts if name not in OF_OPENING]

        def on_page(updates: dict[str, Any]) -> dict[Any, Any]:
            return {
                parts[name]: update["value"] if name == "session" else gr.update(**update)
                for name, update in updates.items()
            }

        @in_one_sentence
        def load(files: Any, to: str, request: gr.Request) -> dict:
            return on_page(after_opening(page.load(files, to, request.session_hash)))

        @in_one_sentence
        def choose(state: Any, choice: int, to: str, request: gr.Request) -> dict:
            opened = page.choose(state, choice, to, request.session_hash)
            return on_page(after_opening(opened))

        @in_one_sentence
        def open_example(number: int, request: gr.Request) -> dict:
            return on_page(after_opening(page.open_example(number, request.session_hash)))

        @in_one_sentence
        def choose_direction(state: Any, to: str) -> dict:
            return on_page(after_direction(state, to))

        @in_one_sentence
        def switch_direction(state: Any, position: int) -> dict:
            return on_page(after_switch(state, *page.switch(state, position)))

        @in_one_sentence
        def load_truth(state: Any, files: Any, to: str) -> dict:
            return on_page(after_truth(state, page.load_truth(state, files, to)))

        @in_one_sentence
        def remove_truth(state: Any) -> dict:
            return on_page(after_truth(state, page.drop_truth(state)))

        @in_one_sentence
        def translate_slice(state: Any, to: str, position: int) -> dict:
            return on_page(after_step(state, page.translate(state, to, position)))

        @in_one_sentence
        def show_slice(state: Any, position: int, is_kept: bool) -> Any:
            return page.show_slice(state, position, is_kept) or gr.skip()

        def translate_volume(state: Any, to: str, position: int) -> Iterator[dict]:
            for step in in_steps(page.translate_all)(state, to, position):
                yield on_page(after_step(state, step))

        @in_one_sentence
        def save_slice(state: Any, position: int, seen: str, request: gr.Request) -> dict:
            step = page.save_slice(state, position, seen, request.session_hash)
            return on_page(after_step(state, step, line="saved"))

        def saver(kind: str) -> Callable:
            def save(state: Any, position: int, seen: str, request: gr.Request) -> Iterator[dict]:
                steps = in_steps(page.save_whole)
                for step in steps(state, kind, position, seen, request.session_hash):
                    yield on_page(after_step(state, step, line="saved"))

            return save

        @in_one_sentence
        def api(file: dict, to: str, truth: dict | None = None) -> dict:
            """Translate a brain MRI slice or volume into the other contrast and back.

            Up to 4,194,304 voxels (64 slices of 256 x 256) in a file of up to 256 MB; larger ones
            through the page or `python -m cyclegan.translate`.

            Args:
                file: an image, DICOM or NIfTI file, or a zip with one DICOM series.
                to: the wanted contrast, "T1" or "T2".
                truth: optionally the real image of that contrast, to measure the true error with.

            Returns:
                name, to, shape [slices, rows, columns], spacing in mm or null, directions, notes;
                source, translated and reconstructed, each base64 of little-endian float32 in
                [0, 1] of that shape; cycle_error (mean absolute; it is not the translation's
                error); input_check (text, warns, label, probabilities); slices, for each slice its
                numbers with their expected ranges, true_error (ssim, psnr, mae) or null, and a
                report as text; uncertainty, a map like source, or null, and uncertainty_help, what
                it is worth; version and checksum (sha256) of the model; caveat.
            """
            return page.answer(file, to, truth)

        def react(
            listen: Callable, handler: Callable, inputs: Any, outputs: Any, **options: Any
        ) -> None:
            """Answer an event that changes the slice on screen, then look at that slice again."""
            options = {"show_progress_on": parts["message"], **on_model, **options}
            # Each look runs, and ends at once when another slice is on screen by then.
            listen(handler, inputs, outputs, **options).then(
                one_by_one(page.look_again),
                session,
                parts["viewer"],
                trigger_mode="multiple",
                show_progress="hidden",
                concurrency_id="look",
                concurrency_limit=4,
                **private,
            )

        # First, or the button's handler takes the name.
        gr.api(api, api_name="translate", concurrency_id="api", concurrency_limit=2)
        # The raw file data, not Gradio's copy of it: `Uploads` checks and deletes the paths.
        parts["upload"].upload(
            lambda: gr.Button(interactive=False), None, parts["translate"], queue=False, **private
        ).then(
            load,
            [parts["upload"], parts["direction"]],
            everything,
            preprocess=False,
            show_progress_on=parts["message"],
            concurrency_limit=2,
            **private,
        )
        parts["series"].input(
            choose,
            [session, parts["series"], parts["direction"]],
            everything,
            show_progress_on=parts["message"],
            **on_model,
        )
        parts["direction"].input(
            choose_direction,
            [session, parts["direction"]],
            everything,
            show_progress="hidden",
            **private,
        )
        wanted = [session, parts["direction"], parts["slider"]]
        for number, button in enumerate(examples):
            react(button.click, open_example, gr.State(number), everything)
        react(parts["switch"].click, switch_direction, [session, parts["slider"]], everything)
        react(
            parts["truth_upload"].upload,
            load_truth,
            [session, parts["truth_upload"], parts["direction"]],
            everything,
            preprocess=False,
            show_progress_on=parts["truth_message"],
        )
        react(
            parts["drop_truth"].click,
            remove_truth,
            session,
            everything,
            show_progress_on=parts["truth_message"],
        )
        react(parts["translate"].click, translate_slice, wanted, in_step)
        react(
            parts["translate_all"].click,
            translate_volume,
            wanted,
            in_step,
            show_progress="hidden",  # the steps show their own
            show_progress_on=None,
            **on_volume,
        )
        parts["cancel"].click(page.cancel, session, None, queue=False, **private)
        react(
            parts["slider"].input,
            show_slice,
            [session, parts["slider"], kept],
            parts["viewer"],
            js=WITH_KEPT,
            trigger_mode="always_last",
            show_progress="hidden",
            show_progress_on=None,
        )
        for button, save, where in (
            (parts["png"], save_slice, on_model),
            *((parts[kind], saver(kind), on_volume) for _, kind in SAVES),
        ):
            button.click(
                save,
                [session, parts["slider"], window],
                in_step,
                js=WITH_WINDOW,
                show_progress="hidden",
                **where,
            ).success(None, file_to_save, file_to_save, js=SAVE_FILE, **private)

        def forget(request: gr.Request) -> None:
            page.forget(request.session_hash)
            forget_session(app, request.session_hash)

        app.unload(forget)
    app.routes_in_memory = [route(page.outbox), *routes(page.slices)]
    return app.queue(max_size=64)


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
            "routes": app.routes_in_memory,
            "middleware": [Middleware(SecurityHeaders), Middleware(AbortedUploads)],
        },
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
    os.environ["GRADIO_TEMP_DIR"] = str(claim_folder(os.environ.get("GRADIO_TEMP_DIR")))
    # What a container is stopped with; Gradio closes in order, and uploads are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app = create_app(arguments.weights)
    except CheckpointError as error:
        parser.error(str(error))
    app.launch(server_name=host, server_port=arguments.port, **launch_options(app))


if __name__ == "__main__":
    main()
