"""Files and folders without rights: one line that names what to change, status 1, nothing lost."""

import ctypes
import json
import os
import subprocess
import sys

import pytest
import yaml
from waves import SMALL_FNO, WAVES, write_waves

from monarch_sciml.cli import main

PROGRAM = """
import contextlib, io, json, os, stat, sys
from monarch_sciml import cli

parser = cli.build_parser()
cli.build_parser = lambda: parser  # built once: it takes longer than the commands
if os.access("secret", os.R_OK):
    sys.exit("skip")
found = []
for path, rights, words in json.loads(sys.argv[1]):
    before, said = stat.S_IMODE(os.stat(path).st_mode), io.StringIO()
    os.chmod(path, int(rights, 8))
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            found.append([cli.main(words), said.getvalue()])
    finally:
        os.chmod(path, before)
print(json.dumps(found))
"""
EVALUATE = ["evaluate", "run", "--progress", "false"]
OPEN = "the folder {} must be open to you, got no permission. Change its rights."
READ = "{} must be readable, got no permission. Change its rights, or copy it."
UNREADABLE = {
    "run": OPEN,
    "run/checkpoints": OPEN,
    "run/checkpoints/best": OPEN,
    "run/config.yaml": READ,
    "run/spec.json": READ,
    "run/checkpoints/best/model.safetensors": READ,
    "run/checkpoints/best/checksums.json": READ,
    "waves.h5": READ,
}
"""What `evaluate` reads, and what it says when it may not."""


def as_a_user():
    """Take from root the rights to read and to write every file, in a process about to start."""
    library = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        library.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Run all the commands in one process; (status, what was said) of each by path and rights."""
    if sys.platform != "linux":
        pytest.skip("takes rights away as Linux does")
    folder = tmp_path_factory.mktemp("forbidden")
    write_waves(folder / "waves.h5")
    (folder / "train.yaml").write_text(yaml.safe_dump({**WAVES, "network": SMALL_FNO}))
    (folder / "closed").mkdir()
    (folder / "secret").touch(mode=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("monarch_sciml.commands.comparison.outputs.draw_figures", lambda *_, **__: {})
        assert main(["train", "--config", "train.yaml", "--output", "run"]) == 0
    train = ["train", "--config", "train.yaml", "--output", "closed/run"]
    cases = [(path, "0", EVALUATE) for path in UNREADABLE]
    cases += [("run", "555", EVALUATE), (".", "555", EVALUATE)]
    cases += [("closed", "555", train), ("closed", "0", train)]
    answered = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(cases)],
        cwd=folder,
        preexec_fn=as_a_user if os.geteuid() == 0 else None,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if answered.stderr.strip() == "skip":
        pytest.skip("rights cannot be taken away here")
    assert answered.returncode == 0, answered.stderr
    found = json.loads(answered.stdout)
    return {(path, rights): answer for (path, rights, _), answer in zip(cases, found, strict=True)}


def error(text):
    return f"monarch-sciml: error: {text}"


@pytest.mark.parametrize(("path", "words"), UNREADABLE.items(), ids=list(UNREADABLE))
def test_evaluate_names_what_it_may_not_read(answers, path, words):
    assert answers[path, "0"] == [1, error(words.format(path)) + "\n"]


@pytest.mark.parametrize("path", ["run", "."])
def test_a_run_in_a_folder_without_the_right_to_write_is_evaluated(answers, path):
    status, said = answers[path, "555"]
    assert status == 0 and "relative_l2" in said


WRITE = "files must be writable in the folder closed/run, got 'permission denied'. "
WRITE += "Name another folder."


@pytest.mark.parametrize(("rights", "words"), [("555", WRITE), ("0", OPEN.format("closed"))])
def test_train_names_the_folder_that_it_may_not_write_in(answers, rights, words):
    assert answers["closed", rights] == [1, error(words) + "\n"]
