"""The second-order gradient on a smooth network, compared with real weight steps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_search import cross_entropy
from torch import Tensor

from darts.methods.bilevel import compare_products, first_order, unrolled

Smooth = Callable[..., Any]

SETTINGS: list[dict[str, Any]] = [
    {"lr": 0.5},
    {"lr": 0.3, "momentum": 0.9, "weight_decay": 3e-2},
    {"lr": 0.3, "momentum": 0.9, "dampening": 0.5},
    {"lr": 0.3, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2},
]


def with_history(net: Any, batch: Any, options: dict[str, Any]) -> torch.optim.SGD:
    """Return an optimizer after two steps, with filled momentum buffers."""
    optimizer = torch.optim.SGD(net.weight_parameters(), **options)
    for _ in range(2):
        optimizer.zero_grad()
        cross_entropy(net, batch).backward()
        optimizer.step()
    net.zero_grad()
    return optimizer


def flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in gradients.values()])


def after_a_real_step(
    net: Any, optimizer: torch.optim.SGD, train: Any, valid: Any, shift: dict[str, Tensor]
) -> float:
    """Return the validation loss after one step of a copy with shifted alphas."""
    net = copy.deepcopy(net)
    with torch.no_grad():
        for name, alpha in net.alphas.items():
            alpha += shift[name]
    again = torch.optim.SGD(net.weight_parameters(), **optimizer.defaults)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    cross_entropy(net, train).backward()
    again.step()
    with torch.no_grad():
        return float(cross_entropy(net, valid))


def finite_differences(net: Any, optimizer: torch.optim.SGD, train: Any, valid: Any) -> Tensor:
    step, differences = 1e-4, []
    for name, alpha in net.alphas.items():
        for index in range(alpha.numel()):
            values = []
            for sign in (1, -1):
                shift = {key: torch.zeros_like(a) for key, a in net.alphas.items()}
                shift[name].view(-1)[index] = sign * step
                values.append(after_a_real_step(net, optimizer, train, valid, shift))
            differences.append((values[0] - values[1]) / (2 * step))
    return torch.tensor(differences, dtype=torch.float64)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("options", SETTINGS, ids=lambda o: "-".join(o))
def test_exact_gradient_matches_real_steps(
    smooth: Smooth, options: dict[str, Any], training: bool
) -> None:
    net, train, valid = smooth()
    optimizer = with_history(net, train, options)
    net.train(training)
    wanted = finite_differences(net, optimizer, train, valid)
    actual = flat(unrolled(net, cross_entropy, train, valid, optimizer, hvp="exact"))
    torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-8)
    # The second-order term is large enough for the test to be meaningful.
    direct = flat(first_order(net, cross_entropy, train, valid, optimizer))
    assert (actual - direct).norm() > 0.01 * direct.norm()


@pytest.mark.parametrize("options", SETTINGS, ids=lambda o: "-".join(o))
def test_finite_difference_converges_to_the_exact_product(
    smooth: Smooth, options: dict[str, Any]
) -> None:
    net, train, valid = smooth()
    optimizer = with_history(net, train, options)
    exact = flat(unrolled(net, cross_entropy, train, valid, optimizer, hvp="exact"))

    def error(epsilon: float) -> float:
        actual = flat(unrolled(net, cross_entropy, train, valid, optimizer, epsilon=epsilon))
        return float((actual - exact).norm() / exact.norm())

    assert error(0.01) < 1e-3  # the published step length
    assert error(1e-4) < 1e-7
    # The error of a central difference is quadratic in the step length.
    assert error(0.1) / error(0.01) == pytest.approx(100, rel=0.2)


def test_the_comparison_of_both_products_is_that_of_both_gradients(smooth: Smooth) -> None:
    """The products are the differences between the first term and the gradients."""
    net, train, valid = smooth()
    optimizer = with_history(net, train, SETTINGS[1])
    arguments = (net, cross_entropy, train, valid, optimizer)
    exact = flat(unrolled(*arguments, hvp="exact"))
    finite = flat(unrolled(*arguments, epsilon=0.3))
    report = compare_products(*arguments, epsilon=0.3)
    cross_entropy(net, train).backward()
    optimizer.step()
    first = flat(first_order(*arguments))
    expected = {
        "product_cosine": F.cosine_similarity(first - exact, first - finite, dim=0),
        "product_relative_difference": (finite - exact).norm() / (first - exact).norm(),
        "gradient_cosine": F.cosine_similarity(exact, finite, dim=0),
        "product_share": (first - exact).norm() / first.norm(),
    }
    assert report == pytest.approx({name: float(value) for name, value in expected.items()})


def test_dropout_is_the_same_in_all_evaluations_of_the_training_loss(smooth: Smooth) -> None:
    net, train, valid = smooth(dropout=0.5)
    optimizer = with_history(net, train, SETTINGS[1])
    actual, generators = {}, {}
    for hvp in ("exact", "finite_difference"):
        torch.manual_seed(7)
        actual[hvp] = flat(
            unrolled(net, cross_entropy, train, valid, optimizer, hvp=hvp, epsilon=1e-4)
        )
        generators[hvp] = torch.get_rng_state()
    torch.testing.assert_close(*actual.values(), rtol=1e-6, atol=1e-9)
    # Both consume the random numbers of exactly two losses.
    assert torch.equal(*generators.values())
    torch.manual_seed(7)
    cross_entropy(net, train), cross_entropy(net, valid)
    assert torch.equal(torch.get_rng_state(), generators["exact"])
    torch.manual_seed(8)
    other = flat(unrolled(net, cross_entropy, train, valid, optimizer, hvp="exact"))
    assert not torch.allclose(other, actual["exact"], rtol=1e-3)


@pytest.mark.parametrize("epsilon", [None, 0.05, 3.0])
def test_finite_difference_shifts_the_weights_by_epsilon(
    smooth: Smooth, epsilon: float | None
) -> None:
    net, train, valid = smooth()
    optimizer = with_history(net, train, SETTINGS[1])
    evaluations: list[tuple[bool, Tensor]] = []

    def recording_loss(view: Any, batch: Any) -> Tensor:
        flat_weights = torch.cat([w.detach().flatten() for w in view.weight_parameters()])
        evaluations.append((batch is train, flat_weights))
        return cross_entropy(view, batch)

    options: dict[str, Any] = {} if epsilon is None else {"epsilon": epsilon}
    unrolled(net, recording_loss, train, valid, optimizer, **options)
    assert [in_training for in_training, _ in evaluations] == [True, False, True, True]
    start, stepped, plus, minus = (weights for _, weights in evaluations)
    own = torch.cat([w.detach().flatten() for w in net.weight_parameters()])
    assert torch.equal(start, own)
    length = 0.01 if epsilon is None else epsilon
    assert float((plus - own).norm()) == pytest.approx(length, rel=1e-9)
    torch.testing.assert_close(plus - own, own - minus, rtol=1e-9, atol=1e-12)
    # The shift is along the gradient at the stepped weights.
    copied = copy.deepcopy(net)
    torch.nn.utils.vector_to_parameters(stepped, copied.weight_parameters())
    weight_gradients = torch.autograd.grad(cross_entropy(copied, valid), copied.weight_parameters())
    direction = torch.cat([g.flatten() for g in weight_gradients])
    torch.testing.assert_close((plus - own) / length, direction / direction.norm())


def test_finite_difference_runs_without_autocast(smooth: Smooth) -> None:
    net, *batches = smooth()
    net = net.float()
    train, valid = ((images.float(), labels) for images, labels in batches)
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.3)
    evaluations: list[tuple[bool, torch.dtype]] = []

    def recording_loss(view: Any, batch: Any) -> Tensor:
        logits = view(batch[0])
        evaluations.append((torch.is_autocast_enabled("cpu"), logits.dtype))
        return F.cross_entropy(logits.float(), batch[1])

    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = flat(unrolled(net, recording_loss, train, valid, optimizer))
        assert torch.is_autocast_enabled("cpu")
    assert evaluations == [(True, torch.bfloat16)] * 2 + [(False, torch.float32)] * 2
    full = flat(unrolled(net, cross_entropy, train, valid, optimizer))
    assert actual.dtype == torch.float32
    assert F.cosine_similarity(actual, full, dim=0) > 0.99


def test_invalid_options_raise_an_error_before_the_loss_is_computed(smooth: Smooth) -> None:
    net, train, valid = smooth()

    def unexpected_loss(net: Any, batch: Any) -> Tensor:
        raise AssertionError("the loss was evaluated")

    sgd = torch.optim.SGD(net.weight_parameters(), lr=0.1)
    with pytest.raises(
        ValueError, match="unknown hvp 'hessian'; choose from finite_difference, ex"
    ):
        unrolled(net, unexpected_loss, train, valid, sgd, hvp="hessian")
    for epsilon in (0.0, -0.01, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"epsilon={epsilon}: must be positive and finite"):
            unrolled(net, unexpected_loss, train, valid, sgd, epsilon=epsilon)


@pytest.mark.parametrize("hvp", ["exact", "finite_difference"])
def test_other_optimizers_raise_an_error(smooth: Smooth, hvp: str) -> None:
    net, train, valid = smooth()
    adam = torch.optim.Adam(net.weight_parameters())
    with pytest.raises(ValueError, match=r"requires torch\.optim\.SGD, got Adam") as caught:
        unrolled(net, cross_entropy, train, valid, adam, hvp=hvp)
    assert "\n" not in str(caught.value)
    first_order(net, cross_entropy, train, valid, adam)  # needs no SGD
