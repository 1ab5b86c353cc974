"""Every YAML file composes to what was published, and the last of several values counts."""

from __future__ import annotations

import re
import shlex
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml
from slow_cases import slow_except

from darts.config import ConfigError, SearchConfig, compose
from darts.config.commands import DEVICE_ACTIONS
from darts.config.fields import flatten
from darts.config.groups import COMMANDS, TYPES, defaults_nodes
from darts.judging.training_free import SCORES
from darts.methods.stages import Stage, schedule_of, skip_dropout_at, stage_position
from darts.plugins import conf_folder, group_options
from darts.training.schedules import rate_of_epoch

CONF = conf_folder()
# What a command cannot do without, in any composition.
REQUIRED = {
    "search": [],
    "retrain": ["genotype=DARTS_V2"],
    "evaluate": ["checkpoint=x"],
    "export": ["checkpoint=x"],
    "predict": ["checkpoint=x", "input=x"],
}
FILES = sorted(file.relative_to(CONF).as_posix() for file in CONF.rglob("*.yaml"))
# Composing takes time: one file per folder, and all of them in the slow tests.
SAMPLE = {next(files) for _, files in groupby(FILES, key=lambda file: Path(file).parent)}
SAMPLE |= {f"{command}.yaml" for command in COMMANDS} | {"method/p_darts.yaml", "method/drnas.yaml"}


def words(file: str) -> list[str]:
    """Return the words of the command in a file's opening comment."""
    lines = (CONF / file).read_text(encoding="utf-8").splitlines()
    if lines[0] == "# @package _global_":
        del lines[0]
    assert lines[0].startswith("# darts "), f"{file} does not open with its command"
    assert lines[1] == "#"
    assert lines[2].startswith("# "), f"{file} has no description"
    return shlex.split(lines[0].removeprefix("# "))


@pytest.mark.parametrize("file", FILES)
def test_file_starts_with_a_command_that_chooses_it(file: str) -> None:
    command, overrides = words(file)[1], words(file)[2:]
    assert command in COMMANDS
    if command == "device":
        assert overrides.pop(0) in DEVICE_ACTIONS
    assert command == "report" or all("=" in word for word in overrides if word[0] != "-")
    group, name = Path(file).parent.as_posix(), Path(file).stem
    if group == ".":
        assert command == name
    elif group == "defaults":
        key = "task" if name in TYPES["task"] else "dataset"
        assert f"{key}={name}" in overrides
    elif group == "network":
        assert command == "retrain"
        assert f"space={name}" in overrides
    elif group.startswith("experiment/"):
        assert group == f"experiment/{command}"
        assert f"experiment={name}" in overrides
    else:
        assert any(override.startswith(f"{group}={name}") for override in overrides)


@pytest.mark.parametrize("file", slow_except(FILES, SAMPLE))
def test_command_of_the_file_composes(file: str) -> None:
    command, overrides = words(file)[1], words(file)[2:]
    if "--multirun" in overrides:  # the first run of the sweep
        overrides = [word.partition(",")[0] for word in overrides if word != "--multirun"]
    keys = {word.partition("=")[0] for word in overrides}
    missing = [o for o in REQUIRED.get(command, []) if o.partition("=")[0] not in keys]
    config = compose(command, [*overrides, *missing])
    group, name = Path(file).parent.as_posix(), Path(file).stem
    if group == "method":
        assert config.method == name
    elif group in TYPES and "," not in str(overrides):
        assert getattr(config, group).name == component(file, default=name)


def component(file: str, default: str) -> str:
    """Return the component that a file configures, if another file shares its type."""
    if not file.startswith("judge/"):
        return default
    found = re.search(r"/schema/judge/(\w+)@", (CONF / file).read_text(encoding="utf-8"))
    return found[1]


def test_every_component_has_a_file() -> None:
    for group, types in TYPES.items():
        if group != "dataset":
            options = {component(f"{group}/{o}.yaml", default=o) for o in group_options(group)}
            assert options == set(types)


def test_every_training_free_score_has_a_file() -> None:
    assert set(SCORES) <= set(group_options("judge"))
    for name in SCORES:
        assert compose("judge", [f"judge={name}"]).judge.scores == [name]


def test_published_search() -> None:
    config = compose("search", ["dataset=cifar10"])
    assert (config.space.channels, config.space.cells, config.space.stem) == (16, 8, "small")
    assert (config.loader.batch_size, config.epochs, config.train_portion) == (64, 50, 0.5)
    weights = config.optimizer
    assert (weights.lr, weights.lr_min, weights.momentum) == (0.025, 0.001, 0.9)
    assert (weights.weight_decay, weights.clip) == (3e-4, 5.0)
    alphas = config.arch_optimizer
    assert (alphas.lr, alphas.betas, alphas.weight_decay) == (3e-4, [0.5, 0.999], 1e-3)
    assert (config.bilevel.name, config.relaxation.name) == ("first_order", "softmax")
    assert (config.discretize.name, config.method) == ("argmax", "darts_v1")
    assert (config.dataset.crop, config.dataset.padding, config.dataset.flip) == ("pad", 4, True)
    assert config.dataset.subset is None
    assert config.precision == "fp32"


def test_published_retraining() -> None:
    config = compose("retrain", ["dataset=cifar10", "genotype=DARTS_V2"])
    assert (config.space.channels, config.space.cells, config.space.stem) == (36, 20, "small")
    assert (config.loader.batch_size, config.epochs, config.auxiliary) == (96, 600, 0.4)
    assert (config.cutout, config.drop_path, config.label_smoothing) == (16, 0.2, 0.0)
    weights = config.optimizer
    assert (weights.lr, weights.lr_min, weights.momentum) == (0.025, 0.0, 0.9)
    assert (weights.weight_decay, weights.clip) == (3e-4, 5.0)
    assert config.average_power == 0.0
    assert config.validation > 0  # choices are made on validation data
    assert config.selection == "best"


@pytest.mark.parametrize(("space", "cells"), [("nas201", 5), ("macro", 4)])
def test_other_spaces_are_retrained_at_their_own_size(space: str, cells: int) -> None:
    config = compose("retrain", ["dataset=cifar10", f"space={space}", "genotype=x"])
    assert (config.space.channels, config.space.cells, config.auxiliary) == (16, cells, 0.0)
    tiny = compose("retrain", ["dataset=synthetic", f"space={space}", "genotype=x"])
    assert (tiny.space.channels, tiny.auxiliary) == (4, 0.0)


@pytest.mark.parametrize("name", slow_except(group_options("dataset"), ("digits", "csv")))
def test_every_data_set_composes_with_every_space(name: str) -> None:
    """The defaults of a data set have only keys that the space and the data set have."""
    root = f"dataset.root={name}"
    compose("search", [f"dataset={name}", "space=mlp", root])
    for space in group_options("space"):
        config = compose("retrain", [f"dataset={name}", f"space={space}", root, "genotype=x"])
        assert config.space.name == space
        # What its networks do not have is off.
        assert space == "cnn" or config.auxiliary == 0
        assert space != "mlp" or (config.drop_path == 0 and not hasattr(config.space, "channels"))
        assert name != "csv" or (config.cutout == 0 and not hasattr(config.dataset, "crop"))


def test_published_transfer_to_imagenet() -> None:
    config = compose("retrain", ["dataset=imagenet", "genotype=DARTS_V2"])
    assert (config.space.channels, config.space.cells, config.space.stem) == (48, 14, "imagenet")
    assert (config.epochs, config.loader.batch_size, config.label_smoothing) == (250, 128, 0.1)
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (0.1, 3e-5)
    assert (config.dataset.size, config.auxiliary) == (224, 0.4)


@pytest.mark.parametrize(
    ("overrides", "epochs"),
    [
        (["dataset=cifar10"], 50),  # the default
        (["dataset=digits"], 15),  # the data set
        (["dataset=digits", "method=p_darts"], 75),  # the method
        (["dataset=digits", "method=p_darts", "experiment=cifar10_cpu"], 8),  # the experiment
        (["epochs=3", "dataset=digits", "method=p_darts", "experiment=cifar10_cpu"], 3),
    ],
)
def test_order_of_a_search(overrides: list[str], epochs: int) -> None:
    assert compose("search", overrides).epochs == epochs
    assert compose("search", overrides[::-1]).epochs == epochs


def test_defaults_of_the_data_set_follow_the_defaults_of_the_task() -> None:
    config = compose("search", ["task=translation"])
    assert (config.metric, config.dataset.name, config.dataset.subset) == ("bleu", "multi30k", 6000)
    assert compose("search", ["task=translation", "dataset=pairs"]).dataset.subset is None


def test_defaults_of_a_space_follow_the_defaults_of_the_data_set() -> None:
    shifted, fixed = (compose("search", ["dataset=digits", f"space={s}"]) for s in ("cnn", "mlp"))
    assert (shifted.dataset.crop, fixed.dataset.crop) == ("pad", "none")
    assert shifted.epochs == fixed.epochs == 15


@pytest.mark.parametrize("reverse", [False, True])
def test_command_line_replaces_components_of_the_method(reverse: bool) -> None:
    overrides = ["method=darts_v2", "bilevel=first_order"]
    config = compose("search", overrides[::-1] if reverse else overrides)
    assert (config.method, config.bilevel.name) == ("darts_v2", "first_order")
    assert compose("search", ["bilevel=unrolled"]).bilevel.name == "unrolled"
    assert compose("search", ["method=darts_v2", "bilevel.hvp=exact"]).bilevel.hvp == "exact"


def test_defaults_of_an_unknown_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "defaults").mkdir()
    (tmp_path / "defaults" / "digits.yaml").write_text("search: {spaces: {cmm: {epochs: 3}}}")
    monkeypatch.setattr("darts.config.groups.conf_folders", lambda: [tmp_path])
    with pytest.raises(ConfigError, match=r"digits\.yaml: search\.spaces='cmm' is unknown"):
        list(defaults_nodes())


def test_yaml_in_the_documentation_is_what_the_files_hold() -> None:
    page = CONF.parent / "docs" / "configuration.md"
    if not page.is_file():
        pytest.skip("needs the checkout")
    blocks = page.read_text(encoding="utf-8").split("```yaml\n# conf/")[1:]
    assert len(blocks) == 2
    for block in blocks:
        file, _, text = block.partition("```")[0].partition("\n")
        actual = dict(flatten(yaml.safe_load((CONF / file).read_text("utf-8"))))
        for key, value in flatten(yaml.safe_load(text)):
            assert actual[key] == value, file


EXPERIMENTS = CONF / "experiment"
SEARCHES = sorted(file.stem for file in (EXPERIMENTS / "search").glob("paper_*.yaml"))
RETRAININGS = sorted(file.stem for file in (EXPERIMENTS / "retrain").glob("paper_*.yaml"))
VARIANTS = {
    "paper_recurrent": "darts_v2",
    "paper_r_darts_dp": "r_darts",
    "paper_pc_darts_imagenet": "pc_darts",
    "paper_drnas_nas201": "drnas",
}
"""Searches whose names are not those of their methods."""


def search_config(name: str) -> SearchConfig:
    return compose("search", [f"experiment={name}"])


@pytest.mark.slow
def test_every_method_has_both_experiments() -> None:
    methods = {file.stem for file in (EXPERIMENTS.parent / "method").glob("*.yaml")}
    methods.remove("sandwich")  # its paper searches on ImageNet with dozens of GPUs
    assert set(SEARCHES) == {*(f"paper_{name}" for name in methods), *VARIANTS}
    assert set(RETRAININGS) == {*SEARCHES, "paper_nas201", "paper_darts_imagenet"}
    for name in SEARCHES:
        assert search_config(name).method == VARIANTS.get(name, name.removeprefix("paper_"))


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("paper_darts_v1", {0: 0.025, 49: 0.0010237}),
        ("paper_pc_darts", {0: 0.1, 49: 9.87e-5}),
        ("paper_p_darts", {0: 0.025, 24: 9.86e-5, 25: 0.025, 74: 9.86e-5}),
        ("paper_drnas", {0: 0.1, 26: 0.0469}),
        ("paper_gdas", {0: 0.025, 249: 0.0010009}),
        ("paper_snas", {0: 0.025, 149: 0.0010026}),
        ("paper_fair_darts", {0: 0.005}),
        ("paper_pc_darts_imagenet", {0: 0.1, 2: 0.3, 4: 0.5, 5: 0.4878, 49: 4.93e-4}),
        ("paper_drnas_nas201", {0: 0.025, 99: 0.001006}),
    ],
)
def test_learning_rates(name: str, rates: dict[int, float]) -> None:
    config = search_config(name)
    for epoch, rate in rates.items():
        first, length = schedule_of(epoch, config.epochs, config.stages or [Stage()])
        found = rate_of_epoch(config.optimizer, epoch - first, length)
        assert found == pytest.approx(rate, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("paper_pc_darts", range(15)),
        ("paper_pc_darts_imagenet", range(35)),
        ("paper_drnas_nas201", ()),
        ("paper_p_darts", (*range(10), *range(25, 35), *range(50, 60))),
        ("paper_drnas", (*range(10), *range(25, 35))),
        ("paper_darts_v1", ()),
    ],
)
def test_epochs_with_frozen_alphas(name: str, frozen: Any) -> None:
    config = search_config(name)
    actual = []
    for epoch in range(config.epochs):
        position = stage_position(epoch, config.epochs, config.stages or [Stage()])
        if position.progress(epoch) < config.arch_optimizer.warmup:
            actual.append(epoch)
    assert actual == list(frozen)


def test_quantities_that_change_during_the_search() -> None:
    gdas, snas = (search_config(name).relaxation for name in ("paper_gdas", "paper_snas"))
    for relaxation, epochs, values in (
        (gdas, 250, {0: 10.0, 1: 9.960, 125: 5.030, 249: 0.1}),
        (snas, 150, {0: 0.9935, 1: 0.9871, 74: 0.515, 148: 0.0365, 149: 0.03}),
    ):
        for epoch, value in values.items():
            actual = relaxation.temperature_at(epoch / (epochs - 1))
            assert actual == pytest.approx(value, abs=1e-3)
    for name in ("paper_sdarts_rs", "paper_sdarts_adv"):
        perturbation = search_config(name).perturbation
        assert perturbation.radius_at(0) == pytest.approx(0.03)
        assert perturbation.radius_at(49 / 50) == pytest.approx(0.2946)
    minus = search_config("paper_darts_minus").relaxation
    assert [minus.auxiliary_weight(n / 50) for n in (0, 25, 49)] == pytest.approx([1.0, 0.5, 0.02])
    p_darts = search_config("paper_p_darts")
    rates = {25: 0.384, 30: 0.304, 34: 0.24, 35: 0.4, 36: 0.3275, 40: 0.1472, 49: 0.0243}
    rates |= {50: 0.672, 59: 0.42, 60: 0.7, 74: 0.0426}
    for epoch, rate in rates.items():
        position = stage_position(epoch, 75, p_darts.stages)
        stage, warmup = p_darts.stages[position.stage], p_darts.arch_optimizer.warmup
        assert skip_dropout_at(stage, position, epoch, warmup) == pytest.approx(rate, abs=1e-4)


def test_the_learning_rates_of_imagenet() -> None:
    """Recorded from the schedules of the authors' code, at epochs counted from 0."""
    darts, partial = (
        compose("retrain", [f"experiment=paper_{name}_imagenet", "genotype=DARTS_V2"])
        for name in ("darts", "pc_darts")
    )
    expected = {0: 0.1, 1: 0.097, 249: 0.1 * 0.97**249}
    actual = {epoch: rate_of_epoch(darts.optimizer, epoch, 250) for epoch in expected}
    assert actual == pytest.approx(expected)
    expected = {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.5, 5: 120 / 245, 125: 60 / 245}
    expected |= {244: 0.5 / 245, 245: 0.5 / 245, 247: 0.3 / 245, 249: 0.1 / 245}
    actual = {epoch: rate_of_epoch(partial.optimizer, epoch, 250) for epoch in expected}
    assert actual == pytest.approx(expected)
    for config in (darts, partial):
        assert config.dataset.color_jitter == [0.4, 0.4, 0.4, 0.2]
        assert config.space.stem == "imagenet"
        assert (config.label_smoothing, config.auxiliary) == (0.1, 0.4)
