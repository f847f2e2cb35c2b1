"""The real target image, when the user has it: registered onto the source and compared.

This is the only place where the page measures an error of the translation; everything in `trust`
is a guess at it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from cyclegan.evaluation.metrics import mae, psnr, ssim
from cyclegan.evaluation.registration import RigidMotion, register_rigid
from cyclegan.model.head import foreground, joint_head
from cyclegan.model.preprocess import Scale
from cyclegan.trust.evidence import mutual_information

if TYPE_CHECKING:
    from cyclegan.reading.volume import Volume

MIN_OVERLAP = 0.05  # share of the source's voxels that the truth must cover
MIN_HEAD_PIXELS = 200  # fewer in common, and the scores of a slice say nothing
# Below both, two images show different places. Of 129 couples of slices that were 3 or 8 apart (10
# collections) this notices 111, and it takes none of 84 true pairs for such.
SAME_EDGES = 0.4  # correlation of gradient magnitudes, 6 pixels inside the head
SAME_GREYS = 1.04  # normalised mutual information in the head


class TruthError(ValueError):
    """The real image cannot be compared with the source; the message is a sentence for the user."""


@dataclass(frozen=True, eq=False)
class Truth:
    """A real target image on the grid of a source, slice by slice.

    Attributes:
        volume: as read.
        scale: of its whole volume, to [0, 1], as the model's images are.
        to_truth: (4, 4) from (column, row, slice, 1) of the source to those of `volume`; None when
            both have the same matrix and are compared pixel by pixel.
        notes: sentences on how they were matched, for the user.
        motion: by which it was registered; None where registration was not requested.
    """

    volume: Volume
    scale: Scale
    to_truth: np.ndarray | None
    notes: tuple[str, ...]
    motion: RigidMotion | None = None

    def slice(self, index: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The truth where slice `index` of the source lies.

        Args:
            index: of the source's slice.
            shape: (H, W) of the source's slices.

        Returns:
            (H, W) float32 in [0, 1], trilinear between the truth's voxels, 0 outside of it; and
            (H, W) bool, where the truth has been measured.
        """
        if self.to_truth is None:
            return self.scale.apply(self.volume.pixels[index]), np.ones(shape, bool)
        rows, columns = np.indices(shape, dtype=np.float64)
        where = _truth_indices(self.to_truth, columns, rows, np.full(shape, float(index)))
        covered = _covered(where, self.volume.pixels.shape)
        values = ndimage.map_coordinates(self.volume.pixels, where, order=1, mode="nearest")
        return np.where(covered, self.scale.apply(values), 0).astype(np.float32), covered


def match(truth: Volume, source: Volume, register: bool = True) -> Truth:
    """Bring a real target image onto the grid of the source that was translated.

    By both affines when both files say where they lie, else pixel by pixel; then, as a patient
    moves between two scans, by the rigid motion that makes the two most alike.

    Args:
        truth: the real image.
        source: what was translated.
        register: False leaves it where the headers say; movement then counts as error.

    Raises:
        TruthError: they do not overlap, or one of them says nothing of its place and the matrices
            differ.
    """
    placed = _placed(truth, source)
    return _registered(placed, source) if register else placed


def _registered(placed: Truth, source: Volume) -> Truth:
    """The truth moved onto the source by a rigid motion, if one makes them more alike."""
    shape = source.pixels.shape
    slices = [placed.slice(index, shape[1:]) for index in range(shape[0])]
    onto, measured = (np.stack(parts) for parts in zip(*slices, strict=True))
    fixed = Scale.fit(source.pixels).apply(source.pixels)
    spacing = source.spacing or (1.0, *(source.pixel_spacing or (1.0, 1.0)))
    motion = register_rigid(fixed, onto, spacing, measured)
    if motion.is_none:
        return replace(placed, motion=motion, notes=(*placed.notes, "registered: nothing to move"))
    unit = "mm" if source.spacing else "pixels"
    note = f"registered: moved by {motion.distance:.1f} {unit}, turned by {motion.degrees:.1f}°"
    before = np.eye(4) if placed.to_truth is None else placed.to_truth
    notes = (*placed.notes, note)
    return replace(placed, to_truth=before @ motion.matrix, motion=motion, notes=notes)


def _placed(truth: Volume, source: Volume) -> Truth:
    """The truth where the headers say that it lies."""
    scale = Scale.fit(truth.pixels)
    if source.affine is None or truth.affine is None:
        if truth.pixels.shape != source.pixels.shape:
            lost = [v.name for v in (source, truth) if v.affine is None]
            raise TruthError(
                f"{truth.name}: its matrix is {_matrix(truth)}, the source's is {_matrix(source)}, "
                f"and {' and '.join(lost)} {'does' if len(lost) == 1 else 'do'} not say where it "
                "lies in the patient; an image of the same matrix, or NIfTI or DICOM for both, "
                "would work."
            )
        note = "compared pixel by pixel, as the files do not both say where they lie"
        return Truth(truth, scale, None, (note,))
    to_truth = np.linalg.inv(truth.affine) @ source.affine
    share = _overlap(to_truth, source.pixels.shape, truth.pixels.shape)
    if share < MIN_OVERLAP:
        raise TruthError(
            f"{truth.name}: by its header it covers {100 * share:.0f} % of {source.name}, so they "
            "do not show the same place; an image of the same session would work."
        )
    notes = ["placed by the position in both headers"]
    if share < 0.95:
        notes.append(f"it covers {100 * share:.0f} % of the source")
    if _frame_of_reference(truth) != _frame_of_reference(source):
        notes.append("the headers name different frames of reference, so it may be shifted")
    if truth.pixels.shape == source.pixels.shape and np.allclose(to_truth, np.eye(4), atol=1e-3):
        to_truth = None  # the same grid: nothing to resample
        notes = ["on the source's own grid"]
    return Truth(truth, scale, to_truth, tuple(notes))


def true_error(
    translated: np.ndarray, truth: np.ndarray, source: np.ndarray, covered: np.ndarray
) -> dict[str, float] | None:
    """SSIM, PSNR in dB and MAE of a translated slice, as `metrics` defines them, inside the head.

    Args:
        translated, truth, source: (H, W) in [0, 1], registered.
        covered: (H, W) bool, where the truth was measured.

    Returns:
        {"ssim", "psnr", "mae"}; None when fewer than `MIN_HEAD_PIXELS` can be compared.
    """
    head = joint_head(source, truth) & covered
    if head.sum() < MIN_HEAD_PIXELS:
        return None
    return {
        "ssim": ssim(translated, truth, head),
        "psnr": psnr(translated, truth, head),
        "mae": mae(translated, truth, head),
    }


def is_elsewhere(truth: np.ndarray, source: np.ndarray, covered: np.ndarray) -> bool:
    """Whether two images, by their pixels, do not show the same slice of the same subject.

    Args:
        truth, source: (H, W) in [0, 1], of different contrasts.
        covered: (H, W) bool, where the truth was measured.
    """
    both = foreground(truth) & foreground(source) & covered
    inside = ndimage.binary_erosion(both, iterations=6)
    if inside.sum() < MIN_HEAD_PIXELS:
        return False
    edges = [ndimage.gaussian_gradient_magnitude(image, 2)[inside] for image in (truth, source)]
    alike = np.corrcoef(*edges)[0, 1] if all(edge.std() > 0 for edge in edges) else 0.0
    return bool(alike < SAME_EDGES and mutual_information(source, truth, both) < SAME_GREYS)


def _truth_indices(
    to_truth: np.ndarray, columns: np.ndarray, rows: np.ndarray, slices: np.ndarray
) -> np.ndarray:
    """Source indices -> (3, ...) of (slice, row, column) in the truth, as numpy counts axes."""
    points = np.stack([columns, rows, slices, np.ones_like(columns)])
    return np.tensordot(to_truth, points, 1)[2::-1]


def _covered(where: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Whether (3, ...) indices lie within the voxels of `shape`, which are one index wide."""
    limits = np.array(shape).reshape(3, *[1] * (where.ndim - 1)) - 0.5
    return np.asarray(((where >= -0.5) & (where <= limits)).all(0))


def _overlap(
    to_truth: np.ndarray, source: tuple[int, int, int], truth: tuple[int, int, int]
) -> float:
    """Share of the source's voxels that lie in the truth, on a grid of at most 32 a side."""
    axes = [np.linspace(0, n - 1, min(n, 32)) for n in source]
    slices, rows, columns = np.meshgrid(*axes, indexing="ij")
    return float(_covered(_truth_indices(to_truth, columns, rows, slices), truth).mean())


def _frame_of_reference(volume: Volume) -> str | None:
    return str(volume.dicom.common.get("FrameOfReferenceUID", "")) if volume.dicom else None


def _matrix(volume: Volume) -> str:
    return " × ".join(str(n) for n in volume.pixels.shape)
