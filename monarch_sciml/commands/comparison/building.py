"""Build the objects of a saved run from the plain values of its configuration.

jsonargparse reads what users type, and takes text for the name of a class, a module or a file
wherever it expects an object. A run directory may come from a stranger. Here the annotations of
the parameters decide instead: text is text, and an object is a mapping with a `class_path` of this
package (`class_of_ours`), at a place where an object of that kind belongs.
"""

from __future__ import annotations

import inspect
from argparse import ArgumentError
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import partial, reduce
from operator import or_
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser

from monarch_sciml._checks import message
from monarch_sciml.commands.comparison.class_paths import class_of_ours

PLAIN = (bool, int, float, str, NoneType, Path)
"""Types of plain values."""


class Given(dict[str, Any]):
    """Values that the user typed in this call: their classes may be of any package."""


def build(value: Any, expected: Any, where: str) -> Any:
    """Return a value of a configuration as the object that a parameter expects.

    Parameters
    ----------
    value
        A plain value; a mapping with `class_path` and `init_args` stands for an object.
    expected
        The annotation of the parameter.
    where
        Its name, for messages: "data.mask of runs/a/config.yaml".

    Raises
    ------
    ValueError
        When the value is of another type, or names a class that does not belong here.
    """
    choices = list(_choices(expected))
    if isinstance(value, Given) and "class_path" in value:
        return _typed(value, expected, where)
    if isinstance(value, Mapping) and "class_path" in value:
        return _object(value, choices, where)
    for choice in choices:
        if isinstance(value, Mapping) and is_dataclass(choice):
            return _called(choice, value, where)
        items = get_args(choice)
        if isinstance(value, Mapping) and items and _is_mapping(choice) and not _plain(items[1]):
            return {str(k): build(v, items[1], f"{where}.{k}") for k, v in value.items()}
        if isinstance(value, list) and items and _is_sequence(choice) and not _plain(items[0]):
            return [build(v, items[0], f"{where}[{i}]") for i, v in enumerate(value)]
    return _checked(value, [choice for choice in choices if _plain(choice)], where)


def _object(value: Mapping[str, Any], choices: Sequence[Any], where: str) -> Any:
    """Return an object, or a factory of objects, that a class path and its options describe."""
    extra = value.keys() - {"class_path", "init_args", "dict_kwargs"}
    if extra:
        raise ValueError(f"`{where}` knows class_path and init_args, got {sorted(extra)[0]!r}")
    options: dict[str, Any] = {}
    for key in ("init_args", "dict_kwargs"):
        part = value.get(key) or {}
        if not isinstance(part, Mapping):
            raise ValueError(f"`{where}.{key}` must be a mapping, got {repr(part)[:40]}")
        options |= part
    for choice in choices:
        factory = get_origin(choice) is Callable
        base = get_args(choice)[1] if factory else choice
        if inspect.isclass(base) and base not in PLAIN and get_origin(base) is None:
            found = class_of_ours(value["class_path"], base, where=f"`{where}`")
            return _called(found, options, where, factory=factory)
    text = f"`{where}` must be a plain value, got the class {value['class_path']!r}"
    raise ValueError(text[:200])


def _called(kind: Any, options: Mapping[str, Any], where: str, *, factory: bool = False) -> Any:
    """Call a class with options, each built as its parameter asks; or return it ready to call."""
    known, open_ended = _parameters(kind)
    arguments = {}
    for name, option in options.items():
        if name not in known and not open_ended:
            rule = f"`{where}` must have options of {kind.__name__}"
            raise ValueError(f"{rule}: {name!r} is not accepted")
        arguments[str(name)] = build(option, known.get(name, Any), f"{where}.{name}")
    if factory:
        return partial(kind, **arguments)
    try:
        inspect.signature(kind).bind(**arguments)
    except TypeError as error:
        raise ValueError(f"`{where}` is not complete: {error}") from error
    return kind(**arguments)


def _parameters(kind: Any) -> tuple[dict[str, Any], bool]:
    """Return the annotations of a class's parameters by name, and whether it takes others.

    One that takes others hands them to the class it is derived from.
    """
    known: dict[str, Any] = {}
    for ancestor in kind.__mro__:
        if "__init__" not in vars(ancestor) or ancestor is object:
            continue
        hints = get_type_hints(ancestor.__init__)
        parameters = list(inspect.signature(ancestor.__init__).parameters.values())[1:]
        named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        known = {p.name: hints.get(p.name, Any) for p in named} | known
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return known, False
    return known, True


def _choices(expected: Any) -> Iterable[Any]:
    """Yield the types that an annotation allows, those of a union one by one."""
    origin = get_origin(expected)
    if origin in (Union, UnionType):
        for member in get_args(expected):
            yield from _choices(member)
    elif origin is Annotated:
        yield from _choices(get_args(expected)[0])
    else:
        yield expected


def _plain(expected: Any) -> bool:
    """Return whether an annotation is one of plain values, or containers of them, alone."""
    origin = get_origin(expected)
    if expected in PLAIN or expected in (Any, ..., dict, list, tuple) or origin is Literal:
        return True
    if origin in (Union, UnionType, Annotated) or _is_mapping(expected) or _is_sequence(expected):
        members = get_args(expected)[: 1 if origin is Annotated else None]
        return all(_plain(member) for member in members)
    return False


def _is_mapping(expected: Any) -> bool:
    origin = get_origin(expected)
    return inspect.isclass(origin) and issubclass(origin, Mapping)


def _is_sequence(expected: Any) -> bool:
    origin = get_origin(expected)
    return inspect.isclass(origin) and issubclass(origin, Iterable) and not _is_mapping(expected)


def _checked(value: Any, choices: Sequence[Any], where: str) -> Any:
    """Return a plain value, converted to one of the types."""
    _check_plain(value, where)
    if not choices:
        rule = f"`{where}` must be a mapping with a class_path, or the options of one"
        raise ValueError(message(rule, repr(value)[:60], "Restore it."))
    if Any in choices:
        return value
    return _typed(value, reduce(or_, choices), where)


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        if "class_path" in value:
            raise ValueError(f"`{where}` must be a plain value, got {value['class_path']!r}"[:200])
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_plain(item, where)


def _typed(value: Any, expected: Any, where: str) -> Any:
    """Return a value as jsonargparse reads it; only what cannot name code comes here untyped."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=expected)
    try:
        plain = dict(value) if isinstance(value, Given) else value
        return parser.instantiate(parser.parse_object({"value": plain})).value
    except (ArgumentError, TypeError) as error:
        text = str(error).replace('Parser key "value"', f'Parser key "{where}"', 1)
        raise ValueError(text) from error
