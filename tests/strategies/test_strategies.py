"""Strategies on small problems and on spaces."""

from __future__ import annotations

import statistics
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from darts.spaces import macro, mlp, nas201
from darts.spaces.parameters import Choice, Parameter, Parameters, Point, Range, point_key
from darts.strategies import STRATEGIES, Setup
from darts.strategies.evolution import Evolution
from darts.strategies.greedy import CLIMB, Greedy
from darts.strategies.point_sampler import Observation
from darts.strategies.strategy import silence_optuna_warnings, suggest_point

TREE = Parameters(
    [
        Parameter("rate", Range(1e-4, 1.0, log=True)),
        Parameter("layers", Range(1, 4, integer=True)),
        Parameter("kind", Choice(("sgd", "adam"))),
        Parameter("momentum", Range(0.0, 0.9, step=0.3), (("kind", ("sgd",)),)),
        Parameter("deep", Choice((True, False)), (("layers", (3, 4)),)),
    ]
)
EDGES = Parameters(nas201.Nas201().parameters())
WORTH = {"none": 0, "skip_connect": 2, "nor_conv_1x1": 3, "nor_conv_3x3": 4, "avg_pool_3x3": 1}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def score(point: Point) -> float:
    """Return a score that is highest at rate 0.01, layers 3, deep, sgd and momentum 0.9."""
    value = -abs(Range(1e-4, 1.0, log=True).fraction(float(str(point["rate"]))) - 0.5)
    value -= abs(int(str(point["layers"])) - 3) * 0.1
    value += 0.2 * (point.get("deep") is True) + 0.3 * float(str(point.get("momentum", 0)))
    return value


def run(
    name: str,
    space: Parameters,
    function: Callable[[Point], Any],
    trials: int,
    seed: int = 0,
    directions: tuple[str, ...] = ("maximize",),
    **options: Any,
) -> list[optuna.trial.FrozenTrial]:
    strategy = STRATEGIES[name](**options)
    setup = Setup(space, seed, objectives=len(directions))
    strategy.check(setup)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = strategy.make_sampler(setup)
        study = optuna.create_study(directions=list(directions), sampler=sampler)
        study.optimize(lambda trial: function(suggest_point(trial, space)), n_trials=trials)  # type: ignore[arg-type]
    return study.trials


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_strategy_proposes_points_of_the_space(name: str) -> None:
    found = run(name, TREE, score, 20)
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 20
    assert all(TREE.contains(trial.params) for trial in found)
    assert len({point_key(trial.params) for trial in found}) > 15


@pytest.mark.parametrize("name", ["tpe", pytest.param("gp", marks=pytest.mark.slow), "nsga2"])
def test_optunas_samplers_avoid_points_beyond_the_limits(name: str) -> None:
    strategy = STRATEGIES[name](**({"population": 8} if name == "nsga2" else {}))
    limits = Setup(TREE, constraints=lambda trial: [int(str(trial.params["layers"])) - 2])
    study = optuna.create_study(direction="maximize", sampler=strategy.make_sampler(limits))
    study.optimize(lambda t: score(suggest_point(t, TREE)), n_trials=40)
    deep = [trial.params["layers"] > 2 for trial in study.trials]
    assert sum(deep[20:]) < 10


@pytest.mark.parametrize("name", [n for n in STRATEGIES if not STRATEGIES[n].multi_objective])
def test_single_objective_strategies_refuse_costs(name: str) -> None:
    line = f"strategy={name} supports only one objective; with costs, choose from gp, grid, nsga2"
    with pytest.raises(ValueError, match=line):
        STRATEGIES[name]().check(Setup(TREE, objectives=2))


@pytest.mark.parametrize("name", ["greedy", "evolution", "tpe"])
def test_model_based_strategies_beat_random_search_on_an_additive_score(name: str) -> None:
    def worth(point: Point) -> float:  # at most 24
        return sum(WORTH[str(name)] for name in point.values())

    def best(strategy: str, seed: int) -> float:
        return max(t.values[0] for t in run(strategy, EDGES, worth, 60, seed))

    own = [best(name, seed) for seed in range(6)]
    random = [best("random", seed) for seed in range(6)]
    assert statistics.mean(own) > statistics.mean(random) + 1


def test_a_grid_visits_every_point_once() -> None:
    grid = [point_key(point) for point in TREE.points(3)]
    written = run("grid", TREE, score, len(grid), order="written", levels=3)
    assert [point_key(trial.params) for trial in written] == grid
    shuffled = run("grid", TREE, score, len(grid), levels=3)
    assert sorted(point_key(trial.params) for trial in shuffled) == sorted(grid)
    assert [point_key(trial.params) for trial in shuffled] != grid
    assert STRATEGIES["grid"](levels=3).max_trials(Setup(TREE)) == len(grid)


def test_a_grid_that_is_too_large_is_refused() -> None:
    wide = Parameters([Parameter(f"p{n}", Range(0, 1)) for n in range(9)])
    message = r"grid has more than 1,000,000 points; lower strategy\.levels"
    with pytest.raises(ValueError, match=message):
        STRATEGIES["grid"](levels=5).check(Setup(wide))


def observe(point: Point, loss: float | None, **attributes: Any) -> Observation:
    return Observation(point, point_key(point), loss, attributes=attributes)


def cell(*names: str) -> Point:
    return dict(zip([parameter.name for parameter in EDGES], names, strict=True))


def test_greedy_tries_all_neighbors_and_then_restarts() -> None:
    strategy = Greedy(starts=1)
    names = ["none", "skip_connect", "none", "none", "avg_pool_3x3", "none"]
    start = cell(*names)
    history = [observe(start, 1.0, **{CLIMB: 4}), observe(cell(*["none"] * 6), 9.0, **{CLIMB: 4})]
    proposed = set()
    for turn in range(24):
        point, attributes = strategy.propose(Setup(EDGES), history, Random(turn))
        assert attributes == {CLIMB: 4}
        assert sum(point[name] != start[name] for name in start) == 1
        proposed.add(point_key(point))
        history.append(observe(point, 2.0, **attributes))  # worse, so the climb does not move
    assert len(proposed) == 24
    _, attributes = strategy.propose(Setup(EDGES), history, Random(99))
    assert attributes == {CLIMB: 5}


def test_greedy_moves_to_better_points_within_the_limits() -> None:
    strategy = Greedy(starts=1)
    start, better = cell(*["none"] * 6), cell("skip_connect", *["none"] * 5)
    forbidden = cell(*["none"] * 5, "skip_connect")
    history = [
        observe(start, 5.0, **{CLIMB: 0}),
        observe(better, 3.0, **{CLIMB: 0}),
        Observation(forbidden, point_key(forbidden), 1.0, excess=0.5, attributes={CLIMB: 0}),
    ]
    for turn in range(20):
        point, _ = strategy.propose(Setup(EDGES), history, Random(turn))
        assert sum(point[name] != better[name] for name in better) == 1


def test_evolution_removes_old_individuals_however_good() -> None:
    strategy = Evolution(population=5, tournament=5, crossover=0.0)
    champion = cell(*["nor_conv_3x3"] * 6)
    others = [cell("avg_pool_3x3", *["none"] * 4, name) for name in list(WORTH)[:5]]
    history = [observe(champion, 0.0)]
    history += [observe(point, 10.0 + n) for n, point in enumerate(others)]
    best_alive = others[0]
    for turn in range(30):
        child, _ = strategy.propose(Setup(EDGES), history, Random(turn))
        assert sum(child[name] != best_alive[name] for name in child) == 1
    young = [*history[1:], history[0]]
    child, _ = strategy.propose(Setup(EDGES), young, Random(0))
    assert sum(child[name] != champion[name] for name in child) == 1


def test_threads_restore_the_filters_of_warnings() -> None:
    """The second thread would otherwise restore the filters that it got from the first one."""
    before = list(warnings.filters)
    entered, left = threading.Event(), threading.Event()
    overlaps: list[bool] = []

    def first() -> None:
        with silence_optuna_warnings():
            entered.set()
            overlaps.append(left.wait(0.2))

    def second() -> None:
        entered.wait(10)
        with silence_optuna_warnings():
            left.set()

    with ThreadPoolExecutor(2) as threads:
        threads.submit(first)
        threads.submit(second)
    assert overlaps == [False]
    assert list(warnings.filters) == before


SMALL: dict[str, Any] = {
    "macro": macro.Macro(cells=1),
    "mlp": mlp.Mlp(cells=2, widths=[4, 8], activations=["relu", "tanh"]),
}


@pytest.mark.parametrize("space_name", SMALL)
@pytest.mark.parametrize("name", ["random", "greedy", "evolution"])
def test_every_genotype_of_a_small_space_is_proposed(space_name: str, name: str) -> None:
    """The scores are random; some trials fail and some are still running."""
    space = SMALL[space_name]
    parameters = Parameters(space.parameters())
    every = {space.decode(point) for point in parameters.points(2)}
    options = {"population": 5, "tournament": 1} if name == "evolution" else {}
    strategy, history = STRATEGIES[name](**options), []
    for number in range(4 * len(every)):
        random = Random(f"1 {number}")
        point, attributes = strategy.propose(Setup(parameters, 1), history, random)
        loss = None if random.random() < 0.1 else random.choice([random.random(), float("inf")])
        history.append(Observation(point, point_key(point), loss, attributes=attributes))
    assert {space.decode(observation.point) for observation in history} == every
