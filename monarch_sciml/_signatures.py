"""Functions whose arguments and documentation are put together from several sources.

The options that many commands share are documented once, in a dataclass; the command line is made
from the function that results.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

Target = TypeVar("Target", bound=Callable[..., Any])


def arguments(cls: type, defaults: Mapping[str, Any] | None = None) -> list[inspect.Parameter]:
    """Return the fields of a dataclass as keyword-only arguments, some with other defaults."""
    hints, defaults = get_type_hints(cls), defaults or {}
    found = []
    for item in fields(cls):
        default = defaults.get(item.name, item.default)
        if default is MISSING and item.default_factory is not MISSING:
            default = item.default_factory()
        found.append(
            inspect.Parameter(
                item.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if default is MISSING else default,
                annotation=hints[item.name],
            )
        )
    return found


def describe(
    function: Callable[..., Any],
    own: Sequence[inspect.Parameter],
    shared: Sequence[inspect.Parameter],
    text: str,
    result: type,
) -> None:
    """Give a function its signature and its documentation.

    The first of the shared arguments comes first and may be given by position.
    """
    first, *rest = shared
    first = first.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.Signature([first, *own, *rest], return_annotation=result)
    function.__doc__ = text
    function.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    function.__annotations__["return"] = result
    vars(function)["__signature__"] = signature


def documentation(
    own: Sequence[str | None],
    names: Sequence[str],
    shared: str | None,
    last: Sequence[str],
    result: str,
) -> str:
    """Put the documentation of a function together.

    Parameters
    ----------
    own
        Documentation of the function, and of the base classes whose parameters it has as well.
    names
        Its own parameters.
    shared
        Documentation of the shared parameters.
    last
        The shared parameters that it has; they follow its own.
    result
        The sections Returns and Raises. What else follows in `own` comes after them.
    """
    summary, rest = _without_parameters(own[0])
    listed = _listed([*names, *last], [*own, shared])
    return "\n\n".join(part for part in (summary, listed, result.strip(), rest) if part) + "\n"


def parameters_of(*sources: Callable[..., Any]) -> Callable[[Target], Target]:
    """Add to the documentation of a class or function what others say of the same parameters.

    Parameters
    ----------
    sources
        Classes or functions with parameters of the same names and meaning. What the target says
        itself comes before what they say.
    """

    def decorate(target: Target) -> Target:
        described: Any = target
        function = described.__init__ if isinstance(described, type) else described
        names = [name for name in inspect.signature(function).parameters if name != "self"]
        summary, rest = _without_parameters(described.__doc__)
        listed = _listed(names, [described.__doc__, *(source.__doc__ for source in sources)])
        parts = (summary, listed, rest)
        described.__doc__ = "\n\n".join(part for part in parts if part) + "\n"
        return target

    return decorate


def _without_parameters(text: str | None) -> tuple[str, str]:
    """Return what stands before the parameters of a documentation, and what follows them."""
    text = inspect.cleandoc(text or "")
    sections = re.split(r"\n\n(?=[A-Z]\w+\n---)", text)
    kept = [section for section in sections[1:] if not section.startswith("Parameters\n")]
    return sections[0].strip(), "\n\n".join(kept).strip()


def _listed(names: Sequence[str], texts: Sequence[str | None]) -> str:
    """Return the section of these parameters; the first text that has one counts."""
    entries: dict[str, tuple[str, str]] = {}
    for text in texts:
        section = inspect.cleandoc(text or "").partition("Parameters\n----------\n")[2]
        section = re.split(r"\n\n(?=[A-Z]\w+\n---)", section)[0]
        found = re.findall(r"^(\*{0,2}\w+(?:, \w+)*)\n((?:(?:    .*)?(?:\n|\Z))+)", section, re.M)
        for label, body in found:
            for name in label.split(", "):
                entries.setdefault(name.lstrip("*"), (label, body.rstrip()))
    lines: dict[str, None] = {}
    for name in names:
        if name in entries:
            label, body = entries[name]
            label = ", ".join(part for part in label.split(", ") if part.lstrip("*") in names)
            lines[f"{label}\n{body}"] = None
    return "Parameters\n----------\n" + "\n".join(lines) if lines else ""
