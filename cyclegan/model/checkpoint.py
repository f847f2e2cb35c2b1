"""Weights and training states on disk, as safetensors: loading never unpickles.

A weights folder holds `config.json`, `model.safetensors` (both generators, half precision) and what
else `CONTENTS` lists. A training state is one safetensors file with everything that resuming needs.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file
from torch import nn

from cyclegan.model.networks import GENERATORS

# What a weights folder holds: training writes `REQUIRED`; the commands named in `OPTIONAL` add the
# rest.
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
    TRUST: "python -m cyclegan.release.calibrate --pairs DIR",
    STYLES: "python -m cyclegan.release.name_styles --data DIR",
}
CONTENTS = (*REQUIRED, *OPTIONAL, CARD)

FORMAT = 1  # of a weights folder's JSON files; raised when old software could not read them


class CheckpointError(ValueError):
    """Weights or training state that cannot be used; the message says which file and why."""


def export_weights(
    folder: str | Path,
    generators: dict[str, nn.Module],
    *,
    generator: str,
    generator_options: dict[str, Any],
    size: int,
    version: str,
    training: dict[str, Any] | None = None,
    default_style: dict[str, list[float]] | None = None,
) -> Path:
    """Write the slim weights folder that `Translator.from_pretrained` reads.

    Args:
        folder: created when missing.
        generators: target contrast, "T1" and "T2" -> generator.
        generator, generator_options: name in `networks.GENERATORS` and its arguments.
        size: side of the grid that the generators were trained on.
        version: shown to the user.
        training: what the model saw, for the record.
        default_style: target contrast -> style code that `Translator` uses where none is given.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"to_{to}.{name}": value.detach().cpu().half().contiguous()
        for to, network in generators.items()
        for name, value in network.state_dict().items()
    }
    replace_file(folder / WEIGHTS, lambda path: save_file(tensors, path, {"format": "pt"}))
    config = {
        "format": FORMAT,
        "version": version,
        "generator": generator,
        "generator_options": generator_options,
        "size": size,
        "sha256": file_sha256(folder / WEIGHTS),
        "training": training or {},
        "default_style": default_style or {},
    }
    write_config(folder, config)
    return folder


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write or replace the config of a weights folder; see `export_weights` for what it holds."""
    text = json.dumps(config, indent=2) + "\n"
    replace_file(folder / CONFIG, lambda path: Path(path).write_text(text))


def read_checked(folder: Path, names: tuple[str, str], remedy: str) -> tuple[dict[str, Any], bytes]:
    """Read a config and the weights whose checksum it holds.

    Args:
        folder: where both are.
        names: of the config and of the weights file.
        remedy: what to say when one is missing, after a semicolon.

    Raises:
        CheckpointError: missing or damaged files, another format, or a checksum that does not
            match.
    """
    config_path, weights_path = (folder / name for name in names)
    try:
        config = json.loads(config_path.read_text())
        data = weights_path.read_bytes()
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise CheckpointError(f"{folder}: {missing} is missing; {remedy}") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise CheckpointError(f"{config_path}: not a JSON file") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(f"{config_path}: unknown format; expected format {FORMAT}")
    checksum = hashlib.sha256(data).hexdigest()
    if checksum != config.get("sha256"):
        raise CheckpointError(
            f"{weights_path}: checksum {checksum[:12]} does not match the config; the file is "
            "damaged or belongs to another config, copy both files again"
        )
    return config, data


def read_measured(
    folder: str | Path, name: str, checksum: str, parse: Callable[[dict[str, Any]], Any]
) -> Any:
    """Read a JSON file with what was measured of a model, which a command adds to its weights.

    Args:
        folder: of the weights.
        name: of the file, one of `OPTIONAL`.
        checksum: SHA-256 of the model that is loaded.
        parse: makes something of the file's content, which is returned.

    Raises:
        CheckpointError: it is missing, damaged or of another model; the message is a sentence with
            the command that makes it.
    """
    command = f"{OPTIONAL[name]} --weights WEIGHTS"
    try:
        record = json.loads((Path(folder) / name).read_text("utf-8"))
        if (record["format"], record["sha256"]) == (FORMAT, checksum):
            return parse(record)
    except FileNotFoundError:
        raise CheckpointError(f"{name} is missing; {command} makes it.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(f"{name} is damaged; {command} makes it anew.") from None
    raise CheckpointError(f"{name} is of another model; {command} renews it.")


def load_weights(folder: str | Path) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    """Read a weights folder: (target contrast -> generator in float32, config).

    Raises:
        CheckpointError: missing or damaged files, a checksum that does not match, or a config that
            does not fit the weights, as those of versions before 1.0.0.
    """
    folder = Path(folder)
    remedy = f"a weights folder holds {CONFIG} and {WEIGHTS}"
    config, data = read_checked(folder, (CONFIG, WEIGHTS), remedy)
    try:
        tensors = load(data)
        generators = {}
        for to in ("T1", "T2"):
            options = {
                k: tuple(v) if isinstance(v, list) else v
                for k, v in config["generator_options"].items()
            }
            network = GENERATORS[config["generator"]](**options)
            prefix = f"to_{to}."
            network.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
            generators[to] = network.eval()
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{folder / WEIGHTS}: does not fit its config, or both come from a version before "
            f"1.0.0, which this one does not read ({reason})"
        ) from None
    return generators, config


def save_state(path: str | Path, state: dict[str, Any]) -> None:
    """Write nested dicts and lists of tensors, numbers, strings and None to one file, atomically.

    A kill at any moment leaves the old file or the new one, never a part of one.
    """
    tensors: dict[str, torch.Tensor] = {}

    def strip(node: Any) -> Any:
        if isinstance(node, torch.Tensor):
            name = f"t{len(tensors)}"
            tensors[name] = node.detach().cpu().contiguous().clone()
            return {"__tensor__": name}
        if isinstance(node, dict):  # as pairs: JSON would turn integer keys into text
            return {"__dict__": [[k, strip(v)] for k, v in node.items()]}
        if isinstance(node, list | tuple):
            return [strip(v) for v in node]
        return node

    structure = json.dumps(strip(state))
    replace_file(Path(path), lambda p: save_file(tensors, p, {"structure": structure}))


def load_state(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save_state` wrote, its tensors onto a device.

    Raises:
        CheckpointError: no such file, or not a training state.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no training state to resume from; start without --resume")
    try:
        with safe_open(path, "pt", str(device)) as file:
            structure = json.loads((file.metadata() or {})["structure"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, json.JSONDecodeError):
        raise CheckpointError(f"{path}: damaged, or not a training state") from None

    def fill(node: Any) -> Any:
        if isinstance(node, list):
            return [fill(v) for v in node]
        if isinstance(node, dict):
            if "__tensor__" in node:
                return tensors[node["__tensor__"]]
            return {k: fill(v) for k, v in node["__dict__"]}
        return node

    return fill(structure)


def file_sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_file(path: Path, write: Callable[[str], object]) -> None:
    """Write beside `path` first, then put it in its place in one step, and wait for the disk.

    Args:
        path: of the file that appears or is replaced.
        write: called with the path to write to.

    Raises:
        OSError: it could not be written; what was at `path` before is untouched.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        write(str(part))
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except SafetensorError as error:  # what it raises for a full disk, too
        raise OSError(errno.EIO, str(error), str(path)) from None
    finally:
        part.unlink(missing_ok=True)
    if os.name == "posix":  # a name is on the disk once its folder is
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
