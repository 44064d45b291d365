"""Constants of a module that are exact in every dtype and outside of any trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes


def outside_of_traces() -> AbstractContextManager[None]:
    """Return a context in which tensors are made that outlive the call.

    Without it, a tensor made during `torch.inference_mode` cannot take part in later training, and
    a tensor made during `torch.export` (a FakeTensor) or under `torch.device("meta")` has no
    values. torch.compile needs no such context, because it traces the making of tensors as well.
    """
    return nullcontext() if torch.compiler.is_dynamo_compiling() else _outside()


@contextmanager
def _outside() -> Iterator[None]:
    tracing = torch._C._get_tracing_state()  # of torch.jit.trace
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        with torch.inference_mode(False), torch._C.DisableTorchFunction(), _disable_current_modes():
            yield
    finally:
        torch._C._set_tracing_state(tracing)  # type: ignore[attr-defined]


def versions(*tensors: Tensor) -> tuple[tuple[int, int], ...]:
    """Return numbers that change when one of the tensors is exchanged, or changed in place."""
    # tensors of torch.inference_mode do not count their changes
    return tuple((id(t), 0 if t.is_inference() else t._version) for t in tensors)


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the real dtype of constants: single precision at least, as complex numbers need it."""
    return torch.float64 if dtype in (torch.float64, torch.complex128) else torch.float32


class Constants:
    """Tensors that are made in float64 and handed out in the precision and on the device asked for.

    They are neither parameters nor in the state dict, so `.double()` does not inherit float32
    rounding. Integers keep their dtype.

    Parameters
    ----------
    source
        The tensors on the CPU, as float64, complex128 or integers, or a function that makes them.
        The function is called again for another precision or device, so that nothing is stored
        twice.
    """

    def __init__(self, source: Sequence[Tensor] | Callable[[], Sequence[Tensor]]) -> None:
        self._source = source
        self._cast: tuple[torch.dtype, torch.device, list[Tensor]] | None = None

    def like(self, reference: Tensor) -> list[Tensor]:
        """Return the tensors in the precision and on the device of a real or complex reference."""
        if self._cast is None or self._cast[:2] != (reference.dtype, reference.device):
            with outside_of_traces():
                made = self._made(reference.dtype, reference.device)
            if torch.compiler.is_dynamo_compiling():  # what a trace makes is not kept
                return made
            self._cast = (reference.dtype, reference.device, made)
        return self._cast[2]

    def _made(self, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
        real = working_dtype(dtype)
        complex_ = torch.promote_types(real, torch.complex64)
        tensors = []
        for tensor in self._source() if callable(self._source) else self._source:
            if tensor.is_complex():
                tensor = tensor.to(complex_)
            elif tensor.is_floating_point():
                tensor = tensor.to(real)
            tensors.append(tensor.to(device))
        return tensors
