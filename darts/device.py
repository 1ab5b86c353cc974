"""Measure and predict the latency of networks on a device: ``darts device ACTION``.

``measure`` times the operations of a space on this machine, ``fit`` fits a latency model to
measurements of any device, and ``compare`` compares a model with measurements.

Keys that people use first::

    measure, which times the operations of a space on this machine: space=NAME shape=[3,32,32]
        classes=10 device=auto threads=1 batch_size=1 out=FILE.csv
    fit, which fits a latency model to measurements: space=NAME table=FILE.csv column=NAME
        train=200 out=FILE.json
    compare, which compares a model with measurements: model=FILE table=FILE.csv column=NAME
        networks=20
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch

from darts.config import ConfigError, DeviceConfig, Invocation, launch
from darts.confirm import confirm
from darts.hpo.architecture_list import Architecture, random_architectures, read_architectures
from darts.judging.devices import load_model
from darts.judging.devices.fitting import Accuracy, count, fit_and_test
from darts.judging.devices.latency_model import LinearModel
from darts.judging.devices.lookup_table import LookupTable, info_file, measure, measure_networks
from darts.judging.devices.stopwatch import Precision, TimingSettings
from darts.reading import JsonObject
from darts.spaces import SPACES
from darts.tracking import Console, print_lines, print_summary
from darts.training.device import check_precision, resolve_device
from darts.training.run_directory import RunDirectory

TIMING = ("device", "precision", "threads", "batch_size", "warmup", "repeats")
# Keys that an action does not read.
UNUSED = {
    "measure": ("table", "column", "train", "model", "networks", "seed"),
    "fit": ("model", "networks", *TIMING),
    "compare": ("shape", "classes", "train", *TIMING),
}
WORK = "measures all operations of the space cnn on this machine, which takes a minute or more"
SUFFIXES = {"measure": ".csv", "fit": ".json"}  # of the files that the actions write


def check(config: DeviceConfig) -> None:
    """Check the settings that do not depend on files."""
    if "images" not in config.space.data_kinds:
        names = [name for name, space in SPACES.items() if "images" in space.data_kinds]
        raise ConfigError(
            f"space={config.space.name}: darts device needs networks of images; choose from "
            f"{', '.join(names)}"
        )
    if len(config.shape) != 3:
        raise ConfigError(f"shape={config.shape}: must be channels, height and width")
    if (config.table is None) != (config.column is None):
        raise ConfigError("table=FILE and column=NAME belong together; set both or neither")
    if config.action == "fit" and config.table is None:
        raise ConfigError("fit needs measurements; set table=FILE and column=NAME")
    if config.action == "compare" and config.model is None:
        raise ConfigError("compare needs a model; set model=FILE")
    if config.action == "compare" and config.networks == 1:
        raise ConfigError("networks=1: a correlation needs at least two networks")
    if config.action == "compare" and config.table is None and config.networks == 0:
        raise ConfigError(
            "compare needs measurements; set table=FILE and column=NAME, or networks=20 to measure "
            "random networks on this machine"
        )
    for key in UNUSED[config.action]:
        if (value := getattr(config, key)) != getattr(DeviceConfig(), key):
            raise ConfigError(f"{key}={value}: {config.action} does not use it; leave it out")
    suffix = SUFFIXES.get(config.action)
    if config.out is not None and suffix is None:
        raise ConfigError(f"out={config.out!r}: compare writes no file; leave it out")
    if config.out is not None and Path(config.out).suffix != suffix:
        raise ConfigError(f"out={config.out!r}: must end in {suffix}")
    if config.action == "measure":
        check_precision(config.precision, resolve_device(config.device))


def device(config: DeviceConfig, invocation: Invocation) -> JsonObject:
    """Run an action; return the summary, which is also in the run directory."""
    keys = [item.partition("=")[0] for item in invocation.overrides]
    if config.action == "compare" and any(key.partition(".")[0] == "space" for key in keys):
        raise ConfigError("space: compare uses the space of the model; leave the key out")
    action = {"measure": measure_space, "fit": fit_model, "compare": compare_model}[config.action]
    with RunDirectory(invocation.directory, "device") as run:
        run.claim_unused(numbered=invocation.numbered, repeatable=True)
        summary = action(config, run.path)
        run.begin(config, invocation.overrides)
        return run.finish({"name": config.name, "action": config.action, **summary})


def measure_space(config: DeviceConfig, directory: Path) -> JsonObject:
    """Time each operation of the space, and write the lookup table."""
    settings = TimingSettings(
        device=str(resolve_device(config.device)),
        threads=config.threads or torch.get_num_threads(),
        batch_size=config.batch_size,
        precision=cast(Precision, config.precision),
        warmup=config.warmup,
        repeats=config.repeats,
    )
    with Console(total_steps=config.warmup + config.repeats, name="measure") as console:
        table = measure(
            config.space,
            settings,
            classes=config.classes,
            sample_shape=config.shape,
            after_round=console.step,
        )
    out = Path(config.out) if config.out else directory / "latencies.csv"
    table.save(out)
    summary = {"file": str(out), "device": table.info.name, "operations": len(table.rows)}
    print_summary("measure", summary)
    print_lines(f"wrote {out} and {info_file(out)}")
    return summary


def fit_model(config: DeviceConfig, directory: Path) -> JsonObject:
    """Fit a latency model to a part of the measurements, test it on the rest, and write it."""
    architectures = read_latencies(config, config.space.name)
    genotypes = [architecture.genotype for architecture in architectures]
    latencies = values_of(architectures)
    print_lines(f"{len(genotypes):,} networks; fitting to {config.train}")
    counts = count(
        config.space, genotypes, classes=config.classes, sample_shape=tuple(config.shape)
    )
    fits, accuracies = fit_and_test(
        genotypes,
        latencies,
        counts,
        train=config.train,
        device=str(config.column),
        seed=config.seed,
    )
    chosen, tested = next(iter(fits.values())), len(genotypes) - config.train
    out = Path(config.out) if config.out else directory / "model.json"
    chosen.model.save(out)
    print_accuracies(f"agreement on the other {tested} networks", accuracies)
    print_lines(f"wrote {out}: {chosen.model.kind}, {chosen.model.encoding}")
    summary: JsonObject = {
        "file": str(out),
        "device": config.column,
        "kind": chosen.model.kind,
        "encoding": chosen.model.encoding,
        "train": config.train,
        "tested": tested,
        "validation_rmse_ms": chosen.error,
        "seed": config.seed,
    }
    return summary | entries(accuracies, chosen.model.kind)


def compare_model(config: DeviceConfig, directory: Path) -> JsonObject:
    """Compare a model with measurements of a table, or of whole networks on this machine."""
    assert config.model is not None
    model = load_model(config.model)
    accuracies: dict[str, Accuracy] = {}
    summary: JsonObject = {"model": config.model}
    if config.table is not None:
        architectures = read_latencies(config, model.space_name)
        if isinstance(model, LinearModel):  # the networks that it was fitted to prove nothing
            fitted_to = set(model.trained_on)
            architectures = [a for a in architectures if str(a.genotype) not in fitted_to]
        if len(architectures) < 2:
            raise ConfigError(
                f"table={config.table!r}: has no networks that the model has not seen"
            )
        predictions = np.array([model.predict(a.genotype) for a in architectures])
        accuracies["table"] = Accuracy.of(predictions, values_of(architectures))
        summary["tested"] = len(architectures)
    if config.networks:
        if not isinstance(model, LookupTable):
            raise ConfigError(
                f"networks={config.networks}: needs a lookup table of darts device measure, which "
                f"says how to measure; got model={config.model!r}"
            )
        accuracies["networks"] = test_on_this_machine(config, model)
        summary["networks"] = config.networks
    print_accuracies(f"agreement of {config.model} with measurements", accuracies)
    return summary | entries(accuracies, next(iter(accuracies)))


def test_on_this_machine(config: DeviceConfig, table: LookupTable) -> Accuracy:
    """Measure random networks on this machine, and compare the table with them."""
    settings = table.info.settings
    check_precision(settings.precision, resolve_device(settings.device))
    genotypes = random_architectures(table.space, config.networks, config.seed)
    predictions = np.array([table.predict(genotype) for genotype in genotypes])
    with Console(total_steps=settings.warmup + settings.repeats, name="compare") as console:
        measured = measure_networks(genotypes, table, console.step)
    return Accuracy.of(predictions, np.array([timing.median_ms for timing in measured]))


def read_latencies(config: DeviceConfig, space: str) -> list[Architecture]:
    """Return the measured networks of the table, ordered by genotype."""
    found = read_architectures(
        str(config.table), truth=config.column, space=space, path_key="table", truth_key="column"
    )
    negative = [a for a in found if a.truth is not None and a.truth <= 0]
    if negative:
        raise ConfigError(
            f"table={config.table!r}: column={config.column}: {negative[0].truth} for "
            f"{negative[0].genotype}; a latency must be > 0"
        )
    return sorted(found, key=lambda architecture: str(architecture.genotype))


def values_of(architectures: list[Architecture]) -> np.ndarray:
    """Return the latencies of measured networks in milliseconds, ``(n,)``."""
    return np.array([a.truth for a in architectures if a.truth is not None])


def entries(accuracies: Mapping[str, Accuracy], chosen: str) -> JsonObject:
    """Return the entries of the summary: the chosen accuracy, and all of them with a prefix."""
    prefixed = {
        f"{n}_{k}": value for n, own in accuracies.items() for k, value in vars(own).items()
    }
    return {**vars(accuracies[chosen]), **prefixed}


def print_accuracies(title: str, accuracies: Mapping[str, Accuracy]) -> None:
    """Print a row for each predictor."""
    rows = {
        name: f"{found.spearman:+8.3f} {found.kendall:+8.3f} {found.rmse_ms:12.4g}"
        for name, found in accuracies.items()
    }
    print_summary(title, {"": "spearman  kendall  rmse in ms", **rows})


def main() -> None:
    """Entry point of ``darts-device``."""
    launch("device", check, device, prepare=partial(confirm, WORK))


if __name__ == "__main__":
    main()
