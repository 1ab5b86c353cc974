"""What can be told of finished and unfinished runs from the files in their directories."""

from darts.reporting.page import page
from darts.reporting.record import COMMANDS, Record, read_record

__all__ = ["COMMANDS", "Record", "page", "read_record"]
