"""Gradients of the alphas, compared with real weight steps; they leave networks untouched."""

from __future__ import annotations

import copy
from typing import Any
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from end_states import plain
from oracles.comparing import HYPERGRADIENTS
from tiny_search import context_and_supernet, cross_entropy, make_batch
from torch import Tensor, nn

from darts.methods.bilevel import GRADIENTS, compare_products, first_order, unrolled
from darts.methods.bilevel.arch_gradient import GradientInputs
from darts.spaces.cnn import EdgewiseSupernet

SETTINGS: list[dict[str, Any]] = [
    {"lr": 0.5},
    {"lr": 0.3, "momentum": 0.9, "weight_decay": 3e-2},
    {"lr": 0.3, "momentum": 0.9, "dampening": 0.5},
    {"lr": 0.3, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2},
]


class SmoothSupernet(nn.Module):
    """Two mixed layers without kinks, on which finite differences converge."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(nn.Conv2d(4, 4, k, padding=k // 2), nn.Tanh(), nn.BatchNorm2d(4))
                for k in (1, 3)
            )
            for _ in range(2)
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(4, 3)
        alphas = {name: nn.Parameter(torch.randn(1, 3)) for name in ("first", "second")}
        self.alphas = nn.ParameterDict(alphas)

    def weight_parameters(self) -> list[nn.Parameter]:
        return [p for name, p in self.named_parameters() if not name.startswith("alphas.")]

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.stem(x))
        layer: Any
        for alpha, layer in zip(self.alphas.values(), self.layers, strict=True):
            mix = alpha.softmax(-1)[0]
            x = mix[0] * x + mix[1] * layer[0](x) + mix[2] * layer[1](x)
            x = self.dropout(x)
        return self.classifier(x.mean((2, 3)))


def smooth(dropout: float = 0.0) -> tuple[Any, Any, Any]:
    """Return a supernet, a training batch and a validation batch in float64."""
    torch.manual_seed(0)
    net, batches = SmoothSupernet(dropout).double(), []
    for seed in (1, 2):
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn(6, 2, 8, 8, generator=generator).double()
        batches.append((images, torch.randint(3, (6,), generator=generator)))
    return net, batches[0], batches[1]


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


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("options", SETTINGS, ids=lambda o: "-".join(o))
def test_exact_gradient_matches_real_steps(options: dict[str, Any], training: bool) -> None:
    net, train, valid = smooth()
    optimizer = with_history(net, train, options)
    net.train(training)
    step, differences = 1e-4, []
    for name, alpha in net.alphas.items():
        for index in range(alpha.numel()):
            values = []
            for sign in (1, -1):
                shift = {key: torch.zeros_like(a) for key, a in net.alphas.items()}
                shift[name].view(-1)[index] = sign * step
                values.append(after_a_real_step(net, optimizer, train, valid, shift))
            differences.append((values[0] - values[1]) / (2 * step))
    wanted = torch.tensor(differences, dtype=torch.float64)
    actual = flat(unrolled(net, cross_entropy, train, valid, optimizer, hvp="exact"))
    torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-8)
    # The second-order term is large enough for the test to be meaningful.
    direct = flat(first_order(net, cross_entropy, train, valid, optimizer))
    assert (actual - direct).norm() > 0.01 * direct.norm()


@pytest.mark.parametrize("options", SETTINGS, ids=lambda o: "-".join(o))
def test_finite_difference_converges_to_the_exact_product(options: dict[str, Any]) -> None:
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


def test_the_comparison_of_both_products_is_that_of_both_gradients() -> None:
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


def test_dropout_is_the_same_in_all_evaluations_of_the_training_loss() -> None:
    net, train, valid = smooth(dropout=0.5)
    optimizer = with_history(net, train, SETTINGS[1])
    actual, generators = {}, {}
    for hvp in ("exact", "finite_difference"):
        torch.manual_seed(7)
        given = (net, cross_entropy, train, valid, optimizer)
        actual[hvp] = flat(unrolled(*given, hvp=hvp, epsilon=1e-4))
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
def test_finite_difference_shifts_the_weights_by_epsilon(epsilon: float | None) -> None:
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


def test_finite_difference_runs_without_autocast() -> None:
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


def test_invalid_options_raise_an_error_before_the_loss_is_computed() -> None:
    net, train, valid = smooth()
    unexpected_loss = Mock(side_effect=AssertionError("the loss was evaluated"))
    sgd = torch.optim.SGD(net.weight_parameters(), lr=0.1)
    with pytest.raises(ValueError, match="unknown hvp 'hessian'; choose from finite_difference"):
        unrolled(net, unexpected_loss, train, valid, sgd, hvp="hessian")
    for epsilon in (0.0, -0.01, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"epsilon={epsilon}: must be positive and finite"):
            unrolled(net, unexpected_loss, train, valid, sgd, epsilon=epsilon)
    with pytest.raises(ValueError, match=r"clip=-1.0: must be >= 0"):
        unrolled(net, unexpected_loss, train, valid, sgd, clip=-1.0)


@pytest.mark.parametrize("hvp", ["exact", "finite_difference"])
def test_other_optimizers_raise_an_error(hvp: str) -> None:
    net, train, valid = smooth()
    adam = torch.optim.Adam(net.weight_parameters())
    with pytest.raises(ValueError, match=r"requires torch\.optim\.SGD, got Adam") as caught:
        unrolled(net, cross_entropy, train, valid, adam, hvp=hvp)
    assert "\n" not in str(caught.value)
    first_order(net, cross_entropy, train, valid, adam)  # needs no SGD


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


def test_single_level_is_the_gradient_of_the_training_loss() -> None:
    _, net = context_and_supernet("nas201")
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1)
    inputs = GradientInputs(net, cross_entropy, make_batch(0), make_batch(1), optimizer)
    actual = GRADIENTS["single_level"]().gradient(inputs)
    cross_entropy(net, make_batch(0)).backward()
    torch.testing.assert_close(actual["cell"], net.alphas["cell"].grad)
    other = GRADIENTS["first_order"]().gradient(inputs)
    assert not torch.allclose(actual["cell"], other["cell"], rtol=0.1)
