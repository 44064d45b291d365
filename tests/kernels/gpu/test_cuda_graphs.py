"""Replaying a layer as a CUDA graph."""

import copy

import pytest
import torch
from tolerances import assert_close

from monarch_sciml.kernels import cuda_graphed
from monarch_sciml.layers import MonarchSpectralConv


def test_data_on_a_cpu_are_refused():
    layer = MonarchSpectralConv(1, 1, [4], grid_shape=[8])
    with pytest.raises(ValueError, match="needs module and inputs on a CUDA device, got cpu"):
        cuda_graphed(layer, torch.randn(1, 1, 8))
    with pytest.raises(ValueError, match="`warmup` must be at least 1"):
        cuda_graphed(layer, torch.randn(1, 1, 8), warmup=0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_graph_computes_the_same():
    torch.manual_seed(0)
    layer = MonarchSpectralConv(4, 4, [8, 8], grid_shape=[32, 32]).cuda()
    plain = copy.deepcopy(layer)
    x = torch.randn(2, 4, 32, 32, device="cuda")
    graphed = cuda_graphed(layer, x)
    for _ in range(2):
        x = torch.randn_like(x)
        expected = plain(x)
        torch.testing.assert_close(graphed(x), expected)
        layer.zero_grad()
        plain.zero_grad()
        graphed(x).square().sum().backward()
        expected.square().sum().backward()
        for a, b in zip(layer.parameters(), plain.parameters()):
            assert_close(a.grad, b.grad, relative=0.0001)
