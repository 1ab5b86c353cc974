"""The keys that are read from the source equal those of the composed configuration."""

from __future__ import annotations

import dataclasses

import pytest

from darts.config import ConfigError, compose
from darts.key_checks import wrong_argument
from darts.keys import COMMANDS, PASSED_ON, all_keys, flatten, keys_of

CHOICES = (
    "search method=pc_darts space=nas201 dataset=synthetic",
    "search task=translation method=darts_es",
    "search task=speech experiment=nas201_cpu discretize=sampling",
    "retrain genotype=x space=recurrent task=language_model",
    "retrain genotype=x experiment=paper_drnas_nas201 dataset=challenge",
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
        "search epochs=0",
        "search epochs=1.5",
        "search optimizer.lr=-1",
        "search optimizer.lr=nan",
        "search optimizer.nesterov=maybe",
        "search precision=fp64",
        "device classes=ten",
        "compare loader.batch_size=1",
        "device classes=0",
    ],
)
def test_the_message_is_that_of_the_composition(line: str) -> None:
    command, *words = line.split()
    with pytest.raises(ConfigError) as error:
        compose(PASSED_ON.get(command, command), words)
    assert wrong_argument(command, words) == str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("compare genotype=x", "no such key 'genotype'"),
        ("compare stages=[]", "set search.stages for all searches, or settings.NAME.stages"),
        ("compare warmup=1", "no such key 'warmup'; set retrain.warmup for all retraining runs"),
        ("find budgt.minutes=1", "did you mean 'budget.minutes'?"),
        ("find minute=1", "did you mean 'budget.minutes'?"),
        ("find budget=1", "budget=1: set one of its keys: budget.hours, budget.minutes"),
        ("find nowhere/x.csv", "nowhere/x.csv: there is no such file or folder"),
        (f"search hydra.run.dir={__file__}", "test_keys.py: is a file; name a folder"),
        ("predict a.png", "checkpoint must be given: a checkpoint file or the directory"),
        ("predict checkpoint=x", "input must be given: Files, folders, patterns"),
    ],
)
def test_a_wrong_word_is_named(line: str, message: str) -> None:
    command, *words = line.split()
    assert message in str(wrong_argument(command, words))


@pytest.mark.parametrize(
    "line",
    [
        *CHOICES,
        "search optimizer.lr=1e-3 optimizer.nesterov=1 optimizer.timescale=null epochs=007",
        "search optimizer={lr:1} arch_optimizer.betas=0.5 epochs='5' optimizer.lr=${seed}",
        "predict checkpoint=x a.png",
        "device fit table=x",
        "compare yes=true",
        "judge yes=true",
        "search method=darts_v2 bilevel.hvp=exact limit.sizes.channels=3 log=plain",
        "search dataset=cifar10,digits --multirun hydra.run.dir=x +optimizer.lr=1 epochs",
        "search resume=x nosuch=1",
        "find . pretrained=auto space.widths=[3] epochs=3",
        "judge dataset.samples=8",
        "tune parameters.optimizer.lr={low:1} nosuch=1",
        "compare method=drnas search.epochs=3 settings.drnas.epochs=3",
        "report lr=0.1",
    ],
)
def test_other_arguments_are_left_to_the_composition(line: str) -> None:
    command, *words = line.split()
    assert wrong_argument(command, words) is None


def test_choices_are_names_or_unknown() -> None:
    """Names that only an import could tell are left out, like the formats of ``export``."""
    keys = {key: item for command in COMMANDS for key, item in all_keys(command).items()}
    assert not [key for key, item in keys.items() if "?" in item.choices]
    assert wrong_argument("find", ["export=onnx_int8"]) is None
