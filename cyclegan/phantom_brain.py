"""The brain of the phantom: folded cortex, ventricles, deep grey matter, cerebellum, brainstem."""

import itertools

import numpy as np
from scipy import ndimage

from cyclegan.phantom_head import near_segment, smooth_step
from cyclegan.phantom_person import Grid, Person

WHITE, GREY, VENTRICLE, CSF = 2, 3, 4, 24
CEREBELLAR_WHITE, CEREBELLAR_GREY, BRAINSTEM = 7, 8, 16
THALAMUS, CAUDATE, PUTAMEN, PALLIDUM, VESSEL, BONE = 10, 11, 12, 13, 62, 515

# Axis of the lateral ventricle, one side: (x, y, z, radius) in mm.
BODY = [
    (7, 33, 0, 3.0),
    (9, 24, 8, 4.6),
    (9, 8, 19, 5.0),
    (11, -12, 24, 5.0),
    (17, -30, 20, 5.5),
    (25, -42, 9, 6.5),
]
OCCIPITAL_HORN = [(25, -42, 9, 6.0), (24, -60, 7, 4.5), (19, -76, 6, 1.5)]
TEMPORAL_HORN = [(25, -42, 9, 5.0), (33, -32, -8, 3.0), (35, -16, -17, 2.5), (32, -6, -22, 1.5)]


def ellipsoid(grid: Grid, centre: tuple, radii: tuple, slant: float = 0.0) -> np.ndarray:
    """Below 1 inside an ellipsoid on both sides of the midline; `slant`: mm x per mm y."""
    x = np.abs(grid.x) - centre[0] - slant * (grid.y - centre[1])
    return (
        (x / radii[0]) ** 2
        + ((grid.y - centre[1]) / radii[1]) ** 2
        + ((grid.z - centre[2]) / radii[2]) ** 2
    )


def draw_brain(person: Person, grid: Grid, cranium: np.ndarray) -> np.ndarray:
    """Labels inside the cranial cavity, (h, w) uint16; pixels outside it hold no meaning.

    cranium: (h, w) depth in mm under the inner table.
    """
    x, y, z = np.abs(grid.x), grid.y, grid.z
    tent = -4 - 0.42 * x - 0.25 * np.maximum(0, -45 - y)
    below = (y < -30) & (z < tent)
    central = _central_cistern(grid)
    gap = 1.0 + 3.0 * person.atrophy
    cerebrum = (cranium > gap) & ~below & ~central
    labels = np.full(x.shape, CSF, np.uint16)
    labels = _draw_cerebrum(person, grid, cranium - gap, cerebrum, labels)
    labels = _draw_deep(person, grid, labels)
    if z.min() < 0:
        labels = _draw_hindbrain(person, grid, cranium, below & (z < tent - 2), labels)
    return _draw_vessels(grid, cranium, labels)


def _central_cistern(grid: Grid) -> np.ndarray:
    """Space around brainstem and chiasm that the hemispheres leave free, bool."""
    z = grid.z
    ring = ellipsoid(grid, (0, -22, -30), (22, 24, 24)) < 1
    chiasm = ellipsoid(grid, (0, 2, -24), (15, 14, 14)) < 1
    return (ring | chiasm) & (z < -6)


def _fissures(person: Person, grid: Grid) -> np.ndarray:
    """Distance in mm to the interhemispheric and Sylvian fissures, (h, w)."""
    x, y, z = np.abs(grid.x), grid.y, grid.z
    middle = np.abs(grid.x - 0.8 * person.broad.at(0 * grid.x, grid.y, grid.plane))
    callosum = ((y + 4) / 38) ** 2 + ((z - 5) / 24) ** 2
    inside = np.where((callosum > 1) | (z > 29), 0, 99)
    fissure = np.hypot(middle, inside)
    # The Sylvian fissure runs back as it rises; the insula lies at its bottom.
    height = np.clip(np.abs(z - 4) - 11, 0, None)
    insula, _ = near_segment(x + 0.006 * (y - 2) ** 2, y, (37.0, 20.0), (39.0, -16.0))
    mouth = 2 - 1.3 * z
    stem, _ = near_segment(x, y - (mouth - 2) * smooth_step(x, 36, 56), (39.0, 2.0), (75.0, -2.0))
    stem = np.hypot(stem, np.clip(np.abs(z - 6) - 16, 0, None))
    pole, _ = near_segment(x, y, (16.0, 4.0), (66.0, 24.0))
    pole = np.hypot(pole, np.clip(np.abs(z + 18) - 12, 0, None))
    return np.minimum.reduce([fissure, np.hypot(insula, height), stem, pole])


def _draw_cerebrum(
    person: Person, grid: Grid, depth: np.ndarray, cerebrum: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Carve fissures and sulci, then line every surface with cortex of even thickness."""
    pixel = grid.pixel
    fissure = _fissures(person, grid)
    solid = cerebrum & (fissure > 0.5 * pixel)
    flat, nearest = ndimage.distance_transform_edt(solid, return_indices=True)
    depth = np.minimum(flat * pixel, np.where(cerebrum, depth, 0))
    # Sulci enter at right angles to the surface: read the noise near the closest surface point.
    warp_x = 2.2 * person.warp_x.at(grid.x, grid.y, grid.plane)
    warp_y = 2.2 * person.warp_y.at(grid.x, grid.y, grid.plane)
    row, column = (ndimage.gaussian_filter(n.astype(np.float32), 1.5 / pixel) for n in nearest)
    pull = 0.6
    rows, columns = np.indices(depth.shape, dtype=np.float32)
    u = grid.x + pull * (column - columns) * pixel + warp_x
    v = grid.y - pull * (row - rows) * pixel + warp_y
    reach = 12 + 6 * person.fold_depth.at(u, v, grid.plane)
    line = np.zeros(depth.shape, bool)
    for folds, limit in ((person.folds, reach), (person.small_folds, 0.45 * reach)):
        positive = folds.at(u, v, grid.plane) > 0
        edge = np.zeros_like(line)
        edge[:, :-1] |= positive[:, :-1] != positive[:, 1:]
        edge[:-1] |= positive[:-1] != positive[1:]
        line |= edge & (depth < limit)
    sulcus = ndimage.distance_transform_edt(~line) * pixel
    width = (0.3 + 1.1 * person.atrophy) * np.clip(1.3 - depth / 25, 0.4, 1.3)
    outer = np.minimum(depth, np.where(cerebrum, fissure, 0))
    fluid = (sulcus < width) | (fissure < 0.7 + width) | ~cerebrum
    bank = np.minimum(sulcus - width, outer - 0.5)
    cortex = person.cortex + 0.3 * person.broad.at(grid.x, grid.y + 30, grid.plane)
    labels = np.where(fluid, CSF, np.where(bank < cortex, GREY, WHITE))
    return labels.astype(np.uint16)


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
    rough = 1 + 0.08 * person.warp_x.at(grid.x + 9, grid.y, grid.plane)
    core = ellipsoid(grid, (0, -6, 8), (36, 42, 21)) < rough
    labels = np.where(core & (z > -10), WHITE, labels)
    for code, centre, radii, slant in (
        (THALAMUS, (11, -18, 7), (9.5, 15, 10), -0.35),
        (PUTAMEN, (26, 2, 3), (5.5, 17, 12), -0.22),
        (PALLIDUM, (20, -3, 1), (4.5, 9, 7), -0.35),
        (CAUDATE, (14, 13, 8), (6, 12, 11), -0.25),
        (CAUDATE, (17, -6, 21), (3.5, 18, 6), -0.3),
        (GREY, (25, -8, -19), (8, 13, 8), -0.2),  # amygdala and hippocampal head
        (GREY, (28, -26, -11), (6, 14, 6), -0.1),
    ):
        labels = np.where(ellipsoid(grid, centre, radii, slant) < rough, code, labels)
    swell = np.where(grid.x < 0, *person.ventricle_side) * (0.65 + 1.0 * person.atrophy)
    lateral = np.minimum.reduce(
        [_tube(grid, x, axis, swell) for axis in (BODY, OCCIPITAL_HORN, TEMPORAL_HORN)]
    )
    septum = np.abs(grid.x) < 1.0
    ventricle = (lateral < 0) & ~septum & (labels != CAUDATE)
    labels = np.where(ventricle, VENTRICLE, labels)
    slit = 0.9 + 3.0 * person.atrophy
    third = ellipsoid(grid, (0, -12, -1), (slit, 18, 12)) < 1
    return np.where(third, VENTRICLE, labels).astype(np.uint16)


def _draw_hindbrain(
    person: Person, grid: Grid, cranium: np.ndarray, below: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Cerebellum with folia, midbrain, pons and fourth ventricle."""
    x, y, z = np.abs(grid.x), grid.y, grid.z
    wobble = 0.06 * person.warp_y.at(grid.x, grid.y, grid.plane)
    lobes = np.minimum(
        ellipsoid(grid, (25, -65, -38), (29, 31, 27)), ellipsoid(grid, (0, -62, -28), (16, 28, 25))
    )
    cerebellum = below & (lobes < 1 + wobble) & (cranium > 1.5)
    depth = ndimage.distance_transform_edt(cerebellum) * grid.pixel
    arc = np.hypot(0.75 * grid.x, y + 34) + 0.8 * person.warp_x.at(grid.x, grid.y, grid.plane)
    folia = np.cos(arc * (2 * np.pi / 5.5))
    arbor = np.cos(arc * (2 * np.pi / 11) + 1.0)
    labels = np.where(cerebellum, CEREBELLAR_GREY, labels)
    white = depth > 9 - 4.5 * arbor + 2.5 * np.abs(grid.x) / 40
    labels = np.where(cerebellum & white, CEREBELLAR_WHITE, labels)
    labels = np.where(cerebellum & (folia > 0.86) & (depth < 6) & ~white, CSF, labels)
    peduncle, _ = near_segment(x, y, (12.0, -30.0), (24.0, -54.0))
    labels = np.where((peduncle < 6.5) & (np.abs(z + 36) < 8), CEREBELLAR_WHITE, labels)
    pons = ellipsoid(grid, (0, -27, -36), (17, 14, 17)) < 1
    midbrain = (ellipsoid(grid, (0, -27, -13), (14, 9, 13)) < 1) | (
        ellipsoid(grid, (9, -18, -13), (6, 9, 10), 0.3) < 1
    )
    labels = np.where((pons | midbrain) & (z < -5), BRAINSTEM, labels)
    fourth = ellipsoid(grid, (0, -45, -34), (6 + 3 * person.atrophy, 5, 10)) < 1
    aqueduct = (np.hypot(x, y + 33) < 1.4) & (z < -5) & (z > -24)
    return np.where(fourth | aqueduct, VENTRICLE, labels).astype(np.uint16)


def _draw_vessels(grid: Grid, cranium: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Sagittal sinus, carotids and basilar artery, and the falx in its fissure."""
    x, y, z = np.abs(grid.x), grid.y, grid.z
    sinus = (cranium > 0) & (cranium < 5.0) & (x < 0.9 * (5.5 - cranium)) & (y < 30)
    labels = np.where(sinus & ((z > 0) | (y < -60)), VESSEL, labels)
    carotid = (np.hypot(x - 11, y - 2) < 2.4) & (z < -14)
    basilar = (np.hypot(x, y + 12) < 1.7) & (z < -14)
    return np.where((carotid | basilar) & (labels == CSF), VESSEL, labels).astype(np.uint16)
