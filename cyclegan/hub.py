"""Weights from and to the Hugging Face Hub.

A repository holds what a weights folder holds, at its top level; `push` adds the model card and the
run's report. Downloads go through huggingface_hub's cache, so what was loaded once loads offline.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import (
    EvalResult,
    HfApi,
    ModelCard,
    ModelCardData,
    get_token,
    hf_hub_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from cyclegan import OTHER
from cyclegan.checkpoint import CONFIG, WEIGHTS, CheckpointError
from cyclegan.runlog import EVALUATION, MODEL, REPORT, read_json

# Beside the generators in a weights folder, where they exist: the input check and its calibration.
OPTIONAL = ("checks.json", "checks.safetensors", "trust.json")
CARD = "README.md"


def weights_folder(source: str | Path, revision: str | None = None) -> Path:
    """A local folder with the weights that `source` names.

    Args:
        source: an existing folder, which is returned as it is, or a Hub repository "user/model",
            which is downloaded into huggingface_hub's cache or found there.
        revision: branch, tag or commit of the repository; default: the main branch.

    Raises:
        CheckpointError: no such folder or repository, no access, no network, or files missing.
    """
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
        except (EntryNotFoundError, HTTPError, OSError):
            continue  # the page says what is missing and works without
    return snapshot


def _download(repo: str, name: str, revision: str | None) -> str:
    """`hf_hub_download`, with one sentence for each way it can fail."""
    try:
        return hf_hub_download(repo, name, revision=revision)
    except GatedRepoError:
        reason = "access must be granted first: ask for it on its Hub page, then `hf auth login`"
    except RepositoryNotFoundError:
        reason = (
            "no such weights folder, and no such repository on the Hub; if it is private, log in "
            "with `hf auth login` or set HF_TOKEN"
        )
    except RevisionNotFoundError:
        reason = f"the repository has no revision {revision}; name a branch, tag or commit of it"
    except LocalEntryNotFoundError:
        reason = (
            f"{name} is not in the local cache and the Hub cannot be reached; check the network "
            "(and HF_HUB_OFFLINE), or give a weights folder"
        )
    except EntryNotFoundError:
        reason = (
            f"the repository holds no {name}; a weights repository holds {CONFIG} and {WEIGHTS}"
        )
    except HFValidationError:
        reason = 'no such weights folder, and not a Hub repository, which reads "user/model"'
    except (HTTPError, OSError) as error:
        reason = f"{name} could not be downloaded ({_brief(error)}); try again later"
    raise CheckpointError(f"{repo}: {reason}") from None


def prepare_push(repo: str) -> None:
    """Make sure that `push` will be allowed, before hours of training: token, name and rights.

    The repository is created here when it does not exist, private: report and sample sheets show
    training images, and making them public is a decision of its own.

    Raises:
        CheckpointError: no token, a bad name, no rights, or no network.
    """
    if get_token() is None:
        raise CheckpointError(
            f"--push-to-hub {repo}: no Hub token on this machine; log in with `hf auth login` or "
            "set HF_TOKEN, then start again"
        )
    if repo.count("/") != 1:
        raise CheckpointError(f'--push-to-hub {repo}: expected the form "user/model"')
    api = HfApi()
    try:
        api.create_repo(repo, private=True, exist_ok=True)
        # An existing repository of somebody else passes create_repo; only this needs its rights.
        api.auth_check(repo, write=True)
    except (HTTPError, HFValidationError, OSError) as error:
        raise CheckpointError(
            f"--push-to-hub {repo}: the Hub refuses ({_brief(error)}); check the name, the token's "
            "right to write, and the network"
        ) from None


def push(repo: str, run: str | Path, card: ModelCard) -> str:
    """Upload the weights folder of a run, its model card and its report in one commit.

    Args:
        repo: "user/model"; see `prepare_push`.
        run: folder of the run, with `weights/` and, when there is one, `report.html`.
        card: as `model_card` makes it; also written to `weights/README.md`.

    Returns:
        Address of the repository.

    Raises:
        CheckpointError: the upload failed; the weights stay where they are.
    """
    folder = Path(run) / "weights"
    card.save(folder / CARD)
    if (Path(run) / REPORT).is_file():
        shutil.copyfile(Path(run) / REPORT, folder / REPORT)
    try:
        commit = HfApi().upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=[CONFIG, WEIGHTS, CARD, REPORT, *OPTIONAL],
            commit_message="Weights, model card and report of a training run",
        )
    except (HTTPError, OSError) as error:
        raise CheckpointError(
            f"{repo}: the upload failed ({_brief(error)}); the weights are in {folder}, send them "
            f"with `hf upload {repo} {folder}`"
        ) from None
    return str(commit.repo_url)


def model_card(run: str | Path, name: str, license: str = "other") -> ModelCard:
    """The model card of a finished run, with its final evaluation as model-index metadata.

    Args:
        run: folder of the run; reads `weights/config.json` and, when there is one,
            `evaluation.json`.
        name: of the model; a Hub repository id as a rule.
        license: Hub identifier; "other" where the training data decide.
    """
    run = Path(run)
    config = json.loads((run / "weights" / CONFIG).read_text("utf-8"))
    evaluation = read_json(run / EVALUATION)
    data = ModelCardData(
        license=license,
        library_name="pytorch",
        pipeline_tag="image-to-image",
        tags=["medical-imaging", "mri", "cyclegan", "t1-t2-translation"],
        model_name=name.rsplit("/", 1)[-1],
        eval_results=_eval_results(evaluation) or None,
    )
    training = config["training"]
    sources = ", ".join(training.get("sources", [])) or "simulated slices only"
    text = f"""
# {name}

Two {config["generator"]} generators that turn an axial T1-weighted brain MRI slice into a synthetic
T2-weighted one and back, trained unpaired for {training["steps"]} steps
({training["minutes"]} minutes).

**Research only. Not a medical device, not for diagnosis.** A generator can invent a lesion or erase
one. A perfect cycle proves nothing about the translation.

```python
from cyclegan import Translator

translator = Translator.from_pretrained("{name}")
t2 = translator.translate(image, to="T2")  # (H, W), any real dtype -> float32 in [0, 1]
```

Training data: {sources}. SHA-256 of `{WEIGHTS}`: `{config["sha256"]}`

{_scores_as_text(evaluation)}
"""
    return ModelCard(f"---\n{data.to_yaml()}\n---\n{text}")


def _eval_results(evaluation: dict[str, Any] | None) -> list[EvalResult]:
    """Means over the sources of the pairs, one entry per direction and score."""
    if evaluation is None:
        return []
    names = {"ssim": "SSIM inside the head", "psnr": "PSNR inside the head (dB)"}
    return [
        EvalResult(
            task_type="image-to-image",
            task_name=f"{OTHER[to]} → {to} MRI translation",
            # One dataset for each direction: results that share task and dataset are merged.
            dataset_type="paired-slices",
            dataset_name=f"{evaluation['slices']} paired slices of "
            f"{len(evaluation['sources'])} sources, {OTHER[to]} → {to}",
            dataset_config=f"{OTHER[to]}-to-{to}",
            metric_type=metric,
            metric_name=label,
            metric_value=round(evaluation["predictors"][MODEL][to]["mean"][metric], 4),
        )
        for to in OTHER
        for metric, label in names.items()
    ]


def _scores_as_text(evaluation: dict[str, Any] | None) -> str:
    if evaluation is None:
        return "Not judged on paired slices: no `--val` was given."
    lines = [
        f"Judged on {evaluation['slices']} paired slices, inside the head, mean over "
        f"{len(evaluation['sources'])} sources (persons or studies):",
        "",
        "| | SSIM T1 → T2 | SSIM T2 → T1 | PSNR T1 → T2 | PSNR T2 → T1 |",
        "|---|---|---|---|---|",
    ]
    for name, scores in evaluation["predictors"].items():
        means = {to: scores[to]["mean"] for to in OTHER}
        ssim = " | ".join(f"{means[to]['ssim']:.3f}" for to in OTHER)
        psnr = " | ".join(f"{means[to]['psnr']:.1f} dB" for to in OTHER)
        lines.append(f"| {name} | {ssim} | {psnr} |")
    return "\n".join(lines)


def _brief(error: Exception) -> str:
    """The first line of an error that says something, without its trailing period."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")
