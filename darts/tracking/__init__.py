"""Records of a run: console output, metrics, TensorBoard, environment and energy.

Importing this package is fast: TensorBoard, matplotlib and rich are imported on first use.
"""

from darts.tracking.console import Console, RemainingTime, print_summary
from darts.tracking.energy import Energy, EnergyMeter
from darts.tracking.environment import environment, git_state
from darts.tracking.files import (
    JsonObject,
    open_atomically,
    read_json,
    to_jsonable,
    write_atomically,
    write_json,
)
from darts.tracking.formats import format_duration, format_genotype, format_value
from darts.tracking.ledger import Ledger, grams_of_co2
from darts.tracking.metrics import MetricsLog, read_metrics
from darts.tracking.tensorboard import TensorBoard

__all__ = [
    "Console",
    "Energy",
    "EnergyMeter",
    "JsonObject",
    "Ledger",
    "MetricsLog",
    "RemainingTime",
    "TensorBoard",
    "environment",
    "format_duration",
    "format_genotype",
    "format_value",
    "git_state",
    "grams_of_co2",
    "open_atomically",
    "print_summary",
    "read_json",
    "read_metrics",
    "to_jsonable",
    "write_atomically",
    "write_json",
]
