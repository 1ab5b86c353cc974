"""Genotype of the ``macro`` space: the operation of each block, from the stem to the head.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 4.1: kernel sizes and expansions of
    inverted residual blocks; skipping a block makes the network shallower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import ClassVar

from darts.spaces.any_genotype import ChainGenotype
from darts.spaces.genotype_text import entries_of

STAGES = 3

# The candidates, in the order of the alphas' columns. `mb_k3_e6` is an inverted residual block
# with kernel size 3 and expansion 6. `skip_connect` skips a block; a stage cannot begin with it.
PRIMITIVES = (*(f"mb_k{kernel}_e{n}" for kernel in (3, 5, 7) for n in (3, 6)), "skip_connect")

# A 1x1 convolution that only changes width and image size. A stage may begin with it instead of
# with an inverted residual block; nothing else may use it.
PROJECTION = "conv_1x1"

# Convolutions with batch norm and activation, without a residual connection. They are candidates
# of the skeletons `plain` and `fast`.
CONVOLUTIONS: tuple[str, ...] = ("conv_3x3", "conv_5x5")

# A 3x3 convolution with batch norm and activation, a ConvNeXt-like block, and attention over all
# positions. They add their input, so they keep width and image size. They are candidates of the
# skeleton `fast`.
RESIDUALS: tuple[str, ...] = ("res_3x3", "convnext_k7", "attention")

# The operations that no stage can begin with.
KEEP_SHAPE: tuple[str, ...] = ("skip_connect", *RESIDUALS)


@dataclass(frozen=True)
class Genotype(ChainGenotype):
    """The operation of each block of a network, in three stages.

    Attributes:
        depths: Number of blocks in each stage, including skipped blocks; if it is not given, the
            stages have equal length. JSON text then has one list for all stages, otherwise one for
            each stage.
    """

    blocks: tuple[str, ...]
    depths: tuple[int, ...] = ()

    space: ClassVar[str] = "macro"
    cells: ClassVar[tuple[str, ...]] = ("blocks",)
    vocabulary: ClassVar[tuple[str, ...]] = (*PRIMITIVES, PROJECTION, *CONVOLUTIONS, *RESIDUALS)

    def __post_init__(self) -> None:
        blocks, depths = entries_of("blocks", self.blocks), self.depths
        if not depths and all(isinstance(stage, list) for stage in blocks):
            depths = tuple(map(len, blocks))
            blocks = tuple(chain.from_iterable(blocks))
        for name in blocks:
            self.check_operation(name)
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "depths", _checked_depths(len(blocks), depths))
        starts = {sum(self.depths[:stage]) for stage in range(STAGES)}
        for position, name in enumerate(self.blocks):
            if name in KEEP_SHAPE and position in starts:
                raise ValueError(f"block {position} begins a stage and cannot be {name}")
            if name == PROJECTION and position not in starts:
                raise ValueError(f"block {position} does not begin a stage and cannot be {name}")

    @property
    def depth(self) -> int:
        return max(self.depths)

    def canonical(self) -> Genotype:
        """Return the same architecture with the skipped blocks at the end of each stage."""
        ordered = [sorted(stage, key=lambda name: name == "skip_connect") for stage in self._stages]
        return Genotype(tuple(name for stage in ordered for name in stage), self.depths)

    @property
    def json_lines(self) -> Sequence[Sequence[object]]:
        if len(set(self.depths)) == 1:
            return self._stages
        return [[stage] for stage in self._stages]

    @property
    def _stages(self) -> list[tuple[str, ...]]:
        blocks = iter(self.blocks)
        return [tuple(islice(blocks, depth)) for depth in self.depths]


def _checked_depths(count: int, depths: Sequence[int]) -> tuple[int, ...]:
    """Return the number of blocks in each stage; without ``depths``, divide ``count`` evenly."""
    if depths:
        if len(depths) != STAGES or min(depths) < 1 or sum(depths) != count:
            raise ValueError(
                f"the stages have {', '.join(map(str, depths))} blocks; {STAGES} stages of at "
                f"least one block and {count} blocks in total are needed"
            )
        return tuple(depths)
    if not count or count % STAGES:
        raise ValueError(
            f"blocks lists {count} operations; {STAGES} stages of equal length need a positive "
            f"multiple of {STAGES}"
        )
    return (count // STAGES,) * STAGES
