"""What decides a training run, with the reason for each default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class TrainConfig:
    """Every field is an option of `train.py`, except `generator_options`."""

    generator: str = "unet"
    generator_options: dict[str, Any] = field(default_factory=dict)
    size: int = 256  # grid of the finished model; a head fills it at about 1 mm a pixel
    start_size: int = 160  # the first steps run at this size: 2.5 times as many in the same time
    start_share: float = 0.25  # share of the run at start_size
    # Slices of each contrast that one process takes through the networks at once. A step sees
    # batch x accumulate x processes of them, and gives the same weights however that is made up.
    batch: int = 4
    accumulate: int = 1  # passes before each step, where a larger batch does not fit the memory
    compile: bool = False  # torch.compile: minutes at the start, then faster; pays in long runs
    steps: int | None = None  # the run ends at whichever of the two comes first
    minutes: float | None = None
    warmup: float = 0.5  # share of the run on simulated pairs alone, when there is real data too
    lr: float = 1e-4  # Adam, generators; falls linearly to zero over the last half
    lr_discriminator: float = 3e-4  # faster: they start from nothing (Heusel et al. 2017)
    lr_warmup: float = 5e-4  # 1e-3 sent the outputs to black within 50 steps
    weight_gan: float = 0.15  # of the least-squares GAN loss: more of it invents texture
    weight_cycle: float = 3.0  # of L1; the paper's 10, but warmed-up generators keep the anatomy
    weight_cycle_ssim: float = 1.5  # of 1 - SSIM: sharp where L1 is content with a blur
    weight_identity: float = 0.0  # the paper's 5 holds a U-Net at copying, and costs a third
    weight_structure: float = 1.0  # normalised gradient field between source and translation
    weight_intensity: float = 10.0  # tissue brightness of the source, see losses.py
    weight_pairs: float = 6.0  # L1 + half of (1 - SSIM) on simulated pairs, beside the GAN losses
    weight_lesions: float = 3.0  # the same within and around lesions implanted in real slices
    weight_paired: float = 12.0  # L1 + half of (1 - SSIM) on real pairs, beside the losses above
    weight_sharp: float = 0.5  # within it: differences of detail at four sizes
    weight_faded: float = 1.0  # within it: spots that the source shows and the answer lets fade
    paired: float = 0.67  # share of a step's places with real pairs, where there are any
    paired_stripped: float = 0.3  # share of head-in pairs that are skull-stripped copies
    implanted: float = 0.75  # share of real pairs with lesions implanted
    paired_disturbed: float = 1.0  # share of real pairs whose source comes from another scanner
    tolerance: int = 2  # pixels by which the truth of a real pair may lie beside its source
    look: int = 12  # numbers in the code of a scanner's look; 0: generators without looks
    looked: float = 0.5  # share of the lessons with a reference, of the rest the source guesses
    look_gain: float = 1.0  # of the codes of --init before their tanh; 0.3 freed stuck ones
    band: bool = True  # generators also learn how large their error is likely to be
    refine: bool = False  # the last stage, from --init: see refinement.py
    back_translation: bool = False  # real slices as truth, from --init: see back_translation.py
    anchors: float = 0.5  # simulated pairs beside each real slice, once real slices come in
    disturb: bool = True  # what generators are given comes from a scanner of its own
    pool: int = 50  # the paper's history of generated images
    ema: float = 0.999
    conditional: bool = True  # discriminators know the data source
    lesions: float = 0.7  # share of simulated pairs with lesions
    stripped: float = 0.45
    strip_steps: int = 700  # of the brain masks' network, for stripped copies; 0: no copies
    seed: int = 0
    log_every: int = 20
    sample_every: int = 500
    save_every: int = 500
    validate_every: int = 1000

    def network_options(self) -> dict[str, Any]:
        """Arguments of the generator, as `networks.GENERATORS` takes them."""
        learnt = {"look": self.look, "band": self.band} if self.generator == "unet" else {}
        return learnt | self.generator_options
