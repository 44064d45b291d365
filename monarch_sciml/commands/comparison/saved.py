"""Rebuild the objects of a run directory from its config.yaml alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch
from torch import nn

from monarch_sciml._checks import UsageError, message
from monarch_sciml._reading import existing_file
from monarch_sciml.commands.comparison.building import Given, build
from monarch_sciml.commands.comparison.building_limits import limited_by_weights
from monarch_sciml.commands.comparison.config_errors import plain_words
from monarch_sciml.commands.comparison.recipe import NetworkFactory, Recipe
from monarch_sciml.commands.comparison.trained_run import SPEC, check_folder_name, in_precision
from monarch_sciml.commands.comparison.yaml_file import read_yaml
from monarch_sciml.data.scans.scale import ScanNormalization
from monarch_sciml.data.spec import FieldSpec, ScanSpec, Spec
from monarch_sciml.models import Normalized
from monarch_sciml.training import load_weights


@dataclass(frozen=True)
class SavedNetwork:
    """Hold a trained network and the description of its data.

    Attributes
    ----------
    name
        Name of the network in tables.
    path
        Run directory of the network.
    model
        The network with the weights of its checkpoint, in evaluation mode.
    normalization
        Number by which k-space of a volume was divided: "p95", "max" or "std".
    named
        Whether its own run directory was named, not that of a comparison.
    trained
        Description of the scans that it was trained on.
    """

    name: str
    path: Path
    model: nn.Module
    normalization: ScanNormalization
    named: bool
    trained: ScanSpec


def read_recipe(run: Path, *, trust: bool = False, **changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a run as objects.

    A run directory may come from a stranger: its configuration builds classes of this package and
    runs no other code.

    Parameters
    ----------
    run
        A run directory.
    trust
        Build classes of other packages too, which may run any code.
    **changes
        For `data` or `objective`: options that replace those of the run. Options of an option are
        merged; another `class_path` replaces the whole.

    Raises
    ------
    FileNotFoundError
        When `run` has no config.yaml, or its data are gone.
    ValueError
        When config.yaml is not the one of a run, names classes of other packages, or has no such
        option.
    """
    values = _configuration(run)
    if "networks" in values:
        rule = "a run of one network must be named"
        example = next((str(path) for _, path in _runs_in(run)), "NETWORK/seed-0")
        got = f"{run}, a comparison"
        raise ValueError(message(rule, got, f"Name one of its runs, as '{example}'."))
    for key, change in changes.items():
        if change:
            values[key] = _changed(values.get(key), change, run / "config.yaml")
    hints = get_type_hints(Recipe)
    built = {}
    for key in hints.keys() & values.keys():
        try:
            built[key] = build(_as_typed(values[key], trust), hints[key], key)
        except ValueError as error:
            raise ValueError(_about(error, run, key, values[key], changes)) from error
    missing = [key for key in ("data", "network", "objective", "budget") if key not in built]
    if missing:
        rule = f"{run / 'config.yaml'} must be the configuration of a run"
        raise ValueError(message(rule, f"one without `{missing[0]}`", "Restore it."))
    return Recipe(**built)


def _as_typed(value: Any, trust: bool) -> Any:
    """Return a value as one that the user vouches for, where the whole run is trusted."""
    return Given(value) if trust and isinstance(value, dict) else value


def _about(error: ValueError, run: Path, key: str, value: Any, changes: Mapping[str, Any]) -> str:
    """Say whether a value of the run or its change is wrong; objects speak for themselves."""
    text = plain_words(str(error))
    if f"`{key}" not in text and f'"{key}' not in text:
        return text
    if "--trust" in text:  # it has a remedy of its own
        return f"{run / 'config.yaml'}: {text}"
    text = text.rstrip(".")
    if changes.get(key):
        name = value.get("class_path") if isinstance(value, dict) else value
        rule = f"the changes of `{key}` must be options of {name}"
        return message(rule, text, "Check their names.")
    rule = f"{run / 'config.yaml'} must be the configuration of a run"
    return message(rule, text, "Restore it, or train again.")


def data_options(run: Path) -> dict[str, Any]:
    """Return the options of a run's data as they are written down."""
    data = _configuration(run).get("data")
    options = data.get("init_args") if isinstance(data, dict) else None
    return options if isinstance(options, dict) else {}


def saved_spec(run: Path) -> Spec:
    """Return the specification of the data for which the network of a run was built."""
    stored = _stored_spec(run)
    kind = {kind.__name__: kind for kind in get_args(Spec)}.get(stored["kind"], ScanSpec)
    try:
        spec = kind(**{f.name: stored[f.name] for f in fields(kind) if f.name in stored})
    except TypeError as error:  # sizes are missing
        raise ValueError(_damaged_spec(run / SPEC, error)) from error
    if isinstance(spec, ScanSpec) and spec.mask is None:  # of a run made before it was recorded
        mask = data_options(run).get("mask")
        name = mask.get("class_path") if isinstance(mask, dict) else None
        return replace(spec, mask=None if name is None else str(name).rpartition(".")[2])
    return spec


def load_model(network: NetworkFactory, run: Path, *, checkpoint: str = "best") -> nn.Module:
    """Build the network of a run as it was built for training, whatever data it is used on now.

    Parameters
    ----------
    network
        The factory of the run's configuration.
    run
        A run directory.
    checkpoint
        "best" or "last".

    Raises
    ------
    FileNotFoundError
        When spec.json or the weights are missing.
    ValueError
        When the weights do not fit.
    """
    stored = _stored_spec(run)
    arguments, dtype = dict(stored["network_arguments"]), stored.get("dtype", "float32")
    try:
        with limited_by_weights(run, checkpoint):
            model = in_precision(network, arguments, dtype)
    except (TypeError, KeyError) as error:  # sizes that no network has
        raise ValueError(_damaged_spec(run / SPEC, error)) from error
    if stored.get("normalization"):
        spec = saved_spec(run)
        assert isinstance(spec, FieldSpec)
        n_given = spec.n_fields_in
        if spec.n_known:  # one number a channel
            n_given = spec.n_steps_in * spec.n_fields_in + spec.n_known
        kind = torch.float64 if spec.dtype == "float64" else torch.float32
        given, wanted = torch.ones(n_given, dtype=kind), torch.ones(spec.n_fields_out, dtype=kind)
        model = Normalized(model, given, given, wanted, wanted)  # the weights bring the numbers
    model = model.eval()
    load_weights(model, run / "checkpoints" / checkpoint, adapt=True)
    return model


def load_mri_networks(
    runs: Sequence[Path], *, checkpoint: str = "best", trust: bool = False
) -> list[SavedNetwork]:
    """Load the trained networks of run directories and of comparisons.

    Parameters
    ----------
    runs
        Run directories; of the directory of a comparison every network that has learned something
        is taken, with the first of its seeds.
    checkpoint
        "best" or "last".
    trust
        Build classes of other packages too, which may run any code.

    Raises
    ------
    FileNotFoundError
        When a directory, or a file in it, is missing.
    ValueError
        When a run is not one of an MRI network, or was not made by this package.
    """
    networks: list[SavedNetwork] = []
    for run in runs:
        for name, path in _runs_in(run):
            taken = any(network.name == name for network in networks)
            named = path == run
            known_as = str(path) if taken else name
            network = _load_network(known_as, path, checkpoint, named=named, trust=trust)
            if any(p.requires_grad for p in network.model.parameters()):
                networks.append(network)
            elif named:
                rule = f"{run} must be the run of a network that has learned something"
                got = f"{type(network.model).__name__} without parameters"
                raise ValueError(message(rule, got, "Use --method for conventional methods."))
    return networks


def _runs_in(folder: Path) -> list[tuple[str, Path]]:
    """Return names and directories: one run, or the first run of each network of a comparison."""
    names = _configuration(folder).get("networks")
    if names is None:
        return [(folder.parent.name if folder.name.startswith("seed-") else folder.name, folder)]
    if not isinstance(names, dict):
        rule = f"`networks` of {folder / 'config.yaml'} must be a mapping of names to networks"
        raise ValueError(message(rule, type(names).__name__, "Restore the file."))
    for name in names:
        check_folder_name("networks", str(name))
    seeds = {str(name): sorted((folder / str(name)).glob("seed-*/config.yaml")) for name in names}
    found = [(name, paths[0].parent) for name, paths in seeds.items() if paths]
    if not found:
        rule = f"the comparison {folder} must hold finished runs"
        raise FileNotFoundError(message(rule, "none", "Run it to its end."))
    return found


def _load_network(
    name: str, run: Path, checkpoint: str, *, named: bool, trust: bool
) -> SavedNetwork:
    values = _configuration(run)
    try:
        factory = build(_as_typed(values.get("network"), trust), NetworkFactory, "network")
    except ValueError as error:
        raise ValueError(_about(error, run, "network", None, {})) from error
    trained = saved_spec(run)
    if not isinstance(trained, ScanSpec):
        rule = f"{run} must be the run of an MRI network"
        remedy = "Name a run that was trained on scans."
        raise ValueError(message(rule, f"one trained on {type(trained).__name__}", remedy))
    model = load_model(factory, run, checkpoint=checkpoint)
    normalization = data_options(run).get("normalization", "p95")
    return SavedNetwork(name, run, model, normalization, named, trained)


def _stored_spec(run: Path) -> dict[str, Any]:
    """Return the content of spec.json, its lists as tuples."""
    path = existing_file(run / SPEC)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not {"kind", "network_arguments"} <= stored.keys():
            raise ValueError("keys are missing")
        if not isinstance(stored["network_arguments"], dict):
            raise ValueError("`network_arguments` is no mapping")
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(_damaged_spec(path, error)) from error
    return _with_tuples(stored)


def _damaged_spec(path: Path, error: Exception) -> str:
    rule = f"{path} must say what the network was built for"
    return message(rule, str(error).rstrip("."), "Restore it.")


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list) else value


def _changed(value: Any, change: Mapping[str, Any], path: Path) -> Any:
    """Return a class_path with init_args, from `path`, in which some of the latter are replaced."""
    old_class = value.get("class_path") if isinstance(value, dict) else None
    if change.get("class_path", old_class) != old_class:
        return Given(change)
    options = (value.get("init_args") or {}) if isinstance(value, dict) else {}
    if not isinstance(options, dict):
        rule = f"`init_args` in {path} must be a mapping of options to values"
        raise ValueError(message(rule, repr(options)[:40], "Restore it, or train again."))
    options = {**options}
    changed = change.get("init_args") or {}
    if not isinstance(changed, Mapping):
        rule = "`init_args` must be a mapping of options to values"
        raise UsageError(message(rule, repr(changed)[:40], "Name the options one by one."))
    given = {k: v for k, v in change.items() if k not in ("class_path", "init_args")}
    for key, new in {**changed, **given}.items():
        old = options.get(key)
        if isinstance(new, Mapping):
            merged = isinstance(old, dict) and "class_path" in old
            new = _changed(old, new, path) if merged else Given(new)
        options[key] = new
    return {**value, "init_args": options} if isinstance(value, dict) else options


def _configuration(run: Path) -> dict[str, Any]:
    """Return the content of config.yaml."""
    if not run.is_dir():
        rule = "a run must be a directory"
        raise FileNotFoundError(message(rule, str(run), "Name the `output` of `train`."))
    path = existing_file(run / "config.yaml")
    values = read_yaml(path)
    if not isinstance(values, dict):
        rule = f"{path} must be the configuration of a run"
        raise ValueError(message(rule, repr(values)[:40], "Restore it."))
    return values
