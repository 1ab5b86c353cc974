"""The configuration of a run to resume: rebuilt from plain values, never from saved overrides.

A run directory may be untrusted. Its ``config.yaml`` only gives values to the fields of the typed
configuration: no Hydra override, flag or interpolation in a file has any effect.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from darts.config import errors
from darts.config.fields import ConfigError, Dataclass, check_fields, one_of
from darts.config.groups import COMMANDS, TYPES
from darts.config.many_runs import EXECUTORS
from darts.config.overrides import is_plain_override, quoted
from darts.process import rank_and_size
from darts.reading import YAML_LIMIT, FileError, one_line, read_json_object, read_text, read_yaml
from darts.typed_values import Misfit, Name, typed
from darts.writing import is_machine_failure

C = TypeVar("C", bound=Dataclass)


class _Record(TypedDict):
    command: Name
    overrides: list[str]
    config_digest: Name


@dataclass(frozen=True)
class ResumedRun:
    """A run to continue."""

    directory: Path  # absolute
    config: Dataclass  # ``resume`` is not set
    recorded_overrides: tuple[str, ...]  # with which it began, for records and messages only

    @classmethod
    def load(cls, command: str, reference: str) -> ResumedRun:
        """Read ``overrides.json`` and ``config.yaml`` of a run directory."""
        directory = Path(reference)
        place = f"resume={str(directory)!r}"
        record = _read_record(command, directory, place)
        file = directory / "config.yaml"
        with _reading(place, file):
            if record["config_digest"] != config_digest(read_text(file, limit=YAML_LIMIT)):
                raise ConfigError(f"{place}: config.yaml was changed after the run began")
            values = {**read_yaml(file), "resume": None}
        if values.get("workers") == 0:  # how older runs stayed in the process of the command
            values["workers"] = 1
        try:
            config: Dataclass = rebuild(COMMANDS[command], values)
        except ConfigError as error:
            raise ConfigError(f"{place}: config.yaml: {error}") from None
        plain = [override for override in record["overrides"] if is_plain_override(override)]
        return cls(directory.resolve(), config, tuple(plain))

    def with_executor(self, name: str) -> ResumedRun:
        """Return the run with another executor and its default options.

        The executor does not change results, and its cluster may be gone.
        """
        config: Any = self.config
        if not hasattr(config, "executor") or config.executor.name == name:
            return self
        one_of("executor", name, EXECUTORS)
        executor = EXECUTORS[name](name=name)
        return dataclasses.replace(self, config=dataclasses.replace(config, executor=executor))

    def node(self) -> DictConfig:
        """Return the configuration as typed values for Hydra to compose with."""
        return as_node(type(self.config), dataclasses.asdict(self.config))

    def hydra_arguments(self, arguments: Sequence[str]) -> list[str]:
        """Return the arguments for Hydra: the given ones and the run directory.

        A user may repeat the whole command line of the run. Hydra composes from the saved values
        and not from YAML files, so it knows no config groups. An argument that chooses an option of
        a group is therefore left out; it must choose the same option as the run.
        """
        rank = rank_and_size()[0]
        kept = [] if rank > 0 else [f"hydra.run.dir={quoted(str(self.directory))}"]
        for override in arguments:
            key, _, value = override.partition("=")
            if key == "hydra.run.dir":
                if Path(value.strip("'\"")).resolve() != self.directory:
                    raise ConfigError(
                        f"hydra.run.dir={value}: a resumed run writes to its own directory, "
                        f"{self.directory}; leave hydra.run.dir out"
                    )
                continue
            is_group = key in TYPES or key == "method" or key.startswith("experiment")
            if is_group and override not in self.recorded_overrides:
                before = self._choice(key)
                if before != value:
                    raise ConfigError(
                        f"cannot resume {self.directory}: {key.partition('/')[0]} is {before!r} "
                        f"in the run and {value!r} here"
                    )
            if not is_group:
                kept.append(override)
        return kept

    def _choice(self, group: str) -> object:
        """Return the option of a group in the run; None if the run chose no experiment."""
        if group.startswith("experiment"):
            recorded = dict(override.split("=", 1) for override in self.recorded_overrides)
            return recorded.get(group)
        chosen = getattr(self.config, group, None)
        return getattr(chosen, "name", chosen)


def config_digest(text: str) -> str:
    """Return a hash of the text of ``config.yaml``, by which a resumed run notices changes."""
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _reading(place: str, file: Path) -> Iterator[None]:
    """Raise a ConfigError if the user can change why a file of a run directory cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise ConfigError(f"{place} is not a run directory: {file.name} is missing") from None
    except Misfit as error:
        raise ConfigError(
            f"{place}: {file.name} is damaged, or from another version: {error}"
        ) from None
    except (FileError, OSError) as error:
        if isinstance(error, OSError) and is_machine_failure(error):
            raise
        raise ConfigError(f"{place} is not a run directory: {one_line(error)}") from None


def _read_record(command: str, directory: Path, place: str) -> _Record:
    """Return the content of ``overrides.json`` of a run of the command."""
    file = directory / "overrides.json"
    with _reading(place, file):
        record = typed(_Record, read_json_object(file))
    if record["command"] not in COMMANDS:
        raise ConfigError(f"{place}: {file.name} is damaged: it does not name a known command")
    if record["command"] != command:
        raise ConfigError(
            f"{place} is a run of darts {record['command']}; resume it with that command"
        )
    return record


def as_yaml(config: Dataclass) -> str:
    """Return a configuration as YAML text, keys in the order of the fields."""
    return str(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True))


def rebuild(config_class: type[C], values: Mapping[str, object]) -> C:
    """Rebuild a configuration from the values of ``dataclasses.asdict``; check types and limits.

    Keys that an older file lacks get their defaults. ``${`` in a value is text.
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


def as_node(config_class: type[Dataclass], values: Mapping[str, object]) -> DictConfig:
    """Return a typed OmegaConf node with the given values."""
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
        one_of(f"{group}.name", values.get("name"), types)
        return types[str(values["name"])]
    keys = {cls: {field.name for field in dataclasses.fields(cls)} for cls in types.values()}
    # The class with the fewest keys among those that have all given keys.
    fitting = [cls for cls in keys if keys[cls] >= values.keys()]
    return min(fitting, key=lambda cls: len(keys[cls]), default=next(iter(keys)))
