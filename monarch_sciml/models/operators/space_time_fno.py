"""The FNO in space and time, which predicts all steps at once, with a transform along time.

Letters: B batch, C fields, T steps out, n_i grid sizes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from monarch_sciml._checks import message, positive_int
from monarch_sciml.models.operators.convolution_blocks import check_field
from monarch_sciml.models.operators.fno import FNO
from monarch_sciml.models.operators.operator_grid import DomainPadding, padding_fractions


class SpaceTimeFNO(FNO):
    """Repeat the input frames along a time axis, and map them to all T steps by one `FNO` there.

    The grid of the FNO is (*grid, T); its input are the frames seen, as channels, the same at every
    time, and the coordinates (x, y, t). This is the FNO paper's FNO-3D on problems in two
    dimensions.

    Parameters
    ----------
    grid_shape
        Grid in space to train on. The network runs on others as well.
    in_channels
        Channels of the input, steps times fields.
    out_channels
        Fields C of one step.
    n_steps_out
        Number T of steps that are returned at once. A roll-out of `RolloutObjective` may have a
        multiple of them.
    domain_padding
        Zeros on both sides of the axes in space, as in `FNO`.
    time_padding
        Zeros before the first and after the last step, as a fraction of T: time is not periodic.
    options
        The other options of `FNO`. `n_modes` has an entry for time, the last.

    Raises
    ------
    ValueError
        When `FNO` refuses an argument.

    References
    ----------
    Li et al., "Fourier Neural Operator", arXiv 2010.08895, section 5.3: 6,558,537 parameters with
    width 20 and 8 modes of either sign (6,553,600 of them spectral; complex numbers count two).

    Examples
    --------
    >>> import torch
    >>> sizes = {"n_modes": (8, 8, 4), "hidden_channels": 4, "n_layers": 2}
    >>> network = SpaceTimeFNO((16, 16), 10, 1, n_steps_out=10, transform="monarch", **sizes)
    >>> network(torch.randn(2, 10, 16, 16)).shape
    torch.Size([2, 10, 16, 16])
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        n_steps_out: int,
        domain_padding: DomainPadding = None,
        time_padding: float = 0.2,
        **options: Any,
    ) -> None:
        n_steps_out = positive_int("n_steps_out", n_steps_out)
        if not time_padding >= 0:
            rule = "`time_padding` must be at least 0"
            raise ValueError(message(rule, time_padding, "Give the zeros per side and step."))
        dims = len(grid_shape)
        in_space = padding_fractions(domain_padding, dims) or [0.0] * dims
        super().__init__(
            (*grid_shape, n_steps_out),
            in_channels,
            out_channels,
            domain_padding=(*in_space, time_padding),
            **options,
        )
        self.grid_shape = tuple(grid_shape)
        self.n_steps_out = n_steps_out

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Map x (B, in_channels, *grid) to (B, T C, *grid), steps-major.

        Raises
        ------
        ValueError
            When the number of axes or channels is another.
        TypeError
            When x is complex or of another precision than the parameters.
        """
        check_field(x, self, self.in_channels, len(self.grid_shape))
        repeated = x.unsqueeze(-1).expand(*x.shape, self.n_steps_out)  # (B, in, *grid, T)
        # (B, C, *grid, T) -> (B, T, C, *grid) -> (B, T C, *grid)
        return super().forward(repeated, **kwargs).movedim(-1, 1).flatten(1, 2)
