"""Label maps of random heads, drawn from code alone.

Everything lives in one coordinate frame: x to the right of the shown slice, y anterior, z superior,
millimetres from the anterior commissure, proportioned like the stereotaxic atlases (Talairach &
Tournoux 1988). A `Person` holds what differs between heads and the 3-D noise fields that shape
the folds, so every slice of one seed cuts the same head.
"""

import numpy as np

from cyclegan.simulation import phantom_brain, phantom_head
from cyclegan.simulation.phantom_head import Person

LOWEST_MM, HIGHEST_MM = -36.0, 62.0  # height of level 0 and level 1 over the anterior commissure
CENTRE_Y_MM = -11.0  # the head, nose included, sits in the middle of the picture


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
    head = phantom_head.head_surface(person, grid)
    cranium = phantom_head.cranial_cavity(person, grid)
    brain = phantom_brain.draw_brain(person, grid, cranium)
    labels = phantom_head.draw_layers(person, grid, head, cranium)
    return grid.paste(np.where(cranium > 0, brain, labels))
