"""What each strategy proposes, by itself and in a study."""

from __future__ import annotations

import itertools
import statistics
import warnings
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from darts.hpo.study import suggested
from darts.spaces import nas201
from darts.spaces.parameters import Choice, Parameter, Parameters, Point, Range, key_of
from darts.strategies import STRATEGIES, Setup
from darts.strategies.evolution import Breeder, Evolution
from darts.strategies.greedy import CLIMB, Climber
from darts.strategies.strategy import RETRIED, SURPLUS, Tried, distribution, place_of

TREE = Parameters(
    [
        Parameter("rate", Range(1e-4, 1.0, log=True)),
        Parameter("layers", Range(1, 4, whole=True)),
        Parameter("kind", Choice(("sgd", "adam"))),
        Parameter("momentum", Range(0.0, 0.9, step=0.3), (("kind", ("sgd",)),)),
        Parameter("deep", Choice((True, False)), (("layers", (3, 4)),)),
    ]
)
EDGES = Parameters(nas201.parameters())
WORTH = {"none": 0, "skip_connect": 2, "nor_conv_1x1": 3, "nor_conv_3x3": 4, "avg_pool_3x3": 1}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


class Space:
    """What ``suggested`` asks for parameters."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters


def score(point: Point) -> float:
    """Best at a rate of 0.01 in three deep layers of sgd with momentum 0.9."""
    value = -abs(Range(1e-4, 1.0, log=True).place(float(str(point["rate"]))) - 0.5)
    value -= abs(int(str(point["layers"])) - 3) * 0.1
    value += 0.2 * (point.get("deep") is True) + 0.3 * float(str(point.get("momentum", 0)))
    return value


def worth(point: Point) -> float:
    """Additive over the edges of a cell; 24 at best."""
    return sum(WORTH[str(name)] for name in point.values())


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
        study = optuna.create_study(directions=list(directions), sampler=strategy.sampler(setup))
        study.optimize(lambda trial: function(suggested(trial, Space(space))), n_trials=trials)  # type: ignore[arg-type]
    return study.trials


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_strategy_proposes_points_of_the_space(name: str) -> None:
    found = run(name, TREE, score, 30)
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 30
    assert all(TREE.contains(trial.params) for trial in found)
    assert len({key_of(trial.params) for trial in found}) > 15


@pytest.mark.parametrize("name", [n for n in STRATEGIES if STRATEGIES[n].several])
def test_some_follow_several_objectives(name: str) -> None:
    found = run(
        name,
        TREE,
        lambda point: (score(point), int(str(point["layers"]))),
        25,
        directions=("maximize", "minimize"),
    )
    assert all(TREE.contains(trial.params) and len(trial.values) == 2 for trial in found)


@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2"])
def test_limits_are_told_to_those_of_optuna(name: str) -> None:
    """Without a warning, and what exceeds them is avoided in the end."""
    strategy = STRATEGIES[name](**({"population": 8} if name == "nsga2" else {}))
    limits = Setup(TREE, constraints=lambda trial: [int(str(trial.params["layers"])) - 2])
    study = optuna.create_study(direction="maximize", sampler=strategy.sampler(limits))
    study.optimize(lambda t: score(suggested(t, Space(TREE))), n_trials=40)
    deep = [trial.params["layers"] > 2 for trial in study.trials]
    assert sum(deep[20:]) < 10


@pytest.mark.parametrize("name", [n for n in STRATEGIES if not STRATEGIES[n].several])
def test_the_others_say_so(name: str) -> None:
    line = f"strategy={name} follows one objective; with costs choose from gp, grid, nsga2, random"
    with pytest.raises(ValueError, match=line):
        STRATEGIES[name]().check(Setup(TREE, objectives=2))


@pytest.mark.parametrize("name", ["greedy", "evolution", "tpe"])
def test_better_than_random_on_an_additive_cell(name: str) -> None:
    def best(strategy: str, seed: int) -> float:
        return max(t.values[0] for t in run(strategy, EDGES, worth, 60, seed))

    own = [best(name, seed) for seed in range(6)]
    random = [best("random", seed) for seed in range(6)]
    assert statistics.mean(own) > statistics.mean(random) + 1


def test_random_search_repeats_nothing_and_is_fair() -> None:
    small = Parameters([Parameter("a", Range(1, 5, whole=True)), Parameter("b", Choice("xy"))])  # type: ignore[arg-type]
    found = run("random", small, lambda point: 0.0, 10)
    assert len({key_of(trial.params) for trial in found}) == 10
    first = Counter(run("random", small, lambda p: 0.0, 1, s)[0].params["b"] for s in range(200))
    assert abs(first["x"] - 100) < 35


def test_a_grid_is_walked_once() -> None:
    grid = [key_of(point) for point in TREE.points(3)]
    written = run("grid", TREE, score, len(grid), order="written", levels=3)
    assert [key_of(trial.params) for trial in written] == grid
    shuffled = run("grid", TREE, score, len(grid), levels=3)
    assert sorted(key_of(trial.params) for trial in shuffled) == sorted(grid)
    assert [key_of(trial.params) for trial in shuffled] != grid
    assert STRATEGIES["grid"](levels=3).limit(Setup(TREE)) == len(grid)


def test_a_grid_that_is_too_large_is_refused() -> None:
    wide = Parameters([Parameter(f"p{n}", Range(0, 1)) for n in range(9)])
    with pytest.raises(ValueError, match=r"the grid has 1,000,001 points; lower strategy\.levels"):
        STRATEGIES["grid"](levels=5).check(Setup(wide))


def frozen(number: int, **attributes: Any) -> Any:
    return optuna.trial.FrozenTrial(
        number=number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs=attributes.get("user", {}),
        system_attrs=attributes.get("system", {}),
        intermediate_values={},
        trial_id=number,
    )


def test_places_leave_out_repeats_and_what_was_too_much() -> None:
    trials = [
        frozen(0),
        frozen(1),
        frozen(2, system={RETRIED: 1}),
        frozen(3),
        frozen(4, user={SURPLUS: True}),
        frozen(5),
    ]
    assert [place_of(trial.number, trials) for trial in trials] == [0, 1, 2, 2, 3, 3]


def tried(point: Point, loss: float | None, **marks: Any) -> Tried:
    return Tried(point, key_of(point), loss, marks=marks)


def cell(*names: str) -> Point:
    return dict(zip([parameter.name for parameter in EDGES], names, strict=True))


def test_a_climb_goes_on_from_the_best_by_one_change_and_then_starts_anew() -> None:
    climber = Climber(Setup(EDGES), starts=1)
    names = ["none", "skip_connect", "none", "none", "avg_pool_3x3", "none"]
    start = cell(*names)
    history = [tried(start, 1.0, **{CLIMB: 4}), tried(cell(*["none"] * 6), 9.0, **{CLIMB: 4})]
    seen = set()
    for turn in range(24):
        point, marks = climber.propose(history, Random(turn))
        assert marks == {CLIMB: 4}
        assert sum(point[name] != start[name] for name in start) == 1
        seen.add(key_of(point))
        history.append(tried(point, 2.0, **marks))  # worse: the climb stays where it is
    assert len(seen) == 24
    _, marks = climber.propose(history, Random(99))
    assert marks == {CLIMB: 5}


def test_a_climb_moves_when_something_is_better_and_keeps_within_limits() -> None:
    climber = Climber(Setup(EDGES), starts=1)
    start, better = cell(*["none"] * 6), cell("skip_connect", *["none"] * 5)
    forbidden = cell(*["none"] * 5, "skip_connect")
    history = [
        tried(start, 5.0, **{CLIMB: 0}),
        tried(better, 3.0, **{CLIMB: 0}),
        Tried(forbidden, key_of(forbidden), 1.0, excess=0.5, marks={CLIMB: 0}),
    ]
    for turn in range(20):
        point, _ = climber.propose(history, Random(turn))
        assert sum(point[name] != better[name] for name in better) == 1


def test_coordinate_descent_finds_the_bottom_of_a_bowl() -> None:
    bowl = Parameters([Parameter(name, Range(-1.0, 1.0)) for name in "abc"])
    target = {"a": 0.3, "b": -0.7, "c": 0.05}

    def depth(point: Point) -> float:
        return sum((float(str(point[n])) - target[n]) ** 2 for n in target)

    found = run("greedy", bowl, depth, 150, directions=("minimize",), starts=5)
    assert min(trial.values[0] for trial in found) < 0.003
    blind = run("random", bowl, depth, 150, directions=("minimize",))
    assert min(trial.values[0] for trial in blind) > 0.003


def test_evolution_lets_the_old_die_however_good() -> None:
    options = Evolution(population=5, tournament=5, crossover=0.0)
    breeder = Breeder(Setup(EDGES), options)
    champion = cell(*["nor_conv_3x3"] * 6)
    others = [cell("avg_pool_3x3", *["none"] * 4, name) for name in list(WORTH)[:5]]
    history = [tried(champion, 0.0)]
    history += [tried(point, 10.0 + n) for n, point in enumerate(others)]
    best_alive = others[0]
    for turn in range(30):
        child, _ = breeder.propose(history, Random(turn))
        assert sum(child[name] != best_alive[name] for name in child) == 1
    young = [*history[1:], history[0]]
    child, _ = breeder.propose(young, Random(0))
    assert sum(child[name] != champion[name] for name in child) == 1


def test_evolution_begins_at_random_and_does_not_count_what_failed_as_good() -> None:
    breeder = Breeder(Setup(EDGES), Evolution(population=4, tournament=4, crossover=0.0))
    points = [cell(*["none"] * 5, name) for name in list(WORTH)[:4]]
    history = [tried(point, float("inf")) for point in points[:3]]
    drawn = [breeder.propose(history, Random(turn))[0] for turn in range(40)]
    assert all(len({p[name] for p in drawn}) > 1 for name in drawn[0])  # whole points at random
    history.append(tried(points[3], 5.0))
    child, _ = breeder.propose(history, Random(1))
    assert sum(child[name] != points[3][name] for name in child) == 1


def test_with_two_parents_every_edge_is_one_of_theirs_or_the_one_that_mutated() -> None:
    breeder = Breeder(Setup(EDGES), Evolution(population=2, tournament=1, crossover=1.0))
    one, other = cell(*["nor_conv_3x3"] * 6), cell(*["avg_pool_3x3"] * 6)
    history = [tried(one, 1.0), tried(other, 2.0)]
    strange = Counter(
        sum(name not in ("nor_conv_3x3", "avg_pool_3x3") for name in child.values())
        for child, _ in (breeder.propose(history, Random(turn)) for turn in range(100))
    )
    assert set(strange) == {0, 1}
    assert strange[0] > 30


@pytest.mark.parametrize("name", ["random", "greedy", "evolution", "grid"])
def test_it_does_not_matter_which_worker_asks(name: str) -> None:
    """Two samplers of one study, used in turn, go the way of one alone."""
    alone = [trial.params for trial in run(name, EDGES, worth, 20)]
    study = optuna.create_study(direction="maximize")
    samplers = [STRATEGIES[name]().sampler(Setup(EDGES)) for _ in range(2)]
    for _, sampler in zip(range(20), itertools.cycle(samplers), strict=False):
        study.sampler = sampler
        study.optimize(lambda trial: worth(suggested(trial, Space(EDGES))), n_trials=1)  # type: ignore[arg-type]
    assert [trial.params for trial in study.trials] == alone


def test_cmaes_wants_numbers() -> None:
    with pytest.raises(ValueError, match="cmaes adapts to two or more numbers"):
        STRATEGIES["cmaes"]().check(Setup(EDGES))
    with pytest.raises(ValueError, match="knows no limits"):
        STRATEGIES["cmaes"]().check(Setup(TREE, constraints=lambda trial: [0.0]))


def test_domains_as_optuna_calls_them() -> None:
    domain: Any = distribution(Range(2, 9, whole=True, step=3))
    assert (domain.low, domain.high, domain.step) == (2, 8, 3)
    domain = distribution(Range(0.1, 10, log=True))
    assert domain.log
    assert distribution(Choice((None, True, 1.5, "a"))).choices == (None, True, 1.5, "a")  # type: ignore[attr-defined]
