"""Find a network that sorts texts into classes.

    python examples/own_text.py [FILE.csv] [MINUTES]

The file has the columns ``text`` and ``label``. Without it, the texts are sentences about the
weather and about money, which the program makes up.
"""

import random
import sys

import pandas as pd

import darts


def sentences(count: int) -> pd.DataFrame:
    """Return made-up sentences about two topics."""
    words = {
        "weather": (("rain", "sun", "snow", "wind"), ("today", "in the north", "at night")),
        "money": (("the bank", "the price", "a share", "the tax"), ("fell", "rose", "was stable")),
    }
    random.seed(0)
    labels = [random.choice(sorted(words)) for _ in range(count)]
    texts = [" ".join(random.choice(part) for part in words[label]) for label in labels]
    return pd.DataFrame({"label": labels, "text": texts})


frame = pd.read_csv(sys.argv[1]) if len(sys.argv) > 1 else sentences(600)
test = frame.sample(frac=0.2, random_state=0)
minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0

best = darts.find((frame.drop(test.index), test), minutes=minutes)
print(best)
print(darts.predict(best.model(), ["snow at night", "the tax rose"]).classes)
