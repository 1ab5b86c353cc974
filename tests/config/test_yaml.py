"""Every YAML composes, says which command uses it, and holds what was published."""

from __future__ import annotations

import configparser
import fnmatch
import shlex
from pathlib import Path

import pytest
import yaml

import darts
from darts.config import COMMANDS, ConfigError, compose, conf_folder, group_options

CONF = conf_folder()
FILES = sorted(file.relative_to(CONF).as_posix() for file in CONF.rglob("*.yaml"))
CHECKOUT = Path(darts.__file__).resolve().parents[1]
# What a command cannot do without, in whatever composition.
NEEDED = {
    "search": [],
    "retrain": ["genotype=DARTS_V2"],
    "evaluate": ["checkpoint=x"],
    "export": ["checkpoint=x"],
}
SHARED = ("dataset", "space")
PARTS = ("relaxation", "bilevel", "perturbation", "regularizer", "stopping", "freezing")
SEARCH_ONLY = (*PARTS, "discretize", "method")


def options() -> list[tuple[str, str]]:
    """Every (command, override) that chooses an option of a group."""
    pairs = [(c, f"{g}={o}") for c in ("search", "retrain") for g in SHARED for o in names(g)]
    pairs += [("search", f"{group}={o}") for group in SEARCH_ONLY for o in names(group)]
    for command in ("search", "retrain"):
        pairs += [(command, f"experiment={o}") for o in names(f"experiment/{command}")]
        pairs += [(command, f"dataset={o}") for o in names(f"recipe/{command}")]
    return sorted(set(pairs))


def names(group: str) -> list[str]:
    found = group_options(group)
    assert found, f"no YAML in {group}"
    return found


def command_of(file: str) -> list[str]:
    """The words of the command in a file's opening comment."""
    lines = (CONF / file).read_text(encoding="utf-8").splitlines()
    if lines[0] == "# @package _global_":
        del lines[0]
    assert lines[0].startswith("# python -m darts."), f"{file} does not open with its command"
    return shlex.split(lines[0].removeprefix("# "))


@pytest.mark.parametrize("file", FILES)
def test_opens_with_a_command_that_composes_it(file: str) -> None:
    words = command_of(file)
    command = words[2].removeprefix("darts.")
    assert command in COMMANDS
    overrides = words[3:]
    if "--multirun" in overrides:  # of a sweep, the first run
        overrides = [word.partition(",")[0] for word in overrides if word != "--multirun"]
    named = {word.partition("=")[0] for word in overrides}
    assert command == "report" or all(("=" in word) for word in overrides)
    missing = [o for o in NEEDED.get(command, []) if o.partition("=")[0] not in named]
    config = compose(command, [*overrides, *missing])
    group, name = Path(file).parent.as_posix(), Path(file).stem
    if group == ".":
        assert command == name
    elif group.startswith(("recipe/", "experiment/")):
        # In a folder a command: chosen by the data set or another group, or as an experiment.
        kind, folder, *by = group.split("/")
        assert command == folder
        if by == ["both"]:  # chosen by a space and a data set together
            space, _, dataset = name.partition("_")
            assert {f"space={space}", f"dataset={dataset}"} <= set(overrides)
            return
        if by == ["task"]:  # chosen by a space and a task together
            assert name == f"{config.space.name}_{config.task.name}"
            return
        key = by[0] if by else "dataset" if kind == "recipe" else "experiment"
        assert f"{key}={name}" in overrides
    else:
        assert f"{group}={name}" in overrides


@pytest.mark.parametrize(("command", "override"), options())
def test_every_option_composes(command: str, override: str) -> None:
    config = compose(command, [*NEEDED[command], override])
    group, _, name = override.partition("=")
    if group == "method":
        assert config.method == name
    elif group != "experiment":
        assert getattr(config, group).name == name


def test_an_option_of_search_is_none_of_retrain() -> None:
    with pytest.raises(ConfigError):
        compose("retrain", ["genotype=DARTS_V2", "method=darts_v2"])


@pytest.mark.parametrize("command", COMMANDS)
def test_composes_from_any_directory(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert conf_folder().is_absolute()
    assert (conf_folder() / f"{command}.yaml").is_file()
    compose(command, NEEDED.get(command, []))


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


def test_published_second_order() -> None:
    config = compose("search", ["dataset=cifar10", "method=darts_v2"])
    assert (config.bilevel.name, config.method) == ("unrolled", "darts_v2")
    assert (config.bilevel.hvp, config.bilevel.epsilon) == ("finite_difference", 0.01)
    # The parts that a method names can still be exchanged.
    assert compose("search", ["method=darts_v2", "bilevel.hvp=exact"]).bilevel.hvp == "exact"


def test_published_retraining() -> None:
    config = compose("retrain", ["dataset=cifar10", "genotype=DARTS_V2"])
    assert (config.space.channels, config.space.cells, config.space.stem) == (36, 20, "small")
    assert (config.loader.batch_size, config.epochs, config.auxiliary) == (96, 600, 0.4)
    assert (config.cutout, config.drop_path, config.label_smoothing) == (16, 0.2, 0.0)
    weights = config.optimizer
    assert (weights.lr, weights.lr_min, weights.momentum) == (0.025, 0.0, 0.9)
    assert (weights.weight_decay, weights.clip) == (3e-4, 5.0)
    assert config.ema_decay == 0.0
    assert config.validation > 0  # choices are made on validation data
    assert config.selection == "best"


@pytest.mark.parametrize(("space", "cells"), [("nas201", 5), ("macro", 4)])
def test_other_spaces_are_retrained_in_their_own_size(space: str, cells: int) -> None:
    config = compose("retrain", ["dataset=cifar10", f"space={space}", "genotype=x"])
    assert (config.space.channels, config.space.cells, config.auxiliary) == (16, cells, 0.0)
    tiny = compose("retrain", ["dataset=synthetic", f"space={space}", "genotype=x"])
    assert (tiny.space.channels, tiny.auxiliary) == (4, 0.0)


def test_sizes_by_data_set_are_those_of_spaces_that_have_them() -> None:
    """A space without channels takes every recipe of a data set, and tables those of a space."""
    for name in names("dataset"):
        root = f"dataset.root={name}"
        compose("search", [f"dataset={name}", "space=mlp", root])
        for space in names("space"):
            config = compose("retrain", [f"dataset={name}", f"space={space}", root, "genotype=x"])
            assert config.space.name == space
            # What its networks do not have is off.
            assert space == "cnn" or config.auxiliary == 0
            assert space != "mlp" or (
                config.drop_path == 0 and not hasattr(config.space, "channels")
            )
            assert name != "csv" or (config.cutout == 0 and not hasattr(config.dataset, "crop"))


def test_published_transfer_to_imagenet() -> None:
    config = compose("retrain", ["dataset=imagenet", "genotype=DARTS_V2"])
    assert (config.space.channels, config.space.cells, config.space.stem) == (48, 14, "imagenet")
    assert (config.epochs, config.loader.batch_size, config.label_smoothing) == (250, 128, 0.1)
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (0.1, 3e-5)
    assert (config.dataset.size, config.auxiliary) == (224, 0.4)


def test_the_command_line_beats_the_recipe() -> None:
    """Whatever the order of the overrides."""
    for given in (["epochs=3", "dataset=digits"], ["dataset=digits", "epochs=3"]):
        assert compose("search", given).epochs == 3
    assert compose("search", ["experiment=cifar10_cpu", "epochs=3"]).epochs == 3
    assert compose("search", ["experiment=cifar10_cpu", "dataset=digits"]).dataset.name == "digits"


def test_keys_that_scripts_rely_on() -> None:
    for command in ("search", "retrain"):
        kept = ["dataset.root=x", "dataset.download=false", "dataset.verify=false", "epochs=2"]
        kept += ["space=cnn", "space.channels=4", "space.cells=3", "seed=1", "device=cpu"]
        kept += ["precision=bf16", "optimizer.lr=0.1", "loader.batch_size=8", "dry_run=true"]
        kept += ["task=classification", "metric=loss"]
        config = compose(command, [*NEEDED[command], *kept])
        assert (config.dataset.root, config.space.channels, config.seed) == ("x", 4, 1)
    assert compose("search", ["arch_optimizer.lr=0.1"]).arch_optimizer.lr == 0.1
    assert compose("evaluate", ["checkpoint=x"]).checkpoint == "x"


needs_checkout = pytest.mark.skipif(
    not (CHECKOUT / "setup.cfg").is_file(), reason="needs the checkout"
)


@needs_checkout
def test_every_folder_of_code_is_a_package() -> None:
    for folder in {file.parent for file in (CHECKOUT / "darts").rglob("*.py")}:
        assert (folder / "__init__.py").is_file()


@needs_checkout
def test_every_yaml_is_packaged() -> None:
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    assert "darts.conf = conf" in setup["options"]["package_dir"]
    patterns = setup["options.package_data"]["darts.conf"].replace(",", " ").split()
    # setuptools expands ** to any depth, fnmatch's * crosses folders as well.
    for file in FILES:
        assert any(fnmatch.fnmatch(file, p.replace("**/", "*/")) for p in patterns), file
    everything = {f.relative_to(CONF).as_posix() for f in CONF.rglob("*") if f.is_file()}
    assert {f for f in everything if not f.endswith((".py", ".pyc"))} == set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_is_plain_yaml(file: str) -> None:
    assert yaml.safe_load((CONF / file).read_text(encoding="utf-8"))


def test_the_command_line_beats_the_method() -> None:
    for given in (["method=darts_v2", "bilevel=first_order"], ["bilevel=unrolled"]):
        assert compose("search", given).bilevel.name == given[-1].partition("=")[2]
