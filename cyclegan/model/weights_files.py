"""What a weights folder holds: the one list for loading, publishing and packing.

Training writes `REQUIRED`; the commands named in `OPTIONAL` add the rest.
"""

from __future__ import annotations

CONFIG, WEIGHTS = "config.json", "model.safetensors"
CHECK, CHECK_WEIGHTS = "checks.json", "checks.safetensors"
TRUST = "trust.json"
STYLES = "styles.json"
CARD = "README.md"  # the model card

REQUIRED = (CONFIG, WEIGHTS)
# Each with the command that makes it; without one, a part of the page is missing, and it says so.
OPTIONAL = {
    CHECK: "python -m cyclegan.release.check_training",
    CHECK_WEIGHTS: "python -m cyclegan.release.check_training",
    TRUST: "python -m cyclegan.release.calibrate",
    STYLES: "python -m cyclegan.release.name_styles",
}
CONTENTS = (*REQUIRED, *OPTIONAL, CARD)
