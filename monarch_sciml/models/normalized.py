"""A network that works on normalised fields and is used in physical units.

Letters: B batch, C channels, F fields (C = steps times F, steps first).
"""

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message
from monarch_sciml.models.network import Network, network_from_record, network_record


def _numbers(values: Tensor) -> list[float] | None:
    return None if values.is_meta else values.tolist()


class Normalized(
    Network,
    coders={nn.Module: (network_record, network_from_record), Tensor: (_numbers, torch.tensor)},
):
    r"""Run a network on fields of about zero mean and unit variance.

    .. math:: y = \mu_y + \sigma_y N\!\left(\frac{x - \mu_x}{\sigma_x}\right)

    with one mean and one standard deviation for each field. Input and output stay in their own
    units, so losses, metrics and roll-outs keep their meaning. The statistics are buffers, which
    are saved with the weights and not trained.

    Parameters
    ----------
    network
        Network that maps (B, C_in, *grid) to (B, C_out, *grid).
    input_mean, input_std, target_mean, target_std
        One number for each field, in its unit: tensors of any shape with F numbers. The standard
        deviations are above 0.

    Raises
    ------
    ValueError
        When a standard deviation is not positive and finite, or a mean is not finite.

    Examples
    --------
    >>> import torch
    >>> one, std = torch.ones(1), torch.full((1,), 0.01)
    >>> network = Normalized(torch.nn.Identity(), one, std, 3 * one, std)
    >>> bool(torch.allclose(network(torch.ones(2, 1, 8)), torch.full((2, 1, 8), 3.0)))
    True
    """

    input_mean: Tensor
    input_std: Tensor
    target_mean: Tensor
    target_std: Tensor

    def __init__(
        self,
        network: nn.Module,
        input_mean: Tensor,
        input_std: Tensor,
        target_mean: Tensor,
        target_std: Tensor,
    ) -> None:
        super().__init__()
        self.network = network
        for name, values in (
            ("input_mean", input_mean),
            ("input_std", input_std),
            ("target_mean", target_mean),
            ("target_std", target_std),
        ):
            numbers = values.detach().flatten().clone()
            if numbers.is_meta:  # numbers to come
                self.register_buffer(name, numbers)
                continue
            if not bool(numbers.isfinite().all()):
                rule = f"`{name}` must be finite"
                raise ValueError(message(rule, numbers.tolist(), "Look for damaged samples."))
            if name.endswith("std") and not bool((numbers > 0).all()):
                rule = f"`{name}` must be above 0"
                raise ValueError(message(rule, numbers.tolist(), "Leave out constant fields."))
            self.register_buffer(name, numbers)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C_in, *grid) to (B, C_out, *grid), both in the units of the data.

        Raises
        ------
        ValueError
            When the number of channels is not a multiple of the number of fields.
        """
        y = self.network((x - _spread(self.input_mean, x)) / _spread(self.input_std, x))
        return y * _spread(self.target_std, y) + _spread(self.target_mean, y)


def _spread(numbers: Tensor, x: Tensor) -> Tensor:
    """Repeat one number per field, (F,), over the steps of x: (C, 1, ..., 1), C = steps times F."""
    steps, rest = divmod(int(x.shape[1]), len(numbers))
    if rest or not steps:
        rule = f"`x` must have a multiple of {len(numbers)} channels, one for each field and step"
        raise ValueError(message(rule, x.shape[1], "Pass steps times fields as channels."))
    return numbers.to(x.dtype).repeat(steps).view(-1, *[1] * (x.ndim - 2))
