"""One contract for every transform, over sizes even, odd, prime, power of two and 1."""

import copy
import itertools
import warnings
from functools import partial

import pytest
import torch
from tolerances import assert_close
from torch import Tensor
from torch.func import functional_call, vmap

from monarch_sciml.transforms import (
    CorrectedTransform,
    CosineTransform,
    DenseTransform,
    FourierTransform,
    LearnableTransform,
    MonarchTransform,
    ResampledTransform,
    SeparableTransform,
)
from monarch_sciml.transforms.named import TRANSFORMS, TransformOptions, axis_spec

SIZES = [1, 2, 7, 8, 12, 15, 30]


def perturbed(transform, scale=0.1):
    """A learned transform away from its initial value, in float64."""
    generator = torch.Generator().manual_seed(0)
    transform = transform.double()
    with torch.no_grad():
        for parameter in transform.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(scale * noise)
    return transform


def listed(name, init, share, n):
    """The fixed transform of that name, with all modes or half of them."""
    return TRANSFORMS[name].build(axis_spec(name, init, n, -(-n // share)), TransformOptions())


# Every fixed transform of the list, also one that is new there, in both directions and truncated.
FIXED = {
    f"{name}{direction}-{'all' if share == 1 else 'truncated'}": partial(listed, name, init, share)
    for name, entry in TRANSFORMS.items()
    if entry.family not in (None, "pod")  # a POD has rows once it is fitted: test_fit_bases.py
    for direction, init in (("", "dft"), ("-inverse", "idft"))
    for share in (1, 2)
}


FACTORIES = {
    **FIXED,
    "fourier-centred": lambda n: FourierTransform(n, centered=True, norm="forward"),
    "fourier-real": lambda n: FourierTransform(n, real_input=True),
    "fourier-real-inverse": lambda n: FourierTransform(n, real_input=True, inverse=True),
    "cosine-backward": lambda n: CosineTransform(n, norm="backward", inverse=True),
    "monarch": MonarchTransform,
    "monarch-truncated": lambda n: MonarchTransform(n, (n + 1) // 2),
    "monarch-inverse": lambda n: MonarchTransform(n, init="idft", norm="backward"),
    "monarch-centred": lambda n: MonarchTransform(n, centered=True),
    "monarch-real": lambda n: MonarchTransform(n, real_input=True),
    "monarch-real-inverse": lambda n: MonarchTransform(n, init="idft", real_input=True),
    "monarch-dct": lambda n: MonarchTransform(n, init="dct"),
    "monarch-idst": lambda n: MonarchTransform(n, init="idst"),
    "monarch-rank2": lambda n: MonarchTransform(n, rank=2),
    "monarch-order3": lambda n: MonarchTransform(n, order=3),
    "monarch-random": lambda n: MonarchTransform(n, init="random"),
    "monarch-copies": lambda n: MonarchTransform(n, n_copies=3),
    "dense": DenseTransform,
    "dense-dct": lambda n: DenseTransform(n, init="dct", n_copies=3),
    "corrected": lambda n: CorrectedTransform(FourierTransform(n), 1),
    "corrected-centred": lambda n: CorrectedTransform(FourierTransform(n, centered=True), 1),
    "corrected-real-inverse": lambda n: CorrectedTransform(
        FourierTransform(n, real_input=True, inverse=True), 1, grid_blocks=1
    ),
    "corrected-cosine": lambda n: CorrectedTransform(CosineTransform(n), 1, mode_blocks=1),
    "resampled-corrected": lambda n: perturbed(
        CorrectedTransform(FourierTransform(9), 1)
    ).resampled(n),
    "resampled": lambda n: ResampledTransform(perturbed(MonarchTransform(9, 1)), n),
}


@pytest.fixture(params=itertools.product(FACTORIES, SIZES), ids=lambda p: f"{p[0]}-{p[1]}")
def transform(request):
    name, n = request.param
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # lopsided sizes say so; tested in monarch/
        return perturbed(FACTORIES[name](n))


def input_like(transform, *, output=False, batch=(2,)) -> Tensor:
    """A random input (or output) of the transform."""
    grid_side = transform.spec.synthesis == output
    size = transform.n if grid_side else transform.n_modes
    copies = (transform.n_copies,) if transform.n_copies > 1 else ()
    real = grid_side and transform.real_input
    dtype = torch.float64 if real else torch.complex128
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*batch, *copies, size, dtype=dtype, generator=generator)


def dense_product(matrix: Tensor, x: Tensor, *, real: bool) -> Tensor:
    dtype = torch.complex128
    y = (matrix.to(dtype) @ x.to(dtype).unsqueeze(-1)).squeeze(-1)
    return y.real if real else y


def test_is_linear(transform):
    x = input_like(transform)
    y = x.flip(0) * 0.5
    both = transform(2.0 * x - 3.0 * y)
    torch.testing.assert_close(both, 2.0 * transform(x) - 3.0 * transform(y))


def test_equals_its_dense_matrix(transform):
    x = input_like(transform)
    real = transform.real_input and transform.spec.synthesis
    torch.testing.assert_close(
        transform(x).to(torch.complex128 if not real else torch.float64),
        dense_product(transform.matrix(), x, real=real),
    )


def test_adjoint_passes_the_dot_product_test(transform):
    x, y = input_like(transform), input_like(transform, output=True)
    forward = (transform(x).conj() * y).sum()
    adjoint = (x.conj() * transform.adjoint(y)).sum()
    if transform.real_input:  # the real inner product
        forward, adjoint = forward.real, adjoint.real
    torch.testing.assert_close(forward, adjoint)


def test_inverse_undoes_or_projects(transform):
    y = transform(input_like(transform))  # in the range of the transform
    torch.testing.assert_close(transform(transform.inverse(y)), y)
    if transform.spec.is_full and not transform.real_input:
        x = input_like(transform)
        torch.testing.assert_close(transform.inverse(transform(x)), x)


def test_state_dict_round_trip(transform):
    state = {name: tensor.clone() for name, tensor in transform.state_dict().items()}
    before = transform.matrix().clone()
    with torch.no_grad():
        for parameter in transform.parameters():
            parameter.zero_()
    transform.load_state_dict(state)
    torch.testing.assert_close(transform.matrix(), before, rtol=0, atol=0)


def test_dtype_follows_to(transform):
    reference = transform.matrix().clone()
    single = transform.to(torch.float32)
    assert single.matrix().real.dtype == torch.float32
    x = input_like(single)
    x = x.to(torch.complex64 if x.is_complex() else torch.float32)
    assert single(x).real.dtype == torch.float32
    assert_close(single.matrix().to(reference.dtype), reference, relative=0.0001)


def test_no_parameter_is_complex(transform):
    assert not any(parameter.is_complex() for parameter in transform.parameters())


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("n", [6, 7])
@pytest.mark.filterwarnings("ignore:.*factor.*:UserWarning")
def test_gradients_once_and_twice(name, n):
    torch.manual_seed(0)
    transform = perturbed(FACTORIES[name](n))
    x = input_like(transform).requires_grad_()
    names = [key for key, _ in transform.named_parameters()]

    def apply(x, *values):
        return functional_call(transform, dict(zip(names, values)), (x,))

    inputs = (x, *(p.detach().requires_grad_() for p in transform.parameters()))
    assert torch.autograd.gradcheck(apply, inputs)
    assert torch.autograd.gradgradcheck(apply, inputs)


@pytest.mark.parametrize("name", FACTORIES)
def test_vmap(name):
    torch.manual_seed(0)
    transform = perturbed(FACTORIES[name](12))
    x = input_like(transform, batch=(3, 2))
    torch.testing.assert_close(vmap(transform)(x), torch.stack([transform(one) for one in x]))


def test_learnable_transforms_start_at_zero_deviation():
    for name, factory in FACTORIES.items():
        transform = factory(12)
        if isinstance(transform, LearnableTransform) and not name.startswith("resampled"):
            assert all(not parameter.any() for parameter in transform.parameters()), name
            torch.testing.assert_close(transform.deviation(), torch.zeros_like(transform.matrix()))


@pytest.mark.parametrize("shape", [(6, 8), (4, 8, 3)])
def test_separable_follows_the_contract(shape):
    last = len(shape) - 1
    transform = SeparableTransform(
        [perturbed(MonarchTransform(n, rank=1 + (i == last))) for i, n in enumerate(shape)]
    )
    x = torch.randn(2, *shape, dtype=torch.complex128)
    y = torch.randn(2, *shape, dtype=torch.complex128)
    dense = (transform.matrix() @ x.flatten(1).mT).mT.reshape(x.shape)
    torch.testing.assert_close(transform(x), dense)
    torch.testing.assert_close(
        (transform(x).conj() * y).sum(), (x.conj() * transform.adjoint(y)).sum()
    )
    torch.testing.assert_close(transform.inverse(transform(x)), x)


@pytest.mark.parametrize("name", FACTORIES)
def test_habits_of_any_module(name):
    """Training after inference mode, copies, meta, a forward before `.to`, half precision."""
    torch.manual_seed(0)
    transform = perturbed(FACTORIES[name](12))
    x = input_like(transform)
    with torch.inference_mode():
        expected = transform(x).clone()
    for y in (transform(x), transform.adjoint(input_like(transform, output=True))):
        if y.requires_grad:
            y.abs().sum().backward()
    twin = copy.deepcopy(transform)
    with torch.no_grad():
        for parameter in transform.parameters():
            parameter.zero_()
    assert torch.equal(twin(x), expected)
    single = x.to(torch.complex64 if x.is_complex() else torch.float32)
    twin.float()(single)
    assert_close(twin.bfloat16()(single).to(expected.dtype), expected, relative=0.05)
    with torch.device("meta"):
        empty = FACTORIES[name](12) if name != "resampled" else None
    if empty is not None:
        torch.manual_seed(0)
        full = FACTORIES[name](12)
        empty.to_empty(device="cpu").load_state_dict(full.state_dict())
        assert torch.equal(empty(single), full(single))


@pytest.mark.parametrize(
    "name", ["monarch", "monarch-dct", "fourier-truncated", "dense", "resampled"]
)
def test_export_leaves_a_fresh_transform_as_it_was(name):
    torch.manual_seed(0)
    transform = perturbed(FACTORIES[name](12))
    x = input_like(transform)
    exported = torch.export.export(transform, (x,)).module()
    assert_close(exported(x), transform(x))
    assert type(transform.matrix().detach()) is torch.Tensor


def test_a_real_transform_refuses_complex_numbers_on_its_grid():
    for transform in (FourierTransform(8, real_input=True), MonarchTransform(8, real_input=True)):
        with pytest.raises(TypeError, match=r"real_input=True needs real .*complex64\. Pass"):
            transform(torch.zeros(8, dtype=torch.complex64))


@pytest.mark.parametrize("name", ["cosine", "sine"])
def test_integers_are_transformed_as_numbers(name):
    transform = TRANSFORMS[name].build(axis_spec(name, "dft", 8, 5), TransformOptions())
    counts = torch.arange(8)
    torch.testing.assert_close(transform(counts), transform(counts.float()))
