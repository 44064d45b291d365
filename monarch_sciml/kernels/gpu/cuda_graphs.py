"""Replay a module as a CUDA graph, for sizes where launching takes longer than computing."""

from __future__ import annotations

from torch import Tensor, nn
from torch.cuda import make_graphed_callables

from monarch_sciml._checks import message, positive_int


def cuda_graphed(module: nn.Module, *inputs: Tensor, warmup: int = 3) -> nn.Module:
    """Record forward and backward pass of a module, and replay them from then on.

    Parameters
    ----------
    module
        A module on a CUDA device. It is changed in place: its `forward` replays the graph.
    inputs
        Samples of the arguments of the module. Later arguments must have the same shapes, dtypes,
        devices and `requires_grad`; their values are copied into the recorded tensors.
    warmup
        Number of runs before recording. The first run fills Triton's autotuner and the caches of
        transforms.

    Returns
    -------
    The module.

    Raises
    ------
    ValueError
        When a parameter, buffer or input is not on a CUDA device.

    Notes
    -----
    A spectral layer at 32 x 32 or 64 x 64 points is a dozen launches of a few microseconds of work
    each; a graph launches them together. What runs on the host is recorded once: `n_modes` must not
    change, parameters must be updated in place (as optimisers do), there is no second derivative,
    and the graph's own buffers hold results until the next call. Choose `use_triton` before. The
    gain has not been measured.

    References
    ----------
    torch.cuda.make_graphed_callables, which this calls.
    """
    positive_int("warmup", warmup)
    tensors = [*module.parameters(), *module.buffers(), *inputs]
    elsewhere = next((tensor.device for tensor in tensors if not tensor.is_cuda), None)
    if elsewhere is not None:
        rule = "a CUDA graph needs module and inputs on a CUDA device"
        raise ValueError(message(rule, elsewhere, "Move them with .cuda(), or call the module."))
    make_graphed_callables(module, inputs, num_warmup_iters=warmup, allow_unused_input=True)
    return module
