"""Commands on two ranks, most of them started by torchrun, compared with one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import command_calls as commands
import pytest
import torch
from waiting import wait_for

from darts.reading import read_json
from darts.recipes import search
from darts.tracking import read_metrics
from darts.training.checkpoint import load_checkpoint

NO_TENSORBOARD = "tracking.tensorboard=false"
# The batch size is odd, so that the ranks have different shares.
DATA = ("dataset=synthetic", "dataset.samples=48", "loader.batch_size=9", "seed=7", "device=cpu")
RUNS = {
    "search": (
        *(*DATA, NO_TENSORBOARD, "epochs=3", "space.channels=1", "space.cells=1"),
        *("collapse.every=2", "collapse.ratio=0.75", "tracking.figures=false"),
    ),
    "retrain": (
        *(*DATA, NO_TENSORBOARD, "epochs=2", "genotype=DARTS_V2", "space.channels=4"),
        *("space.cells=2", "drop_path=0.5", "average_power=2"),
    ),
}


@contextmanager
def torchrun(command: str, *arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a command, or a script, on two ranks; kill its processes at the end."""
    target = [command] if command.endswith(".py") else ["-m", f"darts.{command}"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    # Python does not find the package in another working directory.
    checkout = str(Path(search.__file__).parents[2])
    path = os.pathsep.join([checkout, os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, *launcher, *target, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()  # torchrun ends its workers, which have their own sessions
            try:
                process.communicate(timeout=45)
            except subprocess.TimeoutExpired:
                workers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
                running = workers.read_text().split() if workers.exists() else []
                process.kill()
                for worker in running:
                    os.kill(int(worker), signal.SIGKILL)


def run_on_two_ranks(command: str, *arguments: str, cwd: Path, code: int = 0) -> tuple[str, str]:
    """Run a command on two ranks; return its standard output and standard error.

    These tiny runs may be worthless, which rank 0 reports by an exit code that torchrun changes.
    """
    with torchrun(command, *arguments, cwd=cwd) as process:
        out, err = process.communicate(timeout=120)
        assert process.returncode == code or err.count("the result is worthless") == 1, err
    return out, err


def assert_equal_runs(actual: Path, expected: Path, keys: tuple[str, ...]) -> None:
    """Check that two runs, with entries of their checkpoints, differ by rounding and costs only."""
    left, right = (load_checkpoint(d / "checkpoint.safetensors") for d in (actual, expected))
    assert left.keys() == right.keys()
    for key in keys:
        assert_close(left[key], right[key], key)
    costs = dict.fromkeys(("seconds", "joules", "gco2e", "collapse_seconds"))
    rows = [read_metrics(directory / "metrics.jsonl") for directory in (actual, expected)]
    for a, b in zip(*rows, strict=True):
        assert_close(a | costs, b | costs, f"row of epoch {a['epoch']}")
    genotypes = [(directory / "genotype.json").read_text() for directory in (actual, expected)]
    assert genotypes[0] == genotypes[1]
    assert {file.name for file in actual.iterdir()} == {file.name for file in expected.iterdir()}


def assert_close(a: Any, b: Any, where: str) -> None:
    """Check that nested structures are equal up to rounding errors."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_close(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_close(x, y, f"{where}.{i}")
    elif isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4, msg=where)
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5), where
    else:
        assert a == b, where


@pytest.mark.slow
def test_a_retraining_on_two_ranks_equals_one_process(tmp_path: Path) -> None:
    folder, alone = tmp_path / "work", tmp_path / "alone"
    folder.mkdir()
    commands.call("retrain", [*RUNS["retrain"], f"hydra.run.dir={alone}"])
    out, err = run_on_two_ranks("retrain", *RUNS["retrain"], cwd=folder)
    (run,) = folder.glob("runs/retrain/*/*")
    assert_equal_runs(run, alone, ("net", "optimizer", "averaging", "random"))
    assert out.count("test_accuracy") == out.count("darts evaluate") == 1
    assert out.count(" epoch 2/2 ") == 1
    assert err.count("darts retrain:") == err.count("the result is worthless")
    actual, expected = (read_json(directory / "summary.json") for directory in (run, alone))
    assert (actual["ranks"], expected["ranks"]) == (2, 1)
    costs = ("seconds", "joules", "gco2e", "peak_memory_mb")
    for name, value in expected.items():
        if isinstance(value, float) and name not in costs:
            assert actual[name] == pytest.approx(value, rel=1e-3), name
    assert actual["joules_source"] == expected["joules_source"]
    # One process can evaluate a checkpoint of two ranks.
    done = commands.call(
        "evaluate", [f"checkpoint={run}", "device=cpu", f"hydra.run.dir={tmp_path / 'evaluated'}"]
    )
    assert done.result["test_loss"] == pytest.approx(actual["test_loss"], rel=1e-5)


@pytest.mark.slow
def test_a_diverging_run_restarts_on_all_ranks(tmp_path: Path) -> None:
    run = tmp_path / "run"
    rate = ("optimizer.lr=10", "optimizer.clip=0", "space.normalization=none")
    more = ("epochs=2", "space=mlp", *rate, NO_TENSORBOARD, f"hydra.run.dir={run}")
    out, _ = run_on_two_ranks("search", *DATA, *more, cwd=tmp_path)
    summary = read_json(run / "summary.json")
    count = summary["restarts"]
    assert (summary["ranks"], count > 0) == (2, True)
    assert out.count(f"(restart {count} of 3)") == 1
    assert [row["epoch"] for row in read_metrics(run / "metrics.jsonl")] == [1, 2]


@pytest.mark.slow
def test_a_search_interrupted_on_two_ranks_is_resumed_in_one_process(tmp_path: Path) -> None:
    run, alone = tmp_path / "run", tmp_path / "alone"
    commands.call("search", [*RUNS["search"], f"hydra.run.dir={alone}"])
    overrides = [*RUNS["search"], f"hydra.run.dir={run}", "save_minutes=0"]
    with torchrun("search", *overrides, cwd=tmp_path) as process:
        wait_for(run / "checkpoint.safetensors", process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=90)
    assert process.returncode != 0
    assert out.count("interrupted; checkpoint saved. Continue with") == 1, (out, err)
    assert commands.printed_arguments(out, "search") == [f"resume={run}"]
    assert not (run / "summary.json").exists()
    saved = load_checkpoint(run / "checkpoint.safetensors")
    assert (saved["epoch"], saved["step"]) < (3, 0)
    commands.call("search", [f"resume={run}"])
    assert_equal_runs(run, alone, ("searcher", "history", "random"))


@pytest.mark.parametrize("rank", [0, 1])
def test_all_ranks_but_the_first_wait_before_they_print_an_error(
    monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    """Meanwhile, torchrun ends them, because the first rank has exited. No rank sweeps."""
    for name, value in (("MASTER_ADDR", "localhost"), ("WORLD_SIZE", "2"), ("RANK", str(rank))):
        monkeypatch.setenv(name, value)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    assert "did you mean 'epochs'" in commands.error_of("search", "epochz=1")
    assert waits == [10.0] * rank
    assert "--multirun" in commands.error_of("search", "--multirun", "seed=0,1")


@pytest.mark.slow
def test_an_error_of_one_rank_ends_all_ranks(tmp_path: Path) -> None:
    """The other rank waits for it and prints nothing."""
    script = tmp_path / "failing.py"
    script.write_text(
        "import os, sys\n"
        "from darts.search import main\n"
        "from darts.training import loop\n"
        "launch_module = sys.modules['darts.config.launch']\n"
        # Rank 0 waits until torchrun ends it, which can take long on a busy machine.
        "launch_module._ERROR_DELAY = 2.0 if os.environ['RANK'] == '1' else 60.0\n"
        "original = loop.require_finite\n"
        "def fail_on_rank_1(*arguments):\n"
        "    if os.environ['RANK'] == '1':\n"
        "        open('missing')\n"
        "    return original(*arguments)\n"
        "loop.require_finite = fail_on_rank_1\n"
        "main()\n"
    )
    overrides = (*RUNS["search"], f"hydra.run.dir={tmp_path / 'run'}")
    _, err = run_on_two_ranks(str(script), *overrides, cwd=tmp_path, code=1)
    assert err.count("darts search: ") == 1, err
    assert "darts search: missing: No such file or directory" in err
    assert "[rank" not in err  # no traceback


@pytest.mark.slow
def test_a_dry_run_on_two_ranks_leaves_no_thread_behind(tmp_path: Path) -> None:
    """A gloo thread that outlives the interpreter can abort the process."""
    script = tmp_path / "threads.py"
    script.write_text(
        "from pathlib import Path\n"
        "from darts.search import main\n"
        "main()\n"
        "threads = [file.read_text() for file in Path('/proc/self/task').glob('*/comm')]\n"
        "assert not any('gloo' in name for name in threads), threads\n"
    )
    folder = tmp_path / "empty"
    folder.mkdir()
    out, _ = run_on_two_ranks(str(script), *RUNS["search"], "dry_run=true", cwd=folder)
    assert out.count("estimated_time") == 1
    assert list(folder.iterdir()) == []
