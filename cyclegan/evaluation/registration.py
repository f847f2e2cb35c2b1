"""Rigid registration of one contrast onto the other, by SimpleITK.

Two scans of one head lie a pixel or two apart, and a comparison pixel by pixel shows that first.
Mutual information compares contrasts that share no grey values (Mattes et al. 2003, "PET-CT image
registration in the chest using free-form deformations"); a rigid motion is what a head makes
between two scans, and, unlike a translation's own edges, it flatters no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

BINS = 32  # of the joint histogram
ITERATIONS = 100  # at most, of each level
LEVELS = ((4, 2.0), (2, 1.0), (1, 0.5))  # shrink factor, and blur in samples
LEAST_SLICES = 8  # of fewer, a volume is registered within its slices
MOST_SAMPLES = 250_000  # of a volume: a larger one is thinned out first
# Beyond these a registration has gone astray: two scans of a session lie nearer.
MOST_MM = 30.0
MOST_DEGREES = 20.0


@dataclass(frozen=True, eq=False)
class RigidMotion:
    """Where a point of the fixed image lies in the moving one.

    Attributes:
        matrix: (4, 4), from (column, row, slice, 1) of the fixed image to those of the moving one.
        distance: by which the middle of the image moves, in mm, or in columns without a spacing.
        degrees: by which it is turned.
    """

    matrix: np.ndarray
    distance: float
    degrees: float

    @property
    def is_none(self) -> bool:
        """Whether nothing moves."""
        return self.distance == 0 and self.degrees == 0

    def apply(self, moving: np.ndarray) -> np.ndarray:
        """Resample the moving image, (H, W) or (Z, H, W), onto the fixed one's grid.

        Returns:
            float32 of the same shape, cubic between samples, 0 outside of the moving image.
        """
        volume = np.atleast_3d(moving.T).T if moving.ndim == 2 else moving
        backwards = np.eye(4)[[2, 1, 0, 3]]  # numpy counts axes the other way round
        onto = backwards @ self.matrix @ backwards
        resampled = ndimage.affine_transform(
            volume.astype(np.float32), onto[:3, :3], onto[:3, 3], order=3, prefilter=True
        )
        return resampled.reshape(moving.shape)


NO_MOTION = RigidMotion(np.eye(4), 0.0, 0.0)


def register_rigid(
    fixed: np.ndarray,
    moving: np.ndarray,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    measured: np.ndarray | None = None,
) -> RigidMotion:
    """Find the rigid motion that brings `moving` onto `fixed`.

    Args:
        fixed, moving: (H, W) or (Z, H, W) on one grid, any contrast, in [0, 1].
        spacing: (slice, row, column) in mm. Fewer than `LEAST_SLICES` slices stay in their planes
            and move alike, as the slice with the most head does.
        measured: bool of the same shape, where `moving` says something; None: everywhere.

    Returns:
        `NO_MOTION` where none makes them more alike, or the best one is implausibly large.

    Raises:
        ValueError: the shapes differ.
    """
    if fixed.shape != moving.shape:
        raise ValueError(f"shapes {fixed.shape} and {moving.shape} differ; one grid is expected")
    arrays = [fixed, moving, np.ones(fixed.shape, bool) if measured is None else measured]
    if fixed.ndim == 3 and len(fixed) < LEAST_SLICES:
        head = (fixed > fixed.mean()) & arrays[2]
        middle = int(np.argmax(head.sum((1, 2))))
        arrays = [array[middle] for array in arrays]
    return _register(arrays[0], arrays[1], arrays[2], spacing[-arrays[0].ndim :])


def _register(
    fixed: np.ndarray, moving: np.ndarray, measured: np.ndarray, spacing: tuple[float, ...]
) -> RigidMotion:
    """As `register_rigid`, with as many dimensions as the arrays have."""
    if min(fixed.std(), moving.std()) == 0:
        return NO_MOTION  # nothing to go by
    images = [_image(array, spacing) for array in (fixed, moving)]
    mask = sitk.Cast(_image(measured, spacing) > 0.99, sitk.sitkUInt8)
    centre = images[0].TransformContinuousIndexToPhysicalPoint(
        [(n - 1) / 2 for n in images[0].GetSize()]
    )
    is_flat = fixed.ndim == 2
    transform = sitk.Euler2DTransform() if is_flat else sitk.Euler3DTransform()
    transform.SetCenter(centre)
    method = mutual_information(transform)
    method.SetMetricMovingMask(mask)
    before = method.MetricEvaluate(*images)
    try:
        method.Execute(*images)
    except RuntimeError:  # the images left each other: ITK says so by an exception
        return NO_MOTION
    after = method.MetricEvaluate(*images)  # with the transform that resulted
    moved = np.subtract(transform.TransformPoint(centre), centre)
    rotation = np.reshape(transform.GetMatrix(), (fixed.ndim, fixed.ndim))
    # A rotation by t has the trace 1 + 2 cos(t), in the plane 2 cos(t).
    cosine = (np.trace(rotation) - (0 if is_flat else 1)) / 2
    degrees = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    distance = float(np.linalg.norm(moved))
    if after >= before or distance > MOST_MM or degrees > MOST_DEGREES:
        return NO_MOTION
    matrix, n = np.eye(4), fixed.ndim
    step = np.asarray(spacing[::-1])  # SimpleITK counts columns first, as the matrix does
    matrix[:n, :n] = rotation * step / step[:, None]
    matrix[:n, 3] = np.asarray(transform.TransformPoint([0.0] * n)) / step
    return RigidMotion(matrix, distance, degrees)


def mutual_information(
    transform: sitk.Transform, levels: Sequence[tuple[int, float]] = LEVELS
) -> sitk.ImageRegistrationMethod:
    """Mattes' mutual information over all samples, from coarse to fine.

    Args:
        transform: where it starts; `Execute` changes it in place.
        levels: shrink factor, and blur in samples.
    """
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetNumberOfThreads(1)  # sums in one order: the same result every time
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, ITERATIONS, 0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([factor for factor, _ in levels])
    method.SetSmoothingSigmasPerLevel([sigma for _, sigma in levels])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(transform, inPlace=True)
    return method


def _image(array: np.ndarray, spacing: tuple[float, ...]) -> sitk.Image:
    """As SimpleITK has it, a large volume thinned out within its slices."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array, np.float32))
    image.SetSpacing([float(each) for each in spacing[::-1]])
    factor = int(np.ceil(np.sqrt(array.size / MOST_SAMPLES)))
    if array.ndim == 3 and factor > 1:
        image = sitk.BinShrink(image, [factor, factor, 1])  # means of samples, at their middle
    return image
