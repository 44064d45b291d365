import json
import os
import pathlib
import shutil

import pytest
import torch
from torch import nn

from monarch_sciml.training import (
    find_checkpoint,
    load_state,
    load_weights,
    save_checkpoint,
    save_weights,
)
from monarch_sciml.training.checkpoint import usable_checkpoint


class Weights(nn.Module):
    """Every kind of tensor a network may hold."""

    def __init__(self, seed=0):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.real = nn.Parameter(torch.randn(3, 2, generator=g))
        self.complex64 = nn.Parameter(torch.randn(3, generator=g, dtype=torch.complex64))
        self.complex128 = nn.Parameter(torch.randn(2, 2, generator=g, dtype=torch.complex128))
        self.transposed = nn.Parameter(torch.randn(4, 3, generator=g, dtype=torch.float64).T)
        self.tied = self.real
        self.register_buffer("view", self.real.detach()[1:])
        self.register_buffer("count", torch.tensor(seed))
        self.register_buffer("empty", torch.empty(0, 2))


def test_weights_of_every_kind_come_back_bit_for_bit(tmp_path):
    model, other = Weights(1), Weights(2)
    save_weights(model, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    for name, value in model.state_dict().items():
        assert value.dtype == other.state_dict()[name].dtype
        assert torch.equal(value, other.state_dict()[name]), name
    assert other.tied is other.real


def test_neuralop_state_dict_with_metadata_entry_is_saved(tmp_path):
    from neuralop.models import FNO

    options = {"n_modes": (4, 4), "hidden_channels": 4, "in_channels": 1, "out_channels": 1}
    model, other = FNO(**options, n_layers=1), FNO(**options, n_layers=1)
    assert not isinstance(model.state_dict()["_metadata"], torch.Tensor)
    save_weights(model, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    x = torch.randn(1, 1, 8, 8)
    assert torch.equal(model(x), other(x))


def test_existing_file_is_kept_unless_overwritten(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="must not exist yet"):
        save_weights(nn.Linear(1, 1), path)
    assert path.read_text() == "mine"
    save_weights(nn.Linear(1, 1), path, overwrite=True)
    load_weights(nn.Linear(1, 1), path)


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (nn.Linear(2, 3), r"weight real \(1, 2\) for real \(3, 2\)"),
        (nn.Linear(2, 1, bias=False), "bias unknown to the model"),
        (nn.Sequential(nn.Linear(2, 1)), "0.bias missing"),
        (nn.Linear(2, 1, dtype=torch.complex64), r"weight real \(1, 2\) for complex \(1, 2\)"),
    ],
)
def test_weights_of_another_network_are_refused_in_one_line(tmp_path, model, problem):
    save_weights(nn.Linear(2, 1), tmp_path / "w.safetensors")
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=problem) as error:
        load_weights(model, tmp_path / "w.safetensors")
    assert "\n" not in str(error.value)
    assert all(torch.equal(p, q) for p, q in zip(before, model.parameters()))


def test_missing_truncated_and_foreign_files_are_refused(tmp_path):
    model = nn.Linear(20, 20)
    with pytest.raises(FileNotFoundError, match="file must exist"):
        load_weights(model, tmp_path / "none")
    save_checkpoint(tmp_path / "c", model, {"epoch": 1})
    loaders = {"model.safetensors": lambda path: load_weights(model, path), "state.pt": load_state}
    for name, load in loaders.items():
        path = tmp_path / "c" / name
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"", b"no such format"):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=r"must be") as error:
                load(tmp_path / "c")
            assert "\n" not in str(error.value)


def test_state_with_code_in_it_is_not_loaded(tmp_path):
    save_checkpoint(tmp_path / "c", nn.Linear(1, 1), {"model": nn.Linear(1, 1)})
    with pytest.raises(ValueError, match="training state must be readable"):
        load_state(tmp_path / "c")


@pytest.mark.parametrize("n_bytes", [500, 4000])  # too few for the weights, for the state
def test_a_full_disk_is_one_line_and_keeps_the_old_checkpoint(tmp_path, n_bytes):
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    model = nn.Linear(10, 10)
    save_checkpoint(tmp_path / "last", model, {"epoch": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        with pytest.raises(OSError, match=r"must be writable, got .*Free space[^\n]*$"):
            save_checkpoint(tmp_path / "last", model, {"epoch": 2, "state": torch.zeros(5000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load_state(tmp_path / "last") == {"epoch": 1}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("call", range(8))
@pytest.mark.parametrize("first", [True, False])
def test_kill_at_any_call_to_the_file_system_leaves_a_checkpoint(
    tmp_path, monkeypatch, call, first
):
    """Stop at the k-th rename, removal, creation or write: what is found is whole."""
    folder = tmp_path / "last"
    model = nn.Linear(2, 2)
    if not first:
        save_checkpoint(folder, model, {"epoch": 1})
    old = model.weight.detach().clone()
    with torch.no_grad():
        model.weight += 1
    calls = 0

    def counted(function):
        def wrapper(*args, **kwargs):
            nonlocal calls
            if calls == call:
                raise Killed
            calls += 1
            return function(*args, **kwargs)

        return wrapper

    with monkeypatch.context() as patch:
        for owner, name in [
            (pathlib.Path, "rename"),
            (pathlib.Path, "mkdir"),
            (__import__("shutil"), "rmtree"),
            (__import__("os"), "replace"),
            (torch, "save"),
        ]:
            patch.setattr(owner, name, counted(getattr(owner, name)))
        try:
            save_checkpoint(folder, model, {"epoch": 2})
            done = True
        except Killed:
            done = False
    if first and not done and find_checkpoint(folder) is None:
        return
    found = nn.Linear(2, 2)
    load_weights(found, folder)
    epoch = load_state(folder)["epoch"]
    assert torch.equal(found.weight, model.weight if epoch == 2 else old)
    assert epoch == 2 or not done
    save_checkpoint(folder, model, {"epoch": 3})  # and the next one clears up
    assert load_state(folder)["epoch"] == 3
    assert {path.name for path in tmp_path.iterdir()} <= {"last", "previous"}


def flipped(path, byte, bit=0):
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "state.pt"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_flipped_bit_is_noticed(tmp_path, name, place):
    model = nn.Linear(20, 20)
    save_checkpoint(tmp_path / "last", model, {"numbers": torch.zeros(200)})
    path = tmp_path / "last" / name
    flipped(path, int(place * path.stat().st_size))
    load = load_state if name == "state.pt" else (lambda folder: load_weights(model, folder))
    with pytest.raises(ValueError, match=rf"{name} must be the file that was written .*checksum"):
        load(tmp_path / "last")


def test_a_damaged_checkpoint_falls_back_to_the_one_before_it(tmp_path):
    model, last = nn.Linear(2, 2), tmp_path / "last"
    for epoch in (1, 2):
        save_checkpoint(last, model, {"epoch": epoch})
    assert usable_checkpoint(last) == (last, "")
    flipped(last / "state.pt", 300)
    found, note = usable_checkpoint(last)
    assert load_state(found) == {"epoch": 1} and "last is damaged: training goes on from" in note
    flipped(found / "model.safetensors", 100)
    with pytest.raises(ValueError, match=r"last/state.pt must be the file that was written there"):
        usable_checkpoint(last)


def test_a_checkpoint_that_was_removed_is_not_replaced_by_the_one_before_it(tmp_path):
    for epoch in (1, 2):
        save_checkpoint(tmp_path / "last", nn.Linear(2, 2), {"epoch": epoch})
    shutil.rmtree(tmp_path / "last")
    assert find_checkpoint(tmp_path / "last") is None
    assert usable_checkpoint(tmp_path / "last") == (None, "")


def test_a_checkpoint_of_the_first_version_loads_and_one_of_a_later_is_refused(tmp_path):
    save_checkpoint(tmp_path / "last", nn.Linear(2, 2), {"epoch": 1})
    sums = tmp_path / "last" / "checksums.json"
    sums.write_text(json.dumps({**json.loads(sums.read_text()), "version": 99}))
    with pytest.raises(ValueError, match=r"must be of version 2 or older, got 99\. Install"):
        load_state(tmp_path / "last")
    sums.unlink()
    assert load_state(tmp_path / "last") == {"epoch": 1}


def test_files_of_a_checkpoint_have_the_rights_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        save_checkpoint(tmp_path / "last", nn.Linear(2, 2), {"epoch": 1})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "last").iterdir()}
    assert set(modes.values()) == {0o640} or os.name == "nt", modes


def test_equal_weights_give_equal_files(tmp_path):
    for model in (Weights(1), torch.nn.Linear(2, 3)):  # with complex numbers in double precision
        files = [tmp_path / f"{type(model).__name__}-{i}.safetensors" for i in range(12)]
        for file in files:
            save_weights(model, file)
        assert len({file.read_bytes() for file in files}) == 1
