"""The choices of a model, and the tables that describe them to a search."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from darts.spaces.module.choice import BaseChoice


@dataclass(frozen=True)
class Row:
    """One choice: a row of the alphas of its group.

    Attributes:
        key: Name of the choice.
        names: Names of the candidates.
        group: Group of all choices with as many candidates.
        index: Row within the group.
    """

    key: str
    names: tuple[str, ...]
    group: str
    index: int


def choices_of(model: nn.Module) -> dict[str, list[BaseChoice]]:
    """Return the choices of a model by key, in the order of the model.

    A choice without a key has its place in the model as its key. Another choice with this key
    therefore shares its alphas.

    Raises:
        ValueError: If there are none, or choices with one key have different candidates.
    """
    found: dict[str, list[BaseChoice]] = {}
    for path, module in model.named_modules():
        if isinstance(module, BaseChoice):
            key = path if module.key is None else module.key
            found.setdefault(key, []).append(module)
    if not found:
        raise ValueError(
            f"{type(model).__name__} contains no darts.Choice, so there is nothing to search"
        )
    for key, choices in found.items():
        if len({choice.names for choice in choices}) > 1:
            raise ValueError(
                f"the choices with the key {key!r} have different candidates: "
                + " and ".join(", ".join(choice.names) for choice in choices)
            )
    return found


def rows_of(model: nn.Module) -> list[Row]:
    """Return the rows of all choices; all rows of a group have the same number of candidates."""
    rows: list[Row] = []
    counts: dict[str, int] = {}
    for key, choices in choices_of(model).items():
        names = choices[0].names
        group = f"choices{len(names)}"
        rows.append(Row(key, names, group, counts.setdefault(group, 0)))
        counts[group] += 1
    return rows


def with_chosen(module: nn.Module, chosen: dict[int, str]) -> nn.Module:
    """Replace every choice in a module by one of its candidates, in place.

    Args:
        module: The module; a choice at the top is replaced, too.
        chosen: By ``id`` of a choice, the name of its candidate.

    Returns:
        The module, or the candidate that replaces it.
    """
    while isinstance(module, BaseChoice):
        module = module.chosen(chosen[id(module)])
    for name, child in module._modules.items():  # named_children() leaves out repeated modules
        if child is not None:
            module._modules[name] = with_chosen(child, chosen)
    return module
