"""Commands started by torchrun on two ranks of this machine, against one process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import darts.recipes.search as search_recipe
from darts import search
from darts.tracking import read_metrics
from darts.training import loop

QUIET = "tracking.tensorboard=false"
# An odd batch, so that the ranks have different shares.
DATA = ("dataset=synthetic", "dataset.samples=48", "loader.batch_size=9", "seed=7", "device=cpu")
RUNS = {
    "search": (*DATA, "epochs=3", "space.channels=1", "space.cells=1", "collapse.every=2"),
    "retrain": (
        *(*DATA, "epochs=2", "genotype=DARTS_V2", "space.channels=4", "space.cells=2"),
        *("drop_path=0.5", "ema_decay=0.9"),
    ),
}

pytestmark = pytest.mark.usefixtures("no_pictures")


@contextmanager
def torchrun(command: str, *given: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A command, or a script, on two ranks; whatever is left of it at the end is killed."""
    target = [command] if command.endswith(".py") else ["-m", f"darts.{command}"]
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    # The folder is not the checkout's, from which Python would find the package.
    here = str(Path(search.__file__).parents[1])
    path = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, *words, *target, *given],
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
            process.terminate()  # torchrun ends its workers, which have sessions of their own
            try:
                process.communicate(timeout=45)
            except subprocess.TimeoutExpired:
                workers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
                left = workers.read_text().split() if workers.exists() else []
                process.kill()
                for worker in left:
                    os.kill(int(worker), signal.SIGKILL)


def ended(command: str, *given: str, cwd: Path, code: int = 0) -> tuple[str, str]:
    """What a command on two ranks, run to its end, printed to both loaders."""
    with torchrun(command, *given, cwd=cwd) as process:
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, err
    return out, err


COSTS = ("seconds", "joules", "gco2e", "peak_memory_mb")


def assert_alike(ours: Path, theirs: Path) -> None:
    """Two runs differ by rounding only, but for what they cost."""
    left, right = (torch.load(d / "checkpoint.pt", weights_only=True) for d in (ours, theirs))
    assert left.keys() == right.keys()
    for part in ("net", "optimizer", "arch_optimizer", "averaging", "history", "random"):
        assert_near(left.get(part), right.get(part), part)
    for a, b in zip(*(read_metrics(d / "metrics.jsonl") for d in (ours, theirs)), strict=True):
        costs = dict.fromkeys(("seconds", "joules", "gco2e", "collapse_seconds"))
        assert_near(a | costs, b | costs, f"row of epoch {a['epoch']}")
    genotypes = [(d / "genotype.json").read_text() for d in (ours, theirs)]
    assert genotypes[0] == genotypes[1]
    assert {f.name for f in ours.iterdir()} == {f.name for f in theirs.iterdir()}


def assert_near(a: Any, b: Any, where: str) -> None:
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_near(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_near(x, y, f"{where}.{i}")
    elif isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4, msg=where)
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5), where
    else:
        assert a == b, where


@pytest.fixture(scope="module")
def alone(commands: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same runs in this process."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_recipe, "save_search_figures", lambda *_, **__: None)
        for command, given in RUNS.items():
            folders[command] = tmp_path_factory.mktemp(command) / "run"
            commands.exactly(command, [*given, QUIET, f"hydra.run.dir={folders[command]}"])
    return folders


def only_folder(place: Path) -> Path:
    (folder,) = place.iterdir()
    return folder


def test_a_retraining_is_that_of_one_process(
    commands: Any, alone: dict[str, Path], tmp_path: Path
) -> None:
    """With drop path, averaged weights and the auxiliary head, in a folder with a time in it."""
    out, err = ended("retrain", *RUNS["retrain"], QUIET, cwd=tmp_path)
    run = only_folder(only_folder(only_folder(only_folder(tmp_path))))  # runs/retrain/<name>/<time>
    assert_alike(run, alone["retrain"])
    assert out.count("test_accuracy") == out.count("darts.evaluate") == 1
    assert out.count(" epoch 2/2 ") == 1
    assert "darts.retrain:" not in err
    ours, theirs = (commands_summary(d) for d in (run, alone["retrain"]))
    assert (ours["ranks"], theirs["ranks"]) == (2, 1)
    for name, value in theirs.items():
        if isinstance(value, float) and name not in (
            "seconds",
            "joules",
            "gco2e",
            "peak_memory_mb",
        ):
            assert ours[name] == pytest.approx(value, rel=1e-3), name
    assert ours["joules_source"] == theirs["joules_source"]
    # The checkpoint of two ranks is one like any other.
    done = commands.exactly(
        "evaluate", [f"checkpoint={run}", "device=cpu", f"hydra.run.dir={tmp_path / 'evaluated'}"]
    )
    assert done.result["test_loss"] == pytest.approx(ours["test_loss"], rel=1e-5)


def commands_summary(directory: Path) -> dict[str, Any]:
    from darts.tracking import read_json

    summary: dict[str, Any] = read_json(directory / "summary.json")
    return summary


@pytest.mark.slow
def test_a_search_is_stopped_on_two_ranks_and_ended_by_one(
    commands: Any, alone: dict[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    given = [*RUNS["search"], QUIET, f"hydra.run.dir={run}", "save_minutes=0"]
    with torchrun("search", *given, cwd=tmp_path) as process:
        until = time.monotonic() + 90
        while not (run / "checkpoint.pt").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=90)
    assert process.returncode != 0
    assert out.count("stopped and saved; go on with") == 1, (out, err)
    assert commands.printed(out, "search") == [f"resume={run}"]
    assert not (run / "summary.json").exists()
    saved = torch.load(run / "checkpoint.pt", weights_only=True)
    assert (saved["epoch"], saved["step"]) < (3, 0)
    commands.exactly("search", [f"resume={run}"])
    assert_alike(run, alone["search"])


@pytest.mark.slow
def test_a_search_is_begun_by_one_process_and_ended_on_two_ranks(
    commands: Any, alone: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    real, steps = loop.require_finite, iter(range(100))

    def interrupted(*arguments: Any) -> float:
        if next(steps) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return float(real(*arguments))

    with monkeypatch.context() as patch, pytest.raises(SystemExit):  # noqa: PT012
        patch.setattr(loop, "require_finite", interrupted)
        commands.exactly("search", [*RUNS["search"], QUIET, f"hydra.run.dir={run}"])
    before = torch.load(run / "checkpoint.pt", weights_only=True)
    assert (before["epoch"], before["step"]) == (1, 2)
    out, _ = ended("search", f"resume={run}", cwd=tmp_path)
    assert out.count("resuming in") == 1
    for picture in (*run.glob("*.png"), *run.glob("*.svg")):
        picture.unlink()
    assert_alike(run, alone["search"])
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_an_error_is_told_once(tmp_path: Path) -> None:
    _, err = ended("search", "epochz=1", cwd=tmp_path, code=1)
    assert err.count("darts.search: ") == 1, err
    assert "did you mean 'epochs'" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_error_of_one_rank_ends_all(tmp_path: Path) -> None:
    """The other rank waits for it in vain, and says nothing."""
    script = tmp_path / "failing.py"
    script.write_text(
        "import os\n"
        "from darts import search\n"
        "import sys\n"
        "launch_module = sys.modules['darts.config.launch']\n"
        # Rank 0 waits until torchrun ends it, which on a busy machine takes its time.
        "launch_module._ERROR_DELAY = 2.0 if os.environ['RANK'] == '1' else 60.0\n"
        "real = search.require_finite\n"
        "def failing(*arguments):\n"
        "    if os.environ['RANK'] == '1':\n"
        "        open('missing')\n"
        "    return real(*arguments)\n"
        "search.require_finite = failing\n"
        "search.main()\n"
    )
    given = (*RUNS["search"], QUIET, f"hydra.run.dir={tmp_path / 'run'}")
    _, err = ended(str(script), *given, cwd=tmp_path, code=1)
    assert err.count("darts.search: ") == 1, err
    assert "darts.search: [Errno 2] No such file or directory: 'missing'" in err
    assert "[rank" not in err  # where a traceback would begin


def test_a_sweep_is_refused(commands: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert "--multirun" in commands.refused("search", "--multirun", "seed=0,1")


@pytest.mark.slow
def test_a_dry_run_and_what_is_left_of_the_connections(tmp_path: Path) -> None:
    """A thread of theirs that outlives the interpreter aborts the process now and then."""
    script = tmp_path / "threads.py"
    script.write_text(
        "from pathlib import Path\n"
        "from darts import search\n"
        "search.main()\n"
        "threads = [file.read_text() for file in Path('/proc/self/task').glob('*/comm')]\n"
        "assert not any('gloo' in name for name in threads), threads\n"
    )
    place = tmp_path / "place"
    place.mkdir()
    out, _ = ended(str(script), *RUNS["search"], "dry_run=true", cwd=place)
    assert out.count("estimated_time") == 1
    assert list(place.iterdir()) == []


@pytest.fixture(autouse=True)
def _tidy(tmp_path: Path) -> Iterator[None]:
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)
