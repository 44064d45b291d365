"""Two jobs in one run directory: one trains, the other is told so, and nothing is damaged."""

import errno

import pytest

from monarch_sciml.training import (
    Optimisation,
    RunBusy,
    TrainingDiverged,
    find_checkpoint,
    load_state,
)
from monarch_sciml.training.lock import is_finished, run_lock

HOLD_BY_RUN_LOCK = """
import sys
from monarch_sciml.training.lock import run_lock
with run_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def snapshot(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_in_use_is_refused_untouched_and_free_after_a_kill(
    tiny, elsewhere, monkeypatch, tmp_path
):
    monkeypatch.setitem(run_lock.__wrapped__.__kwdefaults__, "patience", 0.0)
    steady = Optimisation(learning_rate=1e-2, scheduler="step")
    tiny.run(tmp_path, epochs=1, optimisation=steady)
    process = elsewhere(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(RunBusy, match=r"one process at a time may train .* Wait for it"):
        tiny.run(tmp_path, epochs=2, resume=True, optimisation=steady)
    assert snapshot(tmp_path) == before
    process.kill()
    process.wait()
    assert (tmp_path / ".lock").exists()  # left behind, and no obstacle
    again = tiny.run(tmp_path, epochs=2, resume=True, optimisation=steady)
    assert again.progress.epoch == 2
    assert not (tmp_path / ".lock").exists()


def test_a_finished_run_can_be_read_while_it_is_held(tiny, elsewhere, tmp_path):
    first = tiny.run(tmp_path, epochs=1)
    elsewhere(tmp_path)
    before = snapshot(tmp_path)
    again = tiny.run(tmp_path, epochs=1, resume=True)
    assert again.progress == first.progress and snapshot(tmp_path) == before


def test_the_lock_is_released_after_an_error_and_can_be_taken_again(tiny, tmp_path):
    with pytest.raises(TrainingDiverged):
        tiny.run(tmp_path, optimisation=Optimisation(learning_rate=1e30))
    for _ in range(2):
        with run_lock(tmp_path):
            assert (tmp_path / ".lock").exists()
        assert not (tmp_path / ".lock").exists()


def test_the_lock_is_waited_for(elsewhere, tmp_path):
    process = elsewhere(tmp_path, HOLD_BY_RUN_LOCK)
    with pytest.raises(RunBusy), run_lock(tmp_path, patience=0):
        pass
    process.stdin.close()  # it ends in a moment
    with run_lock(tmp_path, patience=30):
        pass


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_no_obstacle(number, monkeypatch, tmp_path):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with run_lock(tmp_path, patience=0):
        assert (tmp_path / ".lock").exists()
    assert not (tmp_path / ".lock").exists()


def test_any_other_failure_is_not_called_another_process(monkeypatch, tmp_path):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="broken disk"), run_lock(tmp_path, patience=0):
        pass


def test_is_finished_asks_the_checkpoint(tiny, tmp_path):
    last = tmp_path / "checkpoints" / "last"
    assert not is_finished(last, 1)
    tiny.run(tmp_path, epochs=2)
    assert is_finished(last, 2) and not is_finished(last, 3)
    assert load_state(find_checkpoint(last))["progress"]["epoch"] == 2
