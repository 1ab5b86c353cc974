"""What is told about a run: console, metrics, TensorBoard, environment and energy.

Importing this package is cheap: TensorBoard, matplotlib and rich are loaded by first use.
"""

from darts.tracking.board import Board
from darts.tracking.console import Console, Pace, closing_table
from darts.tracking.energy import Energy, EnergyMeter
from darts.tracking.environment import environment, git_state
from darts.tracking.files import plain, read_json, replacing, write_atomically, write_json
from darts.tracking.formats import display, duration, short_genotype
from darts.tracking.ledger import Ledger, grams_of_co2
from darts.tracking.metrics import MetricsLog, read_metrics

__all__ = [
    "Board",
    "Console",
    "Energy",
    "EnergyMeter",
    "Ledger",
    "MetricsLog",
    "Pace",
    "closing_table",
    "display",
    "duration",
    "environment",
    "git_state",
    "grams_of_co2",
    "plain",
    "read_json",
    "read_metrics",
    "replacing",
    "short_genotype",
    "write_atomically",
    "write_json",
]
