"""Choose the path of a kernel: its own backward pass or operations of torch, Triton or not."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.autograd import forward_ad

from monarch_sciml._checks import message


def needs_plain_operations(*tensors: Tensor) -> bool:
    """Return whether torch.func, forward-mode autograd, a tracer or the compiler is at work. A
    kernel with a backward pass of its own must then use plain operations.
    """
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return True
    if torch.jit.is_tracing():
        return True
    if getattr(forward_ad, "_current_level", 0) < 0:  # outside of forward mode: the usual case
        return False
    return any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)


def fits_kernel(*tensors: Tensor | None) -> bool:
    """Return whether a kernel with a backward pass of its own takes these tensors.

    They must be real, on a CPU, of one precision, single or double; and neither autocast nor a
    tracer nor torch.func may be at work. Sizes are compared after it: a traced one must not be.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    if needs_plain_operations(*given) or torch.is_autocast_enabled("cpu"):
        return False
    kinds = {(tensor.dtype, tensor.device.type) for tensor in given}
    return len(kinds) == 1 and kinds <= {(torch.float32, "cpu"), (torch.float64, "cpu")}


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast; entering one costs more than small products do."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def with_graph(
    plain: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    gradient: Tensor,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Differentiate the plain form of a Function with respect to the inputs that need it, so that
    the gradients can be differentiated again where gradients are recorded.
    """
    graph = torch.is_grad_enabled()
    with torch.enable_grad():
        given = [t if t is None or t.requires_grad else t.detach().requires_grad_() for t in inputs]
        wanted = [t for t, need in zip(given, needs) if need and t is not None]
        found = iter(torch.autograd.grad(plain(*given), wanted, gradient, create_graph=graph))
    return tuple(next(found) if need and t is not None else None for t, need in zip(given, needs))


class use_triton(AbstractContextManager["use_triton"]):
    """Switch the Triton kernels on or off, for good or for a `with` block.

    Parameters
    ----------
    enabled
        Whether to use the kernels for data on a GPU whose shape and precision they support.

    Raises
    ------
    ModuleNotFoundError
        When they are switched on and Triton is not installed.

    Notes
    -----
    The kernels are off at first, unless the environment variable MONARCH_SCIML_TRITON is "1" when
    the package is imported: torch's own products (cuBLAS) are the default until the kernels have
    been timed on a GPU. They are tested in Triton's interpreter and compiled for compute
    capabilities 8.0 and 9.0; no speed is claimed. Data on a CPU never take them, except under
    TRITON_INTERPRET=1. The switch is one for all threads.

    Examples
    --------
    >>> with use_triton(False):
    ...     pass
    """

    _enabled = os.environ.get("MONARCH_SCIML_TRITON", "0") == "1"

    def __init__(self, enabled: bool = True) -> None:
        if enabled:
            _require_triton()
        self._before = use_triton._enabled
        use_triton._enabled = bool(enabled)

    def __enter__(self) -> use_triton:
        return self

    def __exit__(self, *_: object) -> None:
        use_triton._enabled = self._before


def triton_enabled() -> bool:
    """Return whether the Triton kernels are switched on."""
    return use_triton._enabled


def _require_triton() -> None:
    if importlib.util.find_spec("triton") is None:
        rule = "the Triton kernels need the package triton"
        remedy = "Install it: pip install 'monarch_sciml[triton]'."
        raise ModuleNotFoundError(message(rule, "no such package", remedy))
