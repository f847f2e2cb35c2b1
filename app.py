"""The page: drop in a brain MRI slice, choose T1 → T2 or T2 → T1, read the result.

    python app.py [--host H] [--port P] [--weights W]

Events only. Where the parts are is in `layout.py`, what an event does in `cyclegan/page.py`, which
parts change then in `cyclegan/controls.py`, what a tab holds in `cyclegan/session.py`, what is
drawn in `cyclegan/viewer/`, and how the page is served in `serving.py`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from cyclegan import Translator
from cyclegan.calibration import Calibration
from cyclegan.checkpoint import CheckpointError
from cyclegan.checks import InputCheck
from cyclegan.controls import (
    OF_OPENING,
    after_direction,
    after_opening,
    after_step,
    after_switch,
    after_truth,
)
from cyclegan.hub import weights_folder
from cyclegan.outbox import route
from cyclegan.page import Page
from cyclegan.session import Session
from layout import SAVES, lay_out
from serving import in_one_sentence, in_steps, launch_options, one_by_one

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


def forget_expired(session: Session | None) -> None:
    """Drop the scan of a tab that has been idle for `FORGET_AFTER_S`."""
    if session is not None:
        session.clear()


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

        def then_look_again(event: Any) -> None:
            # Each runs, and ends at once when another slice is on screen by then.
            event.then(
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
        for number, button in enumerate(examples):
            then_look_again(
                button.click(
                    open_example,
                    gr.State(number),
                    everything,
                    show_progress_on=parts["message"],
                    **on_model,
                )
            )
        parts["direction"].input(
            choose_direction,
            [session, parts["direction"]],
            everything,
            show_progress="hidden",
            **private,
        )
        then_look_again(
            parts["switch"].click(
                switch_direction,
                [session, parts["slider"]],
                everything,
                show_progress_on=parts["message"],
                **on_model,
            )
        )
        then_look_again(
            parts["truth_upload"].upload(
                load_truth,
                [session, parts["truth_upload"], parts["direction"]],
                everything,
                preprocess=False,
                show_progress_on=parts["truth_message"],
                **on_model,
            )
        )
        then_look_again(
            parts["drop_truth"].click(
                remove_truth,
                session,
                everything,
                show_progress_on=parts["truth_message"],
                **on_model,
            )
        )
        then_look_again(
            parts["translate"].click(
                translate_slice,
                [session, parts["direction"], parts["slider"]],
                in_step,
                show_progress_on=parts["message"],
                **on_model,
            )
        )
        then_look_again(
            parts["translate_all"].click(
                translate_volume,
                [session, parts["direction"], parts["slider"]],
                in_step,
                show_progress="hidden",  # the steps show their own
                **on_volume,
            )
        )
        parts["cancel"].click(page.cancel, session, None, queue=False, **private)
        then_look_again(
            parts["slider"].input(
                in_one_sentence(page.show_slice),
                [session, parts["slider"]],
                parts["viewer"],
                trigger_mode="always_last",
                show_progress="hidden",
                **on_model,
            )
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

        app.unload(forget)
    app.results = route(page.outbox)
    return app.queue(max_size=64)


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
    app.launch(server_name=host, server_port=arguments.port, **launch_options(app))


if __name__ == "__main__":
    main()
