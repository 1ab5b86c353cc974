"""Networks with trained weights in ``darts find``: families, and what the weights are worth."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping
from pathlib import Path

from darts.config import ConfigError
from darts.finding.candidates import Networks
from darts.finding.families import Family
from darts.finding.policy import WORST, Standing
from darts.finding.race import Race
from darts.reading import JsonObject
from darts.recipes.rules import DataFacts, Values
from darts.spaces.pretrained import Pretrained
from darts.spaces.pretrained.weights import find_weights
from darts.tracking.formats import format_value

# Sides of the images in pixels, the most promising first; the network enlarges smaller images.
#
# With 2,000 photos of CIFAR-10, a classifier of the features of the frozen EfficientNet-Lite0 has
# 70.1 % at 96 pixels and 63.3 % at 64 pixels (one seed, 1,000 test images).
SIZES = (96, 128, 64)


def pretrained_families(
    name: str, facts: DataFacts, side: int, user_keys: Collection[str], *, downloads: bool = False
) -> tuple[Family, ...]:
    """Return the families of networks that begin with trained weights, one per size of the images.

    Args:
        name: ``pretrained.weights``.
        facts: Facts of the data.
        side: Side of the images of the data in pixels.
        user_keys: Keys that the user has set; the size of the images may be one of them.
        downloads: Whether a missing file may be downloaded.
    """
    if name == "none":
        return ()
    if facts.kind != "images" or "space" in user_keys:
        raise ConfigError(
            f"pretrained.weights={name}: needs images, and darts find must choose the space; "
            "leave it out, or leave out space="
        )
    try:
        weights = find_weights(name)
        space = Pretrained(weights=weights.name)
        space.in_channels(facts.shape)
        baselines = {"all": str(space.plain())}
        if downloads:
            weights.download()
        space.check_training()
    except ValueError as error:
        message = str(error).replace("space.weights=", "pretrained.weights=")
        raise ConfigError(message) from None
    smallest = side if "dataset.size" in user_keys else 0
    families = []
    for size in dict.fromkeys(max(size, smallest) for size in SIZES):
        values: Values = {"space.weights": weights.name, "space.size": size}
        values["dataset.size"] = max(min(size, side), 8)
        families.append(Family(f"{weights.network}_{size}", space.name, values, baselines))
    return tuple(families)


def share_features(networks: Mapping[str, Networks], directory: Path) -> None:
    """Let the runs of a race compute the features of the images once, in a folder of the race."""
    for own in networks.values():  # spaces without this key leave it out
        own.values["space.features"] = str(directory / "features")


def worth_of_weights(race: Race) -> JsonObject:
    """Return what trained weights were worth, as scores on validation data and as a sentence.

    ``frozen`` is the best score before the training, of weights as they were and a classifier.
    ``pretrained`` and ``scratch`` are the best scores with and without trained weights, after the
    longest training that networks of both kinds have had. If there are networks of one kind only,
    the result is empty.
    """
    metric, direction = race.metric
    kinds: dict[bool, list[Standing]] = {True: [], False: []}
    for name, standing in race.standings.items():
        kinds[race.pool.fine_tunes(race.candidates[name])].append(standing)
    stage = min(max((own.stage for own in kind), default=0) for kind in kinds.values()) - 1
    scores = [
        max((s.scores[stage - s.first] for s in kind if s.first <= stage < s.stage), default=WORST)
        for kind in kinds.values()
    ]
    frozen = [
        statistics.fmean(float(run.summary[f"frozen_valid_{metric}"]) for run in result.runs)
        for result in race.results.values()
        if f"frozen_valid_{metric}" in result.runs[0].summary
    ]
    if WORST in scores or not frozen:
        return {}
    tuned, others = (own if direction.higher_is_better else -own for own in scores)
    alone = max(frozen) if direction.higher_is_better else min(frozen)
    shown = [format_value(metric, score) for score in (alone, tuned, others)]
    return {
        f"frozen_valid_{metric}": alone,
        f"pretrained_valid_{metric}": tuned,
        f"scratch_valid_{metric}": others,
        "pretrained_note": (
            f"The pretrained weights alone, with a linear classifier, had a valid_{metric} of "
            f"{shown[0]}. After equal training in the race, the best valid_{metric} was {shown[1]} "
            f"with pretrained weights and {shown[2]} without."
        ),
    }
