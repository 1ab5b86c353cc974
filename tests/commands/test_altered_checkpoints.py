"""A checkpoint that does not fit its run is refused in one line, before any file changes."""

from __future__ import annotations

import copy
import random
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from altered_checkpoints import alter

DATA = ("dataset=synthetic", "dataset.samples=32", "loader.batch_size=8", "epochs=2")
PLAIN = ("tracking.figures=false", "tracking.tensorboard=false", "save_minutes=0")
SIZE = ("space.channels=1", "space.cells=1")
RUNS = {
    "search": (*DATA, *PLAIN, *SIZE, "collapse.every=1"),
    "retrain": (*DATA, *PLAIN, *SIZE, "genotype=DARTS_V2", "validation=0.4", "cutout=0"),
}


@pytest.fixture(scope="module")
def crashed(commands: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of runs that crashed in their second epoch."""
    folders = {name: tmp_path_factory.mktemp(name) / "run" for name in RUNS}
    for name, overrides in RUNS.items():
        arguments = [*overrides, f"hydra.run.dir={folders[name]}"]
        commands.crash(3, lambda name=name, given=arguments: commands.call(name, given))
    return folders


@pytest.fixture
def altered(crashed: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Copies a crashed run and sets an entry of its checkpoint, given as a path of keys."""

    def make(command: str, keys: tuple[Any, ...], change: Callable[[Any], Any]) -> Path:
        folder = Path(shutil.copytree(crashed[command], tmp_path / "run"))
        content = torch.load(folder / "checkpoint.pt", weights_only=True)
        parent = content
        for key in keys[:-1]:
            parent = parent[key]
        parent[keys[-1]] = change(copy.deepcopy(parent[keys[-1]]))
        torch.save(content, folder / "checkpoint.pt")
        return folder

    return make


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def first_key(values: dict[Any, Any]) -> Any:
    return next(iter(values))


def with_first(change: Callable[[Any], Any]) -> Callable[[dict[Any, Any]], dict[Any, Any]]:
    """Return a function that changes the first value of a dictionary."""
    return lambda values: {**values, first_key(values): change(values[first_key(values)])}


def nan(tensor: torch.Tensor) -> torch.Tensor:
    return torch.full_like(tensor, torch.nan)


CHANGES: list[tuple[str, tuple[Any, ...], Callable[[Any], Any], str]] = [
    ("search", ("epoch",), lambda _: -1, "epoch is -1"),
    ("search", ("epoch",), lambda _: 10**9, "epoch"),
    ("search", ("step",), lambda _: 10**9, "step is 1000000000; an epoch has 2 steps"),
    ("search", ("global_step",), lambda _: 1, "global_step is 1, not "),
    ("search", ("config",), lambda _: None, "config is None"),
    ("search", ("searcher", "stage"), lambda _: -1, "searcher.stage is -1"),
    ("search", ("searcher", "stage"), lambda _: 5, "stage is 5; the search has 1 stages"),
    ("search", ("searcher", "net"), with_first(nan), "the weights are not finite"),
    ("search", ("searcher", "net"), with_first(lambda t: t[None]), "has shape"),
    ("search", ("searcher", "optimizer", "state"), with_first(lambda _: {}), "is missing"),
    ("search", ("searcher", "arch_optimizer", "state"), lambda s: {99: s[0]}, "no parameter"),
    ("search", ("searcher", "optimizer", "param_groups"), lambda _: [], "has 0 parameter groups"),
    ("search", ("searcher", "masks"), lambda _: {"normal": torch.zeros(2)}, "masks.normal"),
    ("search", ("searcher", "freezing"), lambda _: {"frozen": ["x"]}, "unknown operation 'x'"),
    ("search", ("history",), lambda _: [], "history has 0 entries for 1 epochs"),
    ("search", ("history", 0), with_first(lambda t: t[:1]), "has shape"),
    ("search", ("genotypes",), lambda _: ["{"], "does not fit its run"),
    ("search", ("stopped_epoch",), lambda _: 7, "stopped_epoch is 7"),
    ("search", ("raises",), lambda _: 11, "raises is 11"),
    ("search", ("diagnosis", 0, "edges"), lambda _: 3, "must be a dictionary"),
    ("search", ("train_loader",), lambda _: "text", "the state of a loader"),
    ("search", ("random", "numpy", "pos"), lambda _: 10**6, "random.numpy.pos is 1000000"),
    ("search", ("energy", "entries", 0, "phase"), lambda _: "lunch", "phase 'lunch'"),
    ("search", ("energy", "entries", 0, "joules"), lambda _: torch.nan, "are not valid costs"),
    ("retrain", ("best", "epoch"), lambda _: 9, "best.epoch is 9"),
    ("retrain", ("best", "net"), with_first(nan), "the weights are not finite"),
    ("retrain", ("net",), with_first(nan), "the weights are not finite"),
    ("retrain", ("network_sizes", "classes"), lambda _: 10**9, "network_sizes differs"),
    ("retrain", ("averaging",), lambda _: {"average": {}, "active": True, "scores": []}, "another"),
    ("retrain", ("input_specs", 0, "shape"), lambda _: None, "must be a tuple"),
    ("retrain", ("means", "samples"), lambda _: 0, "sums of 0 samples"),
]


def mostly_slow(cases: list[tuple[Any, ...]]) -> list[Any]:
    """Return parameters of which one in five belongs to the everyday tests."""
    return [
        case if number % 5 == 0 else pytest.param(*case, marks=pytest.mark.slow)
        for number, case in enumerate(cases)
    ]


@pytest.mark.parametrize(("command", "keys", "change", "message"), mostly_slow(CHANGES))
def test_a_resumed_run_names_the_entry_that_does_not_fit(
    commands: Any, altered: Any, command: str, keys: Any, change: Any, message: str
) -> None:
    folder = altered(command, keys, change)
    before = files_of(folder)
    line = commands.error_of(command, f"resume={folder}")
    assert message in line
    assert str(folder / "checkpoint.pt") in line
    assert files_of(folder) == before


NETWORKS: list[tuple[tuple[Any, ...], Callable[[Any], Any], str]] = [
    (("best", "net"), with_first(nan), "the weights are not finite"),
    (("best", "net"), with_first(lambda t: t[None]), "has shape"),
    (("best", "net"), lambda _: {}, "is missing"),
    (("best",), lambda _: {"epoch": 1}, "best.scores is missing"),
    (("best", "epoch"), lambda _: 10**9, "best.epoch is 1000000000"),
    (("network_sizes", "classes"), lambda _: 10**9, "has shape"),
    (("network_sizes", "classes"), lambda _: -1, "classes"),
    (("network_sizes",), lambda _: {"words": 3}, "does not fit its run"),
    (("config", "space", "channels"), lambda _: 10**5, "has shape"),
    (("config", "space", "cells"), lambda _: 10**9, "cells"),
    (("config", "dataset", "samples"), lambda _: 10**9, "more than 67,108,864 numbers"),
    (("config", "metric"), lambda _: "bleu", "metric='bleu'"),
    (("config", "genotype"), lambda _: "DARTS_V2", "genotype"),
    (("config", "genotype"), lambda _: "[" * 10**6, "has length 1,000,000; it must have"),
    (("config", "genotype"), lambda _: '{"space": "mlp", "layers": ["relu_16"]}', "space=mlp"),
    (("target_names",), lambda _: ["a"], "target_names has 1 names"),
    (("input_specs", 0, "shape"), lambda _: (2, 3, 10**6, 10**6), "input_specs[0].shape"),
    (("input_specs", 0, "name"), lambda _: "a b", "is not an identifier"),
    (("input_specs", 0, "dynamic_axes"), lambda _: {7: "batch"}, "names an axis"),
    (("input_specs", 0, "std"), lambda _: (1.0,), "one number per channel"),
]


@pytest.mark.parametrize(("keys", "change", "message"), mostly_slow(NETWORKS))
def test_an_evaluation_names_the_entry_that_does_not_fit(
    commands: Any, altered: Any, tmp_path: Path, keys: Any, change: Any, message: str
) -> None:
    folder = altered("retrain", keys, change)
    output = tmp_path / "evaluation"
    line = commands.error_of("evaluate", f"checkpoint={folder}", f"hydra.run.dir={output}")
    assert message in line
    assert not output.exists()


def test_an_export_refuses_inputs_that_the_network_cannot_take(
    commands: Any, altered: Any, tmp_path: Path
) -> None:
    change: Any = lambda spec: {**spec, "shape": (2, 5, 8, 8), "mean": None, "std": None}  # noqa: E731
    folder = altered("retrain", ("input_specs", 0), change)
    output = tmp_path / "export"
    line = commands.error_of("export", f"checkpoint={folder}", f"hydra.run.dir={output}")
    assert str(folder / "checkpoint.pt") in line
    assert not output.exists()


@pytest.mark.slow
def test_absurd_sizes_do_not_allocate_memory(commands: Any, altered: Any, tmp_path: Path) -> None:
    """An evaluation in a process of its own stays far below the size that the file names."""
    folder = altered("retrain", ("config", "space", "channels"), lambda _: 10**6)
    script = """
        import resource, sys
        from darts.evaluate import main
        try:
            main()
        except SystemExit as error:
            assert error.code == 2
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """
    arguments = [f"checkpoint={folder}", f"hydra.run.dir={tmp_path / 'evaluation'}"]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "has shape" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert int(done.stdout) < 2000  # MiB


def outcome(commands: Any, command: str, arguments: list[str]) -> str:
    """Return "complete" for a run that ends, or else its only line on standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            commands.call(command, arguments)
        except SystemExit as error:
            code = error.code
        else:
            return "complete"
    assert code in (2, 3)
    return "refused"


def assert_refused_or_complete(commands: Any, crashed: Any, folder: Path, seed: int) -> str:
    """Alter a checkpoint in a random way and use it; return what happened."""
    draw = random.Random(seed)
    command = draw.choice(["search", "retrain"])
    shutil.copytree(crashed[command], folder)
    description = alter(folder / "checkpoint.pt", draw)
    try:
        if command == "retrain":
            target = f"hydra.run.dir={folder / 'evaluation'}"
            outcome(commands, "evaluate", [f"checkpoint={folder}", target])
        before = files_of(folder)
        result = outcome(commands, command, [f"resume={folder}"])
        if result == "refused":
            assert files_of(folder) == before
    except BaseException as error:
        error.add_note(f"seed {seed}, {command}: {description}")
        raise
    return result


@pytest.mark.slow
def test_random_alterations_are_refused_or_harmless(
    commands: Any, crashed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = []
    for seed in range(8):
        results.append(assert_refused_or_complete(commands, crashed, tmp_path / str(seed), seed))
        assert len(capsys.readouterr().err.splitlines()) <= 2, seed  # one line per command
    assert results.count("refused") >= 2


@pytest.mark.slow
def test_500_random_alterations_are_refused_or_harmless(
    commands: Any, crashed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(1000, 1500):
        folder = tmp_path / "run"
        assert_refused_or_complete(commands, crashed, folder, seed)
        assert len(capsys.readouterr().err.splitlines()) <= 2, seed
        shutil.rmtree(folder)
