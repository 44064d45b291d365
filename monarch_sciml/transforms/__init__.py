"""Linear transforms along one or more axes, fixed and learnable, with one interface."""

from monarch_sciml.transforms.base import Transform
from monarch_sciml.transforms.basis import Init, Norm
from monarch_sciml.transforms.corrected import CorrectedTransform
from monarch_sciml.transforms.cosine import CosineTransform, SineTransform
from monarch_sciml.transforms.dense import DenseTransform
from monarch_sciml.transforms.fit import fit_matrix, fit_transform
from monarch_sciml.transforms.fourier import FixedTransform, FourierTransform
from monarch_sciml.transforms.given import (
    GivenTransform,
    PODTransform,
    nonuniform_fourier_transform,
    pod_basis,
)
from monarch_sciml.transforms.learnable import LearnableTransform, ResampledTransform
from monarch_sciml.transforms.monarch import MonarchTransform
from monarch_sciml.transforms.separable import SeparableTransform

__all__ = [
    "CorrectedTransform",
    "CosineTransform",
    "DenseTransform",
    "FixedTransform",
    "FourierTransform",
    "GivenTransform",
    "Init",
    "LearnableTransform",
    "MonarchTransform",
    "Norm",
    "PODTransform",
    "ResampledTransform",
    "SeparableTransform",
    "SineTransform",
    "Transform",
    "fit_matrix",
    "fit_transform",
    "nonuniform_fourier_transform",
    "pod_basis",
]
