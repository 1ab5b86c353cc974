"""What the gradients of the alphas leave behind on a real supernet: nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from darts.bilevel import GRADIENTS, compare_products, first_order, unrolled
from darts.spaces.cnn import EdgewiseSupernet

Batch = tuple[Tensor, Tensor]

WAYS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "first_order": (first_order, {}),
    "finite_difference": (unrolled, {"hvp": "finite_difference"}),
    "exact": (unrolled, {"hvp": "exact"}),
    "comparison": (compare_products, {}),
}


def loss_fn(net: Any, batch: Batch) -> Tensor:
    return F.cross_entropy(net(batch[0]), batch[1])


def batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(4, 3, 8, 8, generator=generator)
    return images, torch.randint(3, (4,), generator=generator)


def prepared(cells: int = 3) -> tuple[EdgewiseSupernet, torch.optim.SGD]:
    """A supernet after a step, with momentum buffers, statistics and gradients lying about."""
    torch.manual_seed(0)
    net = EdgewiseSupernet(channels=2, cells=cells, classes=3, nodes=2)
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9, weight_decay=3e-4)
    loss_fn(net, batch(0)).backward()
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


def same(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return left == right


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("way", WAYS)
def test_network_buffers_and_optimizer_are_bit_for_bit_as_before(way: str, training: bool) -> None:
    net, optimizer = prepared()
    net.train(training)
    before = snapshot(net, optimizer)
    assert any(key.endswith("num_batches_tracked") for key in before["values"])
    assert before["buffers"]
    assert before["gradients"].keys() == before["identities"].keys() & {
        name for name, _ in net.named_parameters()
    }
    call, options = WAYS[way]
    for _ in range(2):
        call(net, loss_fn, batch(1), batch(2), optimizer, **options)
    after = snapshot(net, optimizer)
    for part, value in before.items():
        assert same(value, after[part]), part


@pytest.mark.parametrize("way", WAYS)
def test_an_exception_in_the_loss_leaves_everything_as_it_was(way: str) -> None:
    net, optimizer = prepared()
    before = snapshot(net, optimizer)
    call, options = WAYS[way]
    calls: list[int] = []

    def breaks(view: Any, given: Batch) -> Tensor:
        calls.append(1)
        value = loss_fn(view, given)
        if len(calls) == (1 if way == "first_order" else 2):
            raise RuntimeError("broken")
        return value

    with pytest.raises(RuntimeError, match="broken"):
        call(net, breaks, batch(1), batch(2), optimizer, **options)
    after = snapshot(net, optimizer)
    for part, value in before.items():
        assert same(value, after[part]), part


@pytest.mark.parametrize("way", ["first_order", "finite_difference", "exact"])
def test_the_answer_is_repeatable_and_shaped_like_the_alphas(way: str) -> None:
    net, optimizer = prepared()
    call, options = WAYS[way]
    first = call(net, loss_fn, batch(1), batch(2), optimizer, **options)
    again = call(net, loss_fn, batch(1), batch(2), optimizer, **options)
    assert list(first) == ["normal", "reduce"]
    for name, gradient in first.items():
        assert gradient.shape == (5, 8)
        assert not gradient.requires_grad
        assert gradient.isfinite().all()
        assert torch.equal(gradient, again[name])


def test_first_order_is_the_plain_gradient() -> None:
    net, optimizer = prepared()
    found = first_order(net, loss_fn, batch(1), batch(2), optimizer)
    plain = torch.autograd.grad(loss_fn(net, batch(2)), list(net.alphas.values()))
    for gradient, wanted in zip(found.values(), plain, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-7)


def test_first_order_never_asks_for_the_gradient_of_a_weight() -> None:
    asked: list[bool] = []

    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(x, weight)
            return x * weight

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
            x, weight = ctx.saved_tensors
            asked.append(ctx.needs_input_grad[1])
            return gradient * weight, (gradient * x).sum() if ctx.needs_input_grad[1] else None

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(2.0))
            self.alphas = nn.ParameterDict({"only": nn.Parameter(torch.tensor([3.0]))})

        def weight_parameters(self) -> list[nn.Parameter]:
            return [self.weight]

    def loss(net: Any, given: Tensor) -> Tensor:
        return Scale.apply(net.alphas["only"] * given, net.weight).sum()

    net = Net()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1)
    found = first_order(net, loss, None, torch.tensor(5.0), optimizer)
    assert found["only"].tolist() == [10.0]
    assert asked == [False]
    loss(net, torch.tensor(5.0)).backward()
    assert asked == [False, True]  # what a plain backward pass does


def test_first_order_saves_the_work_of_the_weight_gradients() -> None:
    net, optimizer = prepared()
    with FlopCounterMode(display=False) as forward:
        loss_fn(net, batch(2))
    with FlopCounterMode(display=False) as plain:
        loss_fn(net, batch(2)).backward()
    with FlopCounterMode(display=False) as lean:
        first_order(net, loss_fn, batch(1), batch(2), optimizer)
    # Forward, input gradients and weight gradients cost about the same each.
    assert lean.get_total_flops() > forward.get_total_flops()
    saved = plain.get_total_flops() - lean.get_total_flops()
    assert saved > 0.9 * forward.get_total_flops()


@pytest.mark.parametrize("cells", [1, 2])
@pytest.mark.parametrize("way", ["first_order", "finite_difference", "exact"])
def test_alphas_that_no_cell_uses_have_a_gradient_of_zero(way: str, cells: int) -> None:
    """One or two cells are both at a third of the depth: there is no normal cell."""
    net, optimizer = prepared(cells)
    assert "normal" not in net.kinds
    call, options = WAYS[way]
    found = call(net, loss_fn, batch(1), batch(2), optimizer, **options)
    assert not found["normal"].any()
    assert found["normal"].shape == (5, 8)
    assert found["reduce"].all()


@pytest.mark.parametrize("hvp", ["exact", "finite_difference"])
def test_weights_off_the_path_of_the_loss_count_as_zero(hvp: str) -> None:
    net, _ = prepared()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1)
    skips = torch.zeros(5, 8)
    skips[:, 3] = 1

    def loss(view: Any, given: Batch) -> Tensor:
        weights = {kind: skips * alpha.exp() for kind, alpha in view.alphas.items()}
        return F.cross_entropy(view(given[0], weights), given[1])

    found = unrolled(net, loss, batch(1), batch(2), optimizer, hvp=hvp)
    for gradient in found.values():
        assert gradient[:, 3].all()
        assert not gradient[:, [0, 1, 2, 4, 5, 6, 7]].any()


def test_the_registry_names_both() -> None:
    assert {"first_order", "unrolled"} <= set(GRADIENTS)


@pytest.mark.parametrize("way", ["first_order", "finite_difference", "exact"])
def test_a_loss_without_any_alpha_has_a_gradient_of_zero(way: str) -> None:
    """As a cell whose sampled operations lead nothing to its output leaves behind."""
    net, optimizer = prepared()

    def cut(view: Any, given: Batch) -> Tensor:
        weights = {name: torch.zeros_like(alpha) for name, alpha in view.alphas.items()}
        return F.cross_entropy(view(given[0], weights), given[1])

    call, options = WAYS[way]
    found = call(net, cut, batch(1), batch(2), optimizer, **options)
    assert [gradient.shape for gradient in found.values()] == [(5, 8), (5, 8)]
    assert not any(gradient.any() for gradient in found.values())
