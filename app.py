"""The page: drop in a brain MRI slice, choose T1 → T2 or T2 → T1, read the result.

    python app.py [--host H] [--port P] [--root-path PATH] [--weights W]

Layout (`place_...`), events (`on_...`) and the server's options: the one file that knows Gradio.
What an event does is in `cyclegan/web/page.py`, which parts change then in `.../controls.py`, what
a tab holds in `.../session.py`, which parts of Gradio have no public switch in
`.../gradio_private.py`, and what is drawn in `cyclegan/viewer/`.
"""

from __future__ import annotations

import argparse
import inspect
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from starlette.middleware import Middleware

from cyclegan import Translator
from cyclegan.model.checkpoint import CheckpointError
from cyclegan.model.hub import weights_folder
from cyclegan.model.style import KnownStyles
from cyclegan.trust.calibration import Calibration
from cyclegan.trust.checks import InputCheck
from cyclegan.web import failures, gradio_private, limits, looks, memory, receiving
from cyclegan.web import viewer as viewer_files
from cyclegan.web.answers import Answer
from cyclegan.web.controls import (
    OF_OPENING,
    after_direction,
    after_look,
    after_opening,
    after_step,
    after_switch,
    after_truth,
    look_choices,
    while_waiting,
)
from cyclegan.web.examples import EXAMPLES, thumbnails
from cyclegan.web.first_script import FirstScript
from cyclegan.web.folder import claim_folder
from cyclegan.web.gate import Gate
from cyclegan.web.headers import SecurityHeaders
from cyclegan.web.outbox import route
from cyclegan.web.page import Opened, Page
from cyclegan.web.slices import routes
from cyclegan.web.starting import StartError, free_port, without_proxies
from cyclegan.web.status import status
from cyclegan.web.streams import Streams
from cyclegan.web.work import Step

with without_proxies():  # Gradio makes HTTP clients as soon as it is imported
    import gradio as gr
    from gradio import route_utils
    from gradio.routes import file_upload_statuses
    from gradio.utils import get_upload_folder

log = logging.getLogger("cyclegan.app")

DIRECTIONS = [("T1 → T2", "T2"), ("T2 → T1", "T1")]
SAVES = (("NIfTI", "nifti"), ("DICOM", "dicom"), ("Everything (zip)", "everything"))
INTRODUCTION = """<h1>T1 ↔ T2 brain MRI translation</h1>
<p><span class="invitation">Drop in an axial brain slice, volume or series and compare it with its
synthetic counterpart and the cycle back.</span> Files go to whoever hosts this page<span
class="elsewhere">: remove names from them first</span>. They are deleted as soon as they are read;
the scan stays in its memory until you close this tab, an hour at most.</p>"""

# Gradio's own download button needs a file on the server; this fetches from the outbox in memory.
SAVE_FILE = """(file) => {
  if (!file) return null;
  const link = document.createElement("a");
  const path = new URL(window.gradio_config.root).pathname.replace(/[/]+$/, "");
  link.href = `${path}/results/${file.token}`;
  link.download = file.name;
  link.click();
  return null;
}"""
WITH_WINDOW = """(session, position, window) =>
  [session, position, document.querySelector("#viewer .viewer").dataset.window]"""
# The viewer shows a slice that it has already, and the server needs not send it.
WITH_KEPT = """(session, position) =>
  [session, position, document.querySelector("#viewer .viewer").showKept(position)]"""
# What this browser keeps of the switch, whatever is drawn already.
AT_ONCE = "() => window.incoming.isAtOnce(true)"
WITH_AT_ONCE = """(session, to, position, shown) =>
  [session, to, position, window.incoming.isAtOnce(shown)]"""


in_one_sentence = partial(failures.in_one_sentence, error=gr.Error)
one_by_one = partial(failures.one_by_one, error=gr.Error)
in_steps = partial(failures.in_steps, error=gr.Error)


# Layout, from the top of the page to its end. Each area returns its parts by the names that
# `cyclegan.web.controls` uses.


def heading(text: str) -> None:
    """A line in small print above a group of parts."""
    gr.HTML(f"<p>{text}</p>", elem_classes="heading", apply_default_css=False)


def place_controls() -> tuple[dict[str, Any], list[gr.Button]]:
    """The slim bar: what to open and what to do with it; also returns the buttons of the examples.

    One more control belongs behind `direction`.
    """
    with gr.Row(elem_id="controls"):
        upload = gr.File(
            label="Slice, volume or series",
            show_label=False,
            file_count="multiple",
            height=44,
            scale=0,
            elem_id="upload",
        )
        heading('<button type="button" class="pick-folder">Folder</button>')
        series = gr.Dropdown(
            [], label="Series", visible=False, scale=0, min_width=220, elem_id="series"
        )
        direction = gr.Radio(
            DIRECTIONS,
            value="T2",
            label="Direction",
            show_label=False,
            container=False,
            scale=0,
            elem_id="direction",
        )
        with gr.Row(elem_id="work"):
            translate = gr.Button("Translate", variant="primary", interactive=False, scale=0)
            translate_all = gr.Button("All slices", visible=False, scale=0)
            cancel = gr.Button("Cancel", variant="stop", visible=False, scale=0)
            at_once = gr.Checkbox(
                True, label="Translate at once", container=False, scale=0, elem_id="at-once"
            )
        with gr.Row(elem_id="examples"):
            heading("Examples, simulated")
            examples = [
                gr.Button(e.label, size="md", scale=0, elem_classes=f"example example-{number}")
                for number, e in enumerate(EXAMPLES)
            ]
    return {
        "upload": upload,
        "series": series,
        "direction": direction,
        "translate": translate,
        "translate_all": translate_all,
        "cancel": cancel,
        "at_once": at_once,
    }, examples


def place_messages() -> dict[str, Any]:
    """What the page says of the work and of the input, in one line; the slice's position."""
    with gr.Row(elem_id="messages"):
        message = gr.HTML(status(""), elem_id="status", apply_default_css=False)
        with gr.Row(elem_id="input-check"):
            notice = gr.HTML("", elem_id="notice", apply_default_css=False)
            switch = gr.Button("", visible=False, size="md", scale=0, elem_id="switch")
            companion = gr.Button("", visible=False, size="md", scale=0, elem_id="companion")
    # The viewer's scrubber moves it: what is at this position is shown, and asked for if need be.
    slider = gr.Slider(
        minimum=1, maximum=2, value=1, step=1, label="Slice", visible="hidden", elem_id="slice"
    )
    return {
        "message": message,
        "notice": notice,
        "switch": switch,
        "companion": companion,
        "slider": slider,
    }


def place_viewer() -> dict[str, Any]:
    """The pictures, drawn by `cyclegan/viewer/` in the browser."""
    viewer = gr.HTML(
        None,
        html_template=viewer_files.markup(),
        js_on_load=viewer_files.script(),
        apply_default_css=False,
        elem_id="viewer",
    )
    return {"viewer": viewer}


def place_truth() -> dict[str, Any]:
    """The reader's own real image of the wanted contrast."""
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
            elem_classes="more-files",
        )
        truth_message = gr.HTML("", elem_id="truth-status", apply_default_css=False)
        drop_truth = gr.Button("Remove the real image", visible=False, size="md")
    return {
        "truth_area": truth_area,
        "truth_upload": truth_upload,
        "truth_message": truth_message,
        "drop_truth": drop_truth,
    }


def place_look(page: Page) -> dict[str, Any]:
    """How bright, sharp and fat-suppressed the synthetic image comes out: the scanner's choice."""
    able = page.model.translator.has_styles
    with gr.Accordion("Make it look like ...", open=False, elem_id="look-area", visible=able):
        heading(
            "The source does not tell how bright or sharp a scanner shows the other contrast. A "
            "real slice from that scanner does, of any patient; one from another costs as much"
        )
        if page.known.missing:
            heading(f"No scanner is known by name: {page.known.missing}")
        names, present = looks.choices(page.known, None, "T2")
        look = gr.Dropdown(names, value=present, label="Look", elem_id="look")
        look_upload = gr.File(
            label="Real slice or series of the wanted contrast",
            file_count="multiple",
            height=92,
            elem_id="look-upload",
            elem_classes="more-files",
        )
    return {"look": look, "look_upload": look_upload}


def place_downloads() -> dict[str, Any]:
    """What can be saved."""
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
    return {"png": png, **saves, "saved": saved}


# Events. No handler is in the public API but `translate`.

PRIVATE = {"api_visibility": "private"}


def at_once(name: str, most: int) -> dict[str, Any]:
    """Options of an event: at most so many of the line `name` run at a time."""
    return {"concurrency_id": name, "concurrency_limit": most}


# The model's own line decides who is next and tells the place; this bounds who stands in it.
ON_MODEL = {**PRIVATE, **at_once("model", limits.SLICES_AT_ONCE)}
ON_VOLUME = {**PRIVATE, **at_once("volume", limits.JOBS_AT_ONCE)}
OPENING = {**PRIVATE, **at_once("opening", limits.OPENINGS_AT_ONCE)}


@dataclass
class Board:
    """The page's logic and its parts, as the events need them.

    Attributes:
        page: what the events do.
        parts: by the names that `cyclegan.web.controls` uses, the tab's state "session" among them.
        examples: the buttons of the examples.
        window, kept: values that scripts of the browser fill in.
    """

    page: Page
    parts: dict[str, Any]
    examples: list[gr.Button]
    window: gr.Textbox
    kept: gr.Checkbox

    @property
    def everything(self) -> list[Any]:
        return list(self.parts.values())

    @property
    def in_step(self) -> list[Any]:
        """The parts that a step of the work can change: all but those that opening changes."""
        return [part for name, part in self.parts.items() if name not in OF_OPENING]

    def update(self, updates: dict[str, Any]) -> dict[Any, Any]:
        """Updates by name, as `cyclegan.web.controls` gives them, for Gradio."""
        return {
            self.parts[name]: update["value"] if name == "session" else gr.update(**update)
            for name, update in updates.items()
        }

    def opened(self, opened: Opened) -> dict[Any, Any]:
        """What a scan that was opened changes."""
        updates = after_opening(opened)
        if opened.session is not None:
            updates |= look_choices(opened.session, self.page.known, opened.to)
        return self.update(updates)

    def meanwhile(self, state: Any, told: str | Step) -> dict[Any, Any]:
        """What a wait or a step of the work tells."""
        waits = isinstance(told, str)
        return self.update(while_waiting(told) if waits else after_step(state, told))

    def react(
        self, listen: Callable, handler: Callable, inputs: Any, outputs: Any, **options: Any
    ) -> None:
        """Answer an event that changes the slice on screen, then look at that slice again."""
        options = {"show_progress_on": self.parts["message"], **ON_MODEL, **options}
        # Each look runs, and ends at once when another slice is on screen by then.
        listen(handler, inputs, outputs, **options).then(
            one_by_one(self.page.look_again),
            self.parts["session"],
            self.parts["viewer"],
            trigger_mode="multiple",
            show_progress="hidden",
            **at_once("look", limits.LOOKS_AT_ONCE),
            **PRIVATE,
        )


def on_api(page: Page) -> None:
    """What programs may call."""

    @in_one_sentence
    def api(
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
            to: the wanted contrast, "T1" or "T2".
            truth: optionally the real image of that contrast, to measure the true error with.
            parts: "everything", or "translation": alone, without the way back, numbers and map,
                with one run of the network for each slice.
            reference: optionally a real slice or series of the wanted contrast from the same
                scanner, of any patient, whose look the translation follows.

        Returns:
            What `cyclegan.web.answers.Answer` describes, field by field.
        """
        return page.answer(file, to, truth, parts, reference)

    # Gradio's schema has no words for the fields of an answer, but for the whole.
    words = f"{inspect.cleandoc(api.__doc__ or '')}\n\n{inspect.cleandoc(Answer.__doc__ or '')}"
    options = at_once("api", limits.API_AT_ONCE)
    gr.api(api, api_name="translate", api_description=words, **options)


def on_opening(board: Board) -> None:
    """The reader drops in files or chooses among their series."""
    page, parts = board.page, board.parts

    @in_one_sentence
    def load(files: Any, to: str, request: gr.Request) -> dict:
        return board.opened(page.load(files, to, request.session_hash))

    @in_one_sentence
    def choose(state: Any, choice: int, to: str, request: gr.Request) -> dict:
        opened = page.choose(state, choice, to, request.session_hash)
        return board.opened(opened)

    def translate_opened(
        state: Any, to: str, position: int, wanted: bool, request: gr.Request
    ) -> Iterator[dict]:
        yield gr.skip()  # without any answer Gradio empties the parts
        steps = in_steps(page.translate_opened)
        for told in steps(state, to, position, wanted, request.session_hash):
            yield board.meanwhile(state, told)

    # The raw file data, not Gradio's copy of it: `Uploads` checks and deletes the paths.
    loaded = (
        parts["upload"]
        .upload(
            lambda: gr.Button(interactive=False), None, parts["translate"], queue=False, **PRIVATE
        )
        .then(
            load,
            [parts["upload"], parts["direction"]],
            board.everything,
            preprocess=False,
            show_progress_on=parts["message"],
            **OPENING,
        )
    )
    chosen = parts["series"].input(
        choose,
        [parts["session"], parts["series"], parts["direction"]],
        board.everything,
        show_progress_on=parts["message"],
        **OPENING,
    )
    wanted = [parts[name] for name in ("session", "direction", "slider", "at_once")]
    for opened in (loaded, chosen):
        board.react(opened.then, translate_opened, wanted, board.in_step, js=WITH_AT_ONCE)


def on_direction(board: Board) -> None:
    """The reader chooses a direction; what is translated already is shown in it."""
    parts = board.parts

    def choose_direction(state: Any, to: str, position: int, request: gr.Request) -> Iterator[dict]:
        yield board.update(after_direction(state, to) | look_choices(state, board.page.known, to))
        for told in in_steps(board.page.turn)(state, to, position, request.session_hash):
            yield board.meanwhile(state, told)

    board.react(
        parts["direction"].input,
        choose_direction,
        [parts["session"], parts["direction"], parts["slider"]],
        board.everything,
        trigger_mode="always_last",
        show_progress="hidden",
    )


def on_examples_and_switch(board: Board) -> None:
    """The reader opens an example, or follows the input check's advice: both translate at once."""
    page, parts = board.page, board.parts

    def open_example(number: int, request: gr.Request) -> Iterator[dict]:
        for told in in_steps(page.open_example)(number, request.session_hash):
            opened = isinstance(told, Opened)
            yield board.opened(told) if opened else board.meanwhile(None, told)

    def switch_direction(state: Any, position: int, request: gr.Request) -> Iterator[dict]:
        for told in in_steps(page.switch)(state, position, request.session_hash):
            if isinstance(told, str | Step):
                yield board.meanwhile(state, told)
            else:
                chosen = look_choices(state, page.known, told[0])
                yield board.update(after_switch(state, *told) | chosen)

    for number, button in enumerate(board.examples):
        board.react(button.click, open_example, gr.State(number), board.everything)
    board.react(
        parts["switch"].click,
        switch_direction,
        [parts["session"], parts["slider"]],
        board.everything,
    )


def on_truth(board: Board) -> None:
    """The reader gives the real image, or takes it back."""
    page, parts = board.page, board.parts

    @in_one_sentence
    def load_truth(state: Any, files: Any, to: str) -> dict:
        return board.update(after_truth(state, page.load_truth(state, files, to)))

    @in_one_sentence
    def take_companion(state: Any, to: str) -> dict:
        return board.update(after_truth(state, page.take_companion(state, to)))

    @in_one_sentence
    def remove_truth(state: Any) -> dict:
        return board.update(after_truth(state, page.drop_truth(state)))

    board.react(
        parts["truth_upload"].upload,
        load_truth,
        [parts["session"], parts["truth_upload"], parts["direction"]],
        board.everything,
        preprocess=False,
        show_progress_on=parts["truth_message"],
        **OPENING,
    )
    board.react(
        parts["companion"].click,
        take_companion,
        [parts["session"], parts["direction"]],
        board.everything,
        **OPENING,
    )
    board.react(
        parts["drop_truth"].click,
        remove_truth,
        parts["session"],
        board.everything,
        show_progress_on=parts["truth_message"],
    )


def on_look(board: Board) -> None:
    """The reader chooses a look, or gives a slice that has it: the shown slice is drawn anew."""
    page, parts = board.page, board.parts

    def follow(steps: Callable) -> Callable:
        def following(
            state: Any, wanted: Any, to: str, position: int, request: gr.Request
        ) -> Iterator[dict]:
            for told in in_steps(steps)(state, wanted, to, position, request.session_hash):
                if isinstance(told, Step):
                    yield board.update(after_look(state, told, page.known, to))
                else:
                    yield board.meanwhile(state, told)

        return following

    for part, listen, steps, options in (
        ("look", parts["look"].input, page.choose_look, {}),
        (
            "look_upload",
            parts["look_upload"].upload,
            page.load_look,
            # The browser knows by this name that files are being read.
            {"preprocess": False, "api_name": "load_look"},
        ),
    ):
        board.react(
            listen,
            follow(steps),
            [parts["session"], parts[part], parts["direction"], parts["slider"]],
            board.in_step,
            **options,
        )


def on_translating(board: Board) -> None:
    """The reader has a slice or a volume translated, or stops it."""
    page, parts = board.page, board.parts
    wanted = [parts["session"], parts["direction"], parts["slider"]]

    def translator_of(steps: Callable) -> Callable:
        def translating(state: Any, to: str, position: int, request: gr.Request) -> Iterator[dict]:
            for told in in_steps(steps)(state, to, position, request.session_hash):
                yield board.meanwhile(state, told)

        return translating

    board.react(parts["translate"].click, translator_of(page.translate), wanted, board.in_step)
    board.react(
        parts["translate_all"].click,
        translator_of(page.translate_all),
        wanted,
        board.in_step,
        show_progress="hidden",  # the steps show their own
        show_progress_on=None,
        **ON_VOLUME,
    )
    parts["cancel"].click(page.cancel, parts["session"], None, queue=False, **PRIVATE)


def on_browsing(board: Board) -> None:
    """The reader goes to another slice."""
    page, parts = board.page, board.parts

    @in_one_sentence
    def show_slice(state: Any, position: int, is_kept: bool, request: gr.Request) -> Any:
        return page.show_slice(state, position, is_kept, request.session_hash) or gr.skip()

    board.react(
        parts["slider"].input,
        show_slice,
        [parts["session"], parts["slider"], board.kept],
        parts["viewer"],
        js=WITH_KEPT,
        trigger_mode="always_last",
        show_progress="hidden",
        show_progress_on=None,
    )


def on_saving(board: Board) -> None:
    """The reader saves a slice or all of the result."""
    page, parts = board.page, board.parts
    file_to_save = parts["file_to_save"]

    @in_one_sentence
    def save_slice(state: Any, position: int, seen: str, request: gr.Request) -> dict:
        step = page.save_slice(state, position, seen, request.session_hash)
        return board.update(after_step(state, step, line="saved"))

    def saver(kind: str) -> Callable:
        def save(state: Any, position: int, seen: str, request: gr.Request) -> Iterator[dict]:
            steps = in_steps(page.save_whole)
            for step in steps(state, kind, position, seen, request.session_hash):
                yield board.update(after_step(state, step, line="saved"))

        return save

    for button, save, where in (
        (parts["png"], save_slice, ON_MODEL),
        *((parts[kind], saver(kind), ON_VOLUME) for _, kind in SAVES),
    ):
        button.click(
            save,
            [parts["session"], parts["slider"], board.window],
            board.in_step,
            js=WITH_WINDOW,
            show_progress="hidden",
            **where,
        ).success(None, file_to_save, file_to_save, js=SAVE_FILE, **PRIVATE)


def on_coming(board: Board, app: gr.Blocks) -> None:
    """The reader opens the page: the switch is drawn as it was left."""
    app.load(None, None, board.parts["at_once"], js=AT_ONCE, **PRIVATE)


def on_leaving(board: Board, app: gr.Blocks) -> None:
    """The reader closes the tab."""

    def forget(request: gr.Request) -> None:
        board.page.forget(request.session_hash)
        gradio_private.forget_session(app, request.session_hash)
        memory.give_back()

    app.unload(forget)


def load_page(weights: str) -> Page:
    """The page's logic around the weights in the folder, or Hub repository, `weights`.

    Raises:
        CheckpointError: no usable weights there.
    """
    folder = weights_folder(weights)
    translator = Translator.from_pretrained(folder)
    try:
        check = InputCheck.from_pretrained(folder)
    except CheckpointError as error:  # one's own weights may have none; the page says so
        check = str(error).replace(str(folder), folder.name)  # no path of the server
    calibration = Calibration.from_pretrained(folder, translator.checksum)
    known = KnownStyles.from_pretrained(folder, translator.checksum)
    styles_missing = known.missing if translator.has_styles else ""
    for missing in (check if isinstance(check, str) else "", calibration.missing, styles_missing):
        if missing:
            log.warning("%s: %s", weights, missing)
    return Page(translator, get_upload_folder(), check, calibration, known)


def create_app(weights: str = "weights") -> gr.Blocks:
    """Build the page around the weights in the folder, or Hub repository, `weights`.

    Raises:
        CheckpointError: no usable weights there.
    """
    page = load_page(weights)
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
        with gr.Row(elem_id="top"):
            gr.HTML(INTRODUCTION, elem_id="masthead", apply_default_css=False)
            controls, examples = place_controls()
        parts = {"session": session, "file_to_save": file_to_save, **controls}
        for place in (place_messages, place_viewer, place_truth):
            parts |= place()
        parts |= place_look(page) | place_downloads()
        board = Board(page, parts, examples, window, kept)
        on_api(page)  # first, or the button's handler takes the name
        for listen in (
            on_opening,
            on_direction,
            on_examples_and_switch,
            on_truth,
            on_look,
            on_translating,
            on_browsing,
            on_saving,
        ):
            listen(board)
        on_coming(board, app)
        on_leaving(board, app)

    save_upload = gradio_private.saver(app, route_utils.upload_fn, file_upload_statuses)
    app.routes_in_memory = [  # type: ignore[attr-defined] # an attribute of ours
        receiving.route(page.uploads, save_upload),
        route(page.outbox),
        *routes(page.slices),
    ]
    return app.queue(max_size=limits.QUEUE, api_open=False)  # no way past the queue


# The server


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
        "head": f"<style>{viewer_files.style()}{thumbnails()}</style>",
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
            "routes": app.routes_in_memory,  # type: ignore[attr-defined]
            "middleware": [
                Middleware(SecurityHeaders),
                Middleware(Gate, waiting=partial(gradio_private.waiting, app), server=app.app_id),
                Middleware(Streams),
                Middleware(FirstScript, script=viewer_files.first_script()),
            ],
        },
    }


def port(text: str) -> int:
    """The option `--port`."""
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise argparse.ArgumentTypeError(f"{text}: a port is a number from 1 to 65535")
    return int(text)


def root_path(text: str) -> str:
    """The option `--root-path`, without a slash at its end."""
    if not re.fullmatch(r"(/[\w.~-]+)*/?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text}: a path begins with a slash, such as /brain")
    return text.rstrip("/")


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
        help="path of the page behind a proxy, such as /brain (default: /); see docs/hosting.md",
    )
    parser.add_argument("--weights", default="weights", help="folder with the model's weights")
    arguments = parser.parse_args()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    # Gradio makes a table of the last requests, 10,000 by default, after each one, for a dashboard
    # that is closed here.
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
    host = arguments.host or os.environ.get("GRADIO_SERVER_NAME")
    if host is None and os.environ.get("SPACE_ID"):
        host = "0.0.0.0"  # a Space is reached through its proxy
    parent = os.environ.get("GRADIO_TEMP_DIR")
    try:
        arguments.port = free_port(host, arguments.port)
        os.environ["GRADIO_TEMP_DIR"] = str(claim_folder(parent))
    except StartError as error:
        parser.error(str(error))
    except OSError as error:
        variable = f"GRADIO_TEMP_DIR={parent}" if parent else "TMPDIR"
        parser.error(
            f"{variable}: no folder for temporary files can be made there "
            f"({error.strerror or error}); set GRADIO_TEMP_DIR to a folder that can be written to."
        )
    # What a container is stopped with; Gradio closes in order, and uploads are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    memory.few_pools()
    gradio_private.refuse_what_does_not_fit(route_utils, gr.Error)
    try:
        app = create_app(arguments.weights)
    except CheckpointError as error:
        parser.error(str(error))
    with without_proxies():
        app.launch(
            server_name=host,
            server_port=arguments.port,
            root_path=arguments.root_path,
            **launch_options(app),
        )


if __name__ == "__main__":
    main()
