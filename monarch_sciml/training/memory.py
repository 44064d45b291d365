"""Train with less memory: batches in parts, recomputed activations, a divided optimiser state.

None of the three changes what is computed, but for the order of sums. Noise and dropout are drawn
anew for every part of a batch, and batch normalisation sees one part at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.utils.checkpoint import checkpoint

from monarch_sciml.training.objective import Batch


def parts_of(batch: Batch, n_parts: int) -> Iterator[tuple[Batch, float]]:
    """Divide a batch for gradient accumulation.

    Parameters
    ----------
    batch
        Tensors (B, ...).
    n_parts
        Largest number of parts, which have equal numbers of samples, or one less.

    Returns
    -------
    Each part with its share of the batch. Losses that are means over samples add up to that of the
    batch when each is multiplied by its share.
    """
    n_samples = len(next(iter(batch.values())))
    n_parts = min(n_parts, n_samples)
    for part in range(n_parts):
        start, stop = (n_samples * p // n_parts for p in (part, part + 1))
        yield (
            {name: values[start:stop] for name, values in batch.items()},
            (stop - start) / n_samples,
        )


@contextmanager
def recomputed_activations(network: nn.Module) -> Iterator[None]:
    """Keep the inputs of a network's blocks only, and compute the rest again for the gradient.

    The blocks are the children of the network, a list of modules counting as its entries. A network
    with a single child counts as that child. The state dict does not change, and random numbers
    (dropout) are the same both times.

    Parameters
    ----------
    network
        The network, without a wrapper.

    References
    ----------
    Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174.
    """
    changed = list(_blocks(network))
    for block in changed:
        block.forward = wraps(block.forward)(
            partial(checkpoint, block.forward, use_reentrant=False)
        )
    try:
        yield
    finally:
        for block in changed:
            del block.forward  # that of the class is back


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    children = list(network.children())
    if len(children) == 1 and not isinstance(network, nn.ModuleList | nn.ModuleDict):
        inner = list(_blocks(children[0]))
        children = inner or children
    for child in children:
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _blocks(child)
        else:
            yield child


class ShardedAdam(Adam):
    """Adam whose state is divided among the processes of the job (ZeRO, stage 1).

    Each process keeps the moments of its share of the parameters, updates those, and sends them to
    the others. The update is that of `torch.optim.Adam`.

    Parameters
    ----------
    groups
        Parameter groups, the same in every process.

    Notes
    -----
    Parameters may be real and complex. `ZeroRedundancyOptimizer` and `fully_shard` (FSDP2) of
    PyTorch 2.13 refuse networks that have both, as every FNO does.

    References
    ----------
    Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models",
    SC 2020, arXiv 1910.02054.
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups)
        loads = [0] * dist.get_world_size()
        self._owner: dict[nn.Parameter, int] = {}
        for p in sorted(self._parameters(), key=lambda p: -p.numel()):  # the largest first
            self._owner[p] = loads.index(min(loads))
            loads[self._owner[p]] += p.numel()

    def _parameters(self) -> list[nn.Parameter]:
        return [p for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update the parameters of this process and receive those of the others."""
        others = {p: p.grad for p, owner in self._owner.items() if owner != dist.get_rank()}
        for p in others:
            p.grad = None  # Adam leaves out what has no gradient
        loss = super().step(closure)
        for p, gradient in others.items():
            p.grad = gradient
        for p in self._parameters():
            dist.broadcast(p.data, src=self._owner[p])
        return loss

    def whole_state(self) -> dict[str, Any]:
        """Return the state of all parameters on the CPU in the first process, else an empty dict.

        All processes must call this.
        """
        own = self.state_dict()
        states = {
            key: {k: v.cpu() if isinstance(v, Tensor) else v for k, v in state.items()}
            for key, state in own["state"].items()
        }
        first = dist.get_rank() == 0
        parts: list[Any] | None = [None] * dist.get_world_size() if first else None
        dist.gather_object(states, parts)
        if parts is None:
            return {}
        return {**own, "state": {key: part[key] for part in parts for key in part}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of all parameters and keep that of this process."""
        super().load_state_dict(state_dict)
        for p, owner in self._owner.items():
            if owner != dist.get_rank():
                self.state.pop(p, None)


def whole_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of an optimiser, collected in the first process if it is divided.

    All processes must call this.
    """
    inner = getattr(optimizer, "optimizer", optimizer)  # without accelerate's wrapper
    return inner.whole_state() if isinstance(inner, ShardedAdam) else optimizer.state_dict()
