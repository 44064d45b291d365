"""The Fourier neural operator with its transform as an argument: FNO or Monarch-NO."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, positive_int
from monarch_sciml.layers import MonarchSpectralConv
from monarch_sciml.models.network import Network
from monarch_sciml.models.operators.convolution_blocks import check_field
from monarch_sciml.models.operators.operator_grid import (
    DomainPadding,
    StartName,
    check_modes,
    padded_grid,
    padding_fractions,
    resized,
)
from monarch_sciml.transforms.named import TransformName, TransformOptions, check_options


class FNO(Network):
    """Lift, convolve in a spectral basis n_layers times, project; the basis is `transform`.

    v_{l+1} = act(W_l v_l + S_l R_l A_l v_l), with A_l and S_l the DFT and its inverse (FNO) or
    learnable transforms that start there (Monarch-NO). The network around them is neuralop's own
    FNO; what surrounds the spectral layer takes large fields in fewer passes, equal up to rounding.
    With `transform="fourier"` its spectral layer is neuralop's too: the baseline is the library's.
    Only along an axis other than the last with an odd number of points (padding included) neuralop
    2.0.0 misplaces every frequency by one. Built for such a grid, the layer is
    `MonarchSpectralConv(transform="fourier")`, which equals neuralop's on even grids; evaluated on
    one, neuralop's layer runs on one point more, between trigonometric interpolations.

    Parameters
    ----------
    grid_shape
        Grid to train on. The network runs on other grids as well; learned transforms are resampled.
    in_channels, out_channels
        Channels of input and output field.
    n_modes
        Modes kept along each axis, both signs, as in neuralop (the paper's `modes` is half of it).
    hidden_channels
        Width.
    n_layers
        Spectral layers.
    transform
        "fourier" (neuralop's layer), "monarch", "dense", "corrected", "cosine", "sine" or "pod"
        (PODNO). The last is the POD basis of the training fields, with as many modes as the product
        of `n_modes`.
    init, per_channel, transform_rank, transform_order, grid_blocks, mode_blocks, per_axis
        Options of the learnable transforms, with the meaning they have in `MonarchSpectralConv`.
    learned_positions
        Number of learned fields, the same for every sample, that are appended to the input. From
        them a network with a fixed transform can learn a medium that is not homogeneous. On another
        grid they are interpolated trigonometrically.
    factorization, rank
        Hold the spectral weights as a product of small tensors, with about `rank` times the dense
        parameters: "tucker" with rank 0.1 is neuralop's TFNO; "cp" and "tt" have the meaning they
        have in neuralop.
    domain_padding
        Zeros added on both sides of each axis, as a fraction of its length (one for all axes or one
        per axis); for walls. None for periodic fields.
    positional_embedding
        Whether to append the coordinates to the input channels.
    lifting_channel_ratio, projection_channel_ratio
        Hidden width of the lifting and projection networks, in units of `hidden_channels`; 0 lifts
        by one linear map.
    channel_mlp
        Whether every layer has a two-layer network over the channels, as neuralop's has by default.

    Raises
    ------
    ValueError
        When n_modes and grid_shape differ in length, n_modes exceeds the (padded) grid, another
        option is out of range, or `transform` does not have it.

    References
    ----------
    Li et al., arXiv 2010.08895; Kossaifi et al., neuraloperator 2.0; Dao et al., arXiv 2204.00595;
    TFNO: Kossaifi et al., arXiv 2310.00120.

    Examples
    --------
    >>> import torch
    >>> network = FNO((16, 16), 10, 1, n_modes=(8, 8), hidden_channels=8, transform="monarch")
    >>> network(torch.randn(2, 10, 16, 16)).shape
    torch.Size([2, 1, 16, 16])
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        n_modes: tuple[int, ...],
        hidden_channels: int = 32,
        n_layers: int = 4,
        transform: TransformName = "fourier",
        init: StartName = "dft",
        per_channel: bool = False,
        transform_rank: int = 1,
        transform_order: int = 2,
        grid_blocks: int | tuple[int, ...] | None = None,
        mode_blocks: int | tuple[int, ...] | None = None,
        per_axis: bool = False,
        learned_positions: int = 0,
        factorization: Literal["tucker", "cp", "tt"] | None = None,
        rank: float = 1.0,
        domain_padding: DomainPadding = None,
        positional_embedding: bool = True,
        lifting_channel_ratio: float = 2,
        projection_channel_ratio: float = 2,
        channel_mlp: bool = True,
    ) -> None:
        super().__init__()
        fractions = padding_fractions(domain_padding, len(grid_shape))
        padded = padded_grid(grid_shape, fractions)
        check_modes(n_modes, padded)
        _check_factorization(factorization, rank)
        _check_ratios(lifting_channel_ratio, projection_channel_ratio, hidden_channels)
        from neuralop.models import FNO as NeuralopFNO

        from monarch_sciml.models.operators.neuralop_blocks import take_fast_paths
        from monarch_sciml.models.operators.neuralop_layer import (
            DomainPadding,
            GridEmbedding,
            SpectralConv,
        )

        ours = partial(
            MonarchSpectralConv,
            transform=transform,
            grid_shape=padded,
            init=init,
            per_channel=per_channel,
            transform_rank=transform_rank,
            transform_order=transform_order,
            grid_blocks=grid_blocks,
            mode_blocks=mode_blocks,
            per_axis=per_axis,
        )
        misplaced = any(n % 2 for n in padded[:-1])
        single = torch.get_default_dtype() == torch.float32  # neuralop's layer knows no other
        neuralops = transform == "fourier" and single and not misplaced
        if neuralops:  # else the layer checks them
            copies = 2 if per_channel else 1
            options = TransformOptions(
                copies, transform_rank, transform_order, grid_blocks, mode_blocks
            )
            check_options(transform, options, init=init, per_axis=per_axis)
        self.grid_shape = tuple(grid_shape)
        self.n_axes = len(grid_shape)
        self.max_n_modes, self.padding = tuple(n_modes), fractions
        self._n_modes = self.max_n_modes
        self.in_channels = positive_int("in_channels", in_channels)
        dims = len(grid_shape)
        self.positions: nn.Parameter | None = None
        if learned_positions:
            count = positive_int("learned_positions", learned_positions)
            self.positions = nn.Parameter(torch.zeros(count, *grid_shape))
            in_channels += count
        coordinates = GridEmbedding(in_channels, dims, [[0.0, 1.0]] * dims)
        self.network = NeuralopFNO(
            n_modes=tuple(n_modes),
            in_channels=in_channels,
            out_channels=positive_int("out_channels", out_channels),
            hidden_channels=positive_int("hidden_channels", hidden_channels),
            n_layers=positive_int("n_layers", n_layers),
            lifting_channel_ratio=lifting_channel_ratio,
            projection_channel_ratio=projection_channel_ratio,
            positional_embedding=coordinates if positional_embedding else None,  # type: ignore[arg-type]
            use_channel_mlp=channel_mlp,
            domain_padding=fractions,  # type: ignore[arg-type]
            factorization=factorization,  # type: ignore[arg-type]
            rank=rank,
            conv_module=SpectralConv if neuralops else ours,  # type: ignore[arg-type]
        )
        if fractions is not None:
            self.network.domain_padding = DomainPadding(fractions)
        take_fast_paths(self.network)

    @property
    def fno_blocks(self) -> nn.Module:
        """The layers, where neuralop's trainers look for them."""
        return self.network.fno_blocks

    @property
    def n_modes(self) -> tuple[int, ...]:
        """Modes in use along each axis, both signs; lowered and raised up to `max_n_modes`."""
        return self._n_modes

    @n_modes.setter
    def n_modes(self, n_modes: Sequence[int]) -> None:
        modes = tuple(n_modes)
        check_modes(modes, self.max_n_modes)
        self.network.n_modes = list(modes)
        self._n_modes = modes

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Map x (batch, in_channels, *grid) to (batch, out_channels, *grid).

        `output_shape` is also accepted, as by neuralop's FNO, which warns of any other argument.

        Raises
        ------
        ValueError
            When the number of axes or channels is another, or an axis has fewer points than modes
            (neuralop's layer by itself would leave modes out).
        TypeError
            When x is complex or of another precision than the parameters, or float64 where the
            layers are neuralop's.
        """
        neuralops = not isinstance(self.network.fno_blocks.convs[0], MonarchSpectralConv)
        if x.dtype == torch.float64 and neuralops:
            rule = "neuralop's layer, of transform='fourier', needs float32"
            remedy = "Convert the network by densify(monarchize(network)) before .double()."
            raise TypeError(message(rule, "float64", remedy))
        check_field(x, self, self.in_channels, self.n_axes)
        check_modes(self._n_modes, padded_grid(x.shape[2:], self.padding))
        if self.positions is not None:
            positions = resized(self.positions, x.shape[2:])
            x = torch.cat([x, positions.expand(x.shape[0], *positions.shape)], dim=1)
        return self.network(x, **kwargs)


def _check_factorization(factorization: str | None, rank: float) -> None:
    if factorization not in (None, "tucker", "cp", "tt") or not rank > 0:
        rule = "`factorization` must be 'tucker', 'cp', 'tt' or None, with a `rank` above 0"
        got = f"{factorization!r} and {rank}"
        raise ValueError(message(rule, got, "Use 'tucker' and 0.1 for TFNO."))


def _check_ratios(lifting: float, projection: float, hidden_channels: int) -> None:
    if not lifting >= 0:
        rule = "`lifting_channel_ratio` must be at least 0"
        raise ValueError(message(rule, lifting, "Raise it."))
    if not projection * hidden_channels >= 1:
        rule = "`projection_channel_ratio` must leave the projection a channel"
        raise ValueError(message(rule, projection, "Raise it."))
