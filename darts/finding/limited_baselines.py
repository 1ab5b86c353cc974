"""Baselines in a space that the user chose, and baselines that are too large for the limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from random import Random

import torch

from darts.finding.candidates import Networks
from darts.judging.devices.cell_features import is_connected
from darts.spaces import AnyGenotype
from darts.spaces.parameters import Point

# Changes of one parameter that are measured for each step towards the limits.
MAX_CHANGES = 60


def largest_architecture(networks: Networks) -> AnyGenotype:
    """Return an architecture with many MACs.

    Starting from a random architecture, set each parameter in turn to the value with the most MACs.
    """
    space, generator = networks.space, torch.Generator().manual_seed(0)
    drawn = iter(lambda: space.random(generator).simplified(), None)
    largest = next(filter(is_connected, drawn))
    for parameter in space.parameters():
        point = space.encode(largest)
        options = getattr(parameter.domain, "values", ()) if parameter.name in point else ()
        for value in options:
            macs = networks.costs(largest)["macs"]
            changed = networks.architecture({**point, parameter.name: value})
            if changed is not None and networks.costs(changed)["macs"] > macs:
                largest, point = changed, space.encode(changed)
    return largest


def reduced_architecture(networks: Networks, genotype: AnyGenotype) -> AnyGenotype | None:
    """Return an architecture within the limits that is similar to a given one.

    While the architecture exceeds a limit, changes of one parameter are measured. They are made
    in the order of how much they lower the excess per MAC removed, until the excess has fallen to
    its square root. At the end, changes are undone if there is room for it after all. This keeps,
    for example, skip connections, which have no MACs.

    Args:
        networks: Networks with their limits.
        genotype: An architecture of their space.

    Returns:
        None if the space cannot vary the architecture, or if the limits were not reached.
    """
    space, random = networks.space, Random(0)
    if next(iter(space.moves(genotype)), None) is not None:
        return _reduced_by_moves(networks, genotype)
    try:
        original = space.encode(genotype)
    except ValueError:
        return None
    current = space.decode(original)
    while (excess := networks.excess(current)) > 1:
        point = space.encode(current)
        for change in _changes(networks, current, random):
            changed = networks.architecture({**space.encode(current), **change})
            if changed is not None and networks.excess(changed) < networks.excess(current):
                current = changed
            if networks.excess(current) <= math.sqrt(excess):
                break
        if space.encode(current) == point:
            return None
    for name in sorted(original):
        point = {**original, **space.encode(current), name: original[name]}
        restored = networks.architecture(point)
        if restored is not None and networks.fits(restored):
            current = restored
    return current


def _reduced_by_moves(networks: Networks, genotype: AnyGenotype) -> AnyGenotype | None:
    """Return an architecture within the limits, by moves that lower the excess for few MACs."""
    while (excess := networks.excess(genotype)) > 1:
        macs = networks.costs(genotype)["macs"]
        lower = [
            (
                (excess - max(own, 1.0)) / (max(1 - networks.costs(each)["macs"] / macs, 0) + 1e-3),
                each,
            )
            for each in (move.genotype for move in networks.space.moves(genotype))
            if (own := networks.excess(each)) < excess
        ]
        if not lower:
            return None
        genotype = max(lower, key=lambda pair: pair[0])[1]
    return genotype


def _changes(networks: Networks, current: AnyGenotype, random: Random) -> list[Point]:
    """Return the changes of an architecture that lower its excess over the limits, best first."""
    point = networks.space.encode(current).items()
    excess, macs = networks.excess(current), networks.costs(current)["macs"]
    changes: list[tuple[float, Point]] = []
    for varied in islice(networks.neighbors(current, random), MAX_CHANGES):
        gain = excess - max(networks.excess(varied), 1.0)  # more would remove too much
        loss = max(macs - networks.costs(varied)["macs"], 0.0) / max(macs, 1.0)
        if gain > 0:
            change = dict(networks.space.encode(varied).items() - point)
            changes.append((gain / (loss + 1e-3), change))
    return [change for _, change in sorted(changes, key=lambda item: -item[0])]


def within_limits(
    networks: Networks, baselines: Mapping[str, AnyGenotype]
) -> dict[str, AnyGenotype]:
    """Return the baselines within the limits; smaller ones replace those that exceed a limit.

    If several compute the same function, one remains: the first that fits, or else the first.
    """
    fitting = {name: genotype for name, genotype in baselines.items() if networks.fits(genotype)}
    functions = {genotype.function: name for name, genotype in reversed(fitting.items())}
    chosen: dict[str, AnyGenotype] = {}
    for name, genotype in baselines.items():
        found = genotype if name in fitting else reduced_architecture(networks, genotype)
        if found is not None and functions.setdefault(found.function, name) == name:
            chosen[name if name in fitting else f"{name}_reduced"] = found
    return chosen
