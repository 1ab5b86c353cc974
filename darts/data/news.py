"""AG News: texts with a topic, or descriptions with a title.

References:
    Zhang, Zhao and LeCun, "Character-level Convolutional Networks for Text Classification",
    arXiv:1509.01626.
"""

from __future__ import annotations

import csv
from dataclasses import replace

from darts.data import documents, pairs
from darts.data.documents import Documents
from darts.data.pairs import Pairs
from darts.data.randomness import permutation
from darts.data.source import Query

__all__ = ["OPTIONS", "load_agnews"]

OPTIONS = {
    name: pairs.OPTIONS[name] for name in ("min_count", "max_vocab", "max_length", "lowercase")
}
TOPICS = {"1": "world", "2": "sports", "3": "business", "4": "technology"}
_SHARES = (("train", 0.8), ("valid", 0.1), ("test", 0.1))


def load_agnews(query: Query) -> Pairs | Documents:
    """`test.csv` of AG News, cut in three parts that are always the same.

    Returns:
        Pairs of description and title, in one vocabulary; or, where documents are asked for, both
        as one text with its topic.

    Raises:
        ValueError: in one line, if the file is missing or another.
    """
    path = query.folder() / "test.csv"
    if not path.is_file():
        raise ValueError(
            f"{query.name}: {path} is not there: put AG News' test.csv (class, title, description) "
            "there, or set dataset.root to where it is"
        )
    rows: list[tuple[str, str, str]] = []
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if len(row) != 3 or row[0] not in TOPICS:
                raise ValueError(f"{query.name}: {path}, line {number}: no class, title and text")
            title, description = (text.replace("\\", " ") for text in row[1:])
            rows.append((TOPICS[row[0]], title, description))
    order = permutation(len(rows), query.name, "parts").tolist()
    parts: dict[str, list[tuple[str, str, str]]] = {}
    begin = 0
    for part, share in _SHARES:
        end = len(rows) if part == "test" else begin + round(share * len(rows))
        parts[part] = [rows[number] for number in order[begin:end]]
        begin = end
    if query.kind == "documents":
        texts = {p: [(topic, f"{a}. {b}") for topic, a, b in own] for p, own in parts.items()}
        return documents.made(query, texts)
    joint = replace(query, options={**query.options, "joint": True})
    return pairs.made(joint, {p: [(b, a) for _, a, b in own] for p, own in parts.items()})
