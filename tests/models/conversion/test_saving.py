"""Converted networks saved and restored: by the hub's mixin, and any module by its weights file."""

from functools import partial

import pytest
import torch
from torch import nn

from monarch_sciml.models import (
    FNO,
    GPT2,
    Normalized,
    StructuredNetwork,
    TransformerOperator,
    conversion_record,
    densify,
    monarchize,
)
from monarch_sciml.training import load_weights, save_weights

GRID = (8, 8)
OPERATOR = partial(TransformerOperator, patch_size=4, hidden_channels=32, n_layers=1)
FIELDS = torch.linspace(-1, 1, 128).view(2, 1, *GRID)
WORDS = torch.arange(16).view(2, 8)


def structured():
    return StructuredNetwork(GRID, 1, 1, network=OPERATOR)


def converted(network, **options):
    return monarchize(network, spectral=False, linear=True, **options)


def language():
    pytest.importorskip("transformers", reason="needs transformers (the dev extra)")
    return partial(GPT2, (8,), hidden_channels=32, n_layers=1)


CASES = {
    "structured": lambda: (structured(), 5),
    "structured, multiplied out": lambda: (densify(structured()), 0),
    "structured, other options": lambda: (
        StructuredNetwork(
            GRID, network=OPERATOR, structure="low_rank", include="blocks.*", rank={"*": 3}
        ),
        4,
    ),
    "normalized": lambda: (Normalized(structured(), *torch.ones(4, 1)), 5),
    "operator": lambda: (converted(OPERATOR(GRID)), 5),
    "operator, multiplied out": lambda: (densify(converted(OPERATOR(GRID))), 0),
    "fno": lambda: (converted(FNO(GRID, n_modes=(4, 4), hidden_channels=32, n_layers=2)), 8),
    "language": lambda: (converted(language()()), 4),
    "language, tied": lambda: (converted(language()(), include="*"), 5),
    "structured language": lambda: (
        StructuredNetwork((8,), network=lambda grid: language()()),
        4,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_from_pretrained_restores_the_converted_network(name, tmp_path, capsys):
    torch.manual_seed(0)
    network, n_layers = CASES[name]()
    network.eval().save_pretrained(tmp_path)
    again = type(network).from_pretrained(tmp_path)
    assert len(conversion_record(network)["layers"]) == n_layers
    assert conversion_record(again) == conversion_record(network)
    x = WORDS if "language" in name else FIELDS
    assert torch.equal(again(x), network(x))


class Own(nn.Module):
    """A network of none of our classes."""

    def __init__(self, grid_shape=()):
        super().__init__()
        self.inner = nn.Linear(32, 32)

    def forward(self, x):
        return self.inner(x)


def test_any_module_is_restored_by_its_weights_file(tmp_path):
    x = torch.linspace(-1, 1, 64).view(2, 32)
    monarch = converted(Own())
    save_weights(monarch, tmp_path / "own.safetensors")
    again = Own()
    load_weights(again, tmp_path / "own.safetensors", adapt=True)
    assert torch.equal(again(x), monarch(x))
    with pytest.raises(ValueError, match=r"1 structured layers in .*, and none .dense. in the net"):
        load_weights(Own(), tmp_path / "own.safetensors")


def test_a_network_of_another_package_is_named_again(tmp_path, capsys):
    x = torch.linspace(-1, 1, 64).view(2, 32)
    network = StructuredNetwork(GRID, network=Own)
    network.save_pretrained(tmp_path)
    with pytest.raises(TypeError, match="`network` must be the class of the dense network, with"):
        StructuredNetwork.from_pretrained(tmp_path)
    again = StructuredNetwork.from_pretrained(tmp_path, network=Own)
    assert torch.equal(again(x), network(x))


def test_learned_transforms_are_refused_with_the_way_to_load_them(tmp_path, capsys):
    fno = FNO(GRID, n_modes=(4, 4), hidden_channels=4, n_layers=1)
    monarch = monarchize(fno)
    monarch.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="convert it as the saved one was, and call load_state"):
        FNO.from_pretrained(tmp_path)
    again = monarchize(fno)
    again.load_state_dict(monarch.state_dict())
    assert torch.equal(again(FIELDS), monarch(FIELDS))
