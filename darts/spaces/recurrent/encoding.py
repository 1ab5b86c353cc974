"""Recurrent cells as points of a parameter space, and random cells.

Each node has a parameter for its activation and one for its predecessor. Node 1 can only read
state 0, so it has no predecessor parameter. Each genotype is exactly one point.

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
    """Draw a cell from the uniform distribution; its output is the mean of all nodes.

    Args:
        generator: the only source of randomness; equal states give equal genotypes.
        nodes: number of nodes after state 0.
    """

    def draw_below(count: int) -> int:
        return int(torch.randint(count, (), generator=generator, device=generator.device))

    pairs = [
        (ACTIVATIONS[draw_below(len(ACTIVATIONS))], draw_below(node))
        for node in range(1, nodes + 1)
    ]
    return Genotype(pairs, range(1, nodes + 1))


def parameters(nodes: int) -> list[Parameter]:
    """Return the parameters for the predecessor and the activation of each node."""
    result: list[Parameter] = []
    for node in range(1, nodes + 1):
        if node > 1:
            result.append(Parameter(f"node{node}.source", Choice(tuple(range(node)))))
        result.append(Parameter(f"node{node}.activation", Choice(ACTIVATIONS)))
    return result


def encode(genotype: Genotype, nodes: int) -> Point:
    """Return the genotype as a point of ``parameters(nodes)``.

    Raises:
        ValueError: if the genotype has another number of nodes, or not all nodes are outputs.
    """
    if genotype.nodes() != nodes or sorted(genotype.outputs) != list(range(1, nodes + 1)):
        raise ValueError(
            f"the genotype must have space.nodes={nodes} nodes, and its output must be the mean of "
            "all of them"
        )
    point: Point = {}
    for source, node, activation in genotype.edges():
        if node > 1:
            point[f"node{node}.source"] = source
        point[f"node{node}.activation"] = activation
    return point


def decode(point: Mapping[str, Value], nodes: int) -> Genotype:
    """Return the genotype of a point; the inverse of ``encode``."""
    pairs = [
        (str(point[f"node{node}.activation"]), int(point.get(f"node{node}.source") or 0))
        for node in range(1, nodes + 1)
    ]
    return Genotype(pairs, range(1, nodes + 1))
