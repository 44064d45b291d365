import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from monarch_sciml.models import monarchize
from monarch_sciml.training import Optimisation, ProcessLost, load_state, processes
from monarch_sciml.training.loading import training_loader
from monarch_sciml.training.processes import all_processes


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


@pytest.fixture(scope="module")
def one(tiny, tmp_path_factory):
    """The trainings of `worker.equal` in one process: folder and history of each."""
    folder = tmp_path_factory.mktemp("one")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tiny.equal(folder)
    torch.set_num_threads(threads)
    return folder


def weights_of(folder, name):
    return load_file(folder / name.replace(" ", "_") / "checkpoints/last/model.safetensors")


def check_equal(ours, theirs, names):
    """Weights and history of float64 trainings agree to 1e-10."""
    histories = [json.loads((folder / "rank0.json").read_text()) for folder in (ours, theirs)]
    for name in names:
        for a, b in zip(*(history[name] for history in histories), strict=True):
            assert a == pytest.approx(b, rel=1e-10)
        expected = weights_of(theirs, name)
        for key, value in weights_of(ours, name).items():
            error = (value - expected[key]).norm() / expected[key].norm()
            assert error < 1e-10, (name, key)


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_end_in_the_weights_of_one(tiny, program, one, tmp_path, processes):
    """10 samples in batches of 4: shares that are unequal or empty, resumed after an epoch."""
    started = program("equal", tmp_path, processes=processes)
    assert started.returncode == 0, started.errors[-3000:]
    check_equal(tmp_path, one, tiny.WAYS)
    files = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(processes)]
    assert all(file == files[0] for file in files)


def test_options_that_save_memory_do_not_change_the_weights(tiny, one):
    for name in tiny.WAYS:
        if name != "two sizes":
            for key, value in weights_of(one, name).items():
                expected = weights_of(one, "plain")[key]
                assert (value - expected).norm() < 1e-10 * expected.norm(), (name, key)


def test_two_agents_on_one_host_stand_in_for_two_nodes(tiny, two_nodes, one, tmp_path):
    agents = two_nodes("equal", tmp_path)
    assert [agent.returncode for agent in agents] == [0, 0], agents[0].errors[-3000:]
    check_equal(tmp_path, one, tiny.WAYS)


def test_a_process_that_dies_ends_all_and_a_checkpoint_is_kept(program, tmp_path):
    started = program("lose", tmp_path, processes=3)
    assert started.returncode != 0
    assert "Signal 9 (SIGKILL)" in started.errors  # torchrun names the one that died
    assert load_state(tmp_path / "checkpoints/last")["progress"]["epoch"] >= 1


def test_a_node_that_dies_ends_the_other_with_one_line(two_nodes, tmp_path):
    agents = two_nodes("lose", tmp_path)
    assert all(agent.returncode != 0 for agent in agents)
    epoch = load_state(tmp_path / "checkpoints/last")["progress"]["epoch"]
    assert epoch >= 1
    said = "".join(agent.errors for agent in agents).splitlines()
    line = next(line for line in said if "must go on" in line)
    assert f"the checkpoint after epoch {epoch} is kept" in line


def test_other_errors_than_lost_connections_stay_as_they_are(monkeypatch):
    progress = SimpleNamespace(epoch=3)
    with pytest.raises(RuntimeError, match=r"^gloo is a word$"), all_processes(progress):
        raise RuntimeError("gloo is a word")  # there is one process only
    monkeypatch.setattr(processes.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(processes.dist, "get_rank", lambda: 2)
    with pytest.raises(ValueError, match=r"^mine$"), all_processes(progress):
        raise ValueError("mine")
    with pytest.raises(RuntimeError, match=r"^out of memory$"), all_processes(progress):
        raise RuntimeError("out of memory")
    words = r"must go on, got an ended connection in process 2.*checkpoint after epoch 3 is kept"
    with pytest.raises(ProcessLost, match=words), all_processes(progress):
        raise RuntimeError("[gloo/pair.cc:1] Connection closed by peer [127.0.0.1]:3")


def test_a_batch_needs_a_sample_for_every_process(tiny):
    with pytest.raises(ValueError, match=r"at least the number of processes, 3, got 2. Raise it"):
        training_loader(
            tiny.Fields(8),
            batch_size=2,
            seed=0,
            accelerator=SimpleNamespace(num_processes=3, process_index=0),
            num_workers=0,
        )


def test_sharding_is_refused_where_the_structure_changes(tiny, tmp_path):
    optimisation = Optimisation(densify_at=0.5)
    model = monarchize(tiny.nn.Sequential(tiny.nn.Linear(16, 16)), linear=True)
    with pytest.raises(ValueError, match="`densify_at` needs the whole state of the optimiser"):
        tiny.run(tmp_path, model=model, optimisation=optimisation, shard_optimizer=True)
