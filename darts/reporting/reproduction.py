"""Configuration, command and environment of a run on its page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from darts.reporting.markup import code_block, collapsible, definition_table
from darts.reporting.record import RunRecord


def render_configuration(record: RunRecord) -> str:
    """Return the complete YAML."""
    return collapsible("config.yaml", code_block(record.config_text))


def render_reproduction(record: RunRecord) -> str:
    """Return the command of the run, its revision and its environment."""
    env = record.env
    command = ""
    if record.overrides is not None:
        overrides = " ".join(shlex.quote(override) for override in record.overrides)
        command = code_block(f"python -m darts.{record.command} {overrides}".rstrip())
    revision = env.get("git_revision") or record.summary.get("git_revision")
    values: dict[str, object] = {"seed": record.config.get("seed"), "git revision": revision}
    if env.get("git_dirty"):
        values["git revision"] = f"{revision} with uncommitted changes"
    values["started"] = env.get("started")
    values |= describe_environment(record)
    return command + definition_table(
        (name, str(value)) for name, value in values.items() if value is not None
    )


def describe_environment(record: RunRecord) -> dict[str, str]:
    """Return software and hardware of a run by name."""
    env = record.env
    values = {"python": env.get("python"), "platform": env.get("platform")}
    versions = env.get("versions")
    values |= dict(versions) if isinstance(versions, Mapping) else {}
    processor, cuda = env.get("cpu"), env.get("cuda")
    if isinstance(processor, Mapping):
        counts = [f"{processor.get(name)} {name}" for name in ("cores", "threads")]
        # One core, one thread.
        counts = [text.removesuffix("s") if text.startswith("1 ") else text for text in counts]
        values["processor"] = ", ".join([str(processor.get("model")), *counts])
    if isinstance(cuda, Mapping):
        values["CUDA"] = f"{cuda.get('version')}, {', '.join(map(str, cuda.get('devices') or ()))}"
    return {name: str(value) for name, value in values.items() if value is not None}
