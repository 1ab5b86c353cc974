"""The rules of ``docs/recipes.md``."""

from __future__ import annotations

import pytest

from darts.recipes.rules import DataFacts, batch_size, recipe, settings, validation_share

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
    rates = sorted(
        float(str(o.values.get("optimizer.lr", values["optimizer.lr"]))) for o in options
    )
    assert rates[0] < float(str(values["optimizer.lr"])) < rates[-1]


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
def test_the_learning_rate_rises_in_about_a_hundred_steps(
    kind: str, samples: int, epochs: int
) -> None:
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
