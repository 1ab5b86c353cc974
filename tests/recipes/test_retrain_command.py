"""The printed command of a search on own data, and the rules of ``docs/recipes.md``."""

from __future__ import annotations

import pytest

from darts.config import compose
from darts.recipes.retrain_command import retrain_overrides
from darts.recipes.rules import (
    DataFacts,
    batch_size,
    max_epochs,
    recipe,
    settings,
    validation_share,
)
from darts.spaces import SPACES

SMALL = DataFacts("images", 115, 4, (3, 32, 32), 0.2)


def printed(facts: DataFacts | None, *overrides: str) -> dict[str, str]:
    """Return the overrides of the printed command by key."""
    config = compose("search", list(overrides))
    words = [*retrain_overrides(overrides, config, facts), "genotype=run"]
    return dict(word.split("=", 1) for word in words)


@pytest.mark.parametrize(
    ("facts", "overrides"),
    [
        (SMALL, ["dataset=imagefolder"]),
        (DataFacts("images", 400_000, 9, (3, 64, 64), 0.1), ["dataset=imagefolder"]),
        (SMALL, ["dataset=imagefolder", "space=nas201", "space.channels=4", "space.cells=2"]),
        (SMALL, ["dataset=imagefolder", "space=macro", "space.channels=8"]),
        (DataFacts("rows", 90, 2, (1, 1, 9), 0.2), ["dataset=csv", "space=mlp"]),
        (DataFacts("audio", 900, 2, (1, 64, 63)), ["dataset=audiofolder", "task=speech"]),
        (
            DataFacts("text", 200_000, 60, ()),
            ["dataset=text", "task=language_model", "space=recurrent", "space.hidden=32"],
        ),
        (
            DataFacts("documents", 1600, 4, (900,), 0.2),
            ["dataset=documents", "task=text_classification", "space=transformer"],
        ),
        (
            DataFacts("pairs", 5000, 700, ()),
            ["dataset=pairs", "task=translation", "space=recurrent", "space.embedding=64"],
        ),
    ],
    ids=lambda value: value[0].removeprefix("dataset=") if isinstance(value, list) else value.kind,
)
def test_the_retraining_has_the_recipe_of_the_data(facts: DataFacts, overrides: list[str]) -> None:
    config = compose("search", overrides)
    given = printed(facts, *overrides)
    retraining = compose("retrain", [f"{key}={value}" for key, value in given.items()])
    expected = recipe(facts) | {"epochs": max_epochs(facts)}
    if facts.validation:
        expected["validation"] = facts.validation
    seen = 0
    for key, value in expected.items():
        node = retraining
        for name in key.split("."):
            node = getattr(node, name, None)
        if node is None:  # the data set or the space has no such key
            assert key.startswith(("dataset.", "space."))
            continue
        seen += 1
        assert node == value, key
    assert seen >= 10
    for key in config.space.size_keys:
        assert getattr(retraining.space, key) == getattr(config.space, key)


def test_keys_of_the_user_keep_their_values() -> None:
    given = printed(SMALL, "dataset=imagefolder", "dataset.padding=1", "seed=3")
    assert (given["dataset.padding"], given["seed"]) == ("1", "3")


def test_settings_of_the_task_and_of_the_space_are_repeated_but_no_sizes() -> None:
    assert printed(None, "space.stem=imagenet")["space.stem"] == "imagenet"
    assert "space.channels" not in printed(None, "space.channels=4")
    words = ["task=translation", "dataset=pairs", "dataset.joint=true", "space.copy=true"]
    assert printed(None, *words).items() >= {"dataset.joint": "true", "space.copy": "true"}.items()
    overrides = ["dataset=csv", "task=regression", "space=mlp", "task.loss=huber"]
    assert printed(None, *overrides)["task.loss"] == "huber"
    own = ["dataset=csv", "space=mlp", "task.loss=own"]
    assert "task.loss" not in printed(None, *own)


@pytest.mark.parametrize("overrides", [["dataset=digits"], ["experiment=nas201_cpu"]])
def test_published_data_and_experiments_keep_their_recipe(overrides: list[str]) -> None:
    overrides = [item.replace("experiment=", "experiment/search=") for item in overrides]
    assert printed(SMALL, *overrides) == printed(None, *overrides)


MEDIUM = {
    "imagefolder": (DataFacts("images", 2560, 4, (3, 32, 32), 0.2), "cnn"),
    "npz": (DataFacts("images", 2560, 4, (3, 32, 32), 0.2), "cnn"),
    "challenge": (DataFacts("images", 2560, 4, (3, 32, 32), 0.2), "cnn"),
    "audiofolder": (DataFacts("audio", 2560, 4, (1, 64, 101), 0.2), "cnn"),
    "csv": (DataFacts("rows", 1280, 2, (1, 1, 9), 0.2), "mlp"),
    "text": (DataFacts("text", 614_400, 60, ()), "recurrent"),
    "documents": (DataFacts("documents", 2560, 4, (900,), 0.2), "transformer"),
}


@pytest.mark.parametrize("dataset", MEDIUM)
def test_the_defaults_are_the_rules_for_medium_data(dataset: str) -> None:
    """The values of the rules are also in YAML files, and must stay the same."""
    facts, space = MEDIUM[dataset]
    task = {"text": "task=language_model", "documents": "task=text_classification"}.get(dataset)
    overrides = [f"dataset={dataset}", f"space={space}", *([] if task is None else [task])]
    given = printed(facts, *overrides)
    follow = {"epochs", "loader.batch_size", "dataset.min_count"}  # these depend on the size
    follow |= {f"space.{key}" for key in SPACES[space].size_keys}
    follow.add("task.window")  # only language modeling has it, and conf/defaults are for every task
    assert set(given) - follow <= {"genotype", "dataset", "space", "task"}


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


@pytest.mark.parametrize("kind", KINDS)
def test_settings_differ_from_the_recipe(kind: str) -> None:
    values = recipe(facts(kind))
    options = settings(facts(kind), values, set())
    assert len({option.name for option in options}) == len(options) >= 4
    for option in options:
        assert all(value != values.get(key) for key, value in option.values.items())
    rate = str(values["optimizer.lr"])
    rates = sorted(float(str(o.values.get("optimizer.lr", rate))) for o in options)
    assert rates[0] < float(rate) < rates[-1]


@pytest.mark.parametrize(
    ("kind", "samples", "epochs"),
    [
        ("images", 100, 17),  # 6 steps of 16 images
        ("images", 5000, 3),  # 39 steps of 128 images
        ("images", 100_000, 1),
        ("text", 2000, 100),  # one window
        ("text", 600_000, 1),
    ],
)
def test_the_rate_rises_in_about_a_hundred_steps(kind: str, samples: int, epochs: int) -> None:
    assert recipe(facts(kind, samples))["optimizer.warmup_epochs"] == epochs


@pytest.mark.parametrize("flip", [False, True])
def test_mirroring_and_its_opposite_are_compared(flip: bool) -> None:
    """Images are mirrored in training and in evaluation, or in neither."""
    assert "dataset.flip" not in recipe(facts())  # as in the configuration of the data set
    values = recipe(facts()) | {"dataset.flip": flip}
    flips = [o for o in settings(facts(), values, set()) if "dataset.flip" in o.values]
    (name,) = (option.name for option in flips)
    assert name == ("no_flip" if flip else "flip")
    assert flips[0].values == {"dataset.flip": not flip, "mirror": not flip}
