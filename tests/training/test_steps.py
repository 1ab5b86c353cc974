"""Optimizer steps, learning rates and scores equal explicit computations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darts.config import ConfigError, WeightOptimizerConfig
from darts.tasks.task import TASKS, ObjectiveSpec
from darts.training.device import loss_scaler
from darts.training.schedules import rate_of_epoch, stable_rate, warmup_cosine
from darts.training.scoring import evaluate, memorizes
from darts.training.steps import (
    check_weight_optimizer,
    optimizer_steps,
    set_learning_rate,
    weight_optimizer,
)

SCALER = loss_scaler("fp32", torch.device("cpu"))


@pytest.mark.parametrize("options", [{"algorithm": "adam"}, {"momentum": 0.0}])
def test_nesterov_momentum_needs_sgd_with_momentum(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"nesterov=true: needs optimizer\.algorithm=sgd"):
        check_weight_optimizer(WeightOptimizerConfig(nesterov=True, **options))


def equal_nets() -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    first, second = nn.Linear(4, 3), nn.Linear(4, 3)
    second.load_state_dict(first.state_dict())
    return first, second


@pytest.mark.parametrize("clip", [0.0, 0.5, 1e6])
def test_a_step_is_one_of_sgd_with_momentum_after_clipping(clip: float) -> None:
    net, other = equal_nets()
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)) * 5
    optimizer, plain = (
        torch.optim.SGD(own.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
        for own in (net, other)
    )
    for _ in range(3):
        (norm,) = optimizer_steps(net(x).square().mean(), [(optimizer, clip)], SCALER)
        plain.zero_grad()
        other(x).square().mean().backward()
        length = nn.utils.clip_grad_norm_(other.parameters(), clip or float("inf"))
        plain.step()
        assert float(norm) == pytest.approx(float(length), rel=1e-5)  # before clipping
        for actual, expected in zip(net.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_a_scaled_loss_gives_the_same_step(clip: float) -> None:
    """In fp16, gradients are scaled up; clipping must use their true norm."""
    net, other = equal_nets()
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)) * 5
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    norms = [
        float(optimizer_steps(net(x).square().mean(), [(optimizer, clip)], scale)[0])
        for net, scale in ((net, scaler), (other, SCALER))
        for optimizer in [torch.optim.SGD(net.parameters(), lr=0.1)]
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    torch.testing.assert_close(net.weight, other.weight)
    before = net.weight.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    optimizer_steps(net(x).sum() * float("inf"), [(optimizer, clip)], scaler)
    assert torch.equal(net.weight, before)  # a step whose gradient overflows is skipped
    assert scaler.get_scale() == 512


def test_a_step_ignores_old_gradients_and_weights_without_gradients() -> None:
    net, _ = equal_nets()
    unused = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([*net.parameters(), unused], lr=0.1)
    loss = net(torch.ones(1, 4)).sum()
    (first,) = optimizer_steps(loss, [(optimizer, 0.0)], SCALER)
    (again,) = optimizer_steps(net(torch.ones(1, 4)).sum(), [(optimizer, 0.0)], SCALER)
    assert float(first) == pytest.approx(float(again))
    assert unused.tolist() == [1, 1]


def test_the_configured_optimizer_updates_the_weights() -> None:
    """The first step of Adam has the size of the learning rate for any gradient."""
    config = WeightOptimizerConfig(algorithm="adam", lr=0.1, momentum=0.8, weight_decay=0.0)
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = weight_optimizer([weight], config)
    weight.grad = torch.tensor([1e-3, -50.0])
    optimizer.step()
    assert weight.tolist() == pytest.approx([0.9, -1.9], abs=1e-5)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)
    plain = weight_optimizer([weight], WeightOptimizerConfig(lr=0.1, weight_decay=0.01))
    assert isinstance(plain, torch.optim.SGD)
    assert (plain.defaults["momentum"], plain.defaults["nesterov"]) == (0.9, False)
    assert weight_optimizer([weight], WeightOptimizerConfig(nesterov=True)).defaults["nesterov"]


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 3)])
def test_adam_continues_from_a_checkpoint_in_any_layout(shape: tuple[int, ...]) -> None:
    """A checkpoint holds contiguous tensors, the weights of convolutions are channels_last."""
    begin, gradient = torch.randn(shape), torch.randn(shape)
    nhwc = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    weight, other = (nn.Parameter(begin.to(memory_format=nhwc, copy=True)) for _ in range(2))
    optimizer = weight_optimizer([weight], WeightOptimizerConfig(algorithm="adam", lr=0.1))
    plain = torch.optim.AdamW([other], lr=0.1, betas=(0.9, 0.999), weight_decay=3e-4)
    for own, steps in ((weight, optimizer), (other, plain)):
        for _ in range(2):
            own.grad = gradient.to(memory_format=nhwc)
            steps.step()
            for name in ("exp_avg", "exp_avg_sq"):
                steps.state[own][name] = steps.state[own][name].contiguous()
    torch.testing.assert_close(weight, other, rtol=1e-5, atol=1e-6)


def test_earlier_layers_learn_at_lower_rates() -> None:
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(20)]
    optimizer = weight_optimizer(weights, WeightOptimizerConfig(layer_decay=0.5))
    set_learning_rate(optimizer, 0.1)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    ordered = [rates[id(weight)] for weight in weights]
    assert len(optimizer.param_groups) == len(set(ordered)) == 8
    assert ordered == sorted(ordered)
    assert (ordered[0], ordered[-1]) == (pytest.approx(0.1 * 0.5**7), 0.1)
    few = weight_optimizer(weights[:2], WeightOptimizerConfig(layer_decay=0.5))
    assert len(few.param_groups) == 2


@pytest.mark.parametrize(
    ("steps", "warmup", "rising"),
    [
        *((40, 0.25, 10), (30, 0.1, 3), (7, 0.5, 4), (10, 0.01, 1)),
        *((4, 0.99, 3), (9, 0.0, 0), (1, 0.5, 0)),
    ],
)
def test_the_rate_rises_linearly_and_then_follows_the_cosine_of_torch(
    steps: int, warmup: float, rising: int
) -> None:
    """Rise and fall meet in one step at the highest rate; the first rate is above 0."""
    high, low = 0.1, 0.01
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=high)
    rise = torch.linspace(0, high, rising + 2, dtype=torch.float64)[1:-1].tolist()
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - rising, eta_min=low)
    expected = list(rise)
    for _ in range(steps - rising):
        expected.append(fall.get_last_lr()[0])
        optimizer.step()
        fall.step()
    rates = [warmup_cosine(step, steps, warmup, high, low) for step in range(steps)]
    assert rates == pytest.approx(expected, rel=1e-9)
    assert max(rates) == rates[rising] == high
    assert warmup_cosine(steps, steps, warmup, high, low) == pytest.approx(low)


def test_the_exponential_schedule_equals_that_of_torch() -> None:
    config = WeightOptimizerConfig(lr=0.1, lr_min=0.0, schedule="exponential", decay=0.97)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.97)
    for epoch in range(20):
        assert rate_of_epoch(config, epoch, 250) == pytest.approx(schedule.get_last_lr()[0], 1e-9)
        optimizer.step()
        schedule.step()
    floor = WeightOptimizerConfig(lr=0.1, lr_min=0.05, schedule="exponential", decay=0.5)
    assert rate_of_epoch(floor, 9, 10) == 0.05


def stable(warmup: int, cooldown: float) -> WeightOptimizerConfig:
    own: Any = {"lr": 0.1, "schedule": "stable", "lr_min": 0.0}
    return WeightOptimizerConfig(warmup_epochs=warmup, cooldown=cooldown, **own)


@pytest.mark.parametrize(
    ("epochs", "steps", "warmup", "decay"),
    [(6, 4, 2, 3), (2, 5, 1, 1), (3, 1, 1, 1), (5, 3, 0, 2), (4, 3, 2, 0), (3, 2, 0, 0)],
)
def test_the_stable_schedule_rises_is_constant_and_falls(
    epochs: int, steps: int, warmup: int, decay: int
) -> None:
    """Neither rise nor fall contains 0; without warm-up or decay, there is none."""
    sizes = (count * steps + 2 for count in (warmup, decay))
    rise, fall = (torch.linspace(0, 1, size, dtype=torch.float64)[1:-1] for size in sizes)
    constant = torch.ones((epochs - warmup - decay) * steps, dtype=torch.float64)
    expected = (0.1 * torch.cat([rise, constant, 1 - fall.sqrt()])).tolist()
    config = stable(warmup, decay / epochs)
    rates = [stable_rate(config, step, epochs, steps) for step in range(epochs * steps)]
    assert rates == pytest.approx(expected, rel=1e-9)


def test_without_a_cooldown_the_stable_schedule_does_not_depend_on_the_number_of_epochs() -> None:
    rates = [[stable_rate(stable(3, 0), step, epochs, 4) for step in range(8)] for epochs in (2, 9)]
    assert rates[0] == rates[1]


def test_with_a_time_limit_the_rate_falls_with_the_time() -> None:
    shares = [1.0, 0.6, 0.5, 0.25, 0.0, -0.1]  # the last step may end too late
    for step in (0, 900):  # the number of epochs is far away
        rates = [stable_rate(stable(0, 0.5), step, 10**6, 10, time_left=left) for left in shares]
        assert rates == pytest.approx([0.1, 0.1, 0.1, 0.1 - 0.1 * 0.5**0.5, 0.0, 0.0])
    assert stable_rate(stable(0, 0.0), 5, 10**6, 10, time_left=0.0) == 0.1


def test_with_a_timescale_the_rate_decays_with_the_slow_steps() -> None:
    config = replace(stable(0, 0.0), timescale=100)
    assert stable_rate(config, 0, 9, 50) == stable_rate(config, 300, 9, 50) == 0.1
    assert stable_rate(config, 300, 9, 50, slow_steps=300) == pytest.approx(0.05)
    falling = replace(config, cooldown=1.0)
    for left, rate in ((0.75, 0.025), (0.0, 0.0)):
        found = stable_rate(falling, 300, 10**6, 50, time_left=left, slow_steps=300)
        assert found == pytest.approx(rate)


@pytest.mark.parametrize("option", [{"cooldown": 0.5}, {"timescale": 10}])
def test_options_of_the_stable_schedule_need_it(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"=[0-9.]+: set optimizer\.schedule=stable"):
        check_weight_optimizer(WeightOptimizerConfig(**option))


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


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"train_accuracy": 0.9, "valid_accuracy": 0.9, "train_loss": 1, "valid_loss": 2}, False),
        ({"train_accuracy": 0.91, "valid_accuracy": 0.9, "train_loss": 2, "valid_loss": 1}, True),
        ({"train_loss": 1.0, "valid_loss": 1.0, "valid_accuracy": 0.5}, False),
        ({"train_loss": 0.9, "valid_loss": 1.0}, True),
    ],
)
def test_memorizing_is_to_be_better_in_training(row: dict[str, float], expected: bool) -> None:
    assert memorizes(row) == expected
