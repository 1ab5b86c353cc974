"""The rules of ``docs/recipes.md``."""

from __future__ import annotations

import pytest

from darts.recipes.facts import DataFacts, validation_share
from darts.recipes.rules import (
    Setting,
    Values,
    batch_size,
    max_epochs,
    recipe,
    refinements,
    search_recipe,
    settings,
)

KINDS = ("images", "audio", "rows", "text", "documents", "pairs")


def facts(kind: str = "images", samples: int = 5000) -> DataFacts:
    return DataFacts(kind, samples, 10, (3, 32, 24) if kind in ("images", "audio") else (7,))


@pytest.mark.parametrize(
    ("samples", "expected"), [(100, 16), (640, 16), (1300, 32), (5000, 128), (1_000_000, 128)]
)
def test_an_epoch_has_about_forty_steps(samples: int, expected: int) -> None:
    assert batch_size(facts(samples=samples)) == expected


@pytest.mark.parametrize(
    ("samples", "share"), [(100, 0.2), (8000, 0.2), (16_000, 0.125), (50_000, 0.1)]
)
def test_about_two_thousand_samples_are_held_out(samples: int, share: float) -> None:
    assert validation_share(samples) == share


@pytest.mark.parametrize(("samples", "epochs"), [(100, 300), (6000, 100), (1_000_000, 30)])
def test_small_data_is_seen_more_often(samples: int, epochs: int) -> None:
    assert max_epochs(facts(samples=samples)) == epochs


@pytest.mark.parametrize(("tokens", "epochs"), [(60_000, 30), (240_000, 17), (5_000_000, 10)])
def test_texts_are_seen_less_often(tokens: int, epochs: int) -> None:
    assert max_epochs(facts("text", tokens)) == epochs


@pytest.mark.parametrize("kind", KINDS)
def test_settings_differ_from_the_recipe(kind: str) -> None:
    values = recipe(facts(kind))
    options = settings(facts(kind), values, set())
    assert len({option.name for option in options}) == len(options) >= 3
    for option in options:
        assert all(value != values.get(key) for key, value in option.values.items())
    rates = sorted(
        float(str(o.values.get("optimizer.lr", values["optimizer.lr"]))) for o in options
    )
    assert rates[0] < float(str(values["optimizer.lr"])) < rates[-1]


def test_settings_never_change_what_the_user_has_set() -> None:
    given = {"optimizer.lr", "dataset.flip"}
    options = settings(facts(), recipe(facts()), given)
    assert options
    assert not any(given & option.values.keys() for option in options)


@pytest.mark.parametrize(
    ("best", "others", "expected"),
    [
        ({"optimizer.weight_decay": 0.05}, [], [{"optimizer.weight_decay": 0.25}]),
        ({"optimizer.lr": 0.001}, [], [{"optimizer.lr": 0.0005}]),
        ({"space.dropout": 0.3}, [], [{"space.dropout": 0.5}]),
        ({"space.dropout": 0.05}, [], [{"space.dropout": 0.025}]),
        ({"space.dropout": 0.6}, [], [{"space.dropout": 0.8}]),
        (
            {"dataset.flip": True},
            [{"dataset.flip": False}, {"cutout": 3}, {"optimizer.lr": 0.1}, {"x": 1}],
            [{"dataset.flip": True, "cutout": 3}, {"dataset.flip": True, "optimizer.lr": 0.1}],
        ),
    ],
)
def test_the_best_setting_goes_further_or_joins_others(
    best: Values, others: list[Values], expected: list[Values]
) -> None:
    values = {"optimizer.weight_decay": 0.01, "optimizer.lr": 0.002, "space.dropout": 0.1}
    options = [Setting(f"s{n}", other) for n, other in enumerate(others)]
    found = refinements(Setting("best", best), options, values)
    assert [option.values for option in found] == [pytest.approx(e) for e in expected]
    assert len({option.name for option in found}) == len(found)


def test_images_are_mirrored_only_if_the_race_finds_it_useful() -> None:
    assert "dataset.flip" not in recipe(facts())
    flips = [o for o in settings(facts(), recipe(facts()), set()) if "dataset.flip" in o.values]
    assert [option.values["dataset.flip"] for option in flips] == [True]


def test_mirroring_that_is_on_by_default_is_also_tried_off() -> None:
    values = recipe(facts()) | {"dataset.flip": True}
    flips = [o for o in settings(facts(), values, set()) if "dataset.flip" in o.values]
    assert [(o.name, o.values["dataset.flip"]) for o in flips] == [("no_flip", False)]


def test_shifts_follow_the_shorter_side() -> None:
    assert recipe(facts())["dataset.padding"] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_searches_of_half_the_data_have_half_the_batch(kind: str) -> None:
    assert search_recipe(facts(kind))["loader.batch_size"] == max(batch_size(facts(kind)) // 2, 8)
