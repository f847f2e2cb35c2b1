"""A style from files: read, checked to be of the right contrast, and measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from cyclegan.model.style import Style, StyleError, mean_style
from cyclegan.model.translator import Translator
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import Volume
from cyclegan.trust.checks import InputCheck

FROM_SCAN = "of a given scan"  # name of a style, for labels and provenance
SURE = 0.5  # probability from which on a reference counts as something else than it should be


def style_of_volume(
    translator: Translator, check: InputCheck | None, volume: Volume, contrast: str, name: str = ""
) -> Style:
    """The style of a real slice or series.

    Args:
        translator, check: of the same weights; None where there is no check.
        volume: of anyone.
        contrast: what it has to be, "T1" or "T2".
        name: shown to users; default: none.

    Raises:
        StyleError: it looks like something else, or the weights know no styles.
    """
    if check is not None:
        seen = check.assess(volume.pixels, volume.pixel_spacing)
        if seen.label != contrast and seen.probabilities[seen.label] >= SURE:
            raise StyleError(
                f"{volume.name} looks like {seen.label}, not like {contrast}; a style of "
                f"{contrast} needs a real {contrast}"
            )
    return translator.style(volume.pixels, contrast, spacing=volume.pixel_spacing, name=name)


def style_of_path(
    translator: Translator, check: InputCheck | None, path: str | Path, contrast: str
) -> Style:
    """The style of a saved style, a file, or everything in a folder.

    A file's name may be a patient's: a style that is measured here is called `FROM_SCAN`.

    Raises:
        StyleError: nothing of that contrast, a style of other weights, or none at all.
        ReadError: a file that cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        style = Style.load(path)
        translator.require_fitting(style, contrast)
        return style
    if not path.exists():
        raise StyleError(f"{path}: there is no such file or folder")
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    styles, refused = [], []
    for volume in _volumes(files):
        try:
            styles.append(style_of_volume(translator, check, volume, contrast))
        except StyleError as error:
            refused.append(str(error))
    if not styles:
        raise StyleError(refused[0] if refused else f"{path}: there is no image in this folder")
    return mean_style(styles, FROM_SCAN)


def _volumes(files: Sequence[Path]) -> Iterable[Volume]:
    selection = open_files(files)
    images = (i for i in range(len(selection.choices)) if not selection.not_mr(i))
    return (selection.read(index) for index in images)
