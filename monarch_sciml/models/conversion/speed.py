"""Measure whether a structured layer is faster than the dense one that it replaces."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from monarch_sciml.models.conversion.dense_layers import kind_of, matrix_of


def is_faster(layer: nn.Module, dense: nn.Module, n_vectors: int, rounds: int = 9) -> bool:
    """Return whether a structured layer takes less time than the dense one it replaces.

    The forward and backward passes of the two layers on `n_vectors` vectors are timed in turn. The
    medians of processor time (CPU) or elapsed time (GPU) are compared.
    """
    weight = dense.get_parameter("weight")
    clock = time.perf_counter if weight.is_cuda else time.process_time
    kind = kind_of(dense)
    axis = -1 if kind is None else kind.channel_axis
    shape = [1] * -axis
    shape[0], n_in = 1, matrix_of(dense).shape[1]
    x = torch.randn(n_vectors, n_in, device=weight.device, dtype=weight.dtype)
    if axis != -1:  # one sample whose points are the vectors
        x = x.T.reshape(1, n_in, n_vectors, *shape[2:])
    times: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds + 2):
        for structured, module in ((False, dense), (True, layer)):
            begin = clock()
            with torch.enable_grad():
                y = module(x.detach().requires_grad_())
                leaves = [p for p in module.parameters() if p.requires_grad]
                torch.autograd.grad(y.sum(), leaves)
            if weight.is_cuda:
                torch.cuda.synchronize()
            if number >= 2:
                times[structured].append(clock() - begin)
    return statistics.median(times[True]) < statistics.median(times[False])
