"""Turn the configuration of ``darts find`` into the facts of the data and the networks to train."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from darts.config import ConfigError, FindConfig, RetrainConfig, compose
from darts.config.datasets import ImagesConfig
from darts.data.folders import median_side
from darts.data.images import MIN_SIDE
from darts.data_modules.compatibility import data_kind
from darts.data_modules.samples import SampleDataModule
from darts.finding.candidates import ANY_GENOTYPE, Networks
from darts.finding.families import BASELINES, FAMILIES, Family
from darts.finding.limited_baselines import largest_architecture, within_limits
from darts.finding.pretrained import pretrained_families
from darts.judging.limits.costs import CostMeter, require_sizes
from darts.recipes.commands import overrides_by_key
from darts.recipes.exporting.formats import check_export
from darts.recipes.rules import MAX_SHARE, DataFacts, Values, recipe
from darts.tracking import print_lines

# Kinds of data with separate samples, which `darts predict` accepts.
CLASSIFIED = (*SampleDataModule.data_kinds, "documents")

# Sides in pixels. A network needs about four times as long on images of the next size.
SIZES = (32, 64, 128)

_OWN_KEYS = ("genotype", "resume", "dry_run", "evaluate_test", "start", "start_epoch")
_SCHEDULE = "runs continue, so their learning rate must not depend on their length"
_ADVICE = {  # for users who set keys of retrainings that darts find sets itself
    **dict.fromkeys((*_OWN_KEYS, "task.calibrate"), "leave it out"),
    "epochs": "set plan.epochs instead",
    "max_seconds": "set budget.minutes instead",
    "optimizer.schedule": _SCHEDULE,
    "optimizer.cooldown": _SCHEDULE,
    "drop_path": "it depends on the number of epochs, which a race does not know; leave it out",
}


def check_config(config: FindConfig) -> None:
    """Check the settings that do not depend on the data."""
    user = user_overrides(config)
    for key in filter(_ADVICE.__contains__, user):
        raise ConfigError(f"{user[key]}: darts find sets {key} itself; {_ADVICE[key]}")
    declared = _declared(config)
    if declared.validation == 0:
        raise ConfigError("validation=0: darts find chooses by validation scores; leave it out")
    if config.benchmark.table is not None and "space" not in user:
        raise ConfigError(
            f"benchmark.table={config.benchmark.table}: a table covers one space; set space=, too"
        )
    kind = data_kind(declared)
    if kind not in FAMILIES:
        raise ConfigError(
            f"dataset={declared.dataset.name} contains {kind}; darts find handles "
            f"{', '.join(FAMILIES)}"
        )
    if config.ensemble > 1 and kind not in CLASSIFIED:
        raise ConfigError(
            f"ensemble={config.ensemble}: averages predictions of samples, and the data contains "
            f"{kind}; leave it out"
        )
    check_export(config.export, kind)
    for family in _families(config, declared, kind):
        _ = _networks(config, family, {}).config  # raises if the settings do not fit the family


def user_overrides(config: FindConfig) -> dict[str, str]:
    """Return the overrides of all runs by key: of the experiment, then of the command line."""
    return overrides_by_key([*config.base, *config.overrides])


def make_networks(config: FindConfig) -> tuple[DataFacts, dict[str, Networks]]:
    """Read the data; return its facts, and the networks of each family by name.

    Smaller architectures replace baselines beyond the limits, and only families with baselines
    within the limits remain. A space that the user chose also gets its largest architecture.
    """
    declared, user = _declared(config), user_overrides(config)
    kind, dataset = data_kind(declared), declared.dataset
    families = _families(config, declared, kind)
    first = _networks(config, families[0], {"validation": MAX_SHARE})
    facts = DataFacts.read(first.config, first.data)
    sizes = _image_sizes(config, declared, facts)
    families = with_sizes(families, sizes)
    side = max(sizes, default=facts.side)
    # By default, data sets may be downloaded; weights only if the user has said so.
    downloads = "dataset.download" in user and getattr(dataset, "download", False)
    added = pretrained_families(config.pretrained.weights, facts, side, user, downloads=downloads)
    families = (families[0], *added, *families[1:])
    own: Values = {"validation": facts.validation} if facts.validation > 0 else {}
    if kind == "images" and isinstance(dataset, ImagesConfig):
        own |= {"dataset.flip": dataset.flip, "mirror": dataset.flip, "dataset.crop": dataset.crop}
    networks, least = {}, math.inf
    for family in families:
        resized = facts.resized(family.values.get("dataset.size"))
        made = _networks(config, family, recipe(resized, fine_tunes=family.fine_tunes) | own)
        if made.limits.model is not None:
            require_sizes("limit.device", made.limits.model, made.space, made.data.sample_shape)
        if made.limits.limits or "space" in user:
            print_lines(f"measuring networks of {family.name}")
        baselines = family.genotypes()
        if "space" in user:
            largest = largest_architecture(made)
            baselines = {n: g for n, g in baselines.items() if g != largest} | {"largest": largest}
        made.baselines = within_limits(made, baselines)
        if made.baselines:
            networks[family.name] = made
        else:
            least = min(least, *map(made.limits.excess, made.measured.values()))
    if not networks:
        raise ConfigError(
            f"{first.limits}: no network is within the limits; the smallest exceeds them "
            f"{least:.3g} times"
        )
    return facts, networks


def _declared(config: FindConfig) -> RetrainConfig:
    """Return a retraining's configuration: task, data set and, if the user chose one, space."""
    words = [*user_overrides(config).values(), f"genotype={ANY_GENOTYPE}"]
    return cast("RetrainConfig", compose("retrain", words))


def _families(config: FindConfig, declared: RetrainConfig, kind: str) -> tuple[Family, ...]:
    """Return the families for the kind of data, or only that of the space that the user chose.

    A latency model needs a chosen space, because it is for networks of one size.
    """
    model = CostMeter.from_config(config.limit).model
    chosen = "space" in user_overrides(config)
    if model is not None and (not chosen or declared.space.name != model.space_name):
        raise ConfigError(
            f"limit.device={config.limit.device}: the latency model is for "
            f"space={model.space_name}; set space={model.space_name} and the sizes of the networks"
        )
    if not chosen:
        return FAMILIES[kind]
    space = declared.space.name
    return (Family(space, space, {}, BASELINES.get(space, {})),)


def _image_sizes(config: FindConfig, declared: RetrainConfig, facts: DataFacts) -> tuple[int, ...]:
    """Return the sides of the images to train on, smallest first; () keeps the size of the data.

    Small arrays and those with different sides keep their size. There are no sizes with a latency
    model, or if the user has chosen one.
    """
    if config.limit.device is not None or "dataset.size" in user_overrides(config):
        return ()
    side: int | None = None
    if declared.dataset.name == "imagefolder":
        side = median_side(Path(declared.dataset.root).expanduser())
    elif facts.kind == "images" and facts.shape[1] == facts.shape[2] > SIZES[0]:
        side = facts.side
    return () if side is None else image_sizes(side)


def image_sizes(side: int) -> tuple[int, ...]:
    """Return the sides of images to train on, the smallest first.

    Small images keep their size. Larger ones are resized to several sizes, because details may or
    may not matter; networks on small images can train for longer.
    """
    largest = min(max(side, MIN_SIDE), SIZES[-1])
    return (*(size for size in SIZES if size < largest), largest)


def with_sizes(families: Sequence[Family], sizes: Sequence[int]) -> tuple[Family, ...]:
    """Return all families at the smallest size, and one baseline at the other sizes.

    Without sizes, the families stay as they are. Neighbors of a leader have its size.
    """
    entries = [(family, size, family.name) for family in families for size in sizes[:1]]
    one = dict([*families[0].baselines.items()][:1])
    first = replace(families[0], baselines=one, later=len(families[0].baselines) // 2)
    entries += [(first, size, f"{first.name}_{size}px") for size in sizes[1:]]
    resized = (
        replace(family, name=name, values={**family.values, "dataset.size": size})
        for family, size, name in entries
    )
    return tuple(resized if sizes else families)


def _networks(config: FindConfig, family: Family, values: Values) -> Networks:
    meter = CostMeter.from_config(config.limit)
    return Networks(family, values, user_overrides(config), config.seed, config.metric, meter)
