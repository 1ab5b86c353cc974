"""Operations that a step of a search launches on a GPU, counted without one.

    python experiments/count_launches.py

The searches of tests/gpu run on a pretended GPU, with small data and networks; the width does not
change the counts. It needs g++. The counts belong to the third step, which consists of an
architecture step and a weight step with their optimizers and metrics. They are written to
results/count_launches.json and README.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from records import Row, parser_of, put_rows, record

TESTS = Path(__file__).resolve().parents[1] / "tests" / "gpu"
SEARCHES = (
    "search network of the DARTS paper",
    "nas201",
    "macro",
    "mlp",
    "recurrent",
    "transformer",
)
KEY = ("search",)


def main() -> None:
    """Count the launches of one step of each space."""
    parser_of(__doc__).parse_args()
    sys.path.insert(0, str(TESTS))
    import test_budgets as budgets

    cases: dict[str, Any] = {name: budgets.MORE[name] for name in SEARCHES}
    long_windows = (*budgets.LANGUAGE, "task.window=35")
    cases["recurrent, 8 nodes and 35 words"] = ("search", long_windows, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        budgets.write_data(Path(folder))
        results = budgets.run(cases, Path(folder))
    rows: list[Row] = [
        {
            "torch": torch.__version__,
            "search": name,
            "overrides": " ".join(cases[name][1]).replace("FOLDER", "DIR"),
            "launches": result["launches"],
            "synchronizations": sum(result["waits"].values()),
        }
        for name, result in results.items()
    ]
    columns = {"search": "{search}", "launches": "{launches:,}"}
    columns |= {"synchronizations": "{synchronizations}"}
    put_rows("count_launches", columns, record("count_launches", KEY, rows))


if __name__ == "__main__":
    main()
