"""Expected cost of the discrete network, as a differentiable function of the probabilities.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 3.3: the expectation of a cost over the
    probabilities is differentiable.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn

from darts.config.options import PenaltyConfig
from darts.data_modules import DataModule
from darts.ops.transfer import constant_on
from darts.spaces import AnyGenotype, ByGroup, SearchContext, Space
from darts.spaces.deriving import Candidates
from darts.training.cost import count_macs, count_parameters
from darts.training.device import synchronized_clock
from darts.training.scoring import evaluating
from darts.typed_values import Misfit, typed

# Maps a module and an example input of one sample to the cost of the module.
Measure = Callable[[nn.Module, Tensor], float]


@torch.inference_mode()
def latency_of(module: nn.Module, example: Tensor, repeats: int = 11) -> float:
    """Return the median seconds of a forward pass in evaluation mode, on the example's device."""
    times = []
    with evaluating(module):
        for _ in range(repeats):
            start = synchronized_clock(example.device)
            module(example)
            times.append(synchronized_clock(example.device) - start)
    return statistics.median(times[1:])  # the first pass is a warm-up


MEASURES: dict[str, Measure] = {
    "flops": lambda module, example: 2.0 * count_macs(module, example),  # two per MAC
    "parameters": lambda module, example: float(count_parameters(module.parameters())),
    "latency": latency_of,
}


class ExpectedCost:
    """One cost of the discrete network, averaged over the probabilities.

    It is the cost ``fixed`` of everything that all architectures share, plus the cost of each
    candidate on each edge, times the factors of ``Space.expected_usage``. The tables are
    ``(edges, operations)`` by group, summed over the cells of a group.
    """

    def __init__(self, fixed: float, tables: ByGroup, space: Space, candidates: Candidates) -> None:
        self.fixed, self.tables = fixed, dict(tables)
        self._space, self._candidates = space, candidates

    @classmethod
    def measured(
        cls,
        space: Space,
        candidates: Candidates,
        *,
        classes: int,
        sample_shape: Sequence[int],
        measure: Measure,
        device: torch.device | str = "cpu",
    ) -> ExpectedCost:
        """Measure every candidate of every cell once; equal modules share a measurement.

        Costs refer to one sample ``(C, H, W)``.
        """
        # The probabilities do not matter: only the groups and shapes of the usage are needed.
        ones = {group: torch.ones(len(rows), len(rows[0])) for group, rows in candidates.items()}
        usage = space.expected_usage(ones, candidates)
        tables = {group: torch.zeros_like(u, dtype=torch.float64) for group, u in usage.items()}
        fixed = 0.0
        measured: dict[tuple[str, tuple[int, ...]], float] = {}
        for piece in space.pieces(classes=classes, sample_shape=sample_shape):
            module = piece.make()
            key = (str(module), piece.shape)
            if key not in measured:
                example = torch.zeros(1, *piece.shape, device=device)
                measured[key] = measure(module.to(device), example)
            if piece.place is None:
                fixed += measured[key]
            else:
                group, edge, column = piece.place
                tables[group][edge, column] += measured[key]
        return cls(fixed, tables, space, candidates)

    def __call__(self, probabilities: ByGroup) -> Tensor:
        """Return the expected cost, a scalar that is differentiable in the probabilities."""
        usage = self._space.expected_usage(probabilities, self._candidates)
        terms = [
            (u * constant_on(self.tables[group], u.device, u.dtype)).sum()
            for group, u in usage.items()
        ]
        return torch.stack(terms).sum() + self.fixed

    def of_genotype(self, genotype: AnyGenotype) -> float:
        """Return the cost of the network of a genotype."""
        masks = self._space.mask(genotype, self._candidates)
        return float(self({group: mask.double() for group, mask in masks.items()}))


class _SavedCost(TypedDict):
    fixed: float
    tables: dict[str, Tensor]


class Penalty:
    """Term of the loss of the alphas that penalizes expected costs above their targets.

    Each target adds ``weight * max(0, cost / target - 1)``.
    """

    def __init__(
        self, costs: Mapping[str, ExpectedCost], targets: Mapping[str, float], weight: float
    ) -> None:
        self.costs, self.targets, self.weight = dict(costs), dict(targets), weight

    @classmethod
    def measured(
        cls,
        config: PenaltyConfig,
        context: SearchContext,
        data: DataModule,
        known: Mapping[str, ExpectedCost],
    ) -> Penalty:
        """Measure the candidates of a search for each target whose cost is not ``known``."""
        targets = {
            name: target for name in MEASURES if (target := getattr(config, name)) is not None
        }
        costs = {
            name: known.get(name)
            or ExpectedCost.measured(
                context.space,
                context.candidates,
                classes=len(data.target_names),
                sample_shape=data.sample_shape,
                measure=MEASURES[name],
                device=data.ranks.device,
            )
            for name in targets
        }
        return cls(costs, targets, config.weight)

    def __call__(self, probabilities: ByGroup) -> Tensor:
        """Return the penalty, a scalar that is differentiable in the probabilities."""
        excess = [
            (self.costs[name](probabilities) / target - 1).clamp_min(0)
            for name, target in self.targets.items()
        ]
        return self.weight * torch.stack(excess).sum()

    @torch.no_grad()
    def expected(self, probabilities: ByGroup) -> dict[str, float]:
        """Return the expected costs as ``expected_<cost>``, for each cost with a target."""
        return {f"expected_{name}": float(self.costs[name](probabilities)) for name in self.targets}

    def state_dict(self) -> dict[str, _SavedCost]:
        """Return the measured costs; a resumed run loads them, as new latencies would differ."""
        return {
            name: {"fixed": cost.fixed, "tables": cost.tables} for name, cost in self.costs.items()
        }

    def load_state_dict(self, state: object) -> None:
        """Continue with the tables of ``state_dict``."""
        saved = typed(dict[str, _SavedCost], state, "penalty")
        if saved.keys() != self.costs.keys():
            raise Misfit("penalty holds other costs than the configured ones")
        for name, cost in self.costs.items():
            cost.fixed, cost.tables = saved[name]["fixed"], saved[name]["tables"]
