"""Typed configuration; the only place that knows Hydra."""

from darts.config.fields import ConfigError, one_of
from darts.config.job import Invocation
from darts.config.launch import compose, launch
from darts.config.schema import (
    CompareConfig,
    EvaluateConfig,
    ExportConfig,
    GenotypesConfig,
    ReportConfig,
    RetrainConfig,
    RunConfig,
    SearchConfig,
    TuneConfig,
)
from darts.config.serialization import as_yaml, rebuild
from darts.config.store import group_options

__all__ = [
    "CompareConfig",
    "ConfigError",
    "EvaluateConfig",
    "ExportConfig",
    "GenotypesConfig",
    "Invocation",
    "ReportConfig",
    "RetrainConfig",
    "RunConfig",
    "SearchConfig",
    "TuneConfig",
    "as_yaml",
    "compose",
    "group_options",
    "launch",
    "one_of",
    "rebuild",
]
