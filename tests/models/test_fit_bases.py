"""PODNO: a network in the POD basis of its training fields; learned position channels."""

import pytest
import scipy.signal
import torch
from tolerances import assert_close

from monarch_sciml.models import FNO, FactorizedFNO, densify, fit_bases, monarchize
from monarch_sciml.models.fit_bases import needs_bases
from monarch_sciml.models.operators.operator_grid import resized
from monarch_sciml.training.loading import training_fields
from monarch_sciml.transforms import (
    CorrectedTransform,
    FourierTransform,
    GivenTransform,
    PODTransform,
    nonuniform_fourier_transform,
    pod_basis,
)

SMALL = {"n_modes": (2, 3), "hidden_channels": 4, "n_layers": 2}


def fields(n, grid=(6, 5)):
    return torch.randn(n, *grid, generator=torch.Generator().manual_seed(0))


def test_pod_basis_is_the_best_of_its_size():
    data = fields(20).double()
    basis = pod_basis(data, 6)
    matrix = data.flatten(1)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    best = (u[:, :6] * s[:6]) @ vh[:6]
    torch.testing.assert_close(matrix @ basis.mT @ basis / matrix.shape[1], best)
    identity = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(basis @ basis.mT / matrix.shape[1], identity)


def test_network_in_a_pod_basis_fits_saves_and_loads():
    torch.manual_seed(0)
    network = FNO((6, 5), transform="pod", **SMALL)
    x = torch.randn(2, 1, 6, 5)
    assert needs_bases(network)
    with pytest.raises(ValueError, match="must be fitted to training data, got none"):
        network(x)
    fit_bases(network, fields(20))
    assert not needs_bases(network)
    layer = network.network.fno_blocks.convs[0]
    z = torch.randn(2, 4, 6, 5)
    basis = pod_basis(fields(20), 6).float()
    modes = torch.einsum("kn,bin->bik", basis / 30, z.flatten(2))
    mixed = torch.einsum("bik,kio->bok", modes, layer.weight.flatten(0, 1))
    expected = (mixed @ basis).view(2, 4, 6, 5) + layer.bias
    torch.testing.assert_close(layer(z), expected)
    other = FNO((6, 5), transform="pod", **SMALL)
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(other(x), network(x))
    with pytest.raises(ValueError, match=r"needs the grid of its training data, \(6, 5\)"):
        network(torch.randn(2, 1, 8, 8))


def test_padded_layers_take_padded_fields():
    network = FNO((6, 5), transform="pod", domain_padding=(0.5, 0.4), **SMALL)
    fit_bases(network, fields(20))
    transform = network.network.fno_blocks.convs[0].analysis[0]
    assert transform.grid_shape == (12, 9)
    rows = transform.rows().view(6, 12, 9)
    inside = torch.zeros(12, 9, dtype=torch.bool)
    inside[3:9, 2:7] = True
    assert rows[:, ~inside].abs().max() < 1e-6 * rows[:, inside].abs().max()


def test_bad_fields_are_refused_in_one_line():
    network = FNO((6, 5), transform="pod", **SMALL)
    with pytest.raises(ValueError, match=r"6 modes needs as many independent.*got 4"):
        fit_bases(network, fields(4))
    with pytest.raises(ValueError, match=r"must have the grid \(6, 5\).*got \(8, 5\)"):
        fit_bases(network, fields(9, (8, 5)))
    with pytest.raises(ValueError, match="`fields` must be finite"):
        fit_bases(network, fields(9) / 0)
    with pytest.raises(ValueError, match="must be fitted to training data"):
        CorrectedTransform(PODTransform((8,), 4))(torch.randn(2, 8))
    late = CorrectedTransform(PODTransform((8,), 4))
    late.start.fit(pod_basis(fields(9, (8,)), 4))
    torch.nn.init.normal_(late.left)
    z = torch.randn(3, 8)
    assert late.deviation().abs().sum() > 0
    assert_close(late(z), z @ late.matrix().mT)


@pytest.mark.parametrize(
    ("grid", "n_modes"),
    [((16,), (6,)), ((6, 5), (2, 3)), ((12, 10), (4, 4)), ((4, 5, 6), (2,) * 3)],
)
def test_corrected_transform_starts_at_the_pod_basis(grid, n_modes):
    torch.manual_seed(0)
    options = {"n_modes": n_modes, "hidden_channels": 4, "n_layers": 2}
    fixed = FNO(grid, transform="pod", **options)
    network = FNO(grid, transform="corrected", init="pod", **options)
    x = torch.randn(2, 1, *grid)
    with pytest.raises(ValueError, match="must be fitted to training data, got none"):
        network(x)
    for one in (fixed, network):
        fit_bases(one, fields(40, grid))
    own = [p for name, p in network.named_parameters() if not name.endswith(("left", "right"))]
    for ours, theirs in zip(own, fixed.parameters(), strict=True):
        ours.data.copy_(theirs.data)
    assert_close(network(x), fixed(x))  # untrained it is PODNO

    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    layer = network.network.fno_blocks.convs[0]
    analysis, synthesis = layer.analysis[0], layer.synthesis[0]
    rows, columns = analysis.matrix(), synthesis.matrix()
    z = torch.randn(3, 4, *grid)
    modes = torch.einsum("kn,bin->bik", rows, z.flatten(2))
    assert_close(analysis(z).flatten(2), modes)
    assert_close(analysis.adjoint(analysis(z)).flatten(2), analysis(z).flatten(2) @ rows)
    back = synthesis(analysis(z))
    assert_close(back.flatten(2), analysis(z).flatten(2) @ columns.mT)
    assert_close(synthesis.adjoint(z).flatten(2), z.flatten(2) @ columns)
    assert_close(analysis(analysis.inverse(analysis(z))), analysis(z))
    mixed = torch.einsum("bik,kio->bok", modes, layer.weight.flatten(0, -3))
    expected = torch.einsum("nk,bok->bon", columns, mixed).unflatten(-1, grid) + layer.bias
    assert_close(layer(z), expected)

    other = FNO(grid, transform="corrected", init="pod", **options)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(x), network(x))
    with pytest.raises(ValueError, match="needs the grid of its training data"):
        network(torch.randn(2, 1, *(n + 2 for n in grid)))


def test_podno_becomes_a_corrected_network_and_back():
    network = FNO((6, 5), transform="pod", **SMALL)
    fit_bases(network, fields(20))
    x = torch.randn(2, 1, 6, 5)
    corrected = monarchize(network, transform="corrected")
    assert_close(corrected(x), network(x))
    back = densify(corrected)
    assert isinstance(back.network.fno_blocks.convs[0].analysis[0], PODTransform)
    assert torch.equal(back(x), network(x))
    torch.nn.init.normal_(corrected.network.fno_blocks.convs[0].analysis[0].left)
    with pytest.raises(ValueError, match="of a POD basis must be untrained"):
        densify(corrected)
    with pytest.raises(ValueError, match="init='pod' is an option of transform='corrected'"):
        monarchize(network)


def test_a_pod_start_is_refused_where_there_is_none():
    for options in ({"transform": "monarch"}, {"transform": "cosine"}, {}):
        with pytest.raises(ValueError, match=r"an option of transform='corrected'.*'\. Set it, or"):
            FNO((6, 5), init="pod", **options, **SMALL)
    with pytest.raises(ValueError, match="a basis of the whole grid, which has no axes"):
        FNO((6, 5), transform="corrected", init="pod", per_axis=True, **SMALL)
    with pytest.raises(ValueError, match=r"`init` must be one of 'dft', .* got 'pod'"):
        FactorizedFNO((8, 8), n_modes=(4, 4), transform="corrected", init="pod")


def test_training_fields_are_inputs_and_targets_of_one_size():
    samples = [
        {"input": 5 * fields(2).unsqueeze(1), "target": fields(3).unsqueeze(1)} for _ in range(4)
    ]
    taken = training_fields(samples, most=2)
    assert taken.shape == (2 * 2 + 2 * 3, 6, 5)
    torch.testing.assert_close(taken[:4].square().mean(), torch.ones(()))
    with pytest.raises(ValueError, match="needs samples of real fields"):
        training_fields([{"kspace": torch.ones(1)}])


def test_given_rows_serve_as_a_start():
    points = torch.arange(16, dtype=torch.float64) / 16
    given = nonuniform_fourier_transform(points, 7)
    fixed = FourierTransform(16, 7, norm="forward", centered=True).double()
    x = torch.randn(3, 16, dtype=torch.complex128)
    order = torch.arange(7) - 3
    torch.testing.assert_close(given(x), torch.fft.fft(x, norm="forward")[:, order])
    assert fixed.n_modes == given.n_modes
    moved = points + 0.01 * torch.sin(6 * points)
    for start in (
        nonuniform_fourier_transform(moved, 7),
        nonuniform_fourier_transform(moved, 7, inverse=True),
        GivenTransform(pod_basis(fields(30, (16,)), 9)),
    ):
        transform = CorrectedTransform(start, 2, 4, 2).double()
        torch.testing.assert_close(transform.matrix(), start.double().matrix(), rtol=0, atol=0)
        for parameter in transform.parameters():
            torch.nn.init.normal_(parameter)
        z = torch.randn(3, transform.matrix().shape[1], dtype=torch.complex128)
        torch.testing.assert_close(transform(z), z @ transform.matrix().mT.to(z.dtype))
    with pytest.raises(ValueError, match="`rows` must be finite"):
        GivenTransform(torch.full((2, 3), float("nan")))
    with pytest.raises(ValueError, match="needs its own 16 points"):
        given.resampled(20)


def test_learned_positions_are_inputs_on_every_grid():
    torch.manual_seed(0)
    network = FNO((8, 6), learned_positions=2, **SMALL)
    plain = FNO((8, 6), 3, **SMALL)
    plain.load_state_dict(
        {k: v for k, v in network.state_dict().items() if k != "positions"}, strict=True
    )
    torch.nn.init.normal_(network.positions)
    x = torch.randn(2, 1, 8, 6)
    together = torch.cat([x, network.positions.expand(2, 2, 8, 6)], dim=1)
    torch.testing.assert_close(network(x), plain(together))
    network(x).sum().backward()
    assert network.positions.grad.abs().sum() > 0
    with torch.no_grad():
        x_1, x_2 = torch.meshgrid(torch.arange(8) / 8, torch.arange(6) / 6, indexing="ij")
        network.positions.copy_(torch.stack([torch.cos(6.283185307 * x_1), x_2 * 0 + 1]))
    finer = torch.randn(1, 1, 12, 10)
    y_1 = (torch.arange(12) / 12)[:, None].expand(12, 10)
    channels = torch.stack([torch.cos(6.283185307 * y_1), torch.ones(12, 10)])[None]
    torch.testing.assert_close(network(finer), plain(torch.cat([finer, channels], 1)))


@pytest.mark.parametrize(("n", "m"), [(8, 16), (8, 13), (9, 16), (16, 8), (16, 9), (9, 5)])
def test_positions_are_interpolated_as_by_scipy(n, m):
    positions = torch.randn(2, n, 7, dtype=torch.float64)
    expected = scipy.signal.resample(positions.numpy(), m, axis=1)
    assert_close(resized(positions, (m, 7)), expected)
    if m % n == 0:  # also the highest mode of an even number of points
        assert_close(resized(positions, (m, 7))[:, :: m // n], positions)


def test_bases_of_other_fields_are_refused():
    with pytest.raises(ValueError, match=r"needs real fields, one at least, got torch.complex64"):
        pod_basis(torch.randn(5, 8) + 0j, 2)
    with pytest.raises(ValueError, match="`n_modes` must be at least 1, got 0"):
        pod_basis(torch.randn(5, 8), 0)
    with pytest.raises(ValueError, match=r"must have 2 modes of 8 points, got \(3, 8\)"):
        PODTransform((8,), 2).fit(torch.randn(3, 8))
    with pytest.raises(ValueError, match=r"`rows` must hold floating-point.*got torch.int64"):
        GivenTransform(torch.eye(4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"`transform` must be one of 'fourier', .* got 'pod'"):
        FactorizedFNO((8, 8), n_modes=(4, 4), transform="pod")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_complex_rows_in_half_precision(dtype):
    start = nonuniform_fourier_transform(torch.rand(16).sort().values, 7)
    x = torch.randn(3, 16)
    exact = start(x)
    half = start.to(dtype)
    assert half.matrix().dtype == torch.complex64
    assert (half(x) - exact).norm() < 0.02 * exact.norm()
    assert torch.equal(CorrectedTransform(half, 1).to(dtype)(x), half(x))
