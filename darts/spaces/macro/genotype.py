"""Genotype of the ``macro`` space: the operation of each block, from the stem to the head.

A genotype may also have a *shape*: widths, pooling and heads. ``darts find`` changes blocks and
shapes.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 4.1: kernel sizes and expansions of
    inverted residual blocks; skipping a block makes the network shallower.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import ClassVar, NamedTuple

from darts.spaces.any_genotype import ChainGenotype
from darts.spaces.genotype_text import entries_of, read_json, short_repr, strip_text, write_json

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

# Scales each channel by a function of the means of all channels. In genotypes with a shape only.
EXCITE = "excite"

# `conv_5x5`, `res_3x3_d2` with dilation 2, or `conv_3x3+5x5_d4`: the sum of two convolutions.
_CONVOLUTION = re.compile(r"(conv|res)((?:[_+][3579]x[3579](?:_d[2-9])?)+)", re.ASCII)
_KERNEL = re.compile(r"(\d)x(\d)(?:_d(\d))?", re.ASCII)
_HEAD = re.compile(r"(max|mean)_([1-9])", re.ASCII)


class Kernel(NamedTuple):
    """Size and dilation of a square kernel."""

    size: int
    dilation: int = 1

    def __str__(self) -> str:
        return f"{self.size}x{self.size}" + (f"_d{self.dilation}" if self.dilation > 1 else "")


def kernels_of(name: str) -> tuple[Kernel, ...]:
    """Return the kernels of ``conv_...`` or ``res_...``; () for other operations.

    The outputs of several kernels are summed.
    """
    match = _CONVOLUTION.fullmatch(name)
    if match is None:
        return ()
    found = [(int(a), int(b), int(d or 1)) for a, b, d in _KERNEL.findall(match[2])]
    kernels = tuple(Kernel(size, dilation) for size, _, dilation in found)
    is_valid = all(a == b for a, b, _ in found) and len(set(kernels)) == len(kernels)
    return kernels if is_valid else ()


def with_kernels(name: str, kernels: Sequence[Kernel]) -> str:
    """Return the name of a convolution with other kernels."""
    return f"{name.partition('_')[0]}_{'+'.join(map(str, kernels))}"


@dataclass(frozen=True)
class Shape:
    """Sizes of a network, which replace the sizes of the space.

    Attributes:
        widths: Channels of each stage.
        pools: Whether max pooling halves the images in each stage (2) or not (1).
        heads: Poolings before the linear classifier: ``max_3`` takes the maximum of each cell of a
            3x3 grid. The logits of several are summed.
        parts: The blocks run on each cell of a grid of ``parts`` times ``parts`` separately; 1 for
            the whole image.
    """

    widths: tuple[int, ...]
    pools: tuple[int, ...] = (2,) * STAGES
    heads: tuple[str, ...] = ("max_1",)
    parts: int = 1

    def __post_init__(self) -> None:
        for key, low, high in (("widths", 1, 65_536), ("pools", 1, 2)):
            values = entries_of(key, getattr(self, key))
            if len(values) != STAGES or any(
                type(value) is not int or not low <= value <= high for value in values
            ):
                raise ValueError(
                    f"{key}={short_repr(list(values))}: must be {STAGES} integers from {low} to "
                    f"{high}"
                )
            object.__setattr__(self, key, values)
        heads = entries_of("heads", self.heads)
        object.__setattr__(self, "heads", heads)
        known = [isinstance(name, str) and _HEAD.fullmatch(name) for name in heads]
        if not all(known) or len(set(heads)) != len(heads):
            raise ValueError(
                f"heads={short_repr(list(heads))}: must be different names like max_1, max_3 and "
                "mean_1"
            )
        if type(self.parts) is not int or not 1 <= self.parts <= 9:
            raise ValueError(f"parts={short_repr(self.parts)}: must be an integer from 1 to 9")

    @classmethod
    def read(cls, value: object) -> Shape:
        """Return the shape of a JSON object; raise ValueError for other values."""
        fields = set(cls.__dataclass_fields__)
        if not isinstance(value, Mapping) or not {"widths"} <= value.keys() <= fields:
            raise ValueError(
                f"shape={short_repr(value)}: must be an object with widths and, if needed, "
                f"{', '.join(sorted(fields - {'widths'}))}"
            )
        return cls(**value)

    def head_sides(self) -> dict[str, tuple[str, int]]:
        """Return how each head pools, and the side of its grid, by its name."""
        pairs = {name: name.split("_") for name in self.heads}
        return {name: (kind, int(side)) for name, (kind, side) in pairs.items()}


@dataclass(frozen=True)
class Genotype(ChainGenotype):
    """The operation of each block of a network, in three stages.

    Attributes:
        depths: Number of blocks in each stage, including skipped blocks; if it is not given, the
            stages have equal length. JSON text then has one list for all stages, otherwise one for
            each stage.
        shape: Sizes of the network; None to use the sizes of the space.
    """

    blocks: tuple[str, ...]
    depths: tuple[int, ...] = ()
    shape: Shape | None = None

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
            keeps = name in (*KEEP_SHAPE, EXCITE) or name.startswith("res_")
            if keeps and position in starts:
                raise ValueError(f"block {position} begins a stage and cannot be {name}")
            if name not in self.vocabulary and self.shape is None:
                raise ValueError(f"block {position}: {name} needs a genotype with a shape")
            if name == PROJECTION and position not in starts:
                raise ValueError(f"block {position} does not begin a stage and cannot be {name}")

    @property
    def depth(self) -> int:
        return max(self.depths)

    def canonical(self) -> Genotype:
        """Return the same architecture with the skipped blocks at the end of each stage."""
        ordered = [sorted(stage, key=lambda name: name == "skip_connect") for stage in self.stages]
        return Genotype(tuple(name for stage in ordered for name in stage), self.depths, self.shape)

    @classmethod
    def check_operation(cls, name: object) -> None:
        if name != EXCITE and not (isinstance(name, str) and kernels_of(name)):
            super().check_operation(name)

    @property
    def json_lines(self) -> Sequence[Sequence[object]]:
        if len(set(self.depths)) == 1:
            return self.stages
        return [[stage] for stage in self.stages]

    def to_json(self) -> str:
        shape = {} if self.shape is None else {"shape": asdict(self.shape)}
        return write_json(self.space, {"blocks": self.json_lines, **shape})

    @classmethod
    def parse(cls, text: str) -> Genotype:
        stripped = strip_text(text)
        has_shape = re.search(r'"shape"\s*:', stripped) is not None
        names = ("blocks", "shape") if has_shape else ("blocks",)
        fields = read_json(stripped, cls.space, names)
        return cls(fields["blocks"], shape=Shape.read(fields["shape"]) if has_shape else None)

    @property
    def stages(self) -> list[tuple[str, ...]]:
        """The operations of each stage."""
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
