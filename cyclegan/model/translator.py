"""Pixels in, pixels out: the only thing that the page, the command line and users need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cyclegan import OTHER
from cyclegan.model.checkpoint import load_weights
from cyclegan.model.guided import guided
from cyclegan.model.hub import weights_folder
from cyclegan.model.precision import multiplies_bfloat16
from cyclegan.model.preprocess import Frame, Scale, head_without_rim

BATCH = 4  # slices of a volume at a time; more is no faster on a CPU and takes more memory


@dataclass(frozen=True)
class CycleResult:
    """Source, translation, and the translation brought back; float32 in [0, 1], one shape."""

    source: np.ndarray
    translated: np.ndarray
    reconstructed: np.ndarray


@dataclass(frozen=True)
class Prepared:
    """How a slice or a volume goes to the network's grid: intensity scale and head frame."""

    scale: Scale
    frame: Frame


class Translator:
    """Two generators and the way from any slice or volume to their grid and back.

    Args:
        generators: wanted contrast, "T1" and "T2" -> network.
        config: as `checkpoint.export_weights` writes it.
        device: where the networks run.
        precision: torch.float32, or torch.bfloat16 for all but the last layer: 1.7 times as fast
            where the hardware has it, and on real slices the pixels differ by less than 0.001 in
            the mean. Default: bfloat16 where the device multiplies it natively.
    """

    def __init__(
        self,
        generators: dict[str, nn.Module],
        config: dict[str, Any],
        device: torch.device | str = "cpu",
        precision: torch.dtype | None = None,
    ):
        self.device = torch.device(device)
        if precision is None:
            native = multiplies_bfloat16(self.device)
            precision = torch.bfloat16 if native else torch.float32
        self.precision = precision
        self.batch = BATCH
        self.generators = {
            to: network.eval().to(self.device, memory_format=torch.channels_last)
            for to, network in generators.items()
        }
        self.config = config
        self.size: int = config["size"]
        self.version: str = config["version"]
        self.checksum: str = config["sha256"]

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = "weights",
        *,
        revision: str | None = None,
        device: torch.device | str | None = None,
        precision: torch.dtype | None = None,
    ) -> Translator:
        """Load a weights folder, or a Hugging Face Hub repository such as "user/model".

        Args:
            source: an existing folder is read; anything of the form "owner/name" is downloaded,
                or found in huggingface_hub's cache.
            revision: branch, tag or commit of the Hub repository.
            device: default: CUDA when there is one, else the CPU.
            precision: as `Translator` takes it.

        Raises:
            CheckpointError: missing, damaged or unfitting weights, or no way to the Hub.
        """
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(
            *load_weights(weights_folder(source, revision)), device=device, precision=precision
        )

    def prepare(self, image: np.ndarray, spacing: tuple[float, float] | None = None) -> Prepared:
        """Scale and framing for a slice or a whole volume, (H, W) or (Z, H, W).

        The network sees heads as they are, so pass the `spacing` of pixels that are not square:
        (row, column) distance between their centres in mm. Without it they count as square.

        Give the result to `translate` and `cycle` to treat a volume slice by slice, so that the
        slices match, and without looking at all of it again each time.

        Raises:
            ValueError: not a real-valued, non-empty slice or volume, or no positive spacing.
        """
        image = _checked(image)
        scale = Scale.fit(image)
        # Scaling keeps the order of values, so the projection may come first.
        projection = image if image.ndim == 2 else np.nanmax(image, axis=0)
        return Prepared(scale, Frame.fit(scale.apply(projection), self.size, spacing))

    def translate(
        self,
        image: np.ndarray,
        to: str,
        *,
        prepared: Prepared | None = None,
        spacing: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Translate a slice or a volume.

        Args:
            image: (H, W) or (Z, H, W), any real dtype, the other contrast than `to`.
            to: the wanted contrast, "T1" or "T2".
            prepared: of the volume that `image` is a part of. Default: of `image` itself.
            spacing: (row, column) in mm where pixels are not square, as `prepare` takes it; with
                `prepared` it is known already.

        Returns:
            float32, the shape of `image`, in [0, 1]. Air stays black.

        Raises:
            ValueError: another `to`, another number of dimensions, an empty image, or no positive
                spacing.
        """
        source, prepared = self._scaled(image, to, prepared, spacing)
        return self._run(source, prepared.frame, to).reshape(np.shape(image))

    def cycle(
        self,
        image: np.ndarray,
        to: str,
        *,
        prepared: Prepared | None = None,
        spacing: tuple[float, float] | None = None,
    ) -> CycleResult:
        """Translate, and translate the result back: arguments as in `translate`.

        The way back starts from the translated pixels as the user sees them, not from a tensor
        inside the network, and is framed as the way there.
        """
        source, prepared = self._scaled(image, to, prepared, spacing)
        translated = self._run(source, prepared.frame, to)
        reconstructed = self._run(translated, prepared.frame, OTHER[to])
        shape = np.shape(image)
        return CycleResult(*(a.reshape(shape) for a in (source, translated, reconstructed)))

    def _scaled(
        self,
        image: np.ndarray,
        to: str,
        prepared: Prepared | None,
        spacing: tuple[float, float] | None,
    ) -> tuple[np.ndarray, Prepared]:
        """Scaled source, always (N, H, W), and how it is prepared."""
        if to not in OTHER:
            raise ValueError(f'to="{to}": the wanted contrast is "T1" or "T2"')
        image = _checked(image)
        prepared = prepared or self.prepare(image, spacing)
        matrix = (prepared.frame.height, prepared.frame.width)
        if matrix != image.shape[-2:]:
            raise ValueError(f"prepared for a matrix of {matrix}, the image has {image.shape[-2:]}")
        source = prepared.scale.apply(image)
        return source.reshape(-1, *source.shape[-2:]), prepared

    @torch.inference_mode()
    def _run(self, images: np.ndarray, frame: Frame, to: str) -> np.ndarray:
        """(N, H, W) in [0, 1] -> (N, H, W) in [0, 1] through the generator for `to`."""
        outputs = []
        for start in range(0, len(images), self.batch):
            batch = images[start : start + self.batch]
            grid = frame.apply(batch).to(self.device, memory_format=torch.channels_last)
            with torch.autocast(
                self.device.type, self.precision, enabled=self.precision != torch.float32
            ):
                output = self.generators[to](grid)
            native = guided(output, grid, batch, frame)
            outputs.append(np.where([head_without_rim(b) for b in batch], native, 0))
        return np.concatenate(outputs).astype(np.float32, copy=False)


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"image of shape {image.shape}: expected (H, W) or (Z, H, W)")
    if np.iscomplexobj(image):
        raise ValueError("complex image: pass its magnitude")
    if not (np.issubdtype(image.dtype, np.number) or image.dtype == bool):
        raise ValueError(f"image of type {image.dtype}: expected real numbers")
    return image
