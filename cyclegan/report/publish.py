"""A run's weights, model card and report to the Hugging Face Hub; `model/hub.py` gets them back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData, get_token
from huggingface_hub.errors import HFValidationError, HTTPError

from cyclegan import OTHER
from cyclegan.model.checkpoint import CARD, CONFIG, CONTENTS, CheckpointError
from cyclegan.model.hub import brief
from cyclegan.report.runlog import EVALUATION, MODEL, REPORT, read_json


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
            f"--push-to-hub {repo}: the Hub refuses ({brief(error)}); check the name, the token's "
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
            allow_patterns=[*CONTENTS, REPORT],
            commit_message="Weights, model card and report of a training run",
        )
    except (HTTPError, OSError) as error:
        raise CheckpointError(
            f"{repo}: the upload failed ({brief(error)}); the weights are in {folder}, send them "
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
    return ModelCard.from_template(
        data,
        str(Path(__file__).parent / "model_card.md.jinja"),
        name=name,
        config=config,
        data_used=data_in_words(config["training"]),
        evaluation=evaluation,
    )


def _eval_results(evaluation: dict[str, Any] | None) -> list[EvalResult]:
    """Means over the sources of the pairs, one entry per direction and score."""
    if evaluation is None:
        return []
    pairs = f"{evaluation['slices']} paired slices of {len(evaluation['sources'])} sources"
    return [
        EvalResult(
            task_type="image-to-image",
            task_name=f"{source} → {to} MRI translation",
            # One dataset for each direction: results that share task and dataset are merged.
            dataset_type="paired-slices",
            dataset_name=f"{pairs}, {source} → {to}",
            dataset_config=f"{source}-to-{to}",
            metric_type=metric,
            metric_name=label,
            metric_value=round(evaluation["predictors"][MODEL][to]["mean"][metric], 4),
        )
        for to, source in OTHER.items()
        for metric, label in (
            ("ssim", "SSIM inside the head"),
            ("psnr", "PSNR inside the head (dB)"),
        )
    ]


def data_in_words(training: dict[str, Any]) -> str:
    """What weights were trained on, as part of a sentence; "" when nothing is recorded.

    Args:
        training: of the weights' config; names `sources` of unpaired slices and `paired_sources`,
            and what slices were `simulated_from`, of these weights and of those that they started
            from.
    """
    stripped = ", stripped"  # how `data.stripped_copies` calls them
    unpaired, pairs = (
        {str(source).rsplit("/", 1)[-1] for source in training.get(kind) or ()}
        for kind in ("sources", "paired_sources")
    )
    copies = sum(name.endswith(stripped) for name in unpaired)
    also = f"; those of {copies} also with the skull removed" if copies else ""
    parts = (
        ("axial slices of {}{also}, unmatched", {name.removesuffix(stripped) for name in unpaired}),
        ("T1 and T2 of the same slices of {}", pairs),
        ("slices simulated from {}", training.get("simulated_from")),
    )
    return "; ".join(
        text.format(_listed(sorted(names)), also=also) for text, names in parts if names
    )


def _listed(names: Sequence[str]) -> str:
    """Names as a part of a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
