"""Runs on clusters of Ray and with submitit end as in processes of this machine."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from end_states import without
from tiny_runs import MEASURED, RUNS, differences, end_state, launched
from waiting import wait_until

from darts.running.jobs import log_file
from darts.tracking.metrics import read_metrics
from darts.training.run_lock import LOCK_FILE

pytestmark = pytest.mark.slow

# Seconds of training per run, so that signals arrive while runs train.
LONGER = {
    "tune": ("budget.trials=6", "epochs=30", "window=2", "workers=2"),
    "find": ("plan.slice_epochs=50", "plan.epochs=150", "workers=2"),
    "compare": ("search.epochs=10", "retrain.epochs=30", "baselines=[random]", "workers=2"),
}


CLUSTERS = {
    "ray": ("executor=ray",),
    "submitit": ("executor=slurm", "executor.cluster=local", "executor.folder={}/jobs"),
}
"""Clusters that a command starts on this machine, by library."""
PLACES = {**CLUSTERS, "multiprocessing": ("executor=processes",)}
"""Where a command executes jobs on this machine, by library."""


def words_of(command: str, directory: Path, *more: str) -> list[str]:
    """Return the command line of a run of some seconds; ``more`` may change its keys."""
    words = (*RUNS[command], "executor=processes", *LONGER[command], *more)
    by_key = {word.partition("=")[0]: word for word in words}
    return [*by_key.values(), f"hydra.run.dir={directory}"]


def run(command: str, directory: Path, *more: str) -> dict[str, object]:
    """Run a command to its end; return what must be the same on all clusters."""
    with launched(command, *words_of(command, directory, *more)) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode in (0, 3), out + err  # the results of such small runs are worthless
    return end_of(command, directory)


def end_of(command: str, directory: Path) -> dict[str, object]:
    """Return the end of a run, without the names of log files and the costs of the runs."""
    state: dict[str, Any] = end_state(command, directory)
    state.pop("files", None)
    if command == "compare":
        costs = MEASURED | {"search_seconds", "search_joules"}
        state["rows.csv"] = [without(costs, row) for row in state["rows.csv"]]
        names = {name for name in state["summary"] if name.endswith("_search_joules")}
        state["summary"] = without(names, state["summary"])
    return state


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Return the ends of the runs in processes of this machine."""
    folder = tmp_path_factory.mktemp("local")
    return {command: run(command, folder / command) for command in LONGER}


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


RAY = Path(sys.executable).with_name("ray")
MARK = "NODE_OF_TEST"
TWO_NODES = """
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < 2:
    time.sleep(0.1)
"""


@dataclass(frozen=True)
class Node:
    """A node of a cluster of Ray: processes of this machine with one core."""

    process: subprocess.Popen[bytes]  # the node lives as long as this process
    mark: str  # value of the variable ``MARK`` in the processes of the node

    @classmethod
    def start(cls, *words: str) -> Node:
        mark, package = secrets.token_hex(8), Path(__file__).parents[2]
        own = {MARK: mark, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(package)}
        process = subprocess.Popen(
            [RAY, "start", "--block", "--num-cpus=1", "--disable-usage-stats", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **own},
            process_group=0,
        )
        return cls(process, mark)

    def processes(self) -> list[Path]:
        """Return the folders in /proc of the daemon and of the worker processes of the node."""
        found, variable = [], f"{MARK}={self.mark}".encode()
        for file in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if variable in file.read_bytes().split(b"\0"):
                    found.append(file.parent)
        return found

    def runs(self) -> list[Path]:
        """Return the directories of the runs that the node executes, by their open locks."""
        files: list[Path] = []
        for process in self.processes():
            with suppress(OSError):
                files += [link.readlink() for link in (process / "fd").iterdir()]
        return [file.parent for file in files if file.name == LOCK_FILE]

    def kill(self) -> None:
        """Kill all processes of the node, as a power failure does."""
        self.process.kill()
        while processes := self.processes():
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(int(process.name), signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Node]]:
    """Return the address of a cluster of two nodes, and the node that does not hold its state.

    A token in the home folder does not matter.
    """
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    host, port = ray.util.get_node_ip_address(), free_port()
    nodes = [Node.start("--head", f"--port={port}", "--include-dashboard=false")]
    try:
        wait_until(lambda: listens(host, port), nodes[0].process)
        nodes.append(Node.start(f"--address={host}:{port}"))
        subprocess.run([sys.executable, "-c", TWO_NODES, f"{host}:{port}"], check=True, timeout=120)
        yield f"{host}:{port}", nodes[1]
    finally:
        for node in nodes:
            node.kill()


def listens(host: str, port: int) -> bool:
    with suppress(OSError):
        socket.create_connection((host, port), timeout=1).close()
        return True
    return False


@pytest.mark.parametrize("command", LONGER)
def test_a_ray_cluster_that_loses_a_node(
    cluster: tuple[str, Node], local: dict[str, dict[str, object]], tmp_path: Path, command: str
) -> None:
    """The run that it executes continues on the other node from its last checkpoint."""
    address, node = cluster
    directory = tmp_path / command
    words = words_of(command, directory, "executor=ray", f"executor.address={address}")
    lost: list[Path] = []

    def is_training() -> bool:
        lost[:] = [run for run in node.runs() if (run / "checkpoint.safetensors").exists()]
        return bool(lost)

    with launched(command, *words) as process:
        wait_until(is_training, process)
        node.kill()
        out, err = process.communicate(timeout=300)
    assert process.returncode in (0, 3), out + err
    assert differences(end_of(command, directory), local[command]) == []
    for run in lost:
        assert "resuming" in log_file(run).read_text()
    rows = read_metrics(directory / "jobs.jsonl")
    assert {row["end"] for row in rows} == {"complete"}


@pytest.mark.parametrize("place", ["cluster", "ray", "multiprocessing"])
def test_runs_save_if_the_command_is_killed(
    request: pytest.FixtureRequest, tmp_path: Path, place: str
) -> None:
    """Ray kills the processes of a command that is gone, except those of the runs."""
    directory = tmp_path / "find"
    if place == "cluster":
        address, _ = request.getfixturevalue("cluster")
        own = ["executor=ray", f"executor.address={address}"]
    else:
        own = options_of(place, tmp_path)
    endless = ("plan.slice_epochs=100000", "plan.epochs=100000")
    words = words_of("find", directory, *endless, *own)
    with launched("find", *words) as process:
        wait_until(lambda: len(list(directory.glob("runs/*/checkpoint.safetensors"))) >= 2, process)
        process.kill()
        process.communicate()
    # A process that is killed leaves its lock behind.
    wait_until(lambda: not list(directory.glob(f"runs/*/{LOCK_FILE}")), seconds=60)
    for log in directory.glob("runs/*.log"):
        assert "checkpoint saved" in log.read_text()


def options_of(library: str, folder: Path) -> list[str]:
    """Return the options of a cluster on this machine."""
    pytest.importorskip(library)
    return [word.format(folder) for word in PLACES[library]]


@pytest.mark.parametrize("command", LONGER)
@pytest.mark.parametrize("library", CLUSTERS)
def test_a_cluster_on_this_machine(
    local: dict[str, dict[str, object]], tmp_path: Path, library: str, command: str
) -> None:
    token = Path.home() / ".ray" / "auth_token"
    before = token.exists()
    end = run(command, tmp_path / command, *options_of(library, tmp_path))
    assert differences(end, local[command]) == []
    assert token.exists() == before  # a new token would be required by later clusters of the user


@pytest.mark.parametrize("library", PLACES)
def test_ctrl_c_stops_all_jobs(
    local: dict[str, dict[str, object]], tmp_path: Path, library: str
) -> None:
    """The terminal sends the signal to all processes of the group. The runs save and continue."""
    directory = tmp_path / "find"
    words = words_of("find", directory, *options_of(library, tmp_path))
    with launched("find", *words) as process:
        wait_until(lambda: len(list(directory.rglob("checkpoint.safetensors"))) >= 2, process)
        begin = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert time.monotonic() - begin < 10
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    assert any("checkpoint saved" in log.read_text() for log in directory.glob("runs/*.log"))
    assert not list(directory.rglob("run.lock"))
    with launched("find", f"resume={directory}") as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode in (0, 3), out + err
    assert differences(end_of("find", directory), local["find"]) == []


@pytest.mark.parametrize("library", CLUSTERS)
def test_a_second_ctrl_c_ends_the_command(tmp_path: Path, library: str) -> None:
    directory = tmp_path / "find"
    words = words_of("find", directory, *options_of(library, tmp_path))
    with launched("find", *words) as process:
        wait_until(lambda: list(directory.rglob("checkpoint.safetensors")), process)
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
