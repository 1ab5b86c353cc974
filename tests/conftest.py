"""Options and fixtures for all tests."""

from __future__ import annotations

import functools
import gc
import importlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fast_composition import compose_faster
from warm_python import WarmPython

import darts

# The networks in the tests are too small to gain from threads, and tests run in parallel.
os.environ.setdefault("OMP_NUM_THREADS", "1")

START = pytest.StashKey[float]()
# Tests in these places run whole commands and take longest.
LONG_RUNNING = ("commands", "test_extending.py", "test_packaging.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--time-budget",
        type=float,
        metavar="SECONDS",
        help="run quick tests first, and skip tests that have not started after this time",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[START] = time.monotonic()
    # Many objects live until the end of the tests, and each full collection visits them all.
    gc.set_threshold(100_000, 20, 50)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--time-budget") is not None:
        items.sort(key=lambda item: any(place in item.path.parts for place in LONG_RUNNING))


def pytest_runtest_setup(item: pytest.Item) -> None:
    budget = item.config.getoption("--time-budget")
    if budget is not None and time.monotonic() - item.config.stash[START] > budget:
        pytest.skip(f"time budget of {budget:g} s is used up")
    if item.get_closest_marker("cuda"):
        torch: Any = importlib.import_module("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs an NVIDIA GPU")


@pytest.fixture
def real_data(request: pytest.FixtureRequest) -> Path:
    """The file or folder that the mark ``data`` of the test names, in the folder DARTS_DATA."""
    (name,) = request.node.get_closest_marker("data").args
    if "DARTS_DATA" not in os.environ:
        pytest.skip("needs the folder DARTS_DATA")
    return Path(os.environ["DARTS_DATA"], name)


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """Runs Python programs without the time that imports of libraries take."""
    python = WarmPython()
    yield python
    python.close()


@pytest.fixture(scope="session", autouse=True)
def _limit_threads() -> None:
    """Use as many threads as child processes, even if a plugin has loaded OpenMP earlier."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session", autouse=True)
def _compose_faster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        compose_faster(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _skip_waits() -> Iterator[None]:
    """Do not wait for the disk, ask git once, and collect only the garbage of the last runs.

    A complete collection visits the objects of all libraries, which takes longer than a tiny run.
    Commands in other processes and in forks do all of it.
    """
    environment: Any = importlib.import_module("darts.tracking.environment")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        collect = gc.collect
        patch.setattr(gc, "collect", lambda generation=1: collect(generation))
        state = environment.git_state
        states = functools.cache(lambda path: state())  # without git in PATH, there is none
        patch.setattr(environment, "git_state", lambda: states(os.environ.get("PATH")))
        yield


@pytest.fixture(autouse=True)
def _functions_of_the_python_api() -> None:
    """Undo imports of the modules of commands, which replace the functions, see ``darts.api``."""
    for name in ("find", "predict", "retrain", "search"):
        vars(darts).pop(name, None)


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of the test, as the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def accuracy(index: int) -> float:
    """Return the accuracy in percent of an architecture in the synthetic benchmark table.

    It depends on the operations of the architecture, which are the base-5 digits of its index.
    """
    operations = [index // 5**edge % 5 for edge in range(6)]
    gains = (3, 4, 1, 8, 2)
    return 50 + sum(gains[name] * (edge + 1) / 5 for edge, name in enumerate(operations))


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic NAS-Bench-201 table: validation accuracy is test accuracy minus 10 points."""
    from darts.spaces.nas201 import Genotype

    path = tmp_path_factory.mktemp("table") / "table.csv"
    lines = ["arch,cifar10_val_ep12,cifar10_test_ep200"]
    for index in range(15625):
        value = accuracy(index)
        lines.append(f"{Genotype.from_index(index)},{value - 10:.4f},{value:.4f}")
    path.write_text("\n".join(lines) + "\n")
    return path
