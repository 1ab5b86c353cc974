"""From the command line to a dataclass and back; errors of the user and bugs of the program."""

from __future__ import annotations

import dataclasses
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from slow_cases import slow_except
from warm_python import WarmPython

from darts.config import (
    ConfigError,
    EvaluateConfig,
    GenotypesConfig,
    Invocation,
    RetrainConfig,
    SearchConfig,
    as_yaml,
    compose,
    launch,
    rebuild,
)
from darts.config.groups import COMMANDS, TYPES
from darts.spaces.cnn import PUBLISHED
from darts.spaces.lookup import find_genotype

GENOTYPE = PUBLISHED["SGAS"].genotype
CHAIN = "|none~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"

pytestmark = pytest.mark.usefixtures("cwd")


def accept(config: Any) -> None:
    """Accept every configuration."""


def call(command: str, task: Any, *arguments: str, check: Any = accept) -> Any:
    return launch(command, check, task, arguments)


def test_returns_the_result_of_the_task(tmp_path: Path) -> None:
    def task(config: SearchConfig, call: Invocation) -> tuple[int, Invocation]:
        return config.epochs, call

    epochs, invocation = call("search", task, "epochs=7", f"hydra.run.dir={tmp_path / 'x'}")
    assert epochs == 7
    assert invocation.directory == tmp_path / "x"
    assert invocation.overrides == ("epochs=7",)


def test_a_search_imports_only_what_it_uses(warm_python: WarmPython) -> None:
    program = (
        "import sys, darts.search\n"
        "from darts.config import compose\n"
        "darts.search.check(compose('search', ['dataset=synthetic']))\n"
        "unused = ('judging.limits', 'reporting', 'spaces.macro', 'strategies.evolution')\n"
        "assert 'darts.spaces.cnn' in sys.modules\n"
        "assert not {f'darts.{name}' for name in unused} & set(sys.modules)\n"
    )
    done = warm_python.run("-c", program)
    assert done.returncode == 0, done.stderr


def test_default_run_directory_names_command_and_run(tmp_path: Path) -> None:
    folder = call("search", lambda _, call: call.directory, "name=mine")
    assert folder.parent == tmp_path / "runs" / "search" / "mine"
    folder = call("find", lambda _, call: call.directory, "dataset=digits")
    assert folder.parent == tmp_path / "runs" / "find"
    assert not (tmp_path / "runs").exists(), "a run without files leaves no folder"


@pytest.mark.parametrize("key", ["genotype", "draw", "validate"])
# The last text is quoted for Hydra all the same.
@pytest.mark.parametrize(
    "text", [str(GENOTYPE), GENOTYPE.to_json(), f"SGAS = {GENOTYPE}", f'"{GENOTYPE}"']
)
def test_genotype_text_needs_no_quoting_for_hydra(key: str, text: str) -> None:
    command = "retrain" if key == "genotype" else "genotypes"
    config = compose(command, [f"{key}={text}"])
    assert find_genotype(getattr(config, key))[1] == GENOTYPE


@pytest.mark.parametrize("name", ["a=b", "große Läufe", "with space", "(1) [2] {3}", "it's"])
def test_paths_need_no_quoting_for_hydra(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    assert compose("evaluate", [f"checkpoint={path}"]).checkpoint == str(path)
    assert compose("search", [f"dataset.root={path}"]).dataset.root == str(path)
    assert call("search", lambda _, call: call.directory, f"hydra.run.dir={path}") == path


def test_quoted_and_interpolated_paths_keep_their_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/somewhere")
    assert compose("evaluate", ["checkpoint='a b'"]).checkpoint == "a b"
    assert compose("evaluate", ["checkpoint=${oc.env:PLACE}/x"]).checkpoint == "/somewhere/x"
    assert compose("search", ["resume=null"]).resume is None


CONFIGURATIONS = [
    ("search", SearchConfig, []),
    ("search", SearchConfig, ["dataset=synthetic", "dataset.samples=64"]),
    ("search", SearchConfig, ["method=darts_v2", "bilevel.hvp=exact"]),
    ("search", SearchConfig, ["space=nas201", "method=p_darts", "regularizer=zero_one"]),
    ("search", SearchConfig, ["space.candidates=s3", "relaxation=gumbel", "stopping=curvature"]),
    ("search", SearchConfig, ["perturbation=adversarial", "freezing=gradient_matching"]),
    ("retrain", RetrainConfig, ["space=nas201", f"genotype={CHAIN}", "space.channels=3"]),
    ("evaluate", EvaluateConfig, ["checkpoint=größer", "root=null"]),
    ("genotypes", GenotypesConfig, ["compare=[SGAS,DARTS_V2]"]),
]


@pytest.mark.parametrize(("command", "kind", "given"), CONFIGURATIONS)
def test_configuration_survives_serialization(command: str, kind: type, given: list[str]) -> None:
    config = compose(command, given)
    assert isinstance(config, kind)
    for values in (dataclasses.asdict(config), yaml.safe_load(as_yaml(config))):
        again = rebuild(kind, values)
        assert again == config
        for name in TYPES:
            assert type(getattr(again, name, None)) is type(getattr(config, name, None))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"epochz": 3}, "epochz"),
        ({"epochs": "many"}, "epochs"),
        ({"dataset": {"name": "x", "color": 1}}, "color"),
        ({"space": {"name": "grid"}}, "space.name='grid' is unknown; choose from cnn"),
        ({"space": {"channels": 3}}, "space.name=None"),
        ({"relaxation": {"name": ["softmax"]}}, "relaxation.name=['softmax']"),
        ({"bilevel": {"name": "first_order", "hvp": "exact"}}, "hvp"),
        ({"stages": [{"share": 0}]}, "stages[0].share=0"),
        ({"optimizer": None}, "optimizer"),
        ({3: 4}, "3"),
    ],
)
def test_rebuild_reports_errors_in_one_line(change: dict[Any, Any], named: str) -> None:
    values = dataclasses.asdict(compose("search")) | change
    with pytest.raises(ConfigError) as error:
        rebuild(SearchConfig, values)
    assert named in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("data", "newer"),
    [
        *(("multi30k", {"joint", "lowercase"}), ("documents", {"lowercase"})),
        *(("fsdd", {"shift"}), ("csv", set())),
    ],
)
def test_rebuild_sets_keys_that_an_older_file_lacks(data: str, newer: set[str]) -> None:
    config = compose("search", [f"dataset={data}"])
    values = dataclasses.asdict(config)
    values["dataset"] = {k: v for k, v in values["dataset"].items() if k not in newer}
    assert rebuild(SearchConfig, values) == config


# The first is a ValueError raised outside of the package.
@pytest.mark.parametrize("bug", [lambda: json.loads("{"), lambda: {}["key"]])
@pytest.mark.parametrize("where", ["check", "task"])
def test_bugs_are_not_swallowed(
    bug: Any, where: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: Any) -> None:
        bug()

    functions = {"check": accept, "task": lambda *_: None, where: fail}
    with pytest.raises((ValueError, KeyError)) as raised:
        call("search", functions["task"], check=functions["check"])
    assert "fail" in {entry.name for entry in raised.traceback}
    assert capsys.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []


def test_messages_of_several_lines_are_joined(capsys: pytest.CaptureFixture[str]) -> None:
    check = Mock(side_effect=ConfigError("one\ntwo\r\nthree\u2028four"))
    with pytest.raises(SystemExit):
        call("search", lambda *_: None, check=check)
    assert capsys.readouterr().err == "darts search: one two three four\n"


@pytest.mark.parametrize(
    ("flags", "reasons", "message"),
    [
        ([], ["no use"], "the result is worthless: no use"),
        (["-m", "seed=1,2,3"], [None, "no use", "bad"], "2 of 3 results are worthless, the first"),
    ],
)
def test_worthless_results_end_in_one_line_after_all_runs(
    capsys: pytest.CaptureFixture[str], flags: list[str], reasons: list[str | None], message: str
) -> None:
    left = iter(reasons)
    with pytest.raises(SystemExit, match=r"^3$"):
        launch("search", accept, lambda *_: next(left), flags, worthless=lambda result: result)
    assert list(left) == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"darts search: {message}")
    assert launch("search", accept, lambda *_: "fine", [], worthless=lambda _: None) == "fine"


def test_missing_files_are_user_errors(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def task(*_: Any) -> None:
        (tmp_path / "gone").read_text()

    with pytest.raises(SystemExit, match=r"^2$"):
        call("search", task)
    assert str(tmp_path / "gone") in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", slow_except([name for name in COMMANDS if name != "tune"], ("search", "report"))
)
@pytest.mark.parametrize("flags", [["--help"], ["--cfg", "job"]])
def test_flags_print_without_running(
    command: str, flags: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    task = Mock(side_effect=AssertionError("the command ran"))
    leaves = pytest.raises(SystemExit, match=r"^0$") if flags == ["--help"] else nullcontext()
    with leaves:
        call(command, task, *flags)
    printed = capsys.readouterr()
    assert printed.err == ""
    assert {"search": "epochs", "retrain": "cutout"}.get(command, "") in printed.out
    assert (f"darts {command}: " in printed.out) == (flags == ["--help"])
    assert list(tmp_path.iterdir()) == []


def test_sweep_runs_every_job(tmp_path: Path) -> None:
    runs = []
    call("search", lambda config, own: runs.append((config.seed, own.directory)), "-m", "seed=3,4")
    assert [seed for seed, _ in runs] == [3, 4]
    assert len({directory for _, directory in runs}) == 2


def test_threads_can_compose_at_the_same_time() -> None:
    """``darts.compare`` composes the configurations of its runs in threads."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            configs = list(pool.map(lambda n: compose("search", [f"epochs={n}"]), range(1, 25)))
    finally:
        sys.setswitchinterval(before)
    assert [config.epochs for config in configs] == list(range(1, 25))
