"""The directory of a run: its files, and the checks before a run starts or resumes in it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from darts.config import ConfigError, as_yaml
from darts.reading import JsonObject, read_json
from darts.tracking import environment
from darts.writing import write_atomically, write_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class ResumableConfig(Protocol):
    """Configuration dataclass of a command that can be resumed."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    may_change_on_resume: ClassVar[tuple[str, ...]]


@dataclass(frozen=True)
class RunDirectory:
    """Files of one run of any command.

    Attributes:
        path: The directory; created by ``begin``.
        command: Name of the command, for example ``search``.
    """

    path: Path
    command: str

    @property
    def is_complete(self) -> bool:
        """Whether the run wrote its summary, which is its last file."""
        return (self.path / "summary.json").exists()

    def require_unused(self, *, resumable: bool = False) -> None:
        """Refuse a directory that already holds a run.

        Args:
            resumable: Whether the message offers to continue that run.

        Raises:
            ConfigError: When ``config.yaml`` exists.
        """
        if (self.path / "config.yaml").exists():
            hint = f", or continue that run with resume={self.path}" if resumable else ""
            raise ConfigError(
                f"{self.path} already holds a run; choose another hydra.run.dir{hint}"
            )

    def begin(self, config: DataclassInstance, overrides: Sequence[str]) -> None:
        """Create the directory with ``overrides.json``, ``env.json`` and ``config.yaml``.

        ``config.yaml`` is written last: a directory that contains it is a run.

        Args:
            config: Configuration dataclass of the command.
            overrides: Command line; ``resume=`` is left out.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        kept = [override for override in overrides if not override.startswith("resume=")]
        self.write_json("overrides.json", {"command": self.command, "overrides": kept})
        self.write_json("env.json", environment())
        self.write("config.yaml", as_yaml(config))

    def require_same(self, saved: Mapping[str, object], config: ResumableConfig) -> None:
        """Refuse to resume with a configuration that differs from the run's own.

        Args:
            saved: Configuration with which the run began, as nested plain values.
            config: Configuration now; the keys in its ``may_change_on_resume`` may differ.

        Raises:
            ConfigError: With the first key that differs.
        """
        # Through JSON, because a saved configuration may come from a JSON file.
        before, now = (json.loads(json.dumps(x)) for x in (saved, dataclasses.asdict(config)))
        differing = list(_differences(before, now, type(config).may_change_on_resume))
        if differing:
            key, old, new = differing[0]
            more = f" (and {len(differing) - 1} more keys)" if len(differing) > 1 else ""
            raise ConfigError(
                f"cannot resume {self.path}: {key} is {old!r} in the run and {new!r} here{more}"
            )

    def require_incomplete(self) -> None:
        """Refuse to resume a run that has ended.

        Raises:
            ConfigError: When ``summary.json`` exists.
        """
        if self.is_complete:
            raise ConfigError(f"the run in {self.path} is complete; nothing to resume")

    def write(self, name: str, text: str) -> None:
        """Write a text file atomically."""
        write_atomically(self.path / name, text)

    def write_json(self, name: str, content: object) -> None:
        """Write a JSON file atomically."""
        write_json(self.path / name, content)

    def read_json(self, name: str) -> Any:
        """Read a JSON file."""
        return read_json(self.path / name)

    def overrides(self) -> list[str]:
        """Return the command line with which the run began."""
        overrides: list[str] = self.read_json("overrides.json")["overrides"]
        return overrides

    def finish(self, summary: JsonObject) -> JsonObject:
        """Write ``summary.json`` with the command and the git revision; return the summary."""
        revision = self.read_json("env.json").get("git_revision")
        complete = {"command": self.command, **summary, "git_revision": revision}
        self.write_json("summary.json", complete)
        return complete


def _differences(
    saved: Mapping[str, object],
    given: Mapping[str, object],
    ignored: tuple[str, ...],
    prefix: str = "",
) -> Iterator[tuple[str, object, object]]:
    """Yield dotted keys whose values differ, with both values; skip keys with an ignored prefix."""
    for name in dict.fromkeys([*saved, *given]):
        key = prefix + name
        old, new = saved.get(name), given.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, ignored, key + ".")
        elif old != new and not key.startswith(ignored):
            yield key, old, new
