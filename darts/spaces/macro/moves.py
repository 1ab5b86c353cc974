"""Changes of a genotype with a shape, and networks that inherit the weights of another one.

All parts that a network may gain begin without effect: residual blocks as the identity, further
kernels and classifiers with zeros. New channels have random weights, but no old channel reads them
at first: these weights are zero. A network that inherits the weights of a smaller one therefore
computes the same function. New weights behind zeros learn from the second step on.

References:
    Chen, Goodfellow and Shlens, "Net2Net", arXiv:1511.05641: networks that grow and keep their
    function. There, new channels are copies of old ones.
    Wei et al., "Network Morphism", arXiv:1603.01670.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import accumulate, chain

import torch
from torch import Tensor

from darts.spaces.macro.genotype import EXCITE, STAGES, Genotype, Kernel, kernels_of, with_kernels
from darts.spaces.moves import Move

# Factor of a width that grows; narrower networks have its inverse.
GROWTH = 1.5

MAX_DEPTH = 12  # blocks of a stage
MAX_KERNEL = 9
DILATIONS = (2, 4, 8)


def moves(genotype: Genotype) -> Iterator[Move]:
    """Yield all changes of a genotype with a shape by one step."""
    shape = genotype.shape
    assert shape is not None
    wider = [_grown(width) for width in shape.widths]
    yield Move("wider", _reshaped(genotype, widths=tuple(wider)))
    narrower = tuple(_shrunk(width) for width in shape.widths)
    if narrower != shape.widths:
        yield Move("narrower", _reshaped(genotype, widths=narrower), keeps_function=False)
    for stage, blocks in enumerate(genotype.stages):
        where, widths = f"stage {stage + 1}", shape.widths
        own = (*widths[:stage], wider[stage], *widths[stage + 1 :])
        yield Move(f"wider {where}", _reshaped(genotype, widths=own))
        if len(blocks) < MAX_DEPTH:
            for name in ("res_3x3", EXCITE):
                yield Move(f"{name} in {where}", _restaged(genotype, stage, (*blocks, name)))
        if len(blocks) > 1:
            shorter = _restaged(genotype, stage, blocks[:-1])
            yield Move(f"{blocks[-1]} left out in {where}", shorter, keeps_function=False)
        for label, changed in _with_other_kernels(blocks):
            yield Move(f"{label} in {where}", _restaged(genotype, stage, changed))
        pools = (*shape.pools[:stage], 3 - shape.pools[stage], *shape.pools[stage + 1 :])
        label = "no pooling" if shape.pools[stage] == 2 else "pooling"
        moved = _reshaped(genotype, pools=pools)
        yield Move(f"{label} in {where}", moved, keeps_function=False)
    for name in ("max_1", "mean_1", "max_3"):
        if name not in shape.heads:
            yield Move(f"head {name}", _reshaped(genotype, heads=(*shape.heads, name)))
    for parts in (2, 3) if shape.parts == 1 else (1,):
        heads = tuple(dict.fromkeys((*shape.heads, f"max_{parts}")))
        moved = _reshaped(genotype, parts=parts, heads=heads)
        yield Move(f"{parts}x{parts} parts", moved, keeps_function=False)


def _with_other_kernels(blocks: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the blocks of a stage with larger kernels, and with one more kernel each."""
    known = [kernels_of(name) for name in blocks]
    found = [kernels for kernels in known if kernels]
    if not found:
        return

    def changed(make: Mapping[tuple[Kernel, ...], tuple[Kernel, ...]]) -> tuple[str, ...]:
        pairs = zip(blocks, known, strict=True)
        return tuple(with_kernels(name, make[own]) if own else name for name, own in pairs)

    largest = max(kernels[0].size for kernels in found)
    grown = {
        kernels: (Kernel(kernels[0].size + 2, kernels[0].dilation), *kernels[1:])
        for kernels in found
    }
    if largest < MAX_KERNEL and all(
        len(set(kernels)) == len(kernels) for kernels in grown.values()
    ):
        yield "larger kernels", changed(grown)
    for dilation in DILATIONS:
        added = Kernel(3, dilation)
        if all(added not in kernels for kernels in found):
            wider = {kernels: (*kernels, added) for kernels in found}
            yield f"kernels {added}", changed(wider)
            break


def _grown(width: int) -> int:
    """Return a larger width, a multiple of 8 above 16."""
    return _rounded(width * GROWTH) if width > 1 else 2


def _shrunk(width: int) -> int:
    return max(_rounded(width / GROWTH), 1)


def _rounded(width: float) -> int:
    step = 8 if width > 16 else 1
    return round(width / step) * step


def _reshaped(genotype: Genotype, **changes: object) -> Genotype:
    shape = genotype.shape
    assert shape is not None
    return replace(genotype, shape=replace(shape, **changes))  # type: ignore[arg-type]


def _restaged(genotype: Genotype, stage: int, blocks: tuple[str, ...]) -> Genotype:
    stages = [blocks if n == stage else own for n, own in enumerate(genotype.stages)]
    return Genotype(tuple(chain(*stages)), tuple(map(len, stages)), genotype.shape)


def inherited_tensors(
    genotype: Genotype, parent: Genotype, own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors of a network after it has inherited from another network.

    A block inherits from the block at the same place of the same stage, if the operation differs in
    its kernels only.

    Args:
        genotype: The architecture.
        parent: The architecture of the other network.
        own: Tensors by name, for example a new network's state dict, or zeros for momenta.
        theirs: Tensors of the other network.
    """
    positions = _positions(parent)
    names = {}
    for place, index in _positions(genotype).items():
        origin = positions.get(place)
        if origin is not None and _kind(genotype.blocks[index]) == _kind(parent.blocks[origin]):
            names[f"blocks.{index}"] = f"blocks.{origin}"
    tensors = {}
    for name, tensor in own.items():
        block = ".".join(name.split(".")[:2])
        if name.startswith("blocks."):
            source = theirs.get(names[block] + name.removeprefix(block)) if block in names else None
        else:
            source = theirs.get(name)
        tensors[name] = tensor if source is None else embedded(tensor, source)
    return tensors


def _positions(genotype: Genotype) -> dict[tuple[int, int], int]:
    """Return the index of each block by its stage and its place in it."""
    begins = [0, *accumulate(genotype.depths)]
    return {
        (stage, place): begins[stage] + place
        for stage in range(STAGES)
        for place in range(genotype.depths[stage])
    }


def _kind(name: str) -> str:
    return name.partition("_")[0] if kernels_of(name) else name


@torch.no_grad()
def embedded(own: Tensor, source: Tensor) -> Tensor:
    """Return a tensor with another one in its first channels, and in the center of its kernel.

    Old output channels do not read new input channels, and the border of larger kernels is zero for
    them. Of a larger tensor, the first channels and the center remain.

    Args:
        own: ``(outputs, inputs, height, width)``, or with fewer axes.
        source: The same number of axes, on any device.
    """
    if own.shape == source.shape:
        return source.to(own, copy=True)
    result = own.clone()
    channels = [slice(min(pair)) for pair in zip(own.shape[:2], source.shape[:2], strict=True)]
    sides = list(zip(own.shape[2:], source.shape[2:], strict=True))
    target = [slice((a - min(a, b)) // 2, (a + min(a, b)) // 2) for a, b in sides]
    origin = [slice((b - min(a, b)) // 2, (b + min(a, b)) // 2) for a, b in sides]
    if own.dim() > 1:
        result[channels[0]] = 0
    result[tuple(channels + target)] = source[tuple(channels + origin)].to(result)
    return result
