"""Options that save memory or give the same bits: less is kept, and nothing else changes."""

import copy
import os

import pytest
import torch
from networks import NETWORKS, build, inputs
from torch import nn

from monarch_sciml.models import FNO
from monarch_sciml.training import LoopOptions, RolloutObjective, load_state
from monarch_sciml.training.determinism import deterministic_algorithms
from monarch_sciml.training.memory import parts_of, recomputed_activations

pytestmark = pytest.mark.filterwarnings("ignore:.*view_as_complex.*:UserWarning")


def saved_bytes(function):
    """The bytes that autograd keeps for the gradient of what a function computes."""
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = function()
    return sum(storage.nbytes() for storage in kept.values()), result


def gradients(network, x):
    torch.manual_seed(3)
    output = network(*x)
    output.abs().square().sum().backward()
    return [output.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


@pytest.mark.parametrize("name", NETWORKS)
def test_recomputed_activations_change_no_bit(name):
    """In training mode, with dropout where a network has it."""
    network, other = build(name), build(name)
    keys = list(other.state_dict())
    expected = gradients(network, inputs(name))
    with recomputed_activations(other):
        found = gradients(other, inputs(name))
        assert list(other.state_dict()) == keys
    assert all(map(torch.equal, found, expected))
    assert not any("forward" in vars(module) for module in other.modules())


def test_recomputed_activations_keep_less():
    network = FNO((32, 32), n_modes=(8, 8), hidden_channels=16, n_layers=4, transform="monarch")
    x = torch.randn(2, 1, 32, 32)
    plain, _ = saved_bytes(lambda: network(x))
    with recomputed_activations(network):
        less, _ = saved_bytes(lambda: network(x))
    assert less < 0.5 * plain


def test_dropout_is_the_same_both_times():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 8)))
    other, x = copy.deepcopy(network), (torch.randn(5, 8),)
    expected = gradients(network, x)
    with recomputed_activations(other):
        assert all(map(torch.equal, gradients(other, x), expected))


@pytest.mark.parametrize(("n_samples", "n_parts"), [(8, 4), (7, 3), (2, 5), (1, 1)])
def test_the_parts_of_a_batch_add_up(n_samples, n_parts):
    batch = {"input": torch.randn(n_samples, 3), "target": torch.arange(n_samples)}
    parts = list(parts_of(batch, n_parts))
    assert len(parts) == min(n_samples, n_parts)
    assert sum(share for _, share in parts) == pytest.approx(1)
    for name, values in batch.items():
        assert torch.equal(torch.cat([part[name] for part, _ in parts]), values)
    sizes = [len(part["input"]) for part, _ in parts]
    assert max(sizes) - min(sizes) <= 1


def test_fewer_samples_are_in_memory_at_once(tiny, tmp_path):
    seen = []

    class Seen(RolloutObjective):
        def loss(self, model, batch):
            seen.append(len(batch["input"]))
            return super().loss(model, batch)

    tiny.run(tmp_path, epochs=1, objective=Seen(), gradient_accumulation=3)
    assert seen == [1, 1, 2, 1, 1, 2, 1, 1]  # batches of 4, 4 and 2
    assert load_state(tmp_path / "checkpoints/last")["progress"]["step"] == 3


def test_parts_of_a_batch_must_be_counted():
    with pytest.raises(ValueError, match="`gradient_accumulation` must be at least 1, got 0"):
        LoopOptions(gradient_accumulation=0)


def test_the_options_may_change_when_a_run_is_resumed(tiny, tmp_path):
    settings = {"objective": RolloutObjective(), "model": tiny.Network(dropout=0.0)}
    settings["optimisation"] = tiny.Optimisation(scheduler="constant")
    tiny.run(tmp_path, epochs=1, **settings)
    options = {"gradient_accumulation": 2, "activation_checkpointing": True, "deterministic": True}
    result = tiny.run(tmp_path, epochs=2, resume=True, **settings, **options)
    assert result.progress.epoch == 2


class Scatter(nn.Module):
    """A network that refuses as an operation of a GPU without a deterministic algorithm does."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        if torch.are_deterministic_algorithms_enabled():
            raise RuntimeError("scatter does not have a deterministic implementation")
        return self.weight * x[:, :1]


def test_the_switch_is_on_in_training_only(tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.backends.cudnn.benchmark
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
        tiny.run(tmp_path / "a", model=Scatter(), objective=RolloutObjective(), deterministic=True)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark == before
    tiny.run(tmp_path / "b", model=Scatter(), objective=RolloutObjective())


def test_the_switch_sets_what_torch_asks_for_and_puts_it_back(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with deterministic_algorithms():
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    with deterministic_algorithms(on=False):
        assert not torch.are_deterministic_algorithms_enabled()


def test_every_network_trains_deterministically():
    with deterministic_algorithms():
        for name in NETWORKS:
            first, second = (gradients(build(name), inputs(name)) for _ in range(2))
            assert all(map(torch.equal, first, second)), name


def test_options_name_trackers_once():
    assert LoopOptions(tensorboard=True, loggers=["wandb", "tensorboard"]).all_loggers == [
        "tensorboard",
        "wandb",
    ]
