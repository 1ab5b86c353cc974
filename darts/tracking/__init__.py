"""Records of a run: console output, metrics, TensorBoard, environment and energy.

Importing this package is fast: TensorBoard, matplotlib and rich are imported on first use.
"""

from darts.tracking.console import Console as Console
from darts.tracking.energy import EnergyMeter as EnergyMeter
from darts.tracking.formats import format_duration as format_duration
from darts.tracking.formats import format_genotype as format_genotype
from darts.tracking.formats import format_value as format_value
from darts.tracking.ledger import grams_of_co2 as grams_of_co2
from darts.tracking.log import print_lines as print_lines
from darts.tracking.log import print_summary as print_summary
from darts.tracking.metrics import MetricsLog as MetricsLog
from darts.tracking.metrics import read_metrics as read_metrics
from darts.tracking.tensorboard import TensorBoard as TensorBoard
