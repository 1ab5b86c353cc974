"""Typed configuration; the only place that knows Hydra."""

from darts.config.door import compose, launch
from darts.config.fields import ConfigError, one_of
from darts.config.job import Invocation
from darts.config.plain import as_yaml, rebuild
from darts.config.schema import (
    EvaluateConfig,
    ExportConfig,
    GenotypesConfig,
    ReportConfig,
    RetrainConfig,
    RunConfig,
    SearchConfig,
    StudyConfig,
    TuneConfig,
)
from darts.config.store import group_options

__all__ = [
    "ConfigError",
    "EvaluateConfig",
    "ExportConfig",
    "GenotypesConfig",
    "Invocation",
    "ReportConfig",
    "RetrainConfig",
    "RunConfig",
    "SearchConfig",
    "StudyConfig",
    "TuneConfig",
    "as_yaml",
    "compose",
    "group_options",
    "launch",
    "one_of",
    "rebuild",
]
