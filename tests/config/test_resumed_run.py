"""A run directory is data: what a resumed run takes from its files, and what it refuses."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from omegaconf import OmegaConf

from darts.config import ConfigError, SearchConfig, compose, config_digest, launch, rebuild
from darts.config.executors import ProcessesConfig, SlurmConfig
from darts.config.overrides import is_plain_override, require_plain_overrides
from darts.config.resumed_run import ResumedRun, as_yaml
from darts.recipes import search

HUB = """
import pathlib
pathlib.Path({marker!r}).write_text("code ran")
"""


def make_run(directory: Path, overrides: list[str] | None = None, **values: object) -> Path:
    """Write the files with which a search begins, with changed values of its configuration."""
    directory.mkdir(exist_ok=True)
    config = yaml.safe_load(as_yaml(compose("search", ["space.channels=4"])))
    write_files(directory, yaml.safe_dump({**config, **values}), overrides or ["space.channels=4"])
    return directory


def write_files(
    directory: Path, config: str, overrides: list[str], command: str = "search"
) -> None:
    """Write ``config.yaml`` and ``overrides.json`` with a digest that fits."""
    (directory / "config.yaml").write_text(config)
    digest = config_digest(config)
    record = {"command": command, "overrides": overrides, "config_digest": digest}
    (directory / "overrides.json").write_text(json.dumps(record))


class Done(NamedTuple):
    code: int
    out: str
    err: str


def resume(directory: Path, *arguments: str) -> Done:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("DARTS_TEST_SECRET", "swordfish")
        try:
            launch("search", search.check, search.search, [f"resume={directory}", *arguments])
        except SystemExit as error:
            code = int(error.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def test_text_that_looks_like_an_interpolation_stays_text(tmp_path: Path) -> None:
    secret = "${oc.env:DARTS_TEST_SECRET}"
    done = resume(make_run(tmp_path, name=secret), "--cfg", "job")
    assert done.code == 0, done.err
    assert "swordfish" not in done.out
    assert OmegaConf.create(done.out)["name"] == secret
    assert (
        rebuild(SearchConfig, yaml.safe_load(as_yaml(compose("search"))) | {"name": secret}).name
        == secret
    )


@pytest.mark.parametrize(
    "overrides",
    [
        [
            "+hydra.callbacks.x._target_=torch.hub.load",
            "+hydra.callbacks.x.repo_or_dir=${hydra.run.dir}",
            "+hydra.callbacks.x.model=x",
            "+hydra.callbacks.x.source=local",
        ],
        ["--multirun", "seed=1,2"],
        ["hydra.run.dir=elsewhere"],
    ],
)
def test_saved_overrides_of_hydra_are_not_obeyed(tmp_path: Path, overrides: list[str]) -> None:
    marker = tmp_path / "marker"
    directory = make_run(tmp_path / "run", overrides)
    (directory / "hubconf.py").write_text(HUB.format(marker=str(marker)))
    done = resume(directory, "--cfg", "all")
    assert done.code == 0, done.err
    shown = yaml.safe_load(done.out)
    assert shown["seed"] == 0
    assert shown["hydra"]["run"]["dir"] == str(directory)
    assert not shown["hydra"]["callbacks"]
    assert shown["hydra"]["searchpath"] == []
    assert not marker.exists()
    assert not (Path.cwd() / "elsewhere").exists()


def test_the_same_command_line_can_be_repeated_with_resume(tmp_path: Path) -> None:
    run = ResumedRun.load("search", str(make_run(tmp_path)))
    same = ["dataset=digits", "method=darts_v1", "space=cnn", "epochs=15"]
    own = f"hydra.run.dir='{tmp_path}'"
    assert run.hydra_arguments([*same, own]) == [own, "epochs=15"]
    with pytest.raises(ConfigError, match="dataset is 'digits' in the run and 'cifar10' here"):
        run.hydra_arguments(["dataset=cifar10"])
    with pytest.raises(ConfigError, match="experiment is None in the run and 'x' here"):
        run.hydra_arguments(["experiment/search=x"])
    with pytest.raises(ConfigError, match=r"leave hydra\.run\.dir out"):
        run.hydra_arguments(["hydra.run.dir=elsewhere"])


@pytest.mark.parametrize("is_old", [False, True])
def test_a_study_continues_with_another_executor(tmp_path: Path, is_old: bool) -> None:
    """Runs that began before there was a choice have no executor: they used processes."""
    values = yaml.safe_load(as_yaml(compose("tune", ["executor=processes"])))
    if is_old:
        del values["executor"]
    write_files(tmp_path, yaml.safe_dump(values), [], command="tune")
    run = ResumedRun.load("tune", str(tmp_path))
    assert compose("tune", [], run).executor == ProcessesConfig("processes")
    other = run.with_executor("slurm")
    own = f"hydra.run.dir='{tmp_path}'"
    arguments = other.hydra_arguments(["executor=slurm", "executor.cores=2"])
    assert arguments == [own, "executor.cores=2"]
    assert compose("tune", arguments[1:], other).executor == SlurmConfig("slurm", cores=2)
    assert run.with_executor("processes") is run
    with pytest.raises(ConfigError, match="executor='cloud' is unknown; choose from inline, proc"):
        run.with_executor("cloud")


def test_an_old_run_without_worker_processes_continues(tmp_path: Path) -> None:
    values = yaml.safe_load(as_yaml(compose("tune"))) | {"workers": 0}
    write_files(tmp_path, yaml.safe_dump(values), [], command="tune")
    assert compose("tune", [], ResumedRun.load("tune", str(tmp_path))).workers == 1


@pytest.mark.parametrize("content", ["[]", "a: &x [1]\nb: *x", "seed: [1]", "name: ???"])
def test_a_damaged_configuration_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    directory = tmp_path
    write_files(directory, content, [])
    with pytest.raises(ConfigError) as caught:
        ResumedRun.load("search", str(directory))
    assert str(directory) in str(caught.value)
    assert "config.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_that_was_changed_after_the_start_is_refused(tmp_path: Path) -> None:
    file = make_run(tmp_path) / "config.yaml"
    text = file.read_text()
    assert "epochs: 15" in text
    file.write_text(text.replace("epochs: 15", "epochs: 16"))
    with pytest.raises(ConfigError, match=r"config\.yaml was changed after the run began"):
        ResumedRun.load("search", str(tmp_path))


@pytest.mark.parametrize(
    "change",
    [{"command": ["search"]}, {"command": "holiday"}, {"overrides": [1]}, {"config_digest": None}],
)
def test_a_damaged_command_line_is_refused_in_one_line(
    tmp_path: Path, change: dict[str, object]
) -> None:
    file = make_run(tmp_path) / "overrides.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ConfigError, match=r"overrides\.json is damaged") as caught:
        ResumedRun.load("search", str(tmp_path))
    assert "\n" not in str(caught.value)


def test_resume_and_multirun_are_mutually_exclusive(tmp_path: Path) -> None:
    done = resume(make_run(tmp_path), "--multirun")
    assert done.code == 2
    assert done.err == "darts.search: resume= continues one run; leave out --multirun\n"


@pytest.mark.parametrize(
    "override",
    [
        "hydra.run.dir=x",
        "+hydra.callbacks.x._target_=torch.hub.load",
        "++seed=1",
        "++limit.macs=1",
        "++limit.sizes.channels=${oc.env:HOME}",
        "~seed",
        "--help",
        "-m",
        "hydra/launcher=basic",
        "dataset@hydra=digits",
        "name=${oc.env:HOME}",
        "seed",
    ],
)
def test_overrides_that_do_more_than_set_a_value_are_refused(override: str) -> None:
    assert not is_plain_override(override)
    with pytest.raises(ConfigError, match="accepts only key=value"):
        require_plain_overrides("search", ["seed=1", override])
