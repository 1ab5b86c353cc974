"""Configurations as YAML text, and configurations from the values in a checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from darts.config import errors
from darts.config.fields import ConfigError, check_fields, one_of
from darts.config.groups import TYPES
from darts.registry import Registry

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

C = TypeVar("C", bound="DataclassInstance")


def as_yaml(config: DataclassInstance) -> str:
    """Return a configuration as YAML text, keys in the order of the fields."""
    values = dataclasses.asdict(config)
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def rebuild(config_class: type[C], values: Mapping[str, object]) -> C:
    """Return the configuration with the values of ``dataclasses.asdict``, types and limits checked.

    Keys that an older file lacks get their defaults.

    Raises:
        ConfigError: if the values do not fit the class.
    """
    try:
        node = OmegaConf.structured(config_class)
        for group in node.keys() & values.keys() & TYPES.keys():
            component = values[group]
            if isinstance(component, Mapping):
                node[group] = OmegaConf.structured(_class_of(group, component))
        config = OmegaConf.to_object(OmegaConf.merge(node, dict(values)))
    except (OmegaConfBaseException, TypeError) as error:
        raise ConfigError(
            f"not a configuration of this version: {errors.one_line(error, [])}"
        ) from None
    if not isinstance(config, config_class):
        raise TypeError(f"{type(config).__name__} is not {config_class.__name__}")
    check_fields(config)
    return config


def _class_of(group: str, values: Mapping[str, object]) -> type:
    """Return the class of a component by its name, of a data set by its keys."""
    types = TYPES[group]
    if isinstance(types, Registry):
        name = values.get("name")
        one_of(f"{group}.name", name, list(types))
        component: type = types[str(name)]
        return component
    # The class with the fewest keys that has all of these.
    fitting = [cls for cls in types.values() if _keys(cls) >= values.keys()]
    return min(fitting, key=lambda cls: len(_keys(cls)), default=next(iter(types.values())))


def _keys(cls: type[DataclassInstance]) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}
