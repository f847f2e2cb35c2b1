"""Label maps of random heads, drawn from code alone.

Everything lives in one coordinate frame: x to the right of the shown slice, y anterior, z superior,
millimetres from the anterior commissure, proportioned like the stereotaxic atlases (Talairach &
Tournoux 1988). A `Person` holds what differs between heads and the 3-D noise fields that shape
the folds, so every slice of one seed cuts the same head.
"""

import itertools
from dataclasses import replace

import numpy as np
from scipy import ndimage

from cyclegan.simulation.phantom_head import (
    Grid,
    Person,
    cranial_cavity,
    draw_layers,
    head_surface,
    near_segment,
    smooth_step,
)

LOWEST_MM, HIGHEST_MM = -36.0, 62.0  # height of level 0 and level 1 over the anterior commissure
CENTRE_Y_MM = -11.0  # the head, nose included, sits in the middle of the picture
WHITE, GREY, VENTRICLE, CSF = 2, 3, 4, 24
CEREBELLAR_WHITE, CEREBELLAR_GREY, BRAINSTEM = 7, 8, 16
THALAMUS, CAUDATE, PUTAMEN, PALLIDUM, VESSEL = 10, 11, 12, 13, 62

# Axis of the lateral ventricle, one side: (x, y, z, radius) in mm.
BODY = [
    (14, 35, 3, 2.5),
    (9, 24, 8, 5.0),
    (7, 8, 18, 5.0),
    (8, -10, 25, 5.0),
    (12, -26, 24, 5.5),
    (18, -34, 17, 5.0),
    (24, -42, 9, 5.5),
]
OCCIPITAL_HORN = [(24, -42, 9, 5.5), (25, -58, 7, 4.5), (19, -76, 6, 1.5)]
TEMPORAL_HORN = [(24, -42, 9, 5.0), (33, -32, -8, 3.0), (35, -16, -17, 2.5), (32, -6, -22, 1.5)]


def draw_slice(seed: int, level: float = 0.6, size: int = 256) -> np.ndarray:
    """Draw one axial slice of the head number `seed`.

    Args:
        seed: any non-negative integer; the same seed is the same person at every level.
        level: height in [0, 1]: 0 skull base with eyes and cerebellum, about 0.45 basal ganglia,
            about 0.6 bodies of the lateral ventricles, 1 near the vertex.
        size: side of the square matrix; the field of view is always 256 mm.

    Returns:
        (size, size) uint16 labels, anterior up: 0 air, 2 white matter, 3 cortex, 4 ventricles,
        24 other CSF, 7/8 cerebellar white/grey matter, 10 thalamus, 11 caudate, 12 putamen,
        13 pallidum, 16 brainstem, 62 vessel, 506 eye fluid, 508 fat, 509 mucosa, 511 muscle,
        514 marrow, 515 cortical bone and air cavities, 516 skin.

    Raises:
        ValueError: level outside [0, 1] or size below 32.
    """
    if not 0.0 <= level <= 1.0:
        raise ValueError(f"level {level} is outside [0, 1]")
    return _draw(Person(seed), level, size)


def draw_volume(seed: int, slices: int = 24, size: int = 256) -> np.ndarray:
    """Draw axial slices of the head number `seed`, evenly spaced from level 0 to level 1.

    Returns:
        (slices, size, size) uint16 labels as in `draw_slice`, lowest slice first.

    Raises:
        ValueError: fewer than one slice, or size below 32.
    """
    if slices < 1:
        raise ValueError(f"a volume needs at least one slice, not {slices}")
    person = Person(seed)
    return np.stack([_draw(person, z, size) for z in np.linspace(0.0, 1.0, slices)])


def _draw(person: Person, level: float, size: int) -> np.ndarray:
    grid = person.grid(LOWEST_MM + level * (HIGHEST_MM - LOWEST_MM), size, CENTRE_Y_MM)
    cranium = cranial_cavity(person, grid)
    labels = draw_layers(person, grid, head_surface(person, grid), cranium)
    return grid.paste(np.where(cranium > 0, _draw_brain(person, grid, cranium), labels))


def _ellipsoid(grid: Grid, centre: tuple, radii: tuple, slant: float = 0.0) -> np.ndarray:
    """Below 1 inside an ellipsoid on both sides of the midline; `slant`: mm x per mm y."""
    x = np.abs(grid.x) - centre[0] - slant * (grid.y - centre[1])
    return (
        (x / radii[0]) ** 2
        + ((grid.y - centre[1]) / radii[1]) ** 2
        + ((grid.z - centre[2]) / radii[2]) ** 2
    )


def _draw_brain(person: Person, grid: Grid, cranium: np.ndarray) -> np.ndarray:
    """Labels inside the cranial cavity, (h, w) uint16; pixels outside it hold no meaning.

    cranium: (h, w) depth in mm under the inner table.
    """
    warp_x = person.warp_x.at(grid.x, grid.y, grid.plane)
    warp_y = person.warp_y.at(grid.x, grid.y, grid.plane)
    warp = (warp_x, warp_y)
    rough = replace(grid, x=grid.x + 0.9 * warp_x, y=grid.y + 0.9 * warp_y)
    x, y, z = np.abs(rough.x), rough.y, grid.z
    tent = 3 - 0.6 * np.hypot(x, 10) - 0.3 * np.maximum(0, -45 - y)
    tent -= 0.7 * np.maximum(0, x - 8 + 1.1 * (38 + y))  # down to the petrous ridge
    low = smooth_step(z, -26, -38)
    lobes = np.minimum(
        _ellipsoid(rough, (24, -66, -40), (30, 31, 27)),
        _ellipsoid(rough, (0, -62, -28), (16, 28, 28)),
    )
    below = (lobes < 1.15 + 1.6 * low) & (y < -24) & (z < tent)
    gap = 1.0 + 3.5 * person.atrophy
    cerebrum = (cranium > gap) & ~below & ~_central_cistern(rough)
    labels = _draw_cerebrum(person, grid, cranium - gap, cerebrum, _fissures(person, rough), warp)
    labels = _draw_deep(person, rough, labels)
    if z.min() < 5:
        cerebellum = below & (lobes < 1.05 + 0.6 * low) & (cranium > 1.5) & (z < tent - 0.8)
        labels = _draw_hindbrain(person, rough, cerebellum, labels)
    return _draw_vessels(grid, cranium, labels)


def _central_cistern(grid: Grid) -> np.ndarray:
    """Space around brainstem and chiasm that the hemispheres leave free, bool."""
    ring = _ellipsoid(grid, (0, -22, -30), (21, 21, 24)) < 1
    chiasm = _ellipsoid(grid, (0, 0, -24), (11, 12, 16)) < 1
    quadrigeminal = _ellipsoid(grid, (0, -39, -4), (7, 5, 9)) < 1
    return ring | chiasm | quadrigeminal


def _fissures(person: Person, grid: Grid) -> np.ndarray:
    """Distance in mm to the interhemispheric and Sylvian fissures, (h, w)."""
    x, y, z = np.abs(grid.x), grid.y, grid.z
    middle = np.abs(grid.x - 0.8 * person.broad.at(0 * grid.x, grid.y, grid.plane))
    callosum = ((y + 4) / 38) ** 2 + ((z - 5) / 24) ** 2
    inside = np.where((callosum > 1) | (z > 29), 0, 99)
    fissure = np.hypot(middle, inside)
    # The Sylvian fissure runs back as it rises; the insula lies at its bottom.
    height = np.clip(np.abs(z - 4) - 11, 0, None)
    insula, _ = near_segment(x + 0.006 * (y - 2) ** 2, y, (39.0, 21.0), (40.0, -16.0))
    mouth = 2 - 1.0 * z
    stem, _ = near_segment(x, y - (mouth - 2) * smooth_step(x, 38, 56), (40.0, 2.0), (75.0, -2.0))
    stem = np.hypot(stem, np.clip(np.abs(z - 7) - 13, 0, None))
    pole, _ = near_segment(x, y, (16.0, 4.0), (66.0, 22.0))
    pole = np.hypot(pole, np.clip(np.abs(z + 18) - 8, 0, None))
    return np.minimum.reduce([fissure, np.hypot(insula, height), stem, pole])


def _draw_cerebrum(
    person: Person,
    grid: Grid,
    depth: np.ndarray,
    cerebrum: np.ndarray,
    fissure: np.ndarray,
    warp: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Carve fissures and sulci, then line every surface with cortex of even thickness."""
    pixel = grid.pixel
    solid = cerebrum & (fissure > 0.5 * pixel)
    flat, nearest = ndimage.distance_transform_edt(solid, return_indices=True)
    depth = np.minimum(flat * pixel, np.where(cerebrum, depth, 0))
    # Sulci enter at right angles to the surface: read the noise near the closest surface point.
    row, column = (ndimage.gaussian_filter(n.astype(np.float32), 1.5 / pixel) for n in nearest)
    pull = 0.8 - 0.45 * smooth_step(grid.z, 30, 60)  # near the vertex that point lies above
    rows, columns = np.indices(depth.shape, dtype=np.float32)
    u = grid.x + pull * (column - columns) * pixel + 2.2 * warp[0]
    v = grid.y - pull * (row - rows) * pixel + 2.2 * warp[1]
    core = _ellipsoid(grid, (0, -8, 9), (33, 40, 19))  # no sulcus reaches the deep white matter
    reach = 18 + 2 * smooth_step(grid.z, 22, 38) + 6 * person.fold_depth.at(u, v, grid.plane)
    reach = reach * smooth_step(core, 1.0, 1.5)
    # Where two surfaces are equally close that point jumps: keep the false lines out.
    slope = np.hypot(*np.gradient(ndimage.gaussian_filter(flat, 2.5 / pixel)))
    reach = np.where(slope < 0.8, np.minimum(reach, 6), reach)
    line = _zero_crossings(person.folds.at(u, v, grid.plane)) & (depth < reach)
    sulcus = ndimage.distance_transform_edt(~line) * pixel
    # Shorter sulci dimple only the broad crowns that the long ones leave.
    dimple = _zero_crossings(person.small_folds.at(u, v, grid.plane)) & (depth < 0.6 * reach)
    line |= dimple & (sulcus > 2 * person.cortex + 1)
    sulcus = ndimage.distance_transform_edt(~line) * pixel
    width = 0.2 + 1.5 * person.atrophy + 0.35 * warp[0]
    width = width * np.clip(1.2 - depth / 30, 0.5, 1.2) + 1.2 * np.exp(-depth / 2)
    outer = np.minimum(depth, np.where(cerebrum, fissure, 0))
    fluid = (sulcus < width) | (fissure < 0.7 + 1.2 * person.atrophy) | ~cerebrum
    bank = np.minimum(sulcus - np.maximum(width, 0), outer - 0.5)
    cortex = person.cortex + 0.3 * person.broad.at(grid.x, grid.y + 30, grid.plane)
    labels = np.where(fluid, CSF, np.where(bank < cortex, GREY, WHITE))
    return labels.astype(np.uint16)


def _zero_crossings(field: np.ndarray) -> np.ndarray:
    """One pixel wide lines where the sign of a 2-D field changes, bool."""
    positive = field > 0
    line = np.zeros(field.shape, bool)
    line[:, :-1] |= positive[:, :-1] != positive[:, 1:]
    line[:-1] |= positive[:-1] != positive[1:]
    return line


def _tube(grid: Grid, x: np.ndarray, axis: list, swell: np.ndarray) -> np.ndarray:
    """Signed distance in mm to a tube of varying radius along (x, y, z, radius) points."""
    best = np.full(x.shape, 99.0, np.float32)
    for (x0, y0, z0, r0), (x1, y1, z1, r1) in itertools.pairwise(axis):
        dx, dy, dz = x1 - x0, y1 - y0, z1 - z0
        t = ((x - x0) * dx + (grid.y - y0) * dy + (grid.z - z0) * dz) / (dx**2 + dy**2 + dz**2)
        t = np.clip(t, 0, 1)
        far = (x - x0 - t * dx) ** 2 + (grid.y - y0 - t * dy) ** 2 + (grid.z - z0 - t * dz) ** 2
        best = np.minimum(best, np.sqrt(far) - (r0 + t * (r1 - r0)) * swell)
    return best


def _draw_deep(person: Person, grid: Grid, labels: np.ndarray) -> np.ndarray:
    """Deep white matter, basal ganglia, thalamus and ventricles over the folded hemispheres."""
    x, z = np.abs(grid.x), grid.z
    if z.max() < -32 or z.min() > 42:
        return labels
    for code, centre, radii, slant in (
        (THALAMUS, (11.5, -18, 7), (10.5, 16, 11), -0.35),
        (PUTAMEN, (26.5, 2, 2), (6.2, 18, 14), -0.22),
        (PALLIDUM, (20, -3, 1), (5, 10, 8), -0.35),
        (CAUDATE, (14, 14, 8), (6.5, 12, 12), -0.2),
        (CAUDATE, (17, -6, 21), (3.5, 18, 6), -0.3),
        (GREY, (3, -3, -9), (4, 9, 7), 0.0),  # hypothalamus
        (PALLIDUM, (5, -20, -9), (2.6, 2.8, 4), 0.0),  # red nucleus: as rich in iron
        (GREY, (25, -8, -19), (8, 13, 8), -0.2),  # amygdala and hippocampal head
        (GREY, (28, -26, -11), (6, 14, 6), -0.1),
    ):
        labels = np.where(_ellipsoid(grid, centre, radii, slant) < 1, code, labels)
    swell = np.where(grid.x < 0, *person.ventricle_side) * (0.75 + 0.9 * person.atrophy)
    lateral = np.minimum.reduce(
        [_tube(grid, x, axis, swell) for axis in (BODY, OCCIPITAL_HORN, TEMPORAL_HORN)]
    )
    septum = np.abs(grid.x) < 1.0
    ventricle = (lateral < 0) & ~septum & (labels != CAUDATE)
    labels = np.where(ventricle, VENTRICLE, labels)
    slit = 0.9 + 3.0 * person.atrophy
    third = _ellipsoid(grid, (0, -12, -1), (slit, 18, 12)) < 1
    return np.where(third, VENTRICLE, labels).astype(np.uint16)


def _draw_hindbrain(
    person: Person, grid: Grid, cerebellum: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Cerebellum with folia, midbrain, pons, fourth ventricle and optic chiasm."""
    x, y, z = np.abs(grid.x), grid.y, grid.z
    depth = ndimage.distance_transform_edt(cerebellum) * grid.pixel
    arc = np.hypot(0.75 * grid.x, y + 34) + 0.8 * person.warp_x.at(grid.x, grid.y, grid.plane)
    folia = np.cos(arc * (2 * np.pi / 5.5))
    arbor = np.cos(arc * (2 * np.pi / 5.5) + 2.5)
    white = (_ellipsoid(grid, (15, -56, -35), (19, 15, 17)) < 1 + 0.8 * arbor) & (depth > 3)
    labels = np.where(cerebellum, np.where(white, CEREBELLAR_WHITE, CEREBELLAR_GREY), labels)
    labels = np.where(cerebellum & (folia > 0.8) & (depth < 8) & ~white, CSF, labels)
    peduncle, _ = near_segment(x, y, (12.0, -30.0), (24.0, -54.0))
    labels = np.where((peduncle < 6.5) & (np.abs(z + 36) < 8), CEREBELLAR_WHITE, labels)
    pons = _ellipsoid(grid, (0, -27, -36), (17, 14, 17)) < 1
    midbrain = (_ellipsoid(grid, (0, -27, -13), (14, 9, 13)) < 1) | (
        _ellipsoid(grid, (9, -18, -13), (6, 9, 10), 0.3) < 1
    )
    labels = np.where((pons | midbrain) & (z < -5), BRAINSTEM, labels)
    chiasm = np.minimum(
        near_segment(x, y, (0.0, 3.0), (5.0, 8.0))[0],
        near_segment(x, y, (0.0, 2.0), (6.0, -3.0))[0],
    )
    labels = np.where((chiasm < 1.9) & (np.abs(z + 15) < 2.5) & (labels == CSF), WHITE, labels)
    fourth = _ellipsoid(grid, (0, -45, -34), (6 + 3 * person.atrophy, 5, 10)) < 1
    aqueduct = (np.hypot(x, y + 33) < 1.4) & (z < -5) & (z > -24)
    return np.where(fourth | aqueduct, VENTRICLE, labels).astype(np.uint16)


def _draw_vessels(grid: Grid, cranium: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Sagittal sinus, carotids and basilar artery: flow voids, dark in both contrasts."""
    x, y, z = np.abs(grid.x), grid.y, grid.z
    sinus = (cranium > 0) & (cranium < 5.0) & (x < 0.9 * (5.5 - cranium)) & (y < 30)
    labels = np.where(sinus & ((z > 0) | (y < -60)), VESSEL, labels)
    carotid = (np.hypot(x - 11, y - 2) < 2.4) & (z < -14)
    basilar = (np.hypot(x, y + 12) < 1.7) & (z < -14)
    return np.where((carotid | basilar) & (labels == CSF), VESSEL, labels).astype(np.uint16)
