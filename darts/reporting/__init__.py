"""What can be told of finished and unfinished runs from the files in their directories."""

from darts.reporting.card import model_card
from darts.reporting.page import report_page
from darts.reporting.run_record import COMMANDS, RunRecord, read_run

__all__ = ["COMMANDS", "RunRecord", "model_card", "report_page", "read_run"]
