"""Reads a saved PNG as a person does: the slice, the letters at its rim, the words and the bar."""

from __future__ import annotations

import io

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, ImageDraw, ImageFont

FONT = ImageFont.load_default(16)
LINE = 96  # grey of the line between the slice and the strip of words


class SavedPicture:
    """A PNG of `cyclegan.export.files.labelled_png`.

    Args:
        data: the file.
        shape: (rows, columns) of the slice, whose pixels are square.

    Attributes:
        slice: (rows, columns) in [0, 1]: what is shown, one value for each pixel of the slice.
        text: of the PNG's text chunks.
    """

    def __init__(self, data: bytes, shape: tuple[int, int]):
        with Image.open(io.BytesIO(data)) as image:
            assert image.mode == "L"
            self.text = dict(image.text)
            drawn = np.asarray(image)
        (end,) = np.flatnonzero((drawn == LINE).all(axis=1))
        self._shown, self._strip = drawn[:end], drawn[end + 1 :]
        # A slice that is narrower than its words lies in the middle.
        self._factor = end // shape[0]
        margin = (drawn.shape[1] - self._factor * shape[1]) // 2
        self._shown = self._shown[:, margin : margin + self._factor * shape[1]]
        self.slice = self._shown[:: self._factor, :: self._factor] / 255
        assert self.slice.shape == shape

    @property
    def letters(self) -> tuple[str, str]:
        """The letters at the left and the right edge, "" where there is none."""
        middle, half = len(self._shown) // 2, self._shown.shape[1] // 2
        band = self._shown[middle - 20 : middle + 20]
        edge = min(half, 40)
        return _letter(band[:, :edge], "lm"), _letter(band[:, -edge:], "rm")

    @property
    def mm_per_pixel(self) -> float | None:
        """Side of a pixel of the slice, from the length of the bar and the number beside it."""
        for line in self._lines():
            pixels = _longest_run(line)
            if pixels > 40:  # no letter has so long a stroke
                words = _ink(line[:, pixels + 4 :])
                (mm,) = [mm for mm in range(1, 400) if _same(words, f"{mm} mm")]
                return mm * self._factor / pixels
        return None

    def says(self, words: str) -> bool:
        """Whether a line of the strip is this, letter by letter."""
        return any(_same(line, words) for line in self._lines())

    def _lines(self) -> list[np.ndarray]:
        filled = np.flatnonzero(self._strip.any(axis=1))
        rows = np.split(filled, np.flatnonzero(np.diff(filled) > 1) + 1)
        return [_ink(self._strip[r[0] : r[-1] + 1]) for r in rows]


def _letter(edge: np.ndarray, anchor: str) -> str:
    """The one letter, white with a black rim, that is somewhere in (rows, columns); its `anchor`
    decides between which pixels it is drawn."""
    found = []
    for letter in "RLAPSI":
        canvas = Image.new("L", (40, 40), 96)
        ImageDraw.Draw(canvas).text(
            (20, 20), letter, 255, FONT, anchor=anchor, stroke_width=2, stroke_fill=0
        )
        drawn = np.asarray(canvas)
        rows, columns = (np.flatnonzero((drawn != 96).any(axis=axis)) for axis in (1, 0))
        drawn = drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        sure = (drawn == 255) | (drawn == 0)
        places = sliding_window_view(edge.astype(int), drawn.shape)[..., sure]
        if (abs(places - drawn[sure]) <= 2).all(axis=-1).any():  # nearly opaque, where it is thin
            found.append(letter)
    assert len(found) < 2, found
    return found[0] if found else ""


def _longest_run(line: np.ndarray) -> int:
    return max(len(run) for row in line for run in bytes(row == 255).split(b"\0"))


def _ink(pixels: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _same(line: np.ndarray, words: str) -> bool:
    canvas = Image.new("L", (int(FONT.getlength(words)) + 20, 40))
    ImageDraw.Draw(canvas).text((8, 8), words, 255, FONT)
    return np.array_equal(_ink(np.asarray(canvas)), line)
