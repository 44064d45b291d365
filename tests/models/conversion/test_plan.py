"""Which dense layers of a module tree are converted, and what is said where none is."""

import copy
import gc

import pytest
import torch
import torch.nn.utils.prune
from neuralop.models import FNO as NeuralopFNO
from neuralop.models import UNO
from tolerances import assert_close
from torch import nn

from monarch_sciml.layers import MonarchLinear, StructuredLinear
from monarch_sciml.models import (
    FNO,
    LinearConversion,
    conversion_table,
    densify,
    monarchize,
)
from monarch_sciml.transforms import FourierTransform


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def network():
    return nn.ModuleDict(
        {
            "encoder": nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)),
            "mix": nn.Conv2d(32, 32, 1, bias=False),
            "stem": nn.Conv2d(32, 32, 3),
            "attention": nn.MultiheadAttention(32, 4, batch_first=True),
            "classifier": nn.Linear(32, 32),
            "small": nn.Linear(3, 2),
        }
    )


def converted_names(model):
    return [name for name, m in model.named_modules() if isinstance(m, StructuredLinear)]


PROJECTIONS = [f"attention.{letter}_proj" for letter in ("q", "k", "v", "out")]
ALL = ["encoder.0", "encoder.2", "mix", *PROJECTIONS]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ALL),
        ({"include": "*"}, [*ALL, "classifier"]),
        ({"include": ["encoder.*", "classifier"]}, ["encoder.0", "encoder.2", "classifier"]),
        ({"include": lambda name, m: isinstance(m, nn.Conv2d)}, ["mix"]),
        ({"exclude": ["attention.*", "mix"]}, ["encoder.0", "encoder.2"]),
        ({"exclude": lambda name, m: name.startswith("enc")}, ALL[2:]),
        ({"min_features": 33}, []),
        ({"include": "attention.v_proj"}, ["attention.v_proj"]),
    ],
)
def test_layers_are_chosen_by_pattern_predicate_and_size(options, expected):
    model = network()
    if not expected:
        with pytest.raises(ValueError, match=r"as `encoder\.0` \(64 x 32\): below min"):
            monarchize(model, linear=True, **options)
        return
    monarch = monarchize(model, linear=True, **options)
    assert converted_names(monarch) == expected
    assert {type(m) for m in densify(monarch).modules()} == {type(m) for m in model.modules()}


def test_blocks_and_ranks_by_layer():
    monarch = monarchize(
        network(), linear=True, n_blocks={"encoder.*": 2, "*": 4}, rank={"encoder.0": 3}
    )
    found = {name: monarch.get_submodule(name) for name in ("encoder.0", "encoder.2", "mix")}
    assert {n: (m.n_blocks, m.rank) for n, m in found.items()} == {
        "encoder.0": ((2, 2), 3), "encoder.2": ((2, 2), 5), "mix": ((4, 4), 2),
    }  # fmt: skip


@pytest.mark.parametrize("structure", ["monarch", "low_rank", "block_diagonal", "kronecker"])
def test_every_structure_by_one_argument(structure):
    model = network()
    monarch = monarchize(model, linear=True, structure=structure, parameters=0.3)
    rows = conversion_table(monarch)
    assert all(row.after <= 0.3 * row.before and 0 < row.error < 1 for row in rows)
    assert [row.layer for row in rows] == ALL
    x = torch.randn(2, 32, 5, 5)
    torch.testing.assert_close(densify(monarch)["mix"](x), monarch["mix"](x))
    plan = conversion_table(model, LinearConversion(structure=structure, parameters=0.3))
    assert {r.layer: r.after for r in plan if r.layer in ALL} == {r.layer: r.after for r in rows}


def test_random_start_and_butterfly():
    model = network()
    options = {"structure": "butterfly", "start": "random", "include": "encoder.*"}
    butterfly = monarchize(model, linear=True, parameters=0.5, **options)
    assert converted_names(butterfly) == ["encoder.0", "encoder.2"]
    assert butterfly["encoder"][0].projection_error is None
    assert torch.equal(butterfly["encoder"][0].bias, model["encoder"][0].bias)


@pytest.mark.parametrize("structure", ["monarch", "low_rank", "block_diagonal", "butterfly"])
def test_a_random_start_has_the_variance_of_the_dense_layer(structure):
    model = nn.Linear(256, 256)
    nn.init.normal_(model.weight, std=0.02)
    options = {"structure": structure, "start": "random"}
    layers = [monarchize(model, linear=True, **options) for _ in range(5)]
    outputs = [(layer(torch.randn(200, 256)) - layer.bias).std() for layer in layers]
    assert float(sum(outputs).detach()) / 5 == pytest.approx(0.02 * 16, rel=0.1)


def test_the_table_says_why_layers_stay_dense():
    text = str(conversion_table(network(), LinearConversion()))
    assert "dense: head" in text and "dense: too small for 0.5 of the parameters" in text
    assert text.splitlines()[-1].split()[:3] == ["all", "10,246", "5,126"]


def test_unprofitable_layers_are_measured_and_left_dense(monkeypatch):
    from monarch_sciml.models.conversion import plan, speed

    linear = nn.Linear(32, 32)
    assert speed.is_faster(nn.Linear(32, 1), nn.Linear(32, 2000), 64)
    assert not speed.is_faster(nn.Linear(32, 2000), linear, 64)
    assert isinstance(speed.is_faster(MonarchLinear(32, 32), nn.Linear(32, 32), 8), bool)
    conv = monarchize(nn.Conv1d(32, 32, 1), linear=True)
    assert isinstance(speed.is_faster(conv, nn.Conv1d(32, 32, 1), 8), bool)
    asked = []
    monkeypatch.setattr(plan, "is_faster", lambda *a: asked.append(a) or a[0].in_features == 64)
    monarch = monarchize(network(), linear=True, faster_at=64)
    assert converted_names(monarch) == ["encoder.2"]
    assert len(asked) == 4  # one for each shape and kind
    assert all(call[2] == 64 for call in asked)


def test_hooks_and_buffers_stay():
    model = network()
    calls = []
    for name in ("encoder", "mix"):
        layer = model[name][0] if name == "encoder" else model[name]
        layer.register_forward_hook(lambda *_, name=name: calls.append(name))
        layer.register_buffer("seen", torch.tensor(3.0))
    model["encoder"][0].register_full_backward_hook(lambda *_: calls.append("backward"))
    monarch = monarchize(model, linear=True)
    monarch["mix"](torch.randn(1, 32, 2, 2))
    monarch["encoder"][0](torch.randn(2, 32, requires_grad=True)).sum().backward()
    assert calls == ["mix", "encoder", "backward"]
    assert float(monarch["mix"].seen) == float(densify(monarch)["encoder"][0].seen) == 3


@pytest.mark.parametrize("make", [
    lambda: NeuralopFNO((8, 8), 1, 1, 32, n_layers=2, use_channel_mlp=True),
    lambda: FNO((16, 16), 1, 1, n_modes=(8, 8), hidden_channels=32, n_layers=2),
    lambda: UNO(1, 1, 32, 32, 32, n_layers=2, uno_out_channels=[32, 32], channel_mlp_skip="linear",
        uno_n_modes=[[4, 4], [4, 4]], uno_scalings=[[1, 1], [1, 1]]),
], ids=["neuralop FNO", "FNO", "UNO"])  # fmt: skip
def test_channel_networks_of_neural_operators(make):
    model = make().eval()
    monarch = monarchize(model, spectral=False, linear=True)
    names = converted_names(monarch)
    assert len(names) >= 4 and any("channel_mlp" in name for name in names)
    x = torch.randn(2, 1, 16, 16)
    dense = densify(monarch)
    assert_close(dense(x), monarch(x), relative=1e-05)
    assert {n: type(m) for n, m in dense.named_modules()} == {
        n: type(m) for n, m in model.named_modules()
    }


def test_calibration_inputs_lower_the_error_of_the_outputs():
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32))
    inputs = torch.randn(200, 4) @ torch.randn(4, 32)  # of a low-dimensional space
    plain = monarchize(model, linear=True)
    fitted = monarchize(model, linear=True, calibration=inputs.split(50))
    target = model(inputs).detach()
    errors = [float((m(inputs) - target).square().mean().detach()) for m in (plain, fitted)]
    assert errors[1] < 0.3 * errors[0]
    with pytest.raises(ValueError, match="`calibration` must hold inputs of the model, got none"):
        monarchize(model, linear=True, calibration=[])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(40, 16)
        self.inner = nn.Linear(16, 16)
        self.lm_head = nn.Linear(16, 40, bias=False)
        self.lm_head.weight = self.words.weight

    def forward(self, x):
        return self.lm_head(self.inner(self.words(x)))


def test_tied_weights_stay_or_are_converted_and_tied_again_together():
    model, x = Tied(), torch.arange(12).view(2, 6)
    assert converted_names(monarchize(model, linear=True)) == ["inner"]
    both = monarchize(model, linear=True, include=["lm_head", "words"])
    assert both.words.left is both.lm_head.left
    both(x).sum().backward()
    assert both.words.right.grad is both.lm_head.right.grad is not None
    dense = densify(both)
    assert dense.lm_head.weight is dense.words.weight
    torch.testing.assert_close(dense(x), both(x))
    words = ["lm_head", "words"]
    low_rank = monarchize(model, linear=True, include=words, structure="low_rank", parameters=0.7)
    assert low_rank.words.left is low_rank.lm_head.left
    torch.testing.assert_close(low_rank.words.weight, low_rank.lm_head.weight)
    for include in ("lm_head", "words"):
        with pytest.raises(ValueError, match=f"got '{include}' alone. Add"):
            monarchize(model, linear=True, include=include)
    with pytest.raises(ValueError, match="tied to an embedding, which can be Monarch or of low"):
        monarchize(model, linear=True, include="*", structure="kronecker")


def test_two_tied_linear_layers_share_their_factors():
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))
    model[1].weight = model[0].weight
    with pytest.raises(ValueError, match="`0` shares its weight with `1`: both must be"):
        monarchize(model, linear=True, include="0")
    monarch = monarchize(model, linear=True, include="*")
    assert monarch[0].left is monarch[1].left and monarch[0].bias is not monarch[1].bias
    dense = densify(monarch)
    assert dense[0].weight is dense[1].weight


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: monarchize(m, linear=True, include="decoder.*"),
         "every pattern of `include` must match the name of a dense layer, got 'decoder.*'"),
        (lambda m: monarchize(m, linear=True, exclude=["encoder.9"]), "pattern of `exclude`"),
        (lambda m: monarchize(m, linear=True, rank={"x": 2}), "pattern of `rank` must match"),
        (lambda m: monarchize(m, linear=True, include="small"), "too small for 0.5 of the param"),
        (lambda m: monarchize(monarchize(m, linear=True, include="mix"), linear=True,
                              include="mix"), "got 'mix', whose layers are converted already."),
        (lambda m: monarchize(monarchize(m["encoder"], linear=True), linear=True),
         "got Sequential with 2 structured layers already. It is converted: call densify first"),
        (lambda m: monarchize(m, include="mix"), "needs linear=True, got linear=False"),
        (lambda m: monarchize(m, structure="low_rank"), "`structure` is an option of linear lay"),
        (lambda m: monarchize(m, linear=True, spectral=False, transform_rank=2),
         "`transform_rank` is an option of spectral convolutions and transforms and needs spectr"),
        (lambda m: monarchize(m, linear=True, structure="low_rank", n_blocks=8),
         "`n_blocks` is an option of structure='monarch' or 'block_diagonal' or 'kronecker', got"),
        (lambda m: monarchize(m, linear=True, structure="block_diagonal", rank=3),
         "`rank` is an option of structure='monarch' or 'low_rank' or 'kronecker', got struct"),
        (lambda m: monarchize(m, linear=True, structure="kronecker", order="contiguous"),
         "`order` is an option of structure='monarch', got structure='kronecker'"),
        (lambda m: monarchize(m["mix"], linear=True, inplace=True,
                              optimizer=torch.optim.SGD(m["mix"].parameters())),
         "only for layers inside of a model, got the layer Conv2d. Put the layer into"),
        (lambda m: monarchize(m, linear=True, structure="butterfly", parameters=1.0,
                              include="encoder.*"), "0: a dense layer can be projected to"),
        (lambda m: monarchize(m, linear=True, parameters=0), "`parameters` must be positive"),
        (lambda m: densify(m), "got ModuleDict without any. It is dense already, or call"),
        (lambda m: monarchize(m, linear=True, include=lambda name, module: False),
         "not asked for. Widen `include`, or narrow `exclude`."),
        (lambda m: monarchize(m, linear=True, inplace=True,
                              optimizer=torch.optim.SGD(network().parameters())),
         "`optimizer` must update the parameters of the model"),
        (lambda m: monarchize(m, linear=True, inplace=True, optimizer=torch.optim.Muon(
            [p for p in m.parameters() if p.ndim == 2])), "got Muon, which updates single mat"),
        (lambda m: monarchize(m, linear=True, optimizer=torch.optim.SGD(m.parameters())),
         "carried over to the model it updates only, got inplace=False"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(call, text):
    model = network()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=text.replace("*", r"\*")) as caught:
        call(model)
    assert "\n" not in str(caught.value)
    assert model.state_dict().keys() == before.keys()


def test_a_state_of_another_structure_is_refused_in_one_line_for_each_layer():
    dense = nn.Sequential(nn.Linear(16, 16))
    monarch = monarchize(dense, linear=True)
    with pytest.raises(RuntimeError, match=r"got a dense weight for the MonarchLinear `0`\. Lo"):
        monarch.load_state_dict(dense.state_dict())
    other = monarchize(dense, linear=True, n_blocks=2)
    with pytest.raises(RuntimeError, match=r"got `0` with .*Convert the model as the"):
        monarch.load_state_dict(other.state_dict())
    monarchize(dense, linear=True).load_state_dict(monarch.state_dict())
    monarch.load_state_dict({"0.bias": dense[0].bias}, strict=False)
    assert torch.equal(monarch[0].bias, dense[0].bias)


def test_layers_with_computed_weights_stay_as_they_are():
    pruned = nn.Linear(16, 16)
    torch.nn.utils.prune.random_unstructured(pruned, "weight", 0.5)
    model = nn.Sequential(pruned, nn.Linear(16, 16))
    with pytest.raises(ValueError, match=r"must allow copy.deepcopy, .* Pass inplace=True\."):
        monarchize(model, linear=True)
    monarchize(model, linear=True, inplace=True)
    assert model[0] is pruned and isinstance(model[1], MonarchLinear)
    assert model(torch.randn(2, 16)).shape == (2, 16)


def test_linear_layers_that_all_stay_dense_are_named():
    model = nn.Sequential(FourierTransform(8), nn.Linear(3, 3))
    with pytest.warns(UserWarning, match="got 1 that stay dense, as `1` .3 x 3.: too small f"):
        monarch = monarchize(model, linear=True)
    assert type(monarch[1]) is nn.Linear


def test_prime_sizes_are_padded():
    model = nn.Sequential(nn.Linear(61, 127), nn.Linear(127, 61))
    monarch = monarchize(model, linear=True)
    assert monarch(torch.randn(3, 61)).shape == (3, 61)
    assert all(0.3 < row.after / row.before <= 0.5 for row in conversion_table(monarch))


def test_a_conversion_in_place_refuses_a_live_optimiser():
    model = nn.Sequential(nn.Linear(16, 16))
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(ValueError, match="while an optimiser updates it, got Adam"):
        monarchize(model, linear=True, inplace=True)
    assert type(model[0]) is nn.Linear
    del optimizer
    gc.collect()
    monarchize(model, linear=True, inplace=True)
    assert isinstance(model[0], MonarchLinear)


def test_a_rank_is_lowered_to_the_largest_of_a_layer():
    layer = nn.Linear(8, 8)
    kronecker = monarchize(layer, linear=True, structure="kronecker", rank=100)
    assert kronecker.rank == 4  # 2 x 2 blocks: with 4 terms it is any matrix
    torch.testing.assert_close(kronecker(torch.eye(8)), layer(torch.eye(8)))
    with pytest.raises(TypeError, match=r"`n_blocks` must be an int, got \(2, 4\)"):
        monarchize(layer, linear=True, structure="block_diagonal", n_blocks=(2, 4))


@pytest.mark.parametrize("word", [-1, 40, 42])
def test_a_converted_embedding_refuses_words_beyond_its_table(word):
    words = monarchize(Tied(), linear=True, include=["lm_head", "words"], n_blocks=3).words
    assert len(words.left) * words.left.shape[1] == 42  # 40 words, padded to 3 blocks
    with pytest.raises(IndexError, match=f"a number from 0 to 39, got {word}"):
        words(torch.tensor([[3, word]]))


@pytest.mark.parametrize(("structure", "text"), [
    ("block_diagonal", "got blocks for the MonarchLinear `0`. Convert the model as the saved one"),
    ("kronecker", "got outer, inner for the MonarchLinear `0`"),
    ("dense", "got a dense weight for the MonarchLinear `0`. Load it into the dense model"),
])  # fmt: skip
def test_a_state_of_another_structure_is_named(structure, text):
    dense = nn.Sequential(nn.Linear(16, 16), nn.ReLU())
    other = dense
    if structure != "dense":
        other = monarchize(dense, linear=True, structure=structure)
    with pytest.raises(
        RuntimeError, match=f"state must be of the same structure, {text}"
    ) as caught:
        monarchize(dense, linear=True).load_state_dict(other.state_dict())
    assert "key(s)" not in str(caught.value)
