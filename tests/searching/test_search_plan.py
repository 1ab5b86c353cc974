"""What a dry run of a search goes by: which epochs are alike, and what is done at the end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from darts.searching import search_plan as module
from tiny_search import batch_of, searcher_of

from darts.data_modules.data_module import SearchLoaders
from darts.searching.search_plan import Rises, plan_search, spans_of
from darts.searching.searcher import Searcher
from darts.training.dry_run import Span

SMALL = ("space=nas201", "space.channels=8", "space.cells=1")


class Few:
    """As many batches as it is told, all of four images."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def batch(self, epoch: int, step: int) -> Any:
        assert 0 <= step < self.count
        return batch_of(step)

    def epoch(self, epoch: int) -> Any:
        return (batch_of(step) for step in range(self.count))


STREAMS = SearchLoaders(Few(7), Few(3), Few(2))
RISES = Rises(torch.device("cpu"))


def kinds(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, bool]]:
    """First epoch and number of epochs of each span, and whether the alphas move in its steps."""
    found = []
    for span in spans_of(searcher, STREAMS, RISES):
        moved: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr(searcher, "arch_step", lambda *_, moved=moved: moved.append(1))
            patch.setattr(searcher, "weight_step", lambda *_: None)
            span.step(6)
        found.append((span.first, span.epochs, bool(moved)))
    return found


def by_epochs(searcher: Searcher) -> list[bool]:
    """Whether the alphas move, as a search asks, epoch after epoch."""
    found = []
    for epoch in range(searcher.config.epochs):
        searcher.begin_epoch(epoch)
        found.append(searcher.updates_alphas(epoch))
    return found


@pytest.mark.parametrize(
    ("overrides", "spans"),
    [
        ((), [(0, 10, True)]),
        (("method=pc_darts",), [(0, 3, False), (3, 7, True)]),
        (("method=random_sharing",), [(0, 10, False)]),
        (
            ("method=drnas", "arch_optimizer.warmup=0.4"),
            [(0, 2, False), (2, 3, True), (5, 2, False), (7, 3, True)],
        ),
    ],
)
def test_epochs_are_told_apart_by_stage_and_by_what_moves(
    overrides: tuple[str, ...],
    spans: list[tuple[int, int, bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searcher = searcher_of(*SMALL, "epochs=10", *overrides)
    assert kinds(searcher, monkeypatch) == spans
    told = [moves for _, epochs, moves in spans for _ in range(epochs)]
    assert by_epochs(searcher) == told


def counts(spans: list[Span]) -> list[list[int]]:
    return [[count for count, _ in span.rare] for span in spans]


def test_what_is_rare_is_counted_in_each_span() -> None:
    """Looks, curvatures, comparisons of a rule that freezes, checks of the second order."""
    method = ("method=pc_darts", "doctor.every=4", "epochs=10")
    searcher = searcher_of(*SMALL, *method, "stopping=curvature", "freezing=gradient_matching")
    assert counts(spans_of(searcher, STREAMS, RISES)) == [[0, 3, 21], [2, 5, 49]]
    checked = ("bilevel=unrolled", "bilevel.self_check=10", "arch_optimizer.warmup=0.5")
    searcher = searcher_of(*SMALL, "doctor.every=2", "epochs=4", *checked)
    spans = spans_of(searcher, STREAMS, RISES)
    assert counts(spans) == [[1, 0], [1, 0, 1]]  # steps 14 to 27: the 20th
    searcher.begin_epoch(2)
    for _, work in spans[1].rare[::2]:
        work()


def seconds(*overrides: str) -> float:
    searcher = searcher_of(*SMALL, "tracking.pictures=false", "epochs=1", *overrides)
    return float(plan_search(searcher, STREAMS, dict)["finish_seconds"])


def test_the_decision_at_the_end_is_priced() -> None:
    """Of two that do 1 and 200 times as much, and of one that only reads the alphas."""
    sampling = ("method=random_sharing", "discretize.finalists=1")
    few, many = (seconds(*sampling, f"discretize.samples={n}") for n in (1, 600))
    assert 20 * few < many < 2000 * few
    tuning = ("method=darts_pt", "discretize.batches=1")
    few, many = (seconds(*tuning, f"discretize.tune={n}") for n in (0, 100))
    assert 0 < 5 * few < many
    assert seconds() == 0


def test_a_plan_with_something_left_out_never_keeps_to_its_budget(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = ("dry_run=true", "budget.hours=1e6", "tracking.pictures=false", "epochs=1")
    searcher = searcher_of(*SMALL, *wide)
    plan_search(searcher, STREAMS, dict)
    out = capsys.readouterr().out
    assert "The run keeps to its budget." in out
    assert "not counted" not in out
    monkeypatch.setattr(type(searcher.config.discretize), "work", lambda self, context: None)
    found = plan_search(searcher_of(*SMALL, *wide), STREAMS, dict)
    out = capsys.readouterr().out
    assert "discretize=argmax" in found["not_counted"]
    assert f"not counted: {found['not_counted']}" in out
    assert "keeps to its budget" not in out


def test_what_looks_do_to_the_peak_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first look it is at 120 MB."""
    peak = [120 * 2**20]
    monkeypatch.setattr(module, "peak_memory", lambda _: peak[0])

    def hungry(*_: object) -> float:
        peak[0] = max(peak[0], 180 * 2**20)
        return 0.5

    monkeypatch.setattr("darts.searching.diagnosis.eigenvalue_of", hungry)
    searcher = searcher_of(*SMALL, "tracking.pictures=false", "epochs=2", "doctor.every=1")
    assert plan_search(searcher, STREAMS, dict)["looks_memory_mb"] == 60
    searcher = searcher_of(*SMALL, "tracking.pictures=false", "epochs=2", "doctor.every=0")
    assert plan_search(searcher, STREAMS, dict)["looks_memory_mb"] == 0
