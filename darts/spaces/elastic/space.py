"""The elastic space: depth, widths and kernel sizes of slices of one residual network.

References:
    Cai et al., "Once-for-All", arXiv:1908.09791, section 3.2; Yu et al., "BigNAS",
    arXiv:2003.11142: networks that are good with the weights of the supernet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from darts.registry import number
from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.choice_space import ChoiceSpace
from darts.spaces.deriving import ByGroup, Candidates
from darts.spaces.elastic.genotype import (
    KERNELS,
    LARGEST,
    SKIP,
    STAGES,
    BlockSpec,
    Genotype,
    begins_stage,
    block_names,
)
from darts.spaces.elastic.network import (
    BlockPlan,
    Network,
    make_block,
    make_stem,
    plan_blocks,
    width_of,
)
from darts.spaces.elastic.supernet import MixedBlock, Supernet
from darts.spaces.network import NetworkPiece
from darts.spaces.space import SPACES
from darts.spaces.supernet import SupernetBase


@SPACES.register
@dataclass
class Elastic(ChoiceSpace):
    """Three stages of residual blocks, whose networks are slices of the largest one.

    Attributes:
        channels: Width of the first stage at 100 %. The other stages have 2 and 4 times as many
            channels.
        cells: Number of blocks in each stage of the supernet; all but the first can be skipped.
        widths: Candidate widths of a stage in percent.
        expansions: Candidate widths inside a block, in percent of the width of its stage at 100 %.
        kernels: Candidate kernel sizes: 3, 5 and 7.
    """

    name: str = "elastic"
    genotype: ClassVar[type[AnyGenotype]] = Genotype
    supports_skip_dropout: ClassVar[bool] = False
    inherits: ClassVar[bool] = True
    size_keys: ClassVar[tuple[str, ...]] = ("channels",)
    channels: int = number(32, low=1)
    cells: int = number(2, low=1, high=1000)
    widths: list[int] = field(default_factory=lambda: [50, 75, 100])
    expansions: list[int] = field(default_factory=lambda: [25, 50, 100, 200])
    kernels: list[int] = field(default_factory=lambda: [3])

    def __post_init__(self) -> None:
        percent = range(1, LARGEST + 1)
        for key, allowed in (("widths", percent), ("expansions", percent), ("kernels", KERNELS)):
            values = getattr(self, key)
            if not values or len(set(values)) != len(values) or not set(values) <= set(allowed):
                shown = f"1 to {LARGEST} %" if allowed is percent else "3, 5 and 7"
                raise ValueError(
                    f"space.{key}={values}: must contain at least one value and no value twice; "
                    f"choose from {shown}"
                )

    def supernet(self, **options: Any) -> Supernet:
        return Supernet(self, **self.supported(options, depth=1, partial=1, auxiliary_skip=0))

    def network(self, genotype: Genotype, **options: Any) -> Network:
        return Network(genotype, channels=self.channels, **self.supported(options, auxiliary=0))

    @classmethod
    def reference(cls, genotype: Genotype) -> Elastic:
        specs = [BlockSpec.parse(name) for name in genotype.blocks if name != SKIP]
        return cls(
            cells=max(map(len, genotype.stages)),
            widths=sorted({spec.width for spec in specs if spec.width is not None}),
            expansions=sorted({spec.expansion for spec in specs}),
            kernels=sorted({spec.kernel for spec in specs}),
        )

    def extremes(self) -> tuple[Genotype, Genotype]:
        names: list[list[str]] = []
        for best in (min, max):
            kernel, expansion = best(self.kernels), best(self.expansions)
            first = block_names([best(self.widths)], [kernel], [expansion])[0]
            rest = SKIP if best is min else block_names([None], [kernel], [expansion])[0]
            names.append([first if plan.is_first else rest for plan in self._plans])
        return self.genotype_of(names[0]), self.genotype_of(names[1])

    def inherit(self, genotype: Genotype, supernet: SupernetBase) -> Network:
        assert isinstance(supernet, Supernet)
        stem = supernet.stem[0]
        assert isinstance(stem, nn.Conv2d)
        net = Network(
            genotype,
            channels=supernet.channels,
            classes=supernet.classifier.out_features,
            in_channels=stem.in_channels,
        ).to(stem.weight)
        copy_slices(net.stem, supernet.stem)
        copy_slices(net.classifier, supernet.classifier)
        for block, mixed in zip(net.blocks, supernet.blocks, strict=True):
            if isinstance(block, nn.Identity):
                continue
            assert isinstance(mixed, MixedBlock)
            conv, norm, _, project, project_norm = block.layers  # type: ignore[misc]
            with torch.no_grad():
                conv.weight.copy_(mixed.kernel(conv.kernel_size[0], *conv.weight.shape[:2]))
            copy_slices(norm, mixed.norm)
            copy_slices(project, mixed.project)
            copy_slices(project_norm, mixed.project_norm)
        return net

    def choices(self) -> dict[str, tuple[str, ...]]:
        return {f"block{n}": self.candidates_of(plan) for n, plan in enumerate(self._plans)}

    def candidates_of(self, plan: BlockPlan) -> tuple[str, ...]:
        """Return the candidates of a block, in the order of the columns of the alphas."""
        if plan.is_first:
            return block_names(self.widths, self.kernels, self.expansions)
        return (*block_names([None], self.kernels, self.expansions), SKIP)

    def genotype_of(self, operations: Sequence[str]) -> Genotype:
        return Genotype(tuple(operations))

    def operations_of(self, genotype: Genotype) -> tuple[str, ...]:
        depths = [len(stage) for stage in genotype.stages]
        if depths != [self.cells] * STAGES:
            raise ValueError(
                f"the stages of the genotype have {', '.join(map(str, depths))} blocks, not "
                f"{self.cells}; set space.cells"
            )
        return super().operations_of(genotype)

    def rows(self, candidates: Candidates) -> list[tuple[str, int]]:
        return [(plan.group, plan.row) for plan in self._plans]

    def pieces(self, *, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        """Yield stem, blocks and classifiers.

        The cost of a block depends on the width of its input, so there is a piece for each pair of
        this width and a candidate. The first stage has an input of one width.
        """
        in_channels, *sides = sample_shape
        yield NetworkPiece(partial(make_stem, in_channels, self.channels), tuple(sample_shape))
        inputs = [self.channels]  # candidate widths of the input of a block
        for plan in self._plans:
            widths = [width_of(self.channels, plan.stage, percent) for percent in self.widths]
            if plan.is_first:
                sides = [-(-side // 2) for side in sides]
            group = plan.group if plan.is_first and plan.stage == 0 else f"{plan.group}_inputs"
            row = plan.row - (plan.is_first and plan.stage > 0)
            names = [name for name in self.candidates_of(plan) if name != SKIP]
            for column, (width, name) in enumerate(product(inputs, names)):
                spec = BlockSpec.parse(name)
                outputs = width_of(self.channels, plan.stage, spec.width) if spec.width else width
                hidden = width_of(self.channels, plan.stage, spec.expansion)
                make = partial(
                    make_block, width, outputs, hidden, spec.kernel, adds=not begins_stage(name)
                )
                yield NetworkPiece(make, (width, *sides), (group, row, column))
            inputs = widths
        for column, width in enumerate(inputs):
            yield NetworkPiece(partial(nn.Linear, width, classes), (width,), ("head", 0, column))

    def expected_usage(self, probabilities: ByGroup, candidates: Candidates) -> dict[str, Tensor]:
        """Return the probability of each piece, exact if blocks are drawn independently.

        The result has more groups than ``Space.expected_usage``: ``"first_inputs"``,
        ``(stages - 1, widths * columns)``, and ``"rest_inputs"`` for pairs of an input width and a
        candidate; ``"head"``, ``(1, widths)``, for the width of the last stage.
        """
        usage = super().expected_usage(probabilities, candidates)
        first = usage["first"]
        widths = first.view(STAGES, len(self.widths), -1).sum(-1)  # of each stage

        def pairs(stage: int, row: Tensor) -> Tensor:
            return torch.outer(widths[stage], row).flatten()

        usage["first_inputs"] = torch.stack([pairs(n - 1, first[n]) for n in range(1, STAGES)])
        usage["head"] = widths[-1:]
        if "rest" in usage:
            rest = zip([p for p in self._plans if not p.is_first], usage["rest"], strict=True)
            usage["rest_inputs"] = torch.stack([pairs(p.stage, row[:-1]) for p, row in rest])
        return usage

    @property
    def _plans(self) -> list[BlockPlan]:
        return list(plan_blocks([self.cells] * STAGES))


def copy_slices(module: nn.Module, source: nn.Module) -> None:
    """Copy the first entries of the tensors of a larger module of the same kind."""
    larger = source.state_dict()
    for name, tensor in module.state_dict().items():
        tensor.copy_(larger[name][tuple(slice(size) for size in tensor.shape)])
