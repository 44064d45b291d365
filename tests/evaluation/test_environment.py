import getpass
import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from monarch_sciml.evaluation.environment import environment

module = sys.modules["monarch_sciml.evaluation.environment"]
ROOT = Path(__file__).parents[2]


def test_names_the_software_the_device_and_the_threads():
    found = environment()
    assert found["python"] == platform.python_version()
    assert found["packages"]["neuraloperator"] == version("neuraloperator")
    assert found["packages"]["monarch_sciml"] == version("monarch_sciml")
    assert found["n_threads"] == torch.get_num_threads()
    assert found["n_cpus"] >= 1
    assert found["cpu"]
    assert (found["device"] == "cpu") is not torch.cuda.is_available()


def test_is_json_without_host_names_or_paths():
    text = json.dumps(environment())
    assert platform.node() not in text
    assert str(ROOT) not in text
    assert str(Path.home()) not in text
    assert getpass.getuser() not in text or len(getpass.getuser()) < 5


def test_commit_is_that_of_the_checkout():
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not in a git checkout")
    if module._git("rev-parse", "HEAD") is None:
        pytest.skip("the file is not committed yet")
    assert environment()["git_commit"] == commit


@pytest.mark.parametrize("missing", ["git", "checkout"])
def test_commit_is_none_outside_a_checkout(monkeypatch, tmp_path, missing):
    if missing == "git":
        monkeypatch.setenv("PATH", "")
    else:
        monkeypatch.setattr(module, "__file__", str(tmp_path / "environment.py"))
    found = environment()
    assert found["git_commit"] is None
    assert found["git_modified"] is None
