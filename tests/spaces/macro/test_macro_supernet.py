"""The supernet of the macro space equals the sum over its candidates, one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT, images
from oracles.macro_supernet import EdgewiseSupernet
from torch import Tensor

from darts.spaces.macro.genotype import PRIMITIVES
from darts.spaces.macro.skeleton import SKELETONS, InvertedResidual
from darts.spaces.macro.supernet import Supernet
from darts.spaces.mixture import Mixture

CLASSES = 4


def make(cells: int = 2, **options: Any) -> Supernet:
    torch.manual_seed(0)
    return Supernet(channels=2, cells=cells, classes=CLASSES, **options).double()


def mixing(net: Supernet, seed: int = 2) -> dict[str, Tensor]:
    return {g: images(*shape, seed=seed).softmax(-1) for g, shape in net.shapes.items()}


def by_definition(net: Supernet, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Compute the supernet with functions of PyTorch, candidate by candidate."""

    def norm(x: Tensor) -> Tensor:
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), False, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt()

    x = F.relu6(norm(F.conv2d(x, net.stem[0].weight, padding=1)))
    rows = {"first": 0, "rest": 0}
    for number, block in enumerate(net.blocks):
        group = "first" if number % (len(net.blocks) // 3) == 0 else "rest"
        stride = 2 if group == "first" and number else 1
        total: Any = 0
        for column, name in enumerate(PRIMITIVES if group == "rest" else PRIMITIVES[:-1]):
            if name == "skip_connect":
                y = x
            else:
                kernel = int(name[4])
                state = dict(block.operations[column].named_parameters())
                y = F.relu6(norm(F.conv2d(x, state["layers.0.weight"])))
                assert y.shape[1] == int(name[7]) * x.shape[1]
                depthwise = state["layers.3.weight"]
                assert depthwise.shape[2:] == (kernel, kernel)
                y = F.conv2d(y, depthwise, None, stride, kernel // 2, groups=y.shape[1])
                y = norm(F.conv2d(F.relu6(norm(y)), state["layers.6.weight"]))
                y = y + x if y.shape == x.shape else y
            total = total + weights[group][rows[group], column] * y
        rows[group] += 1
        x = total
    x = F.relu6(norm(F.conv2d(x, net.head[0].weight)))
    return F.linear(x.mean((2, 3)), net.head[5].weight, net.head[5].bias)


def test_the_output_is_the_weighted_sum_of_the_candidates() -> None:
    net, x = make(3), images(3, 3, 7, 10)
    weights = mixing(net)
    torch.testing.assert_close(net(x, weights), by_definition(net, x, weights), **EXACT)


@pytest.mark.parametrize("skip_dropout", [0.0, 0.4])
@pytest.mark.parametrize("skeleton", SKELETONS)
def test_outputs_gradients_and_statistics_equal_the_oracle(
    skeleton: str, skip_dropout: float
) -> None:
    x, results = images(4, 3, 9, 12), []
    for net_class in (EdgewiseSupernet, Supernet):
        torch.manual_seed(0)
        net = net_class(channels=4, cells=2, classes=CLASSES, skeleton=skeleton).double()
        net.skip_dropout = skip_dropout
        for _ in range(2):  # the second pass changes running statistics that differ
            net(x).square().sum().backward()
        parameters = {name: p.grad for name, p in net.named_parameters()}
        results.append({"output": net(x), **parameters, **dict(net.named_buffers())})
    expected, actual = results
    assert list(actual) == list(expected)
    torch.testing.assert_close(actual, expected, **EXACT)


def test_inactive_blocks_do_not_run() -> None:
    net, x = make(3).eval(), images(2, 3, 6, 6)  # in training, blocks run together
    generator = torch.Generator().manual_seed(5)
    active = {g: torch.rand(s, generator=generator) < 0.5 for g, s in net.shapes.items()}
    ran: list[str] = []
    for name, module in net.named_modules():
        if isinstance(module, InvertedResidual):
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    net(x, Mixture(mixing(net), active=active))
    blocks = len(PRIMITIVES) - 1  # without skip_connect
    assert len(ran) == sum(int(mask[:, :blocks].sum()) for mask in active.values())


def test_a_block_without_active_candidates_outputs_zeros() -> None:
    net, x = make(), images(2, 3, 7, 6)
    active = {"first": torch.ones(3, 6) > 0, "rest": torch.ones(3, 7) > 0}
    active["first"][1] = False  # of stride 2
    weights = mixing(net)
    actual = net(x, Mixture(weights, active=active))
    weights["first"][1] = 0
    torch.testing.assert_close(actual, net(x, weights), **EXACT)


def test_skip_dropout_acts_only_in_training() -> None:
    net, x = make(), images(3, 3, 8, 8)
    skips = mixing(net)
    skips["rest"] = F.one_hot(torch.tensor([6, 6, 6]), 7).double()
    blocks = {**skips, "rest": F.one_hot(torch.tensor([0, 2, 4]), 7).double()}
    kept = [net(x, skips), net(x, blocks)]
    net.skip_dropout = 0.5
    assert not torch.allclose(net(x, skips), kept[0])
    torch.testing.assert_close(net(x, blocks), kept[1], **EXACT)
    net.eval()
    assert torch.equal(net(x, skips), net(x, skips))
