"""Say which network of a comparison an error in the configuration is about."""

from __future__ import annotations

import re
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from monarch_sciml.commands.comparison.recipe import Contender
from monarch_sciml.data.spec import DataModule

_KINDS = {"networks": Contender, "evaluate_on": DataModule}
"""Options of `compare` that hold several things by name, and what each of them is."""


def located(error: str, arguments: Sequence[str]) -> str:
    """Return an error of `compare` with the name of the network, or data set, that it is about.

    jsonargparse names the option that holds them all, `networks`. Here each of them is parsed
    alone, and the first that fails is named; the text is returned as it is when none does.

    Parameters
    ----------
    error
        What jsonargparse says.
    arguments
        The words of the command line.
    """
    option = next((key for key in _KINDS if f'Parser key "{key}"' in error), None)
    if option is None:
        return error
    for name, value in _entries(arguments, option).items():
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--entry", type=_KINDS[option])
        try:
            parser.parse_object({"entry": value})
        except (ArgumentError, TypeError, ValueError):
            return error.replace(f'Parser key "{option}"', f'Parser key "{option}.{name}"', 1)
    return error


def _entries(arguments: Sequence[str], option: str) -> dict[str, Any]:
    """Return what the configuration files among the words hold under `option`."""
    found: dict[str, Any] = {}
    for word, following in zip(arguments, [*arguments[1:], ""]):
        path = following if word == "--config" else word.removeprefix("--config=")
        if path == word or not Path(path).is_file():
            continue
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        entries = content.get(option) if isinstance(content, dict) else None
        found |= entries if isinstance(entries, dict) else {}
    return found


_REPHRASED = (
    (r" Got value: Namespace.*", ""),
    (r"Does not validate against any of the Union subtypes Subtypes: .*? Errors: - ", ""),
    (r" - Expected a <class 'NoneType'>", ""),
    (
        r" Given value type: .*? Given value: (NestedArg\(key='(.*?)', val='(.*?)'\)|)",
        r", got \2 \3",
    ),
    (r"Type collections\.abc\.Callable\S* .*? expects a function or a callable class: ", ""),
    (r"Problem with given class_path 'monarch_sciml\.commands(\.\w+)+': ", ""),
    (r"[Ee]xpected a typing\.Literal\[(.*?)\]", r"expected one of \1"),
    (r"<class '(?:\w+\.)*(\w+)'>", r"\1"),
    (r"Parser key \"(.*?)\":", r"`\1`:"),
    (r" - Expected a", " or a"),
    (r" - Problem", "; problem"),
    (r"Expected an? ", "expected "),
    (r"\. Got value: ", ", got "),
    (r", got +Namespace\(.*", ""),
    (r"dot import path string: \S+?(?=,| |$)", "class name"),
    (r", got +", ", got "),
)


def plain_words(text: str) -> str:
    """Return an error as one line without the types of Python."""
    if text.startswith("Caught ") and " in DataLoader worker process " in text:
        # torch hands on the traceback of the process; its last line is "ValueError: ..."
        text = text.rstrip().splitlines()[-1].partition(": ")[2] or text
    line = " ".join(text.split())
    for pattern, replacement in _REPHRASED:
        line = re.sub(pattern, replacement, line)
    return line.strip()
