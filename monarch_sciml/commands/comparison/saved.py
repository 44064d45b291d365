"""Rebuild what a run directory holds, from its config.yaml alone."""

from __future__ import annotations

import json
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser, Namespace
from torch import nn

from monarch_sciml._checks import existing_file, message
from monarch_sciml.commands.comparison.train import train_network
from monarch_sciml.commands.comparison.trained_run import SPEC, NetworkFactory
from monarch_sciml.data.scans.samples import ScanNormalization
from monarch_sciml.data.spec import FieldSpec, ScanSpec
from monarch_sciml.models import Normalized
from monarch_sciml.training import load_weights

OURS = "monarch_sciml."


@dataclass(frozen=True)
class SavedNetwork:
    """A trained network and how its data were made.

    Attributes
    ----------
    name
        What to call it in tables.
    path
        Its run directory.
    model
        The network with the weights of its checkpoint, in evaluation mode.
    normalization
        What k-space of a volume was divided by: "p95", "max" or "std".
    named
        Whether its own run directory was named, not that of a comparison.
    """

    name: str
    path: Path
    model: nn.Module
    normalization: ScanNormalization
    named: bool


def load_run(run: Path, **changes: Mapping[str, Any]) -> Namespace:
    """Return the arguments of `train_network` that a run was made with, as objects.

    Parameters
    ----------
    run
        A run directory.
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
    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(train_network, skip={"configuration", "output"})
    if not any(changes.values()):
        return _instantiated(parser, values, run)
    parsed = _parsed(parser, values, run)  # a mistake there is not one of the changes
    for key, change in changes.items():
        values[key] = _changed(values[key], change)
        try:
            parsed = parser.parse_object(values)
        except ArgumentError as error:
            rule = f"the changes of `{key}` must be options of {values[key]['class_path']}"
            raise ValueError(message(rule, str(error), "Check their names.")) from error
    return parser.instantiate(parsed)


def data_options(run: Path) -> dict[str, Any]:
    """Return the options of a run's data as they are written down."""
    return (_configuration(run).get("data") or {}).get("init_args") or {}


def saved_spec(run: Path) -> FieldSpec | ScanSpec:
    """Return what the network of a run was built for."""
    stored = _stored_spec(run)
    kind = FieldSpec if stored["kind"] == "FieldSpec" else ScanSpec
    return kind(**{f.name: stored[f.name] for f in fields(kind) if f.name in stored})


def load_model(network: NetworkFactory, run: Path, *, checkpoint: str = "best") -> nn.Module:
    """Build the network of a run as it was built there, whatever data it shall meet now.

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
    arguments = dict(stored["network_arguments"])
    model = network(arguments.pop("grid_shape"), **arguments)
    if stored.get("normalization"):
        given, wanted = torch.ones(stored["n_fields_in"]), torch.ones(stored["n_fields_out"])
        model = Normalized(model, given, given, wanted, wanted)  # the weights bring the numbers
    model = model.eval()
    load_weights(model, run / "checkpoints" / checkpoint)
    return model


def load_mri_networks(runs: Sequence[Path], *, checkpoint: str = "best") -> list[SavedNetwork]:
    """Load the trained networks of run directories and of comparisons.

    Parameters
    ----------
    runs
        Run directories; of the directory of a comparison every network that has learned something
        is taken, with the first of its seeds.
    checkpoint
        "best" or "last".

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
            network = _load_network(str(path) if taken else name, path, checkpoint, named=named)
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
    seeds = {name: sorted((folder / name).glob("seed-*/config.yaml")) for name in names}
    found = [(name, paths[0].parent) for name, paths in seeds.items() if paths]
    if not found:
        rule = f"the comparison {folder} must hold finished runs"
        raise FileNotFoundError(message(rule, "none", "Run it to its end."))
    return found


def _load_network(name: str, run: Path, checkpoint: str, *, named: bool) -> SavedNetwork:
    values = _configuration(run)
    kind = _stored_spec(run)["kind"]
    if kind != "ScanSpec":
        rule = f"{run} must be the run of an MRI network"
        remedy = "Name a run that was trained on scans."
        raise ValueError(message(rule, f"one trained on {kind}", remedy))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--network", type=NetworkFactory, required=True)
    factory = _instantiated(parser, {"network": values.get("network")}, run).network
    model = load_model(factory, run, checkpoint=checkpoint)
    return SavedNetwork(name, run, model, data_options(run).get("normalization", "p95"), named)


def _stored_spec(run: Path) -> dict[str, Any]:
    """Return the content of spec.json, its lists as tuples."""
    path = existing_file(run / SPEC)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not {"kind", "network_arguments"} <= stored.keys():
            raise ValueError("keys are missing")
    except (ValueError, AttributeError) as error:
        rule = f"{path} must say what the network was built for"
        raise ValueError(message(rule, str(error).rstrip("."), "Restore it.")) from error
    return _with_tuples(stored)


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list) else value


def _changed(value: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a class_path with init_args in which some of the latter are replaced."""
    if change.get("class_path", value["class_path"]) != value["class_path"]:
        return dict(change)
    options = {**(value.get("init_args") or {})}
    given = {k: v for k, v in change.items() if k not in ("class_path", "init_args")}
    for key, new in {**(change.get("init_args") or {}), **given}.items():
        old = options.get(key)
        if isinstance(new, Mapping) and isinstance(old, dict) and "class_path" in old:
            new = _changed(old, new)
        options[key] = new
    return {**value, "init_args": options}


def _configuration(run: Path) -> dict[str, Any]:
    """Return the content of config.yaml."""
    if not run.is_dir():
        rule = "a run must be a directory"
        raise FileNotFoundError(message(rule, str(run), "Name the `output` of `train`."))
    path = existing_file(run / "config.yaml")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        rule = f"{path} must be the configuration of a run"
        raise ValueError(message(rule, "no YAML", "Restore it.")) from error
    if not isinstance(values, dict):
        rule = f"{path} must be the configuration of a run"
        raise ValueError(message(rule, repr(values)[:40], "Restore it."))
    for key in ("data", "network", "objective"):  # a bare name could be that of any function
        if key in values and not (isinstance(values[key], dict) and "class_path" in values[key]):
            rule = f"`{key}` in {path} must have a class_path"
            raise ValueError(message(rule, repr(values[key])[:40], "Restore it."))
    _only_ours(values, path)
    return values


def _only_ours(value: Any, path: Path) -> None:
    """Refuse classes of other packages: building them would run their code."""
    if isinstance(value, dict):
        name = value.get("class_path")
        if name is not None and not str(name).startswith(OURS):
            rule = f"{path} may name classes of monarch_sciml only"
            raise ValueError(message(rule, name, "Check where this run came from."))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _only_ours(item, path)


def _instantiated(parser: ArgumentParser, values: dict[str, Any], run: Path) -> Namespace:
    """Return the values as objects; errors name the run."""
    return parser.instantiate(_parsed(parser, values, run))


def _parsed(parser: ArgumentParser, values: dict[str, Any], run: Path) -> Namespace:
    try:
        return parser.parse_object(values)
    except ArgumentError as error:
        rule = f"{run / 'config.yaml'} must be the configuration of a run"
        raise ValueError(message(rule, str(error), "Restore it, or train again.")) from error
