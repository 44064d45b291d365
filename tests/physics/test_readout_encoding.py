import pytest
import torch

from monarch_sciml.physics import (
    CalibrationSums,
    ReadoutEncoding,
    ReadoutErrors,
    SenseOperator,
    fft2c,
    fit_encoding,
)
from monarch_sciml.physics.fit_encoding import missing_equations
from monarch_sciml.physics.readout_encoding import band_weights, dense_encoding, fourier_encoding
from monarch_sciml.transforms import CorrectedTransform, FourierTransform, GivenTransform
from tests.tolerances import assert_close

GRID = (16, 12)
ERRORS = ReadoutErrors(ramp=0.1, delay=0.4, nonlinearity=1.5, off_resonance=1.0, seed=4)


def images(*shape, seed=0, dtype=torch.complex64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def oracle(dtype=torch.complex64):
    return dense_encoding(ERRORS.matrices(GRID).to(dtype), GRID[1])


def corrected(n_bands=4):
    torch.manual_seed(0)
    bands = [CorrectedTransform(FourierTransform(16, centered=True), 2) for _ in range(n_bands)]
    for band in bands:
        torch.nn.init.normal_(band.left, std=0.1)
    return ReadoutEncoding(bands, band_weights(n_bands, GRID[1]))


def sums_of(n_slices, n_coils=3, noise=0.0):
    sums, x = CalibrationSums(GRID), images(n_slices, n_coils, *GRID)
    y = ERRORS.measure(x, GRID)
    sums.add(x, y + noise * images(*y.shape, seed=1))
    return sums, x, y


def test_known_matrices_measure_as_the_scanner_does():
    x = images(2, 3, *GRID, dtype=torch.complex128)
    assert_close(oracle(torch.complex128)(x), ERRORS.measure(x, GRID))
    assert_close(fourier_encoding(GRID)(x.to(torch.complex64)), fft2c(x.to(torch.complex64)))


@pytest.mark.parametrize("make", [oracle, corrected, lambda: corrected(1), lambda: corrected(12)])
def test_the_adjoint_and_the_matrices_are_those_of_the_operator(make):
    encoding = make().double() if make is not oracle else oracle(torch.complex128)
    x, y = (images(2, *GRID, seed=seed, dtype=torch.complex128) for seed in (0, 1))
    assert_close((encoding(x).conj() * y).sum(), (x.conj() * encoding.adjoint(y)).sum())
    hybrid = torch.stack(
        [encoding.matrices()[w % len(encoding.matrices())] @ x[0, :, w] for w in range(GRID[1])],
        dim=-1,
    )
    shifted = torch.fft.fft(torch.fft.ifftshift(hybrid, dim=-1), norm="ortho")
    assert_close(encoding(x[0]), torch.fft.fftshift(shifted, dim=-1))


def test_the_pseudo_inverse_solves_the_normal_equations():
    encoding, y = oracle(torch.complex128), images(*GRID, dtype=torch.complex128)
    x = encoding.pseudo_inverse(y, ridge=1e-2)
    left = encoding.adjoint(encoding(x) - y)
    mean = encoding.matrices().abs().square().sum(-2).mean(-1)  # of E^H E, for every column
    assert_close(left, -1e-2 * mean * x)


def test_it_serves_sense_follows_its_parameters_and_gives_them_gradients():
    encoding, x = corrected(), images(1, *GRID)
    physics = SenseOperator(torch.ones(GRID), images(1, 3, *GRID, seed=2), encoding)
    physics.forward(x).abs().square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in encoding.parameters())
    encoding.requires_grad_(False)
    before = encoding(x)
    assert torch.equal(encoding(x), before)
    encoding.transforms[0].left.mul_(2)
    assert not torch.equal(encoding(x), before)


@pytest.mark.parametrize("n_bands", [1, 2, 3, 4, 7, 12])
def test_weights_of_bands_are_smooth_and_add_up_to_one(n_bands):
    weights = band_weights(n_bands, 12)
    assert weights.shape == (n_bands, 12) and bool((weights >= 0).all())
    assert_close(weights.sum(0), torch.ones(12))
    assert torch.linalg.matrix_rank(weights) == n_bands
    if 4 <= n_bands < 12:
        places = (torch.arange(12) + 0.5) / 12
        # cubic splines hold cubic polynomials
        fitted = torch.linalg.lstsq(weights.mT, (places**3)[:, None]).solution
        assert_close((weights.mT @ fitted)[:, 0], places**3, relative=1e-4)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: band_weights(13, 12), "`n_bands` must be at most the 12 columns of the image"),
        (lambda: ReadoutEncoding([]), "same number of points and samples, got none"),
        (
            lambda: ReadoutEncoding([GivenTransform(torch.eye(4)), GivenTransform(torch.eye(5))]),
            "same number of points and samples",
        ),
        (
            lambda: ReadoutEncoding([GivenTransform(torch.eye(4))], torch.ones(2, 6)),
            "a row for each transform",
        ),
        (lambda: oracle()(images(12, 16)), "the encoding is of the matrix 16 x 12, got 12 x 16"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_real_images_are_refused():
    with pytest.raises(TypeError, match=r"must be complex, got torch\.float32"):
        oracle()(torch.ones(GRID))


def test_the_unexplained_share_is_that_of_the_samples():
    sums, x, y = sums_of(2)
    encoding = corrected()
    with torch.no_grad():
        expected = (encoding(x) - y).abs().square().sum() / y.abs().square().sum()
        assert_close(sums.residual(encoding.matrices()), expected, relative=1e-5)


def test_a_matrix_for_every_column_is_the_least_squares_solution():
    sums, x, y = sums_of(7, noise=0.01)  # 21 equations for 16 unknowns
    found = fit_encoding(sums, n_bands=12, rank=None, ridge=0).matrices()
    readouts = torch.fft.ifft(
        torch.fft.ifftshift(y + 0.01 * images(*y.shape, seed=1), dim=-1), norm="ortho"
    )
    readouts = torch.fft.fftshift(readouts, dim=-1)
    for w in (0, 5, 11):
        a, b = (z[..., w].reshape(-1, 16).to(torch.complex128) for z in (x, readouts))
        expected = torch.linalg.lstsq(a, b).solution.mT
        assert_close(found[w], expected, relative=1e-4)


def test_smooth_bands_find_a_slowly_varying_readout_from_few_slices():
    sums, *_ = sums_of(4, n_coils=4)
    held = images(5, 1, *GRID, seed=9)
    measured = ERRORS.measure(held, GRID)

    def error(**options):
        encoding = fit_encoding(sums, **options)
        return float((encoding(held) - measured).norm() / measured.norm())

    fourier = float((fft2c(held) - measured).norm() / measured.norm())
    smooth = error(n_bands=6, rank=None, ridge=1e-5)
    assert smooth < 0.25 * fourier
    assert smooth < 0.5 * error(n_bands=1, rank=None, ridge=1e-5)
    coarse = error(n_bands=6, rank=1, ridge=1e-5)
    descended = error(n_bands=6, rank=1, ridge=1e-5, n_steps=30)
    assert smooth < descended < coarse < fourier


def test_a_large_ridge_keeps_the_fourier_transform():
    sums, x, _ = sums_of(1)
    encoding = fit_encoding(sums, n_bands=3, rank=2, ridge=1e9)
    assert_close(encoding(x), fft2c(x), relative=1e-4)


@pytest.mark.parametrize(
    ("n_slices", "n_bands", "missing", "needed"),
    [(1, 1, 0, 16), (1, 4, 64 - 36, 64), (5, 12, 16 - 15, 16), (6, 12, 0, 16)],
)
def test_missing_equations_are_counted_and_need_a_ridge(n_slices, n_bands, missing, needed):
    sums, *_ = sums_of(n_slices)
    assert missing_equations(sums, n_bands) == (missing, needed)
    if missing:
        text = f"{n_bands} bands need {needed} equations for each sample, got {needed - missing} "
        text += f"from {n_slices} slices, {missing} missing.*`ridge` above 0"
        with pytest.raises(ValueError, match=text):
            fit_encoding(sums, n_bands=n_bands, ridge=0)
    fit_encoding(sums, n_bands=n_bands, rank=None, ridge=1e-3)


def test_dependent_equations_and_empty_objects_are_refused():
    x = images(40, 1, *GRID)
    x[:, :, :4] = 0  # four rows that no slice reaches
    sums = CalibrationSums(GRID)
    sums.add(x, ERRORS.measure(x, GRID))
    with pytest.raises(ValueError, match="where ridge is 0, got 4 directions without any"):
        fit_encoding(sums, n_bands=1, ridge=0)
    with pytest.raises(ValueError, match="must not be empty"):
        fit_encoding(CalibrationSums(GRID))
    with pytest.raises(ValueError, match="must be of the matrix 16 x 12"):
        sums.add(images(1, 1, 12, 16), images(1, 1, 12, 16))
    with pytest.raises(ValueError, match="`kspace` must be finite, got 1 NaN"):
        y = images(1, 1, *GRID)
        y[0, 0, 0, 0] = torch.nan
        sums.add(images(1, 1, *GRID), y)


def test_kept_matrices_are_those_of_the_state_loaded_last():
    first, second = (dense_encoding(torch.randn(1, 8, 8) + 0j, 6) for _ in range(2))
    image = torch.randn(8, 6) + 0j
    first(image)
    first.load_state_dict(second.state_dict(), assign=True)
    assert_close(first(image), second(image))
    with torch.inference_mode():  # whose tensors do not count their changes
        encoding = dense_encoding(torch.randn(1, 8, 8) + 0j, 6)
        assert encoding(image).shape == (8, 6)
