"""What all tests share."""

from __future__ import annotations

import os

# The nets here are so small that threads cost more than they give, and tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
