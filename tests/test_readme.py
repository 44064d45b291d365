"""The Python blocks of the README and of docs/ run; the commands, files and links in them exist."""

import re
import shlex
import warnings
from pathlib import Path

import pytest

from monarch_sciml.cli import build_parser

ROOT = Path(__file__).parents[1]
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md") if (ROOT / name).exists()]
PAGES = [*TOP, *sorted((ROOT / "docs").rglob("*.md"))]
ALL_PAGES = [*PAGES, *sorted((ROOT / "experiments").rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    """Run the blocks of a page one after the other, as a reader would."""
    monkeypatch.chdir(tmp_path)
    text, names = page.read_text(encoding="utf-8"), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
            exec(compile(block, page.name, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_named_exist(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w/.])(?:configs|tests|experiments)/[\w/.-]+\.(?:yaml|py|md)", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", ALL_PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [
        target for target in targets if "://" not in target and not target.startswith("mailto")
    ]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_make_targets_named_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`?make (\w+)", README))
    assert {"quickstart", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def shell_commands():
    """Yield every call of the command line in the README and in docs/."""
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if "monarch-sciml" in words[:1] or words[:1] == ["torchrun"]:
                    start = words.index("monarch-sciml" if words[0] == "monarch-sciml" else "-m")
                    yield page.name, words[start + (1 if words[0] == "monarch-sciml" else 2) :]


def test_commands_named_are_accepted(monkeypatch):
    monkeypatch.chdir(ROOT)
    parser = build_parser()
    commands = list(shell_commands())
    assert commands
    for page, words in commands:
        words = [
            "--run" if word == "-r" else "--output" if word == "-o" else word for word in words
        ]
        assert parser.parse_args(words).command == words[0], page
