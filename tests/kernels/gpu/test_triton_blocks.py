"""The fused Monarch transform, interpreted on the CPU and on a GPU where there is one."""

import pytest
import torch

from monarch_sciml.kernels import fused_monarch_blocks, monarch_blocks, use_triton
from monarch_sciml.kernels.gpu.blocks import reference_fused_monarch_blocks
from monarch_sciml.physics.sense_operator import SenseOperator
from monarch_sciml.transforms import MonarchTransform

pytest.importorskip("triton", reason="needs the package triton")

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.cuda, cuda])]


@pytest.fixture(autouse=True)
def interpreter(request, monkeypatch):
    """Interpret the kernels, but compile them in tests on a GPU."""
    on_gpu = "device" in request.fixturenames and request.getfixturevalue("device") == "cuda"
    monkeypatch.setenv("TRITON_INTERPRET", "0" if on_gpu else "1")


def blocks(sizes, *, synthesis, dtype=torch.complex64, device="cpu"):
    torch.manual_seed(0)
    n_1, n_2 = sizes
    outer = torch.randn(n_1, n_2, n_2, dtype=dtype, device=device)
    inner = torch.randn(n_2, n_1, n_1, dtype=dtype, device=device)
    return (outer, inner) if synthesis else (inner, outer)


def close(a, b, tolerance=1e-5):
    assert a.shape == b.shape and a.dtype == b.dtype
    assert (a - b).norm() <= tolerance * b.norm()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("synthesis", [False, True])
@pytest.mark.parametrize(("sizes", "shape"), [((3, 5), (2, 3)), ((17, 18), (2,)), ((1, 7), ())])
def test_equals_the_reference(sizes, shape, synthesis, device):
    pair = blocks(sizes, synthesis=synthesis, device=device)
    x = torch.randn(*shape, sizes[0] * sizes[1], dtype=torch.complex64, device=device)
    y = fused_monarch_blocks(x, *pair, synthesis=synthesis)
    close(y, reference_fused_monarch_blocks(x, *pair, None, None, synthesis))


@pytest.mark.parametrize("device", DEVICES)
def test_any_layout(device):
    pair = blocks((3, 4), synthesis=False, device=device)
    x = torch.randn(2, 3, 2, 5, 12, dtype=torch.complex64, device=device)
    for view in (x, x.mT.contiguous().mT, x[:1, :1].expand_as(x), x[..., :0, :], x.conj()):
        y = fused_monarch_blocks(view, *pair, synthesis=False)
        close(y, reference_fused_monarch_blocks(view, *pair, None, None, False))
    swapped = x[0].mT.contiguous().mT
    assert fused_monarch_blocks(swapped, *pair, synthesis=False).mT.is_contiguous()


@pytest.mark.parametrize("before", [None, torch.float32, torch.complex64])
@pytest.mark.parametrize("data", [torch.float32, torch.complex64])
@pytest.mark.parametrize("factors", [torch.float32, torch.complex64])
def test_real_and_complex_numbers_and_their_gradients(before, data, factors):
    pair = blocks((2, 3), synthesis=False, dtype=factors)
    x = torch.randn(2, 1, 3, 6, dtype=data)
    front = None if before is None else torch.randn(4, 3, 6, dtype=before)
    behind = torch.randn(6, dtype=factors)
    values = [t if t is None else t.requires_grad_() for t in (x, *pair, front, behind)]
    leaves = [t for t in values if t is not None]
    y = fused_monarch_blocks(*values[:3], synthesis=False, before=values[3], after=values[4])
    expected = reference_fused_monarch_blocks(*values, False)
    close(y, expected)
    probe = torch.randn_like(y)
    found, wanted = (torch.autograd.grad(out, leaves, probe) for out in (y, expected))
    for a, b in zip(found, wanted):
        close(a, b)
    (alone,) = torch.autograd.grad(
        fused_monarch_blocks(x, *pair, synthesis=False, before=front, after=behind), x, probe
    )
    close(alone, wanted[0])


def test_second_derivatives():
    first, second = blocks((2, 3), synthesis=True)
    x = torch.randn(4, 6, dtype=torch.complex64, requires_grad=True)
    leaves = [x, first.requires_grad_(), second.requires_grad_()]
    found = []
    for y in (
        fused_monarch_blocks(*leaves, synthesis=True),
        reference_fused_monarch_blocks(*leaves, None, None, True),
    ):
        (once,) = torch.autograd.grad(y.abs().pow(4).sum(), x, create_graph=True)
        found.append(torch.autograd.grad(once.abs().square().sum(), leaves))
    for a, b in zip(*found):
        close(a, b, 1e-4)


def test_under_torch_func():
    pair = blocks((2, 3), synthesis=False)
    x = torch.randn(2, 4, 6, dtype=torch.complex64)
    mapped = torch.vmap(lambda one: fused_monarch_blocks(one, *pair, synthesis=False))(x)
    close(mapped, fused_monarch_blocks(x, *pair, synthesis=False))


@pytest.mark.parametrize("device", DEVICES)
def test_coil_images_to_masked_kspace_as_by_fft(device):
    height, width, coils = 12, 16, 3
    torch.manual_seed(0)
    image = torch.randn(height, width, dtype=torch.complex64, device=device)
    maps = torch.randn(coils, height, width, dtype=torch.complex64, device=device)
    mask = (torch.rand(height, width, device=device) > 0.5).float()

    def factors(n):
        left, right = MonarchTransform(n, centered=True).to(device).left_right
        return right.detach(), left.detach()

    rows = fused_monarch_blocks(image, *factors(width), synthesis=False, before=maps)
    kspace = fused_monarch_blocks(rows.mT, *factors(height), synthesis=False, after=mask.mT).mT
    close(kspace, SenseOperator(mask, maps).forward(image))


def test_large_transforms_use_it_when_switched_on(monkeypatch):
    transform = MonarchTransform(130)  # 10 x 13
    x = torch.randn(2, 130, dtype=torch.complex64)
    used = []
    monkeypatch.setattr(
        "monarch_sciml.kernels.gpu.blocks.transformed",
        lambda x, *rest, adjoint: used.append(adjoint) or torch.fft.fft(x, norm="ortho"),
    )
    transform(x)
    assert not used
    with use_triton():
        close(transform(x).detach(), torch.fft.fft(x, norm="ortho"))
    assert used == [False]


def test_the_switched_path_equals_torch_fft():
    transform = MonarchTransform(130)
    x = torch.randn(2, 130, dtype=torch.complex64)
    with use_triton():
        close(transform(x).detach(), torch.fft.fft(x, norm="ortho"))
        close(transform.adjoint(x).detach(), torch.fft.ifft(x, norm="ortho"))


def test_other_precision_and_devices_are_refused(monkeypatch):
    first, second = blocks((2, 3), synthesis=False, dtype=torch.complex128)
    x = torch.randn(2, 6, dtype=torch.complex64)
    with pytest.raises(TypeError, match=r"takes single precision, got torch\.complex128"):
        fused_monarch_blocks(x, first, second, synthesis=False)
    with use_triton():  # the switched function goes elsewhere instead
        y = monarch_blocks(x, first, second, synthesis=False)
    assert y.dtype == torch.complex128
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(ValueError, match="CUDA device, or TRITON_INTERPRET=1, got cpu"):
        fused_monarch_blocks(x, first.cfloat(), second.cfloat(), synthesis=False)
