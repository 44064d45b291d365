"""The discrete cosine and sine transforms of type II, for Neumann and for Dirichlet walls."""

from __future__ import annotations

from monarch_sciml.transforms.basis import AxisSpec, Norm
from monarch_sciml.transforms.fourier import FixedTransform


class CosineTransform(FixedTransform):
    """The DCT-II along the last axis, y_k = s sum_x cos(pi k (2 x + 1) / (2 n)) x_x.

    The grid is cell-centred and the field is continued evenly, as behind zero-flux (Neumann) walls.
    The scaling is that of scipy.fft.dct(type=2, norm=norm). The transform is a dense product with
    the kept rows, which takes K n multiplications.

    Parameters
    ----------
    n, n_modes, norm, inverse
        The arguments of `FourierTransform` with the same meaning. The kept modes are 0 ... K - 1.
    """

    _family = "dct"

    def __init__(
        self, n: int, n_modes: int | None = None, *, norm: Norm = "ortho", inverse: bool = False
    ) -> None:
        init = ("i" if inverse else "") + self._family
        super().__init__(
            AxisSpec.create(init, n, n_modes, real_input=False, centered=False, norm=norm)
        )


class SineTransform(CosineTransform):
    """The DST-II along the last axis, y_k = s sum_x sin(pi (k + 1) (2 x + 1) / (2 n)) x_x.

    The grid is cell-centred and the field is continued oddly, as behind zero-value (Dirichlet)
    walls. The scaling is that of scipy.fft.dst(type=2, norm=norm).
    """

    _family = "dst"
