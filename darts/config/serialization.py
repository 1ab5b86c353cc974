"""Configurations as YAML text, and back from the plain values that a checkpoint holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from darts.config import errors, store
from darts.config.fields import ConfigError, check_fields, one_of
from darts.registry import Registry

C = TypeVar("C")


def as_yaml(config: Any) -> str:
    """A configuration dataclass as YAML text, keys in the order of the schema."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)


def rebuild(kind: type[C], values: Mapping[str, Any]) -> C:
    """The configuration whose ``dataclasses.asdict`` the values are, types and limits checked.

    Raises:
        ConfigError: when the values are not those of such a configuration.
    """
    try:
        node = OmegaConf.structured(kind)
        for group in node.keys() & values.keys() & store.TYPES.keys():
            if isinstance(values[group], Mapping):
                node[group] = OmegaConf.structured(_type_of(group, values[group]))
        config = OmegaConf.to_object(OmegaConf.merge(node, dict(values)))
    except (OmegaConfBaseException, TypeError) as error:
        raise ConfigError(
            f"no configuration of this version: {errors.one_line(error, [])}"
        ) from None
    check_fields(config)
    return config  # type: ignore[return-value]


def _type_of(group: str, value: Mapping[str, Any]) -> type:
    """A part's type by its name, a data set's by its keys, of which an older file may lack some."""
    types = store.TYPES[group]
    if isinstance(types, Registry):
        one_of(f"{group}.name", value.get("name"), list(types))
        part: type = types[value["name"]]
        return part
    fitting = [kind for kind in types.values() if _keys(kind) >= value.keys()]
    return min(fitting, key=lambda kind: len(_keys(kind)), default=next(iter(types.values())))


def _keys(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}
