"""Every YAML in configs/ and experiments/ is parsed against the signatures it configures."""

from pathlib import Path

import pytest
import yaml

from monarch_sciml.cli import build_parser

ROOT = Path(__file__).parents[1]
CONFIGS = sorted([*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("experiments/**/*.yaml")])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_config_is_valid(path):
    command = "compare" if "networks" in yaml.safe_load(path.read_text()) else "train"
    parsed = build_parser().parse_args([command, "--config", str(path)])
    assert parsed.command == command


def test_there_are_configs():
    assert CONFIGS
