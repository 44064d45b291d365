"""A fork of the test's process that may use PyTorch."""

import os
import warnings

import torch

from monarch_sciml import _inspection


def fork():
    """Fork this process as `os.fork`; the child computes on one thread.

    OpenMP's threads are not forked: with more than one the child would wait for them for ever. It
    must end by `os._exit`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        torch.set_num_threads(1)
        _inspection._helpers.clear()
    return process
