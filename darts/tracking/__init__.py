"""Records of a run: console output, metrics, TensorBoard, environment and energy.

Importing this package is fast: TensorBoard, matplotlib and rich are imported on first use.
"""

from darts.tracking.console import Console, print_lines, print_summary
from darts.tracking.energy import Energy, EnergyMeter
from darts.tracking.environment import environment
from darts.tracking.formats import format_duration, format_genotype, format_value
from darts.tracking.ledger import Ledger, grams_of_co2
from darts.tracking.metrics import MetricsLog, read_metrics
from darts.tracking.tensorboard import TensorBoard

__all__ = [
    "Console",
    "Energy",
    "EnergyMeter",
    "Ledger",
    "MetricsLog",
    "TensorBoard",
    "environment",
    "format_duration",
    "format_genotype",
    "format_value",
    "grams_of_co2",
    "print_lines",
    "print_summary",
    "read_metrics",
]
