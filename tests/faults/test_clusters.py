"""Runs on clusters of Ray and with submitit end as in processes of this machine.

The nodes of the cluster are two processes of this machine with one core each.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from end_states import without
from real_processes import launched
from tiny_runs import MEASURED, RUNS, differences, end_state
from waiting import wait_until

from darts.tracking.metrics import read_metrics

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


def words_of(command: str, directory: Path, *more: str) -> list[str]:
    """Return the command line of a run of some seconds."""
    longer = LONGER[command]
    keys = {word.partition("=")[0] for word in (*longer, "executor=")}
    kept = [word for word in RUNS[command] if word.partition("=")[0] not in keys]
    return [*kept, *longer, *more, f"hydra.run.dir={directory}"]


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


def start_node(*words: str) -> subprocess.Popen[bytes]:
    """Start a node of a cluster; it lives as long as the process."""
    executable = Path(sys.executable).with_name("ray")
    return subprocess.Popen(
        [executable, "start", "--block", "--num-cpus=1", "--disable-usage-stats", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        process_group=0,
    )


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Return the address and the nodes of a cluster; the second one may be killed."""
    pytest.importorskip("ray")
    address = f"127.0.0.1:{free_port()}"
    nodes = [start_node("--head", f"--port={address[10:]}", "--include-dashboard=false")]
    try:
        nodes.append(start_node(f"--address={address}"))
        yield address, nodes
    finally:
        for node in nodes:
            kill_group(node)


def kill_group(node: subprocess.Popen[bytes]) -> None:
    """Kill a node with all its processes, as a power failure does."""
    if node.poll() is None:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()


@pytest.mark.parametrize("command", LONGER)
def test_a_ray_cluster_that_loses_a_node(
    cluster: tuple[str, list[subprocess.Popen[bytes]]],
    local: dict[str, dict[str, object]],
    tmp_path: Path,
    command: str,
) -> None:
    address, nodes = cluster
    directory = tmp_path / command
    words = words_of(command, directory, "executor=ray", f"executor.address={address}")
    with launched(command, *words) as process:
        wait_until(lambda: len(list(directory.rglob("checkpoint.safetensors"))) >= 2, process)
        kill_group(nodes[1])
        out, err = process.communicate(timeout=300)
    assert process.returncode in (0, 3), out + err
    assert differences(end_of(command, directory), local[command]) == []
    rows = read_metrics(directory / "jobs.jsonl")
    assert {row["end"] for row in rows} == {"complete"}


def options_of(library: str, folder: Path) -> list[str]:
    """Return the options of a cluster on this machine."""
    pytest.importorskip(library)
    return [word.format(folder) for word in CLUSTERS[library]]


@pytest.mark.parametrize("command", LONGER)
@pytest.mark.parametrize("library", CLUSTERS)
def test_a_cluster_on_this_machine(
    local: dict[str, dict[str, object]], tmp_path: Path, library: str, command: str
) -> None:
    end = run(command, tmp_path / command, *options_of(library, tmp_path))
    assert differences(end, local[command]) == []


@pytest.mark.parametrize("library", CLUSTERS)
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


def test_a_missing_cluster(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    address = f"executor.address=127.0.0.1:{free_port()}"
    words = words_of("tune", tmp_path / "run", "executor=ray", address)
    with launched("tune", *words) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.count("\n") == 1
    assert "there is no cluster of Ray" in err
