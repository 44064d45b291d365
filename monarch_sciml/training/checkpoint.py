"""Checkpoints that survive a kill at any moment: written beside, then renamed.

A checkpoint is a folder with `model.safetensors` (the weights, and nothing that could run code)
and, where training is to go on from it, `state.pt` (optimiser, schedule, progress; read with
weights_only).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from monarch_sciml._checks import existing_file, message
from monarch_sciml._files import whole_file

WEIGHTS = "model.safetensors"
STATE = "state.pt"


def save_weights(model: nn.Module, path: str | Path, *, overwrite: bool = False) -> None:
    """Write every tensor of the model's state to a safetensors file.

    Complex tensors are kept complex (complex128, which safetensors lacks, as pairs of float64 named
    in the file's metadata); tensors that share memory are written once each. Entries that are no
    tensors (neuralop's `_metadata`) are left out.

    Parameters
    ----------
    model
        Any module, on any device.
    path
        The file to write, whole or not at all.
    overwrite
        Whether an existing file is replaced.

    Raises
    ------
    FileExistsError
        When `path` exists and `overwrite` is false.
    OSError
        When the disk refuses the file.
    """
    # a clone each: safetensors refuses tensors that share memory
    tensors = {name: value.cpu().contiguous().clone() for name, value in _tensors(model).items()}
    pairs = [name for name, value in tensors.items() if value.dtype == torch.complex128]
    for name in pairs:
        tensors[name] = torch.view_as_real(tensors[name])
    with whole_file(path, overwrite=overwrite) as part:
        save_file(tensors, part, metadata={"format": "pt", "complex128": json.dumps(pairs)})
        _flush(part)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load weights written by `save_weights` into the model, in place.

    Parameters
    ----------
    model
        A module with the same names and shapes as the one that was saved.
    path
        A weights file, or the folder of a checkpoint.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is no whole safetensors file, or its names or shapes do not fit the model.
    """
    path = Path(path)
    if not path.is_file():
        path = (find_checkpoint(path) or path) / WEIGHTS
    tensors = _read(existing_file(path))
    expected = _tensors(model)
    misfits = [f"{name} missing" for name in expected.keys() - tensors.keys()]
    misfits += [f"{name} unknown to the model" for name in tensors.keys() - expected.keys()]
    for name in expected.keys() & tensors.keys():
        here, there = expected[name], tensors[name]
        if here.shape != there.shape or here.is_complex() != there.is_complex():
            misfits.append(f"{name} {_kind(there)} for {_kind(here)}")
    if misfits:
        got = f"{len(misfits)} misfits in {path} ({', '.join(sorted(misfits)[:3])})"
        remedy = "Build the network with the configuration the weights were trained with."
        raise ValueError(message("the weights must fit the network", got, remedy))
    model.load_state_dict(tensors, strict=False)


def save_checkpoint(
    folder: str | Path, model: nn.Module, state: Mapping[str, Any] | None = None
) -> None:
    """Replace the checkpoint in `folder` as a whole.

    Killed at any moment, `find_checkpoint(folder)` is the old checkpoint or the new one.

    Parameters
    ----------
    folder
        The checkpoint's folder; its parents are made.
    model
        The module whose weights are saved.
    state
        Numbers, strings, tensors and containers of them, for `load_state`; None writes weights
        only.

    Raises
    ------
    OSError
        When the disk refuses the files; the old checkpoint stays.
    """
    with _whole_folder(Path(folder)) as part:
        save_weights(model, part / WEIGHTS)
        if state is not None:
            with _writing(Path(folder) / STATE):
                torch.save(dict(state), part / STATE)
                _flush(part / STATE)


def load_state(folder: str | Path) -> dict[str, Any]:
    """Return the state saved with a checkpoint, its tensors on the CPU.

    Raises
    ------
    FileNotFoundError
        When there is no checkpoint, or one of weights only.
    ValueError
        When the file is damaged or holds more than numbers, strings, tensors and containers.
    """
    path = existing_file((find_checkpoint(folder) or Path(folder)) / STATE)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types here: zip, pickle, end of file
        got = f"{path} ({type(error).__name__})"
        remedy = "Resume from another checkpoint, or train afresh."
        raise ValueError(message("the training state must be readable", got, remedy)) from error


def find_checkpoint(folder: str | Path) -> Path | None:
    """Return the folder that holds the checkpoint, or None where there is none.

    It is `folder` itself, except after a kill between the two renames of `save_checkpoint`: then it
    is the previous checkpoint, set aside under a hidden name.
    """
    folder = Path(folder)
    return next((path for path in (folder, _aside(folder)) if path.is_dir()), None)


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    part = folder.with_name(f".{folder.name}.new")
    aside = _aside(folder)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    if folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    part.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what torch raises on a full disk into one line that names the file."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = str(error).splitlines()[0][:160].rstrip(".")
        remedy = "Free space on the disk; a run goes on with --options.resume true."
        raise OSError(message(f"{path} must be writable", cause, remedy)) from error


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    state = model.state_dict()
    return {name: value.detach() for name, value in state.items() if isinstance(value, Tensor)}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            pairs = json.loads((file.metadata() or {}).get("complex128", "[]"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        rule = "the weights must be a whole safetensors file"
        got = f"{path} ({error})"
        raise ValueError(message(rule, got, "Use another checkpoint, or train again.")) from error
    return {k: torch.view_as_complex(v) if k in pairs else v for k, v in tensors.items()}


def _kind(tensor: Tensor) -> str:
    return f"{'complex' if tensor.is_complex() else 'real'} {tuple(tensor.shape)}"
