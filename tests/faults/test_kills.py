"""Killed at any moment, a command that is started again ends as one that never was.

`make chaos` kills each command 52 times, `pytest` twice (MONARCH_KILLS of each command).
"""

import importlib.util
import os
from pathlib import Path

import pytest

N_KILLS = int(os.environ.get("MONARCH_KILLS", "2"))
spec = importlib.util.spec_from_file_location("killing", Path(__file__).with_name("killing.py"))
killing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(killing)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    # figures take most of the time, and are written as every other file is
    for name in ("outputs.draw_figures", "outputs.metrics_figure", "outputs.cost_figure"):
        empty = dict if name.endswith("draw_figures") else type(None)
        module = "monarch_sciml.commands.comparison"
        monkeypatch.setattr(f"{module}.{name}", lambda *_, empty=empty, **__: empty())
    build_parser = killing.cli.build_parser
    killing.prepare(tmp_path)
    yield tmp_path
    killing.cli.build_parser = build_parser


@pytest.mark.parametrize("name", list(killing.COMMANDS))
def test_a_killed_command_ends_as_an_uninterrupted_one(scratch, name):
    for kind, kills, wrong in killing.campaign(name, scratch, (N_KILLS + 1) // 2):
        print(f"| {name} | {kind} | {kills} | {len(wrong)} |", *wrong[:3])
        assert not wrong, (name, kind, wrong)
        assert kills or kind == "random"
