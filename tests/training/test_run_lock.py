"""A run directory has at most one owner; the tests use real processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from darts.config import ConfigError
from darts.training.run_directory import RunDirectory
from darts.training.run_lock import LOCK_FILE, RunLock

HOLD = """
import sys, time
from pathlib import Path
from darts.training.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that owns the directory."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"locked\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_and_a_killed_one_owns_nothing(
    tmp_path: Path, owner: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(ConfigError) as caught:
        RunLock(tmp_path)
    assert f"is in use by process {owner.pid} on {socket.gethostname()}, started 20" in str(
        caught.value
    )
    owner.send_signal(signal.SIGSTOP)  # a stopped process still owns its run
    with pytest.raises(ConfigError):
        RunLock(tmp_path)
    owner.kill()
    owner.wait()
    lock = RunLock(tmp_path)
    assert f"process {os.getpid()} on " in (tmp_path / LOCK_FILE).read_text()
    lock.release()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_fork_does_not_keep_the_lock(tmp_path: Path) -> None:
    """The loader processes of a killed run end a few seconds after it."""
    lock = RunLock(tmp_path)
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60.0,))
    child.start()
    time.sleep(0.2)
    with pytest.raises(ConfigError, match=f"in use by process {os.getpid()} on "):
        RunLock(tmp_path)
    # Closing without `release` is what the end of the process does.
    lock._file.close()
    RunLock(tmp_path).release()
    child.kill()
    child.join()


def test_a_claim_without_files_leaves_nothing(tmp_path: Path) -> None:
    files = RunDirectory(tmp_path / "run", "search")
    files.claim_unused()
    files.release()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run").mkdir()
    with files:
        files.claim_unused()
    assert (tmp_path / "run").exists()  # it was there before


def test_temporary_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.safetensors.123.tmp").write_text("half")
    (tmp_path / ".notes").write_text("kept")
    with RunDirectory(tmp_path, "search") as files:
        files.claim()
        assert {file.name for file in tmp_path.iterdir()} == {".notes", LOCK_FILE}
