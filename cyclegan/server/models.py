"""Everything that comes out of a weights folder, behind one queue."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cyclegan import Translator
from cyclegan.model.checkpoint import CheckpointError
from cyclegan.model.hub import weights_folder
from cyclegan.model.style import KnownStyles, StyleError
from cyclegan.server.errors import UserError
from cyclegan.server.queue import Queue
from cyclegan.trust.calibration import Calibration
from cyclegan.trust.checks import InputCheck
from cyclegan.trust.reference import style_of_volume

if TYPE_CHECKING:
    import numpy as np

    from cyclegan.model.style import Style
    from cyclegan.reading.volume import Volume
    from cyclegan.trust.checks import Assessment

log = logging.getLogger("cyclegan.server")

SOURCE = "Automatic"  # name of no style
OWN = "Like a slice of mine"


@dataclass
class Model:
    """The networks and what is known of them.

    Attributes:
        translator: makes the translations.
        check: says what an input looks like, or None, for the reason `unchecked`.
        calibration: what is known of the translator from validation.
        styles: that training saw.
        queue: whose thread runs the translator.
    """

    translator: Translator
    check: InputCheck | None = None
    unchecked: str = "these weights have no input check"
    calibration: Calibration = field(
        default_factory=lambda: Calibration(None, "No expected ranges are known.")
    )
    styles: KnownStyles = field(default_factory=KnownStyles)
    queue: Queue = field(default_factory=Queue)

    @classmethod
    def load(cls, weights: str, revision: str | None = None) -> Model:
        """Read the folder, or Hub repository at `revision`, `weights`.

        Raises:
            CheckpointError: no usable weights there.
        """
        folder = weights_folder(weights, revision)
        translator = Translator.from_pretrained(folder)
        check, unchecked = None, ""
        try:
            check = InputCheck.from_pretrained(folder)
        except CheckpointError as error:  # one's own weights may have none; the page says so
            unchecked = str(error).replace(str(folder), folder.name)  # no path of the server
        calibration = Calibration.from_pretrained(folder, translator.checksum)
        styles = KnownStyles.from_pretrained(folder, translator.checksum)
        for missing in filter(None, (unchecked, calibration.missing, styles.missing)):
            log.warning("%s", missing)
        return cls(translator, check, unchecked, calibration, styles)

    def assess(self, pixels: np.ndarray, spacing: tuple[float, float] | None) -> Assessment | None:
        """What the pixels look like; None without a check."""
        return None if self.check is None else self.check.assess(pixels, spacing)

    def own_style(self, volume: Volume, to: str) -> Style:
        """The style of a user's own image of the contrast `to`, in the model's turn.

        Raises:
            UserError: it shows something else, or the weights know no styles.
        """
        try:
            return self.queue.run(
                lambda: style_of_volume(self.translator, self.check, volume, to, OWN)
            )
        except StyleError as error:
            raise UserError(str(error)) from None
