"""Parts: what methods are combined from, and where they are found by name.

A part is a dataclass. Its fields are its options, with their limits, so that the class serves as
the type of its YAML as well; its methods are what it does. Each kind of part has a package and a
registry, and the modules of the package are the parts: a new one is one more file in the folder.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

Kind = TypeVar("Kind", bound=type)


def choice(default: str, *choices: str) -> Any:
    """A field whose value is one of the given words."""
    return dataclasses.field(default=default, metadata={"choices": choices})


def number(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A finite number, or a list of them, within bounds; ``above`` and ``below`` exclude theirs."""
    metadata = {"limits": {"low": low, "high": high, "above": above, "below": below}}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Registry(Mapping[str, Any]):
    """The parts of one kind by name; a mapping.

    Args:
        group: the kind, which is also the name of the group of YAML files.
        package: whose modules define the parts. They are imported when somebody first asks.
    """

    def __init__(self, group: str, package: str) -> None:
        self.group = group
        self._package = package
        self._parts: dict[str, type] = {}
        self._complete = False

    def register(self, part: Kind) -> Kind:
        """Class decorator: list a part by the default of its field ``name``.

        Raises:
            ValueError: when the name is taken by another class.
        """
        name = part.name  # type: ignore[attr-defined]
        if self._parts.get(name, part) is not part:
            raise ValueError(f"{self.group} {name!r} is registered already")
        self._parts[name] = part
        return part

    def _all(self) -> dict[str, type]:
        if not self._complete:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__, f"{self._package}."):
                importlib.import_module(module.name)
            self._complete = True  # not before: a module that fails shall fail again
        return self._parts

    def __getitem__(self, name: str) -> Any:
        parts = self._all()
        if name not in parts:
            known = ", ".join(sorted(parts))
            raise ValueError(f"unknown {self.group} {name!r}; choose from {known}")
        return parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all()))

    def __len__(self) -> int:
        return len(self._all())
