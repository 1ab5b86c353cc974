"""When a search has gone far enough; see ``darts.stopping.stopping``."""

from darts.stopping.stopping import STOPPING, Stopping

__all__ = ["STOPPING", "Stopping"]
