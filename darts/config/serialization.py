"""Configurations as YAML text, and configurations rebuilt from the values in a file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from darts.config import errors
from darts.config.fields import ConfigError, check_fields, one_of
from darts.config.groups import TYPES

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

C = TypeVar("C", bound="DataclassInstance")


def as_yaml(config: DataclassInstance) -> str:
    """Return a configuration as YAML text, keys in the order of the fields."""
    return str(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True))


def rebuild(config_class: type[C], values: Mapping[str, object]) -> C:
    """Rebuild a configuration from the values of ``dataclasses.asdict``; check types and limits.

    Keys that an older file lacks get their defaults. ``${`` in a value is text.

    Raises:
        ConfigError: If the values do not fit the class.
    """
    try:
        config = cast("C", OmegaConf.to_object(as_node(config_class, values)))
    except (OmegaConfBaseException, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = errors.describe_error(error, [])
        raise ConfigError(f"not a configuration of this version: {reason}") from None
    check_fields(config)
    return config


def as_node(config_class: type[DataclassInstance], values: Mapping[str, object]) -> DictConfig:
    """Return a typed OmegaConf node with the given values.

    Raises:
        ConfigError: If no component has the given name.
        OmegaConfBaseException: If the values do not fit the class.
    """
    plain = cast("dict[str, object]", escape_interpolations(values))
    node = OmegaConf.structured(config_class)
    for group in node.keys() & plain.keys() & TYPES.keys():
        component = plain[group]
        if isinstance(component, Mapping):
            node[group] = OmegaConf.structured(_class_of(group, component))
    return cast("DictConfig", OmegaConf.merge(node, plain))


def escape_interpolations(value: object) -> object:
    """Return nested plain values in which OmegaConf reads ``${`` as text."""
    if isinstance(value, str):
        # OmegaConf halves the backslashes before "${" only.
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    if isinstance(value, Mapping):
        return {key: escape_interpolations(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escape_interpolations(item) for item in value]
    return value


def _class_of(group: str, values: Mapping[str, object]) -> type:
    """Return the class of a component, found by its name, or of a data set, found by its keys."""
    types = TYPES[group]
    if group != "dataset":
        one_of(f"{group}.name", values.get("name"), list(types))
        return types[str(values["name"])]
    keys = {cls: {field.name for field in dataclasses.fields(cls)} for cls in types.values()}
    # The class with the fewest keys among those that have all given keys.
    fitting = [cls for cls in keys if keys[cls] >= values.keys()]
    return min(fitting, key=lambda cls: len(keys[cls]), default=next(iter(keys)))
