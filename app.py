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
from gradio import route_utils
from gradio.route_utils import upload_fn
from gradio.routes import file_upload_statuses
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware
from starlette.requests import Request

from cyclegan import Translator
from cyclegan.model.checkpoint import CheckpointError
from cyclegan.model.hub import weights_folder
from cyclegan.trust.calibration import Calibration
from cyclegan.trust.checks import InputCheck
from cyclegan.web import failures, limits, memory, receiving
from cyclegan.web.controls import (
    OF_OPENING,
    after_direction,
    after_opening,
    after_step,
    after_switch,
    after_truth,
    while_waiting,
)
from cyclegan.web.examples import EXAMPLES
from cyclegan.web.folder import claim_folder
from cyclegan.web.gate import Gate
from cyclegan.web.headers import SecurityHeaders
from cyclegan.web.outbox import route
from cyclegan.web.page import Opened, Page
from cyclegan.web.slices import routes
from cyclegan.web.status import status
from cyclegan.web.work import Step

VIEWER = Path(__file__).parent / "cyclegan" / "viewer"
# One function body; the last one starts it.
SCRIPTS = ("viewer", "findings", "slices", "assist", "controls")
DIRECTIONS = [("T1 → T2", "T2"), ("T2 → T1", "T1")]
SAVES = (("NIfTI", "nifti"), ("DICOM", "dicom"), ("Everything (zip)", "everything"))
INTRODUCTION = """<h1>T1 ↔ T2 brain MRI translation</h1>
<p>Drop in an axial brain slice, volume or series and compare it with its synthetic counterpart and
the cycle back. Files are read in memory and deleted at once.</p>"""

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
  [session, position, document.querySelector("#viewer .viewer").showKept(position)]"""


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


def forget_session(app: gr.Blocks, tab: str) -> None:
    """Drop what Gradio itself holds for a closed tab: parts as they were, answers not fetched.

    It would keep them for an hour or longer, and the names of uploads for good.
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
    memory.give_back()


def refuse_what_does_not_fit() -> None:
    """Let Gradio refuse in one sentence what its parts cannot take, as no page sends it.

    It would answer nothing, and print a message that can hold the name of a file.
    """
    process = route_utils.call_process_api

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return await process(*args, **kwargs)
        except Exception as fault:
            if isinstance(fault, gr.Error) and not fault.print_exception:
                raise  # a sentence of ours; one of Gradio's repeats what was sent
            failures.log.warning("%s of a queued request", type(fault).__name__)
            raise gr.Error(failures.NOT_UNDERSTOOD, print_exception=False) from None

    route_utils.call_process_api = guarded


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

    def at_once(name: str, most: int) -> dict[str, Any]:
        return {"concurrency_id": name, "concurrency_limit": most}

    # The model's own line decides who is next and tells the place; this bounds who stands in it.
    on_model = {**private, **at_once("model", limits.SLICES_AT_ONCE)}
    on_volume = {**private, **at_once("volume", limits.JOBS_AT_ONCE)}
    opening = {**private, **at_once("opening", limits.OPENINGS_AT_ONCE)}

    with gr.Blocks(
        fill_width=True,
        title="T1 ↔ T2 brain MRI translation",
        analytics_enabled=False,
        # The safety net for uploads whose event never fired.
        delete_cache=(60, limits.WAITING_UPLOAD_S),
    ) as app:
        session = gr.State(None)  # `Sessions` forgets what it holds
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

        def told_meanwhile(state: Any, told: str | Step) -> dict[str, Any]:
            return while_waiting(told) if isinstance(told, str) else after_step(state, told)

        @in_one_sentence
        def load(files: Any, to: str, request: gr.Request) -> dict:
            return on_page(after_opening(page.load(files, to, request.session_hash)))

        @in_one_sentence
        def choose(state: Any, choice: int, to: str, request: gr.Request) -> dict:
            opened = page.choose(state, choice, to, request.session_hash)
            return on_page(after_opening(opened))

        def open_example(number: int, request: gr.Request) -> Iterator[dict]:
            for told in in_steps(page.open_example)(number, request.session_hash):
                opened = isinstance(told, Opened)
                yield on_page(after_opening(told) if opened else told_meanwhile(None, told))

        @in_one_sentence
        def choose_direction(state: Any, to: str) -> dict:
            return on_page(after_direction(state, to))

        def switch_direction(state: Any, position: int, request: gr.Request) -> Iterator[dict]:
            for told in in_steps(page.switch)(state, position, request.session_hash):
                waits = isinstance(told, str | Step)
                yield on_page(told_meanwhile(state, told) if waits else after_switch(state, *told))

        @in_one_sentence
        def load_truth(state: Any, files: Any, to: str) -> dict:
            return on_page(after_truth(state, page.load_truth(state, files, to)))

        @in_one_sentence
        def remove_truth(state: Any) -> dict:
            return on_page(after_truth(state, page.drop_truth(state)))

        @in_one_sentence
        def show_slice(state: Any, position: int, is_kept: bool, request: gr.Request) -> Any:
            return page.show_slice(state, position, is_kept, request.session_hash) or gr.skip()

        def translator_of(steps: Callable) -> Callable:
            def translating(
                state: Any, to: str, position: int, request: gr.Request
            ) -> Iterator[dict]:
                for told in in_steps(steps)(state, to, position, request.session_hash):
                    yield on_page(told_meanwhile(state, told))

            return translating

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

            Up to 4,194,304 voxels (64 slices of 256 x 256) in a file of up to 256 MB, and up to
            300 s; larger ones through the page or `python -m cyclegan.translate`.

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
                **at_once("look", limits.LOOKS_AT_ONCE),
                **private,
            )

        # First, or the button's handler takes the name.
        gr.api(api, api_name="translate", **at_once("api", limits.API_AT_ONCE))
        # The raw file data, not Gradio's copy of it: `Uploads` checks and deletes the paths.
        parts["upload"].upload(
            lambda: gr.Button(interactive=False), None, parts["translate"], queue=False, **private
        ).then(
            load,
            [parts["upload"], parts["direction"]],
            everything,
            preprocess=False,
            show_progress_on=parts["message"],
            **opening,
        )
        parts["series"].input(
            choose,
            [session, parts["series"], parts["direction"]],
            everything,
            show_progress_on=parts["message"],
            **opening,
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
            **opening,
        )
        react(
            parts["drop_truth"].click,
            remove_truth,
            session,
            everything,
            show_progress_on=parts["truth_message"],
        )
        react(parts["translate"].click, translator_of(page.translate), wanted, in_step)
        react(
            parts["translate_all"].click,
            translator_of(page.translate_all),
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

    async def save_upload(request: Request, folder: Path) -> list[str]:
        upload_id = request.query_params.get("upload_id")
        progress = file_upload_statuses if upload_id else None
        paths, *_ = await upload_fn(
            request, folder, limits.UPLOAD_BYTES, upload_id, upload_progress=progress
        )
        app.upload_file_set.update(paths)
        return paths

    app.routes_in_memory = [
        receiving.route(page.uploads, save_upload),
        route(page.outbox),
        *routes(page.slices),
    ]
    return app.queue(max_size=limits.QUEUE, api_open=False)  # no way past the queue


def waiting(app: gr.Blocks, tab: str) -> tuple[int, int]:
    """How many requests wait in Gradio's queue: of all, and of `tab` with what it has running."""
    return len(app._queue), len(app._queue.pending_event_ids_session.get(tab, ()))


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
            button_primary_background_fill_dark="*primary_700",
            button_primary_background_fill_hover="*primary_800",
            button_primary_background_fill_hover_dark="*primary_800",
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
        "max_file_size": limits.UPLOAD_BYTES,
        "max_threads": limits.THREADS,
        "state_session_capacity": limits.SESSIONS,
        "app_kwargs": {
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
            "routes": app.routes_in_memory,
            "middleware": [
                Middleware(SecurityHeaders),
                Middleware(Gate, waiting=partial(waiting, app)),
            ],
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
    # Gradio makes a table of the last requests, 10,000 by default, after each one, for a dashboard
    # that is closed here.
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
    host = arguments.host or os.environ.get("GRADIO_SERVER_NAME")
    if host is None and os.environ.get("SPACE_ID"):
        host = "0.0.0.0"  # a Space is reached through its proxy
    os.environ["GRADIO_TEMP_DIR"] = str(claim_folder(os.environ.get("GRADIO_TEMP_DIR")))
    # What a container is stopped with; Gradio closes in order, and uploads are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    memory.few_pools()
    refuse_what_does_not_fit()
    try:
        app = create_app(arguments.weights)
    except CheckpointError as error:
        parser.error(str(error))
    app.launch(server_name=host, server_port=arguments.port, **launch_options(app))


if __name__ == "__main__":
    main()
