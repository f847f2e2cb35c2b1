"""The API's response: one file in, images and how far to trust them out, as JSON."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

import numpy as np

from cyclegan import CONTRASTS
from cyclegan.export.provenance import CAVEAT, SOURCE_TYPE
from cyclegan.reading.volume import without_quoted
from cyclegan.server import limits, queue
from cyclegan.server.errors import UserError, within
from cyclegan.server.measurements import NOT_A_DEVICE, SliceTrust, measure
from cyclegan.server.saving import refuse_large
from cyclegan.server.series import Series, View
from cyclegan.server.translation import BATCH, translated

if TYPE_CHECKING:
    from cyclegan.reading.volume import Volume
    from cyclegan.server.models import Model

PARTS = ("everything", "translation")  # that a program may ask for


class TranslateResponse(TypedDict):
    """What the API answers. Images are base64 of little-endian float32 in [0, 1] of `shape`.

    Attributes:
        to: the contrast of `translated`.
        shape: slices, rows, columns.
        spacing: mm between slices, rows and columns, or null.
        directions: of the left, right, top and bottom edge, or null.
        notes: what was noticed in reading, without names of files and values of headers.
        input_check: what the input looks like. text: in words; warns: whether that speaks against
            the direction; label: "T1", "T2", "other" or "not a brain slice"; probabilities: of each
            label.
        version, checksum: of the model; the checksum is its SHA-256.
        digital_source_type: IPTC's word for what a model made.
        caveat: to be shown with the images.
        translated: the synthetic images.
        source: the input, scaled as the model sees it. This and the rest: not with `parts`
            "translation".
        reconstructed: the synthetic images translated back.
        slices: of each slice, how far to trust it. numbers: each with name, value and its usual
            range in subjects; true_error: ssim, psnr in dB and mae in the head against `truth`, or
            null; true_error_of_another_place: whether `truth`, by its pixels, shows another place;
            report: all of it as text.
        uncertainty: a map like `source`, or null; uncertainty_help: what it is worth.
        expected_ranges_missing: why there are no usual ranges, or null.
    """

    to: str
    shape: list[int]
    spacing: list[float] | None
    directions: list[str] | None
    notes: list[str]
    input_check: dict[str, Any]
    version: str
    checksum: str
    digital_source_type: str
    caveat: str
    translated: str
    source: NotRequired[str]
    reconstructed: NotRequired[str]
    slices: NotRequired[list[dict[str, Any]]]
    uncertainty: NotRequired[str | None]
    uncertainty_help: NotRequired[str]
    expected_ranges_missing: NotRequired[str | None]


def encode_float32(image: np.ndarray) -> str:
    """Base64 of `image` as little-endian float32, last axis fastest."""
    return base64.b64encode(np.ascontiguousarray(image, dtype="<f4").tobytes()).decode("ascii")


def translate_file(
    model: Model,
    read: Callable[[Any], Volume],
    file: Any,
    to: str,
    truth: Any = None,
    parts: str | None = "everything",
    reference: Any = None,
) -> TranslateResponse:
    """Translate a file to the contrast `to`, and back unless `parts` is "translation".

    Args:
        model: translates.
        read: gives the volume of an uploaded file, whatever stands for one.
        file, to, truth, parts, reference: as the API's help has them.

    Raises:
        ReadError: a file cannot be read.
        UserError: anything else that the caller can put right, or it took too long.
    """
    parts = parts or "everything"  # callers that leave it out may send null
    with within(limits.API_S, "This request"):
        volume = read(file)
        real = None if truth is None else read(truth)
        style = None if reference is None else read(reference)
        if to not in CONTRASTS:
            raise UserError('`to` must be "T1" or "T2".')
        if parts not in PARTS:
            raise UserError(f"`parts` must be one of {', '.join(PARTS)}.")
        if parts == "translation" and real is not None:
            raise UserError('A real image is compared with `parts` "everything" only.')
        series = Series(model, volume, to, unchecked=model.unchecked)
        refuse_large(series, limits.API_VOXELS)
        series.check = model.assess(volume.pixels, volume.pixel_spacing)
        if real is not None:
            series.real = series.compare_with(real, to)
        if style is not None:
            series.styles[to] = model.own_style(style, to)
        return cast(TranslateResponse, _description(series) | _images(series, parts))


def _description(series: Series) -> dict[str, Any]:
    """What a response says of its source and of the model."""
    volume, check, fit, translator = (
        series.volume,
        series.check,
        series.fit,
        series.model.translator,
    )
    return {
        "to": series.to,
        "shape": list(volume.pixels.shape),
        "spacing": list(volume.spacing) if volume.spacing else None,
        "directions": list(volume.directions) if volume.directions else None,
        "notes": [without_quoted(note) for note in volume.notes],
        "input_check": {
            "text": fit.sentence,
            "warns": fit.warns,
            "label": check and check.label,
            "probabilities": check and check.probabilities,
        },
        "version": translator.version,
        "checksum": translator.checksum,
        "digital_source_type": SOURCE_TYPE,
        "caveat": f"{CAVEAT} {NOT_A_DEVICE}",
    }


def _images(series: Series, parts: str) -> dict[str, Any]:
    slices, translator, turns = range(series.slices), series.model.translator, series.model.queue
    batches = [list(slices[start : start + BATCH]) for start in slices[::BATCH]]
    if parts == "translation":
        options = {"to": series.to, "prepared": series.prepared, "style": series.style}
        pixels = [series.volume.pixels[batch] for batch in batches]
        work = [partial(translator.translate, batch, **options) for batch in pixels]
        images = [turns.run(each, queue.BACKGROUND) for each in work]
        return {"translated": encode_float32(np.concatenate(images))}
    view = View.of(series)
    for batch in batches:
        results = turns.run(partial(translated, series, view.target, batch), queue.BACKGROUND)
        for index, result in results.items():
            series.results.add(view.target, index, result)
    images = {name: encode_float32(image) for name, image in vars(view.whole()).items()}
    return images | _trust(view)


def _trust(view: View) -> dict[str, Any]:
    """How far to trust each slice: numbers, uncertainty map, true error, reports."""
    model, to = view.series.model, view.target.to
    slices, maps = [], []
    for index in range(view.series.slices):
        measured = model.queue.run(partial(measure, view, index), queue.MEASURING)
        trust = SliceTrust(view, index, measured)
        slices.append(
            {
                "numbers": trust.readings,
                "true_error": trust.error,
                "true_error_of_another_place": trust.is_elsewhere,
                "report": trust.report(),
            }
        )
        empty = np.zeros(view.series.volume.pixels.shape[1:])
        maps.append(empty if measured.map is None else measured.map)
    has_map = model.calibration.map_name(to) is not None
    return {
        "slices": slices,
        "uncertainty": encode_float32(np.stack(maps)) if has_map else None,
        "uncertainty_help": model.calibration.map_words(to),
        "expected_ranges_missing": model.calibration.missing or None,
    }
