"""The Triton kernels compiled ahead of time for GPUs that need not be there.

Every launch of a forward and a backward pass goes through Triton's own binder and compiler, with
the arguments it would have on a GPU; only the launch itself is left out.
"""

import re

import pytest
import torch

from monarch_sciml.kernels import fused_monarch_blocks, spectral_convolution, use_triton
from monarch_sciml.kernels.gpu import launch
from monarch_sciml.kernels.gpu import spectral as triton_spectral

pytest.importorskip("triton", reason="needs the package triton")

KERNEL = launch.kernel
SMALL = {"BG": 1, "BJ": 16, "BK": 16, "BO": 16}  # blocks of the products: quick to compile
# compute capability: bytes of shared memory that a program may have
SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024}


class NoDevice:
    """What Triton asks of a driver before it launches."""

    def __init__(self, capability):
        self.capability = capability

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)


class CompileOnly:
    """A kernel that is compiled for the first of its choices of blocks and not launched."""

    def __init__(self, name, function, log, blocks):
        self.name, self.function, self.log, self.blocks = name, function, log, blocks

    def __getitem__(self, grid):
        def compile_it(*arguments, **constants):
            blocks = {**launch.first_blocks(self.name), **constants}
            mine = {*self.function.arg_names, "num_warps", "num_stages"}
            blocks.update({name: size for name, size in self.blocks.items() if name in mine})
            programs = grid(blocks) if callable(grid) else grid
            assert all(count > 0 for count in programs)
            kernel = self.function.warmup(*arguments, grid=programs, **blocks)
            self.log.append((self.name, kernel))

        return compile_it


@pytest.fixture
def compile_for(monkeypatch, tmp_path):
    """Return a function that makes launches compile for a compute capability, into a list."""
    from triton.runtime import driver

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    kernels = "monarch_sciml.kernels"
    monkeypatch.setattr(f"{kernels}.gpu.spectral.fits", lambda x, matrices: True)
    monkeypatch.setattr(f"{kernels}.gpu.blocks.runs_triton", lambda x: True)
    before = torch.get_float32_matmul_precision(), driver._active

    def compile_for(capability, precision, **blocks):
        log = []
        driver.set_active(NoDevice(capability))
        torch.set_float32_matmul_precision(precision)
        functions = launch.decorated.__wrapped__(interpret=False).items()  # compile anew
        table = {name: CompileOnly(name, f, log, blocks) for name, f in functions}
        monkeypatch.setattr(f"{kernels}.gpu.launch.kernel", lambda name, **_: table[name])
        return log

    yield compile_for
    torch.set_float32_matmul_precision(before[0])
    driver._active = before[1]
    KERNEL.cache_clear()  # what a driver that is none was told
    launch.decorated.cache_clear()


def layer(grid, modes, *, dtype=torch.float32, backward=True):
    channels, complex_ = 16, torch.complex64
    x = torch.randn(2, channels, *grid).to(dtype)
    weight = torch.randn(*modes, channels, channels, dtype=complex_)
    analysis = [torch.randn(k, n, dtype=complex_) for k, n in zip(modes, grid)]
    synthesis = [torch.randn(n, k, dtype=complex_) for k, n in zip(modes, grid)]
    leaves = [x, weight, *analysis, *synthesis, torch.randn(channels)]
    leaves = [leaf.requires_grad_(backward) for leaf in leaves]
    dims = len(grid)
    with use_triton():
        y = spectral_convolution(x, weight, leaves[2 : 2 + dims], leaves[2 + dims : -1], leaves[-1])
    if backward:
        y.sum().backward()


def tensor_core_operands(kernel):
    """Return the types of what the tensor cores multiply, and the kinds of instruction."""
    found = re.findall(r"\b(mma\.sync|wgmma\.mma_async)\S*\.f32\.(tf32|bf16)\.", kernel.asm["ptx"])
    return {kind for _, kind in found}, {name for name, _ in found}


@pytest.mark.parametrize(("capability", "backward"), [(80, False), (90, True)])
def test_a_step_of_the_layer(compile_for, capability, backward):
    log = compile_for(capability, "medium", **SMALL)
    layer((64, 64), (12, 7), backward=backward)
    expected = {"analyse", "product", "synthesise"}
    gradients = {"first_gradient", "last_gradient"} if backward else set()
    assert {name for name, _ in log} == expected | gradients
    for _, kernel in log:
        assert len(kernel.asm["cubin"]) > 1000
        assert tensor_core_operands(kernel)[0] == {"tf32"}
        assert kernel.metadata.shared <= SHARED_MEMORY[capability]
    assert f"sm_{capability}" in log[0][1].asm["ptx"]


def test_one_axis(compile_for):
    log = compile_for(80, "medium", **SMALL)
    layer((64,), (12,))
    assert {name for name, _ in log} == {"product"}
    assert all(tensor_core_operands(kernel)[0] == {"tf32"} for _, kernel in log)


def test_bfloat16_data(compile_for):
    log = compile_for(90, "medium", **SMALL)
    layer((64, 64), (12, 7), dtype=torch.bfloat16, backward=False)
    found = {name: tensor_core_operands(kernel)[0] for name, kernel in log}
    # full-size data in bfloat16, kept modes in TF32
    assert found["analyse"] == found["synthesise"] == {"bf16", "tf32"}


def test_hopper_multiplies_large_blocks_by_warpgroups(compile_for):
    log = compile_for(90, "medium", **SMALL, BH=64, BW=64, num_warps=4, num_stages=2)
    layer((64, 64), (64, 33), backward=False)
    used = {name: tensor_core_operands(kernel)[1] for name, kernel in log if name != "product"}
    assert used == {"analyse": {"wgmma.mma_async"}, "synthesise": {"wgmma.mma_async"}}


def test_full_precision_leaves_the_tensor_cores_out(compile_for):
    log = compile_for(80, "highest", **SMALL)
    layer((32,), (7,), backward=False)
    assert len(log) == 3
    assert all(tensor_core_operands(kernel)[0] == set() for _, kernel in log)


@pytest.mark.parametrize("capability", SHARED_MEMORY)
def test_the_monarch_transform(compile_for, capability):
    log = compile_for(capability, "high")
    x = torch.randn(4, 320, dtype=torch.complex64)
    first, second = (torch.randn(*s, dtype=x.dtype) for s in ((20, 16, 16), (16, 20, 20)))
    mask = torch.ones(320)
    fused_monarch_blocks(x, first, second, synthesis=False, before=x, after=mask)
    ((name, kernel),) = log
    assert name == "monarch" and len(kernel.asm["cubin"]) > 1000
    assert tensor_core_operands(kernel)[0] == {"tf32"}
    assert kernel.metadata.shared <= SHARED_MEMORY[capability]
    # the two factors meet in memory that all threads of a program see
    assert kernel.asm["ptx"].count("bar.sync") >= 2


def test_the_autotuner_takes_every_choice(compile_for, monkeypatch):
    compile_for(80, "medium")
    compiled = []

    class Tuned:
        """What `launch` uses, without timing."""

        def __init__(self, name, **options):
            self.tuner = KERNEL(name, **options)

        def __getitem__(self, grid):
            def warm_up(*arguments, **constants):
                compiled.extend(self.tuner.warmup(*arguments, grid=(1,), **constants))

            return warm_up

    monkeypatch.setattr("monarch_sciml.kernels.gpu.launch.kernel", Tuned)
    planes = [torch.randn(2, 12, 64), torch.randn(2, 7, 64)]
    triton_spectral.synthesise(torch.randn(2, 4, 84), planes, (2, 2, 64, 64), torch.float32)
    assert len(compiled) == len(launch._CHOICES["synthesise"][1])
    for kernel, choice in zip(compiled, launch._CHOICES["synthesise"][1]):
        assert kernel.metadata.num_warps == choice["num_warps"]
        assert kernel.metadata.shared <= SHARED_MEMORY[80]


def test_every_choice_names_blocks_of_its_kernel():
    for name, (function, choices, key) in launch._CHOICES.items():
        constants = {k for k, kind in function.__annotations__.items() if kind == "constexpr"}
        assert set(key) <= set(function.__annotations__), name
        for blocks in choices:
            assert set(blocks) <= constants | {"num_warps", "num_stages"}, name
            assert all(size & (size - 1) == 0 for k, size in blocks.items() if k != "num_stages"), (
                name
            )
