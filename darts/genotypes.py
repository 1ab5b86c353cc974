"""List, draw, validate and compare genotypes: ``python -m darts.genotypes``."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from darts.config import ConfigError, GenotypesConfig, Invocation, launch
from darts.plotting.figures import save_figure
from darts.plotting.genotype import compare_genotypes, save_genotype
from darts.spaces import SPACES, space_of
from darts.spaces.lookup import find_genotype
from darts.spaces.describe import difference
from darts.tracking import print_summary
from darts.tracking.console import is_terminal
from darts.training.cost import count_parameters

PICTURES = (".svg", ".png", ".pdf")


def check(config: GenotypesConfig) -> None:
    """Refuse what no type rules out."""
    asked = [key for key in ("draw", "validate", "compare") if getattr(config, key) is not None]
    if len(asked) > 1:
        raise ConfigError(f"{' and '.join(asked)} do not go together; choose one")
    if config.out is not None:
        if "draw" not in asked and "compare" not in asked:
            raise ConfigError("out needs draw or compare")
        if Path(config.out).suffix.lower() not in PICTURES:
            raise ConfigError(f"out={config.out!r} must end in {', '.join(PICTURES)}")
    if config.compare is not None and len(config.compare) != 2:
        raise ConfigError(f"compare needs two genotypes, as compare=[A,B]; got {config.compare}")


def genotypes(config: GenotypesConfig, call: Invocation) -> None:
    """Do what was asked, or list the published genotypes."""
    if config.draw is not None:
        name, genotype = find_genotype(config.draw)
        out = Path(config.out or f"{name}.svg")
        save_genotype(genotype, out, title=name)
        print(f"drew {name} to {out}")
    elif config.validate is not None:
        describe(*find_genotype(config.validate))
    elif config.compare is not None:
        compare(config.compare, config.out)
    else:
        list_published()


def describe(name: str, genotype: Any) -> None:
    """Print what a valid genotype consists of."""
    space = space_of(genotype)
    rows: dict[str, Any] = {"genotype": str(genotype), "space": space.name}
    for cell in genotype.cells:
        counts = Counter(operation for _, _, operation in genotype.edges(cell))
        rows[cell] = f"{genotype.nodes(cell)} nodes: " + ", ".join(
            f"{count} {operation}" for operation, count in sorted(counts.items())
        )
    sizes, words = space.reference_sizes()
    network = space.network(genotype, **sizes)
    rows["parameters"] = count_parameters(network.parameters())
    size = [f"{key}={getattr(space, key)}" for key in ("channels", "cells") if hasattr(space, key)]
    rows["of"] = ", ".join([*size, *words])
    print_summary(f"{name} is valid", rows)


def compare(references: list[str], out: str | None) -> None:
    """Print where two genotypes differ, and draw them side by side if asked."""
    (first, a), (second, b) = (find_genotype(reference) for reference in references)
    spaces = space_of(a).name, space_of(b).name
    if spaces[0] != spaces[1]:
        raise ConfigError(
            f"compare={references} names genotypes of the spaces {spaces[0]} and {spaces[1]}; "
            "choose two of one space"
        )
    lines = difference(a, b)
    count = f"{len(lines)} difference{'s' if len(lines) > 1 else ''}" if lines else "the same"
    print(f"{first} and {second}: {count}")
    for line in lines:
        print(f"  {line}")
    if out is not None:
        save_figure(compare_genotypes(a, b, (first, second)), Path(out))
        print(f"drew both to {out}")


def list_published() -> None:
    """Print the published genotypes of each space with citation and reported result."""
    for space in SPACES.values():
        if space.published:
            _list(list(space.published.values()))


def _list(entries: list[Any]) -> None:
    columns = ("name", entries[0].measure, "parameters", "paper")
    rows = [
        (
            entry.name,
            entry.result,
            "" if entry.parameters_million is None else f"{entry.parameters_million:g} M",
            f"{entry.paper}, arXiv:{entry.arxiv}" + (f" ({entry.note})" if entry.note else ""),
        )
        for entry in entries
    ]
    if is_terminal(sys.stdout):
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns, title=entries[0].title)
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(3)]
    for row in (columns, *rows):
        print("  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]))


def main() -> None:
    """Entry point of ``darts-genotypes``."""
    launch("genotypes", check, genotypes)


if __name__ == "__main__":
    main()
