"""A dry run of a search: what its epochs do, and what is done at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import groupby
from typing import Any

import torch

from darts.discretize import Work
from darts.engine.device import peak_memory
from darts.engine.doctor import Examination, eigenvalue_of
from darts.engine.dry_run import Rare, Span, dry_run
from darts.engine.feed import Streams
from darts.engine.plan import plan_of, tell_plan
from darts.engine.searcher import Searcher
from darts.engine.stages import place_of


def plan_search(
    searcher: Searcher, streams: Streams, size: Callable[[], Mapping[str, int]]
) -> dict[str, Any]:
    """Measure some of a search, and tell what the whole of it will cost.

    Args:
        searcher: before its first epoch; it is not what it was afterwards.
        streams: the batches of the search.
        size: of the supernet, by name.

    Returns:
        See ``dry_run`` and ``tell_plan``.
    """
    config, steps = searcher.config, len(streams.weights)
    discretize = config.discretize
    told = discretize.work(searcher.setting) is not None

    def finish() -> list[Rare]:
        return [
            one
            for work in discretize.work(searcher.setting) or ()
            for one in _ways(work, searcher, streams)
        ]

    rises = Rises(searcher.ranks.device)
    estimate = dry_run(
        spans_of(searcher, streams, rises),
        lambda: searcher.score([streams.scored.batch(0, 0)]),
        steps=steps,
        score_batches=len(streams.scored),
        device=searcher.ranks.device,
        enter=searcher.begin_epoch,
        finish=finish,
        **plan_of(config, searcher.ranks),
    )
    found = {**size(), **estimate, "looks_memory_mb": rises.bytes / 2**20}
    if not told:
        found["not_counted"] = (
            f"the decision on a genotype, as discretize={discretize.name} does not say what it does"
        )
    return tell_plan(config, found, searcher.ranks.device)


class Rises:
    """By how many bytes some works have raised the peak of memory.

    Args:
        device: on which it is measured.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self.bytes = device, 0

    def of(self, work: Callable[[], object]) -> Callable[[], None]:
        """The same work, measured."""

        def measured() -> None:
            before = peak_memory(self._device)
            work()
            self.bytes += peak_memory(self._device) - before

        return measured


def spans_of(searcher: Searcher, streams: Streams, rises: Rises) -> list[Span]:
    """The epochs of a search, cut where a stage begins or the alphas begin to move.

    Args:
        searcher: before its first epoch.
        streams: the batches of the search.
        rises: is told what looks, and eigenvalues without them, do to the peak of memory.
    """
    config, steps = searcher.config, len(streams.weights)
    doctor = Examination(searcher, streams.weights, streams.alphas, streams.scored)

    def look() -> None:
        genotype = config.discretize.genotype(searcher.expected(), searcher.setting)
        scores = searcher.score([streams.scored.batch(0, 0)])
        doctor.look([genotype.to_json()], scores, None)

    def curvature() -> None:
        eigenvalue_of(searcher, streams.alphas.batch(0, 0))

    def compare(step: int) -> None:
        searcher.look(step, streams.weights.batch(0, 0), streams.alphas.batch(0, 0))

    def check(step: int) -> None:
        searcher.report(step, streams.weights.batch(0, 0), streams.alphas.batch(0, 0))

    def kind(epoch: int) -> tuple[int, bool]:
        stage = place_of(epoch, config.epochs, searcher.stages).stage
        return stage, searcher.alphas_move(epoch)

    found = []
    for (_, moves), group in groupby(range(config.epochs), kind):
        epochs = list(group)
        numbers = range(epochs[0] * steps, (epochs[-1] + 1) * steps)
        looks = sum(doctor.looks_at(epoch) for epoch in epochs)
        curvatures = len(epochs) - looks if config.stopping.needs_curvature else 0
        compared = [step for step in numbers if config.freezing.looks_at(step)]
        checked = [step for step in numbers if moves and config.bilevel.reports_at(step)]
        rare: list[Rare] = [
            (looks, rises.of(look)),
            (curvatures, rises.of(curvature)),
        ]
        if compared:
            rare.append((len(compared), partial(compare, compared[0])))
        if checked:
            rare.append((len(checked), partial(check, checked[0])))
        step = _step(searcher, streams, moves)
        found.append(Span(len(epochs), step, first=epochs[0], rare=rare))
    return found


def _step(searcher: Searcher, streams: Streams, moves: bool) -> Callable[[int], None]:
    """Does the step of that number, in which the alphas move or do not."""

    def step(number: int) -> None:
        batch = streams.weights.batch(0, number)
        if moves:
            searcher.arch_step(batch, streams.alphas.batch(0, number % len(streams.alphas)))
        searcher.weight_step(batch)

    return step


def _ways(work: Work, searcher: Searcher, streams: Streams) -> list[Rare]:
    """One score of a batch, and one step, of what a discretisation does."""
    batches, setting = len(streams.scored), searcher.setting
    scores = work.scores * min(work.batches or batches, batches)
    step = _step(searcher, streams, searcher.config.bilevel.moves_alphas)

    def score_one() -> None:
        with setting.keeping(work.masks()):
            searcher.score([streams.scored.batch(0, 0)])

    def step_one() -> None:
        with setting.keeping(work.masks()):
            searcher.net.train()
            step(0)

    return [(scores, score_one), (work.epochs * len(streams.weights), step_one)]
