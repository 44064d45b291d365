"""A transformer on patches of a field, a neural operator whose cost is that of dense matrices.

Letters: B batch, C channels, d grid axes, n_i grid sizes, P points of a patch, T patches (tokens),
E width, H heads, D = E/H.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monarch_sciml._checks import message, positive_int, positive_number
from monarch_sciml.models.network import Network
from monarch_sciml.models.operators.convolution_blocks import check_field

_INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


class TransformerOperator(Network):
    """Cut a field into patches, let them attend to one another, and put the patches together.

    x_0 = W_e patches + positions; x_{l+1} = y_l + MLP(norm(y_l)), y_l = x_l + attention(norm(x_l));
    the output patches are W_h norm(x_L). The network is that of a vision transformer without a
    class token. Nearly all of its work is nn.Linear, which `monarchize` and `StructuredNetwork`
    replace.

    Parameters
    ----------
    grid_shape
        Grid to train on, one to three axes. On other grids the positions are interpolated.
    in_channels, out_channels
        Channels of input and output field.
    patch_size
        Points of a patch along every axis. Every grid size must be a multiple of it.
    hidden_channels
        Width of the tokens.
    n_layers, n_heads
        Number of blocks, and number of attention heads in each block.
    mlp_ratio
        Hidden width of the two-layer network of a block, in units of `hidden_channels`.

    Raises
    ------
    ValueError
        When a grid size is not a multiple of the patch size, or the width is not a multiple of the
        number of heads.

    References
    ----------
    Dosovitskiy et al., "An image is worth 16 x 16 words", ICLR 2021; as an operator on fields:
    Cao, "Choose a transformer: Fourier or Galerkin", NeurIPS 2021.

    Examples
    --------
    >>> import torch
    >>> network = TransformerOperator((16, 16), 10, 1, patch_size=4, hidden_channels=32)
    >>> network(torch.randn(2, 10, 16, 16)).shape
    torch.Size([2, 1, 16, 16])
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        patch_size: int = 8,
        hidden_channels: int = 256,
        n_layers: int = 4,
        n_heads: int = 4,
        mlp_ratio: float = 4,
    ) -> None:
        super().__init__()
        if len(grid_shape) not in _INTERPOLATION:
            rule = "`grid_shape` must have one to three axes"
            raise ValueError(message(rule, tuple(grid_shape), "Use another network."))
        self.grid_shape = tuple(grid_shape)
        self.in_channels = positive_int("in_channels", in_channels)
        self.out_channels = positive_int("out_channels", out_channels)
        self.patch_size = positive_int("patch_size", patch_size)
        width = positive_int("hidden_channels", hidden_channels)
        if width % positive_int("n_heads", n_heads):
            rule = "`hidden_channels` must be a multiple of `n_heads`"
            raise ValueError(message(rule, f"{width} and {n_heads}", "Change one of them."))
        inner = max(1, round(positive_number("mlp_ratio", mlp_ratio) * width))
        n_points = patch_size ** len(grid_shape)
        tokens = self._n_patches(grid_shape)
        self.embedding = nn.Linear(in_channels * n_points, width)
        self.positions = nn.Parameter(torch.randn(1, width, *tokens) / math.sqrt(width))
        layers = positive_int("n_layers", n_layers)
        self.blocks = nn.ModuleList(_Block(width, n_heads, inner) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, out_channels * n_points)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, in_channels, n_1, ...) to (B, out_channels, n_1, ...).

        Raises
        ------
        ValueError
            When the number of channels or axes differs from the network's, or a grid size is not a
            multiple of the patch size.
        """
        check_field(x, self, self.in_channels, len(self.grid_shape))
        patches = self._n_patches(x.shape[2:])
        tokens = self.embedding(self._cut(x)) + self._positions(patches)
        for block in self.blocks:
            tokens = block(tokens)
        return self._joined(self.head(self.norm(tokens)), patches)

    def _n_patches(self, grid: tuple[int, ...] | torch.Size) -> list[int]:
        if any(n % self.patch_size for n in grid):
            rule = f"every grid size must be a multiple of `patch_size` {self.patch_size}"
            raise ValueError(message(rule, tuple(grid), "Change `patch_size` or the grid."))
        return [n // self.patch_size for n in grid]

    def _cut(self, x: Tensor) -> Tensor:
        """Cut x (B, C, n_1, ..., n_d) into patches (B, T, C P)."""
        dims = x.ndim - 2
        for axis in range(dims):  # n_i -> (n_i / p, p)
            x = x.unflatten(2 + 2 * axis, (-1, self.patch_size))
        places = [2 + 2 * axis for axis in range(dims)]
        x = x.permute(0, *places, 1, *(p + 1 for p in places))  # (B, patches, C, points)
        return x.flatten(1, dims).flatten(2)

    def _joined(self, tokens: Tensor, patches: list[int]) -> Tensor:
        """Put patches (B, T, C P) together to a field (B, C, n_1, ..., n_d)."""
        dims = len(patches)
        x = tokens.unflatten(2, (self.out_channels, *(self.patch_size,) * dims))
        x = x.unflatten(1, patches)  # (B, patches, C, points)
        pairs = [axis for i in range(dims) for axis in (1 + i, 2 + dims + i)]
        x = x.permute(0, 1 + dims, *pairs)  # (B, C, n_1/p, p, n_2/p, p, ...)
        for axis in range(dims):
            x = x.flatten(2 + axis, 3 + axis)
        return x

    def _positions(self, patches: list[int]) -> Tensor:
        """Return the positions (1, T, E), interpolated to another number of patches."""
        positions = self.positions
        if list(positions.shape[2:]) != patches:
            mode = _INTERPOLATION[len(patches)]
            positions = F.interpolate(positions, patches, mode=mode, align_corners=False)
        return positions.flatten(2).mT


class _Block(nn.Module):
    """Apply attention and a two-layer network, each after a norm and with a residual connection."""

    def __init__(self, width: int, n_heads: int, inner: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T, E) to tokens (B, T, E)."""
        packed = self.query_key_value(self.norm_attention(x)).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = packed.permute(2, 0, 3, 1, 4)  # (B, T, 3, H, D) -> 3 x (B, H, T, D)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, T, E)
        x = x + self.projection(y)
        return x + self.mlp(self.norm_mlp(x))
