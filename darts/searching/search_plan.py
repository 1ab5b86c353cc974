"""A dry run of a search: what its epochs do, and what is done at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import groupby
from typing import Any

import torch

from darts.data_modules.data_module import SearchLoaders
from darts.methods.discretization import Work
from darts.methods.stages import place_of
from darts.searching.diagnosis import Examination, eigenvalue_of
from darts.searching.searcher import Searcher
from darts.training.device import peak_memory
from darts.training.dry_run import Rare, Span, dry_run
from darts.training.plan import plan_of, tell_plan


def plan_search(
    searcher: Searcher, loaders: SearchLoaders, size: Callable[[], Mapping[str, int]]
) -> dict[str, Any]:
    """Measure some of a search, and tell what the whole of it will cost.

    Args:
        searcher: before its first epoch; it is not what it was afterwards.
        loaders: the batches of the search.
        size: of the supernet, by name.

    Returns:
        See ``dry_run`` and ``tell_plan``.
    """
    config, steps = searcher.config, len(loaders.weights)
    discretize = config.discretize
    told = discretize.work(searcher.context) is not None

    def finish() -> list[Rare]:
        return [
            one
            for work in discretize.work(searcher.context) or ()
            for one in _ways(work, searcher, loaders)
        ]

    rises = Rises(searcher.ranks.device)
    estimate = dry_run(
        spans_of(searcher, loaders, rises),
        lambda: searcher.score([loaders.scored.batch(0, 0)]),
        steps=steps,
        score_batches=len(loaders.scored),
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


def spans_of(searcher: Searcher, loaders: SearchLoaders, rises: Rises) -> list[Span]:
    """The epochs of a search, cut where a stage begins or the alphas begin to move.

    Args:
        searcher: before its first epoch.
        loaders: the batches of the search.
        rises: is told what looks, and eigenvalues without them, do to the peak of memory.
    """
    config, steps = searcher.config, len(loaders.weights)
    doctor = Examination(searcher, loaders.weights, loaders.alphas, loaders.scored)

    def look() -> None:
        genotype = config.discretize.genotype(searcher.expected(), searcher.context)
        scores = searcher.score([loaders.scored.batch(0, 0)])
        doctor.look([genotype.to_json()], scores, None)

    def curvature() -> None:
        eigenvalue_of(searcher, loaders.alphas.batch(0, 0))

    def compare(step: int) -> None:
        searcher.look(step, loaders.weights.batch(0, 0), loaders.alphas.batch(0, 0))

    def check(step: int) -> None:
        searcher.report(step, loaders.weights.batch(0, 0), loaders.alphas.batch(0, 0))

    def kind(epoch: int) -> tuple[int, bool]:
        stage = place_of(epoch, config.epochs, searcher.stages).stage
        return stage, searcher.updates_alphas(epoch)

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
        step = _step(searcher, loaders, moves)
        found.append(Span(len(epochs), step, first=epochs[0], rare=rare))
    return found


def _step(searcher: Searcher, loaders: SearchLoaders, moves: bool) -> Callable[[int], None]:
    """Does the step of that number, in which the alphas move or do not."""

    def step(number: int) -> None:
        batch = loaders.weights.batch(0, number)
        if moves:
            searcher.arch_step(batch, loaders.alphas.batch(0, number % len(loaders.alphas)))
        searcher.weight_step(batch)

    return step


def _ways(work: Work, searcher: Searcher, loaders: SearchLoaders) -> list[Rare]:
    """One score of a batch, and one step, of what a discretization does."""
    batches, context = len(loaders.scored), searcher.context
    scores = work.scores * min(work.batches or batches, batches)
    step = _step(searcher, loaders, searcher.config.bilevel.updates_alphas)

    def score_one() -> None:
        with context.keeping(work.masks()):
            searcher.score([loaders.scored.batch(0, 0)])

    def step_one() -> None:
        with context.keeping(work.masks()):
            searcher.net.train()
            step(0)

    return [(scores, score_one), (work.epochs * len(loaders.weights), step_one)]
