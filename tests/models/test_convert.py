"""monarchize and densify: the same function before and after, in any model."""

import io

import numpy as np
import pytest
import torch
from neuralop.layers.spectral_convolution import SpectralConv
from neuralop.models import FNO as NeuralopFNO
from neuralop.models import TFNO, UNO
from tolerances import assert_close
from torch import nn

from monarch_sciml.layers import MonarchLinear, MonarchSpectralConv
from monarch_sciml.models import FNO, densify, monarchize

SIZES = {"n_modes": (8, 8), "in_channels": 1, "out_channels": 1, "hidden_channels": 6}


def neuralop_fno(**options):
    torch.manual_seed(0)
    return NeuralopFNO(**(SIZES | {"n_layers": 2} | options))


def train(model, parameters=None, steps=5):
    """Learn to double a smooth field; return the losses."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 1, 4, 4, generator=generator)
    x = nn.functional.interpolate(x, (16, 16), mode="bilinear")
    optimizer = torch.optim.Adam(parameters or model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        loss = (model(x) - 2 * x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def perturb(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "analysis" in name or "synthesis" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))


def transform_parameters(model):
    return [p for n, p in model.named_parameters() if "analysis" in n or "synthesis" in n]


def kinds(model):
    return [type(m).__name__ for m in model.modules() if type(m).__name__ != "ModuleList"]


def count(model):
    """Count real parameters: a complex number is two."""
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())


@torch.no_grad()
def same(a, b, *inputs, tolerance=1e-5):
    for x in inputs:
        assert_close(a(x), b(x), relative=tolerance)


def test_a_trained_fno_goes_on_as_monarch():
    fno = neuralop_fno()
    before = train(fno)[-1]
    monarch = monarchize(fno, grid_shape=(16, 16))
    assert all(isinstance(c, MonarchSpectralConv) for c in monarch.fno_blocks.convs)
    assert all(type(c) is SpectralConv for c in fno.fno_blocks.convs)  # a copy was converted
    same(monarch, fno, torch.randn(2, 1, 16, 16), torch.randn(2, 1, 32, 24))
    losses = train(monarch)
    assert losses[-1] < losses[0] < before
    assert all(p.grad is not None and p.grad.any() for p in transform_parameters(monarch))
    frozen = monarchize(fno, grid_shape=(16, 16))
    losses = train(frozen, transform_parameters(frozen))  # nothing but the transforms
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_round_trip_in_every_dimension(dims):
    grid = (16, 12, 10)[:dims]
    fno = neuralop_fno(n_modes=(8, 6, 4)[:dims])
    monarch = monarchize(fno, grid_shape=grid)
    again = densify(monarch)
    assert not transform_parameters(again)
    assert again.fno_blocks.convs[0].analysis[0].spec.family == "dft"
    x = torch.randn(2, 1, *grid)
    same(monarch, fno, x)
    same(again, fno, x)
    assert count(again) == count(fno)


@pytest.mark.parametrize("make", [
    lambda: neuralop_fno(domain_padding=0.1),
    lambda: neuralop_fno(max_n_modes=(12, 12)),
    lambda: neuralop_fno(resolution_scaling_factor=2),
    lambda: neuralop_fno(separable=True),
    lambda: TFNO(**SIZES, n_layers=2, factorization="tucker", rank=0.3),
    lambda: TFNO(**SIZES, n_layers=2, factorization="cp", rank=0.3, implementation="factorized"),
    lambda: UNO(
        1, 1, 6, 8, 8, n_layers=3, uno_out_channels=[6, 8, 6], channel_mlp_skip="linear",
        uno_n_modes=[[8, 8], [4, 4], [8, 8]], uno_scalings=[[0.5, 0.5], [1, 1], [2, 2]],
    ),
], ids=["padding", "max_n_modes", "scaling", "separable", "tucker", "cp", "uno"])  # fmt: skip
def test_neuralop_models_are_the_same_on_even_and_odd_grids(make):
    torch.manual_seed(0)
    model = make()
    monarch = monarchize(model, grid_shape=(16, 16))
    assert "SpectralConv" not in kinds(monarch)
    same(monarch, model, *(torch.randn(2, 1, n, n) for n in (16, 32, 21)))


def test_modes_lowered_at_run_time_stay_lowered():
    fno = neuralop_fno()
    fno.n_modes = (4, 6)
    monarch = monarchize(fno, grid_shape=(16, 16))
    assert monarch.fno_blocks.convs[0].n_modes == [4, 6]
    x = torch.randn(2, 1, 16, 16)
    same(monarch, fno, x)
    fno.n_modes = monarch.n_modes = (8, 8)
    same(monarch, fno, x)


def test_complex_data_are_the_same_with_neuralops_order_of_modes():
    torch.manual_seed(0)
    model = nn.Sequential(
        SpectralConv(1, 2, (6, 5), complex_data=True), SpectralConv(2, 1, (4, 6), complex_data=True)
    )
    monarch = monarchize(model, grid_shape=(12, 8))
    x = torch.randn(2, 1, 12, 8, dtype=torch.complex64)
    same(monarch, model, x)
    perturb(monarch)
    same(densify(monarch), monarch, x)


@pytest.mark.parametrize("options", [{}, {"per_channel": True}, {"transform_rank": 2}], ids=str)
def test_our_fno_becomes_monarch_no(options):
    torch.manual_seed(0)
    fourier = FNO((16, 16), n_modes=(8, 8), hidden_channels=4, n_layers=2, domain_padding=0.125)
    monarch = monarchize(fourier, grid_shape=(20, 20), **options)
    built = FNO(
        (16, 16), n_modes=(8, 8), hidden_channels=4, n_layers=2, domain_padding=0.125,
        transform="monarch", **options,
    )  # fmt: skip
    assert count(monarch) == count(built)
    assert {k: v.shape for k, v in monarch.state_dict().items() if torch.is_tensor(v)} == {
        k: v.shape for k, v in built.state_dict().items() if torch.is_tensor(v)
    }
    same(monarch, fourier, torch.randn(2, 1, 16, 16), torch.randn(2, 1, 24, 32))


@pytest.mark.parametrize("basis", ["cosine", "sine"])
def test_real_bases_become_learnable_and_dense(basis):
    torch.manual_seed(0)
    fixed = FNO((16, 16), n_modes=(6, 6), hidden_channels=4, n_layers=2, transform=basis)
    monarch = monarchize(fixed)
    inputs = torch.randn(2, 1, 16, 16), torch.randn(2, 1, 24, 20)
    same(monarch, fixed, *inputs)
    losses = train(monarch)
    assert losses[-1] < losses[0]
    dense = densify(monarch)
    assert "DenseTransform" in kinds(dense) and "MonarchTransform" not in kinds(dense)
    same(dense, monarch, *inputs)


def test_learned_monarch_multiplies_out_and_goes_on_dense():
    monarch = monarchize(neuralop_fno(), grid_shape=(16, 16))
    losses = train(monarch)
    dense = densify(monarch)
    assert kinds(dense).count("DenseTransform") == 8  # two layers, two axes, there and back
    same(dense, monarch, torch.randn(2, 1, 16, 16), torch.randn(2, 1, 32, 24))
    assert train(dense)[-1] < losses[-1]
    with pytest.raises(ValueError, match="must hold structured layers or Monarch transforms"):
        densify(dense)


def test_weights_load_into_a_model_converted_alike():
    monarch = monarchize(neuralop_fno(), grid_shape=(16, 16))
    train(monarch)
    for convert in (lambda model: model, densify):
        trained = convert(monarch)
        file = io.BytesIO()
        state = {k: v for k, v in trained.state_dict().items() if torch.is_tensor(v)}
        torch.save(state, file)
        file.seek(0)
        torch.manual_seed(9)
        fresh = monarchize(NeuralopFNO(**SIZES, n_layers=2), grid_shape=(16, 16))
        if convert is densify:
            perturb(fresh)  # it must have left its start to become dense
            fresh = densify(fresh)
        fresh.load_state_dict(torch.load(file, weights_only=True))
        same(fresh, trained, torch.randn(2, 1, 16, 16), tolerance=0)


def test_float64_models_convert():
    fno = neuralop_fno()
    monarch = monarchize(neuralop_fno().double(), grid_shape=(16, 16))
    assert {p.dtype for p in monarch.parameters()} == {torch.float64}
    x = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        assert_close(monarch(x.double()).float(), fno(x), relative=1e-05)


def linear_error(weight, n_blocks, rank):
    """Return the least error of a Monarch matrix: the singular values left out of every slice."""
    n_out, n_in = weight.shape
    slices = weight.reshape(n_out // n_blocks, n_blocks, n_blocks, n_in // n_blocks)  # s, l, k, p
    singular = np.linalg.svd(slices.transpose(1, 2, 0, 3), compute_uv=False)
    return np.sqrt((singular[..., rank:] ** 2).sum())


@pytest.mark.parametrize(("n_blocks", "rank"), [(4, None), (4, 2), (8, 1), (2, 3)])
def test_a_linear_layer_becomes_the_nearest_monarch(n_blocks, rank):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32, bias=False)).double()
    monarch = monarchize(model, linear=True, n_blocks=n_blocks, rank=rank)
    for i in (0, 2):
        layer, weight = monarch[i], model[i].weight.detach()
        assert isinstance(layer, MonarchLinear) and layer.n_blocks == (n_blocks, n_blocks)
        if rank is None:
            assert 0.25 < (layer.left.numel() + layer.right.numel()) / weight.numel() <= 0.5
        error = float(torch.linalg.norm(layer.weight.detach() - weight))
        assert error == pytest.approx(linear_error(weight.numpy(), n_blocks, layer.rank), rel=1e-10)
    torch.testing.assert_close(monarch[0].bias, model[0].bias)
    same(densify(monarch), monarch, torch.randn(3, 32, dtype=torch.float64), tolerance=1e-12)


@pytest.mark.parametrize(("sizes", "share"), [((256, 256), 0.5), ((768, 3072), 0.5)])
def test_four_blocks_hold_half_of_the_parameters(sizes, share):
    layer = monarchize(nn.Linear(*sizes, bias=False), linear=True)
    assert count(layer) / (sizes[0] * sizes[1]) == pytest.approx(share, rel=0.02)


def test_a_rank_beyond_the_slices_of_a_small_layer_is_exact():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 64), nn.Linear(64, 1))
    with pytest.warns(UserWarning) as warned:
        monarch = monarchize(model, linear=True, rank=6)
    assert all("in the Monarch factors and" in str(w.message) for w in warned)
    assert monarch[0].rank == 3 and monarch[1].rank == 1
    same(monarch, model, torch.randn(5, 10))


def test_linear_layers_anywhere_are_converted_and_run():
    # in eval mode nn.TransformerEncoderLayer reads the weights of its linear layers itself
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    with pytest.warns(UserWarning, match="Lower `n_blocks` or `rank`"):
        monarch = monarchize(model, linear=True, rank=8)  # slices of 8 x 4 at most: exact
    assert isinstance(monarch.linear1, MonarchLinear) and isinstance(monarch.linear2, MonarchLinear)
    assert isinstance(monarch.self_attn.q_proj, MonarchLinear)
    assert isinstance(monarch.self_attn.out_proj, MonarchLinear)
    x = torch.randn(2, 5, 16)
    same(monarch, model, x)
    assert not monarch.linear1.training
    same(monarch.train().eval(), model, x.requires_grad_())


def test_spectral_and_linear_layers_are_chosen_separately():
    torch.manual_seed(0)
    model = nn.Sequential(SpectralConv(1, 1, (4,)), nn.Linear(16, 16))
    for spectral in (True, False):
        for linear in (True, False):
            if spectral or linear:
                found = kinds(monarchize(model, spectral=spectral, linear=linear))
                assert ("MonarchSpectralConv" in found) == spectral
                assert ("MonarchLinear" in found) == linear


class Shared(nn.Module):
    """One spectral and one linear layer, each in several places."""

    def __init__(self):
        super().__init__()
        self.first = self.second = SpectralConv(2, 2, (4, 4))
        self.nested = nn.ModuleDict({"again": nn.Sequential(self.first)})
        self.head = nn.Linear(8, 8)
        self.heads = nn.ModuleList([self.head, self.head])

    def forward(self, x):
        x = self.second(self.first(self.nested["again"](x)))
        return self.heads[1](self.heads[0](self.head(x)))


@pytest.mark.parametrize("inplace", [False, True])
def test_shared_modules_are_converted_once_and_stay_shared(inplace):
    torch.manual_seed(0)
    model = Shared()
    x = torch.randn(2, 2, 8, 8)
    expected = model(x).detach()
    with pytest.warns(UserWarning, match="128 in the Monarch factors and 64 in the dense"):
        monarch = monarchize(
            model, linear=True, include="head", rank=2, grid_shape=(8, 8), inplace=inplace
        )
    assert (monarch is model) == inplace
    assert isinstance(monarch.first, MonarchSpectralConv)
    assert monarch.first is monarch.second is monarch.nested["again"][0]
    assert isinstance(monarch.head, MonarchLinear)
    assert monarch.head is monarch.heads[0] is monarch.heads[1]
    assert_close(monarch(x).detach(), expected, relative=1e-05)
    dense = densify(monarch, inplace=inplace)
    assert (dense is monarch) == inplace
    assert dense.first is dense.nested["again"][0] and dense.head is dense.heads[1]
    assert_close(dense(x).detach(), expected, relative=1e-05)


def test_a_copy_shares_no_parameter_with_the_model():
    fourier = MonarchSpectralConv(1, 1, (4, 4), transform="fourier", grid_shape=(8, 8))
    monarch = monarchize(fourier)
    dense = densify(monarch)
    own = {p.data_ptr() for p in fourier.parameters()} | {p.data_ptr() for p in dense.parameters()}
    assert own.isdisjoint(p.data_ptr() for p in monarch.parameters())
    assert isinstance(monarchize(fourier, inplace=True), MonarchSpectralConv)
    assert not transform_parameters(fourier)  # a layer itself is not changed


def test_frozen_layers_stay_frozen():
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))
    model[0].weight.requires_grad_(False)
    model[1].bias.requires_grad_(False)
    monarch = monarchize(model, linear=True)
    expected = {
        "0.left": False, "0.right": False, "0.bias": True,
        "1.left": True, "1.right": True, "1.bias": False,
    }  # fmt: skip
    assert {name: p.requires_grad for name, p in monarch.named_parameters()} == expected
    dense = densify(monarch)
    assert not dense[0].weight.requires_grad and dense[0].bias.requires_grad
    assert dense[1].weight.requires_grad and not dense[1].bias.requires_grad


def broken_linear():
    model = nn.Sequential(nn.ReLU(), nn.Linear(16, 16))
    with torch.no_grad():
        model[1].weight[0, 0] = float("nan")
    return model


def half_precision():
    return nn.Sequential(SpectralConv(1, 1, (4, 4), fno_block_precision="mixed"))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: monarchize(nn.Conv1d(1, 1, 1)),
            "`model` must hold a spectral convolution or a fixed transform to convert, got Conv1d "
            "without any. Set `linear=True`",
        ),
        (
            lambda: monarchize(nn.Conv1d(1, 1, 1), spectral=False, linear=True),
            "got 1 that stay dense, as a layer of 1 x 1: too small for 0.5 of the parameters.",
        ),
        (
            lambda: monarchize(MonarchSpectralConv(1, 1, (4,)), linear=True),
            "or a dense layer .* to convert, got MonarchSpectralConv without any",
        ),
        (lambda: monarchize(nn.Linear(4, 4), spectral=False), "`spectral` or `linear` must be"),
        (lambda: densify(nn.Linear(4, 4)), "got Linear without any. It is dense already, or"),
        (
            lambda: monarchize(neuralop_fno(), grid_shape=(16,)),
            r"fno_blocks\.convs\.0: `grid_shape` must have 2 sizes",
        ),
        (
            lambda: monarchize(neuralop_fno(), grid_shape=(16, 4)),
            r"fno_blocks\.convs\.0: `n_modes` must be at most 4 along axis -1",
        ),
        (lambda: monarchize(half_precision()), "0: `fno_block_precision` must be 'full'"),
        (
            lambda: monarchize(broken_linear(), linear=True),
            "1: `weight` must be finite, got 1 NaN",
        ),
        (lambda: monarchize(nn.Linear(4, 4), linear=True, rank=0), "`rank` must be at least 1"),
        (
            lambda: monarchize(nn.Linear(4, 4), linear=True, n_blocks=0),
            "`n_blocks` must be at least 1",
        ),
    ],
)
def test_what_cannot_be_converted_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_only_modules_are_taken():
    with pytest.raises(TypeError, match=r"`model` must be an nn\.Module, got Tensor"):
        monarchize(torch.zeros(3))


def test_other_spectral_convolutions_of_neuralop_are_refused():
    from neuralop.layers.base_spectral_conv import BaseSpectralConv

    class SphericalConv(BaseSpectralConv):
        """Stands for neuralop's, which needs torch-harmonics."""

    model = nn.Sequential(SpectralConv(1, 1, (4, 4)), SphericalConv())
    with pytest.raises(ValueError, match="1: a spectral convolution must be neuralop's SpectralCo"):
        monarchize(model)
    monarchize(model[0])
