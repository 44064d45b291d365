"""What reconstruction methods share that take another forward model than the Fourier transform."""

from __future__ import annotations

from typing import Self

from monarch_sciml.physics.sense_operator import LinearTransform


class Encoded:
    """Let a reconstruction method measure by a given encoding in the place of the FFT.

    The encoding belongs to the scanner, not to the method: it is neither trained nor saved with the
    weights, and `set_encoding` gives a network that was trained elsewhere the model of this
    scanner.
    """

    _encoding: tuple[LinearTransform | None] = (None,)  # a tuple, which is no submodule

    @property
    def encoding(self) -> LinearTransform | None:
        """The encoding, image to k-space on the last two axes, or None for the FFT."""
        return self._encoding[0]

    def set_encoding(self, encoding: LinearTransform | None) -> Self:
        """Use an encoding, such as a `ReadoutEncoding`, as forward model and adjoint.

        Parameters
        ----------
        encoding
            Object with `.forward` and `.adjoint` on the last two axes (..., H, W). None brings the
            FFT back.

        Returns
        -------
        The method itself.
        """
        self._encoding = (encoding,)
        return self
