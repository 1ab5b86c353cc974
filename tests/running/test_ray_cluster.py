"""Workers on a cluster of Ray, by a module ``ray`` whose actors are objects of this process."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from small_jobs import named_job

from darts.config import ConfigError
from darts.config.many_runs import RayConfig
from darts.running.jobs import ExecutorError, Outcome
from darts.running.pool import WorkerDied
from darts.writing import WriteError

pytest.importorskip("ray")

from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from darts.running import pool, ray_cluster
from darts.running.ray_cluster import Host, RayExecutor, RayWorker

DONE = Outcome({"epochs": 1})
JOB = named_job("a")
CONFIG = RayConfig("ray", cores=2)
TIMEOUT = 30


class FakeActor:
    """The handle of an actor, whose methods return, raise or call their ``answers``."""

    def __init__(self, options: dict[str, object], arguments: tuple[Any, ...]) -> None:
        self.options, self.arguments = options, arguments
        self.answers: dict[str, object] = {"start": "node 1", "is_alive": True, "run": DONE}
        self.calls: list[str] = []
        self.is_killed = False
        self.start = SimpleNamespace(remote=lambda *rest: self._call("start"))
        self.call = SimpleNamespace(remote=lambda method, *rest: self._call(method))

    def _call(self, method: str) -> Callable[[], object]:
        self.calls.append(method)

        def answer() -> object:
            if self.is_killed:
                raise RayActorError
            found = self.answers.get(method)
            if isinstance(found, Exception):
                raise found
            return found() if callable(found) else found

        return answer


class FakeRay:
    """The functions of the module ``ray``; ``prepare`` is called with each new actor."""

    def __init__(self) -> None:
        self.actors: list[FakeActor] = []
        self.prepare: Callable[[FakeActor], object] = lambda actor: None
        self.resources: list[dict[str, float]] = [{"CPU": 4.0}]
        self.is_connected = False
        self.timeouts: list[float | None] = []
        self.util = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.1")

    def init(self, **options: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ray does this as well
        self.is_connected = True

    def shutdown(self) -> None:
        self.is_connected = False

    def nodes(self) -> list[dict[str, object]]:
        return [{"Alive": True, "Resources": own} for own in self.resources]

    def remote(self, actor_class: type) -> Any:
        assert actor_class is Host

        def make(options: dict[str, object], arguments: tuple[Any, ...]) -> FakeActor:
            actor = FakeActor(options, arguments)
            self.prepare(actor)
            self.actors.append(actor)
            return actor

        def configure(**options: object) -> Any:
            return SimpleNamespace(remote=lambda *arguments: make(options, arguments))

        return SimpleNamespace(options=configure)

    def get(self, reference: Callable[[], object], timeout: float | None = None) -> object:
        self.timeouts.append(timeout)
        return reference()

    def kill(self, actor: FakeActor) -> None:
        actor.is_killed = True


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setattr(ray_cluster, "ray", fake)
    monkeypatch.setattr(pool, "_POLL", 0.01)
    return fake


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Restore what a host and an executor set; hide variables of the user."""
    own = {k: text for k, text in os.environ.items() if not k.startswith(("DARTS_", "RAY_"))}
    monkeypatch.setattr(os, "environ", own)
    monkeypatch.chdir(tmp_path)
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", getattr(main, "__file__", None), raising=False)
    monkeypatch.setattr(ray_cluster.services, "canonicalize_bootstrap_address", lambda text: text)
    level = logging.getLogger("ray").level
    yield
    logging.getLogger("ray").setLevel(level)


def started(fake: FakeRay, folder: Path, config: RayConfig = CONFIG) -> tuple[RayWorker, FakeActor]:
    worker = RayWorker(config, folder / "0.log", folder / "shared")
    worker.start()
    return worker, fake.actors[-1]


def test_an_actor_gets_resources_and_variables(
    fake: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray hides no GPU from an actor that has none."""
    monkeypatch.setitem(os.environ, "DARTS_LOG", "plain")
    config = RayConfig("ray", cores=2, gpus=0.5, memory_gb=1)
    worker, actor = started(fake, tmp_path, config)
    assert worker.place == "node 1"
    assert actor.options == {"num_cpus": 2, "num_gpus": 0.5, "memory": 2**30, "max_concurrency": 2}
    assert actor.arguments == (2, tmp_path / "0.log", str(tmp_path), {"DARTS_LOG": "plain"})
    _, actor = started(fake, tmp_path)
    assert actor.arguments[3] == {"DARTS_LOG": "plain", "CUDA_VISIBLE_DEVICES": ""}


def test_the_process_of_a_host_has_its_variables_and_outlives_its_group(tmp_path: Path) -> None:
    """Ray kills the group."""
    host = Host(1, tmp_path / "0.log", str(tmp_path), {"DARTS_LOG": "quiet"})
    assert os.environ["DARTS_LOG"] == "quiet"
    assert host._worker._arguments == (None, 1, tmp_path / "0.log", True)


def test_a_node_needs_the_working_directory_and_the_run_directory(tmp_path: Path) -> None:
    shared = tmp_path / "run" / "shared-1"
    host = Host(1, tmp_path / "0.log", str(tmp_path / "missing"), {})
    with pytest.raises(ExecutorError, match=r"\(10\.0\.0\.1\) does not see .*/missing; all nodes "):
        host.start(shared)
    host = Host(1, tmp_path / "0.log", str(tmp_path), {})
    with pytest.raises(ExecutorError, match=r"does not see .*/run/shared-1; all nodes must see"):
        host.start(shared)


def test_whether_an_idle_worker_lives_is_known_to_its_host(fake: FakeRay, tmp_path: Path) -> None:
    worker, actor = started(fake, tmp_path)
    assert worker.is_alive()
    for answer in (False, RayActorError(), GetTimeoutError()):
        actor.answers["is_alive"] = answer
        assert not worker.is_alive()


def test_errors_of_the_host_pass(fake: FakeRay, tmp_path: Path) -> None:
    worker, actor = started(fake, tmp_path)
    causes = (
        WorkerDied("exited with code 1"),
        WriteError(errno.ENOSPC, "cannot write: disk is full"),
        OSError(errno.EIO, "Input/output error"),
        ExecutorError("no shared file system"),
        AttributeError("another version of this package"),
    )
    for cause in causes:
        error = RayTaskError("Host.call", "Traceback ...", cause, "ray::Host", 1, "10.0.0.1")
        actor.answers["run"] = error
        with pytest.raises(type(cause)) as caught:
            worker.run(JOB)
        assert caught.value is cause


def test_the_loss_of_a_node_names_place_and_reason(fake: FakeRay, tmp_path: Path) -> None:
    worker, actor = started(fake, tmp_path)
    actor.answers["run"] = RayActorError(error_msg="The node has died.\nSee the logs.")
    with pytest.raises(WorkerDied, match=r"^was lost, on node 1: .*died\. See the logs"):
        worker.run(JOB)
    assert actor.is_killed  # it may only be unreachable
    assert not worker.is_alive()


def test_an_idle_host_without_an_answer_is_ended(fake: FakeRay, tmp_path: Path) -> None:
    """Its node may be unreachable."""
    worker, actor = started(fake, tmp_path)
    actor.answers["end"] = GetTimeoutError()
    worker.end()
    assert actor.is_killed
    assert fake.timeouts == [None, ray_cluster._ANSWER_SECONDS]


def test_a_request_to_stop_ends_a_start_and_reaches_a_run(fake: FakeRay, tmp_path: Path) -> None:
    worker, actor = started(fake, tmp_path)
    worker.stop()
    assert actor.calls == ["start", "stop"]
    assert not actor.is_killed

    def stop_meanwhile() -> None:
        worker.stop()
        raise RayActorError

    fake.prepare = lambda actor: actor.answers.update(start=stop_meanwhile)
    with pytest.raises(WorkerDied):
        worker.start()
    assert actor.is_killed  # replaced by a new one
    assert fake.actors[-1].is_killed


def test_an_executor_connects_when_its_context_begins(fake: FakeRay, tmp_path: Path) -> None:
    """A command without jobs that are left needs no cluster. Warnings of Ray are not printed."""
    logging.getLogger("ray").setLevel(logging.INFO)
    before = signal.getsignal(signal.SIGTERM)
    executor = RayExecutor(CONFIG, 5, tmp_path)
    assert (executor.workers, fake.is_connected) == (5, False)
    with executor:
        assert fake.is_connected
        assert executor.workers == 2  # with two cores each
        assert executor.submit(JOB).result(TIMEOUT) == DONE
        assert not logging.getLogger("ray._private.worker").isEnabledFor(logging.ERROR)
        assert [path.name[:7] for path in (tmp_path / "workers").iterdir()] == ["shared-"]
    assert not fake.is_connected
    assert list((tmp_path / "workers").iterdir()) == []
    assert all(actor.is_killed for actor in fake.actors)
    assert signal.getsignal(signal.SIGTERM) is before


def test_two_commands_in_a_folder_have_different_shared_files(tmp_path: Path) -> None:
    first, second = (RayExecutor(CONFIG, 1, tmp_path)._shared for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    ("config", "resources", "workers"),
    [
        (RayConfig("ray", cores=1, gpus=0.2), {"CPU": 8.0, "GPU": 0.6}, 3),
        (RayConfig("ray", cores=3), {"CPU": 8.0}, 2),
        (RayConfig("ray", memory_gb=2), {"CPU": 8.0, "memory": 5.0 * 2**30}, 2),
    ],
)
def test_as_many_workers_as_fit(
    fake: FakeRay, tmp_path: Path, config: RayConfig, resources: dict[str, float], workers: int
) -> None:
    fake.resources = [resources, resources]
    with RayExecutor(config, None, tmp_path) as executor:
        assert executor.workers == 2 * workers


def test_resources_that_no_node_has(fake: FakeRay, tmp_path: Path) -> None:
    config = RayConfig("ray", gpus=1)
    with pytest.raises(ConfigError, match=r"no node has .*executor\.gpus=1"):
        RayExecutor(config, 1, tmp_path).__enter__()
    assert not fake.is_connected


def test_an_error_after_the_connection_ends_it(
    fake: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: Path, text: str) -> None:
        assert fake.is_connected
        raise WriteError(errno.ENOSPC, "cannot write: disk is full")

    monkeypatch.setattr(ray_cluster, "write_atomically", fail)
    with pytest.raises(WriteError, match="full"):
        RayExecutor(CONFIG, 1, tmp_path).__enter__()
    assert not fake.is_connected


def test_a_cluster_of_this_machine_has_a_token_of_its_own(fake: FakeRay, tmp_path: Path) -> None:
    """Otherwise, Ray writes one to the home folder."""
    with RayExecutor(CONFIG, 1, tmp_path):
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    os.environ["RAY_AUTH_TOKEN"] = "mine"
    with RayExecutor(CONFIG, 1, tmp_path):
        assert os.environ["RAY_AUTH_TOKEN"] == "mine"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Return a socket with a port of this machine; it does not listen yet."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        yield found


def address_of(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_foreign_cluster_is_used(fake: FakeRay, tmp_path: Path, listener: socket.socket) -> None:
    """Its token is set by the user, if it has one."""
    listener.listen()
    with RayExecutor(RayConfig("ray", address=address_of(listener)), 1, tmp_path):
        assert fake.is_connected
        assert "RAY_AUTH_TOKEN" not in os.environ


def test_ray_does_not_wait_for_a_cluster_that_is_missing(
    fake: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    monkeypatch.setattr(fake, "init", lambda **options: pytest.fail("Ray waits for minutes"))
    address = address_of(listener)
    problem = rf"^executor\.address={address}: there is no cluster of Ray: Connection refused$"
    with pytest.raises(ConfigError, match=problem):
        RayExecutor(RayConfig("ray", address=address), 1, tmp_path).__enter__()


def test_a_cluster_of_this_machine_is_found_by_auto(
    fake: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = Mock(side_effect=ConnectionError("Could not find any running Ray instance."))
    monkeypatch.setattr(ray_cluster.services, "canonicalize_bootstrap_address", find)
    problem = r"^executor\.address=auto: there is no cluster of Ray: Could not find any running"
    with pytest.raises(ConfigError, match=problem):
        RayExecutor(RayConfig("ray", address="auto"), 1, tmp_path).__enter__()
    find.assert_called_once_with("auto")


@pytest.mark.parametrize(
    ("is_joined", "problem"),
    [
        (False, r"^executor=ray: Ray does not start on this machine: no memory$"),
        (True, r"^executor\.address=127.*: there is no cluster of Ray: no memory$"),
    ],
)
def test_an_error_of_ray_is_one_line(
    fake: FakeRay,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    listener: socket.socket,
    is_joined: bool,
    problem: str,
) -> None:
    listener.listen()
    monkeypatch.setattr(fake, "init", Mock(side_effect=AssertionError("no\nmemory")))
    config = RayConfig("ray", address=address_of(listener) if is_joined else None)
    with pytest.raises(ConfigError, match=problem):
        RayExecutor(config, 1, tmp_path).__enter__()
