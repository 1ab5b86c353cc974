"""Recurrent cells as points, and drawing one at random.

Each node has a parameter for its activation and, from the second on, one for its predecessor: the
first has only state 0. So each genotype is one point.

References:
    The uniform distribution over cells is the random-search baseline of DARTS, arXiv:1806.09055,
    section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.recurrent.genotype import ACTIVATIONS, Genotype


def random_genotype(generator: torch.Generator, nodes: int) -> Genotype:
    """Draw a cell of so many nodes, each with the same probability; all of them are put out.

    Args:
        generator: the only source of randomness; equal states give equal genotypes.
    """

    def below(count: int) -> int:
        return int(torch.randint(count, (), generator=generator, device=generator.device))

    pairs = [(ACTIVATIONS[below(len(ACTIVATIONS))], below(node)) for node in range(1, nodes + 1)]
    return Genotype(pairs, range(1, nodes + 1))


def parameters(nodes: int) -> list[Parameter]:
    """Predecessor and activation of each node."""
    found: list[Parameter] = []
    for node in range(1, nodes + 1):
        if node > 1:
            found.append(Parameter(f"node{node}.source", Choice(tuple(range(node)))))
        found.append(Parameter(f"node{node}.activation", Choice(ACTIVATIONS)))
    return found


def encode(genotype: Genotype, nodes: int) -> Point:
    """The genotype as a point of ``parameters``.

    Raises:
        ValueError: when it is none of the space's: nodes or outputs.
    """
    whole = tuple(range(1, nodes + 1))
    if genotype.nodes() != nodes or tuple(sorted(genotype.outputs)) != whole:
        raise ValueError(
            f"a cell of space.nodes={nodes} has as many nodes and puts out the mean of all of them"
        )
    point: Point = {}
    for source, node, activation in genotype.edges():
        if node > 1:
            point[f"node{node}.source"] = source
        point[f"node{node}.activation"] = activation
    return point


def decode(point: Mapping[str, Value], nodes: int) -> Genotype:
    """The genotype that ``encode`` makes this point of."""
    pairs = [
        (str(point[f"node{node}.activation"]), int(point.get(f"node{node}.source") or 0))
        for node in range(1, nodes + 1)
    ]
    return Genotype(pairs, range(1, nodes + 1))
