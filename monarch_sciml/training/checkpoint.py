"""Checkpoints that stay whole if the process is killed: they are written, then renamed.

A checkpoint is a folder with `model.safetensors` (the weights, and nothing that could run code), if
training can continue from it `state.pt` (optimiser, schedule, progress; read with weights_only),
and `checksums.json` (the SHA-256 of both, and the version of this layout).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from monarch_sciml._checks import message
from monarch_sciml._files import flush, refusal, whole_file
from monarch_sciml._reading import existing_file
from monarch_sciml.models.conversion.weights_files import (
    check_structure,
    match_structure,
    structure_metadata,
)

WEIGHTS = "model.safetensors"
STATE = "state.pt"
CHECKSUMS = "checksums.json"
PREVIOUS = "previous"
"""The folder, beside that of a checkpoint with a state, of the checkpoint before it."""
VERSION = 2
"""Of the layout of a checkpoint; the first had no checksums."""


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
        When the file cannot be written.
    """
    # clones, because safetensors refuses tensors that share memory
    tensors = {name: value.cpu().contiguous().clone() for name, value in _tensors(model).items()}
    pairs = [name for name, value in tensors.items() if value.dtype == torch.complex128]
    for name in pairs:
        tensors[name] = torch.view_as_real(tensors[name])
    about = {"format": "pt", "complex128": json.dumps(pairs), **structure_metadata(model)}
    with whole_file(path, overwrite=overwrite) as part:
        part.touch()
        mode = part.stat().st_mode  # as the umask has it; safetensors makes files for one user
        save_file(tensors, part, metadata=about)
        _sort_metadata(part)
        part.chmod(mode)


def _sort_metadata(path: Path) -> None:
    """Sort the entries of a file's metadata, which safetensors writes in an order of chance, so
    that equal weights give equal files.
    """
    with path.open("rb+") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) <= size:  # spaces fill the header up
            file.seek(8)
            file.write(text.ljust(size))


def load_weights(model: nn.Module, path: str | Path, *, adapt: bool = False) -> None:
    """Load weights written by `save_weights` into the model, in place.

    Parameters
    ----------
    model
        A module with the same names and shapes as the one that was saved.
    path
        A weights file, or the folder of a checkpoint.
    adapt
        Whether to change the structured layers of the model to those of the file first, which a run
        with `densify_at` needs.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is no complete safetensors file or not the one that was written, or its names
        or shapes do not fit the model.
    """
    path = Path(path)
    if not path.is_file():
        path = (find_checkpoint(path) or path) / WEIGHTS
    _check_sum(existing_file(path))
    tensors = _read(path)
    if adapt:
        match_structure(model, path)
    check_structure(model, path)
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

    If the process is killed at any moment, `find_checkpoint(folder)` is the old checkpoint or the
    new one. A checkpoint that is replaced by one with a state is kept beside it as `previous`.

    Parameters
    ----------
    folder
        Folder of the checkpoint, whose parents are made when missing.
    model
        The module whose weights are saved.
    state
        Numbers, strings, tensors and containers of them, for `load_state`; None writes weights
        only.

    Raises
    ------
    OSError
        When the files cannot be written. The old checkpoint is kept.
    """
    folder = Path(folder)
    with _whole_folder(folder, keep=state is not None) as part:
        save_weights(model, part / WEIGHTS)
        if state is not None:
            with _writing(folder / STATE):
                torch.save(dict(state), part / STATE)
                flush(part / STATE)
        sums = {path.name: _sum_of(path) for path in sorted(part.iterdir())}
        content = {"version": VERSION, "sha256": sums}
        with _writing(folder / CHECKSUMS):
            (part / CHECKSUMS).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            flush(part / CHECKSUMS)


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
    _check_sum(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types here: zip, pickle, end of file
        got = f"{path} ({type(error).__name__})"
        remedy = "Resume from another checkpoint, or train afresh."
        raise ValueError(message("the training state must be readable", got, remedy)) from error


def find_checkpoint(folder: str | Path) -> Path | None:
    """Return the folder that holds the checkpoint, or None if there is none.

    It is `folder` itself, unless the process was killed between the two renames of
    `save_checkpoint`. Then it is the previous checkpoint, which had been renamed.
    """
    folder = Path(folder)
    aside = [_aside(folder)]
    if _new(folder).is_dir():  # without it nobody was replacing the checkpoint: it was removed
        aside.append(folder.with_name(PREVIOUS))
    return next((path for path in (folder, *aside) if path.is_dir()), None)


def usable_checkpoint(folder: str | Path) -> tuple[Path | None, str]:
    """Return the folder of the newest checkpoint with an undamaged state, and a note.

    Returns
    -------
    The folder, or None if there is no checkpoint, and a sentence if it is not the last one.

    Raises
    ------
    ValueError
        When the checkpoint is damaged and there is no other before it.
    """
    found = find_checkpoint(folder)
    if found is None:
        return None, ""
    damage = ""
    for path in dict.fromkeys((found, found.with_name(PREVIOUS))):
        try:
            for name in (WEIGHTS, STATE):
                _check_sum(path / name)
            if (path / STATE).exists():
                load_state(path)
            _read(path / WEIGHTS)
        except (ValueError, FileNotFoundError) as error:
            damage = damage or str(error)
            continue
        if not damage:
            return path, ""
        return path, f"{found} is damaged: training goes on from the checkpoint before it."
    raise ValueError(damage)


def recover_checkpoint(folder: str | Path) -> None:
    """Restore a checkpoint after a process was killed while replacing it.

    The previous checkpoint gets its name back, and the unfinished one is removed.
    """
    folder = Path(folder)
    found = find_checkpoint(folder)
    if found is not None and found != folder:
        found.rename(folder)
    for path in (_new(folder), _aside(folder)):
        shutil.rmtree(path, ignore_errors=True)


def replace_damaged(folder: Path) -> None:
    """Replace a damaged checkpoint by the one before it."""
    folder.rename(_new(folder))  # as if a process had been killed while it wrote this one
    recover_checkpoint(folder)


@contextmanager
def _whole_folder(folder: Path, *, keep: bool) -> Iterator[Path]:
    part = _new(folder)
    aside = folder.with_name(PREVIOUS) if keep else _aside(folder)
    recover_checkpoint(folder)
    with _writing(folder):
        part.mkdir(parents=True)
    yield part
    flush(part)
    if folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    part.rename(folder)
    flush(folder.parent)
    if not keep:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn the error of torch on a full disk into one line that names the file."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if known := refusal(path, error):
            raise known from error
        cause = str(error).splitlines()[0][:160].rstrip(".")
        remedy = "Free space on the disk; a run goes on with --options.resume true."
        raise OSError(message(f"{path} must be writable", cause, remedy)) from error


def _new(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.new")


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _sum_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_sum(path: Path) -> None:
    """Raise ValueError when a file of a checkpoint is not the one that was written there.

    A checkpoint of the first version, or a single file, has no checksum and is not checked.
    """
    listed = path.with_name(CHECKSUMS)
    if not (path.exists() and listed.exists()):
        return
    rule = f"{path} must be the file that was written there"
    remedy = "Use another checkpoint, or train again."
    try:
        content = json.loads(existing_file(listed).read_text(encoding="utf-8"))
        version, expected = int(content["version"]), content["sha256"].get(path.name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(message(rule, f"a damaged {CHECKSUMS}", remedy)) from error
    if version > VERSION:
        rule = f"the checkpoint {path.parent} must be of version {VERSION} or older"
        raise ValueError(message(rule, version, "Install the version of the package that made it."))
    if expected != _sum_of(path):
        raise ValueError(message(rule, "another checksum", remedy))


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
