"""The gradients of the alphas change neither the supernet nor the optimizer."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from end_states import plain
from oracles.comparing import HYPERGRADIENTS
from tiny_search import cross_entropy, make_batch
from torch import Tensor, nn

from darts.methods.bilevel import compare_products, unrolled
from darts.spaces.cnn import EdgewiseSupernet

Batch = tuple[Tensor, Tensor]

CALLS = HYPERGRADIENTS | {"comparison": (compare_products, {})}


def prepared(cells: int = 3) -> tuple[EdgewiseSupernet, torch.optim.SGD]:
    """Return a supernet after a step, with momentum buffers, statistics and gradients."""
    torch.manual_seed(0)
    net = EdgewiseSupernet(channels=2, cells=cells, classes=3, nodes=2)
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9, weight_decay=3e-4)
    cross_entropy(net, make_batch(0)).backward()
    optimizer.step()
    return net, optimizer


def snapshot(net: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    state = copy.deepcopy(optimizer.state_dict())
    gradients = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    return {
        "values": {name: value.clone() for name, value in net.state_dict().items()},
        "identities": {n: id(p) for n, p in [*net.named_parameters(), *net.named_buffers()]},
        "gradients": gradients,
        "versions": {n: t._version for n, t in [*net.named_parameters(), *net.named_buffers()]},
        "buffers": {
            f"{number}.{key}": value
            for number, entry in state["state"].items()
            for key, value in entry.items()
        },
        "groups": state["param_groups"],
        "modes": [module.training for module in net.modules()],
        "requires": [p.requires_grad for p in net.parameters()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()],
    }


@pytest.mark.parametrize(
    ("call_name", "training"),
    [
        *((name, True) for name in CALLS),
        *(pytest.param(name, False, marks=pytest.mark.slow) for name in ("first_order", "exact")),
        *((name, False) for name in ("finite_difference", "comparison")),
    ],
)
def test_network_buffers_and_optimizer_are_unchanged(call_name: str, training: bool) -> None:
    net, optimizer = prepared()
    net.train(training)
    before = snapshot(net, optimizer)
    assert any(key.endswith("num_batches_tracked") for key in before["values"])
    assert before["buffers"]
    assert before["gradients"].keys() == before["identities"].keys() & {
        name for name, _ in net.named_parameters()
    }
    call, options = CALLS[call_name]
    for _ in range(2):
        call(net, cross_entropy, make_batch(1), make_batch(2), optimizer, **options)
    assert plain(snapshot(net, optimizer)) == plain(before)


@pytest.mark.parametrize("call_name", CALLS)
def test_exception_in_the_loss_changes_nothing(call_name: str) -> None:
    net, optimizer = prepared()
    before = snapshot(net, optimizer)
    call, options = CALLS[call_name]
    calls: list[int] = []

    def raising_loss(view: Any, inputs: Batch) -> Tensor:
        calls.append(1)
        value = cross_entropy(view, inputs)
        if len(calls) == (1 if call_name == "first_order" else 2):
            raise RuntimeError("broken")
        return value

    with pytest.raises(RuntimeError, match="broken"):
        call(net, raising_loss, make_batch(1), make_batch(2), optimizer, **options)
    assert plain(snapshot(net, optimizer)) == plain(before)


@pytest.mark.parametrize("cells", [1, 2])
@pytest.mark.parametrize("call_name", HYPERGRADIENTS)
def test_unused_groups_have_a_zero_gradient(call_name: str, cells: int) -> None:
    """Supernets of one or two cells have reduction cells only."""
    net, optimizer = prepared(cells)
    assert net.counts["normal"] == 0
    call, options = CALLS[call_name]
    actual = call(net, cross_entropy, make_batch(1), make_batch(2), optimizer, **options)
    assert not actual["normal"].any()
    assert actual["normal"].shape == (5, 8)
    assert actual["reduce"].all()


@pytest.mark.parametrize("hvp", ["exact", "finite_difference"])
def test_weights_without_influence_on_the_loss_are_supported(hvp: str) -> None:
    net, _ = prepared()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1)
    skips = torch.zeros(5, 8)
    skips[:, 3] = 1

    def loss(view: Any, inputs: Batch) -> Tensor:
        weights = {kind: skips * alpha.exp() for kind, alpha in view.alphas.items()}
        return F.cross_entropy(view(inputs[0], weights), inputs[1])

    actual = unrolled(net, loss, make_batch(1), make_batch(2), optimizer, hvp=hvp)
    for gradient in actual.values():
        assert gradient[:, 3].all()
        assert not gradient[:, [0, 1, 2, 4, 5, 6, 7]].any()


@pytest.mark.parametrize("call_name", HYPERGRADIENTS)
def test_constant_loss_has_a_zero_gradient(call_name: str) -> None:
    """All sampled operations of a cell may be ``none``."""
    net, optimizer = prepared()

    def constant_loss(view: Any, inputs: Batch) -> Tensor:
        weights = {name: torch.zeros_like(alpha) for name, alpha in view.alphas.items()}
        return F.cross_entropy(view(inputs[0], weights), inputs[1])

    call, options = CALLS[call_name]
    actual = call(net, constant_loss, make_batch(1), make_batch(2), optimizer, **options)
    assert [gradient.shape for gradient in actual.values()] == [(5, 8), (5, 8)]
    assert not any(gradient.any() for gradient in actual.values())
