"""A weight that is computed from factors, for code that reads the `weight` of a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from monarch_sciml._checks import message


class ComputedWeight(Tensor):
    """A weight matrix that is computed from factors and can be read but not written in place.

    Every operation returns plain tensors. One that writes raises TypeError, because the write would
    be lost; `.data` and `.detach()` keep the protection.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation on the plain matrix; refuse one that writes."""
        name = getattr(func, "__name__", "")
        in_place = name.endswith("_") and not name.endswith("__")
        if in_place or name in _WRITES:
            rule = "the `weight` of a structured layer is computed from its factors: read it only"
            remedy = "Assign a matrix, layer.weight = matrix, to take the nearest structured one."
            raise TypeError(message(rule, name, remedy))
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
        # the attribute `data` is reached by its descriptor, whose name is __get__
        protected = func in (Tensor.detach, Tensor.data.__get__)  # pyright: ignore[reportAttributeAccessIssue]
        if not protected and isinstance(result, ComputedWeight):
            return result.as_subclass(Tensor)
        return result.as_subclass(cls) if protected else result


_WRITES = ("__setitem__", "__set__")
