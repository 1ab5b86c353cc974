"""The directory of a run: its files, its owner, and the checks before a run starts or resumes."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Protocol

from darts.config import ConfigError, Invocation, as_yaml, config_digest
from darts.config.fields import Dataclass, flatten
from darts.reading import FileError, JsonObject, read_json_object, read_yaml
from darts.tracking.environment import environment
from darts.training.run_lock import RunLock
from darts.writing import remove_temporary_files, write_atomically, write_json


class ResumableConfig(Dataclass, Protocol):
    """Configuration dataclass of a command that can be resumed."""

    may_change_on_resume: ClassVar[tuple[str, ...]]  # dotted keys, and prefixes such as "tracking."
    resume: str | None  # run directory to continue


class RunDirectory:
    """The files of one run of any command; leaving its context releases the directory."""

    def __init__(self, path: Path, command: str) -> None:
        self.path, self.command = path, command
        self._lock: RunLock | None = None
        self._created = False

    @property
    def is_complete(self) -> bool:
        """Whether the run wrote its summary, which is its last file."""
        return (self.path / "summary.json").exists()

    @property
    def resume_command(self) -> str:
        """The command that resumes the run."""
        return f"darts {self.command} {shlex.quote(f'resume={self.path}')}"

    def claim_unused(self, *, numbered: bool = False, repeatable: bool = False) -> None:
        """Become the owner of a directory that does not hold a run.

        ``numbered`` is for default directories, which the user did not choose: if one is taken, try
        ``path_2``, ``path_3``, ... For ``repeatable`` see ``require_unused``.
        """
        base = self.path
        for number in itertools.count(1):
            if number > 1:
                self.path = base.with_name(f"{base.name}_{number}")
            try:
                self.claim()
                self.require_unused(repeatable=repeatable)
                return
            except ConfigError:
                self.release()
                if not numbered:
                    raise

    def start_or_resume(
        self, config: ResumableConfig, invocation: Invocation, *, can_continue: bool = False
    ) -> None:
        """Become the owner of the directory, and begin a new run or check the one to resume.

        If a complete run can be continued, it becomes incomplete.
        """
        if config.resume is None:
            self.claim_unused(numbered=invocation.numbered)
            self.begin(config, invocation.overrides)
        else:
            self.claim()
            self.require_same_config(self.saved_config(), config)
            if not can_continue:
                self.require_incomplete()
            self.reopen()

    def claim(self) -> None:
        """Become the owner of the directory, which may be missing or hold a run.

        Raise ConfigError if another process owns it.
        """
        with suppress(FileExistsError):  # Hydra creates the directory first
            self.path.mkdir(parents=True)
            self._created = True
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

    def __exit__(self, *error: object) -> None:
        self.release()

    def require_unused(self, *, repeatable: bool = False) -> None:
        """Raise ConfigError if the directory already holds a run, that is, ``config.yaml``.

        A repeatable command cannot be resumed. It replaces the files of its own incomplete runs.
        """
        if (self.path / "config.yaml").exists() and not (
            repeatable and self._holds_incomplete_run()
        ):
            hint = "" if repeatable else f", or continue that run with resume={self.path}"
            raise ConfigError(
                f"{self.path} already holds a run; choose another hydra.run.dir{hint}"
            )

    def begin(self, config: Dataclass, overrides: Sequence[str]) -> None:
        """Create the directory with ``overrides.json``, ``env.json`` and ``config.yaml``.

        ``config.yaml`` is written last: a directory that contains it is a run.
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
        """Raise ConfigError if a run would resume with another configuration.

        ``saved`` is the one with which it began, as nested plain values. The keys
        ``may_change_on_resume`` and those in ``changed`` may differ.
        """
        # Convert both to JSON and back, which makes tuples and lists equal: a saved configuration
        # may come from a file.
        before, now = (
            dict(flatten(json.loads(json.dumps(values))))
            for values in (saved, dataclasses.asdict(config))
        )
        allowed = (*type(config).may_change_on_resume, *changed)
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if differing := [key for key in keys if not key.startswith(allowed)]:
            key = differing[0]
            more = f" (and {len(differing) - 1} more keys)" if len(differing) > 1 else ""
            raise ConfigError(
                f"cannot resume {self.path}: {key} is {before.get(key)!r} in the run and "
                f"{now.get(key)!r} here{more}"
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
        """Raise ConfigError if the run to resume has ended."""
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
        """Read a JSON file that holds an object."""
        return read_json_object(self.path / name)

    def saved_config(self) -> Mapping[str, object]:
        """Return the values of ``config.yaml``."""
        return read_yaml(self.path / "config.yaml")

    def overrides(self) -> list[str]:
        """Return the overrides of the command line with which the run began."""
        overrides: list[str] = self.read_json("overrides.json")["overrides"]
        return overrides

    def finish(
        self, summary: JsonObject, write_card: Callable[[JsonObject], None] | None = None
    ) -> JsonObject:
        """Write ``summary.json`` with command and Git revision, and return it.

        Call it last, because a run with a summary is complete. ``write_card`` writes files that
        depend on the complete summary before.
        """
        revision = self.read_json("env.json").get("git_revision")
        complete = {"command": self.command, **summary, "git_revision": revision}
        if write_card is not None:
            write_card(complete)
        self.write_json("summary.json", complete)
        return complete
