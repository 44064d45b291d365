"""The description of a data set from which a network is built: sizes, grid and boundary."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

from torch.utils.data import Dataset

from monarch_sciml.data.normalization import UnitGaussian

FieldNormalization = Literal["unit_gaussian"]


@dataclass(frozen=True)
class FieldSpec:
    """Describe the samples of a PDE data set on a regular grid.

    A sample is a dict: `input` (n_steps_in, n_fields_in, *grid_shape) and `target` (n_steps_out,
    n_fields_out, *grid_shape). Time-dependent sets have n_fields_in == n_fields_out; a steady
    problem (Darcy) is one step in, one step out. Samples are in physical units; `normalization`
    names the normalisation for the network (`DataModule.statistics`). `dtype` is the type of the
    samples and of the network.

    `input_only` and `forcing` name fields that are known beforehand and not predicted: those that
    are the same in every frame, and those that vary in time. A sample holds them as `input_only`
    (n_input_only, *grid) and `forcing` (n_steps_out + 1, n_forcing, *grid), from the last frame
    given to the last one to predict. In each step a network gets as its last channels the former,
    then the latter at the last frame that it sees and at the frame to predict.
    """

    fields: tuple[str, ...]
    grid_shape: tuple[int, ...]
    n_steps_in: int
    n_steps_out: int
    n_fields_in: int
    n_fields_out: int
    domain_extent: tuple[float, ...]
    boundary: tuple[str, ...]
    dt: float | None = None
    normalization: FieldNormalization | None = None
    input_only: tuple[str, ...] = ()
    dtype: str = "float32"
    forcing: tuple[str, ...] = ()

    @property
    def n_known(self) -> int:
        """Number of channels of the fields that are known beforehand."""
        return len(self.input_only) + 2 * len(self.forcing)

    @property
    def network_arguments(self) -> dict[str, Any]:
        """Return the sizes to build a network with; input steps and fields are flattened into
        channels.
        """
        return {
            "grid_shape": self.grid_shape,
            "in_channels": self.n_steps_in * self.n_fields_in + self.n_known,
            "out_channels": self.n_fields_out,
        }


@dataclass(frozen=True)
class ScanSpec:
    """Describe the samples of an MRI data set, slices that mostly have this matrix and coil count.

    If sizes differ, the data sets have the attribute `batch_groups`. `acceleration` is the achieved
    one, `noise` the noise relative to the image (`noise_level`), and `mask` the class of the masks.

    A sample is a dict: `masked_kspace` (n_coils, *grid_shape) complex, `mask` (*grid_shape) 0/1,
    `coil_maps` (n_coils, *grid_shape) complex, or (n_maps, n_coils, *grid_shape), `target`
    (*grid_shape) complex, `scale` () (the data were divided by it), `max` () (largest target
    magnitude of the volume, after division), `volume` and `slice` ().
    """

    grid_shape: tuple[int, ...]
    n_coils: int
    acceleration: float
    noise: float | None = field(default=None, compare=False)
    mask: str | None = field(default=None, compare=False)

    @property
    def network_arguments(self) -> dict[str, Any]:
        """Return the sizes to build a network with."""
        return {"grid_shape": self.grid_shape}


@dataclass(frozen=True)
class TextSpec:
    """Describe the samples of a text, which are contexts of equally many tokens.

    A sample is a dict: `input` and `target` (*grid_shape), whole numbers below `vocabulary`; the
    target is the input moved on by one token.
    """

    grid_shape: tuple[int, ...]
    vocabulary: int

    @property
    def network_arguments(self) -> dict[str, Any]:
        """Return the sizes to build a network with; its channels are the vocabulary."""
        return {
            "grid_shape": self.grid_shape,
            "in_channels": self.vocabulary,
            "out_channels": self.vocabulary,
        }


Spec = FieldSpec | ScanSpec | TextSpec
"""What a data set says of its samples."""


class DataModule(ABC):
    """Base class of the data modules: three data sets of dict samples and their common spec."""

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """Sizes, grid and boundary of every sample."""

    @property
    def statistics(self) -> tuple[UnitGaussian, UnitGaussian] | None:
        """Statistics that normalise input and target of a network; None for no normalisation."""
        return None

    @property
    @abstractmethod
    def train(self) -> Dataset[dict[str, Any]]:
        """Samples to train on."""

    @property
    @abstractmethod
    def validation(self) -> Dataset[dict[str, Any]] | None:
        """Samples to choose the best checkpoint with; None when there are none."""

    @property
    @abstractmethod
    def test(self) -> Dataset[dict[str, Any]]:
        """Samples for the reported figures."""
