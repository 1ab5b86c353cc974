"""What the architecture will cost that the alphas stand for, as a function of them.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 3.3: the expectation of a cost under the
    mixing weights is differentiable.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from darts.spaces.space import Candidates, Space
from darts.training.cost import count_macs, count_parameters

Measure = Callable[[nn.Module, Tensor], float]


def flops_of(module: nn.Module, example: Tensor) -> float:
    """Floating-point operations of a forward pass: two for each multiply-accumulate."""
    return 2.0 * count_macs(module, example)


def parameters_of(module: nn.Module, example: Tensor) -> float:
    """Number of weights."""
    return float(count_parameters(module.parameters()))


@torch.inference_mode()
def latency_of(module: nn.Module, example: Tensor, repeats: int = 11) -> float:
    """Median seconds of a forward pass in evaluation mode, on the example's device."""
    module.eval()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        module(example)
        if example.is_cuda:
            torch.cuda.synchronize(example.device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])  # the first warms up


MEASURES: dict[str, Measure] = {
    "flops": flops_of,
    "parameters": parameters_of,
    "latency": latency_of,
}


class ExpectedCost:
    """One cost of the discrete network, in expectation.

    Args:
        fixed: what is there in any architecture.
        tables: by group of the space's ``usage`` the cost of each candidate on each edge,
            ``(edges, operations)``, all cells of the group together.
        space: says how much of each candidate is expected.
        candidates: names of the columns.
    """

    def __init__(
        self, fixed: float, tables: Mapping[str, Tensor], space: Space, candidates: Candidates
    ) -> None:
        self.fixed, self.tables = fixed, dict(tables)
        self._space, self._candidates = space, candidates

    @classmethod
    def measured(
        cls,
        space: Space,
        candidates: Candidates,
        *,
        classes: int,
        image: tuple[int, ...],
        measure: Measure,
        device: torch.device,
    ) -> ExpectedCost:
        """Measure every candidate of every cell once; equal ones share a measurement.

        Args:
            space: with the size of the network.
            candidates: of its supernet.
            classes: number of classes.
            image: ``(C, H, W)``; costs are those of one image.
            measure: an entry of ``MEASURES``, or any other.
            device: where to measure.
        """
        uniform = {
            group: torch.full((len(rows), len(rows[0])), 1 / len(rows[0]), dtype=torch.float64)
            for group, rows in candidates.items()
        }
        tables = {
            group: torch.zeros_like(u) for group, u in space.usage(uniform, candidates).items()
        }
        fixed = 0.0
        known: dict[tuple[str, tuple[int, ...]], float] = {}
        for piece in space.pieces(classes=classes, image=image):
            module = piece.make()
            key = (str(module), piece.shape)
            if key not in known:
                example = torch.zeros(1, *piece.shape, device=device)
                known[key] = measure(module.to(device), example)
            if piece.place is None:
                fixed += known[key]
            else:
                group, edge, column = piece.place
                tables[group][edge, column] += known[key]
        return cls(fixed, tables, space, candidates)

    def __call__(self, probabilities: Mapping[str, Tensor]) -> Tensor:
        """The expected cost, a scalar with a graph to the probabilities ``(edges, operations)``."""
        usage = self._space.usage(probabilities, self._candidates)
        terms = [(u * self.tables[g].to(u.device, u.dtype)).sum() for g, u in usage.items()]
        return torch.stack(terms).sum() + self.fixed


class Penalty:
    """How far costs are above their targets, for the loss of the alphas.

    Each target adds ``weight * max(0, cost / target - 1)``.

    Args:
        costs: by name.
        targets: for some of them.
        weight: see there.
    """

    def __init__(
        self, costs: Mapping[str, ExpectedCost], targets: Mapping[str, float], weight: float
    ) -> None:
        self.costs, self.targets, self.weight = dict(costs), dict(targets), weight

    def __call__(self, probabilities: Mapping[str, Tensor]) -> Tensor:
        """The penalty, a scalar with a graph to the probabilities."""
        excess = [
            (self.costs[name](probabilities) / target - 1).clamp_min(0)
            for name, target in self.targets.items()
        ]
        return self.weight * torch.stack(excess).sum()

    @torch.no_grad()
    def expected(self, probabilities: Mapping[str, Tensor]) -> dict[str, float]:
        """``expected_<cost>`` of each cost with a target."""
        return {f"expected_{name}": float(self.costs[name](probabilities)) for name in self.targets}

    def state_dict(self) -> dict[str, Any]:
        """The tables, since latencies would be others in a resumed run."""
        return {
            name: {"fixed": cost.fixed, "tables": cost.tables} for name, cost in self.costs.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the tables of ``state_dict``."""
        for name, saved in state.items():
            self.costs[name].fixed = saved["fixed"]
            self.costs[name].tables = dict(saved["tables"])
