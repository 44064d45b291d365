"""Find the class that a saved configuration names, without running code of other packages."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from typing import Any

from monarch_sciml._checks import message
from monarch_sciml._moved import MOVED

PACKAGE = "monarch_sciml"
_PATH = re.compile(rf"{PACKAGE}(\.[A-Za-z_][A-Za-z0-9_]*)+")


def class_of_ours(path: Any, base: type, *, where: str) -> type:
    """Return the class with a dotted path, when it is defined in this package.

    A path that begins with "monarch_sciml." may lead elsewhere, because modules hold the names they
    import: `monarch_sciml._files.os.system` is a function of the operating system. The path is
    therefore resolved module by module within this package and by one name in the last module, and
    the result must be a class whose own `__module__` is in this package. Nothing else is imported.

    Parameters
    ----------
    path
        A dotted path, of today or of an earlier version.
    base
        The class that the result must be, or be derived from.
    where
        The option that names it, and the file, for messages.

    Raises
    ------
    ValueError
        When it is no such class.
    """
    found = _resolved(path) if isinstance(path, str) and _PATH.fullmatch(path) else None
    if not (inspect.isclass(found) and _is_ours(found.__module__)):
        rule = f"{where} may name classes of {PACKAGE} only"
        remedy = "Pass --trust true only for a run that you or somebody you trust has made."
        raise ValueError(message(rule, str(path)[:100], remedy))
    if not issubclass(found, base) or inspect.isabstract(found):
        rule = f"{where} must name a class of the kind {base.__name__}"
        raise ValueError(message(rule, path, "Restore the file."))
    return found


def _resolved(path: str) -> Any:
    """Return the attribute of a module of this package that a path names, or None."""
    path = MOVED.get(path, path)
    name, _, attribute = path.rpartition(".")
    module = _module(name)
    return None if module is None else getattr(module, attribute, None)


def _module(name: str) -> Any:
    """Import a module of this package, or return None where there is none of the name."""
    for end in range(1, name.count(".") + 2):  # find_spec imports the parents: each is checked
        part = ".".join(name.split(".")[:end])
        try:
            if importlib.util.find_spec(part) is None:
                return None
        except ImportError:  # the parent is a module, not a folder
            return None
    if name.rpartition(".")[2].startswith("__"):
        return None  # __main__ is a program
    return importlib.import_module(name)


def _is_ours(module: str) -> bool:
    return module == PACKAGE or module.startswith(f"{PACKAGE}.")
