"""What a run was given, for its report: counts, sizes, intensities, examples, copies and leaks.

Training must not have seen what it is judged by. A person in a training folder and among the pairs
makes the scores too good, and nothing in the curves shows it; so files are compared here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from cyclegan import CONTRASTS
from cyclegan.data.decoded_files import DecodedFiles, file_digest
from cyclegan.data.file_summary import BINS, EXAMPLES, FileSummary, evenly_spaced, summarise_file
from cyclegan.data.item_facts import read_item
from cyclegan.data.slice_cache import SliceCache
from cyclegan.data.training_folders import Item, find_files
from cyclegan.model.preprocess import scale_intensity
from cyclegan.reading.volume import ReadError

LOOKED_AT = 200  # files of one source and contrast that are decoded, evenly spaced; all are hashed
# Correlation of thumbnails. Measured: of 286 slices of other people, the most alike training slice
# reaches 0.981; copies as JPEG, at 3/4 of the size, padded, darker or noisy reach 0.9978 or more; a
# person's neighbouring slices 0.957 (T2) and 0.974 (T1) in the median, 0.9925 at most.
ALIKE = 0.99
LISTED = 50  # warnings of one kind that are written out


class _Seen(NamedTuple):
    """A file that was found: where, which source, its hash, and what decoding it showed."""

    place: str  # "training folder/T1/name" or "pairs folder/T1/name"
    contrast: str
    source: str
    judged: bool  # one of the pairs
    digest: str
    summary: FileSummary | None


def take_inventory(
    folders: Sequence[str | Path],
    pairs: str | Path | None,
    out: Path,
    skipped: Sequence[str] = (),
    progress: Callable[[Iterable], Iterable] = iter,
    cache: SliceCache | None = None,
) -> dict[str, Any]:
    """Look at the training folders and the pairs; write example strips to `out/examples`.

    Args:
        folders: as `SliceDataset.load` takes them.
        pairs: as `evaluate` takes it, or None.
        out: folder of the run.
        skipped: sentences on files that training could not read.
        progress: wraps the list of files, for a progress bar.
        cache: knows the files already that it holds slices of, and remembers the others; None
            reads every file.

    Returns:
        What JSON can hold: `sources`, one dict per source and contrast (`source`, `contrast`,
        `judged`, `files`, `decoded`, `slices`, `matrices` and `spacings` with their counts,
        `histogram`: share of the head's pixels in each of `BINS` equal bins of [0, 1], `examples`:
        a PNG file below `out`); `skipped`; `copies`, groups of files with the same content;
        `leaks`, training files whose picture is among the pairs, too, with `counts` of both.

    Raises:
        DataError, CacheError: as `SliceDataset.load`.
    """
    found = [(item, False) for folder in folders for item in find_files(Path(folder))]
    if pairs is not None:
        found += [(item, True) for item in _pair_files(Path(pairs))]
    decode = _evenly(found)
    with cache or nullcontext():
        files = DecodedFiles(cache) if cache else None
        looks = (_look(*one, one in decode, files) for one in progress(found))
        seen = [one for one in looks if one is not None]
    groups: dict[tuple, list[_Seen]] = defaultdict(list)
    for one in seen:
        groups[one.judged, one.source, one.contrast].append(one)
    sources = [
        _source(number, members, out)
        for number, (_, members) in enumerate(sorted(groups.items(), key=lambda group: group[0]))
    ]
    copies = _copies(seen)
    leaks = _alike(seen)
    return {
        "sources": sources,
        "skipped": list(skipped),
        "copies": copies[:LISTED],
        "leaks": leaks[:LISTED],
        "counts": {"copies": len(copies), "leaks": len(leaks)},
    }


def _pair_files(pairs: Path) -> list[Item]:
    """Files of a pairs folder, as `find_files` lists those of a training folder."""
    return [
        Item(contrast, f"{pairs.resolve().name}/{path.stem.rsplit('_', 1)[0]}", (path,), path.name)
        for contrast in CONTRASTS
        for path in sorted((pairs / contrast).glob("[!.]*"))
        if path.is_file()
    ]


def _evenly(found: Sequence[tuple]) -> set[tuple]:
    """Which files to decode: at most `LOOKED_AT` of a source and contrast."""
    groups = defaultdict(list)
    for item, judged in found:
        groups[item.contrast, item.source, judged].append((item, judged))
    return {item for items in groups.values() for item in evenly_spaced(items, LOOKED_AT)}


def _look(item: Item, judged: bool, decode: bool, known: DecodedFiles | None) -> _Seen | None:
    try:
        digest = known.digest_of(item.files) if known else file_digest(item.files)
    except (OSError, ReadError):  # training says so itself
        return None
    summary = None
    if decode:
        summary = known.summary_of(item.files) if known else _decode(item.files)
    place = f"{item.source.split('/')[0]}/{item.contrast}/{item.name}"
    return _Seen(place, item.contrast, item.source, judged, digest, summary)


def _decode(files: tuple[Path, ...]) -> FileSummary | None:
    try:
        volume, _ = read_item(files)
    except ReadError:
        return None
    return summarise_file(volume, scale_intensity(volume.pixels))


def _source(number: int, members: Sequence[_Seen], out: Path) -> dict[str, Any]:
    """One of `sources`, with its example strip written."""
    summary = _summarise(members)
    tiles = [one.summary.tiles for one in members if one.summary]
    if tiles:
        summary["examples"] = f"examples/{number:03d}.png"
        row = np.hstack(list(evenly_spaced(np.concatenate(tiles), EXAMPLES)))
        (out / "examples").mkdir(parents=True, exist_ok=True)
        Image.fromarray(row).save(out / summary["examples"])
    return summary


def _summarise(members: Sequence[_Seen]) -> dict[str, Any]:
    decoded = [one.summary for one in members if one.summary]
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
        "spacings": dict(Counter(one.spacing_text for one in decoded).most_common()),
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
            [s for s in seen if s.contrast == contrast and s.judged is j and s.summary]
            for j in (False, True)
        )
        if not trained or not judged:
            continue
        known = np.concatenate([one.summary.thumbnails for one in trained]).astype(np.float32)
        owners = np.repeat(np.arange(len(trained)), [len(s.summary.thumbnails) for s in trained])
        for one in judged:
            likeness = (one.summary.thumbnails.astype(np.float32) @ known.T).max(0)
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
