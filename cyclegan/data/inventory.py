"""The data of a run, for its report: counts, sizes, intensities, examples, copies and leaks.

Training must not have seen what it is judged by. A subject in a training folder and among the pairs
makes the scores too good, and nothing in the curves shows it; so files are compared here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from cyclegan import CONTRASTS
from cyclegan.data.decoding import BINS, EXAMPLES, TILE, FileSummary, evenly_spaced
from cyclegan.data.slice_cache import SliceCache
from cyclegan.data.training_folders import Item, find_files
from cyclegan.reading.volume import ReadError

DECODED = 200  # files of one source and contrast that are decoded, evenly spaced; all are hashed
# Correlation of thumbnails. Measured: of 286 slices of other subjects, the most similar training
# slice reaches 0.981; copies as JPEG, at 3/4 of the size, padded, darker or noisy reach 0.9978 or
# more; a subject's neighbouring slices 0.957 (T2) and 0.974 (T1) in the median, 0.9925 at most.
ALIKE = 0.99
LISTED = 50  # warnings of one kind that are written out


class _File(NamedTuple):
    """A file of a training folder or of the pairs that a run is judged by."""

    place: str  # "training folder/T1/name" or "pairs folder/T1/name"
    contrast: str
    source: str
    judged: bool  # one of the pairs
    content: str  # SHA-256
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
            takes a temporary one.

    Returns:
        What JSON can hold: `sources`, one dict per source and contrast (`source`, `contrast`,
        `judged`, `files`, `decoded`, `slices`, `matrices` and `spacings` with their counts,
        `histogram`: share of the head's pixels in each of `BINS` equal bins of [0, 1], `examples`:
        a PNG file below `out`); `skipped`; `copies`, groups of files with the same content;
        `leaks`, training files whose picture is among the pairs, too, with `counts` of both.

    Raises:
        DataError, CacheError: as `SliceDataset.load`.
    """
    items = [(item, False) for folder in folders for item in find_files(Path(folder))]
    if pairs is not None:
        items += [(item, True) for item in _pair_files(Path(pairs))]
    chosen = _evenly(items)
    with cache or SliceCache(None, TILE) as cache:
        read = (_read(*item, item in chosen, cache) for item in progress(items))
        files = [file for file in read if file is not None]
    groups: dict[tuple, list[_File]] = defaultdict(list)
    for file in files:
        groups[file.judged, file.source, file.contrast].append(file)
    copies, leaks = _copies(files), _leaks(files)
    return {
        "sources": [
            _source(number, members, out)
            for number, (_, members) in enumerate(sorted(groups.items()))
        ],
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


def _evenly(items: Sequence[tuple[Item, bool]]) -> set[tuple[Item, bool]]:
    """Which files to decode: at most `DECODED` of a source and contrast."""
    groups = defaultdict(list)
    for item, judged in items:
        groups[item.contrast, item.source, judged].append((item, judged))
    return {item for members in groups.values() for item in evenly_spaced(members, DECODED)}


def _read(item: Item, judged: bool, decoded: bool, cache: SliceCache) -> _File | None:
    summary = None
    try:
        content = cache.content_of(item.files)
        if decoded:
            with suppress(ReadError):
                summary = cache.summary_of(item.files)
    except ReadError:  # training says so itself
        return None
    place = f"{item.source.split('/')[0]}/{item.contrast}/{item.name}"
    return _File(place, item.contrast, item.source, judged, content, summary)


def _source(number: int, members: Sequence[_File], out: Path) -> dict[str, Any]:
    """One of `sources`, with its example strip written."""
    summaries = [file.summary for file in members if file.summary]
    histogram = sum((summary.histogram for summary in summaries), np.zeros(BINS))
    matrices = Counter(f"{s.shape[1]} x {s.shape[2]}" for s in summaries)
    source = {
        "source": members[0].source,
        "contrast": members[0].contrast,
        "judged": members[0].judged,
        "files": len(members),
        "decoded": len(summaries),
        "slices": sum(int(summary.shape[0]) for summary in summaries),
        "matrices": dict(matrices.most_common()),
        "spacings": dict(Counter(s.spacing_text for s in summaries).most_common()),
        "histogram": (histogram / max(histogram.sum(), 1)).round(5).tolist(),
    }
    if summaries:
        source["examples"] = f"examples/{number:03d}.png"
        tiles = evenly_spaced(np.concatenate([s.tiles for s in summaries]), EXAMPLES)
        (out / "examples").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.hstack(list(tiles))).save(out / source["examples"])
    return source


def _copies(files: Sequence[_File]) -> list[dict[str, Any]]:
    """Groups of files with the same bytes, those between training and pairs first."""
    groups = defaultdict(list)
    for file in files:
        groups[file.content].append(file)
    copies = [
        {
            "files": [file.place for file in group],
            "leak": len({file.judged for file in group}) > 1,
            "contrasts": len({file.contrast for file in group}) > 1,
        }
        for group in groups.values()
        if len(group) > 1
    ]
    return sorted(copies, key=lambda group: (not group["leak"], not group["contrasts"]))


def _leaks(files: Sequence[_File]) -> list[dict[str, Any]]:
    """For each file of the pairs, the training file most like it, when it is too much so.

    Thumbnails are compared by correlation, which survives another file format, size, border and
    gain; not mirroring, nor always another gamma.
    """
    leaks = []
    for contrast in CONTRASTS:
        trained, judged = (
            [f for f in files if f.contrast == contrast and f.judged is j and f.summary]
            for j in (False, True)
        )
        if not trained or not judged:
            continue
        known = np.concatenate([file.summary.thumbnails for file in trained]).astype(np.float32)
        owners = np.repeat(np.arange(len(trained)), [len(f.summary.thumbnails) for f in trained])
        for file in judged:
            likeness = (file.summary.thumbnails.astype(np.float32) @ known.T).max(0)
            nearest = trained[owners[likeness.argmax()]]
            if likeness.max() >= ALIKE:
                leaks.append(
                    {
                        "pair": file.place,
                        "training": nearest.place,
                        "likeness": round(float(min(likeness.max(), 1)), 4),
                        "same_bytes": file.content == nearest.content,
                    }
                )
    return sorted(leaks, key=lambda leak: -leak["likeness"])
