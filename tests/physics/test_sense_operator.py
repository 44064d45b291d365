"""The SENSE operator: adjoint, normal, sigpy, BART, custom transforms, gradients, bad input."""

import shutil
import subprocess

import numpy as np
import pytest
import torch
from tolerances import assert_close

from monarch_sciml.physics import (
    RandomMask,
    SenseOperator,
    UniformMask,
    center_crop,
    combine,
    combine_map_sets,
    fft2c,
    ifft2c,
    rss,
    with_map_sets,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = [(16, 12), (9, 14), (7, 5), (1, 8), (13, 1)]


class Centered:
    """The centred FFT as a pair, the slow reference of the folded form."""

    def forward(self, x):
        return fft2c(x)

    def adjoint(self, x):
        return ifft2c(x)


def draw(shape, seed=0, dtype=torch.complex128):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def mask_of(kind, shape):
    if kind == "points":
        return (torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.5).double()
    if kind == "full":
        return torch.ones(shape)
    return UniformMask(2, 1, axis={"columns": -1, "rows": -2}[kind])(shape)


def relative(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("shape", SIZES)
def test_fft2c_is_the_centred_unitary_dft(shape):
    def matrix(n):
        k = np.arange(n) - n // 2
        return torch.from_numpy(np.exp(-2j * np.pi * np.outer(k, k) / n) / np.sqrt(n))

    x = draw((3, *shape))
    y = matrix(shape[0]) @ x @ matrix(shape[1])
    assert relative(fft2c(x), y) < 1e-13
    assert relative(ifft2c(y), x) < 1e-13


@pytest.mark.skipif(not shutil.which("bart"), reason="bart is not installed")
@pytest.mark.parametrize("shape", [(12, 10), (9, 14)])
def test_fft2c_equals_bart(shape, tmp_path):
    x = draw(shape, dtype=torch.complex64)
    (tmp_path / "x.hdr").write_text("# Dimensions\n{} {}\n".format(*shape))
    x.numpy().ravel(order="F").tofile(tmp_path / "x.cfl")
    subprocess.run(["bart", "fft", "-u", "3", "x", "y"], cwd=tmp_path, check=True)
    y = np.fromfile(tmp_path / "y.cfl", np.complex64).reshape(shape, order="F")
    assert relative(fft2c(x), torch.from_numpy(y)) < 5e-7


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("kind", ["points", "columns", "rows", "full"])
@pytest.mark.parametrize("transform", [None, Centered()])
def test_adjoint_and_normal(shape, kind, transform):
    physics = SenseOperator(mask_of(kind, shape), draw((4, *shape), 1), transform)
    x, y = draw((2, *shape), 2), draw((2, 4, *shape), 3)
    left = torch.vdot(physics.forward(x).flatten(), y.flatten())
    right = torch.vdot(x.flatten(), physics.adjoint(y).flatten())
    assert abs(left - right) < 1e-12 * abs(left)
    assert relative(physics.normal(x), physics.adjoint(physics.forward(x))) < 1e-13


@pytest.mark.parametrize("shape", SIZES)
def test_folded_shifts_equal_the_plain_form(shape):
    mask, maps = mask_of("points", shape), draw((4, *shape), 1)
    folded, plain = SenseOperator(mask, maps), SenseOperator(mask, maps, Centered())
    x, y = draw((2, *shape), 2), draw((2, 4, *shape), 3)
    expected = mask * fft2c(maps * x.unsqueeze(-3))
    for physics in (folded, plain):
        assert relative(physics.forward(x), expected) < 1e-13
    assert relative(folded.adjoint(y), plain.adjoint(y)) < 1e-13


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_masks_and_maps_of_a_batch(dtype):
    masks = torch.stack([RandomMask(0.2, 2)((12, 10), seed) for seed in range(3)])
    maps, x = draw((3, 4, 12, 10), 1, dtype), draw((3, 12, 10), 2, dtype)
    batch = SenseOperator(masks, maps)
    for name in ("forward", "normal"):
        together = getattr(batch, name)(x)
        alone = [getattr(SenseOperator(m, s), name)(i) for m, s, i in zip(masks, maps, x)]
        assert together.dtype == dtype
        assert relative(together, torch.stack(alone)) < (
            1e-6 if dtype == torch.complex64 else 1e-14
        )
    assert torch.equal(batch.forward(x) == 0, (masks == 0).unsqueeze(1).expand(3, 4, 12, 10))


def test_agreement_with_sigpy():
    linop = pytest.importorskip("sigpy.mri").linop
    mask, maps, x = mask_of("points", (12, 9)), draw((4, 12, 9), 1), draw((12, 9), 2)
    sense = linop.Sense(maps.numpy(), weights=mask.numpy())
    physics = SenseOperator(mask, maps)
    assert relative(physics.forward(x), torch.from_numpy(sense(x.numpy()))) < 1e-13
    y = draw((4, 12, 9), 3)
    assert relative(physics.adjoint(y), torch.from_numpy(sense.H(y.numpy()))) < 1e-13


@pytest.mark.parametrize("name", ["forward", "normal"])
def test_gradients(name):
    mask, maps, x = mask_of("points", (3, 2)), draw((2, 3, 2), 1), draw((3, 2), 2)
    maps.requires_grad_()
    x.requires_grad_()

    def apply(maps, x):
        return getattr(SenseOperator(mask, maps), name)(x)

    assert torch.autograd.gradcheck(apply, (maps, x))


def test_combine_inverts_normalised_maps_and_rss_is_the_norm():
    maps, x = draw((5, 6, 7), 1), draw((2, 6, 7), 2)
    maps = maps / rss(maps)
    coil_images = maps * x.unsqueeze(-3)
    assert_close(combine(coil_images, maps), x)
    assert_close(rss(coil_images), x.abs())
    assert_close(rss(coil_images, dim=1), coil_images.abs().square().sum(1).sqrt())


def test_center_crop_starts_at_half_the_difference():
    x = torch.arange(7 * 6).reshape(7, 6)
    assert torch.equal(center_crop(x, (4, 3)), x[1:5, 1:4])
    assert torch.equal(center_crop(x, (7, 6)), x)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: SenseOperator(torch.ones(4, 5), draw((2, 5, 4))), ValueError, r"\(4, 5\) and"),
        (lambda: SenseOperator(torch.ones(4), draw((2, 5, 4))), ValueError, "must match"),
        (
            lambda: SenseOperator(torch.ones(4, 4), torch.ones(2, 4, 4)),
            TypeError,
            "must be complex",
        ),
        (lambda: center_crop(torch.ones(4, 4), (5, 4)), ValueError, "within the image of 4 x 4"),
        (lambda: center_crop(torch.ones(4, 4), (0, 4)), ValueError, "got 0 x 4"),
    ],
)
def test_bad_input(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize("transform", [None, Centered()])
def test_tensors_that_do_not_fit(transform):
    physics = SenseOperator(torch.ones(4, 5), draw((2, 4, 5)), transform)
    for apply, shape in [
        (physics.forward, (5, 4)),
        (physics.normal, (1, 5)),
        (physics.adjoint, (3, 4, 5)),
    ]:
        with pytest.raises(ValueError, match="as in `coil_maps`, got"):
            apply(draw(shape))


@pytest.mark.parametrize("mask_kind", ["columns", "points"])
@pytest.mark.parametrize("transform", [None, Centered()])
def test_map_sets_are_a_sum_and_their_adjoint(mask_kind, transform):
    maps, x, y = draw((2, 3, 4, 9, 8)), draw((2, 3, 9, 8), 1), draw((2, 4, 9, 8), 2)
    mask = torch.stack([mask_of(mask_kind, (9, 8)), torch.ones(9, 8)])
    physics = SenseOperator(mask, maps, transform, map_sets=True)
    single = [SenseOperator(mask, maps[:, m], transform) for m in range(3)]
    expected = sum(one.forward(x[:, m]) for m, one in enumerate(single))
    torch.testing.assert_close(physics.forward(x), expected)
    images = torch.stack([one.adjoint(y) for one in single], dim=1)
    torch.testing.assert_close(physics.adjoint(y), images)
    torch.testing.assert_close(physics.normal(x), physics.adjoint(physics.forward(x)))
    assert torch.equal(with_map_sets(y, maps), maps)
    assert torch.equal(with_map_sets(y, maps[:, 0]), maps[:, :1])
    with pytest.raises(ValueError, match=r"\(map sets, H, W\) of the image must be \(3, 9, 8\)"):
        physics.forward(x[:, :2])
    with pytest.raises(ValueError, match=r"must match the last two axes"):
        SenseOperator(mask, maps[0, 0], map_sets=True)


def test_images_of_map_sets_become_one():
    x = torch.randn(2, 3, 5, 4, dtype=torch.complex128)
    one = combine_map_sets(x)
    torch.testing.assert_close(one.abs(), x.norm(dim=1))
    torch.testing.assert_close(one / one.abs(), x[:, 0] / x[:, 0].abs())
    assert torch.equal(combine_map_sets(x[:, :1]), x[:, 0])
    dark = torch.zeros(2, 3, 3, dtype=torch.complex128, requires_grad=True)
    combine_map_sets(dark).abs().sum().backward()
    assert dark.grad.isfinite().all()
    lit = torch.randn(2, 3, 3, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(combine_map_sets, lit)


def test_a_mask_that_is_loaded_or_changed_is_the_one_used():
    maps, image = torch.ones(2, 8, 6) + 0j, torch.randn(8, 6) + 0j
    masks = [torch.nn.Parameter(torch.rand(8, 6), requires_grad=False) for _ in range(2)]
    physics, other = (SenseOperator(mask, maps) for mask in masks)
    physics(image), physics.normal(image)
    physics.load_state_dict(other.state_dict())
    assert_close(physics(image), other(image))
    assert_close(physics.normal(image), other.normal(image))
    with torch.no_grad():
        physics.weights.zero_()
    assert not physics(image).any()
