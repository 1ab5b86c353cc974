"""Steps as CUDA graphs, with a graph that calls recorded functions in place of kernels.

tests/gpu/test_graphs_on_cuda.py compares whole runs on a GPU.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from darts.config import ConfigError
from darts.training import graphs
from darts.training.graphs import DRAWS_ON_CPU, REPEATS_DRAWS, GraphedStep

CPU = torch.device("cpu")
Batch = tuple[Tensor, Tensor]


class Graph:
    """A graph of functions."""

    capturing: ClassVar[Graph | None] = None

    def __init__(self) -> None:
        self.kernels: list[Callable[[], object]] = []

    def replay(self) -> None:
        for kernel in self.kernels:
            kernel()


def launch(kernel: Callable[[], object]) -> None:
    """Run a kernel, or add it to the graph that is captured."""
    if Graph.capturing is None:
        kernel()
    else:
        Graph.capturing.kernels.append(kernel)


@contextlib.contextmanager
def capture(graph: Graph, **options: object) -> Any:
    Graph.capturing = graph
    try:
        yield
    except Exception:
        raise RuntimeError("operation failed due to a previous error during capture") from None
    finally:
        Graph.capturing = None


class Stream:
    def __init__(self, device: object = None) -> None:
        pass

    def wait_stream(self, other: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    replacements = {
        "CUDAGraph": Graph,
        "graph": capture,
        "Stream": Stream,
        "current_stream": lambda device=None: Stream(),
        "stream": lambda stream: contextlib.nullcontext(),
    }
    for name, value in replacements.items():
        monkeypatch.setattr(torch.cuda, name, value)


class Step:
    """Adds the mean of the samples, times a number that Python knows, to a total."""

    def __init__(self) -> None:
        self.calls, self.factor, self.total = 0, 1.0, torch.zeros(())
        self.extra: Callable[[], object] = lambda: None

    def __call__(self, batch: Batch) -> Tensor:
        self.calls += 1
        self.extra()
        factor, result = self.factor, torch.full((), torch.nan)

        def kernel() -> None:
            self.total += factor * batch[0].mean()
            result.copy_(self.total)

        launch(kernel)
        return result


def batch(value: float, size: int = 2) -> Batch:
    return torch.full((size, 3), value), torch.zeros(size)


def graphed(step: Step, **options: Any) -> tuple[GraphedStep[Tensor], list[str]]:
    """Return a graphed step, and the lines that it reports."""
    run, lines = GraphedStep(step, CPU, **{"enabled": True} | options), list[str]()
    run.connect(lines.append)
    return run, lines


def test_replays_use_the_new_batches_and_do_not_call_the_step() -> None:
    step = Step()
    run, lines = graphed(step)
    assert [float(run(batch(value))) for value in (1.0, 2.0, 4.0, 8.0)] == [1.0, 3.0, 7.0, 15.0]
    assert step.calls == 2  # once without a graph, once for the capture
    assert lines == []


def test_a_number_of_python_changes_only_after_discard() -> None:
    step = Step()
    run, _ = graphed(step)
    run(batch(1.0))
    run(batch(1.0))
    step.factor = 10.0
    assert float(run(batch(1.0))) == 3.0
    run.discard()
    assert [float(run(batch(1.0))) for _ in range(3)] == [13.0, 23.0, 33.0]
    assert step.calls == 4


def test_a_batch_of_another_size_runs_without_a_graph() -> None:
    step = Step()
    run, _ = graphed(step)
    sizes = (2, 2, 1, 2)
    assert [float(run(batch(1.0, size))) for size in sizes] == [1.0, 2.0, 3.0, 4.0]
    assert step.calls == 3


@pytest.mark.parametrize("options", [{"enabled": False}, {"obstacle": "of a rule"}])
def test_without_graphs_every_call_runs_the_step(options: dict[str, Any]) -> None:
    step = Step()
    run, lines = graphed(step, **options)
    assert [float(run(batch(1.0))) for _ in range(3)] == [1.0, 2.0, 3.0]
    assert step.calls == 3
    expected = ["graphs=auto: no CUDA graphs, because of a rule"]
    assert lines == (expected if "obstacle" in options else [])


@pytest.mark.parametrize("draw", [random.random, lambda: torch.rand(())])
def test_a_step_that_draws_on_the_cpu_is_not_captured(draw: Callable[[], object]) -> None:
    step = Step()
    step.extra = draw
    run, lines = graphed(step)
    for _ in range(3):
        run(batch(1.0))
    assert step.calls == 3
    assert lines == [f"graphs=auto: no CUDA graphs, because {DRAWS_ON_CPU}"]


@pytest.mark.parametrize("repeats_draws", [False, True])
def test_a_step_that_repeats_draws_of_the_gpu_is_not_captured(
    repeats_draws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = graphs.random_states(CPU)
    drawn = torch.zeros(1)
    monkeypatch.setattr(graphs, "random_states", lambda device: {**states, "cuda": drawn.clone()})
    step = Step()
    step.extra = lambda: drawn.add_(1)
    run, lines = graphed(step, repeats_draws=repeats_draws)
    for _ in range(3):
        run(batch(1.0))
    assert step.calls == (3 if repeats_draws else 2)
    line = f"graphs=auto: no CUDA graphs, because {REPEATS_DRAWS}"
    assert lines == ([line] if repeats_draws else [])


def test_a_failed_capture_ends_in_one_line() -> None:
    def read() -> None:
        if Graph.capturing is not None:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    step = Step()
    step.extra = read
    run, _ = graphed(step)
    run(batch(1.0))
    message = (
        r"^graphs=auto: the step cannot be captured as a CUDA graph \(operation not permitted when "
        r"stream is capturing\); set graphs=off$"
    )
    with pytest.raises(ConfigError, match=message):
        run(batch(1.0))
