import json
from types import SimpleNamespace

import pytest

from monarch_sciml.training.loading import training_loader


def test_two_processes_train_and_evaluate_as_one(tiny, program, tmp_path):
    """Metrics of data sets of 1 to 9 samples in batches of 1 to 4: no sample twice, none lost."""
    started = program("evaluate", tmp_path / "two", processes=2)
    assert started.returncode == 0, started.errors[-3000:]
    assert "Warning" not in started.errors
    (tmp_path / "one").mkdir()
    tiny.evaluate(tmp_path / "one")
    one, first, second = (
        json.loads((tmp_path / name).read_text())
        for name in ("one/rank0.json", "two/rank0.json", "two/rank1.json")
    )
    assert {**first, "history": []} == {**second, "history": []}
    for name, value in one.items():
        if "/" in name:  # n/batch_size: one number a sample
            assert len(value) == int(name.split("/")[0])
            assert first[name] == pytest.approx(value, rel=1e-5)
    for ours, theirs in zip(one["history"], first["history"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    # 9 samples in batches of 4, with running means that differ between the processes
    assert first["normed"]["step"] == one["normed"]["step"] == 3
    assert first["normed"]["logged"] == pytest.approx(first["normed"]["loaded"], rel=1e-6)
    lines = (tmp_path / "two" / "metrics.csv").read_text().splitlines()
    assert len(lines) == 3


def test_batch_must_divide_among_the_processes(tiny):
    with pytest.raises(ValueError, match="must be a multiple of the 3 processes, got 4"):
        training_loader(
            tiny.Fields(8),
            batch_size=4,
            seed=0,
            accelerator=SimpleNamespace(num_processes=3),
            num_workers=0,
        )
