"""A phantom's proportions, tilt and noise; its skull, scalp, eyes and face, outside the brain."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

FIELD_OF_VIEW_MM = 256.0
NOISE_X_MM = 100.0  # half width of the noise lattices
NOISE_Y_MM = 125.0
NOISE_Z_MM = 90.0


class Noise:
    """Smooth 3-D random field with a chosen grain, evaluated on tilted or warped planes.

    Random coefficients of a cubic B-spline on a lattice: cheap to cut at any height, and smooth.
    """

    def __init__(self, rng: np.random.Generator, grain: float, band_pass: bool = False):
        """`grain`: lattice spacing in mm. `band_pass` keeps waves of about 4.5 grains only, so
        that the zero crossings stay evenly apart, like sulci."""
        self.grain = grain
        extent = (NOISE_Z_MM, NOISE_Y_MM, NOISE_X_MM)
        coefficients = rng.standard_normal([int(2 * e / grain) + 6 for e in extent], np.float32)
        if band_pass:
            wide = ndimage.gaussian_filter(coefficients, 1.1, truncate=3)
            coefficients = ndimage.gaussian_filter(coefficients, 0.8, truncate=3) - wide
        self.coefficients = coefficients / (0.05 if band_pass else 0.33)

    def at(self, x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
        """Field at (x, y) mm, arrays of one shape, on the plane z mm; standard deviation near 1."""
        height = (z + NOISE_Z_MM) / self.grain + 2
        floor = int(height)
        t = height - floor
        weights = np.array(
            [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3],
            np.float32,
        )
        plane = np.tensordot(weights / 6, self.coefficients[floor - 1 : floor + 3], 1)
        where = [(y + NOISE_Y_MM) / self.grain + 2, (x + NOISE_X_MM) / self.grain + 2]
        return ndimage.map_coordinates(plane, where, order=3, prefilter=False, mode="nearest")


@dataclass(frozen=True)
class Grid:
    """Pixel centres of the part of a slice that can hold a head.

    x, y, z: (h, w) float32 mm in the person's frame; plane: height of the slice in mm;
    pixel: pixel side in mm; box and size say where the part lies in the full picture.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    plane: float
    pixel: float
    box: tuple[slice, slice]
    size: int

    def paste(self, labels: np.ndarray) -> np.ndarray:
        """Put (h, w) labels back into the (size, size) picture."""
        full = np.zeros((self.size, self.size), np.uint16)
        full[self.box] = labels
        return full


class Person:
    """Random anatomy of one head. Lengths in mm, angles in radians."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        size = rng.uniform(0.9, 0.98)
        # Along x and y, relative to the atlas.
        self.scale = size * np.array([rng.uniform(0.95, 1.04), rng.uniform(0.96, 1.04)])
        self.yaw = rng.normal(0, 0.035)
        self.pitch = rng.normal(0, 0.05)
        self.roll = rng.normal(0, 0.02)
        self.egg = rng.uniform(0.05, 0.14)  # how much wider the head is at its back
        self.lean = rng.normal(0, 0.012)  # left-right asymmetry of the outline
        self.atrophy = rng.beta(1.3, 2.2)  # 0 young, 1 wide sulci and ventricles
        self.ventricle_side = rng.normal(1, 0.06, 2)  # size of the left and the right one
        self.cortex = rng.uniform(2.5, 3.3)  # thickness of the grey matter
        self.skull = rng.uniform(4.5, 7.5)
        self.scalp = rng.uniform(3.5, 6.5)
        self.folds = Noise(rng, 5.0, band_pass=True)
        self.small_folds = Noise(rng, 3.6, band_pass=True)
        self.fold_depth = Noise(rng, 13.0)
        self.warp_x = Noise(rng, 10.0)
        self.warp_y = Noise(rng, 10.0)
        self.broad = Noise(rng, 30.0)
        self.fine = Noise(rng, 4.0)

    def grid(self, height: float, size: int, centre_y: float) -> Grid:
        """Grid of the slice `height` mm over the anterior commissure, tilted as the head lies.

        Raises ValueError for a size below 32.
        """
        if size < 32:
            raise ValueError(f"size {size} is too small to hold a head; use 32 or more")
        pixel = FIELD_OF_VIEW_MM / size
        rows = np.arange(size, dtype=np.float32)
        half_x, half_y = 96.0 / pixel, 120.0 / pixel
        middle = (size - 1) / 2
        box = tuple(
            slice(max(0, int(middle - half)), min(size, int(middle + half) + 2))
            for half in (half_y, half_x)
        )
        v = -(rows[box[0], None] - middle) * pixel + centre_y
        u = (rows[None, box[1]] - middle) * pixel
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        x = (cos * u - sin * v) / self.scale[0]
        y = (sin * u + cos * v) / self.scale[1]
        x = x + self.lean * y
        z = height + self.pitch * (y + 15) + self.roll * x  # (h, w)
        x, y, z = (np.ascontiguousarray(a, np.float32) for a in np.broadcast_arrays(x, y, z))
        return Grid(x, y, z, height, pixel, box, size)


EYE_FLUID, FAT, MUCOSA, MUSCLE, MARROW, BONE, SKIN = 506, 508, 509, 511, 514, 515, 516
WHITE = 2  # the optic nerve
PETROUS_RIDGE = (17.0, -16.0), (72.0, -40.0)  # (x, y) mm of apex and mastoid end, one side


def smooth_step(value: np.ndarray, start: float, stop: float) -> np.ndarray:
    """0 at `start`, 1 at `stop`, smooth between; same shape as `value`."""
    t = np.clip((value - start) / (stop - start), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def near_segment(
    x: np.ndarray, y: np.ndarray, start: tuple[float, float], stop: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distance in mm from each point to the segment, and where along it (0 to 1)."""
    dx, dy = stop[0] - start[0], stop[1] - start[1]
    t = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - start[0] - t * dx, y - start[1] - t * dy), t


def _egg(person: Person, grid: Grid, down: float) -> np.ndarray:
    """Depth in mm under an egg-shaped brain case, negative outside.

    `down`: vertical radius below the widest level; above it the case closes at the vertex.
    """
    t = (grid.y + 16) / 89
    half_width = 68.5 * (1 - person.egg * t - 0.05 * t * t)
    vertical = np.where(grid.z > 8, (grid.z - 8) / 71, (8 - grid.z) / down)
    radius = (np.abs(grid.x / half_width) ** 2.3 + np.abs(t) ** 2.3) ** (2 / 2.3)
    radius = np.sqrt(radius + np.abs(vertical) ** 2.3)
    return (1 - radius) * 76 + 0.9 * person.broad.at(grid.x, grid.y, grid.plane)


def cranial_cavity(person: Person, grid: Grid) -> np.ndarray:
    """Depth in mm under the inner table of the skull, (h, w) float32; positive inside."""
    x, y, z = np.abs(grid.x), grid.y, grid.z
    depth = _egg(person, grid, 92.0)
    # Floor of the anterior fossa: the orbital roofs rise beside the cribriform plate.
    floor = -27 - 0.2 * (y - 45) + 10 * smooth_step(x, 10, 28) * smooth_step(y, 20, 40)
    # Lesser wings: in front of them the cavity ends at that floor, behind them in the middle fossa.
    wing = 24 - 0.016 * (x - 42) ** 2
    body = -9 + 0.45 * (z + 20)  # back of the clivus, sloping forward as it rises
    wall = np.where(x < 30, body + (wing - body) * smooth_step(x, 12, 24), wing)
    front = np.maximum(wall - y, 4 * (z - floor))
    sella = np.maximum(front, np.minimum(z + 22 - 0.012 * x * x, 40 - y))
    depth = np.minimum(depth, sella)
    ridge, along = near_segment(x, y, *PETROUS_RIDGE)
    petrous = ridge - np.clip((-29 - z) * 0.9, -60, 9) * (0.7 + 0.6 * along)
    return np.minimum(depth, petrous).astype(np.float32)


def head_surface(person: Person, grid: Grid) -> np.ndarray:
    """Depth in mm under the skin, (h, w) float32; positive inside the head."""
    x, y, z = np.abs(grid.x), grid.y, grid.z
    depth = _egg(person, grid, 150.0) + person.skull + person.scalp + 2
    low = smooth_step(z, -8, -30)
    face = 1 - ((x / 64) ** 2.6 + np.abs((y - 20) / 66) ** 2.6) ** (1 / 2.6)
    depth = np.where(low > 0, np.maximum(depth, face * 62 - 30 * (1 - low)), depth)
    bridge = 88 + 16 * smooth_step(z, -22, -44)
    nose = np.minimum(7 + 0.25 * (bridge - y) - x, bridge - y - 0.12 * x * x)
    nose = np.minimum(nose, y - 60)
    depth = np.where(z < -16, np.maximum(depth, np.minimum(nose, -16 - z)), depth)
    ear, _ = near_segment(x, y, (76.0, -18.0), (84.0, -33.0))
    return np.maximum(depth, np.where(z < -22, 3.4 - ear, -9)).astype(np.float32)


def draw_layers(person: Person, grid: Grid, head: np.ndarray, cranium: np.ndarray) -> np.ndarray:
    """Labels of everything between skin and cranial cavity, (h, w) uint16.

    head, cranium: depth maps of `head_surface` and `cranial_cavity`.
    """
    wave = person.broad.at(grid.x + 40, grid.y, grid.plane)
    speckle = person.fine.at(grid.x, grid.y, grid.plane)
    outside = -cranium  # mm from the inner table outwards
    temple = np.exp(-(((grid.y - 8) / 32) ** 2)) * smooth_step(np.abs(grid.x), 40, 58)
    roof = smooth_step(grid.y, 10, 25) * smooth_step(grid.z, -4, -16)
    skull = person.skull * (1 + 0.15 * wave) * (1 - 0.45 * temple * (grid.z < 30) - 0.5 * roof)
    skull = np.minimum(skull, np.maximum(head + outside - 2.5, 2.0))
    table = 1.2 + 0.1 * skull
    labels = np.where(head > 0, SKIN, 0)
    labels = np.where(head > 1.8 + 0.2 * wave, FAT, labels)
    deep = head > person.scalp + 0.8 * wave
    labels = np.where(deep & (grid.z < 38), MUSCLE, labels)
    strand = np.abs(speckle) < 0.10
    labels = np.where(deep & (labels == MUSCLE) & strand, FAT, labels)
    labels = np.where((outside < skull) & (head > 1.8), BONE, labels)
    marrow = (outside > table) & (outside < skull - table) & (speckle < 1.6)
    labels = np.where(marrow & (head > 1.8), MARROW, labels)
    if grid.z.min() < -8:
        labels = _draw_face(person, grid, head, cranium, labels, speckle)
    return labels.astype(np.uint16)


def _draw_face(
    person: Person,
    grid: Grid,
    head: np.ndarray,
    cranium: np.ndarray,
    labels: np.ndarray,
    speckle: np.ndarray,
) -> np.ndarray:
    """Orbits, sinuses, skull base and petrous bone, drawn over the plain layers."""
    x, y, z = np.abs(grid.x), grid.y, grid.z
    inside = (head > 2.0) & (cranium < 0)
    # Skull base: sphenoid and clivus, petrous pyramids with mastoid cells.
    base = inside & (x < 22) & (y > -20) & (y < 30) & (z < -14)
    labels = np.where(base, np.where(speckle > 1.2, BONE, MARROW), labels)
    labels = np.where(base & (-cranium < 1.6), BONE, labels)
    sphenoid = ((x / 13) ** 2 + ((y - 14) / 11) ** 2 + ((z + 32) / 11) ** 2) < 1
    labels = np.where(base & sphenoid, BONE, labels)
    septum = sphenoid & (np.abs(grid.x - 2) < 0.8)
    labels = np.where(base & septum, MUCOSA, labels)
    ridge, along = near_segment(x, y, *PETROUS_RIDGE)
    petrous = inside & (ridge < 10 + 5 * along) & (z < -24) & (head > 6)
    cells = np.where(speckle > 0.9, MUCOSA, BONE)
    labels = np.where(
        petrous, np.where(along < 0.45, np.where(ridge < 3, MARROW, BONE), cells), labels
    )
    # Orbit: a cone from the rim to the apex, fat inside, thin bone around.
    axis, t = near_segment(x, y, (31.0, 70.0), (12.0, 24.0))
    vertical = z + 35
    cone = np.hypot(axis, 0.75 * vertical) - (19 - 15 * t**1.3)
    orbit = inside & (cone < 0) & (y > 22) & (z < -13) & (-cranium > 1.6)
    wall = inside & (cone < 2.0) & (cone >= 0) & (y > 18) & (y < 68)
    labels = np.where(wall, BONE, labels)
    labels = np.where(orbit, FAT, labels)
    rectus = (np.abs(cone + 3.0) < 1.7) & (t > 0.15) & (y < 62)
    labels = np.where(orbit & rectus & ((np.abs(vertical) < 5) | (axis < 4)), MUSCLE, labels)
    nerve = np.hypot(axis, vertical) < 2.2
    labels = np.where(orbit & nerve & (t > 0.25), WHITE, labels)
    globe = np.sqrt((x - 31) ** 2 + (y - 63) ** 2 + vertical**2)
    labels = np.where((globe < 13.2) & (head > 1), MUSCLE, labels)
    labels = np.where((globe < 12.2) & (head > 1), EYE_FLUID, labels)
    lens = ((x - 31) / 4.6) ** 2 + ((y - 71) / 2.2) ** 2 + (vertical / 4.6) ** 2
    labels = np.where(lens < 1, MUSCLE, labels)
    # Ethmoid cells and nasal cavity between the orbits, septum in the middle.
    nasal_width = (5 + 6 * smooth_step(z, -20, -40)) * np.sqrt(
        np.clip(1 - ((y - 50) / 27) ** 2, 0, 1)
    )
    nasal = inside & (x < nasal_width) & (z < -20)
    labels = np.where(nasal, np.where(np.abs(speckle) < 0.35, MUCOSA, BONE), labels)
    labels = np.where(nasal & (np.abs(grid.x) < 1.0), MUCOSA, labels)
    # Frontal sinus above the nose.
    sinus = inside & (
        ((x - 8) / 9) ** 2 + ((y - 78) / 4) ** 2 + ((z + 14) / 9) ** 2 < 0.75 + 0.3 * speckle
    )
    return np.where(sinus, BONE, labels)
