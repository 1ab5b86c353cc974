"""Baselines in a space that the user chose, and baselines that are too large for the limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

import torch

from darts.config import ConfigError
from darts.finding.candidates import Networks
from darts.judging.devices.cell_features import is_connected
from darts.spaces import AnyGenotype
from darts.spaces.parameters import Parameters, Point

MAX_CHANGES = 60
"""Changes of one parameter that are measured for each step towards the limits."""


def largest_architecture(networks: Networks) -> AnyGenotype:
    """Return an architecture with many MACs within the limits.

    Starting from a random architecture, set each parameter in turn to the value with the most MACs.
    A result beyond the limits is reduced.
    """
    generator = torch.Generator().manual_seed(0)
    drawn = iter(lambda: networks.space.random(generator).simplified(), None)
    largest = _enlarged(networks, next(filter(is_connected, drawn)))
    found = largest if networks.fits(largest) else reduced_architecture(networks, largest)
    if found is None:
        raise ConfigError(f"{networks.limits}: no architecture was found within the limits")
    return found


def _enlarged(networks: Networks, genotype: AnyGenotype) -> AnyGenotype:
    """Set each parameter in turn to the value with the most MACs."""
    space = networks.space
    best = space.encode(genotype)
    for parameter in space.parameters():
        options = getattr(parameter.domain, "values", ()) if parameter.name in best else ()
        for value in options:
            changed = {**best, parameter.name: value}
            try:
                changed_genotype = space.decode(changed).simplified()
            except ValueError:  # a combination that the space does not have
                continue
            largest = networks.costs(space.decode(best))["macs"]
            larger = networks.costs(changed_genotype)["macs"] > largest
            if larger and is_connected(changed_genotype):
                best = space.encode(changed_genotype)
    return space.decode(best)


def reduced_architecture(networks: Networks, genotype: AnyGenotype) -> AnyGenotype | None:
    """Return an architecture within the limits that is similar to a given one.

    While the architecture exceeds a limit, one parameter changes at a time: the one that lowers the
    excess over the limit most per MAC removed. At the end, changes are undone if there is room for
    it after all. This keeps, for example, skip connections, which have no MACs.

    Args:
        networks: Networks with their limits.
        genotype: An architecture of their space.

    Returns:
        None if the space cannot vary the architecture, or if the limits were not reached.
    """
    if not networks.can_vary(genotype):
        return None
    space, random = networks.space, Random(0)
    point = original = space.encode(genotype)
    while True:
        current = space.decode(point)
        excess, macs = networks.excess(current), networks.costs(current)["macs"]
        if excess <= 1:
            return _restored(networks, point, original)
        best: tuple[float, Point] | None = None
        for changed, varied in _changes(networks, point, random):
            gain = excess - max(networks.excess(varied), 1.0)  # more would remove too much
            loss = max(macs - networks.costs(varied)["macs"], 0.0) / max(macs, 1.0)
            value = gain / (loss + 1e-3)
            if gain > 0 and (best is None or value > best[0]):
                best = value, changed
        if best is None:
            return None
        point = best[1]


def _restored(networks: Networks, point: Point, original: Point) -> AnyGenotype:
    """Undo single changes of an architecture as long as the limits hold."""
    space = networks.space
    for name in sorted(original):
        restored = {**original, **point, name: original[name]}
        try:
            genotype = space.decode(restored).simplified()
        except ValueError:  # a combination that the space does not have
            continue
        if is_connected(genotype) and networks.fits(genotype):
            point = space.encode(genotype)
    return space.decode(point)


def _changes(
    networks: Networks, point: Point, random: Random
) -> Iterator[tuple[Point, AnyGenotype]]:
    """Yield the connected architectures that differ in one parameter, at most ``MAX_CHANGES``.

    Operations that have no effect after the change are removed.
    """
    space = networks.space
    neighbors = Parameters(space.parameters()).neighbors(point, random)
    for changed in neighbors[:MAX_CHANGES]:
        genotype = space.decode(changed).simplified()
        if is_connected(genotype):
            yield space.encode(genotype), genotype


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
