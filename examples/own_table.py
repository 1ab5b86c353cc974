"""Find a network for a table, compare it with boosted trees, and predict new rows.

    python examples/own_table.py [FILE.csv] [MINUTES]

The last column of the table is the target: classes or a number. Without a file, the table is that
of scikit-learn's diabetes patients.
"""

import sys

import pandas as pd

import darts


def diabetes() -> pd.DataFrame:
    """Return a table whose target, the progression of the disease, is a number."""
    from sklearn.datasets import load_diabetes

    return load_diabetes(as_frame=True).frame


frame = pd.read_csv(sys.argv[1]) if len(sys.argv) > 1 else diabetes()
minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
new, known = frame.tail(5), frame.iloc[:-5]

best = darts.find(known, minutes=minutes)
print(best)
print(best.summary["tree_note"])

rows = new.drop(columns=new.columns[-1]).to_dict("records")
print(darts.predict(best.model(), rows))
