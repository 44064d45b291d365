"""Whether the basis of a network suits the boundary of the data."""

from __future__ import annotations

from torch import nn

from monarch_sciml._checks import message
from monarch_sciml.data.spec import FieldSpec, ScanSpec
from monarch_sciml.transforms import SineTransform


def check_basis(model: nn.Module, spec: FieldSpec | ScanSpec) -> None:
    """Raise ValueError when a fixed sine basis meets a periodic axis.

    All of its functions vanish at the ends of the axis, where a periodic field does not. Learnable
    transforms that start as sines are free to leave them, and "unknown" is never refused.

    Parameters
    ----------
    model
        The network.
    spec
        Of the data.
    """
    if not isinstance(spec, FieldSpec) or "periodic" not in spec.boundary:
        return
    if any(isinstance(module, SineTransform) for module in model.modules()):
        rule = "`transform` must not be 'sine' where the data are periodic"
        remedy = "Use 'fourier', or say what the boundary is by the data's option `boundary`."
        raise ValueError(message(rule, f"the boundary {', '.join(spec.boundary)}", remedy))
