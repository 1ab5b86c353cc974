"""Ctrl-C twice in a study with worker processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import tiny_runs
from waiting import wait_until

pytestmark = pytest.mark.slow

# A step of these trials takes seconds, in which the second Ctrl-C arrives.
SLOW = (
    *("dataset=synthetic", "dataset.samples=512", "dataset.size=32", "loader.batch_size=128"),
    *("genotype=DARTS_V2", "space.channels=16", "space.cells=8", "epochs=1"),
    *("parameters.optimizer.lr=[0.01, 0.02, 0.03]", "strategy=random", "budget.trials=3"),
)


def group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_second_ctrl_c_ends_supervisor_and_workers(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    logs = [directory / f"trials/{number:04d}.log" for number in range(2)]
    with tiny_runs.launched("tune", *SLOW, "workers=2", f"hydra.run.dir={directory}") as process:
        wait_until(
            lambda: all(log.exists() and "training in" in log.read_text() for log in logs), process
        )
        process.send_signal(signal.SIGINT)
        # The workers have got the signal, and the supervisor waits for the end of their steps.
        wait_until(lambda: all("stopping after" in log.read_text() for log in logs), process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        (line,) = err.splitlines()
        assert line.startswith("darts tune: aborted by Ctrl-C; ")
        assert line.endswith(f"darts tune resume={directory}")
        assert "stopped and saved" not in out
        wait_until(lambda: not group_exists(process.pid), seconds=30)
        assert not list(directory.glob("trials/*/summary.json"))
        assert not (directory / "run.lock").exists()
