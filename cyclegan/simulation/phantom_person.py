"""What makes one phantom head differ from the next: proportions, tilt and 3-D noise fields."""

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


@dataclass(frozen=True)
class Person:
    """Random anatomy of one head. Lengths in mm, angles in radians."""

    scale: np.ndarray  # (2,) head size along x and y relative to the atlas
    yaw: float
    pitch: float
    roll: float
    egg: float  # how much wider the back of the head is than the front
    lean: float  # left-right asymmetry of the outline
    atrophy: float  # 0 young, 1 wide sulci and ventricles
    ventricle_side: np.ndarray  # (2,) ventricle size left, right
    cortex: float  # grey matter thickness
    skull: float
    scalp: float
    folds: Noise
    small_folds: Noise
    fold_depth: Noise
    warp_x: Noise
    warp_y: Noise
    broad: Noise
    fine: Noise

    @classmethod
    def from_seed(cls, seed: int) -> "Person":
        rng = np.random.default_rng(seed)
        size = rng.uniform(0.9, 0.98)
        scale = size * np.array([rng.uniform(0.95, 1.04), rng.uniform(0.96, 1.04)])
        return cls(
            scale=scale,
            yaw=rng.normal(0, 0.035),
            pitch=rng.normal(0, 0.05),
            roll=rng.normal(0, 0.02),
            egg=rng.uniform(0.05, 0.14),
            lean=rng.normal(0, 0.012),
            atrophy=rng.beta(1.3, 2.2),
            ventricle_side=rng.normal(1, 0.06, 2),
            cortex=rng.uniform(2.5, 3.3),
            skull=rng.uniform(4.5, 7.5),
            scalp=rng.uniform(3.5, 6.5),
            folds=Noise(rng, 5.0, band_pass=True),
            small_folds=Noise(rng, 3.6, band_pass=True),
            fold_depth=Noise(rng, 13.0),
            warp_x=Noise(rng, 10.0),
            warp_y=Noise(rng, 10.0),
            broad=Noise(rng, 30.0),
            fine=Noise(rng, 4.0),
        )

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
