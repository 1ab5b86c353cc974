"""Surrogates of known functions, and shares of variance compared with formulas."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats

from darts.judging.encoding import Encoding, uniforms
from darts.judging.surrogate import MIN_POINTS, Marginal, Surrogate, rank_correlation
from darts.judging.variance import first_order_shares, group_shares
from darts.spaces.parameters import Choice, Parameter, Parameters, Point, Range
from darts.strategies.strategy import distribution

FLAT = Parameters([Parameter(name, Range(0.0, 1.0)) for name in "abc"])
MIXED = Parameters(
    [
        Parameter("operation", Choice(("conv", "pool", "skip"))),
        Parameter("rate", Range(1e-4, 1.0, log=True)),
        Parameter("layers", Range(1, 4, integer=True)),
        Parameter("momentum", Range(0.0, 0.9, step=0.3)),
    ]
)
TREE = Parameters(
    [
        Parameter("kind", Choice(("sgd", "adam"))),
        Parameter("layers", Range(1, 3, integer=True)),
        Parameter("momentum", Range(0.0, 0.9), (("kind", ("sgd",)),)),
        Parameter("nesterov", Choice((True, False)), (("kind", ("sgd",)), ("layers", (2, 3)))),
        Parameter("depth", Range(1, 9, integer=True, log=True), (("nesterov", (True,)),)),
    ]
)


def draw_points(space: Parameters, count: int, seed: int = 0) -> list[Point]:
    draw = Random(seed)
    return [space.draw(draw) for _ in range(count)]


def fit(space: Parameters, function: Any, count: int = 200, **options: Any) -> Surrogate:
    points = draw_points(space, count)
    return Surrogate(space, points, [float(function(point)) for point in points], **options)


def exact_model(space: Parameters, function: Any) -> Any:
    """Return an encoding and a model that is the function itself, to test the estimators."""
    encoding = Encoding(space)
    return encoding, lambda rows: np.array([function(row) for row in rows], dtype=float)


# Encoding


def test_numbers_are_scaled_and_choices_are_one_hot() -> None:
    encoding = Encoding(MIXED)
    points: list[Point] = [
        {"operation": "pool", "rate": 1e-2, "layers": 4, "momentum": 0.3},
        {"operation": "conv", "rate": 1e-4, "layers": 1, "momentum": 0.9},
    ]
    rows = encoding.rows(encoding.codes(points))
    np.testing.assert_allclose(rows, [[0, 1, 0, 0.5, 1, 1 / 3], [1, 0, 0, 0, 0, 1]], atol=1e-6)


def test_inactive_parameters_have_a_column_of_their_own() -> None:
    encoding = Encoding(TREE)
    points: list[Point] = [
        {"kind": "adam", "layers": 2},
        {"kind": "sgd", "layers": 1, "momentum": 0.45},
        {"kind": "sgd", "layers": 3, "momentum": 0.9, "nesterov": True, "depth": 3},
    ]
    rows = encoding.rows(encoding.codes(points))
    expected = [
        [0, 1, 0.5, 0.5, 1, 0, 0, 1, 0.5, 1],
        [1, 0, 0, 0.5, 0, 0, 0, 1, 0.5, 1],
        [1, 0, 1, 1, 0, 1, 0, 0, 0.5, 0],
    ]
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_draws_have_the_distribution_of_the_space() -> None:
    encoding = Encoding(TREE)
    rows = encoding.rows(encoding.draws(uniforms(4096, len(TREE), seed=1)))
    slow = encoding.rows(encoding.codes(draw_points(TREE, 4096)))
    for column in range(encoding.width):
        distance = stats.ks_2samp(rows[:, column], slow[:, column]).statistic
        assert distance < 0.04, column


def test_conditional_draws_match_rejection_sampling() -> None:
    encoding = Encoding(TREE)
    uniform = uniforms(4096, 2 * len(TREE), seed=1)
    codes = encoding.draws_with_active(4, encoding.draws(uniform[:, :5]), uniform[:, 5:])
    assert encoding.active(codes)[:, 4].all()
    accepted = [point for point in draw_points(TREE, 8000) if "depth" in point]
    np.testing.assert_allclose(
        encoding.rows(codes).mean(axis=0),
        encoding.rows(encoding.codes(accepted)).mean(axis=0),
        atol=0.05,
    )


# Predictions


@pytest.mark.parametrize("kind", ["forest", "gp"])
def test_a_function_is_learned_and_noise_is_not(kind: Any) -> None:
    clean = fit(FLAT, lambda p: 3 * p["a"] + p["b"], kind=kind).error
    assert clean.rank_correlation > 0.95
    assert clean.r2 > 0.9
    assert clean.mae < 0.25
    assert clean.points == 200
    draw = Random(5)
    noise = fit(FLAT, lambda p: draw.random(), kind=kind).error
    assert abs(noise.rank_correlation) < 0.25
    assert noise.r2 < 0.1


@pytest.mark.parametrize("kind", ["forest", "gp"])
def test_the_error_is_computed_from_out_of_fold_predictions(kind: Any) -> None:
    surrogate = fit(MIXED, lambda p: p["layers"] + (p["operation"] == "pool"), 60, kind=kind)
    found, values = surrogate.out_of_fold(), surrogate.values
    error = surrogate.error
    assert error.mae == pytest.approx(np.abs(found - values).mean())
    assert error.r2 == pytest.approx(1 - np.mean((found - values) ** 2) / np.var(values))
    assert error.rank_correlation == pytest.approx(stats.spearmanr(values, found).statistic)
    assert not np.allclose(found, surrogate.predict(surrogate.points))


def test_equal_points_are_in_the_same_fold() -> None:
    points = draw_points(FLAT, 40)
    draw = Random(1)
    values = [draw.random() for _ in points]
    surrogate = Surrogate(FLAT, [*points, *points], [*values, *values])
    assert surrogate.error.r2 < 0.2


@pytest.mark.parametrize("kind", ["forest", "gp"])
def test_constant_values_have_no_importances(kind: Any) -> None:
    surrogate = fit(TREE, lambda p: 0.5, 20, kind=kind)
    assert surrogate.error.rank_correlation == 0
    assert surrogate.error.r2 == 0
    assert set(surrogate.importances().values()) == {0.0}
    assert set(surrogate.shares({"one": ["kind"]}).values()) == {0.0}
    assert surrogate.marginal("kind").mean == pytest.approx((0.5, 0.5))


def test_rank_correlation_with_a_constant_is_zero() -> None:
    one, other = np.array([1.0, 2.0, 4.0, 3.0]), np.array([2.0, 2.5, 2.5, 0.0])
    assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)
    assert rank_correlation(one, np.full(4, 3.0)) == 0
    assert rank_correlation(0.1 + np.arange(4) * 1e-17, one) == 0


# Marginals


@pytest.mark.parametrize("kind", ["forest", "gp"])
def test_a_marginal_averages_over_the_other_parameters(kind: Any) -> None:
    surrogate = fit(FLAT, lambda p: 3 * p["a"] + p["b"], 400, kind=kind)
    found = surrogate.marginal("a", 5)
    assert found.values == (0, 0.25, 0.5, 0.75, 1)
    np.testing.assert_allclose(found.mean, 3 * np.array(found.values) + 0.5, atol=0.45)
    assert all(0 < deviation < 0.4 for deviation in found.deviation)
    assert np.ptp(surrogate.marginal("c", 5).mean) < 0.2
    with pytest.raises(ValueError, match="choose from a, b, c"):
        surrogate.marginal("d")


def test_a_marginal_matches_the_mean_of_random_points() -> None:
    surrogate = fit(MIXED, lambda p: p["layers"] * (p["operation"] == "pool"))
    found = surrogate.marginal("operation")
    draw = Random(9)
    for value, mean in zip(found.values, found.mean, strict=True):
        points = [MIXED.complete({"operation": value}, draw) for _ in range(2000)]
        assert mean == pytest.approx(surrogate.predict(points).mean(), abs=0.05)


@pytest.mark.parametrize("kind", ["forest", "gp"])
def test_the_marginal_of_a_conditional_parameter_fulfills_its_conditions(kind: Any) -> None:
    def function(point: Point) -> float:
        return 10.0 if point["kind"] == "adam" else float(point["momentum"])

    surrogate = fit(TREE, function, 300, kind=kind)
    found = surrogate.marginal("momentum", 4)
    np.testing.assert_allclose(found.mean, found.values, atol=0.3)
    assert surrogate.marginal("kind").mean[1] == pytest.approx(10, abs=0.3)


def test_a_parameter_that_is_never_active_is_refused() -> None:
    space = Parameters(
        [
            Parameter("a", Choice((1, 2))),
            Parameter("b", Choice((1, 2)), (("a", (1,)),)),
            Parameter("c", Choice((1, 2)), (("b", (1,)), ("a", (2,)))),
        ]
    )
    with pytest.raises(ValueError, match="c is never active"):
        fit(space, lambda p: p["a"], 20).marginal("c")


# Shares of the variance


@pytest.mark.parametrize("kind", ["forest", "gp"])
def test_shares_of_a_linear_function_are_its_squared_coefficients(kind: Any) -> None:
    surrogate = fit(FLAT, lambda p: 3 * p["a"] + p["b"], 400, kind=kind)
    importances = surrogate.importances()
    assert list(importances)[:2] == ["a", "b"]
    assert importances == pytest.approx({"a": 0.9, "b": 0.1, "c": 0}, abs=0.03)
    shares = surrogate.shares({"architecture": ["a", "c"], "hyperparameters": ["b"]})
    expected = {"architecture": 0.9, "hyperparameters": 0.1, "interaction": 0}
    assert shares == pytest.approx(expected, abs=0.03)


def test_an_exclusive_or_is_pure_interaction() -> None:
    surrogate = fit(FLAT, lambda p: (p["a"] > 0.5) != (p["b"] > 0.5), 400)
    assert surrogate.importances() == pytest.approx(dict.fromkeys("abc", 0), abs=0.03)
    apart = surrogate.shares({"A": ["a"], "H": ["b", "c"]})
    assert apart == pytest.approx({"A": 0, "H": 0, "interaction": 1}, abs=0.05)
    together = surrogate.shares({"both": ["a", "b"]})
    assert together == pytest.approx({"both": 1, "others": 0, "interaction": 0}, abs=0.05)


def test_the_estimators_match_the_exact_shares_of_a_table() -> None:
    space = Parameters([Parameter(name, Choice(tuple(range(4)))) for name in "abc"])
    table = np.random.default_rng(3).normal(size=(4, 4, 4)) + np.arange(4)[:, None, None]

    def function(row: Any) -> float:
        return float(table[tuple(row.reshape(3, 4).argmax(axis=1))])

    encoding, predict = exact_model(space, function)
    alone = [table.mean(axis=axes).var() / table.var() for axes in ((1, 2), (0, 2), (0, 1))]
    np.testing.assert_allclose(first_order_shares(encoding, predict, 0), alone, atol=0.01)
    pairs = [table.mean(axis=axis).var() / table.var() for axis in (2, 0)]
    found = group_shares(encoding, predict, [[0, 1], [1, 2], [0], [1], [2]], 0)
    assert found is not None
    np.testing.assert_allclose(found, [*pairs, *alone], atol=0.02)


def test_the_choice_between_branches_counts_for_the_parent() -> None:
    space = Parameters(
        [
            Parameter("kind", Choice(("sgd", "adam"))),
            Parameter("momentum", Range(0.0, 2.0), (("kind", ("sgd",)),)),
        ]
    )
    encoding, predict = exact_model(space, lambda row: row[0] * (1 + 2 * row[2]))
    # f = s (1 + m) with a fair coin s and m uniform in [0, 2]: E f = 1, E f^2 = E (1 + m)^2 / 2.
    variance = (1 + 2 + 4 / 3) / 2 - 1
    expected = [0.25 * 4 / variance, 0.25 * (1 / 3) / variance]
    np.testing.assert_allclose(first_order_shares(encoding, predict, 0), expected, atol=0.01)
    found = group_shares(encoding, predict, [[0], [1]], 0)
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert 1 - sum(expected) == pytest.approx((0.25 / 3) / variance)


def test_shares_of_a_conditional_space_sum_to_one() -> None:
    def function(point: Point) -> float:
        return len(point) + 3.0 * bool(point.get("nesterov"))

    surrogate = fit(TREE, function, 300)
    found = surrogate.shares({"A": ["kind", "layers"], "H": ["momentum", "nesterov", "depth"]})
    assert all(0 <= share <= 1 for share in found.values())
    assert sum(found.values()) == pytest.approx(1, abs=0.02)
    importances = surrogate.importances()
    assert sum(importances.values()) <= 1.02
    assert list(importances.values()) == sorted(importances.values(), reverse=True)


def test_importances_match_optunas_fanova() -> None:
    # No log range: Optuna averages over it uniformly in the value.
    space = Parameters(
        [
            Parameter("operation", Choice(("conv", "pool", "skip"))),
            Parameter("rate", Range(0.0, 1.0)),
            Parameter("layers", Range(1, 4, integer=True)),
            Parameter("idle", Range(0.0, 9.0)),
        ]
    )

    def function(point: Any) -> float:
        return 2 * (point["operation"] == "conv") + 2 * point["rate"] + 0.3 * point["layers"]

    surrogate = fit(space, function, 200)
    study = optuna.create_study()
    known = {parameter.name: distribution(parameter.domain) for parameter in space}
    study.add_trials(
        [
            optuna.trial.create_trial(params=point, distributions=known, value=value)
            for point, value in zip(surrogate.points, surrogate.values.tolist(), strict=True)
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=32, seed=0)
    theirs = optuna.importance.get_param_importances(study, evaluator=evaluator)
    ours = surrogate.importances()
    total = sum(ours.values())
    assert {name: share / total for name, share in ours.items()} == pytest.approx(theirs, abs=0.06)


# Errors and guarantees


def test_equal_seeds_give_equal_results() -> None:
    one, again, other = (fit(TREE, len, 40, seed=seed) for seed in (1, 1, 2))
    assert one.error == again.error
    assert one.importances() == again.importances()
    assert one.shares({"A": ["kind"]}) == again.shares({"A": ["kind"]})
    assert one.marginal("depth", 3) == again.marginal("depth", 3)
    assert one.importances() != other.importances()


def test_a_marginal_covers_the_values_of_the_domain() -> None:
    surrogate = fit(TREE, len, 40)
    found = surrogate.marginal("nesterov")
    assert isinstance(found, Marginal)
    assert found.values == (True, False)
    assert surrogate.marginal("layers").values == (1, 2, 3)
    assert len(surrogate.marginal("momentum", 7).mean) == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"points": draw_points(FLAT, MIN_POINTS - 1), "values": [0.0] * (MIN_POINTS - 1)},
            "needs 10 points",
        ),
        ({"values": [0.0] * 11}, "12 points have 11 values"),
        ({"values": [0.0, float("nan"), *[1.0] * 10]}, "value 1 is nan"),
        ({"points": [*draw_points(FLAT, 11), {"a": 0.5}]}, "point 11 is not in this space"),
        ({"kind": "trees"}, "choose from forest, gp"),
        ({"space": Parameters([])}, "no parameters"),
    ],
)
def test_invalid_data_is_refused(change: dict[str, Any], message: str) -> None:
    whole = {"space": FLAT, "points": draw_points(FLAT, 12), "values": list(range(12)), **change}
    space, points, values = (whole.pop(name) for name in ("space", "points", "values"))
    with pytest.raises(ValueError, match=message):
        Surrogate(space, points, values, **whole)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"A": ["z"]}, "choose from a, b, c"),
        ({"A": ["a"], "H": ["a"]}, "a is in two groups"),
        ({"interaction": ["a"]}, "the group name .interaction. is reserved"),
    ],
)
def test_invalid_groups_are_refused(groups: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(FLAT, lambda p: p["a"], 10).shares(groups)


def test_cross_validation_needs_two_distinct_points() -> None:
    surrogate = Surrogate(FLAT, draw_points(FLAT, 1) * 10, list(range(10)))
    with pytest.raises(ValueError, match="two distinct points"):
        surrogate.out_of_fold()


def test_all_points_of_a_small_space_are_predicted() -> None:
    space = Parameters([Parameter(name, Choice((False, True))) for name in "abcd"])
    points = [
        dict(zip("abcd", values, strict=True))
        for values in itertools.product((False, True), repeat=4)
    ]
    surrogate = Surrogate(space, points, [float(point["a"]) for point in points], kind="gp")
    np.testing.assert_allclose(surrogate.predict(points), surrogate.values, atol=0.05)
    assert surrogate.predict([]).shape == (0,)
