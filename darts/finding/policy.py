"""Which candidates of the race train next: successive halving that never ends.

A candidate has *stages*, and trains longer in each one, see ``darts.finding.slices``. Candidates
are compared only after the same stage, so with equal training. Whenever a stage has candidates that
rank in its better half, they enter the next stage. New candidates enter stage 0 at any time, so a
race can be continued with more time.

References:
    Jamieson and Talwalkar, arXiv:1502.07943: successive halving; Li et al., "A System for Massively
    Parallel Hyperparameter Tuning", arXiv:1810.05934, algorithm 2: promotions at any time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

# Score of a failed run; JSON has no infinity.
WORST = -sys.float_info.max


@dataclass(frozen=True)
class Entry:
    """A candidate that trains in a round, and the stage that it reaches.

    Attributes:
        name: Its name.
        stage: The stage.
    """

    name: str
    stage: int


@dataclass
class Standing:
    """What the policy knows of a candidate.

    Attributes:
        name: Its name.
        scores: Score after each complete stage; higher is better, ``WORST`` if the run has failed.
        is_open: Whether more training may help.
        first: Stage of the first score. It is above 0 if the candidate has continued the training
            of another one.
    """

    name: str
    scores: list[float] = field(default_factory=list)
    is_open: bool = True
    first: int = 0

    @property
    def has_failed(self) -> bool:
        """Whether the last run has failed."""
        return self.scores[-1] == WORST

    @property
    def stage(self) -> int:
        """The next stage."""
        return self.first + len(self.scores)


def promoted(standings: Sequence[Standing]) -> list[str]:
    """Return the candidates that enter their next stage, those with the longest training first.

    Among candidates of equal score, the earlier one ranks higher.
    """
    chosen: list[str] = []
    for stage in reversed(range(max((s.stage for s in standings), default=0))):
        reached = [s for s in standings if s.first <= stage < s.stage]
        reached.sort(key=lambda s: s.scores[stage - s.first], reverse=True)  # stable
        better = reached[: len(reached) // 2]
        chosen += [s.name for s in better if s.stage == stage + 1 and s.is_open]
    return chosen
