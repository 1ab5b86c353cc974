"""An ensemble averages the predictions of its members."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from darts.data.targets import CLASSES, LABELS, NUMBERS, TARGETS
from darts.spaces.cnn import PUBLISHED, Network
from darts.spaces.averaging import Ensemble, mean_outputs
from darts.spaces.mirrored import Mirrored
from darts.training.cost import count_macs, count_parameters

COUNTS = (3, 1, 2)


def naive_mean(outputs: list[Tensor], targets: str) -> Tensor:
    """Return the outputs for the mean prediction without care for large numbers."""

    def mean(values: list[Tensor]) -> Tensor:
        pairs = zip(COUNTS, values, strict=True)
        return torch.stack([count * value for count, value in pairs]).sum(0) / sum(COUNTS)

    if targets == NUMBERS:
        return mean(outputs)
    if targets == CLASSES:
        return mean([own.softmax(-1) for own in outputs]).log()
    return mean([own.sigmoid() for own in outputs]).logit()


@pytest.mark.parametrize("targets", TARGETS)
def test_outputs_are_those_of_the_naive_formula(targets: str) -> None:
    draw = torch.Generator().manual_seed(0)
    outputs = [
        scale * torch.randn(7, 4, generator=draw, dtype=torch.float64) for scale in (1, 3, 8)
    ]
    expected = naive_mean(outputs, targets)
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
def members() -> tuple[Network, Mirrored]:
    torch.manual_seed(0)
    genotype = PUBLISHED["DARTS_V2"].genotype
    first, second = (
        Network(genotype, channels=2, cells=cells, classes=4, auxiliary=True, drop_path=0.2)
        for cells in (3, 2)
    )
    return first.eval(), Mirrored(second).eval()


def test_the_probabilities_are_the_mean_of_those_of_the_members(
    members: tuple[Network, Mirrored],
) -> None:
    images = torch.randn(3, 3, 8, 8)
    first, second = (net(images).softmax(-1) for net in members)
    ensemble = Ensemble(members, (3, 1), CLASSES).eval()
    outputs = ensemble(images)
    torch.testing.assert_close(outputs.softmax(-1), (3 * first + second) / 4)
    torch.testing.assert_close(outputs.exp().sum(-1), torch.ones(3))
    logits, auxiliary = ensemble(images, auxiliary=True)
    assert logits.equal(outputs)
    assert auxiliary is None


def test_it_costs_what_its_members_cost_without_auxiliary_heads(
    members: tuple[Network, Mirrored],
) -> None:
    example = torch.zeros(1, 3, 8, 8)
    macs = sum(count_macs(net, example) for net in members)
    ensemble = Ensemble(members, (1, 1), CLASSES)
    assert ensemble.genotype == members[0].genotype
    assert count_macs(ensemble, example) == macs
    assert count_parameters(ensemble.parameters()) == sum(
        count_parameters(net.parameters()) for net in members
    )
    assert not any("auxiliary" in name for name in ensemble.state_dict())
    assert isinstance(ensemble.members, nn.ModuleList)
