"""AG News: texts with a topic, or descriptions with a title.

References:
    Zhang, Zhao and LeCun, "Character-level Convolutional Networks for Text Classification",
    arXiv:1509.01626.
"""

from __future__ import annotations

from darts.data.documents import Documents, encode_documents
from darts.data.pairs import Pairs, encode_pairs
from darts.data.randomness import permutation
from darts.data.source import Request
from darts.data.table_file import Table, read_cells
from darts.data.words import VocabularyOptions

TOPICS = {"1": "world", "2": "sports", "3": "business", "4": "technology"}
_SHARES = (("train", 0.8), ("valid", 0.1), ("test", 0.1))


def load_agnews(request: Request[VocabularyOptions]) -> Pairs | Documents:
    """Load ``test.csv`` of AG News, divided into three splits that never change.

    With ``request.kind="pairs"`` the samples are pairs of description and title with a joint
    vocabulary, else texts of title and description with their topic.

    Raises:
        ValueError: If the file is missing or does not have the format of AG News.
    """
    needed = "test.csv of AG News (class, title, description)"
    (path,) = request.files("test.csv", needed=needed)
    table = Table(path, read_cells(path, ","))
    if table.cells.shape[1] != 3:
        raise ValueError(f"{request.name}: {path} must have class, title and description")
    wrong = ~table.cells[0].isin(TOPICS) | (table.cells == "").any(axis=1)
    if wrong.any():
        raise ValueError(
            f"{request.name}: {path}, line {table.lines()[wrong.argmax()]}: must be class (1 to "
            "4), title and description"
        )
    rows = [
        (TOPICS[topic], title.replace("\\", " "), description.replace("\\", " "))
        for topic, title, description in table.cells.itertuples(index=False)
    ]
    order = permutation(len(rows), request.name, "parts").tolist()
    splits: dict[str, list[tuple[str, str, str]]] = {}
    begin = 0
    for split, share in _SHARES:
        end = len(rows) if split == "test" else begin + round(share * len(rows))
        splits[split] = [rows[index] for index in order[begin:end]]
        begin = end
    if request.kind == "documents":
        texts = {
            split: [(topic, f"{title}. {description}") for topic, title, description in news]
            for split, news in splits.items()
        }
        return encode_documents(request.name, texts, request.options)
    pairs = {
        split: [(description, title) for _, title, description in news]
        for split, news in splits.items()
    }
    return encode_pairs(request.name, pairs, request.options, joint=True)
