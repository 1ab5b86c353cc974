"""Capture small programs on the pretended GPU, and print as JSON what they do.

The values are those that a real GPU would give, see the documentation of CUDA graphs in PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from pretended_gpu import COUNTS, GPU, install

install()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402


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
    random = []
    for _ in range(3):
        graph.replay()
        random.append(values(drawn))
    results["draws"] = random == eager and random[0] != random[1]

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
    print(json.dumps(results))


if __name__ == "__main__":
    main()
