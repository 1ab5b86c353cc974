"""What changes during a search: stages, the end of a search, and frozen operations."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiny_search import make_batch, make_searcher
from torch import Tensor, nn

from darts.methods.freezing import (
    Freezing,
    FreezingState,
    GradientMatching,
    agreement,
    agreement_with_sum,
)
from darts.methods.stages import Stage, best_candidates, partial_of, stage_position
from darts.methods.stopping import Curvature
from darts.searching.searcher import Searcher
from darts.spaces.supernet import ParameterRows

shares = st.lists(st.floats(0.01, 100), min_size=1, max_size=6)


@given(st.integers(1, 120), shares)
@settings(deadline=None)
def test_stages_partition_the_epochs(epochs: int, given: list[float]) -> None:
    assume(epochs >= len(given))
    stages = [Stage(share=share) for share in given]
    positions = [stage_position(epoch, epochs, stages) for epoch in range(epochs)]
    assert [
        position for i, position in enumerate(positions) if position not in positions[:i]
    ] == sorted(set(positions))
    taken = []
    for number, position in enumerate(sorted(set(positions))):
        assert position.stage == number
        assert position.length >= 1
        own = [epoch for epoch in range(epochs) if positions[epoch] == position]
        assert own == list(range(position.first, position.first + position.length))
        progress = [position.progress(epoch) for epoch in own]
        assert progress == [i / len(own) for i in range(len(own))]
        taken += own
    assert taken == list(range(epochs))
    assert len(set(positions)) == len(stages)
    assert stage_position(epochs + 7, epochs, stages) == positions[-1]


@given(st.integers(1, 500), shares)
@settings(deadline=None)
def test_stage_lengths_match_their_shares_to_half_an_epoch(epochs: int, given: list[float]) -> None:
    exact = [epochs * share / sum(given) for share in given]
    assume(min(exact) >= 1.5)  # no stage has to be made longer than its share
    stages = [Stage(share=share) for share in given]
    ends = {}
    for epoch in range(epochs):
        position = stage_position(epoch, epochs, stages)
        ends[position.stage] = position.first + position.length
    for number, end in ends.items():
        assert abs(end - sum(exact[: number + 1])) <= 0.5 + 1e-6


def test_stages_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^epochs=1: must be >= 2, the number of stages$"):
        stage_position(0, 1, [Stage(), Stage()])
    with pytest.raises(ValueError, match=r"widen=1.5 does not divide relaxation.partial=4"):
        partial_of(4, Stage(widen=1.5))


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 9), st.floats(0.01, 1))
@settings(deadline=None)
def test_best_candidates_are_the_most_probable_of_each_edge(
    seed: int, edges: int, columns: int, keep: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(edges, columns, generator=generator).argsort(1)
    p = (order + 1) / (columns + 1)  # no two of an edge are equal
    present = torch.rand(edges, columns, generator=generator) < 0.7
    count = max(1, int(keep * columns + 0.5))
    for kept in ({}, {"cell": present}):
        mask = best_candidates({"cell": p}, kept, keep)["cell"]
        assert (mask.dtype, mask.shape) == (torch.bool, p.shape)
        for edge in range(edges):
            left = [c for c in range(columns) if not kept or present[edge, c]]
            best = sorted(left, key=lambda c: -float(p[edge, c]))[:count]
            assert mask[edge].nonzero()[:, 0].tolist() == sorted(best)


@pytest.mark.parametrize(
    ("partial", "widen", "expected"), [(4, 2, 2), (6, 1.5, 4), (6, 2, 3), (1, 2, 1), (3, 1, 3)]
)
def test_wider_stages_pass_more_channels(partial: int, widen: float, expected: int) -> None:
    assert partial_of(partial, Stage(widen=widen)) == expected


def slow(values: list[float], window: int, patience: int, ratio: float) -> tuple[int, int] | None:
    """Return the first epoch with enough growth of the mean, and the epoch before the growth."""
    means = {
        last: sum(values[last - k] for k in range(window)) / window
        for last in range(window - 1, len(values))
    }
    for epoch, mean in means.items():
        before = means.get(epoch - patience)
        if before is not None and mean > 0 and before < ratio * mean:
            return epoch, epoch - patience
    return None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("window", "patience", "ratio"), [(5, 5, 0.75), (3, 2, 0.9), (1, 1, 0.5)])
def test_random_walks_match_the_slow_implementation(
    seed: int, window: int, patience: int, ratio: float
) -> None:
    generator = random.Random(seed)
    values, value = [], 1.0
    for _ in range(40):
        value *= generator.uniform(0.85, 1.25)
        values.append(value)
    rule = Curvature(window=window, patience=patience, ratio=ratio)
    stops = [(epoch, rule.stop_epoch(values[: epoch + 1])) for epoch in range(40)]
    first = next((stop for stop in stops if stop[1] is not None), None)
    assert first == slow(values, window, patience, ratio)


def test_the_rule_of_the_authors_code_looks_at_every_second_epoch() -> None:
    """Its window of five measurements is centered; the first possible stop is after epoch 22."""
    rule = Curvature(window=5, patience=4, ratio=1 / 1.3, every=2, centered=True, min_epoch=10)
    assert [epoch for epoch in range(8) if rule.is_due(epoch)] == [0, 2, 4, 6]
    growing = [1.2**n for n in range(25)]  # by a factor of 2.07 in four measurements
    for count in range(12):
        assert rule.stop_epoch(growing[:count]) is None
    assert rule.stop_epoch(growing[:12]) == 10  # after epoch 22
    assert rule.stop_epoch(growing[:13]) == 12
    assert rule.stop_epoch(growing[:25]) == 36  # after epoch 48
    assert rule.stop_epoch([1.06**n for n in range(25)]) is None  # by a factor of 1.26
    assert rule.stop_epoch([1.07**n for n in range(25)]) == 36  # by a factor of 1.31


GENERATOR = torch.Generator().manual_seed(0)
State = FreezingState


def test_agreement_is_the_mean_cosine_of_output_channels() -> None:
    a, b = torch.randn(2, 4, 3, 3, 3, generator=GENERATOR).double()
    lengths = a.flatten(1).norm(dim=1) * b.flatten(1).norm(dim=1)
    cosines = (a * b).sum((1, 2, 3)) / lengths
    assert float(agreement(a, b)) == pytest.approx(float(cosines.mean()))
    # Each channel has the same weight, regardless of the size of its gradient.
    assert float(agreement(a, a * torch.tensor([1, -1, -1, -9.0])[:, None, None, None])) == -0.5


def test_agreement_with_the_sum_is_the_mean_cosine_along_output_channels() -> None:
    train, valid = torch.randn(2, 4, 3, 2, 1, generator=GENERATOR).double()
    total = train + valid
    cosines = (train * total).sum(0) / (train.norm(dim=0) * total.norm(dim=0))
    assert float(agreement_with_sum(train, valid)) == pytest.approx(float(cosines.mean()))
    # Orthogonal gradients of equal length have a cosine of 45 degrees with their sum.
    one, other = torch.eye(2)[:, :, None, None].split(1, dim=1)
    assert float(agreement_with_sum(one, other)) == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize(("statistic", "frozen"), [("paper", ["a"]), ("code", [])])
def test_the_statistic_can_be_chosen(statistic: str, frozen: list[str]) -> None:
    """Gradients with a negative cosine; the sum of both still points along the first one."""
    rows, state = Operations(), State()
    rule = GradientMatching(window=1, statistic=statistic)
    rule.observe(rows.operations, rows.gradients(), rows.gradients(a=-0.5), state)
    assert state["frozen"] == frozen


class Operations:
    """Three operations that share one parameter, and one operation with two parameters."""

    def __init__(self) -> None:
        one, two = (nn.Parameter(torch.zeros(6, 2, 1, 1)) for _ in range(2))
        self.operations = {
            "a": [ParameterRows(one, 0, 2)],
            "b": [ParameterRows(one, 2, 4)],
            "c": [ParameterRows(one, 4, 6)],
            "d": [ParameterRows(two, 0, 3), ParameterRows(two, 3, 6)],
        }
        self.parameters = (one, two)

    def gradients(self, **signs: float) -> dict[nn.Parameter, Tensor]:
        """Return gradients of ones times a sign per operation."""
        tensors = {p: torch.ones_like(p) for p in self.parameters}
        for name, sign in signs.items():
            parameter, start, stop = self.operations[name][0]
            tensors[parameter][start:stop] *= sign
        return tensors


def test_mean_of_each_window_decides_and_windows_do_not_overlap() -> None:
    rows, rule, state = Operations(), GradientMatching(window=3), State()
    # The means are 1/3 and -1/3. Three steps in the middle also have a mean of -1/3.
    for step_, sign in enumerate((1, 1, -1, -1, 1, -1)):
        rule.observe(rows.operations, rows.gradients(), rows.gradients(a=sign), state)
        assert state["frozen"] == (["a"] if step_ == 5 else [])


def test_steps_without_a_gradient_are_ignored() -> None:
    """An operation that is not sampled for a batch has no gradient."""
    rows, rule, state = Operations(), GradientMatching(window=2), State()
    for sign in (-1.0, 0.0, 0.0, 0.0):
        rule.observe(rows.operations, rows.gradients(), rows.gradients(c=sign), state)
        assert state["frozen"] == []
    rule.observe(rows.operations, rows.gradients(c=0), rows.gradients(), state)
    assert state["frozen"] == []
    rule.observe(rows.operations, rows.gradients(), rows.gradients(c=-1), state)
    assert state["frozen"] == ["c"]


class LinearObjective:
    """An objective whose loss is linear in the weights of all operations of a supernet.

    For one operation, the gradients of batches with labels 0 and 1 are opposite.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def supernet_loss(self, forward: Any, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        net = forward.func
        total = torch.zeros(())
        for name, rows in net.operation_rows().items():
            is_opposed = name == self.name and bool(batch[1][0] == 1)
            for parameter, first, end in rows:
                total = total + (-1 if is_opposed else 1) * parameter[first:end].sum()
        return 1e-3 * total, torch.zeros(len(batch[0]), 3)

    def alpha_loss(self, forward: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        return self.supernet_loss(forward, batch)[0]

    def num_samples(self, batch: tuple[Tensor, Tensor]) -> int:
        return len(batch[0])


TRAIN, VALID = ((make_batch(0)[0], torch.full((4,), label)) for label in (0, 1))


def linear_search(space: str) -> tuple[Searcher, str]:
    """Return a searcher with a linear loss, and the operation that will be frozen."""
    searcher = make_searcher(
        *(f"space={space}", "space.cells=1", "freezing=gradient_matching", "freezing.window=3"),
        *("optimizer.weight_decay=0.1", "optimizer.lr=0.1"),
    )
    names = list(searcher.net.operation_rows())
    chosen = names[len(names) // 2]
    searcher.objective = LinearObjective(chosen)
    searcher.begin_epoch(0)
    return searcher, chosen


def operation_weights(searcher: Searcher) -> dict[str, list[Tensor]]:
    return {
        name: [parameter[first:end].detach().clone() for parameter, first, end in rows]
        for name, rows in searcher.net.operation_rows().items()
    }


def changed_operations(before: dict[str, list[Tensor]], after: dict[str, list[Tensor]]) -> set[str]:
    return {
        name
        for name in before
        if any(not a.equal(b) for a, b in zip(before[name], after[name], strict=True))
    }


def step(searcher: Searcher, number: int) -> None:
    searcher.observe_gradients(number, TRAIN, VALID)
    searcher.weight_step(TRAIN)


@pytest.mark.parametrize("space", ["cnn", "nas201"])
def test_frozen_operation_is_not_updated_in_a_search(space: str) -> None:
    searcher, chosen = linear_search(space)
    names = set(operation_weights(searcher))
    for number in range(2):
        before = operation_weights(searcher)
        step(searcher, number)
        assert changed_operations(before, operation_weights(searcher)) == names
        assert searcher.frozen.state["frozen"] == []
    searcher.observe_gradients(2, TRAIN, VALID)
    assert searcher.frozen.state["frozen"] == [chosen]
    for number in range(3, 6):
        before = operation_weights(searcher)
        step(searcher, number)
        assert changed_operations(before, operation_weights(searcher)) == names - {chosen}


@pytest.mark.parametrize("steps", [1, 4])
def test_resumed_search_freezes_like_an_uninterrupted_one(steps: int) -> None:
    """The checkpoint is saved within the first window, or after the decision."""
    searcher, chosen = linear_search("nas201")
    for number in range(steps):
        step(searcher, number)
    saved = copy.deepcopy(searcher.state_dict())
    resumed, _ = linear_search("nas201")
    resumed.load_state_dict(saved)
    before = operation_weights(resumed)
    for number in range(steps, 6):
        for each in (searcher, resumed):
            step(each, number)
        assert searcher.frozen.state == resumed.frozen.state
        assert not changed_operations(operation_weights(searcher), operation_weights(resumed))
    assert resumed.frozen.state["frozen"] == [chosen]
    assert (chosen in changed_operations(before, operation_weights(resumed))) == (steps < 4)


def test_observed_gradients_are_those_of_both_losses() -> None:
    searcher = make_searcher("space=nas201", "space.cells=1")
    searcher.begin_epoch(0)
    recorded: list[Any] = []

    class Recording(Freezing):
        def is_due(self, step: int) -> bool:
            return True

        def observe(self, operations: Any, train: Any, valid: Any, state: Any) -> None:
            recorded.extend((train, valid))

    searcher.config.freezing = Recording()
    batches = make_batch(0), make_batch(1)
    searcher.observe_gradients(0, *batches)
    for actual, batch in zip(recorded, batches, strict=True):
        searcher.net.zero_grad()
        searcher.arch_loss(searcher.net, batch).backward()
        for parameter in searcher.net.weight_parameters():
            torch.testing.assert_close(actual[parameter], parameter.grad)
