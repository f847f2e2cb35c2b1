"""Which parts the page has and where they are; what they do is in `app.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from cyclegan.examples import EXAMPLES
from cyclegan.status import status

VIEWER = Path(__file__).parent / "cyclegan" / "viewer"
SCRIPTS = ("viewer", "findings", "controls")  # one function body; the last one starts it
DIRECTIONS = [("T1 → T2", "T2"), ("T2 → T1", "T1")]
SAVES = (("NIfTI", "nifti"), ("DICOM", "dicom"), ("Everything (zip)", "everything"))
INTRODUCTION = """<h1>T1 ↔ T2 brain MRI translation</h1>
<p>Drop in an axial brain slice, volume or series and compare it with its synthetic counterpart and
the cycle back. Files are read in memory and deleted at once.</p>"""


def lay_out() -> tuple[dict[str, Any], list[gr.Button]]:
    """Put the parts on the page, inside `gr.Blocks`.

    Returns:
        The parts by the names that `cyclegan.controls` uses, and the buttons of the examples.
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
