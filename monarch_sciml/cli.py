"""The command line: `monarch-sciml COMMAND --config FILE [--key value ...]`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from monarch_sciml import __version__
from monarch_sciml._checks import UsageError, message, printable
from monarch_sciml._files import refusal
from monarch_sciml._reading import no_right
from monarch_sciml._signals import received

# the changes of a run's data and objective are put into its recipe first, and built with it
set_parsing_settings(instantiate_subclass_spec_in_any=False)

PROGRAM = "monarch-sciml"
POSITIONAL = ("evaluate", "reconstruct", "calibrate", "info", "pack")
"""Commands about one thing that exists: it is named first, without --config."""
SEVERAL = {
    "reconstruct": ("path", "scans: files, or folders of them"),
    "calibrate": ("path", "scans of a known object: files, or folders of them"),
    "pack": ("path", "files of arrays"),
}
"""Commands with positional arguments, the name of that argument and its description."""
FLAT = {"reconstruct": "settings"}
"""Commands whose options are one dataclass, without a prefix on the command line: its name."""
KEEP_CONFIGURATION = ("train", "compare")
"""Commands that keep their configuration beside their results."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 when it failed, or 2 for bad arguments or configuration.

    Errors are one line on stderr that names the rule, the value and the remedy.
    """
    words = sys.argv[1:] if arguments is None else arguments
    given = _merged([_installed_config(_LONG.get(word, word)) for word in words])
    try:
        parser = build_parser()
        configuration = parser.parse_args(given)
    except argparse.ArgumentError as error:
        return _fail(_located(error, given), 2)
    except UnicodeDecodeError:
        rule = "`config` must be a YAML file"
        return _fail(message(rule, "one that is no text", "Check the path."), 2)
    try:
        text = run(parser, configuration)
    except KeyboardInterrupt:
        return _interrupted(configuration.command)
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        if received():  # what was interrupted may have raised another error
            return _interrupted(configuration.command)
        if summary := getattr(error, "summary", None):  # part of the work was done
            _say(summary)
        return _fail(_explained(error), 2 if isinstance(error, UsageError) else 1)
    return _say(text) if text else 0


def _installed_config(word: str) -> str:
    """Return the path of a configuration that is installed with the package.

    `--config configs/mri/msense.yaml` works in any folder: where there is no such file, the one
    that the package brings along is meant.
    """
    option, _, path = word.rpartition("=")
    installed = Path(__file__).parent / path
    if not path.startswith("configs/") or Path(path).exists() or not installed.is_file():
        return word
    return f"{option}={installed}" if option else str(installed)


def _merged(words: list[str]) -> list[str]:
    """Join the changes of one part of a run's data or objective into one option of `evaluate`.

    `--data.mask.factor 4 --data.mask.calibration 8` becomes `--data.mask` with both; the parser
    would keep the last one only.
    """
    if words[:1] != ["evaluate"]:
        return words
    rest: list[str] = []
    parts: dict[str, dict[str, Any]] = {}
    waiting = iter(words)
    for word in waiting:
        option, equals, value = word.partition("=")
        root, *names = option.split(".")
        if root not in ("--data", "--objective") or len(names) < 2:
            rest.append(word)
            continue
        change: Any = value if equals else next(waiting, None)
        if change is None:  # the parser says that a value is missing
            rest.append(word)
            continue
        with suppress(yaml.YAMLError):  # text that is no YAML is that text
            change = yaml.safe_load(change)
        for name in reversed(names[1:]):
            change = {name: change}
        _add(parts.setdefault(f"{root}.{names[0]}", {}), change)
    return rest + [part for key, value in parts.items() for part in (key, yaml.safe_dump(value))]


def _add(part: dict[str, Any], change: dict[str, Any]) -> None:
    """Add options to others, and theirs to theirs; a later value replaces an earlier one."""
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(part.get(key), dict):
            _add(part[key], value)
        else:
            part[key] = value


def _say(text: str) -> int:
    """Print to a reader that may have gone (`| head`); return 1 when a disk takes no text."""
    try:
        print(printable(text, keep="\n\t"), flush=True)
    except OSError as error:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            return _fail(_explained(refusal("the output", error) or error), 1)
    return 0


def _interrupted(command: str) -> int:
    """Say that a signal has stopped the command, and how to go on."""
    by = f" by {received()}" if received() not in ("", "SIGINT") else ""
    return _fail(f"interrupted{by}. {_GO_ON.get(command, _RESUME)}", 1)


def _explained(error: Exception) -> str:
    """Return the words of an error; those of the system with the file and a remedy."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        known = no_right(Path(str(error.filename))) or refusal(error.filename, error)
        return str(known) if known else f"{error.filename}: {error.strerror.lower()}"
    if "DataLoader worker" in str(error) and "exited unexpectedly" in str(error):
        rule = "the processes that load data must run to the end"
        remedy = "Free memory or lower --options.num_workers, then resume: nothing saved is lost."
        return message(rule, "one that was killed", remedy)
    return str(error) or type(error).__name__


_LONG = {"-o": "--output", "-r": "--run"}
"""Short options. `torchrun` refuses --run among the arguments of its script as its --run_path."""
_RESUME = "Go on with --options.resume true, or --resume true, where the command has it."
_GO_ON = {"generate": "Repeat the command: it goes on where it stopped."}


def build_parser() -> ArgumentParser:
    """Return the parser of all commands, whose options follow from the signatures of functions."""
    parser = _parser("Learnable Monarch transforms for neural operators and MRI reconstruction.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subcommands(dest="command")
    for name, function in _functions().items():
        commands.add_subcommand(name, _command(name, function))
    generate = _parser("Generate a data set.")
    commands.add_subcommand("generate", generate)
    problems = generate.add_subcommands(dest="problem")
    for name, function in _generators().items():
        problems.add_subcommand(name, _command(name, function))
    benchmark = _parser("Measure speed and memory against the baselines of the same run.")
    commands.add_subcommand("benchmark", benchmark)
    subjects = benchmark.add_subcommands(dest="subject")
    for name, function in _benchmarks().items():
        subjects.add_subcommand(name, _command(name, function))
    return parser


def run(parser: ArgumentParser, configuration: Namespace) -> str | None:
    """Run the parsed command and return the text to print."""
    command = configuration.command
    options = parser.instantiate(configuration)[command]
    if command == "generate":
        function = _generators()[options.problem]
        options = options[options.problem]
    elif command == "benchmark":
        function = _benchmarks()[options.subject]
        options = options[options.subject]
    else:
        function = _functions()[command]
    values = {key: _mappings(value) for key, value in vars(options).items() if key != "config"}
    if command in FLAT:
        values = _gathered(function, FLAT[command], values)
    if command in KEEP_CONFIGURATION:
        values["configuration"] = _saved(parser, configuration, command)
    result = function(**values)
    return str(result) if result is not None else None


def _mappings(value: Any) -> Any:
    """Return a value whose objects of the parser are plain mappings."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    return {k: _mappings(v) for k, v in value.items()} if type(value) is dict else value


def _located(error: argparse.ArgumentError, given: Sequence[str]) -> str:
    """Return the error with the name of the network of a comparison that it is about."""
    from monarch_sciml.commands.comparison.config_errors import located

    return located(str(error), given)


def _functions() -> dict[str, Callable[..., Any]]:
    from monarch_sciml.commands.calibrate import calibrate
    from monarch_sciml.commands.comparison.compare import compare_networks
    from monarch_sciml.commands.comparison.evaluate import evaluate_run
    from monarch_sciml.commands.comparison.train import train_network
    from monarch_sciml.commands.info import info
    from monarch_sciml.commands.pack import pack_arrays
    from monarch_sciml.commands.reconstruct import reconstruct

    return {
        "train": train_network,
        "compare": compare_networks,
        "evaluate": evaluate_run,
        "reconstruct": reconstruct,
        "info": info,
        "pack": pack_arrays,
        "calibrate": calibrate,
    }


def _generators() -> dict[str, Callable[..., Any]]:
    from monarch_sciml import data
    from monarch_sciml.data.generators import PROBLEMS

    return {name: getattr(data, f"generate_{name}") for name in (*PROBLEMS, "scans")}


def _benchmarks() -> dict[str, Callable[..., Any]]:
    from monarch_sciml.commands.benchmark import command as benchmark

    names = ("layer", "linear", "transform", "model", "mri", "generate", "load")
    return {name: getattr(benchmark, f"benchmark_{name}") for name in names}


def _parser(description: str) -> ArgumentParser:
    return ArgumentParser(
        prog=PROGRAM, description=description, exit_on_error=False, allow_abbrev=False
    )


def _command(name: str, function: Callable[..., Any]) -> ArgumentParser:
    parser = _parser((function.__doc__ or "").split("\n", maxsplit=1)[0])
    positional = name in POSITIONAL
    if not positional:
        parser.add_argument("--config", action="config", help="YAML file with these options")
    skip: set[str | int] = {"configuration"} if name in KEEP_CONFIGURATION else set()
    if name in SEVERAL:
        argument, help_ = SEVERAL[name]
        parser.add_argument(argument, type=Path, nargs="+", help=help_)
        skip.add(argument)
    if name in FLAT:
        skip.add(FLAT[name])
        parser.add_class_arguments(_class_of(function, FLAT[name]), as_positional=positional)
    parser.add_function_arguments(function, as_positional=positional, skip=skip)
    return parser


def _class_of(function: Callable[..., Any], argument: str) -> type:
    return get_type_hints(function)[argument]


def _gathered(
    function: Callable[..., Any], argument: str, values: dict[str, Any]
) -> dict[str, Any]:
    """Return the values with those of a dataclass put into one object under its argument."""
    kind = _class_of(function, argument)
    names = {field.name for field in fields(kind)}
    rest = {name: value for name, value in values.items() if name not in names}
    return rest | {argument: kind(**{n: v for n, v in values.items() if n in names})}


def _saved(parser: ArgumentParser, configuration: Namespace, command: str) -> str:
    """Return the options of the command as YAML, without the file they came from."""
    dumped = yaml.safe_load(parser.dump(configuration, skip_unset=False))[command]
    dumped.pop("config", None)
    if command == "train":
        dumped.pop("output", None)  # a run directory may be moved
    return yaml.safe_dump(dumped, sort_keys=False)


def _fail(text: str, status: int) -> int:
    """Print an error in one line."""
    from monarch_sciml.commands.comparison.config_errors import plain_words

    with suppress(OSError):
        print(f"{PROGRAM}: error: {printable(plain_words(text))}", file=sys.stderr)
    return status


"""How jsonargparse's explanations of its types are turned into words of the command line."""
