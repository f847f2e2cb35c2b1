"""Pictures that are no brain slice, from code alone: what the input check must reject.

Each takes a numpy random generator and a side in pixels and returns (size, size) float32 in
[0, 1]. None is a photograph; textures follow what is known of natural images: a 1/f spectrum (Field
1987) and occlusion (dead leaves, Lee, Mumford & Huang 2001).
"""

from __future__ import annotations

import string

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage


def spectral_noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Noise whose amplitude falls as 1 / frequency^a, a in [0, 2.2]; a = 0 is white noise."""
    stretch = rng.uniform(0.5, 2)  # grass and wood have a direction
    along = np.hypot(np.fft.fftfreq(size)[:, None] * stretch, np.fft.rfftfreq(size)[None])
    along[0, 0] = 1 / size
    exponent = rng.choice([0.0, rng.uniform(0.4, 1.2), *rng.uniform(1.2, 2.2, 2)])
    white = rng.standard_normal((size, size // 2 + 1, 2)) @ np.array([1, 1j])
    return _stretch(np.fft.irfft2(white / along**exponent, (size, size)))


def dead_leaves(rng: np.random.Generator, size: int) -> np.ndarray:
    """Discs, boxes and polygons that hide one another, each with its own shade and texture."""
    picture = rng.uniform(0, 1) * np.ones((size, size), np.float32)
    texture = spectral_noise(rng, size) - 0.5
    rough = rng.uniform(0, 0.8)
    for _ in range(int(rng.integers(8, 120))):
        radius = size * min(0.5, 0.03 * (1 - rng.random()) ** -0.6)
        mask = _shape(rng, size, rng.uniform(0, size, 2), radius)
        shade = rng.uniform(0, 1) + rough * np.roll(texture, rng.integers(size, size=2), (0, 1))
        picture = np.where(mask, shade, picture)
    return _stretch(ndimage.gaussian_filter(picture, rng.uniform(0.3, 1.2)))


def text_page(rng: np.random.Generator, size: int) -> np.ndarray:
    """Lines of random words between boxes, dark on light or light on dark, lit evenly or not."""
    canvas = Image.new("L", (size, size), 255)
    pen = ImageDraw.Draw(canvas)
    height = int(rng.integers(7, max(9, size // 5)))
    font = ImageFont.load_default(height)
    top = float(rng.uniform(0, height))
    left = float(rng.uniform(0, size / 6))
    while top < size:
        pen.text((left, top), _words(rng, int(rng.integers(1, 60))), fill=0, font=font)
        top += height * rng.uniform(1.1, 1.6)
        if rng.random() < 0.2:
            corners = np.sort(rng.uniform(0, size, (2, 2)), 0).ravel().tolist()
            pen.rectangle(corners, fill=int(rng.integers(256)), outline=0)
    picture = np.asarray(canvas, np.float32) / 255
    if rng.random() < 0.4:
        picture = 1 - picture
    if rng.random() < 0.5:
        picture = picture * (0.4 + spectral_noise(rng, size))
    return _stretch(ndimage.rotate(picture, rng.uniform(-8, 8), reshape=False, mode="nearest"))


def object_on_black(rng: np.random.Generator, size: int) -> np.ndarray:
    """One object on black, as a scanner shows phantoms, fruit and other parts of the body.

    A check that took every bright oval for a head would be no check.
    """
    centre = size / 2 + rng.uniform(-0.05, 0.05, 2) * size
    radius = size * rng.uniform(0.25, 0.46)
    mask = _oval(rng, size, centre, radius)
    kind = rng.integers(3)
    if kind == 0:
        inside = rng.uniform(0.2, 1) + rng.uniform(0, 0.4) * (spectral_noise(rng, size) - 0.5)
    elif kind == 1:
        inside = dead_leaves(rng, size)
    else:  # organs in a trunk, bones in a limb
        inside = np.full((size, size), rng.uniform(0.2, 0.6), np.float32)
        for _ in range(int(rng.integers(2, 12))):
            where = centre + rng.normal(0, 0.45, 2) * radius
            part = _oval(rng, size, where, radius * rng.uniform(0.1, 0.5))
            shade = rng.uniform(0, 1) + rng.uniform(0, 0.2) * (spectral_noise(rng, size) - 0.5)
            inside = np.where(part, shade, inside)
    if rng.random() < 0.5:  # skin and fat
        rim = mask & ~ndimage.binary_erosion(mask, iterations=int(rng.integers(2, 10)))
        inside = np.where(rim, rng.uniform(0.5, 1.2), inside)
    picture = ndimage.gaussian_filter(np.where(mask, inside, 0), rng.uniform(0.3, 1.2))
    return _stretch(picture, low=0)


KINDS_OF_PICTURES = (spectral_noise, dead_leaves, text_page, object_on_black)
SHARES = (0.2, 0.35, 0.15, 0.3)  # ovals and textures more often than what is easy to tell


def sample_negative(rng: np.random.Generator, size: int = 192) -> np.ndarray:
    """Sample any of the above, with the probabilities of `SHARES`.

    Returns:
        (h, w) float32 in [0, 1]; the longer side is `size`, the shorter at least 60 % of it.
    """
    picture = KINDS_OF_PICTURES[rng.choice(len(SHARES), p=SHARES)](rng, size)
    shorter = int(size * rng.uniform(0.6, 1)) if rng.random() < 0.5 else size
    picture = picture[:shorter]
    return np.ascontiguousarray(picture.T if rng.random() < 0.5 else picture, np.float32)


def mosaic(rng: np.random.Generator, slices: np.ndarray, size: int = 192) -> np.ndarray:
    """Several slices in one picture, as a lightbox shows them.

    Args:
        slices: (N, S, S) in [0, 1].

    Returns:
        (size, size) float32, two to five slices a side.
    """
    count = int(rng.integers(2, 6))
    cell = size // count
    picture = np.zeros((size, size), np.float32)
    for row in range(count):
        for column in range(count):
            one = slices[rng.integers(len(slices))]
            small = Image.fromarray(np.float32(one)).resize((cell, cell), Image.Resampling.BILINEAR)
            picture[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = small
    return picture


def _stretch(picture: np.ndarray, low: float | None = None) -> np.ndarray:
    """To [0, 1] by the extremes; by zero and the maximum with `low=0`."""
    low = float(picture.min()) if low is None else low
    spread = max(float(picture.max()) - low, 1e-6)
    return np.clip((picture - low) / spread, 0, 1).astype(np.float32)


def _words(rng: np.random.Generator, count: int) -> str:
    letters = np.array(list(string.ascii_letters + string.digits + ".,;-"))
    return " ".join("".join(rng.choice(letters, rng.integers(1, 11))) for _ in range(count))


def _shape(rng: np.random.Generator, size: int, centre: np.ndarray, radius: float) -> np.ndarray:
    """A disc, an ellipse, a box or a polygon: (size, size) bool."""
    if rng.random() < 0.4:
        return _oval(rng, size, centre, radius)
    corners = int(rng.integers(3, 8))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    points = centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    canvas = Image.new("1", (size, size))
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in points], fill=1)
    return np.asarray(canvas)


def _oval(rng: np.random.Generator, size: int, centre: np.ndarray, radius: float) -> np.ndarray:
    """A turned, slightly lumpy ellipse: (size, size) bool."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    y, x = y - centre[1], x - centre[0]
    turn, ratio = rng.uniform(0, np.pi), rng.uniform(0.6, 1)
    u, v = np.cos(turn) * x + np.sin(turn) * y, (np.cos(turn) * y - np.sin(turn) * x) / ratio
    angle = np.arctan2(v, u)
    lumps = sum(
        rng.normal(0, 0.04) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5)
    )
    return np.hypot(u, v) < radius * (1 + lumps)
