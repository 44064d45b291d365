"""One self-contained HTML page of a run or a comparison."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monarch_sciml._checks import message
from monarch_sciml._files import whole_file
from monarch_sciml._reading import existing_file
from monarch_sciml.evaluation.figures import style as _style
from monarch_sciml.evaluation.tables import ComparisonTable

_PNG = b"\x89PNG\r\n\x1a\n"


def write_report(
    path: str | Path,
    *,
    title: str,
    summary: str,
    tables: Mapping[str, ComparisonTable | str],
    figures: Mapping[str, Any],
    environment: Mapping[str, Any],
    configuration: str,
    command: str = "",
    seeds: Sequence[int] = (),
    budget: str = "",
    overwrite: bool = False,
) -> Path:
    """Write tables, figures and the description of their origin as one HTML file.

    The page needs no other file and no network: figures are embedded as PNG, the style is
    inline, there is no script. It follows the light or dark setting of the reader and prints.

    Parameters
    ----------
    path
        File to write.
    title, summary
        Heading and plain text below it; an empty line starts a new paragraph.
    tables
        For each caption a `ComparisonTable` or a text with tables in GitHub Markdown.
    figures
        For each caption a matplotlib figure, or the path of a PNG file.
    environment
        Versions and hardware; nested mappings are written with dotted names.
    configuration
        Text of the configuration file.
    command, seeds, budget
        Command, seeds and budget that produced the result. Empty ones are left out.
    overwrite
        Whether to replace an existing file.

    Returns
    -------
    `path`.

    Raises
    ------
    FileExistsError
        When `path` exists and `overwrite` is false.
    FileNotFoundError, ValueError
        When the file of a figure is missing, or is no PNG.

    Notes
    -----
    All text is escaped: captions, cells and configuration are shown as they are written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    engine = Environment(
        loader=PackageLoader("monarch_sciml.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    facts = {"command": command, "seeds": ", ".join(map(str, seeds)), "budget": budget}
    page = engine.get_template("report.html.j2").render(
        title=title,
        paragraphs=[part.strip() for part in re.split(r"\n\s*\n", summary) if part.strip()],
        tables={caption: _blocks(table) for caption, table in tables.items()},
        figures={caption: _png(figure) for caption, figure in figures.items()},
        facts={name: value for name, value in facts.items() if value},
        environment=_flattened(environment),
        configuration=configuration.rstrip(),
    )
    with whole_file(path, overwrite=overwrite) as part:
        part.write_text(page, encoding="utf-8")
    return Path(path)


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, and whether it is bold."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Block:
    """A paragraph (`text`), or a table of a `header` and `rows`."""

    text: str = ""
    header: tuple[Cell, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()


def _blocks(table: ComparisonTable | str) -> list[Block]:
    """Return the paragraphs and pipe tables of a Markdown text."""
    text = table.to_markdown() if isinstance(table, ComparisonTable) else table
    blocks = []
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = part.splitlines()
        if len(lines) > 1 and re.fullmatch(r"[\s|:-]*-[\s|:-]*", lines[1]):
            header, _, *rows = (_cells(line) for line in lines)
            blocks.append(Block(header=header, rows=tuple(rows)))
        elif part.strip():
            blocks.append(Block(text=part.strip()))
    return blocks


def _cells(line: str) -> tuple[Cell, ...]:
    """Return the cells of one line of a pipe table."""
    cells = []
    for text in re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|")):
        text = text.strip().replace("\\|", "|")
        bold = re.fullmatch(r"\*\*(.+)\*\*", text)
        cells.append(Cell(bold[1], bold=True) if bold else Cell(text))
    return tuple(cells)


def _png(figure: Any) -> str:
    """Return a figure, or a PNG file, in base64."""
    if isinstance(figure, str | Path):
        data = existing_file(figure).read_bytes()
        if not data.startswith(_PNG):
            rule = "a figure given by its path must be a PNG file"
            raise ValueError(message(rule, str(figure), "Save it with a name ending in .png."))
    else:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_style.DPI)
        data = buffer.getvalue()
    return base64.b64encode(data).decode("ascii")


def _flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested mappings as one, with dotted names."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat
