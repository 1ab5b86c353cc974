"""The directory of a run: its files, its owner, and the checks before a run starts or resumes."""

from __future__ import annotations

import dataclasses
import itertools
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from darts.config import ConfigError, Invocation, as_yaml, config_digest
from darts.reading import FileError, JsonObject, read_json_object, read_yaml
from darts.tracking import environment
from darts.training.run_lock import RunLock
from darts.writing import remove_temporary_files, write_atomically, write_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class ResumableConfig(Protocol):
    """Configuration dataclass of a command that can be resumed."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    may_change_on_resume: ClassVar[tuple[str, ...]]  # dotted keys, and prefixes such as "tracking."
    resume: str | None  # run directory to continue


class RunDirectory:
    """The files of one run of any command; leaving its context releases the directory.

    Args:
        path: The directory. ``claim_unused`` may choose another one.
        command: Name of the command, for example ``search``.
    """

    def __init__(self, path: Path, command: str) -> None:
        self.path, self.command = path, command
        self._lock: RunLock | None = None
        self._created = False

    @property
    def is_complete(self) -> bool:
        """Whether the run wrote its summary, which is its last file."""
        return (self.path / "summary.json").exists()

    def claim_unused(
        self, *, resumable: bool = False, numbered: bool = False, repeatable: bool = False
    ) -> None:
        """Become the owner of a directory that does not hold a run.

        Args:
            resumable: Whether the error message suggests continuing a run that the directory holds.
            numbered: Whether to try ``path_2``, ``path_3``, ... if the directory is taken; for
                default directories, which the user did not choose.
            repeatable: See ``require_unused``.

        Raises:
            ConfigError: If the directory holds a run or has an owner.
        """
        base = self.path
        for number in itertools.count(1):
            if number > 1:
                self.path = base.with_name(f"{base.name}_{number}")
            try:
                self._claim()
                self.require_unused(resumable=resumable, repeatable=repeatable)
                return
            except ConfigError:
                self.release()
                if not numbered:
                    raise

    def start_or_resume(
        self, config: ResumableConfig, invocation: Invocation, *, can_continue: bool = False
    ) -> None:
        """Become the owner of the directory, and begin a new run or check the one to resume.

        Args:
            config: Configuration of the command.
            invocation: Run directory and overrides.
            can_continue: Whether a complete run may be resumed; it then becomes incomplete.

        Raises:
            ConfigError: If a new run would overwrite another one, or if the run to resume is
                complete, has another configuration, or has an owner.
        """
        if config.resume is None:
            self.claim_unused(resumable=True, numbered=invocation.numbered)
            self.begin(config, invocation.overrides)
        else:
            self.claim_existing()
            self.require_same_config(self.saved_config(), config)
            if not can_continue:
                self.require_incomplete()
            self.reopen()

    def claim_existing(self) -> None:
        """Become the owner of the directory of a run to resume.

        Raises:
            ConfigError: If another process owns it.
        """
        self._claim()

    def _claim(self) -> None:
        try:
            self.path.mkdir(parents=True)
            self._created = True
        except FileExistsError:
            pass  # Hydra creates the directory first
        self._lock = RunLock(self.path)
        remove_temporary_files(self.path)

    def release(self) -> None:
        """Stop owning the directory; remove it if claiming created it and it is empty."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self._created:
            with suppress(OSError):
                self.path.rmdir()
        self._created = False

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def require_unused(self, *, resumable: bool = False, repeatable: bool = False) -> None:
        """Refuse a directory that already holds a run.

        Args:
            resumable: Whether the error message suggests continuing that run.
            repeatable: Whether to accept an incomplete run of the same command; the new run
                replaces its files.

        Raises:
            ConfigError: If ``config.yaml`` exists, and the run that it belongs to is not accepted.
        """
        if (self.path / "config.yaml").exists() and not (
            repeatable and self._holds_incomplete_run()
        ):
            hint = f", or continue that run with resume={self.path}" if resumable else ""
            raise ConfigError(
                f"{self.path} already holds a run; choose another hydra.run.dir{hint}"
            )

    def begin(self, config: DataclassInstance, overrides: Sequence[str]) -> None:
        """Create the directory with ``overrides.json``, ``env.json`` and ``config.yaml``.

        ``config.yaml`` is written last: a directory that contains it is a run.

        Args:
            config: Configuration dataclass of the command.
            overrides: Overrides of the command line; ``resume=`` is not written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        kept = [override for override in overrides if not override.startswith("resume=")]
        text = as_yaml(config)
        record = {"command": self.command, "overrides": kept, "config_digest": config_digest(text)}
        self.write_json("overrides.json", record)
        self.write_json("env.json", environment())
        self.write("config.yaml", text)

    def _holds_incomplete_run(self) -> bool:
        """Return whether the directory holds a run of this command that has not ended."""
        if self.is_complete:
            return False
        try:
            return bool(self.read_json("overrides.json").get("command") == self.command)
        except (FileError, OSError):
            return False

    def require_same_config(
        self, saved: Mapping[str, object], config: ResumableConfig, changed: Sequence[str] = ()
    ) -> None:
        """Refuse to resume with a configuration that differs from that of the run.

        Args:
            saved: Configuration with which the run began, as nested plain values.
            config: Configuration of the resumed run; its ``may_change_on_resume`` names the keys
                that may differ.
            changed: Further keys that may differ.

        Raises:
            ConfigError: With the first key that differs.
        """
        # Convert both to JSON and back, which makes tuples and lists equal: a saved configuration
        # may come from a file.
        before, now = (json.loads(json.dumps(x)) for x in (saved, dataclasses.asdict(config)))
        allowed = (*type(config).may_change_on_resume, *changed)
        differing = list(_differences(before, now, allowed))
        if differing:
            key, old, new = differing[0]
            more = f" (and {len(differing) - 1} more keys)" if len(differing) > 1 else ""
            raise ConfigError(
                f"cannot resume {self.path}: {key} is {old!r} in the run and {new!r} here{more}"
            )

    def warn_of_other_threads(self, now: int) -> None:
        """Warn if the number of threads differs, because it determines how sums are rounded."""
        cpu = self.read_json("env.json").get("cpu")
        before = cpu.get("threads") if isinstance(cpu, dict) else None
        if before != now:
            warnings.warn(
                f"the run began with {before} threads and resumes with {now}; its results will "
                f"differ in rounding. Set OMP_NUM_THREADS={before} to avoid this",
                stacklevel=2,
            )

    def require_incomplete(self) -> None:
        """Refuse to resume a run that has ended.

        Raises:
            ConfigError: If ``summary.json`` exists.
        """
        if self.is_complete:
            raise ConfigError(
                f"the run in {self.path} is complete; nothing to resume. To train longer, start a "
                "new run with more epochs. Only a retraining with optimizer.schedule=stable and "
                "optimizer.cooldown=0 can be resumed with more epochs, because other schedules "
                "depend on their number"
            )

    def reopen(self) -> None:
        """Make a complete run incomplete, because it continues."""
        (self.path / "summary.json").unlink(missing_ok=True)

    def write(self, name: str, text: str) -> None:
        """Write a text file atomically."""
        write_atomically(self.path / name, text)

    def write_json(self, name: str, content: object) -> None:
        """Write a JSON file atomically."""
        write_json(self.path / name, content)

    def read_json(self, name: str) -> JsonObject:
        """Read a JSON file that holds an object.

        Raises:
            FileError: If it is damaged.
        """
        return read_json_object(self.path / name)

    def saved_config(self) -> Mapping[str, object]:
        """Return the values of ``config.yaml``.

        Raises:
            FileError: If it is damaged.
        """
        values = read_yaml(self.path / "config.yaml")
        if not isinstance(values, Mapping):
            raise FileError(f"{self.path / 'config.yaml'} is damaged")
        return values

    def overrides(self) -> list[str]:
        """Return the overrides of the command line with which the run began."""
        overrides: list[str] = self.read_json("overrides.json")["overrides"]
        return overrides

    def git_revision(self) -> str | None:
        """Return the Git revision of the code with which the run began; None if it is unknown.

        Raises:
            FileError: If ``env.json`` is damaged.
        """
        revision = self.read_json("env.json").get("git_revision")
        if not isinstance(revision, str | None):
            raise FileError(f"{self.path / 'env.json'} is damaged: git_revision is not a string")
        return revision

    def add_origin(self, summary: JsonObject) -> JsonObject:
        """Return a summary to which the command and the Git revision are added."""
        return {"command": self.command, **summary, "git_revision": self.git_revision()}

    def finish(self, summary: JsonObject) -> JsonObject:
        """Write a summary with its origin to ``summary.json``, and return it.

        Call it last, because a run with a summary is complete.
        """
        complete = self.add_origin(summary)
        self.write_json("summary.json", complete)
        return complete


def _differences(
    saved: Mapping[str, object],
    given: Mapping[str, object],
    ignored: tuple[str, ...],
    prefix: str = "",
) -> Iterator[tuple[str, object, object]]:
    """Yield the dotted keys whose values differ, with both values.

    Skip the keys that begin with one of the ``ignored`` prefixes.
    """
    for name in dict.fromkeys([*saved, *given]):
        key = prefix + name
        old, new = saved.get(name), given.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, ignored, key + ".")
        elif old != new and not key.startswith(ignored):
            yield key, old, new
