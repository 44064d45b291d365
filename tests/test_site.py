"""The site builds without a warning: every link, every page, every docstring it shows."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(find_spec("mkdocstrings") is None, reason="needs the extra docs")
def test_site_builds_without_warnings():
    command = [sys.executable, str(ROOT / "docs" / "build_site.py")]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
    pages = {path.name for path in (ROOT / "build" / "site").rglob("*.html")}
    assert {"index.html", "monarch.html", "layer_in_your_network.html"} <= pages
