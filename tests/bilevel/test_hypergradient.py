"""The whole unrolled gradient on a smooth network, against steps that are really taken."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.bilevel import compare_products, first_order, unrolled

Smooth = Callable[..., Any]

SETTINGS: list[dict[str, Any]] = [
    {"lr": 0.5},
    {"lr": 0.3, "momentum": 0.9, "weight_decay": 3e-2},
    {"lr": 0.3, "momentum": 0.9, "dampening": 0.5},
    {"lr": 0.3, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2},
]


def loss_fn(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    images, labels = batch
    return F.cross_entropy(net(images), labels)


def with_history(net: Any, batch: Any, options: dict[str, Any]) -> torch.optim.SGD:
    """An optimizer that has taken two steps, so that its momentum buffers are filled."""
    optimizer = torch.optim.SGD(net.weight_parameters(), **options)
    for _ in range(2):
        optimizer.zero_grad()
        loss_fn(net, batch).backward()
        optimizer.step()
    net.zero_grad()
    return optimizer


def flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in gradients.values()])


def after_a_real_step(
    net: Any, optimizer: torch.optim.SGD, train: Any, valid: Any, shift: dict[str, Tensor]
) -> float:
    """Validation loss after one step of a copy whose alphas are shifted from the start."""
    net = copy.deepcopy(net)
    with torch.no_grad():
        for name, alpha in net.alphas.items():
            alpha += shift[name]
    again = torch.optim.SGD(net.weight_parameters(), **optimizer.defaults)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    loss_fn(net, train).backward()
    again.step()
    with torch.no_grad():
        return float(loss_fn(net, valid))


def measured(net: Any, optimizer: torch.optim.SGD, train: Any, valid: Any) -> Tensor:
    """Central differences, one alpha after the other."""
    step, slopes = 1e-4, []
    for name, alpha in net.alphas.items():
        for place in range(alpha.numel()):
            values = []
            for sign in (1, -1):
                shift = {key: torch.zeros_like(a) for key, a in net.alphas.items()}
                shift[name].view(-1)[place] = sign * step
                values.append(after_a_real_step(net, optimizer, train, valid, shift))
            slopes.append((values[0] - values[1]) / (2 * step))
    return torch.tensor(slopes, dtype=torch.float64)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("options", SETTINGS, ids=lambda o: "-".join(o))
def test_the_exact_gradient_is_the_measured_one(
    smooth: Smooth, options: dict[str, Any], training: bool
) -> None:
    net, train, valid = smooth()
    optimizer = with_history(net, train, options)
    net.train(training)
    wanted = measured(net, optimizer, train, valid)
    found = flat(unrolled(net, loss_fn, train, valid, optimizer, hvp="exact"))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-8)
    # The second-order term is no small change here, or the test would prove little.
    direct = flat(first_order(net, loss_fn, train, valid, optimizer))
    assert (found - direct).norm() > 0.01 * direct.norm()


@pytest.mark.parametrize("options", SETTINGS, ids=lambda o: "-".join(o))
def test_the_finite_difference_converges_to_the_exact_product(
    smooth: Smooth, options: dict[str, Any]
) -> None:
    net, train, valid = smooth()
    optimizer = with_history(net, train, options)
    exact = flat(unrolled(net, loss_fn, train, valid, optimizer, hvp="exact"))

    def error(epsilon: float) -> float:
        found = flat(unrolled(net, loss_fn, train, valid, optimizer, epsilon=epsilon))
        return float((found - exact).norm() / exact.norm())

    assert error(0.01) < 1e-3  # the published length
    assert error(1e-4) < 1e-7
    # A central difference: a tenth of the length, a hundredth of the error.
    assert error(0.1) / error(0.01) == pytest.approx(100, rel=0.2)


def test_the_two_products_point_the_same_way_on_a_smooth_network(smooth: Smooth) -> None:
    net, train, valid = smooth()
    optimizer = with_history(net, train, SETTINGS[1])
    report = compare_products(net, loss_fn, train, valid, optimizer)
    assert report["product_cosine"] == pytest.approx(1, abs=1e-5)
    assert report["gradient_cosine"] == pytest.approx(1, abs=1e-6)
    assert 0 < report["product_relative_difference"] < 1e-2
    tighter = compare_products(net, loss_fn, train, valid, optimizer, epsilon=1e-3)
    assert tighter["product_relative_difference"] < report["product_relative_difference"] / 50

    # By definition: the product is what the whole gradient lacks of its first term.
    whole = unrolled(net, loss_fn, train, valid, optimizer, hvp="exact")
    stepped = copy.deepcopy(net)
    again = torch.optim.SGD(stepped.weight_parameters(), **optimizer.defaults)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    loss_fn(stepped, train).backward()
    again.step()
    first = flat(first_order(stepped, loss_fn, train, valid, again))
    share = float((first - flat(whole)).norm() / first.norm())
    assert report["product_share"] == pytest.approx(share, rel=1e-6)


def test_without_a_learning_rate_both_are_first_order(smooth: Smooth) -> None:
    net, train, valid = smooth()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.0)
    wanted = flat(first_order(net, loss_fn, train, valid, optimizer))
    for hvp in ("exact", "finite_difference"):
        found = flat(unrolled(net, loss_fn, train, valid, optimizer, hvp=hvp))
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-15)


def test_dropout_draws_the_same_in_every_evaluation_of_the_training_loss(smooth: Smooth) -> None:
    net, train, valid = smooth(dropout=0.5)
    optimizer = with_history(net, train, SETTINGS[1])
    found, generators = {}, {}
    for hvp in ("exact", "finite_difference"):
        torch.manual_seed(7)
        found[hvp] = flat(unrolled(net, loss_fn, train, valid, optimizer, hvp=hvp, epsilon=1e-4))
        generators[hvp] = torch.get_rng_state()
    torch.testing.assert_close(*found.values(), rtol=1e-6, atol=1e-9)
    # Both have drawn for two losses, no more and no less.
    assert torch.equal(*generators.values())
    torch.manual_seed(7)
    loss_fn(net, train), loss_fn(net, valid)
    assert torch.equal(torch.get_rng_state(), generators["exact"])
    torch.manual_seed(8)
    other = flat(unrolled(net, loss_fn, train, valid, optimizer, hvp="exact"))
    assert not torch.allclose(other, found["exact"], rtol=1e-3)


@pytest.mark.parametrize("given", [None, 0.05, 3.0])
def test_the_weights_move_by_epsilon_to_both_sides(smooth: Smooth, given: float | None) -> None:
    net, train, valid = smooth()
    optimizer = with_history(net, train, SETTINGS[1])
    seen: list[tuple[bool, Tensor]] = []

    def watched(view: Any, batch: Any) -> Tensor:
        flat_weights = torch.cat([w.detach().flatten() for w in view.weight_parameters()])
        seen.append((batch is train, flat_weights))
        return loss_fn(view, batch)

    options: dict[str, Any] = {} if given is None else {"epsilon": given}
    unrolled(net, watched, train, valid, optimizer, **options)
    assert [in_training for in_training, _ in seen] == [True, False, True, True]
    start, stepped, plus, minus = (weights for _, weights in seen)
    own = torch.cat([w.detach().flatten() for w in net.weight_parameters()])
    assert torch.equal(start, own)
    length = 0.01 if given is None else given
    assert float((plus - own).norm()) == pytest.approx(length, rel=1e-9)
    torch.testing.assert_close(plus - own, own - minus, rtol=1e-9, atol=1e-12)
    # Along the gradient at the stepped weights.
    copied = copy.deepcopy(net)
    torch.nn.utils.vector_to_parameters(stepped, copied.weight_parameters())
    slope = torch.autograd.grad(loss_fn(copied, valid), copied.weight_parameters())
    direction = torch.cat([g.flatten() for g in slope])
    torch.testing.assert_close((plus - own) / length, direction / direction.norm())


def test_under_autocast_the_finite_difference_is_taken_in_full_precision(smooth: Smooth) -> None:
    net, *batches = smooth()
    net = net.float()
    train, valid = ((images.float(), labels) for images, labels in batches)
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.3)
    seen: list[tuple[bool, torch.dtype]] = []

    def watched(view: Any, batch: Any) -> Tensor:
        logits = view(batch[0])
        seen.append((torch.is_autocast_enabled("cpu"), logits.dtype))
        return F.cross_entropy(logits.float(), batch[1])

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = flat(unrolled(net, watched, train, valid, optimizer))
        assert torch.is_autocast_enabled("cpu")
    assert seen == [(True, torch.bfloat16)] * 2 + [(False, torch.float32)] * 2
    full = flat(unrolled(net, loss_fn, train, valid, optimizer))
    assert found.dtype == torch.float32
    assert F.cosine_similarity(found, full, dim=0) > 0.99


def test_wrong_options_are_refused_before_anything_is_computed(smooth: Smooth) -> None:
    net, train, valid = smooth()

    def never(net: Any, batch: Any) -> Tensor:
        raise AssertionError("the loss was evaluated")

    sgd = torch.optim.SGD(net.weight_parameters(), lr=0.1)
    with pytest.raises(
        ValueError, match="unknown hvp 'hessian'; choose from finite_difference, ex"
    ):
        unrolled(net, never, train, valid, sgd, hvp="hessian")
    for epsilon in (0.0, -0.01, float("inf"), float("nan")):
        for call in (unrolled, compare_products):
            with pytest.raises(
                ValueError, match=f"epsilon={epsilon}: must be positive and finite"
            ):
                call(net, never, train, valid, sgd, epsilon=epsilon)


@pytest.mark.parametrize("hvp", ["exact", "finite_difference"])
def test_an_optimizer_that_is_not_sgd_is_refused(smooth: Smooth, hvp: str) -> None:
    net, train, valid = smooth()
    adam = torch.optim.Adam(net.weight_parameters())
    with pytest.raises(ValueError, match=r"mirrors torch\.optim\.SGD, got Adam") as caught:
        unrolled(net, loss_fn, train, valid, adam, hvp=hvp)
    assert "\n" not in str(caught.value)
    first_order(net, loss_fn, train, valid, adam)  # which takes no step, takes any
