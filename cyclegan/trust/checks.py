"""Is the input what the model expects? T1, T2, another contrast, or no axial brain slice at all.

A small classifier that warns and never blocks: an adult's T1 or T2 fits, an unsure answer is
doubtful, and the rest is not what the translation was trained on. Its weights lie beside the
generators' in `checks.safetensors` and `checks.json`; `python -m cyclegan.release.check_training`
makes them and `python -m cyclegan.release.check_report` measures them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load
from scipy import ndimage
from torch import nn

from cyclegan import OTHER
from cyclegan.data.decoding import evenly_spaced
from cyclegan.model.arrays import real_array
from cyclegan.model.checkpoint import (
    CHECK,
    CHECK_WEIGHTS,
    CheckpointError,
    read_checked,
)
from cyclegan.model.head import head_mask
from cyclegan.model.hub import weights_folder
from cyclegan.model.preprocess import Frame, scale_intensity

SIZE = 160  # side of the classifier's grid: a vessel of 2 mm is still a pixel wide

# The classes of the network, and the label that each belongs to.
KINDS = {
    "T1": "T1",
    "T2": "T2",
    "FLAIR": "other",
    "T1POST": "other",
    "OTHER": "other",  # proton density, CT, inverted grey values
    "NEWBORN": "other",  # T1 or T2, whose grey and white matter are not yet as an adult's
    "TURNED": "not a brain slice",  # turned by more than 30 degrees, upside down, not axial
    "NOTHING": "not a brain slice",  # photographs, text, charts, other objects, many slices in one
    "OUTSIDE": "not a brain slice",  # neck, face and top of the head: next to no brain in it
}
LABELS = ("T1", "T2", "other", "not a brain slice")
WORDS = {
    "T1": "T1",
    "T2": "T2",
    "FLAIR": "FLAIR",
    "T1POST": "T1 after contrast agent",
    "OTHER": "neither T1 nor T2",
    "NEWBORN": "a newborn's brain",
    "TURNED": "a head that is turned or not cut axially",
    "NOTHING": "no single brain slice",
    "OUTSIDE": "the neck, the face or the top of the head",
}
BECAUSE = {
    "NEWBORN": "the translation was learnt from adults",
    "OUTSIDE": "outside of what training saw",
}
FITS, DOUBTFUL, UNLEARNT = "fits", "doubtful", "not what it learnt"
SURE = 0.8  # below this an answer is doubtful, and the sentence names the second possibility, too
SLICES = 7  # of a volume
INNER = 0.6  # of a volume's largest cross-section: slices with less than this are passed over


@dataclass(frozen=True)
class Assessment:
    """What an input looks like.

    Attributes:
        label: one of `LABELS`, the most probable.
        probabilities: label -> calibrated probability; they sum to 1.
        kind: one of `KINDS`, the most probable one within `label`.
        sentence: the answer in plain words.
        slices: indices along axis 0 that the answer comes from; (0,) for a single slice.
        outside: indices along axis 0 that were assessed and show neck, face or the top of the
            head: outside of what training saw. The answer does not come from them unless there are
            no others; then they are its `slices`, too.
    """

    label: str
    probabilities: dict[str, float]
    kind: str
    sentence: str
    slices: tuple[int, ...]
    outside: tuple[int, ...] = ()

    @property
    def fit(self) -> str:
        """Whether the input is what the translation was trained on, by one threshold.

        `DOUBTFUL` where the label is less than `SURE` probable; else `FITS` for T1 and T2, and
        `UNLEARNT` for the rest. Whether it is the source of a direction is `contradicts`.
        """
        if self.probabilities[self.label] < SURE:
            return DOUBTFUL
        return FITS if self.label in OTHER else UNLEARNT

    @property
    def to(self) -> str | None:
        """The contrast to translate to, "T1" or "T2"; None when the input is neither."""
        return OTHER.get(self.label)

    def contradicts(self, to: str) -> bool:
        """Whether translating this input to `to` is not what the model was made for."""
        return self.to != to


class CheckNetwork(nn.Module):
    """(B, 1, S, S) in [0, 1] -> (B, kinds) logits; about 172,000 weights.

    Mean and maximum are both pooled: the mean sees the contrast, the maximum one bright vessel.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = (16, 32, 48, 64, 96)
        layers: list[nn.Module] = []
        before = 1
        for depth, width in enumerate(channels):
            layers += _block(before, width, stride=2, kernel=3 if depth else 5)
            if 0 < depth < len(channels) - 1:
                layers += _block(width, width, stride=1, kernel=3)
            before = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(2 * before, len(KINDS))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.features(images)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        return self.head(F.dropout(pooled, 0.2, self.training))


class InputCheck:
    """The classifier with its calibration.

    Args:
        network: trained `CheckNetwork`.
        config: of checks.json; `temperature` divides the logits (Guo et al. 2017), `other_odds`
            is how much rarer other contrasts are among uploads than in training (Saerens et al.
            2002).
    """

    def __init__(self, network: nn.Module, config: dict[str, Any]):
        self.network = network.eval()
        self.config = config
        self.temperature = float(config["temperature"])
        odds = float(config["other_odds"])
        weight = [odds if label == "other" else 1.0 for label in KINDS.values()]
        self.odds = torch.tensor(weight).double()
        self.checksum: str = config.get("sha256", "")

    @staticmethod
    def is_in(folder: str | Path) -> bool:
        """Whether a weights folder comes with a check; freshly trained weights have none."""
        return (Path(folder) / CHECK).is_file()

    @classmethod
    def from_pretrained(cls, folder: str | Path = "weights") -> InputCheck:
        """Read `checks.json` and `checks.safetensors` of weights, as `weights_folder` finds them.

        Raises:
            CheckpointError: missing or damaged files, a checksum that does not match, or a config
                that does not fit the weights.
        """
        folder = weights_folder(folder)
        remedy = "python -m cyclegan.release.check_training makes it"
        config, data = read_checked(folder, (CHECK, CHECK_WEIGHTS), remedy)
        try:
            if config["kinds"] != list(KINDS):
                raise KeyError(f"kinds {config['kinds']}")
            network = CheckNetwork()
            network.load_state_dict(load(data))
            return cls(network, config)
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"{folder / CHECK_WEIGHTS}: does not fit its config ({reason})"
            ) from None

    def assess(self, image: np.ndarray, spacing: tuple[float, float] | None = None) -> Assessment:
        """Say what a slice or a volume looks like.

        Args:
            image: (H, W) or (Z, H, W), any real dtype and range, shown as it would be read:
                anterior up. Of a volume a few slices through its middle are assessed, and
                their probabilities averaged; those of neck and face are left out.
            spacing: (row, column) in mm where pixels are not square.

        Raises:
            ValueError: no slice or volume of real numbers, or a spacing that is not two positive
                numbers.
        """
        image = real_array(image)
        volume = image[np.newaxis] if image.ndim == 2 else image
        chosen = inner_slices(volume)
        framed = [frame_slice(volume[i], spacing) for i in chosen]
        probabilities = self.kind_probabilities(np.concatenate(framed))
        outside = probabilities.argmax(1) == list(KINDS).index("OUTSIDE")
        used = ~outside if not outside.all() else outside
        return summarise(
            probabilities[used].mean(0),
            tuple(chosen[used].tolist()),
            tuple(chosen[outside].tolist()),
        )

    @torch.inference_mode()
    def kind_probabilities(self, framed: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of framed slices.

        Args:
            framed: (N, SIZE, SIZE) float32 in [0, 1], as `frame_slice` gives them.

        Returns:
            (N, len(KINDS)) float64, rows sum to 1.
        """
        images = torch.from_numpy(np.ascontiguousarray(framed, np.float32))[:, None]
        logits = self.network(images.to(memory_format=torch.channels_last))
        logits = logits.double() / self.temperature + self.odds.log()
        return torch.softmax(logits, 1).numpy()


def frame_slice(image: np.ndarray, spacing: tuple[float, float] | None = None) -> np.ndarray:
    """Bring one slice to the classifier's grid: (H, W), any real dtype -> (1, SIZE, SIZE).

    Each slice is scaled and framed by itself, so that the answer does not depend on its neighbours.
    `spacing` is (row, column) in mm where pixels are not square.
    """
    scaled = scale_intensity(image)
    return Frame.fit(scaled, SIZE, spacing).apply(scaled[np.newaxis])[:, 0].numpy()


def inner_slices(volume: np.ndarray) -> np.ndarray:
    """Up to `SLICES` indices along axis 0 of (Z, H, W), evenly through the largest sections."""
    if len(volume) == 1:
        return np.zeros(1, int)
    candidates = evenly_spaced(np.arange(len(volume)), 24)
    step = max(1, max(volume.shape[1:]) // 96)  # areas need no resolution
    small = scale_intensity(volume[candidates, ::step, ::step])
    areas = np.array([head_mask(ndimage.gaussian_filter(s, 0.5)).sum() for s in small])
    return np.asarray(evenly_spaced(candidates[areas >= INNER * areas.max()], SLICES))


def group(kinds: np.ndarray) -> np.ndarray:
    """Sum (..., len(KINDS)) probabilities to (..., len(LABELS))."""
    member = np.array([[own == label for label in LABELS] for own in KINDS.values()])
    return kinds @ member.astype(float)


def summarise(
    kinds: np.ndarray, slices: tuple[int, ...], outside: tuple[int, ...] = ()
) -> Assessment:
    """Turn (len(KINDS),) probabilities into an `Assessment`."""
    probabilities = dict(zip(LABELS, group(kinds).tolist(), strict=True))
    label = max(probabilities, key=probabilities.get)
    by_kind = dict(zip(KINDS, kinds.tolist(), strict=True))
    kind = max((k for k in KINDS if KINDS[k] == label), key=by_kind.get)
    sentence = _sentence(probabilities, label, kind)
    return Assessment(label, probabilities, kind, sentence, slices, outside)


def _sentence(probabilities: dict[str, float], label: str, kind: str) -> str:
    share = f"{min(99, round(100 * probabilities[label]))} %"  # no check is ever 100 % sure
    if probabilities[label] < SURE:
        second = max((name for name in LABELS if name != label), key=probabilities.get)
        names = {"other": "another contrast"}
        other_share = f"{round(100 * probabilities[second])} %"
        return (
            f"Hard to tell: {names.get(label, label)} ({share}) or {names.get(second, second)} "
            f"({other_share}). Look for yourself."
        )
    if kind in BECAUSE:
        return f"Looks like {WORDS[kind]}: {BECAUSE[kind]} ({share} sure that it does not fit)."
    if label == "other":
        return f"Looks like {WORDS[kind]} ({share} sure of another contrast than plain T1 or T2)."
    return f"Looks like {WORDS[kind]} ({share} sure)."


def _block(before: int, width: int, stride: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
