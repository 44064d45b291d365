"""MonarchSpectralConv against neuralop's SpectralConv, and inside neuralop's FNO."""

from functools import partial

import pytest
import torch
from neuralop.layers.spectral_convolution import SpectralConv
from neuralop.models import FNO
from tolerances import assert_close

from monarch_sciml import models
from monarch_sciml.layers import MonarchSpectralConv


def copy_weights(source: SpectralConv, target: MonarchSpectralConv) -> None:
    weight = source.weight.to_tensor().detach()
    modes_first = weight.permute(*range(2, weight.ndim), 0, 1)
    with torch.no_grad():
        target.weight.copy_(torch.view_as_real(modes_first.contiguous()))
        target.bias.copy_(source.bias)


def perturb(layer):
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "analysis" in name or "synthesis" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))


# neuralop 2.0.0 is right on even sizes only, except along the last axis
CASES = [
    ((12,), (64,)),
    ((12,), (63,)),
    ((12, 12), (64, 64)),
    ((12, 8), (32, 48)),
    ((32, 32), (32, 32)),
    ((12, 12), (64, 63)),
    ((8, 6, 10), (16, 12, 20)),
]


@pytest.mark.parametrize(
    ("transform", "per_channel"),
    [("fourier", False), ("monarch", False), ("monarch", True), ("dense", False), ("dense", True)],
)
@pytest.mark.parametrize(("n_modes", "grid"), CASES)
@pytest.mark.filterwarnings("ignore:.*factor.*:UserWarning")
def test_equals_neuralop_for_equal_weights(n_modes, grid, transform, per_channel):
    torch.manual_seed(0)
    theirs = SpectralConv(3, 5, n_modes)
    ours = MonarchSpectralConv(
        3, 5, n_modes, transform=transform, per_channel=per_channel, grid_shape=grid
    )
    copy_weights(theirs, ours)
    x = torch.randn(2, 3, *grid)
    assert_close(ours(x), theirs(x), relative=1e-05)


def test_untrained_monarch_equals_neuralop_on_any_grid():
    torch.manual_seed(0)
    theirs, ours = SpectralConv(3, 5, (8, 8)), MonarchSpectralConv(3, 5, (8, 8))
    copy_weights(theirs, ours)
    for grid in [(16, 16), (32, 20), (48, 64)]:
        x = torch.randn(2, 3, *grid)
        assert_close(ours(x), theirs(x), relative=1e-05)


@pytest.mark.parametrize("fewer", [None, (6, 4)])
@pytest.mark.parametrize(("n_modes", "grid"), [((9,), (32,)), ((8, 10), (16, 16))])
@pytest.mark.parametrize("factorization", ["tucker", "cp", "tt"])
def test_factorised_weights_equal_neuralops(factorization, n_modes, grid, fewer):
    torch.manual_seed(0)
    options = {"factorization": factorization, "rank": 0.4}
    theirs = SpectralConv(3, 5, n_modes, **options)
    ours = MonarchSpectralConv(3, 5, n_modes, grid_shape=grid, **options)
    state = theirs.state_dict()
    state = {k: torch.view_as_real(v) if v.is_complex() else v for k, v in state.items()}
    assert not ours.load_state_dict(state, strict=False).unexpected_keys
    if fewer:
        theirs.n_modes = ours.n_modes = fewer[: len(grid)]
    x = torch.randn(2, 3, *grid)
    assert_close(ours(x), theirs(x), relative=0.0001)


@pytest.mark.parametrize("rank", [0.1, 0.5])
def test_factorised_weights_have_the_variance_of_dense_ones(rank):
    torch.manual_seed(0)
    layer = MonarchSpectralConv(
        16, 16, (12, 12), transform="cosine", factorization="tucker", rank=rank
    )
    weight = layer.weight.to_tensor().detach()
    assert float(weight.square().mean()) == pytest.approx(1 / 16, rel=0.5)
    assert sum(p.numel() for p in layer.weight.parameters()) < 1.3 * rank * weight.numel()


@pytest.mark.parametrize("transform", ["fourier", "monarch"])
@pytest.mark.parametrize("grid", [(15, 15), (17, 16), (21, 9)])
@pytest.mark.filterwarnings("ignore:.*factor.*:UserWarning")
def test_is_right_on_odd_grids_in_float64(grid, transform):
    # oracle: the definition of the layer, through torch.fft
    torch.manual_seed(0)
    layer = MonarchSpectralConv(2, 3, (6, 7), transform=transform, grid_shape=grid).double()
    x = torch.randn(2, 2, *grid, dtype=torch.float64)
    spectrum = torch.fft.rfft2(x, norm="forward")
    out = torch.zeros(2, 3, grid[0], grid[1] // 2 + 1, dtype=torch.complex128)
    weight = torch.view_as_complex(layer.weight)
    for i, frequency in enumerate(range(-3, 3)):
        mixed = torch.einsum("bim,mio->bom", spectrum[:, :, frequency, :4], weight[i])
        out[:, :, frequency, :4] = mixed
    expected = torch.fft.irfft2(out, s=grid, norm="forward") + layer.bias
    assert_close(layer(x), expected)


@pytest.mark.parametrize("transform", ["fourier", "monarch"])
def test_output_grid_keeps_every_frequency_in_place(transform):
    # a band-limited field convolved at 16 points must be the same function at 24 and 32 points
    torch.manual_seed(0)
    layer = MonarchSpectralConv(1, 2, (6, 6), transform=transform, grid_shape=(16, 16)).double()

    def field(n):
        t = torch.arange(n, dtype=torch.float64) / n
        a, b = torch.meshgrid(2 * torch.pi * t, 2 * torch.pi * t, indexing="ij")
        return (torch.cos(a - 2 * b) + torch.sin(2 * a + b))[None, None]

    fine = layer(field(32))
    torch.testing.assert_close(layer(field(16), output_shape=(32, 32)), fine)
    layer.resolution_scaling_factor = [2.0, 2.0]
    torch.testing.assert_close(layer(field(16)), fine)
    assert layer.transform(field(16)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize("fewer", [(8, 8), (4, 10), (12, 6)])
def test_fewer_modes_at_run_time_equals_neuralop(fewer):
    torch.manual_seed(0)
    theirs = SpectralConv(2, 2, (12, 12))
    ours = MonarchSpectralConv(2, 2, (12, 12), grid_shape=(32, 32))
    copy_weights(theirs, ours)
    theirs.n_modes = ours.n_modes = fewer
    x = torch.randn(2, 2, 32, 32)
    assert_close(ours(x), theirs(x), relative=1e-05)


def test_a_grid_with_room_for_the_modes_in_use_is_enough():
    torch.manual_seed(0)
    theirs, ours = SpectralConv(2, 2, (12, 12)), MonarchSpectralConv(2, 2, (12, 12))
    copy_weights(theirs, ours)
    theirs.n_modes = ours.n_modes = (6, 6)
    x = torch.randn(2, 2, 8, 8)
    assert_close(ours(x), theirs(x), relative=1e-05)


@pytest.mark.parametrize("transform", ["fourier", "monarch"])
def test_complex_fields_equal_torch_fft(transform):
    # neuralop 2.0.0 keeps the wrong end of the last axis of complex data: use torch.fft
    torch.manual_seed(0)
    layer = MonarchSpectralConv(
        2, 3, (4, 5), complex_data=True, transform=transform, grid_shape=(8, 9)
    ).double()
    x = torch.randn(2, 2, 8, 9, dtype=torch.complex128)
    spectrum = torch.fft.fftn(x, dim=(2, 3), norm="forward")
    weight = torch.view_as_complex(layer.weight)
    out = torch.zeros(2, 3, 8, 9, dtype=torch.complex128)
    for i, k in enumerate(range(-2, 2)):
        for j, m in enumerate(range(-2, 3)):
            out[:, :, k, m] = spectrum[:, :, k, m] @ weight[i, j]
    expected = torch.fft.ifftn(out, dim=(2, 3), norm="forward") + layer.bias
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("transform", ["fourier", "monarch", "dense", "cosine", "sine"])
@pytest.mark.parametrize("grid", [(16,), (16, 16), (8, 8, 8)])
def test_trains_inside_neuralop(transform, grid):
    torch.manual_seed(0)
    conv = partial(MonarchSpectralConv, transform=transform, grid_shape=grid)
    model = FNO(
        n_modes=(4,) * len(grid), in_channels=1, out_channels=1, hidden_channels=4, n_layers=2,
        conv_module=conv,
    )  # fmt: skip
    x = torch.randn(2, 1, *grid)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(5):
        loss = (model(x) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_class_itself_is_a_conv_module():
    model = FNO(
        n_modes=(8, 8), in_channels=1, out_channels=1, hidden_channels=4,
        conv_module=MonarchSpectralConv, max_n_modes=(12, 12), resolution_scaling_factor=2,
        n_layers=2,
    )  # fmt: skip
    model.n_modes = (6, 6)
    assert model(torch.randn(1, 1, 16, 16)).shape == (1, 1, 64, 64)


def test_cosine_layer_equals_scipy_dct():
    scipy_fft = pytest.importorskip("scipy.fft")
    torch.manual_seed(0)
    layer = MonarchSpectralConv(2, 3, (5, 4), transform="cosine", grid_shape=(9, 8)).double()
    x = torch.randn(2, 2, 9, 8, dtype=torch.float64)
    spectrum = torch.from_numpy(scipy_fft.dctn(x.numpy(), norm="forward", axes=(2, 3)))
    out = torch.zeros(2, 3, 9, 8, dtype=torch.float64)
    out[:, :, :5, :4] = torch.einsum("bikl,klio->bokl", spectrum[:, :, :5, :4], layer.weight)
    expected = torch.from_numpy(scipy_fft.idctn(out.detach().numpy(), norm="forward", axes=(2, 3)))
    torch.testing.assert_close(layer(x), expected + layer.bias)


def test_learned_layer_changes_with_its_transforms_and_compiles():
    torch.manual_seed(0)
    layer = MonarchSpectralConv(2, 2, (6, 6), grid_shape=(16, 16))
    x = torch.randn(2, 2, 16, 16)
    before = layer(x)
    perturb(layer)
    assert not torch.allclose(layer(x), before, atol=1e-3)
    compiled = torch.compile(layer, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))


def test_all_transform_parameters_receive_gradients():
    layer = MonarchSpectralConv(2, 2, (6, 6), grid_shape=(16, 16))
    perturb(layer)
    layer(torch.randn(2, 2, 16, 16)).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: MonarchSpectralConv(1, 1, (40, 8))(torch.zeros(1, 1, 32, 32)),
            "`n_modes` must be at most 32 along axis -2 for a grid of 32 points, got 40. Lower",
        ),
        (
            lambda: MonarchSpectralConv(1, 1, (8, 40), grid_shape=(32, 32)),
            "at most 32 along axis -1",
        ),
        (lambda: MonarchSpectralConv(2, 1, (4, 4))(torch.zeros(1, 3, 8, 8)), r"must be \(batch, 2"),
        (lambda: MonarchSpectralConv(2, 1, (4, 4), factorization="svd"), "`factorization` must"),
        (
            lambda: MonarchSpectralConv(2, 1, (4, 4), factorization="tucker", rank=0.0),
            "`rank` must be above 0",
        ),
        (lambda: MonarchSpectralConv(2, 1, (4, 4), transform="wavelet"), "`transform` must be one"),
        (lambda: MonarchSpectralConv(2, 1, (4, 4), grid_shape=(8,)), "`grid_shape` must have 2"),
        (
            lambda: setattr(MonarchSpectralConv(2, 1, (4, 4)), "n_modes", (6, 4)),
            "at most max_n_modes",
        ),
        (
            lambda: MonarchSpectralConv(1, 1, (4, 4, 4), [1.0, 2.0]),
            r"`resolution_scaling_factor` must be one number, or 3 of them, got \[1\.0, 2\.0\]",
        ),
        (lambda: MonarchSpectralConv(1, 1, (4, 4), 0), "must be positive and finite, got 0"),
        (
            lambda: MonarchSpectralConv(1, 1, (4, 4))(torch.zeros(1, 1, 16, 16), (8,)),
            r"`output_shape` must have 2 sizes, one per axis, got \(8,\)",
        ),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.parametrize("transform", ["monarch", "fourier", "cosine"])
def test_half_precision_and_autocast(transform):
    torch.manual_seed(0)
    layer = MonarchSpectralConv(3, 2, (6, 6), transform=transform, grid_shape=(16, 16))
    x = torch.randn(2, 3, 16, 16)
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert (layer(x) - exact).norm() < 0.02 * exact.norm()
    if transform == "monarch":
        half = layer.bfloat16()(x.bfloat16())
        assert half.dtype == torch.bfloat16
        assert (half - exact).norm() < 0.03 * exact.norm()
        half.float().square().sum().backward()
        assert all(p.grad.dtype == torch.bfloat16 for p in layer.parameters())


@pytest.mark.parametrize(
    ("transform", "options", "owners"),
    [
        ("fourier", {"per_channel": True}, "'monarch' or 'dense'"),
        ("fourier", {"transform_rank": 2}, "'monarch' or 'corrected'"),
        ("dense", {"transform_rank": 2}, "'monarch' or 'corrected'"),
        ("corrected", {"transform_order": 3}, "'monarch'"),
        ("monarch", {"grid_blocks": 4}, "'corrected'"),
        ("monarch", {"per_axis": True}, "'corrected'"),
        ("pod", {"per_axis": True}, "'corrected'"),
        ("cosine", {"init": "dst"}, "'monarch' or 'dense' or 'corrected'"),
    ],
)
def test_an_option_that_a_transform_does_not_have_is_refused(transform, options, owners):
    (name,) = options
    text = f"`{name}` is an option of transform={owners}, got transform='{transform}'"
    with pytest.raises(ValueError, match=text):
        MonarchSpectralConv(2, 2, (4, 4), transform=transform, grid_shape=(8, 8), **options)
    if transform in ("fourier", "dense"):
        with pytest.raises(ValueError, match=text):
            models.FNO((8, 8), n_modes=(4, 4), hidden_channels=4, transform=transform, **options)


@pytest.mark.parametrize("transform", ["monarch", "corrected", "fourier"])
def test_complex_fields_need_complex_data(transform):
    real = MonarchSpectralConv(1, 1, (4, 4), transform=transform, grid_shape=(8, 8))
    x = torch.randn(1, 1, 8, 8)
    with pytest.raises(
        TypeError, match=r"complex_data=False needs a real field, got torch\.complex"
    ):
        real(x + 0j)
    layer = MonarchSpectralConv(
        1, 1, (4, 4), transform=transform, grid_shape=(8, 8), complex_data=True
    )
    torch.testing.assert_close(layer(x), layer(x + 0j))  # as neuralop's layer has it
