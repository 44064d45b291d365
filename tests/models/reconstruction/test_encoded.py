"""Reconstruction methods whose forward model is an encoding instead of the FFT."""

import pytest
import torch

from monarch_sciml.models import SENSE, MoDL, VarNet
from monarch_sciml.models.reconstruction.cg_sense import CGSENSE
from monarch_sciml.models.reconstruction.encoded import Encoded
from monarch_sciml.models.reconstruction.l1_wavelet import L1Wavelet
from monarch_sciml.physics import ReadoutErrors, SenseOperator
from monarch_sciml.physics.readout_encoding import dense_encoding, fourier_encoding
from tests.tolerances import assert_close

GRID = (16, 12)
ERRORS = ReadoutErrors(ramp=0.1, delay=0.4, nonlinearity=1.5, off_resonance=1.0, seed=4)
SMALL = {"hidden_channels": 4, "n_levels": 2, "n_iterations": 2}


def random(*shape, seed=0, dtype=torch.complex64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def encoding(dtype=torch.complex64):
    return dense_encoding(ERRORS.matrices(GRID).to(dtype), GRID[1])


def sample(dtype=torch.complex64):
    """Return k-space that the scanner measured, mask, maps of unit norm and the image."""
    maps = random(1, 4, *GRID, dtype=dtype)
    maps = maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    mask = torch.ones(1, *GRID, dtype=maps.real.dtype)
    mask[..., 1::2] = 0
    image = random(1, *GRID, seed=1, dtype=dtype)
    return mask[:, None] * ERRORS.measure(maps * image[:, None], GRID), mask, maps, image


METHODS = {
    "SENSE": lambda: SENSE(GRID),
    "CG-SENSE": lambda: CGSENSE(GRID, regularization=1e-3),
    "l1-wavelet": lambda: L1Wavelet(GRID),
    "MoDL": lambda: MoDL(GRID, **SMALL),
}


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_the_encoding_of_an_ideal_scanner_changes_nothing(make):
    method, (kspace, mask, maps, _) = make().eval(), sample()
    with torch.no_grad():
        expected = method(kspace, mask, maps)
        found = method.set_encoding(fourier_encoding(GRID))(kspace, mask, maps)
        # the step length of l1-wavelet follows from the transform
        assert_close(found, expected, relative=0.1 if isinstance(method, L1Wavelet) else 1e-4)
        assert torch.equal(method.set_encoding(None)(kspace, mask, maps), expected)


def test_cg_sense_solves_the_equations_of_the_scanner():
    kspace, mask, maps, image = sample(torch.complex128)
    solve = CGSENSE(GRID, regularization=0.0, n_iterations=400, tolerance=1e-9)
    assert_close(
        solve.set_encoding(encoding(torch.complex128))(kspace, mask, maps), image, relative=1e-4
    )
    wrong = solve.set_encoding(None)(kspace, mask, maps)
    assert (wrong - image).norm() > 0.3 * image.norm()


def test_sense_is_the_adjoint_of_the_scanner():
    kspace, mask, maps, _ = sample()
    physics = SenseOperator(mask, maps, encoding())
    found = SENSE(GRID).set_encoding(encoding())(kspace, mask, maps)
    assert_close(found, physics.adjoint(kspace))


def test_l1_wavelet_lowers_its_objective_where_the_encoding_is_no_isometry():
    kspace, mask, maps, _ = sample()
    louder = dense_encoding(3 * ERRORS.matrices(GRID).to(torch.complex64), GRID[1])
    physics = SenseOperator(mask, maps, louder)
    solve = L1Wavelet(GRID, regularization=0.0, n_iterations=200, cycle_spinning=False)
    found = solve.set_encoding(louder)(3 * kspace, mask, maps)
    left = (physics.forward(found) - 3 * kspace).norm() / (3 * kspace).norm()
    assert left < 0.01


def test_modl_takes_the_encoding_of_another_scanner_and_keeps_its_weights():
    network, (kspace, mask, maps, image) = MoDL(GRID, **SMALL), sample()
    names = list(network.state_dict())
    before = network(kspace, mask, maps)
    network.set_encoding(encoding())
    after = network(kspace, mask, maps)
    assert list(network.state_dict()) == names
    # untrained, its denoiser is the identity
    assert (after - image).norm() < 0.5 * (before - image).norm()
    after.abs().sum().backward()
    assert network.raw_regularization.grad is not None


@pytest.mark.parametrize(
    "network", [SENSE(GRID, transform="monarch"), MoDL(GRID, transform="monarch", **SMALL)]
)
def test_a_learned_transform_beside_an_encoding_is_refused(network):
    kspace, mask, maps, _ = sample()
    with pytest.raises(ValueError, match="takes the place of the Fourier transform, got a network"):
        network.set_encoding(encoding())(kspace, mask, maps)


def test_networks_without_an_exchangeable_forward_model_are_not_encoded():
    assert not isinstance(VarNet(GRID, n_cascades=1, hidden_channels=4, n_levels=1), Encoded)
