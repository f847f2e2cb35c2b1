"""Where weights are: in a folder, with this package, or on the Hugging Face Hub.

A repository holds what a weights folder holds, at its top level; `report/publish.py` brings it
there. Downloads go through huggingface_hub's cache, so what was loaded once loads offline.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from cyclegan.model.checkpoint import CONFIG, OPTIONAL, WEIGHTS, CheckpointError

VARIABLE = "CYCLEGAN_WEIGHTS"  # of the environment: the weights to take where none are named
DEFAULT = "weights"
# A wheel packs the clone's folder into the package.
_SHIPPED = tuple(Path(__file__).parents[up] / DEFAULT for up in (1, 2))

log = logging.getLogger("cyclegan.weights")


def weights_folder(source: str | Path = DEFAULT, revision: str | None = None) -> Path:
    """A local folder with the weights that `source` names.

    Args:
        source: an existing folder, which is returned as it is, or a Hub repository "user/model",
            which is downloaded into huggingface_hub's cache unless it is there. "weights" means
            what the environment's CYCLEGAN_WEIGHTS names, else a weights folder of that name in the
            current folder, else the weights that came with this package.
        revision: branch, tag or commit of the repository; default: the main branch.

    Raises:
        CheckpointError: no such folder or repository, no access, no network, or files missing.
    """
    if str(source) == DEFAULT:
        if named := os.environ.get(VARIABLE):
            try:
                return _folder(named, revision)
            except CheckpointError as error:
                raise CheckpointError(f"{VARIABLE}: {error}") from None
        places = (Path(DEFAULT), *_SHIPPED)
        source = next((place for place in places if (place / CONFIG).is_file()), source)
    return _folder(source, revision)


def _folder(source: str | Path, revision: str | None) -> Path:
    """The folder of weights by their path or repository, as `weights_folder` returns it."""
    folder = Path(source)
    if folder.is_dir():
        if revision is not None:
            raise CheckpointError(
                f"{source}: a folder has no revision {revision}; give a Hub repository or drop it"
            )
        return folder
    if str(source).count("/") != 1 or str(source).startswith((".", "/", "~")):
        raise CheckpointError(f"{source}: no such weights folder")
    snapshot = Path(_download(str(source), CONFIG, revision)).parent
    commit = snapshot.name  # all files from one commit, even while somebody pushes another
    _download(str(source), WEIGHTS, commit)
    for name in OPTIONAL:
        try:
            hf_hub_download(str(source), name, revision=commit)
        except LocalEntryNotFoundError as error:
            log.warning("%s: %s is not in the local cache (%s)", source, name, brief(error))
        except EntryNotFoundError:
            continue  # not made for these weights; who needs it says that it is missing
        except (HTTPError, OSError) as error:
            log.warning("%s: %s could not be downloaded (%s)", source, name, brief(error))
    return snapshot


# What to say of each way a download can fail; the first that fits.
_REASONS: dict[tuple[type[Exception], ...], str] = {
    (GatedRepoError,): "access must be granted first: ask for it on its Hub page, then "
    "`hf auth login`",
    (RepositoryNotFoundError,): "no such weights folder, and no such repository on the Hub; if it "
    "is private, log in with `hf auth login` or set HF_TOKEN",
    (RevisionNotFoundError,): "the repository has no revision {revision}; name a branch, tag or "
    "commit of it",
    (LocalEntryNotFoundError,): "{name} is not in the local cache and the Hub cannot be reached; "
    "check the network (and HF_HUB_OFFLINE), or give a weights folder",
    (EntryNotFoundError,): "the repository holds no {name}; a weights repository holds "
    f"{CONFIG} and {WEIGHTS}",
    (HFValidationError,): "no such weights folder, and not a Hub repository, which reads "
    '"user/model"',
    (HTTPError, OSError): "{name} could not be downloaded ({error}); try again later",
    # A proxy of a kind that httpx does not know.
    (ValueError, ImportError): "{name} could not be downloaded ({error}); check the proxy that the "
    "environment names",
}


def _download(repo: str, name: str, revision: str | None) -> str:
    """`hf_hub_download`, with one sentence for each way it can fail."""
    try:
        return hf_hub_download(repo, name, revision=revision)
    except tuple(kind for kinds in _REASONS for kind in kinds) as error:
        reason = next(text for kinds, text in _REASONS.items() if isinstance(error, kinds))
        words = reason.format(name=name, revision=revision, error=brief(error))
    raise CheckpointError(f"{repo}: {words}")


def brief(error: Exception) -> str:
    """The first line of an error that says something, without its trailing period."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")
