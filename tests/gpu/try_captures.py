"""Capture small programs and graphed steps on the pretended GPU, and print as JSON what they do.

The values are those that a real GPU would give, see the documentation of CUDA graphs in PyTorch.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from pretended_gpu import COUNTS, GPU, install

install()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from darts.config import ConfigError  # noqa: E402
from darts.training.graphs import GraphedStep  # noqa: E402

Batch = tuple[Tensor, Tensor]


def captured(step: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.Stream(), capture_error_mode="thread_local"):
        result = step()
    return graph, result


def error_of(step: Callable[[], object]) -> str:
    """Return the error that makes a capture fail."""
    try:
        captured(lambda: step())  # type: ignore[arg-type, return-value]
    except RuntimeError as error:
        return str(error.__context__)
    return ""


def on_gpu(value: float) -> Tensor:
    return torch.full((2,), value, device=GPU)


def values(x: Tensor) -> list[float | None]:
    """Return the values as numbers; None for NaN."""
    return [None if value != value else value for value in x.tolist()]


class Step:
    """Adds the mean of the samples, times a number that Python knows, to a total."""

    def __init__(self, extra: Callable[[], object] = lambda: None) -> None:
        self.calls, self.factor, self.total = 0, 1.0, torch.zeros((), device=GPU)
        self.extra = extra

    def __call__(self, batch: Batch) -> Tensor:
        self.calls += 1
        self.extra()
        self.total.add_(batch[0].mean() * self.factor)
        return self.total * 1.0


def batch(value: float, size: int = 2) -> Batch:
    return torch.full((size, 3), value, device=GPU), torch.zeros(size, device=GPU)


def take(step: Step, *batches: Batch, **options: Any) -> list[object]:
    """Return the totals after each batch, the calls of the step, and the lines that it reports."""
    run, lines = GraphedStep(step, GPU, **{"enabled": True} | options), list[str]()
    run.connect(lines.append)
    return [[float(run(each)) for each in batches], step.calls, lines]


def change_factor() -> list[float]:
    """Return totals before and after the graph is discarded because a number has changed."""
    step, one = Step(), batch(1.0)
    run = GraphedStep(step, GPU, enabled=True)
    totals = [float(run(one)) for _ in range(2)]
    step.factor = 10.0
    totals.append(float(run(one)))
    run.discard()
    return totals + [float(run(one)) for _ in range(3)]


def failure() -> str:
    """Return the error of a step that reads a value in the capture."""

    def read() -> None:
        if torch.cuda.is_current_stream_capturing():
            on_gpu(0.0)[0].item()

    run = GraphedStep(Step(read), GPU, enabled=True)
    run(batch(1.0))
    try:
        run(batch(1.0))
    except ConfigError as error:
        return str(error)
    return ""


def steps() -> dict[str, object]:
    three = [batch(1.0)] * 3
    return {
        "replays": take(Step(), *(batch(value) for value in (1.0, 2.0, 4.0, 8.0))),
        "another size": take(Step(), *(batch(1.0, size) for size in (2, 2, 1, 2))),
        "disabled": take(Step(), *three, enabled=False),
        "obstacle": take(Step(), *three, obstacle="of a rule"),
        "Python draws": take(Step(random.random), *three),
        "the CPU draws": take(Step(lambda: torch.rand(())), *three),
        "the GPU draws": take(Step(lambda: torch.rand(2, device=GPU)), *three),
        "the GPU repeats": take(
            Step(lambda: torch.rand(2, device=GPU)), *three, repeats_draws=True
        ),
        "another factor": change_factor(),
    }


def main() -> None:
    results: dict[str, object] = {}
    x, total = on_gpu(1.0), on_gpu(0.0)
    factor = 10.0
    graph, result = captured(lambda: total.add_(x) * factor)
    results["after the capture"] = values(total), values(result)
    COUNTS.reset()
    factor = 0.0  # the graph does not see it
    graph.replay()
    x.fill_(2.0)
    graph.replay()
    results["launches"] = dict(COUNTS.launches)
    results["after two replays"] = values(total), values(result)

    torch.manual_seed(0)
    eager = [values(torch.rand(2, device=GPU)) for _ in range(3)]
    torch.manual_seed(0)
    graph, drawn = captured(lambda: torch.rand(2, device=GPU))
    replayed = []
    for _ in range(3):
        graph.replay()
        replayed.append(values(drawn))
    results["draws"] = replayed == eager and replayed[0] != replayed[1]

    results["errors"] = {
        "item": error_of(lambda: x[0].item()),
        "copy to the CPU": error_of(x.cpu),
        "copy from the CPU": error_of(lambda: torch.ones(2).to(GPU)),
        "copy without waiting": error_of(lambda: torch.ones(2).to(GPU, non_blocking=True)),
        "nonzero": error_of(x.nonzero),
        "random state": error_of(lambda: torch.cuda.get_rng_state(GPU)),
        "synchronize": error_of(torch.cuda.synchronize),
        "nothing": error_of(lambda: x + 1),
    }
    results["after failures"] = values(x)
    results |= {"steps": steps(), "failure": failure()}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
