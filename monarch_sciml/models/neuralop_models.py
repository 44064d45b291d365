"""The networks of this package by name in neuralop's configurations."""

from __future__ import annotations


def register_with_neuralop() -> list[str]:
    """Let `neuralop.get_model` build the networks of this package.

    Returns
    -------
    The values of `model_arch` that name them: "monarch_sciml.fno", "monarch_sciml.factorizedfno",
    and so on. The other entries of `config.model` are the arguments of the constructor, with
    `data_channels` in place of `in_channels`.

    Examples
    --------
    >>> "monarch_sciml.fno" in register_with_neuralop()
    True
    """
    from neuralop.models.base_model import BaseModel

    from monarch_sciml.models.operators.factorized_fno import FactorizedFNO
    from monarch_sciml.models.operators.fno import FNO
    from monarch_sciml.models.operators.resnet import ResNet
    from monarch_sciml.models.operators.tfnet import TFNet
    from monarch_sciml.models.operators.unet import UNet

    networks = (FNO, FactorizedFNO, UNet, TFNet, ResNet)
    names = [f"monarch_sciml.{network.__name__.lower()}" for network in networks]
    BaseModel._models.update(zip(names, networks))
    return names
