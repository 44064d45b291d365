"""Distribution of files among processes started by `torchrun` or `accelerate launch`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

Value = TypeVar("Value")
PATIENCE = timedelta(days=7)
"""How long the first process waits for the others: they may have many files each."""


@dataclass(frozen=True)
class Processes:
    """The processes of a job.

    Attributes
    ----------
    rank
        Number of this process; the first is 0.
    size
        Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the first process, which writes messages."""
        return self.rank == 0

    def from_first(self, make: Callable[[], Value]) -> Value | None:
        """Return what `make` gives in the first process; None in the others when it fails there."""
        values: list[Value | None] = [None]
        try:
            if self.first:
                values = [make()]
        finally:
            if self.size > 1:
                dist.broadcast_object_list(values)  # also after a failure: the others wait for it
        return values[0]

    def gathered(self, value: Any) -> list[Any]:
        """Return the values of all processes in the first, nothing in the others.

        It waits for all of them.
        """
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.first else None
        dist.gather_object(value, values)
        return values or []

    def device(self, device: str) -> torch.device:
        """Return the device of this process: "cuda" is shared out among those of the machine."""
        if device == "cuda" and self.size > 1:
            local = int(os.environ.get("LOCAL_RANK", self.rank))
            return torch.device("cuda", local % torch.cuda.device_count())
        return torch.device(device)


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes of the job that RANK and WORLD_SIZE name; a process alone is its own job.

    They exchange Python objects through gloo, which needs no GPU.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Processes()
        return
    own = not dist.is_initialized()
    if own:
        dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        if own:
            dist.destroy_process_group()
