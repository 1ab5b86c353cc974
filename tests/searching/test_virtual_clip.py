"""The virtual step of a second-order search clips gradients for recurrent cells only."""

from __future__ import annotations

import pytest
from tiny_search import make_searcher

from darts.config import compose
from darts.searching.searcher import Searcher
from darts.tasks.task import ObjectiveSpec
from darts.training.distributed import Ranks


@pytest.mark.parametrize(
    ("overrides", "clip"), [((), 0.25), (("optimizer.clip=1",), 1.0), (("bilevel.clip=0",), 0.0)]
)
def test_recurrent_cells_clip_as_in_the_weight_step_unless_set(
    overrides: tuple[str, ...], clip: float
) -> None:
    sizes = ("space.embedding=4", "space.hidden=4", "space.nodes=2")
    task = ("method=darts_v2", "task=language_model", "dataset=ptb", "space=recurrent")
    config = compose("search", [*task, *sizes, *overrides])
    objective = config.task.make_objective(ObjectiveSpec(tuple(str(number) for number in range(9))))
    assert Searcher(config, objective, Ranks(), {"vocab_size": 9}).bilevel.clip == clip


@pytest.mark.parametrize(("overrides", "clip"), [((), 0.0), (("bilevel.clip=2",), 2.0)])
def test_other_spaces_do_not_clip_unless_set(overrides: tuple[str, ...], clip: float) -> None:
    searcher = make_searcher("method=darts_v2", "space.cells=1", *overrides)
    assert searcher.bilevel.clip == clip
