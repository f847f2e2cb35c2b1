"""A look from files: read, checked to be of the wanted contrast, and measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from cyclegan.model.look import Look, LookError, mean_look
from cyclegan.model.translator import Translator
from cyclegan.reading.series import open_files
from cyclegan.reading.volume import Volume
from cyclegan.trust.checks import InputCheck

GIVEN = "of a given scan"  # name of a look, for labels and provenance
SURE = 0.5  # probability from which on a reference counts as something else than it should be


def look_of_volume(
    translator: Translator, check: InputCheck | None, volume: Volume, contrast: str, name: str = ""
) -> Look:
    """The look of a real slice or series.

    Args:
        translator, check: of the same weights; None where there is no check.
        volume: of any person.
        contrast: what it has to be, "T1" or "T2".
        name: shown to readers; default: none.

    Raises:
        LookError: it looks like something else, or the weights know no looks.
    """
    if check is not None:
        found = check.assess(volume.pixels, volume.pixel_spacing)
        if found.label != contrast and found.probabilities[found.label] >= SURE:
            raise LookError(
                f"{volume.name} looks like {found.label}, not like {contrast}; a look of "
                f"{contrast} needs a real {contrast}"
            )
    return translator.look(volume.pixels, contrast, spacing=volume.pixel_spacing, name=name)


def look_of_path(
    translator: Translator, check: InputCheck | None, path: str | Path, contrast: str
) -> Look:
    """The look of a saved look, a file, or everything in a folder.

    A file's name may be a patient's: a look that is measured here is called `GIVEN`.

    Raises:
        LookError: nothing of the wanted contrast, a look of other weights, or none at all.
        ReadError: a file that cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        look = Look.load(path)
        translator.require_fitting(look, contrast)
        return look
    if not path.exists():
        raise LookError(f"{path}: there is no such file or folder")
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    looks, refused = [], []
    for volume in _volumes(files):
        try:
            looks.append(look_of_volume(translator, check, volume, contrast))
        except LookError as error:
            refused.append(str(error))
    if not looks:
        raise LookError(refused[0] if refused else f"{path}: there is no image in this folder")
    return mean_look(looks, GIVEN)


def _volumes(files: Sequence[Path]) -> Iterable[Volume]:
    selection = open_files(files)
    images = (i for i in range(len(selection.choices)) if not selection.not_mr(i))
    return (selection.read(index) for index in images)
