"""Proposal of architectures by an evolution that scores untrained networks.

Half of the proposals are neighbors of a given architecture, the best one known so far: good
architectures have good neighbors, and training-free scores rank neighbors more reliably than they
rank very different architectures.

The combined score of an architecture is relative to the architectures scored so far, see
``darts.judging.rankings.combined``. The evolution therefore ranks all of them again before each
choice of a parent.

References:
    Real et al., "Regularized Evolution for Image Classifier Architecture Search",
    arXiv:1802.01548, algorithm 1.
    Lee and Ham, "AZ-NAS", arXiv:2403.19232, section 3.3: combination of scores by their ranks.
    White, Nolen and Savani, "Exploring the Loss Landscape in Neural Architecture Search",
    arXiv:2005.02960: local search.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import torch

from darts.config import ConfigError, RetrainConfig
from darts.finding.scorer import SAMPLES, Scorer, UntrainedScorer
from darts.hpo.score_file import ScoreFile
from darts.judging.limits import CostMeter
from darts.judging.rankings import Values, combined
from darts.spaces import AnyGenotype, Space
from darts.spaces.parameters import Parameters, Point

SAVE_INTERVAL = 5.0  # seconds between two writes of the scores

_TRIES = 200
"""Candidates in a row without a new architecture after which the space counts as exhausted."""
_FIRST_TRIES = 20
"""Random architectures to bring within the limits before the limits count as impossible."""
_WALK = 100
"""Mutations by which a random architecture beyond the limits may approach them."""


@dataclass(frozen=True)
class Proposal:
    """An architecture that the evolution proposes.

    Attributes:
        genotype: The architecture.
        scores: Its scores by name.
        macs: Multiply-accumulates of a forward pass of one sample.
        parameters: Number of weights.
    """

    genotype: AnyGenotype
    scores: dict[str, float]
    macs: float
    parameters: float


@dataclass(frozen=True)
class Sizes:
    """Sizes of the evolution.

    Attributes:
        initial: Number of random architectures at the start.
        population: Number of the latest architectures that may be parents.
        tournament: Number of architectures drawn at random, of which the best becomes a parent.
        distance: Smallest number of parameters of the space in which two proposals differ, if
            enough such architectures were scored.
    """

    initial: int
    population: int
    tournament: int
    distance: int = 2

    @classmethod
    def of(cls, evaluations: int) -> Sizes:
        """Return sizes for a number of architectures to score."""
        population = min(100, max(8, evaluations // 8))
        return cls(population, population, max(2, population // 4))


def propose(
    config: RetrainConfig,
    *,
    evaluations: int,
    count: int,
    seed: int,
    file: Path,
    limits: CostMeter,
    start: Sequence[AnyGenotype] = (),
    leader: AnyGenotype | None = None,
    on_score: Callable[[int], None],
    stopping: Callable[[], bool],
) -> list[Proposal]:
    """Return the best architectures that an evolution finds without training, best first.

    An evolution that continues from ``file`` returns the same as an uninterrupted one.

    Args:
        config: Configuration of a retraining of any architecture of the space.
        evaluations: Number of architectures to score, all different. A small space may have fewer.
        count: Largest number of proposals.
        seed: Seed of all random choices.
        file: File of the scores, written regularly. Scores in it are not computed again.
        limits: Largest costs; architectures beyond them are neither scored nor proposed.
        start: Architectures to score first.
        leader: Architecture whose neighbors are scored next, at most half of ``evaluations``. The
            best neighbors alternate with the best of all others in the result.
        on_score: Called after each new score with the number of architectures scored so far,
            including those from ``file``.
        stopping: Returns whether to stop before the next architecture. The scores are then saved,
            and the result is preliminary.

    Raises:
        ConfigError: If ``file`` is damaged or has scores of other networks or limits, if no
            architecture within the limits was found, or if the data set has too few samples.
        ValueError: If an architecture of ``start`` belongs to another space.
    """
    scorer = UntrainedScorer(config)
    # The file holds scores, not decisions: evolutions with other lengths and seeds can share it.
    source = [config.space, config.dataset, config.seed, limits, scorer.names, SAMPLES]
    digest = hashlib.sha256(repr(source).encode()).hexdigest()
    scored = ScoreFile(file, digest)
    scored.load()
    evolution = Evolution(config.space, scorer, scored, limits, Sizes.of(evaluations), seed)
    try:
        near = evolution.neighbors(leader)[: evaluations // 2] if leader is not None else []
        evolution.run(evaluations, [*start, *near], on_score, stopping)
    finally:  # also after an error in one of the architectures
        scored.save()
    return evolution.best(count, near)


@dataclass(frozen=True)
class _Member:
    """A scored architecture; ``point`` is None if the space cannot encode it."""

    genotype: AnyGenotype
    key: str
    point: Point | None


@dataclass
class Evolution:
    """A regularized evolution, all decisions of which follow from the seed and the scores.

    Attributes:
        space: The space.
        scorer: Measures costs and scores.
        scored: Costs and scores so far. Rows of architectures beyond the limits have costs only.
        limits: Largest costs.
        sizes: Sizes of the evolution.
        seed: Seed of all random choices.
        members: All scored architectures in their order.
    """

    space: Space
    scorer: Scorer
    scored: ScoreFile
    limits: CostMeter
    sizes: Sizes
    seed: int
    members: list[_Member] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._parameters = Parameters(self.space.parameters())
        self._random = Random(self.seed)
        self._generator = torch.Generator().manual_seed(self.seed)
        self._seen: set[str] = set()
        self._functions: set[str] = set()  # of the members
        self._last_save = time.monotonic()

    def run(
        self,
        evaluations: int,
        start: Sequence[AnyGenotype],
        on_score: Callable[[int], None],
        stopping: Callable[[], bool],
    ) -> None:
        """Score architectures; the arguments are those of ``propose``.

        Raises:
            ConfigError: If no architecture within the limits was found.
            ValueError: If an architecture of ``start`` belongs to another space.
        """
        for genotype in start:
            if genotype.space != self.space.name:
                raise ValueError(f"{genotype} is a genotype of space={genotype.space}")
        self._on_score, self._stopping = on_score, stopping
        try:
            for genotype in start:
                if len(self.members) < evaluations:
                    self._try(genotype)
            failures = 0
            while len(self.members) < evaluations:
                if failures == (_TRIES if self.members else _FIRST_TRIES):
                    break
                initial = len(self.members) < self.sizes.initial
                # After many failed mutations, random architectures may still be new.
                added = self._draw() if initial or failures > _TRIES // 2 else self._mutate()
                failures = 0 if added else failures + 1
        except _Stopped:
            return
        if not self.members:
            raise ConfigError(f"no architecture of space={self.space.name} is within {self.limits}")

    def values(self) -> Values:
        """Return the combined score of each member, relative to all members, ``(n,)``."""
        keys = [member.key for member in self.members]
        return combined(
            {
                name: np.array([self.scored.score(key, name) for key in keys])
                for name in self.scorer.names
            }
        )

    def neighbors(self, genotype: AnyGenotype) -> list[AnyGenotype]:
        """Return all architectures that differ from ``genotype`` in one parameter, in random order.

        The list is empty if the space cannot encode ``genotype``.
        """
        point = self._encode(genotype)
        if point is None:
            return []
        points = self._parameters.neighbors(point, Random(self.seed))
        return [self.space.decode(neighbor) for neighbor in points]

    def best(self, count: int, near: Sequence[AnyGenotype] = ()) -> list[Proposal]:
        """Return the best architectures that differ clearly from each other, best first.

        They differ in at least ``sizes.distance`` parameters of the space. If there are fewer than
        ``count`` of them, the best of the others follow.

        Args:
            count: Largest number of architectures.
            near: Architectures that may be similar to each other. In the result, the best of them
                come first, third, and so on; all others take the places in between.
        """
        if not self.members:
            return []
        order = [self.members[n] for n in np.argsort(-self.values(), kind="stable")]
        keys = {_key(genotype) for genotype in near}
        neighbors = [member for member in order if member.key in keys]
        order = [member for member in order if member.key not in keys]
        chosen: list[_Member] = []
        for member in order:
            if len(chosen) < count and self._is_far(member, chosen):
                chosen.append(member)
        others = [member for member in order if member not in chosen]
        pairs = itertools.zip_longest(neighbors, chosen + others)
        mixed = [member for pair in pairs for member in pair if member is not None]
        return [self._proposal(member) for member in mixed[:count]]

    def _is_far(self, member: _Member, others: Sequence[_Member]) -> bool:
        return all(_distance(member, other) >= self.sizes.distance for other in others)

    def _proposal(self, member: _Member) -> Proposal:
        scores = {name: self.scored.score(member.key, name) for name in self.scorer.names}
        costs = {name: self.scored.score(member.key, name) for name in ("macs", "parameters")}
        return Proposal(member.genotype, scores, **costs)

    def _mutate(self) -> bool:
        """Score a mutation of a good architecture; return whether it is new and fits the limits."""
        first = max(0, len(self.members) - self.sizes.population)
        young = range(first, len(self.members))
        contestants = self._random.sample(young, min(self.sizes.tournament, len(young)))
        values = self.values()
        parent = self.members[max(contestants, key=lambda number: (values[number], number))]
        if parent.point is None:
            return self._draw()
        return self._try(self.space.decode(self._parameters.mutate(parent.point, self._random)))

    def _draw(self) -> bool:
        """Score a random architecture; return whether it is new and fits the limits.

        If it is beyond the limits, mutations that do not increase its costs relative to the limits
        try to bring it within them.
        """
        genotype = self.space.random(self._generator)
        if self._try(genotype):
            return True
        excess, point = self._excess(genotype), self._encode(genotype)
        for _ in range(_WALK):
            if excess <= 1 or point is None:
                return False
            mutation = self._parameters.mutate(point, self._random)
            genotype = self.space.decode(mutation)
            if self._try(genotype):
                return True
            if (mutated := self._excess(genotype)) <= excess:
                excess, point = mutated, mutation
        return False

    def _try(self, genotype: AnyGenotype) -> bool:
        """Measure an architecture if it is new; return whether it is new and fits the limits.

        Operations without effect are removed first, because scores and costs would count them. An
        architecture that computes the same functions as another one is not new.
        """
        genotype = genotype.simplified()
        key = _key(genotype)
        if key in self._seen or genotype.function in self._functions:
            return False
        if key not in self.scored.rows:
            if self._stopping():
                raise _Stopped
            begin = time.perf_counter()
            measured = self.scorer(genotype, self.limits)
            self.scored.add(key, measured, time.perf_counter() - begin)
            if time.monotonic() - self._last_save >= SAVE_INTERVAL:
                self.scored.save()
                self._last_save = time.monotonic()
            fresh = True
        else:
            fresh = False
        self._seen.add(key)
        if self._excess(genotype) > 1:
            return False
        self._functions.add(genotype.function)
        self.members.append(_Member(genotype, key, self._encode(genotype)))
        if fresh:
            self._on_score(len(self.members))
        return True

    def _excess(self, genotype: AnyGenotype) -> float:
        """Return the largest ratio of a cost of a measured architecture to its limit."""
        key = _key(genotype)
        if key not in self.scored.rows:
            return 0.0  # not scored, because a member within the limits has the same functions
        return self.limits.excess({n: self.scored.score(key, n) for n in self.limits.limits})

    def _encode(self, genotype: AnyGenotype) -> Point | None:
        try:
            return self.space.encode(genotype)
        except ValueError:  # for example a published architecture of another size
            return None


def _key(genotype: AnyGenotype) -> str:
    """Return the name under which the scores of an architecture are stored."""
    return str(genotype.simplified().canonical())


class _Stopped(Exception):
    """The caller asked to stop."""


def _distance(a: _Member, b: _Member) -> int:
    """Return the number of parameters in which two architectures differ."""
    if a.point is None or b.point is None:
        return len(a.point or b.point or {"": None})
    names = a.point.keys() | b.point.keys()
    return sum(a.point.get(name) != b.point.get(name) for name in names)
