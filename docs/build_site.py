"""Build the site: gather every page with its pictures, write the navigation, run mkdocs.

python docs/build_site.py          # into build/site; a warning is an error
"""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "build" / "site_source"
PACKAGES = ("monarch", "transforms", "layers", "models", "physics", "metrics", "solvers", "data",
            "training", "evaluation")  # fmt: skip
SUFFIXES = {".md", ".png", ".csv", ".yaml", ".sh", ".py", ".json", ".cff", ".svg"}
"""What pages show or link to."""

FIRST = ("README.md", "monarch_transform.md", "choosing_a_transform.md", "python.md",
         "command_line.md", "own_data.md", "own_problem.md", "own_format.md", "from_a_run.md",
         "reading_results.md", "scaling.md", "slurm.md", "trust.md", "package.md")  # fmt: skip
"""Pages of docs/ in the order in which a newcomer needs them; the others follow by name."""


def gather() -> None:
    """Copy the pages, and what they link to, with the folders that they have here."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    folders = ("docs", "experiments", "configs", "tests", "data")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    files += [path for path in ROOT.iterdir() if path.suffix in SUFFIXES or path.name == "LICENSE"]
    for path in files:
        page = path.suffix in SUFFIXES or path.name == "LICENSE"
        inside = path.relative_to(ROOT)
        if (
            not page
            or not path.is_file()
            or (inside.parts[0] in ("tests", "data") and path.suffix not in (".py", ".md"))
        ):
            continue
        target = SOURCE / ("index.md" if inside == Path("README.md") else inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = path.suffix == ".md"
        if text:
            target.write_text(
                path.read_text("utf-8").replace("../README.md)", "../index.md)"), "utf-8"
            )
        else:
            shutil.copyfile(path, target)


def write_api() -> list[str]:
    """Write one page for each public package, a section for each of its names; return the pages."""
    pages = []
    for package in PACKAGES:
        tree = ast.parse((ROOT / "monarch_sciml" / package / "__init__.py").read_text("utf-8"))
        public = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("monarch_sciml.")
            for alias in node.names
        }
        text = f"# monarch_sciml.{package}\n\n{ast.get_docstring(tree)}\n"
        for name in sorted(public, key=str.lower):
            if name[0] != "_" and not public[name].startswith("monarch_sciml._"):
                text += f"\n## {name}\n\n::: {public[name]}\n"
        page = SOURCE / "docs" / "api" / f"{package}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, "utf-8")
        pages.append(f"docs/api/{package}.md")
    return pages


def navigation() -> list:
    """Return the pages in the order of the side bar."""
    docs = {path.name for path in (ROOT / "docs").glob("*.md")}
    ordered = [name for name in FIRST if name in docs] + sorted(docs - set(FIRST))
    experiments = sorted((ROOT / "experiments").glob("*/README.md"))
    nav = [
        {"Home": "index.md"},
        {"Guide": [f"docs/{name}" for name in ordered]},
        {
            "Tutorials": [
                f"docs/tutorials/{p.name}" for p in sorted((ROOT / "docs/tutorials").glob("*.md"))
            ]
        },
        {
            "Experiments": [
                "experiments/README.md",
                *(str(p.relative_to(ROOT)) for p in experiments),
            ]
        },
        {"API": write_api()},
        {"Project": ["CONTRIBUTING.md", "CHANGELOG.md"]},
    ]
    return [entry for entry in nav if next(iter(entry.values()))]


def main() -> int:
    """Build the site; return the exit status of mkdocs."""
    gather()
    settings = yaml.safe_load((ROOT / ".mkdocs.yml").read_text("utf-8"))
    settings |= {"nav": navigation(), "docs_dir": str(SOURCE), "site_dir": str(ROOT / "build/site")}
    python = settings["plugins"][1]["mkdocstrings"]["handlers"]["python"]
    python["paths"] = [str(ROOT)]
    python["options"]["extensions"] = [str(ROOT / name) for name in python["options"]["extensions"]]
    settings["not_in_nav"] = "*.md\n"
    written = ROOT / "build" / "mkdocs.yml"
    written.write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", str(written)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
