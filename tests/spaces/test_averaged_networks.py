"""Averages of predictions: of mirror images, and of the members of an ensemble."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from darts.data.targets import CLASSES, LABELS, NUMBERS, TARGETS
from darts.spaces.averaging import Ensemble, average_mirror_images, mean_outputs
from darts.spaces.cnn import PUBLISHED, Network
from darts.training.cost import count_macs, count_parameters

COUNTS = (3, 1, 2)


@pytest.mark.parametrize("targets", TARGETS)
def test_outputs_are_those_of_the_naive_formula(targets: str) -> None:
    draw = torch.Generator().manual_seed(0)
    outputs = [n * torch.randn(7, 4, generator=draw, dtype=torch.float64) for n in (1, 3, 8)]
    values = [
        {NUMBERS: own, CLASSES: own.softmax(-1), LABELS: own.sigmoid()}[targets] for own in outputs
    ]
    weighted = [count * value for count, value in zip(COUNTS, values, strict=True)]
    mean = torch.stack(weighted).sum(0) / sum(COUNTS)
    expected = {NUMBERS: mean, CLASSES: mean.log(), LABELS: mean.logit()}[targets]
    torch.testing.assert_close(mean_outputs(outputs, COUNTS, targets), expected)


@pytest.mark.parametrize("targets", [CLASSES, LABELS])
def test_large_outputs_stay_finite(targets: str) -> None:
    outputs = [torch.tensor([[500.0, -500.0, 0.0]]), torch.tensor([[900.0, -700.0, -800.0]])]
    outputs = [own.requires_grad_() for own in outputs]
    mean = mean_outputs(outputs, (1, 1), targets)
    mean.sum().backward()  # type: ignore[no-untyped-call]
    assert mean.isfinite().all()
    assert all(own.grad is not None and own.grad.isfinite().all() for own in outputs)
    if targets == LABELS:  # the probabilities are 1 - e^-500 / 2, e^-500 / 2 and 1 / 4
        expected = torch.tensor([[500.0, -500.0, 0.0]]) + torch.tensor([[2.0, 0.5, 1 / 3]]).log()
        torch.testing.assert_close(mean, expected)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def make(cells: int) -> Network:
    torch.manual_seed(0)
    genotype = PUBLISHED["DARTS_V2"].genotype
    return Network(genotype, channels=2, cells=cells, classes=4, drop_path=0.2).eval()


def test_an_evaluation_is_the_mean_for_an_image_and_its_mirror_image(images: Tensor) -> None:
    net = make(3)
    single = net(images)
    expected = (single + net(images.flip(-1))) / 2
    state, macs = net.state_dict(), count_macs(net, images[:1])
    average_mirror_images(net)
    for mirrored in (net, copy.deepcopy(net)):
        torch.testing.assert_close(mirrored(images), expected)
        torch.testing.assert_close(mirrored(images.flip(-1)), expected)
        torch.testing.assert_close(mirrored(images, auxiliary=True)[0], expected)
    assert not torch.allclose(single, expected)
    assert net.state_dict().keys() == state.keys()
    assert count_macs(net, images[:1]) == 2 * macs


def test_mirror_images_do_not_change_the_training(images: Tensor) -> None:
    nets = [make(3).train() for _ in range(2)]
    average_mirror_images(nets[1])
    results = []
    for net in nets:
        torch.manual_seed(0)
        results.append([*net(images, auxiliary=True), *net.buffers()])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*results, strict=True))


def test_it_costs_what_its_members_cost_without_auxiliary_heads() -> None:
    members, example = (make(3), make(2)), torch.zeros(1, 3, 8, 8)
    average_mirror_images(members[1])
    macs = sum(count_macs(net, example) for net in members)
    ensemble = Ensemble(members, (1, 1), CLASSES, (None, None))
    assert ensemble.genotype == members[0].genotype
    assert count_macs(ensemble, example) == macs
    counts = [count_parameters(net.parameters()) for net in members]
    assert count_parameters(ensemble.parameters()) == sum(counts)
    assert not any("auxiliary" in name for name in ensemble.state_dict())
    assert isinstance(ensemble.members, nn.ModuleList)
