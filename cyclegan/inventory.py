"""What a run was given, for its report: counts, sizes, intensities, examples, copies and leaks.

Training must not have seen what it is judged by. A person in a training folder and among the pairs
makes the scores too good, and nothing in the curves shows it; so files are compared here.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from cyclegan import CONTRASTS
from cyclegan.data import find_files
from cyclegan.preprocess import Frame, head_mask, scale_intensity
from cyclegan.volume import ReadError, read_volume

LOOKED_AT = 200  # files of one source and contrast that are decoded, evenly spaced; all are hashed
BINS = 32  # of the intensity histograms
EXAMPLES, TILE = 8, 96  # slices in an example strip, and their side in pixels
THUMBNAIL = 32  # side of what is compared for likeness
REACH = 1.6  # of a thumbnail's edge from its centre, in standard deviations of brightness
AIR = 0.1  # brightness that does not count, so that a noisy background does not
COMPARED = 64  # slices of one volume that are compared, evenly spaced
# Correlation of thumbnails. Measured: of 286 slices of other people, the most alike training slice
# reaches 0.981; copies as JPEG, at 3/4 of the size, padded, darker or noisy reach 0.9978 or more; a
# person's neighbouring slices 0.957 (T2) and 0.974 (T1) in the median, 0.9925 at most.
ALIKE = 0.99
LISTED = 50  # warnings of one kind that are written out


class _Decoded(NamedTuple):
    """What decoding a file showed; small, as thousands of them are held."""

    slices: int
    matrix: str
    spacing: str
    histogram: np.ndarray  # (BINS,) pixels inside the head
    tiles: np.ndarray  # (EXAMPLES or fewer, TILE, TILE) uint8, framed
    thumbnails: np.ndarray  # (COMPARED or fewer, THUMBNAIL²) float16, mean 0 and norm 1


class _Seen(NamedTuple):
    """A file that was found: where, which source, its hash, and what decoding showed."""

    place: str  # "training folder/T1/name" or "pairs folder/T1/name"
    contrast: str
    source: str
    judged: bool  # one of the pairs
    digest: str
    decoded: _Decoded | None


def take_inventory(
    folders: Sequence[str | Path],
    pairs: str | Path | None,
    out: Path,
    skipped: Sequence[str] = (),
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict[str, Any]:
    """Look at the training folders and the pairs; write example strips to `out/examples`.

    Args:
        folders: as `SliceDataset.load` takes them.
        pairs: as `evaluate` takes it, or None.
        out: folder of the run.
        skipped: sentences on files that training could not read.
        progress: wraps the list of files, for a progress bar.

    Returns:
        What JSON can hold: `sources`, one dict per source and contrast (`source`, `contrast`,
        `judged`, `files`, `decoded`, `slices`, `matrices` and `spacings` with their counts,
        `histogram`: share of the head's pixels in each of `BINS` equal bins of [0, 1], `examples`:
        a PNG file below `out`); `skipped`; `copies`, groups of files with the same content;
        `leaks`, training files whose picture is among the pairs, too, with `counts` of both.

    Raises:
        DataError: as `SliceDataset.load`.
    """
    found = [
        (contrast, source, path, False)
        for folder in folders
        for contrast, source, path in find_files(Path(folder))
    ]
    if pairs is not None:
        found += _pair_files(Path(pairs))
    decode = _evenly(found)
    looks = (_look(*item, decode=item in decode) for item in progress(found))
    seen = [one for one in looks if one is not None]
    groups: dict[tuple, list[_Seen]] = defaultdict(list)
    for one in seen:
        groups[one.judged, one.source, one.contrast].append(one)
    (out / "examples").mkdir(parents=True, exist_ok=True)
    sources = []
    for number, (_, members) in enumerate(sorted(groups.items(), key=lambda group: group[0])):
        summary = _summarise(members)
        tiles = [one.decoded.tiles for one in members if one.decoded]
        if tiles:
            summary["examples"] = f"examples/{number:03d}.png"
            row = np.hstack(list(_spread(np.concatenate(tiles), EXAMPLES)))
            Image.fromarray(row).save(out / summary["examples"])
        sources.append(summary)
    copies = _copies(seen)
    leaks = _alike(seen)
    return {
        "sources": sources,
        "skipped": list(skipped),
        "copies": copies[:LISTED],
        "leaks": leaks[:LISTED],
        "counts": {"copies": len(copies), "leaks": len(leaks)},
    }


def _pair_files(pairs: Path) -> list[tuple[str, str, Path, bool]]:
    """Files of a pairs folder, as `find_files` lists those of a training folder."""
    return [
        (contrast, f"{pairs.resolve().name}/{path.stem.rsplit('_', 1)[0]}", path, True)
        for contrast in CONTRASTS
        for path in sorted((pairs / contrast).glob("[!.]*"))
        if path.is_file()
    ]


def _evenly(found: Sequence[tuple]) -> set[tuple]:
    """Which files to decode: at most `LOOKED_AT` of a source and contrast."""
    groups = defaultdict(list)
    for item in found:
        groups[item[0], item[1], item[3]].append(item)
    return {item for items in groups.values() for item in _spread(items, LOOKED_AT)}


def _spread(items: Sequence, count: int) -> list:
    """At most `count` of the items, evenly spaced."""
    chosen = np.linspace(0, len(items) - 1, min(len(items), count)).round().astype(int)
    return [items[i] for i in chosen]


def _look(contrast: str, source: str, path: Path, judged: bool, *, decode: bool) -> _Seen | None:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # training says so itself
        return None
    place = f"{source.split('/')[0]}/{contrast}/{path.name}"
    return _Seen(place, contrast, source, judged, digest, _decode(path) if decode else None)


def _decode(path: Path) -> _Decoded | None:
    try:
        volume = read_volume(path)
    except ReadError:  # training says so itself
        return None
    pixels = scale_intensity(volume.pixels)
    frame = Frame.fit(pixels, TILE)
    slices = np.stack(_spread(frame.apply(pixels)[:, 0].numpy(), COMPARED))
    inside = slices[np.stack([head_mask(image) for image in slices])]
    quarter = len(slices) // 4  # the brain is in the middle half of a volume
    middle = slices[quarter : len(slices) - quarter]
    spacing = "not in the file"
    if volume.spacing is not None:
        spacing = " x ".join(f"{mm:.2f}" for mm in (*volume.spacing[1:], volume.spacing[0]))
    return _Decoded(
        slices=len(pixels),
        matrix=f"{pixels.shape[1]} x {pixels.shape[2]}",
        spacing=spacing,
        histogram=np.histogram(inside, BINS, (0, 1))[0],
        tiles=(255 * np.stack(_spread(middle, EXAMPLES))).round().astype(np.uint8),
        thumbnails=_thumbnails(slices),
    )


def _thumbnails(slices: np.ndarray) -> np.ndarray:
    """(N, TILE, TILE) -> (N, THUMBNAIL²) float16, each row of mean 0 and norm 1.

    Centred and scaled by the moments of brightness (Hu 1962), which hardly move when a file is
    saved again, while the edge of the head may jump by a pixel.
    """
    rows, columns = np.mgrid[:TILE, :TILE]
    grid = np.linspace(-REACH, REACH, THUMBNAIL)
    thumbnails = []
    for image in slices:
        weight = np.clip(image - AIR, 0, None)
        weight = weight / max(weight.sum(), 1e-6)
        row, column = (weight * rows).sum(), (weight * columns).sum()
        radius = np.sqrt((weight * ((rows - row) ** 2 + (columns - column) ** 2)).sum())
        smooth = ndimage.gaussian_filter(image, TILE / THUMBNAIL / 2)
        places = np.meshgrid(row + radius * grid, column + radius * grid, indexing="ij")
        small = ndimage.map_coordinates(smooth, places, order=1).ravel()
        small = small - small.mean()
        thumbnails.append(small / max(np.linalg.norm(small), 1e-6))
    return np.array(thumbnails, np.float16)


def _summarise(members: Sequence[_Seen]) -> dict[str, Any]:
    decoded = [one.decoded for one in members if one.decoded]
    histogram = sum((one.histogram for one in decoded), np.zeros(BINS))
    first = members[0]
    return {
        "source": first.source,
        "contrast": first.contrast,
        "judged": first.judged,
        "files": len(members),
        "decoded": len(decoded),
        "slices": sum(one.slices for one in decoded),
        "matrices": dict(Counter(one.matrix for one in decoded).most_common()),
        "spacings": dict(Counter(one.spacing for one in decoded).most_common()),
        "histogram": (histogram / max(histogram.sum(), 1)).round(5).tolist(),
    }


def _copies(seen: Sequence[_Seen]) -> list[dict[str, Any]]:
    """Groups of files with the same bytes, those between training and pairs first."""
    groups = defaultdict(list)
    for one in seen:
        groups[one.digest].append(one)
    found = [
        {
            "files": [one.place for one in group],
            "leak": len({one.judged for one in group}) > 1,
            "contrasts": len({one.contrast for one in group}) > 1,
        }
        for group in groups.values()
        if len(group) > 1
    ]
    return sorted(found, key=lambda group: (not group["leak"], not group["contrasts"]))


def _alike(seen: Sequence[_Seen]) -> list[dict[str, Any]]:
    """For each file of the pairs, the training file most like it, when it is too much so.

    Thumbnails are compared by correlation, which survives another file format, size, border and
    gain; not mirroring, nor always another gamma.
    """
    leaks = []
    for contrast in CONTRASTS:
        trained, judged = (
            [s for s in seen if s.contrast == contrast and s.judged is j and s.decoded]
            for j in (False, True)
        )
        if not trained or not judged:
            continue
        known = np.concatenate([one.decoded.thumbnails for one in trained]).astype(np.float32)
        owners = np.repeat(np.arange(len(trained)), [len(s.decoded.thumbnails) for s in trained])
        for one in judged:
            likeness = (one.decoded.thumbnails.astype(np.float32) @ known.T).max(0)
            nearest = trained[owners[likeness.argmax()]]
            if likeness.max() >= ALIKE:
                leaks.append(
                    {
                        "pair": one.place,
                        "training": nearest.place,
                        "likeness": round(float(min(likeness.max(), 1)), 4),
                        "same_bytes": one.digest == nearest.digest,
                    }
                )
    return sorted(leaks, key=lambda leak: -leak["likeness"])
