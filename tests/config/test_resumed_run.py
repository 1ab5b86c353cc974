"""Overrides, the word ``latest``, and the files that resumed runs read."""

from __future__ import annotations

import errno
import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import Mock

import pytest
import yaml
from omegaconf import OmegaConf

from darts.config import ConfigError, SearchConfig, compose, config_digest, launch, rebuild
from darts.config.many_runs import ProcessesConfig, SlurmConfig
from darts.config.overrides import hydra_overrides, is_plain_override, require_plain_overrides
from darts.config.python_call import overrides_of, run_directory
from darts.config.resumed_run import ResumedRun, as_yaml
from darts.recipes import search

pytestmark = pytest.mark.usefixtures("cwd")


def make_run(place: str, age: int, *files: str, command: str = "") -> str:
    folder = Path("runs") / place
    folder.mkdir(parents=True)
    record = {"command": command or place.split("/")[0]}
    (folder / "overrides.json").write_text(json.dumps(record))
    for name in ("config.yaml", *files):
        (folder / name).touch()
    os.utime(folder / "config.yaml", (10_000 - age, 10_000 - age))
    return str(folder)


def test_it_is_the_newest_run_that_the_key_can_use() -> None:
    make_run("search/a", 90, "genotype.json", "summary.json")
    make_run("search/digits-drnas/b", 50, "genotype.json", "summary.json")
    make_run("my_search", 30, command="search")  # killed
    (Path("runs/x/y/data")).mkdir(parents=True)
    make_run("find/d", 70, "genotype.json", "checkpoint.safetensors", "summary.json")
    make_run("retrain/e", 60, "checkpoint.safetensors", "summary.json")
    make_run("retrain/f", 10)
    make_run("compare/h", 5, "summary.json")  # which reports do not show
    # A training of a run.
    make_run("find/digits/g/runs/net", 1, "genotype.json", "checkpoint.safetensors")
    expected = {
        ("retrain", "genotype=latest"): "genotype='runs/search/digits-drnas/b'",
        ("evaluate", "checkpoint=latest"): "checkpoint='runs/retrain/e'",
        ("evaluate", "latest"): "checkpoint='runs/retrain/e'",
        ("export", "a.safetensors"): "checkpoint=a.safetensors",
        ("search", "resume=latest"): "resume='runs/my_search'",
        ("retrain", "resume=latest"): "resume='runs/retrain/f'",
        ("report", "latest"): "runs=['runs/retrain/f']",
        ("genotypes", "draw=latest"): "draw='runs/search/digits-drnas/b'",
        ("search", "name=latest"): "name=latest",
    }
    for (command, argument), override in expected.items():
        assert hydra_overrides(command, [argument]) == [override]


def test_a_find_can_be_the_latest_of_both_kinds() -> None:
    make_run("search/a", 90, "genotype.json")
    make_run("find/it's", 20, "genotype.json", "checkpoint.safetensors")
    assert hydra_overrides("retrain", ["genotype=latest"]) == [r"genotype='runs/find/it\'s'"]
    assert hydra_overrides("export", ["checkpoint=latest"]) == [r"checkpoint='runs/find/it\'s'"]
    assert hydra_overrides("report", ["latest"]) == [r"runs=['runs/find/it\'s']"]
    # Hydra's parser needs all overrides before the flag, or all after it.
    words = ["latest", "out=page.html", "--cfg", "job"]
    assert hydra_overrides("report", words) == [r"runs=['runs/find/it\'s']", *words[1:]]


@pytest.mark.parametrize(
    ("command", "argument", "message"),
    [
        ("retrain", "genotype=latest", "genotype=latest: there is no such run of darts search or"),
        ("tune", "resume=latest", "resume=latest: there is no such run of darts tune"),
        ("report", "latest", "runs=latest: there is no such run of darts search or darts find or"),
    ],
)
def test_without_such_a_run_one_line_says_so(command: str, argument: str, message: str) -> None:
    make_run("search/a", 1)
    Path("runs/search/a/config.yaml").unlink()
    with pytest.raises(ConfigError, match=message):
        hydra_overrides(command, [argument])


def test_values_are_those_that_the_configuration_gets() -> None:
    settings = {
        "epochs": 3,
        "dataset": "synthetic",
        "optimizer.lr": 1e-05,
        "dataset.verify": False,
        "resume": None,
        "name": "it's a ${name}, really=1",
        "arch_optimizer.betas": (0.5, 0.75),
        "dataset.root": Path("/a folder/with=signs"),
    }
    config = compose("search", overrides_of(settings, ["space.channels=5"]))
    assert (config.epochs, config.dataset.name, config.optimizer.lr) == (3, "synthetic", 1e-5)
    assert (config.dataset.verify, config.resume, config.space.channels) == (False, None, 5)
    assert config.name == settings["name"]
    assert config.arch_optimizer.betas == [0.5, 0.75]
    assert config.dataset.root == "/a folder/with=signs"


def test_directories_of_runs_do_not_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda form: "now")
    with run_directory("search", "here") as directory:
        assert directory == tmp_path / "here"
    for name in ("now", "now_2", "now_3"):
        with run_directory("search", None) as directory:
            assert directory == tmp_path / "runs/search" / name
            with run_directory("search", None) as other:  # of another process
                assert other != directory
            assert not other.exists()
            (directory / "config.yaml").touch()


def begin_run(directory: Path, overrides: list[str] | None = None, **values: object) -> Path:
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
    done = resume(begin_run(tmp_path, name=secret), "--cfg", "job")
    assert done.code == 0, done.err
    assert "swordfish" not in done.out
    assert OmegaConf.create(done.out)["name"] == secret
    values = yaml.safe_load(as_yaml(compose("search"))) | {"name": secret}
    assert rebuild(SearchConfig, values).name == secret


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
    directory = begin_run(tmp_path / "run", overrides)
    (directory / "hubconf.py").write_text(f"import pathlib; pathlib.Path({str(marker)!r}).touch()")
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
    run = ResumedRun.load("search", str(begin_run(tmp_path)))
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
    write_files(tmp_path, content, [])
    with pytest.raises(ConfigError) as caught:
        ResumedRun.load("search", str(tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert "config.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_that_was_changed_after_the_start_is_refused(tmp_path: Path) -> None:
    file = begin_run(tmp_path) / "config.yaml"
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
    file = begin_run(tmp_path) / "overrides.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ConfigError, match=r"overrides\.json is damaged") as caught:
        ResumedRun.load("search", str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_failure_of_the_machine_is_not_an_error_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(errno.EIO, os.strerror(errno.EIO), "config.yaml")
    begin_run(tmp_path)
    monkeypatch.setattr("darts.config.resumed_run.read_text", Mock(side_effect=error))
    with pytest.raises(OSError, match="Input/output error"):
        ResumedRun.load("search", str(tmp_path))


def test_resume_and_multirun_are_mutually_exclusive(tmp_path: Path) -> None:
    done = resume(begin_run(tmp_path), "--multirun")
    assert done.code == 2
    assert done.err == "darts search: resume= continues one run; leave out --multirun\n"


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
