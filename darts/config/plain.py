"""Configurations as YAML text, and back from the plain values that a checkpoint holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from darts.config import errors, store
from darts.config.fields import ConfigError, check_fields

C = TypeVar("C")


def as_yaml(config: Any) -> str:
    """A configuration dataclass as YAML text, keys in the order of the schema."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)


def rebuild(kind: type[C], values: Mapping[str, Any]) -> C:
    """The configuration whose ``dataclasses.asdict`` the values are, types and limits checked.

    Where a group has several types, the one of the given name is taken if there is one, else that
    with just the given keys.

    Raises:
        ConfigError: when the values are not those of such a configuration.
    """
    try:
        node = OmegaConf.structured(kind)
        for name, value in values.items():
            types = store.TYPES.get(name, {})
            if not isinstance(value, Mapping):
                continue
            named = str(value.get("name"))
            for candidate in [types[named]] if named in types else types.values():
                fields = {field.name for field in dataclasses.fields(candidate)}
                if fields == value.keys():
                    node[name] = OmegaConf.structured(candidate)
        config = OmegaConf.to_object(OmegaConf.merge(node, dict(values)))
    except (OmegaConfBaseException, TypeError) as error:
        raise ConfigError(
            f"no configuration of this version: {errors.one_line(error, [])}"
        ) from None
    check_fields(config)
    return config  # type: ignore[return-value]
