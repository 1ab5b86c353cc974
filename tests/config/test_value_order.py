"""A value comes from the last of command, task, data set, method, experiment and command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from darts.config import ConfigError, compose
from darts.config.fields import flatten
from darts.config.groups import defaults_nodes
from darts.plugins import conf_folder


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


def test_defaults_of_an_unknown_space_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "defaults").mkdir()
    (tmp_path / "defaults" / "digits.yaml").write_text("search: {spaces: {cmm: {epochs: 3}}}")
    monkeypatch.setattr("darts.config.groups.conf_folders", lambda: [tmp_path])
    with pytest.raises(
        ConfigError, match=r"defaults/digits\.yaml: search\.spaces='cmm' is unknown"
    ):
        list(defaults_nodes())


def test_yaml_in_the_documentation_is_what_the_files_hold() -> None:
    page = conf_folder().parent / "docs" / "configuration.md"
    if not page.is_file():
        pytest.skip("needs the checkout")
    blocks = page.read_text(encoding="utf-8").split("```yaml\n# conf/")[1:]
    assert len(blocks) == 2
    for block in blocks:
        file, _, text = block.partition("```")[0].partition("\n")
        actual = dict(flatten(yaml.safe_load((conf_folder() / file).read_text("utf-8"))))
        for key, value in flatten(yaml.safe_load(text)):
            assert actual[key] == value, file
