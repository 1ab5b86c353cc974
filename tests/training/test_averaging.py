"""Averaged weights and scores of networks equal explicit computations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darts.tasks.task import TASKS, ObjectiveSpec
from darts.training.averaging import Averaging
from darts.training.scoring import evaluate

ACCURACY = TASKS["classification"].metrics["accuracy"]
PERPLEXITY = TASKS["language_model"].metrics["perplexity"]


def take_steps(
    net: nn.Linear, averaging: Averaging, steps: int, seed: int = 0
) -> list[torch.Tensor]:
    """Change the weights at random and return them after each step."""
    generator = torch.Generator().manual_seed(seed)
    weights = []
    for _ in range(steps):
        with torch.no_grad():
            net.weight.add_(torch.randn(net.weight.shape, generator=generator))
        averaging.step()
        weights.append(net.weight.detach().clone())
    return weights


def test_an_exponential_average_weighs_recent_steps_more() -> None:
    net = nn.Linear(3, 2)
    averaging = Averaging(net, decay=0.8)
    first, *others = take_steps(net, averaging, 6)
    expected = first
    for weight in others:
        expected = 0.8 * expected + 0.2 * weight
    torch.testing.assert_close(averaging.scored_net.weight, expected)
    assert not averaging.end_epoch(0.1, ACCURACY)  # it started with the first step


@pytest.mark.parametrize("power", [0.5, 1, 8])
@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_a_polynomial_average_weighs_each_step_by_a_power(power: float, steps: int) -> None:
    """Step t has the weight t (t + 1) ... (t + p - 1): about t to the power p, and 1 for t = 1."""
    net = nn.Linear(3, 2)
    averaging = Averaging(net, power=power)
    values = torch.stack(take_steps(net, averaging, steps))
    times = torch.arange(1, steps + 1, dtype=torch.float64)
    weights = (torch.lgamma(times + power) - torch.lgamma(times)).softmax(0)
    expected = (weights[:, None, None] * values).sum(0).float()
    torch.testing.assert_close(averaging.scored_net.weight, expected)


def test_a_mean_starts_after_epochs_without_improvement() -> None:
    net = nn.Linear(3, 2)
    averaging = Averaging(net, patience=2)
    # With patience=2, 85 is compared with 100 only.
    for score in (100.0, 90.0, 80.0, 85.0):
        take_steps(net, averaging, 3)
        assert averaging.scored_net is net
        assert not averaging.end_epoch(score, PERPLEXITY)
    take_steps(net, averaging, 3)
    assert averaging.end_epoch(90.5, PERPLEXITY)  # worse than 90, three epochs before
    weights = take_steps(net, averaging, 4, seed=1)
    assert not averaging.end_epoch(200.0, PERPLEXITY)
    weights += take_steps(net, averaging, 4, seed=2)
    torch.testing.assert_close(averaging.scored_net.weight, torch.stack(weights).mean(0))


def first_averaged_epoch(scores: list[float], patience: int) -> int | None:
    """Return the epoch in which averaging starts by algorithm 1 of Merity et al.

    It is the first t > n with a loss above the minimum of logs[0 : t-n], arXiv:1708.02182.
    """
    logs: list[float] = []
    for t, value in enumerate(scores):
        if t > patience and value > min(logs[: t - patience]):
            return t
        logs.append(value)
    return None


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("patience", [1, 3])
def test_a_mean_starts_in_the_epoch_of_the_published_algorithm(seed: int, patience: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    falling = torch.linspace(5, 0, 15) + 2 * torch.rand(15, generator=generator)
    for metric, sign in ((PERPLEXITY, 1), (ACCURACY, -1)):
        averaging = Averaging(nn.Linear(1, 1), patience=patience)
        starts = [averaging.end_epoch(sign * score, metric) for score in falling.tolist()]
        expected = first_averaged_epoch(falling.tolist(), patience)
        assert [epoch for epoch, value in enumerate(starts) if value] == (
            [] if expected is None else [expected]
        )


@pytest.mark.parametrize("options", [{"decay": 0.9}, {"power": 3.0}, {"patience": 1}, {}])
def test_a_resumed_average_equals_an_uninterrupted_one(options: dict[str, Any]) -> None:
    unbroken_net, net = nn.Linear(3, 2), nn.Linear(3, 2)
    unbroken = Averaging(unbroken_net, **options)
    take_steps(unbroken_net, unbroken, 2)
    for score in (2.0, 1.0, 3.0):
        unbroken.end_epoch(score, PERPLEXITY)
    take_steps(unbroken_net, unbroken, 3, seed=1)
    net.load_state_dict(unbroken_net.state_dict())
    resumed = Averaging(net, **options)
    resumed.load_state_dict(unbroken.state_dict())
    for module, averaging in ((unbroken_net, unbroken), (net, resumed)):
        take_steps(module, averaging, 3, seed=2)
    assert torch.equal(unbroken.scored_net.weight, resumed.scored_net.weight)
    assert (unbroken.scored_net is unbroken_net) == (resumed.scored_net is net) == (not options)


CPU = torch.device("cpu")
OBJECTIVE = TASKS["classification"]().make_objective(ObjectiveSpec(tuple("abcd")))


def make_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, 4))


def make_batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(sum(sizes), 3, 2, 2, generator=draw)
    labels = torch.randint(4, (sum(sizes),), generator=draw)
    return list(zip(images.split(sizes), labels.split(sizes), strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_scores_use_evaluation_mode_and_do_not_change_the_network(training: bool) -> None:
    model = make_net().train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batches = make_batches(5, 5, 1)  # batch norm refuses the last batch in training mode
    scores = evaluate(model, batches, OBJECTIVE, device=CPU)
    assert model.training is training
    assert all(layer.training is training for layer in model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    model.eval()
    correct = sum(int((model(x).argmax(1) == y).sum()) for x, y in batches)
    assert scores["accuracy"] == pytest.approx(correct / 11)
    with torch.no_grad():
        loss = nn.functional.cross_entropy(
            model(torch.cat([x for x, _ in batches])), torch.cat([y for _, y in batches])
        )
    assert scores["loss"] == pytest.approx(float(loss), rel=1e-5)


def test_a_custom_forward_function_runs_without_gradients_in_evaluation_mode() -> None:
    model = make_net()
    modes: list[bool] = []

    def forward(images: Tensor) -> Tensor:
        modes.append(model.training or torch.is_grad_enabled())
        return torch.eye(4)[[0, 1, 2]].float()

    batches = [(torch.zeros(3, 3, 2, 2), torch.tensor([0, 1, 3]))]
    scores = evaluate(model, batches, OBJECTIVE, device=CPU, forward=forward)
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert modes == [False]


def test_forward_passes_use_the_precision_and_losses_use_float32() -> None:
    model = make_net()
    dtypes: list[Any] = []
    model.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    half = evaluate(model, make_batches(6), OBJECTIVE, device=CPU, precision="bf16")
    full = evaluate(model, make_batches(6), OBJECTIVE, device=CPU)
    assert dtypes == [torch.bfloat16, torch.float32]
    assert half["loss"] == pytest.approx(full["loss"], rel=0.05)
