"""Pixels in, pixels out: the only module that the page, the command line and users need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cyclegan import OTHER
from cyclegan.model.arrays import checked_image, real_array
from cyclegan.model.checkpoint import load_weights
from cyclegan.model.guided import guided
from cyclegan.model.head import FOREGROUND, head_without_rim
from cyclegan.model.hub import weights_folder
from cyclegan.model.preprocess import Frame, Scale
from cyclegan.model.style import Style, StyleError, mean_style

STYLE_SLICES = 12  # of a volume make its style; more change the code little
STYLE_HEAD = 0.5  # of the largest head in a volume: slices with less head show little of a style
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
    """Two generators, and what brings any slice or volume onto their grid and back.

    Args:
        generators: target contrast, "T1" and "T2" -> network.
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
        self.default_style = {
            to: Style(to, tuple(code), self.checksum)
            for to, code in config.get("default_style", {}).items()
        }

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
            source: as `hub.weights_folder` takes it: an existing folder is read, "owner/name" is
                in huggingface_hub's cache or downloaded; "weights", where the current folder
                has none and CYCLEGAN_WEIGHTS names no others, are those of this package.
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
            ValueError: no slice or volume of real numbers and enough pixels, or a spacing that is
                not two positive numbers.
        """
        image = checked_image(image, as_slices=False)
        scale = Scale.fit(image)
        # Scaling keeps the order of values, so the projection may come first.
        projection = image if image.ndim == 2 else np.fmax.reduce(image, axis=0)
        return Prepared(scale, Frame.fit(scale.apply(projection), self.size, spacing))

    @property
    def has_styles(self) -> bool:
        """Whether these weights can follow a style."""
        return all(getattr(g, "style_encoder", None) is not None for g in self.generators.values())

    @property
    def predicts_error(self) -> bool:
        """Whether these weights predict the error of a translation, too."""
        return all(getattr(g, "error_head", None) is not None for g in self.generators.values())

    def style(
        self,
        images: np.ndarray | Sequence[np.ndarray],
        contrast: str,
        *,
        prepared: Prepared | None = None,
        spacing: tuple[float, float] | None = None,
        name: str = "",
    ) -> Style:
        """How a scanner shows a contrast, from real slices of it, of anyone.

        Args:
            images: a slice (H, W), a volume (Z, H, W), or a list of either, any real dtype.
            contrast: what they are, "T1" or "T2".
            prepared: of the volume that `images` is a part of. Default: of each image itself.
            spacing: (row, column) in mm where pixels are not square, as `prepare` takes it.
            name: shown to users.

        Raises:
            ValueError: no such contrast, no image, wrong arrays, or weights without styles.
        """
        if contrast not in OTHER:
            raise ValueError(f'contrast="{contrast}": a style is of "T1" or "T2"')
        if not self.has_styles:
            raise StyleError(f"version {self.version} of the weights knows no styles")
        if isinstance(images, np.ndarray):
            images = [images]
        styles = []
        for image in images:
            code = self._codes(image, contrast, prepared or self.prepare(image, spacing)).mean(0)
            styles.append(Style(contrast, tuple(map(float, code)), self.checksum, name))
        return mean_style(styles, name)

    def translate(
        self,
        image: np.ndarray,
        to: str,
        *,
        prepared: Prepared | None = None,
        spacing: tuple[float, float] | None = None,
        style: Style | None = None,
    ) -> np.ndarray:
        """Translate a slice or a volume.

        Args:
            image: (H, W) or (Z, H, W), any real dtype, the other contrast than `to`.
            to: the target contrast, "T1" or "T2".
            prepared: of the volume that `image` is a part of. Default: of `image` itself.
            spacing: (row, column) in mm where pixels are not square, as `prepare` takes it; with
                `prepared` it is known already.
            style: of the target contrast, from `Translator.style`. Default: that of config.json,
                or else what the generator infers from the source.

        Returns:
            float32, the shape of `image`, in [0, 1]. Air stays black.

        Raises:
            ValueError: another `to`; an image with other dimensions, colours, complex or no finite
                numbers, or sides below 32 pixels; a spacing that is not two positive numbers; or a
                style of another contrast or other weights.
        """
        source, prepared = self._scaled(image, to, prepared, spacing)
        return self._run(source, prepared.frame, to, style)[0].reshape(np.shape(image))

    def translate_with_error(
        self,
        image: np.ndarray,
        to: str,
        *,
        prepared: Prepared | None = None,
        spacing: tuple[float, float] | None = None,
        style: Style | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Translate, and predict the error: arguments as in `translate`.

        Returns:
            (translation, predicted absolute error), both float32 and the shape of `image`; the
            second is the scale of a Laplace distribution in the units of the first, 0 in air.

        Raises:
            ValueError: as `translate`; or weights that predict no error.
        """
        if not self.predicts_error:
            raise ValueError(f"version {self.version} of the weights predicts no error")
        source, prepared = self._scaled(image, to, prepared, spacing)
        outputs = self._run(source, prepared.frame, to, style, with_error=True)
        translated, error = (output.reshape(np.shape(image)) for output in outputs)
        return translated, error

    def cycle(
        self,
        image: np.ndarray,
        to: str,
        *,
        prepared: Prepared | None = None,
        spacing: tuple[float, float] | None = None,
        style: Style | None = None,
    ) -> CycleResult:
        """Translate, and translate the result back: arguments as in `translate`.

        The reconstruction starts from the translated pixels as the user sees them, not from a
        tensor inside the network, and in the frame of the translation. It keeps the source's own
        style, where the weights know styles: that is there to be measured, and is no part of the
        error.
        """
        source, prepared = self._scaled(image, to, prepared, spacing)
        (translated,) = self._run(source, prepared.frame, to, style)
        own = self._own_codes(source, prepared.frame, OTHER[to]) if self.has_styles else None
        (reconstructed,) = self._run(translated, prepared.frame, OTHER[to], own)
        shape = np.shape(image)
        return CycleResult(*(a.reshape(shape) for a in (source, translated, reconstructed)))

    def require_fitting(self, style: Style, to: str) -> None:
        """Raise StyleError unless a style is of the contrast `to` and was made by these weights."""
        if style.contrast != to:
            raise StyleError(f"a style of {style.contrast} for a {to}: give one of a real {to}")
        if style.checksum != self.checksum:
            raise StyleError("the style was made by other weights; make it again with these")

    def _codes(self, image: np.ndarray, contrast: str, prepared: Prepared) -> np.ndarray:
        """(N, numbers) of the slices of a slice or volume that show enough head."""
        source = prepared.scale.apply(real_array(image)).reshape(-1, *np.shape(image)[-2:])
        areas = np.array([(s > FOREGROUND).mean() for s in source])
        large = np.flatnonzero(areas >= STYLE_HEAD * areas.max())
        places = np.linspace(0, len(large) - 1, min(STYLE_SLICES, len(large))).round()
        chosen = source[large[places.astype(int)]]
        return self._own_codes(chosen, prepared.frame, contrast).cpu().numpy()

    @torch.inference_mode()
    def _own_codes(self, images: np.ndarray, frame: Frame, contrast: str) -> torch.Tensor:
        """(N, numbers): the style of each of (N, H, W) in [0, 1], themselves of `contrast`."""
        encoder = self.generators[contrast].style_encoder
        parts = [
            encoder(frame.apply(images[start : start + self.batch]).to(self.device))
            for start in range(0, len(images), self.batch)
        ]
        return torch.cat(parts)

    def _scaled(
        self,
        image: np.ndarray,
        to: str,
        prepared: Prepared | None,
        spacing: tuple[float, float] | None,
    ) -> tuple[np.ndarray, Prepared]:
        """Scaled source, always (N, H, W), and how it is prepared."""
        if to not in OTHER:
            raise ValueError(f'to="{to}": the target contrast is "T1" or "T2"')
        if prepared is None:
            image = checked_image(image)
            prepared = self.prepare(image, spacing)
        image = real_array(image)
        matrix = (prepared.frame.height, prepared.frame.width)
        if matrix != image.shape[-2:]:
            raise ValueError(f"prepared for a matrix of {matrix}, the image has {image.shape[-2:]}")
        source = prepared.scale.apply(image)
        return source.reshape(-1, *source.shape[-2:]), prepared

    @torch.inference_mode()
    def _run(
        self,
        images: np.ndarray,
        frame: Frame,
        to: str,
        style: Style | torch.Tensor | None,
        with_error: bool = False,
    ) -> list[np.ndarray]:
        """(N, H, W) in [0, 1] -> (N, H, W) in [0, 1] through the generator for `to`.

        Args:
            style: of all images, or (N, numbers), the code of each. Default: `default_style`.
            with_error: whether to give the predicted absolute errors, (N, H, W), too.
        """
        if style is None:
            style = self.default_style.get(to)
        if isinstance(style, Style):
            self.require_fitting(style, to)
            style = torch.tensor([style.code], dtype=torch.float32, device=self.device).expand(
                len(images), -1
            )
        network, parts = self.generators[to], []
        for start in range(0, len(images), self.batch):
            batch = images[start : start + self.batch]
            grid = frame.apply(batch).to(self.device, memory_format=torch.channels_last)
            inputs = [grid] if style is None else [grid, style[start : start + self.batch]]
            reduced = self.precision != torch.float32
            with torch.autocast(self.device.type, self.precision, enabled=reduced):
                output = network(*inputs, error=True) if with_error else network(*inputs)
            output, *log_errors = output if with_error else (output,)
            native = [guided(output, grid, batch, frame)]
            for log_error in log_errors:
                native.append(frame.restore(log_error.float().exp())[:, 0].clip(0))
            heads = [head_without_rim(image, frame.sides) for image in batch]
            parts.append([np.where(heads, n, 0).astype(np.float32, copy=False) for n in native])
        return [np.concatenate(p) for p in zip(*parts, strict=True)]


def multiplies_bfloat16(device: torch.device | str) -> bool:
    """Whether `device` multiplies bfloat16 matrices in hardware, not by emulation.

    CPUs: AVX512-BF16 or AMX (Intel from Cooper Lake, AMD from Zen 4). GPUs: NVIDIA from Ampere.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # `torch.ops.mkldnn._is_mkldnn_bf16_supported` is true for emulation, too, which is slow.
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # no public question exists
    return native is not None and bool(native())
