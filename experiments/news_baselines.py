"""Baselines without a neural network on AG News: TF-IDF for topics, first words for headlines.

    python experiments/news_baselines.py --root DIR

Uses the splits of ``dataset=agnews``. The number of words and the regularization of the logistic
regression are chosen on the validation split; the test split is used once. The results are written
to results/news_baselines.json and README.md.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from records import Row, parser_of, put_table, record, table

from darts.data import load
from darts.data.documents import Documents, LabeledTexts
from darts.data.pairs import Pairs
from darts.data.words import END, PADDING, detokenize
from darts.tasks.translation import ROUGE

KEY = ("task", "method")
COMMAND = "python experiments/news_baselines.py --root DIR"


def split_texts(documents: Documents, split: LabeledTexts) -> list[str]:
    """Return the texts of a split, decoded from the tokens that networks read."""
    return [documents.encoding.decode(row.tolist()) for row in split.texts]


def score_topics(root: Path) -> Row:
    """Return the scores of logistic regression on TF-IDF of words and word pairs."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score

    news: Documents = load(
        "agnews",
        root=root,
        kind="documents",
        min_count=1,
        max_vocab=20000,
        max_length=1000,
        lowercase=False,
    )
    assert news.valid is not None
    assert news.test is not None
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    train = vectors.fit_transform(split_texts(news, news.train))
    valid, test = (vectors.transform(split_texts(news, split)) for split in (news.valid, news.test))
    candidates = []
    for inverse in (0.3, 1.0, 3.0, 10.0, 30.0, 100.0):  # of the regularization strength
        model = LogisticRegression(C=inverse, max_iter=2000).fit(train, news.train.labels.numpy())
        score = f1_score(news.valid.labels.numpy(), model.predict(valid), average="macro")
        candidates.append((score, inverse, model))
    score, inverse, model = max(candidates, key=lambda entry: entry[0])
    predictions, labels = model.predict(test), news.test.labels.numpy()
    return {
        "task": "text_classification",
        "method": "TF-IDF, logistic regression",
        "chosen": f"C={inverse:g}",
        "valid": {"macro_f1": float(score)},
        "test": {
            "macro_f1": float(f1_score(labels, predictions, average="macro")),
            "accuracy": float(accuracy_score(labels, predictions)),
        },
    }


def score_headlines(root: Path) -> Row:
    """Return the ROUGE scores of the first words of the description, taken as the headline."""
    news: Pairs = load(
        "agnews",
        root=root,
        kind="pairs",
        min_count=1,
        max_vocab=20000,
        max_length=1000,
        lowercase=False,
    )

    def rouge(split: str, count: int) -> dict[str, float]:
        from torchmetrics.text import ROUGEScore

        sentences = getattr(news, split)
        predictions = [_first_words(row, count, news) for row in sentences.sources]
        metric = ROUGEScore(rouge_keys=ROUGE)
        metric.update(predictions, [[text] for text in sentences.references])
        values = metric.compute()
        return {name: float(values[f"{name}_fmeasure"]) for name in ROUGE}

    by_count = {count: rouge("valid", count) for count in range(6, 31, 2)}
    best = max(by_count, key=lambda count: by_count[count]["rouge1"])
    return {
        "task": "summarization",
        "method": f"the first {best} words",
        "chosen": f"{best} words",
        "valid": by_count[best],
        "test": rouge("test", best),
    }


def _first_words(row: torch.Tensor, count: int, news: Pairs) -> str:
    words = [word for word in row.tolist() if word not in (PADDING, END)][:count]
    return detokenize(news.source_encoding.words[word] for word in words)


def main() -> None:
    """Compute both baselines and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--root", required=True, type=Path, help="folder of AG News' test.csv")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = [
        {**row, "command": COMMAND} for row in (score_topics(args.root), score_headlines(args.root))
    ]
    lines = [
        (
            row["task"],
            row["method"],
            ", ".join(f"{name} {100 * value:.1f}" for name, value in row["test"].items()),
        )
        for row in record("news_baselines", KEY, rows)
    ]
    put_table("news_baselines", table(("task", "method", "test %"), lines))


if __name__ == "__main__":
    main()
