"""A mirrored network averages its outputs for an image and the mirror image, in evaluation."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from darts.spaces.cnn import PUBLISHED, Network
from darts.spaces.mirrored import Mirrored
from darts.training.cost import count_macs, count_parameters


@pytest.fixture
def net() -> Network:
    torch.manual_seed(0)
    genotype = PUBLISHED["DARTS_V2"].genotype
    return Network(genotype, channels=2, cells=3, classes=4, drop_path=0.2)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_an_evaluation_is_the_mean_for_both_images(net: Network, images: Tensor) -> None:
    mirrored = Mirrored(net).eval()
    expected = (net(images) + net(images.flip(-1))) / 2
    torch.testing.assert_close(mirrored(images), expected)
    assert not torch.allclose(mirrored(images), net(images))
    torch.testing.assert_close(mirrored(images.flip(-1)), expected)
    torch.testing.assert_close(mirrored(images, auxiliary=True)[0], expected)


def test_the_training_is_that_of_the_network(net: Network, images: Tensor) -> None:
    mirrored = Mirrored(copy.deepcopy(net)).train()
    mirrored.drop_path = net.drop_path = 0.5
    outputs = []
    for module in (net.train(), mirrored):
        torch.manual_seed(0)
        outputs.append(module(images, auxiliary=True))
    for ours, theirs in zip(*outputs, strict=True):
        assert ours is not None
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(net.buffers(), mirrored.buffers(), strict=True):
        assert torch.equal(ours, theirs)  # batch norms have seen one image each


def test_it_has_the_parameters_of_the_network_and_twice_its_macs(net: Network) -> None:
    mirrored, example = Mirrored(net), torch.zeros(1, 3, 8, 8)
    assert count_parameters(mirrored.parameters()) == count_parameters(net.parameters())
    assert count_macs(mirrored, example) == 2 * count_macs(net, example)
    assert mirrored.auxiliary is net.auxiliary
    assert mirrored.feature_blocks() == net.feature_blocks()
