"""Typed configuration of every command: dataclasses, composed from YAML and the command line."""

from darts.config.commands import (
    INT8,
    DeviceConfig,
    EvaluateConfig,
    ExportConfig,
    GenotypesConfig,
    PredictConfig,
    ReportConfig,
    RetrainConfig,
    RunConfig,
    SearchConfig,
)
from darts.config.fields import ConfigError, check_fields, one_of, suggestion
from darts.config.hydra_adapter import Invocation, values_of
from darts.config.launch import compose, launch
from darts.config.many_runs import CompareConfig, FindConfig, JudgeConfig, TuneConfig
from darts.config.options import (
    BenchmarkConfig,
    EnergyConfig,
    FindBudgetConfig,
    FrontConfig,
    LimitConfig,
    PenaltyConfig,
    SearchLimitConfig,
    TrackingConfig,
    TrialLimitConfig,
    WeightOptimizerConfig,
)
from darts.config.overrides import quoted, require_plain_overrides
from darts.config.resumed_run import as_yaml, config_digest, rebuild
from darts.process import rank_and_size

__all__ = [
    "INT8",
    "BenchmarkConfig",
    "CompareConfig",
    "ConfigError",
    "DeviceConfig",
    "EnergyConfig",
    "EvaluateConfig",
    "ExportConfig",
    "FindBudgetConfig",
    "FindConfig",
    "FrontConfig",
    "GenotypesConfig",
    "Invocation",
    "JudgeConfig",
    "LimitConfig",
    "PenaltyConfig",
    "PredictConfig",
    "ReportConfig",
    "RetrainConfig",
    "RunConfig",
    "SearchConfig",
    "SearchLimitConfig",
    "TrackingConfig",
    "TrialLimitConfig",
    "TuneConfig",
    "WeightOptimizerConfig",
    "as_yaml",
    "check_fields",
    "compose",
    "config_digest",
    "launch",
    "one_of",
    "quoted",
    "rank_and_size",
    "rebuild",
    "require_plain_overrides",
    "suggestion",
    "values_of",
]
