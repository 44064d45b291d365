"""Compile or interpret the Triton kernels, choose their blocks and launch them."""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

from monarch_sciml.kernels.gpu import device_blocks, device_spectral

Precision = Literal["ieee", "tf32x3", "tf32"]
Grid = tuple[int, ...] | Callable[[dict[str, Any]], tuple[int, ...]]

_PRECISION: dict[str, Precision] = {"highest": "ieee", "high": "tf32x3", "medium": "tf32"}
_HELPERS = (
    device_spectral.multiply_add,
    device_spectral.planes_at,
    device_spectral.rows_to_modes,
    device_spectral.modes_to_rows,
    device_spectral.modes_of,
    device_blocks.load_pair,
    device_blocks.complex_product,
    device_blocks.scaled,
)


def _choices(names: str, *rows: tuple[int, ...]) -> list[dict[str, int]]:
    return [dict(zip((*names.split(), "num_warps", "num_stages"), row)) for row in rows]


_IMAGE = _choices(
    "BH BW", (32, 32, 4, 2), (16, 64, 4, 3), (64, 32, 4, 3), (64, 64, 4, 2), (64, 64, 8, 3)
)
# BJ of the Monarch transform sets its scratch and its number of tiles: not among the choices
_MONARCH = _choices(
    "BG BK BO", (4, 16, 16, 4, 2), (1, 16, 16, 4, 3), (8, 16, 16, 8, 2), (2, 32, 32, 4, 2)
)
_PRODUCT = _choices(
    "BG BJ BK BO",
    (1, 64, 32, 32, 4, 3),
    (1, 128, 32, 32, 8, 3),
    (4, 16, 32, 32, 4, 2),
    (8, 16, 16, 16, 4, 2),
    (8, 16, 32, 32, 8, 2),
)
_IMAGE_KEY = ("H", "W", "K1", "K2", "PRECISION")
# Kernel, choices of blocks to time (the first one where nothing can be timed), and the arguments
# that call for a new choice.
_CHOICES: dict[str, tuple[Callable[..., Any], list[dict[str, int]], tuple[str, ...]]] = {
    "analyse": (device_spectral.analyse_kernel, _IMAGE, _IMAGE_KEY),
    "synthesise": (device_spectral.synthesise_kernel, _IMAGE, _IMAGE_KEY),
    "last_gradient": (device_spectral.last_gradient_kernel, _IMAGE, _IMAGE_KEY),
    "first_gradient": (device_spectral.first_gradient_kernel, _IMAGE, _IMAGE_KEY),
    "product": (
        device_blocks.product_kernel,
        _PRODUCT,
        ("G", "N", "K", "x_g", "x_k", "f_g", "f_k", "PRECISION"),
    ),
    "monarch": (device_blocks.monarch_kernel, _MONARCH, ("NA", "NB", "x_n", "PRECISION")),
}


def interpreted() -> bool:
    """Return whether `TRITON_INTERPRET` asks for Triton's interpreter, which runs on the CPU."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")


def runs_triton(x: Tensor) -> bool:
    """Return whether Triton serves the device of x: CUDA, or a CPU under the interpreter."""
    return x.is_cuda or (interpreted() and x.device.type == "cpu")


def precision() -> Precision:
    """Return how products of single-precision numbers are formed.

    `torch.get_float32_matmul_precision` decides: "highest" is IEEE single precision (no tensor
    cores), "high" three TF32 products (relative error about 1e-7), "medium" one (3e-4).
    """
    return _PRECISION[torch.get_float32_matmul_precision()]


def power_of_two(n: int, *, minimum: int = 16) -> int:
    """Return the least power of two that is no less than n and `minimum`."""
    return max(minimum, 1 << (n - 1).bit_length())


def loop_bound(n: int) -> int:
    """Return where a loop over n entries may end: few bounds, so that few kernels are compiled."""
    return power_of_two(n) if n <= 64 else 64 * -(-n // 64)


def operand_options(dtype: torch.dtype) -> dict[str, Any]:
    """Return the arguments DTYPE, UPCAST and PRECISION of every kernel."""
    import triton.language as tl

    half = dtype in (torch.bfloat16, torch.float16)
    kind = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}.get(dtype, tl.float32)
    return {"DTYPE": kind, "UPCAST": half and interpreted(), "PRECISION": precision()}


def launch(name: str, grid: Grid, *arguments: Any, like: Tensor, **constants: Any) -> None:
    """Run a kernel on the device and the current stream of `like`.

    Parameters
    ----------
    name
        "analyse", "synthesise", "last_gradient", "first_gradient", "product" or "monarch".
    grid
        Numbers of programs along up to three axes, or a function of the constants that returns
        them.
    arguments, constants
        The positional arguments of the kernel, and the named ones that are known when it is
        compiled.

    Notes
    -----
    On a GPU the blocks are those that were fastest when the shape was first seen, within a factor
    of two in size (Triton's autotuner, which keeps its choice in memory): a first call compiles and
    times five choices of each kernel. Under the interpreter they are fixed.
    """
    interpret = interpreted()
    if interpret:
        constants = {**first_blocks(name), **constants}
    constants["enable_fp_fusion"] = True  # the default, said aloud: Triton 3.9 warns of a change
    with _on(like.device):
        found = kernel(name, interpret=interpret, scale=like.numel().bit_length())
        found[grid](*arguments, **constants)


def _on(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@functools.cache
def kernel(name: str, *, interpret: bool, scale: int) -> Any:
    """Return a kernel that is launched as kernel[grid](...). It is interpreted, or tuned for data
    of 2^(scale - 1) to 2^scale elements.
    """
    if interpret:
        return decorated(interpret=True)[name]
    import triton

    warps = ("num_warps", "num_stages")
    configs = [
        triton.Config(
            {block: size for block, size in choice.items() if block not in warps},
            **{option: choice[option] for option in warps},
        )
        for choice in _CHOICES[name][1]
    ]
    return triton.autotune(configs, list(_CHOICES[name][2]))(decorated(interpret=False)[name])


@functools.cache
def decorated(*, interpret: bool) -> dict[str, Any]:
    """Return every kernel as an untuned function of Triton.

    Notes
    -----
    The functions are copied into a namespace of their own, where `tl` is Triton's language and the
    helpers are Triton's too. Interpreted helpers stay plain functions: Triton's interpreter would
    leave its language patched after a call of one.
    """
    import triton.language as tl
    from triton.runtime import JITFunction
    from triton.runtime.interpreter import InterpretedFunction

    scope: dict[str, Any] = {"tl": tl, "constexpr": tl.constexpr, "__name__": __name__}
    scope.update(dict.fromkeys(("Pointer", "Integer", "Block"), tl.tensor))  # in annotations
    for helper in _HELPERS:
        copy = _copied(helper, scope)
        scope[helper.__name__] = copy if interpret else JITFunction(copy)
    wrap = InterpretedFunction if interpret else JITFunction
    return {name: wrap(_copied(choice[0], scope)) for name, choice in _CHOICES.items()}


def first_blocks(name: str) -> dict[str, int]:
    """Return the blocks (and warps) of a kernel that stand first among its choices."""
    return dict(_CHOICES[name][1][0])


def _copied(function: Callable[..., Any], scope: dict[str, Any]) -> types.FunctionType:
    """Return a function that finds its globals in `scope`."""
    copy = types.FunctionType(function.__code__, scope, function.__name__)
    copy.__annotations__ = dict(function.__annotations__)
    copy.__module__ = function.__module__
    return copy


def splits(rows: int, most: int = 64) -> int:
    """Return into how many parts to divide a sum over rows: their largest divisor up to `most`."""
    return max(d for d in range(1, min(rows, most) + 1) if rows % d == 0)


def pair(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Return real and imaginary part of complex numbers as views; a real tensor twice."""
    if not tensor.is_complex():
        return tensor, tensor
    real, imag = torch.view_as_real(tensor.resolve_conj()).unbind(-1)
    return real, imag


def strides(tensor: Tensor, axes: Sequence[int]) -> list[int]:
    """Return the strides along some axes."""
    return [tensor.stride(axis) for axis in axes]
