"""Turn the configuration of ``darts.find`` into the facts of the data and the networks to train."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from darts.config import ConfigError, FindConfig, RetrainConfig, compose, one_of
from darts.data_modules.compatibility import data_kind
from darts.data_modules.samples import SampleDataModule
from darts.finding.candidates import ANY_GENOTYPE, Networks
from darts.finding.families import BASELINES, FAMILIES, Family
from darts.finding.image_sizes import image_sizes, median_side, with_sizes
from darts.finding.limited_baselines import largest_architecture, within_limits
from darts.finding.pretrained import pretrained_families
from darts.judging.limits.costs import CostMeter, require_known_memory, require_sizes
from darts.plugins import group_options
from darts.recipes.commands import merge_overrides
from darts.recipes.exporting.formats import check_export
from darts.recipes.rules import MAX_SHARE, DataFacts, Values, recipe

CLASSIFIED = (*SampleDataModule.data_kinds, "documents")
"""Kinds of data with separate samples, which ``darts.predict`` accepts."""

_ADVICE = {  # for users who set keys of retrainings that darts.find sets itself
    "epochs": "set plan.epochs instead",
    "max_seconds": "set budget.minutes instead",
    "optimizer.schedule": "runs continue, so their learning rate must not depend on their length",
    "optimizer.cooldown": "runs continue, so their learning rate must not depend on their length",
    "drop_path": "it depends on the number of epochs, which a race does not know; leave it out",
}
_OWN_KEYS = {"genotype", "resume", "dry_run", "evaluate_test", "start", "start_epoch", *_ADVICE}


def check_config(config: FindConfig) -> None:
    """Check the settings that do not depend on the data."""
    for item in user_overrides(config):
        key = item.partition("=")[0]
        if key in _OWN_KEYS:
            advice = _ADVICE.get(key, "leave it out")
            raise ConfigError(f"{item}: darts.find sets {key} itself; {advice}")
    for method in config.methods:
        one_of("methods", method, group_options("method"))
    declared = _declared(config)
    if declared.validation == 0:
        raise ConfigError("validation=0: darts.find chooses by validation scores; leave it out")
    if config.benchmark.table is not None and not config_chooses_space(config):
        raise ConfigError(
            f"benchmark.table={config.benchmark.table}: a table covers one space; set space=, too"
        )
    kind = data_kind(declared)
    if kind not in FAMILIES:
        raise ConfigError(
            f"dataset={declared.dataset.name} contains {kind}; darts.find handles "
            f"{', '.join(FAMILIES)}"
        )
    if config.ensemble > 1 and kind not in CLASSIFIED:
        raise ConfigError(
            f"ensemble={config.ensemble}: averages predictions of samples, and the data contains "
            f"{kind}; leave it out"
        )
    check_export(config.export, kind)
    for family in _families(config, declared, kind):
        require_known_memory(config.limit, _networks(config, family, {}).config.space)


def user_overrides(config: FindConfig) -> tuple[str, ...]:
    """Return the overrides of all runs: of the experiment, then of the command line."""
    return tuple(merge_overrides([*config.base, *config.overrides]))


def make_networks(config: FindConfig) -> tuple[DataFacts, dict[str, Networks]]:
    """Read the data; return its facts, and the networks of each family by name.

    Smaller architectures replace baselines beyond the limits, and only families with baselines
    within the limits remain. A space that the user chose also gets its largest architecture within
    the limits.
    """
    declared = _declared(config)
    kind = data_kind(declared)
    sizes = _image_sizes(config, declared)
    families = with_sizes(_families(config, declared, kind), sizes)
    first = _networks(config, families[0], {"validation": MAX_SHARE})
    facts = DataFacts.read(first.config, first.data)
    side = max(sizes, default=facts.side)
    # By default, data sets may be downloaded; weights only if the user has said so.
    name, keys = config.pretrained.weights, first.user_keys
    downloads = "dataset.download" in keys and getattr(first.config.dataset, "download", False)
    added = pretrained_families(name, facts, side, keys, downloads=downloads)
    families = (families[0], *added, *families[1:])
    own: Values = {"validation": facts.validation} if facts.validation > 0 else {}
    if kind == "images":
        flip = bool(getattr(declared.dataset, "flip", False))
        crop = str(getattr(declared.dataset, "crop", "none"))
        own |= {"dataset.flip": flip, "mirror": flip, "dataset.crop": crop}
    networks = {}
    for family in families:
        resized = facts.resized(family.values.get("dataset.size"))
        made = _networks(config, family, recipe(resized, fine_tunes=family.fine_tunes) | own)
        if made.limits.model is not None:
            require_sizes("limit.device", made.limits.model, made.space, made.data.sample_shape)
        baselines = family.genotypes()
        if config_chooses_space(config):
            largest = largest_architecture(made)
            baselines = {n: g for n, g in baselines.items() if g != largest}
            baselines["largest"] = largest
        made.baselines = within_limits(made, baselines)
        if made.baselines:
            networks[family.name] = made
    if not networks:
        raise ConfigError(f"{first.limits}: no baseline is within the limits; raise the limits")
    return facts, networks


def config_chooses_space(config: FindConfig) -> bool:
    """Return whether the user has chosen the space."""
    return any(item.startswith("space=") for item in user_overrides(config))


def _declared(config: FindConfig) -> RetrainConfig:
    """Return a retraining's configuration: task, data set and, if the user chose one, space."""
    words = [*user_overrides(config), f"genotype={ANY_GENOTYPE}"]
    return cast("RetrainConfig", compose("retrain", words))


def _families(config: FindConfig, declared: RetrainConfig, kind: str) -> tuple[Family, ...]:
    """Return the families for the kind of data, or only that of the space that the user chose.

    A latency model needs a chosen space, because it is for networks of one size.
    """
    model = CostMeter.from_config(config.limit).model
    chosen = config_chooses_space(config)
    if model is not None and (not chosen or declared.space.name != model.space_name):
        raise ConfigError(
            f"limit.device={config.limit.device}: the latency model is for "
            f"space={model.space_name}; set space={model.space_name} and the sizes of the networks"
        )
    if not chosen:
        return FAMILIES[kind]
    space = declared.space.name
    return (Family(space, space, {}, BASELINES.get(space, {})),)


def _image_sizes(config: FindConfig, declared: RetrainConfig) -> tuple[int, ...]:
    """Return the image sizes to train on, smallest first, for image files of the user.

    There are none for other data, with a latency model, or if the user has chosen a size.
    """
    dataset = declared.dataset
    chosen = config.limit.device is not None or any(
        item.startswith("dataset.size=") for item in user_overrides(config)
    )
    if dataset.name != "imagefolder" or dataset.root is None or chosen:
        return ()
    side = median_side(Path(dataset.root).expanduser())
    return () if side is None else image_sizes(side)


def _networks(config: FindConfig, family: Family, values: Values) -> Networks:
    meter = CostMeter.from_config(config.limit)
    return Networks(family, values, user_overrides(config), config.seed, config.metric, meter)
