"""Reports about runs: HTML pages and model cards, made from the files of run directories."""

from darts.reporting.page import render_model_card, render_page
from darts.reporting.record import COMMANDS, RunRecord, read_run

__all__ = ["COMMANDS", "RunRecord", "read_run", "render_model_card", "render_page"]
