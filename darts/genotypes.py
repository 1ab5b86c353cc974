"""List, draw, validate and compare genotypes: ``darts genotypes``.

Keys that people use first::

    Keys: validate=GENOTYPE draw=GENOTYPE compare=[A,B] out=FILE.svg
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from darts.config import ConfigError, GenotypesConfig, Invocation, launch
from darts.plotting.genotype import compare_genotypes, save_genotype
from darts.plotting.style import figure_format, save_figure
from darts.spaces import SPACES, AnyGenotype, space_of
from darts.spaces.describe import difference
from darts.spaces.lookup import find_genotype
from darts.tracking import print_lines, print_summary
from darts.tracking.formats import aligned
from darts.training.cost import count_parameters


def check(config: GenotypesConfig) -> None:
    """Raise ``ConfigError`` if the configuration is invalid."""
    actions = [key for key in ("draw", "validate", "compare") if getattr(config, key) is not None]
    if len(actions) > 1:
        raise ConfigError(f"{' and '.join(actions)} are mutually exclusive; use one of them")
    if config.out is not None and "draw" not in actions and "compare" not in actions:
        raise ConfigError(f"out={config.out!r}: needs draw or compare")
    if config.out is not None:
        figure_format(config.out)
    if config.compare is not None and len(config.compare) != 2:
        raise ConfigError(f"compare={config.compare}: must be two genotypes, as in compare=[A,B]")


def genotypes(config: GenotypesConfig, call: Invocation) -> None:
    """Draw, validate or compare genotypes, or list the published ones."""
    if config.draw is not None:
        name, genotype = find_genotype(config.draw)
        out = Path(config.out or f"{name}.svg")
        save_genotype(genotype, out, title=name)
        print_lines(f"wrote {out}")
    elif config.validate is not None:
        describe(*find_genotype(config.validate))
    elif config.compare is not None:
        compare(config.compare, config.out)
    else:
        list_published()


def describe(name: str, genotype: AnyGenotype) -> None:
    """Print the cells and operations of a genotype, and the parameters of its network.

    The network has the reference sizes of the space.
    """
    space = space_of(genotype)
    rows: dict[str, object] = {"genotype": str(genotype), "space": space.name}
    for cell in genotype.cells:
        counts = Counter(operation for _, _, operation in genotype.edges(cell))
        rows[cell] = f"{genotype.nodes(cell)} nodes: " + ", ".join(
            f"{count} {operation}" for operation, count in sorted(counts.items())
        )
    sizes, descriptions = space.reference_sizes()
    network = space.network(genotype, auxiliary=False, drop_path=0.0, **sizes)
    rows["parameters"] = count_parameters(network.parameters())
    size = [f"{key}={getattr(space, key)}" for key in ("channels", "cells") if hasattr(space, key)]
    rows["network"] = ", ".join([*size, *descriptions])
    print_summary(f"{name} is valid", rows)


def compare(references: Sequence[str], out: str | None) -> None:
    """Print the differences between two genotypes; draw both side by side if ``out`` is a file."""
    (first, a), (second, b) = (find_genotype(reference) for reference in references)
    if a.space != b.space:
        raise ConfigError(
            f"compare={list(references)}: the genotypes are from the spaces {a.space} and "
            f"{b.space}; choose two from the same space"
        )
    lines = difference(a, b)
    count = f"{len(lines)} difference{'s' if len(lines) > 1 else ''}" if lines else "equal"
    print_lines(f"{first} and {second}: {count}", *(f"  {line}" for line in lines))
    if out is not None:
        save_figure(compare_genotypes(a, b, (first, second)), Path(out))
        print_lines(f"wrote {out}")


def list_published() -> None:
    """Print the published genotypes of each space with their papers and reported results."""
    for space in SPACES.values():
        rows = []
        for entry in space.published.values():
            paper = f"{entry.paper}, arXiv:{entry.arxiv}"
            note = f" ({entry.note})" if entry.note else ""
            size = "" if entry.parameters_million is None else f"{entry.parameters_million:g} M"
            rows.append((entry.name, entry.result, size, paper + note))
        if rows:
            measure = next(iter(space.published.values())).measure
            rows.insert(0, ("name", measure, "parameters", "paper"))
            print_lines(*aligned(rows))


def main() -> None:
    """Entry point of ``darts-genotypes``."""
    launch("genotypes", check, genotypes)


if __name__ == "__main__":
    main()
