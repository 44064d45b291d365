"""A run is resumed with the data it was started with."""

import shutil
from types import SimpleNamespace

import pytest

from monarch_sciml.training.checkpoint import find_checkpoint
from monarch_sciml.training.fingerprint import data_fingerprint
from monarch_sciml.training.records import DATA, check_settings


def data(train, validation=None):
    sets = [None if v is None else SimpleNamespace(fingerprint=lambda v=v: v)
            for v in (train, validation)]  # fmt: skip
    return SimpleNamespace(train=sets[0], validation=sets[1])


def test_the_fingerprint_is_that_of_training_and_validation_values():
    found = [data_fingerprint(data(*pair)) for pair in (("a",), ("b",), ("a", "c"), ("a", "d"))]
    assert len(set(found)) == 4 and found[0] == data_fingerprint(data("a"))
    assert data_fingerprint(SimpleNamespace(train=[1], validation=None)) is None


def test_other_data_are_refused_and_runs_that_do_not_say_are_not():
    with pytest.raises(ValueError, match=r"with the training and validation data it was started"):
        check_settings({DATA: "a"}, {DATA: "b"})
    check_settings({}, {DATA: "b"})


def test_a_run_without_its_last_checkpoint_is_refused(tiny, tmp_path):
    tiny.run(tmp_path, epochs=1)
    last = tmp_path / "checkpoints" / "last"
    shutil.rmtree(last)
    best = (tmp_path / "checkpoints" / "best" / "model.safetensors").read_bytes()
    with pytest.raises(FileNotFoundError, match=r"a run is resumed from .*last, which must be"):
        tiny.run(tmp_path, epochs=2, resume=True)
    assert (tmp_path / "checkpoints" / "best" / "model.safetensors").read_bytes() == best
    assert find_checkpoint(last) is None
