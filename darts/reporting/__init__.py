"""What can be told of finished and unfinished runs from the files in their directories."""

from darts.reporting.card import model_card
from darts.reporting.page import page
from darts.reporting.record import COMMANDS, Record, read_record

__all__ = ["COMMANDS", "Record", "model_card", "page", "read_record"]
