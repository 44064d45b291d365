"""The command line: `monarch-sciml COMMAND --config FILE [--key value ...]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from monarch_sciml import __version__
from monarch_sciml._checks import existing_file, message

PROGRAM = "monarch-sciml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 when it failed, or 2 for bad arguments or configuration.

    Errors are one line on stderr that names the rule, the value and the remedy.
    """
    try:
        parser = build_parser()
        configuration = parser.parse_args(arguments)
    except argparse.ArgumentError as error:
        return _fail(str(error), 2)
    try:
        text = run(parser, configuration)
    except KeyboardInterrupt:
        return _fail("interrupted. Go on with --options.resume true where the command has it.", 1)
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        return _fail(str(error), 1)
    if text:
        print(text)
    return 0


def build_parser() -> ArgumentParser:
    """Return the parser of all commands; their options are the signatures of their functions."""
    from monarch_sciml.commands import info, reconstruct
    from monarch_sciml.commands.compare import compare_networks
    from monarch_sciml.commands.train import train_network
    from monarch_sciml.data import generate_navier_stokes, generate_scans

    parser = _parser("Learnable Monarch transforms for neural operators and MRI reconstruction.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subcommands(dest="command")
    commands.add_subcommand("train", _command(train_network, skip={"configuration"}))
    commands.add_subcommand("compare", _command(compare_networks, skip={"configuration"}))
    commands.add_subcommand("evaluate", _evaluate_parser())
    generate = _parser("Generate a data set.")
    commands.add_subcommand("generate", generate)
    problems = generate.add_subcommands(dest="problem")
    problems.add_subcommand("navier_stokes", _command(generate_navier_stokes))
    problems.add_subcommand("scans", _command(generate_scans))
    commands.add_subcommand("reconstruct", _command(reconstruct.reconstruct, positional=True))
    commands.add_subcommand("info", _command(info.info, positional=True))
    return parser


def run(parser: ArgumentParser, configuration: Namespace) -> str | None:
    """Run the command that was parsed and return what it has to say."""
    from monarch_sciml.commands import info, reconstruct
    from monarch_sciml.commands.compare import compare_networks
    from monarch_sciml.commands.train import train_network
    from monarch_sciml.data import generate_navier_stokes, generate_scans

    functions: dict[str, Callable[..., Any]] = {
        "train": train_network,
        "compare": compare_networks,
        "reconstruct": reconstruct.reconstruct,
        "info": info.info,
        "navier_stokes": generate_navier_stokes,
        "scans": generate_scans,
    }
    command = configuration.command
    chosen = configuration[command]
    if command == "evaluate":
        return _evaluate(chosen)
    extra = {}
    if command in ("train", "compare"):
        extra["configuration"] = _saved(parser, configuration, command)
    options = parser.instantiate_classes(configuration)[command]
    if command == "generate":
        command = options.problem
        options = options[command]
    values = {key: value for key, value in vars(options).items() if key != "config"}
    result = functions[command](**values, **extra)
    return str(result) if result is not None else None


def _evaluate_parser() -> ArgumentParser:
    from monarch_sciml.commands.evaluate import evaluate_run

    skip = {"contender", "data", "objective", "budget"}
    return _command(evaluate_run, positional=True, skip=skip)


def _evaluate(options: Namespace) -> str:
    """Rebuild a run from its config.yaml and measure it."""
    from monarch_sciml.commands.evaluate import evaluate_run
    from monarch_sciml.commands.runs import Contender
    from monarch_sciml.commands.train import train_network

    saved = existing_file(Path(options.run) / "config.yaml")
    values = yaml.safe_load(saved.read_text(encoding="utf-8"))
    _only_ours(values, saved)
    parser = _command(train_network, skip={"configuration", "output"})
    built = parser.instantiate_classes(parser.parse_object(values))
    return evaluate_run(
        Path(options.run),
        Contender(network=built.network, optimisation=built.optimisation),
        built.data,
        built.objective,
        built.budget,
        checkpoint=options.checkpoint,
        split=options.split,
        progress=options.progress,
    )


def _only_ours(value: Any, path: Path) -> None:
    """Refuse a saved run that names classes of other packages: loading them would run their
    code."""
    if isinstance(value, dict):
        name = value.get("class_path")
        if isinstance(name, str) and not name.startswith("monarch_sciml."):
            rule = f"{path} may name classes of monarch_sciml only"
            raise ValueError(message(rule, name, "Check where this run came from."))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _only_ours(item, path)


def _parser(description: str) -> ArgumentParser:
    return ArgumentParser(prog=PROGRAM, description=description, exit_on_error=False)


def _command(
    function: Callable[..., Any], *, positional: bool = False, skip: set[str] | None = None
) -> ArgumentParser:
    parser = _parser((function.__doc__ or "").split("\n", maxsplit=1)[0])
    if not positional:
        parser.add_argument("--config", action="config", help="YAML file with these options")
    parser.add_function_arguments(function, as_positional=positional, skip=skip or set())
    return parser


def _saved(parser: ArgumentParser, configuration: Namespace, command: str) -> str:
    """The options of the command as YAML, without the file they came from."""
    dumped = yaml.safe_load(parser.dump(configuration, skip_none=False))[command]
    dumped.pop("config", None)
    if command == "train":
        dumped.pop("output", None)  # a run directory may be moved
    return yaml.safe_dump(dumped, sort_keys=False)


def _fail(text: str, status: int) -> int:
    """Say in one line what went wrong."""
    line = " ".join(text.split())
    print(
        f"{PROGRAM}: error: {line.split(' Got value: Namespace', maxsplit=1)[0]}", file=sys.stderr
    )
    return status
