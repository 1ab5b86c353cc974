"""Registries of components, and the dataclass fields that declare their options.

A component is a dataclass: its fields are its options and its methods are its behavior. The class
is also the schema of the YAML file that configures it. Each kind of component has a package and a
registry. The registry imports the modules of the package when they are needed, so adding a
component means adding a file.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

from darts.key_checks import suggestion
from darts.plugins import load_plugins, plugin_entries

Class = TypeVar("Class", bound=type)
Component = TypeVar("Component", covariant=True)


def choice(default: str, *choices: str) -> Any:  # Any, as for dataclasses.field
    """Declare a field whose value is one of ``choices``."""
    return dataclasses.field(default=default, metadata={"choices": choices})


def number(
    default: float | list[int] | list[float] | None,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:  # Any, as for dataclasses.field
    """Declare a field whose value is a finite number, or a list of them, within bounds.

    The bounds ``low`` and ``high`` are inclusive, ``above`` and ``below`` exclusive. A default list
    is copied for each instance.
    """
    metadata = {"limits": {"low": low, "high": high, "above": above, "below": below}}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Registry(Mapping[str, type[Component]]):
    """A mapping from names to the component classes of one kind.

    Annotate it with the base class of the components, for example ``Registry[Relaxation]``. Access
    to an unknown name raises a ``ValueError`` that lists the names. Access to a component imports
    the module of the same name, if it exists. If the component is not defined then, and for a list
    of the names, the registry imports all modules of the package, and then the plug-ins.

    Args:
        group: Kind of component, for error messages. It is also the name of the config group.
        package: Package whose modules define the components.
        plugins: Group of the plug-ins; by default the package of ``darts`` that contains them.
    """

    def __init__(self, group: str, package: str, *, plugins: str | None = None) -> None:
        self.group = group
        self._package = package
        self._plugins = plugins or ".".join(package.split(".")[:2])
        self._components: dict[str, type[Component]] = {}

    def register(self, component: Class) -> Class:
        """Register a class under the default of its field ``name``; a class decorator."""
        name = component.name  # type: ignore[attr-defined]
        registered: object = self._components.setdefault(name, component)
        if registered is not component:
            raise ValueError(f"{self.group} {name!r} is already registered; choose another name")
        return component

    @cached_property
    def _modules(self) -> list[str]:
        """The names of the modules of the package."""
        package = importlib.import_module(self._package)
        return [module.name for module in pkgutil.iter_modules(package.__path__)]

    @cached_property
    def _all(self) -> dict[str, type[Component]]:
        """The components of the package and the plug-ins; an import that fails is retried."""
        for module in self._modules:
            importlib.import_module(f"{self._package}.{module}")
        load_plugins(self._plugins)
        return self._components

    def __getitem__(self, name: str) -> type[Component]:
        if name not in self:
            hint = suggestion(str(name), [*self])
            raise ValueError(f"unknown {self.group} {name!r}; choose from {', '.join(self)}{hint}")
        return self._components[name]

    def __contains__(self, name: object) -> bool:
        if name in self._modules:
            importlib.import_module(f"{self._package}.{name}")
        # With plug-ins, all modules are imported, so that a name that is used twice is an error.
        # Lists, because a name in a file of a user may be a value that cannot be hashed.
        is_found = name in list(self._components) and not plugin_entries(self._plugins)
        return is_found or name in list(self._all)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all))

    def __len__(self) -> int:
        return len(self._all)
