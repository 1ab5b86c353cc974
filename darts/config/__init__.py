"""Typed configuration; the only place that knows Hydra."""

from darts.config.door import Invocation, compose, launch
from darts.config.fields import ConfigError, one_of
from darts.config.plain import as_yaml, rebuild
from darts.config.schema import (
    EvaluateConfig,
    GenotypesConfig,
    RetrainConfig,
    RunConfig,
    SearchConfig,
)

__all__ = [
    "ConfigError",
    "EvaluateConfig",
    "GenotypesConfig",
    "Invocation",
    "RetrainConfig",
    "RunConfig",
    "SearchConfig",
    "as_yaml",
    "compose",
    "launch",
    "one_of",
    "rebuild",
]
