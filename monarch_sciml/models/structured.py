"""A class for configurations that gives a network structured matrices instead of dense ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from monarch_sciml._checks import message
from monarch_sciml.models.conversion.plan import Structure
from monarch_sciml.models.convert import monarchize
from monarch_sciml.models.network import Network, network_from_record, network_record


class StructuredNetwork(Network):
    """Build a network and give it structured linear layers, to be trained from scratch.

    The layers are those that `monarchize(linear=True)` converts. In a configuration the network to
    convert is an option of this one, so that a dense network and its Monarch form differ by two
    lines. With `start_from` of a contender the dense weights of a trained run are projected instead
    (dense-to-sparse), and with `densify_at` of the optimisation the matrices are multiplied out
    again before the training ends (sparse-to-dense).

    Parameters
    ----------
    grid_shape, in_channels, out_channels
        Sizes of the data, which are passed to the wrapped network.
    network
        The class of the dense network and its options: a function that is called with the sizes of
        the data, or the record of a network that `from_pretrained` found in `config.json`.
    structure, parameters, n_blocks, rank, order, include, exclude, min_features
        The attributes of `LinearConversion`, which say which layers are converted and to what.
        Patterns match the names of layers within the wrapped network.

    Raises
    ------
    TypeError
        When `network` is neither, as after `from_pretrained` of a network whose inner one is none
        of this package: pass `network` to it.
    ValueError
        When no layer can be converted, or a pattern matches none.

    Examples
    --------
    >>> import torch
    >>> from functools import partial
    >>> from monarch_sciml.models import TransformerOperator
    >>> dense = partial(TransformerOperator, patch_size=4, hidden_channels=32, n_layers=1)
    >>> network = StructuredNetwork((16, 16), 1, 1, network=dense)
    >>> type(network.network.blocks[0].projection).__name__
    'MonarchLinear'
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        in_channels: int | None = None,
        out_channels: int | None = None,
        *,
        network: Callable[[tuple[int, ...]], nn.Module],
        structure: Structure = "monarch",
        parameters: float = 0.5,
        n_blocks: int | Mapping[str, int] | None = None,
        rank: int | Mapping[str, int] | None = None,
        order: Literal["strided", "contiguous"] = "strided",
        include: str | list[str] | None = None,
        exclude: str | list[str] = [],  # noqa: B006 - never changed
        min_features: int = 1,
    ) -> None:
        super().__init__()
        sizes: dict[str, Any] = {"in_channels": in_channels, "out_channels": out_channels}
        sizes = {name: size for name, size in sizes.items() if size is not None}
        if isinstance(network, Mapping):
            self._build: Callable[[], nn.Module] = partial(network_from_record, network)
        elif callable(network):
            self._build = partial(network, grid_shape, **sizes)
        else:
            rule = "`network` must be the class of the dense network, with its options"
            raise TypeError(message(rule, type(network).__name__, "Pass functools.partial(…)."))
        self._options: dict[str, Any] = {
            "structure": structure, "parameters": parameters, "n_blocks": n_blocks, "rank": rank,
            "order": order, "include": include, "exclude": exclude, "min_features": min_features,
        }  # fmt: skip
        dense = self._build()
        known = isinstance(dense, Network)
        self._hub_mixin_config = {
            **(self._hub_mixin_config or {}),  # pyright: ignore[reportGeneralTypeIssues]
            "network": network_record(dense) if known else None,
        }
        self.network = self._converted(dense, start="random")

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the result of the wrapped network."""
        return self.network(*inputs)

    def dense_network(self) -> nn.Module:
        """Return the wrapped network as it is without the conversion, with new weights."""
        return self._build()

    def project(self, dense: nn.Module) -> None:
        """Take the weights of a dense network and project its matrices to the nearest structured
        ones.

        Parameters
        ----------
        dense
            A trained `dense_network()`, which is not changed.
        """
        self.network = self._converted(dense, start="project")

    def _converted(self, dense: nn.Module, start: Literal["project", "random"]) -> nn.Module:
        return monarchize(dense, spectral=False, linear=True, start=start, **self._options)
