"""What is told about a run: console, metrics, TensorBoard, environment and energy.

Importing this package is cheap: TensorBoard, matplotlib and rich are loaded by first use.
"""

from darts.tracking.tensorboard import TensorBoard
from darts.tracking.console import Console, RemainingTime, print_summary
from darts.tracking.energy import Energy, EnergyMeter
from darts.tracking.environment import environment, git_state
from darts.tracking.files import to_jsonable, read_json, open_atomically, write_atomically, write_json
from darts.tracking.formats import format_value, format_duration, format_genotype
from darts.tracking.ledger import Ledger, grams_of_co2
from darts.tracking.metrics import MetricsLog, read_metrics

__all__ = [
    "TensorBoard",
    "Console",
    "Energy",
    "EnergyMeter",
    "Ledger",
    "MetricsLog",
    "RemainingTime",
    "print_summary",
    "format_value",
    "format_duration",
    "environment",
    "git_state",
    "grams_of_co2",
    "to_jsonable",
    "read_json",
    "read_metrics",
    "open_atomically",
    "format_genotype",
    "write_atomically",
    "write_json",
]
