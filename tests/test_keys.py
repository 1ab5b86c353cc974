"""The keys that are read from the source equal those of the composed configuration."""

from __future__ import annotations

import dataclasses

import pytest

from darts.config import ConfigError, compose
from darts.keys import COMMANDS, PASSED_ON, flatten, keys_of, wrong_argument

CHOICES = (
    "search method=pc_darts space=nas201 dataset=synthetic",
    "search task=translation method=darts_es",
    "search task=speech experiment=nas201_cpu discretize=sampling",
    "retrain space=recurrent task=language_model",
    "retrain experiment=paper_drnas_nas201 dataset=challenge",
    "tune strategy=grid pruner=hyperband judge=zico executor=slurm",
    "find experiment=nas201_cpu executor=ray",
)


def plain(value: object) -> object:
    """Return a value as OmegaConf reads it: for PyYAML, 1e-3 is text."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value


@pytest.mark.parametrize("line", [*COMMANDS, *CHOICES])
def test_keys_and_defaults_are_those_of_the_configuration(line: str) -> None:
    command, *words = line.split()
    keys = keys_of(command, words)
    missing = [key for key, item in keys.items() if item.default == "???" and "." not in key]
    required = [f"{key}=x" for key in missing]
    config = dict(flatten(dataclasses.asdict(compose(command, [*words, *required]))))
    groups = {key for key, item in keys.items() if item.kind == "name" and key not in config}
    assert keys.keys() - groups == config.keys()
    for key, value in config.items():
        found, choices = keys[key].default, keys[key].choices
        assert plain(found) == plain(value) or found == "???" or "${" in str(found), key
        assert not choices or isinstance(value, bool) or value in choices, key


@pytest.mark.parametrize(
    "line",
    [
        "search nosuch=1",
        "search optimizer.lrr=1",
        "search dataset=cifr10",
        "search bilevel.hvp=exact",
        "search space=mlp space.stem=small",
        "retrain method=darts_v2",
        "evaluate experiment=foo",
        "find dataset=cifr10",
        "compare genotype=x",
    ],
)
def test_the_message_is_that_of_the_composition(line: str) -> None:
    command, *words = line.split()
    with pytest.raises(ConfigError) as error:
        compose(PASSED_ON.get(command, command), words)
    assert wrong_argument(command, words) == str(error.value)


@pytest.mark.parametrize(
    "line",
    [
        *CHOICES,
        "search method=darts_v2 bilevel.hvp=exact limit.sizes.channels=3 log=plain",
        "search dataset=cifar10,digits --multirun hydra.run.dir=x +optimizer.lr=1 epochs",
        "search resume=x nosuch=1",
        "find photos pretrained=auto space.widths=[3] epochs=3",
        "judge dataset.samples=3",
        "tune parameters.optimizer.lr={low:1} nosuch=1",
        "compare method=drnas search.epochs=3 settings.drnas.epochs=3",
        "report lr=0.1",
    ],
)
def test_other_arguments_are_left_to_the_composition(line: str) -> None:
    command, *words = line.split()
    assert wrong_argument(command, words) is None
