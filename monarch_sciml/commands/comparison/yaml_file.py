"""Read a YAML file that may come from a stranger: data only, and bounded in time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from monarch_sciml._checks import message
from monarch_sciml._reading import existing_file

LARGEST_FILE = 1_000_000
"""Bytes; the configuration of a large comparison has some ten thousand."""
MOST_VALUES = 100_000
"""Values after every alias has been replaced by what it stands for."""
DEEPEST = 50
"""Mappings and lists inside each other."""


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file: numbers, text, dates, lists and mappings.

    Tags that would build Python objects are refused, as are aliases that multiply (ten lines of
    ten aliases each stand for 10¹⁰ values) or contain themselves.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is not YAML, too large, too deep, or stands for too many values.
    """
    rule = f"{existing_file(path)} must be a YAML file of plain values"
    remedy = "Check where it came from, or restore it."
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise ValueError(message(rule, f"{size} bytes", remedy))
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            return None
        count = _n_values(node, {})
        if count > MOST_VALUES:
            raise ValueError("aliases that stand for too many values")
        return loader.construct_document(node)
    except yaml.reader.ReaderError as error:
        raise ValueError(message(rule, "characters that are not allowed", remedy)) from error
    except yaml.YAMLError as error:
        raise ValueError(message(rule, _cause(error), remedy)) from error
    except UnicodeDecodeError as error:
        raise ValueError(message(rule, "bytes that are not text", remedy)) from error
    except RecursionError as error:
        raise ValueError(message(rule, "lists inside lists without end", remedy)) from error
    except (ValueError, TypeError) as error:  # ours, and numbers or dates out of range
        raise ValueError(message(rule, str(error).splitlines()[0], remedy)) from error


def _n_values(node: yaml.Node, known: dict[int, int], above: tuple[int, ...] = ()) -> int:
    """Return how many values a node stands for; each node is visited once."""
    if id(node) in above or len(above) > DEEPEST:
        raise ValueError("lists or mappings inside each other without end")
    if id(node) in known:
        return known[id(node)]
    count = 1
    for child in node.value if isinstance(node, yaml.CollectionNode) else ():
        pair = child if isinstance(child, tuple) else (child,)
        count += sum(_n_values(part, known, (*above, id(node))) for part in pair)
    known[id(node)] = count
    return count


def _cause(error: yaml.YAMLError) -> str:
    """Return what is wrong and in which line, without an excerpt of the file."""
    mark = getattr(error, "problem_mark", None)
    where = "" if mark is None else f" in line {mark.line + 1}"
    return f"{getattr(error, 'problem', None) or 'no YAML'}{where}"
