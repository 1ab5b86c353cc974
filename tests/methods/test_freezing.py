"""Operations that stop learning when their gradients disagree, alone and within a search."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from tiny_search import make_batch, make_searcher
from torch import Tensor, nn

from darts.methods.freezing import GradientMatching, NoFreezing, ParameterSlice, agreement
from darts.searching.searcher import Searcher

DRAW = torch.Generator().manual_seed(0)
State = dict[str, Any]


def test_agreement_is_the_mean_cosine_of_output_channels() -> None:
    a, b = torch.randn(2, 4, 3, 3, 3, generator=DRAW).double()
    cosines = []
    for x, y in zip(a.flatten(1).tolist(), b.flatten(1).tolist(), strict=True):
        dot = sum(p * q for p, q in zip(x, y, strict=True))
        cosines.append(dot / math.sqrt(sum(p * p for p in x)) / math.sqrt(sum(q * q for q in y)))
    assert float(agreement(a, b)) == pytest.approx(sum(cosines) / 4)
    # Not one cosine of all: a channel counts as much as another, however large its gradient.
    assert float(agreement(a, a * torch.tensor([1, -1, -1, -9.0])[:, None, None, None])) == -0.5


class Rows:
    """Three operations in one parameter, and one in two parameters."""

    def __init__(self) -> None:
        one, two = (nn.Parameter(torch.zeros(6, 2, 1, 1)) for _ in range(2))
        self.operations = {
            "a": [ParameterSlice(one, 0, 2)],
            "b": [ParameterSlice(one, 2, 4)],
            "c": [ParameterSlice(one, 4, 6)],
            "d": [ParameterSlice(two, 0, 3), ParameterSlice(two, 3, 6)],
        }
        self.parameters = (one, two)

    def gradients(self, **signs: float) -> dict[nn.Parameter, Tensor]:
        """Ones, times a sign for each operation; for the last one, for each of its parameters."""
        tensors = {p: torch.ones_like(p) for p in self.parameters}
        for name, sign in signs.items():
            for share in self.operations[name[0]][int(name[1:] or 0) :][:1]:
                share.of(tensors[share.parameter]).mul_(sign)
        return tensors


def test_an_operation_is_frozen_after_exactly_the_window() -> None:
    rows, rule, state = Rows(), GradientMatching(window=3), State()
    for look in range(1, 8):
        rule.observe(rows.operations, rows.gradients(), rows.gradients(b=-1), state)
        assert state["frozen"] == (["b"] if look >= 3 else [])


def test_the_mean_of_a_window_decides_and_windows_do_not_overlap() -> None:
    rows, rule, state = Rows(), GradientMatching(window=3), State()
    # The means are 1/3 and -1/3; that of the three in the middle would be -1/3, too.
    for look, sign in enumerate((1, 1, -1, -1, 1, -1)):
        rule.observe(rows.operations, rows.gradients(), rows.gradients(a=sign), state)
        assert state["frozen"] == (["a"] if look == 5 else [])


def test_all_parameters_of_an_operation_count_and_the_threshold_is_theirs() -> None:
    rows = Rows()
    for threshold, frozen in ((0.1, ["d"]), (-0.1, [])):
        state = State()
        rule = GradientMatching(window=1, threshold=threshold)
        # One of both parameters agrees: 0 on average.
        rule.observe(rows.operations, rows.gradients(), rows.gradients(d1=-1), state)
        assert state["frozen"] == frozen


def test_steps_without_a_gradient_do_not_count() -> None:
    """As of an operation that was not drawn for one of the batches."""
    rows, rule, state = Rows(), GradientMatching(window=2), State()
    for sign in (-1.0, 0.0, 0.0, 0.0):
        rule.observe(rows.operations, rows.gradients(), rows.gradients(c=sign), state)
        assert state["frozen"] == []
    rule.observe(rows.operations, rows.gradients(c=0), rows.gradients(), state)
    assert state["frozen"] == []
    rule.observe(rows.operations, rows.gradients(), rows.gradients(c=-1), state)
    assert state["frozen"] == ["c"]


def test_which_steps_are_looked_at() -> None:
    assert [step for step in range(7) if GradientMatching(every=3).is_due(step)] == [0, 3, 6]
    assert not any(NoFreezing().is_due(step) for step in range(7))


class Opposed:
    """A task whose loss is linear in the weights of all operations of a supernet.

    Of one operation, the slope for batches of label 1 is the opposite of that for label 0.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def supernet_loss(self, forward: Any, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        net = forward.args[0]
        total = torch.zeros(())
        for name, rows in net.operation_rows().items():
            opposed = name == self.name and bool(batch[1][0] == 1)
            for parameter, first, end in rows:
                total = total + (-1 if opposed else 1) * parameter[first:end].sum()
        return 1e-3 * total, torch.zeros(len(batch[0]), 3)

    def num_samples(self, batch: tuple[Tensor, Tensor]) -> int:
        return len(batch[0])


TRAIN, VALID = ((make_batch(0)[0], torch.full((4,), label)) for label in (0, 1))


def searching(space: str) -> tuple[Searcher, str]:
    """A search with a linear loss, and the operation that is to be frozen."""
    searcher = make_searcher(
        *(f"space={space}", "space.cells=1", "freezing=gradient_matching", "freezing.window=3"),
        *("optimizer.weight_decay=0.1", "optimizer.lr=0.1"),
    )
    names = list(searcher.net.operation_rows())
    chosen = names[len(names) // 2]
    searcher.objective = Opposed(chosen)
    searcher.begin_epoch(0)
    return searcher, chosen


def values(searcher: Searcher) -> dict[str, list[Tensor]]:
    return {
        name: [parameter[first:end].detach().clone() for parameter, first, end in rows]
        for name, rows in searcher.net.operation_rows().items()
    }


def moved(before: dict[str, list[Tensor]], after: dict[str, list[Tensor]]) -> set[str]:
    return {
        name
        for name in before
        if any(not a.equal(b) for a, b in zip(before[name], after[name], strict=True))
    }


def step(searcher: Searcher, number: int) -> None:
    searcher.observe_gradients(number, TRAIN, VALID)
    searcher.weight_step(TRAIN)


@pytest.mark.parametrize("space", ["cnn", "nas201"])
def test_a_frozen_operation_does_not_move_in_a_search(space: str) -> None:
    """With a gradient, momentum and weight decay; all others go on."""
    searcher, chosen = searching(space)
    names = set(values(searcher))
    for number in range(2):
        before = values(searcher)
        step(searcher, number)
        assert moved(before, values(searcher)) == names
        assert searcher.frozen["frozen"] == []
    searcher.observe_gradients(2, TRAIN, VALID)
    assert searcher.frozen["frozen"] == [chosen]
    fixed = values(searcher)[chosen]
    for number in range(3, 6):
        before = values(searcher)
        step(searcher, number)
        assert moved(before, values(searcher)) == names - {chosen}
    assert all(a.equal(b) for a, b in zip(fixed, values(searcher)[chosen], strict=True))


@pytest.mark.parametrize("looks", [1, 4])
def test_a_checkpoint_goes_on_as_the_search_would(looks: int) -> None:
    """Saved before the decision, with comparisons that wait, and after it."""
    searcher, chosen = searching("nas201")
    for number in range(looks):
        step(searcher, number)
    file = io.BytesIO()
    torch.save(searcher.state_dict(), file)
    file.seek(0)
    resumed, _ = searching("nas201")
    resumed.load_state_dict(torch.load(file, weights_only=True))
    fixed = values(resumed)[chosen]
    for number in range(looks, 6):
        for one in (searcher, resumed):
            step(one, number)
        assert searcher.frozen == resumed.frozen
        assert not moved(values(searcher), values(resumed))
    assert resumed.frozen["frozen"] == [chosen]
    assert all(a.equal(b) for a, b in zip(fixed, values(resumed)[chosen], strict=True)) == (
        looks == 4
    )


def test_looking_leaves_the_supernet_as_it_is() -> None:
    searcher = make_searcher("space=nas201", "space.cells=1", "freezing=gradient_matching")
    searcher.begin_epoch(0)
    before = {name: value.clone() for name, value in searcher.net.state_dict().items()}
    searcher.observe_gradients(0, make_batch(0), make_batch(1))
    after = searcher.net.state_dict()
    assert all(after[name].equal(before[name]) for name in before)
    assert all(parameter.grad is None for parameter in searcher.net.parameters())


def test_the_gradients_seen_are_those_of_both_losses() -> None:
    searcher = make_searcher("space=nas201", "space.cells=1")
    searcher.begin_epoch(0)
    seen: list[Any] = []

    class Watching(NoFreezing):
        def is_due(self, step: int) -> bool:
            return True

        def observe(self, operations: Any, train: Any, valid: Any, state: Any) -> None:
            seen.extend((train, valid))

    searcher.config.freezing = Watching()
    batches = make_batch(0), make_batch(1)
    searcher.observe_gradients(0, *batches)
    for found, batch in zip(seen, batches, strict=True):
        searcher.net.zero_grad()
        searcher.arch_loss(searcher.net, batch).backward()
        for parameter in searcher.net.weight_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(found[parameter], parameter.grad)
