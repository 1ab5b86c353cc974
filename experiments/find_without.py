"""``darts.find`` without one of its baselines for NAS-Bench-201.

    python experiments/find_without.py residual_3x3 [OVERRIDES]

Users cannot remove a baseline. ``find_benchmarks.py`` runs this script to measure how much of a
result is due to a baseline that was added by people who knew the benchmark.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

from darts.find import main
from darts.finding.families import BASELINES

SPACE = "nas201"

if __name__ == "__main__":
    removed = sys.argv.pop(1)
    kept = {name: text for name, text in BASELINES[SPACE].items() if name != removed}
    with patch.dict(BASELINES, {SPACE: kept}):
        main()
