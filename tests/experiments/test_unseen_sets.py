from collections import deque
from pathlib import Path

import numpy as np
import pytest
from unseen_sets import UNSEEN, connects, load_split, next_generation, products, sums
from ways import ranks


def living_neighbors(board: np.ndarray, row: int, column: int) -> int:
    height, width = board.shape
    return sum(
        bool(board[i, j])
        for i in range(max(row - 1, 0), min(row + 2, height))
        for j in range(max(column - 1, 0), min(column + 2, width))
        if (i, j) != (row, column)
    )


def test_next_generation_follows_the_rules_cell_by_cell() -> None:
    boards = np.random.default_rng(0).random((5, 7, 6)) < 0.4

    found = next_generation(boards)

    for board, after in zip(boards, found, strict=True):
        for (row, column), alive in np.ndenumerate(board):
            count = living_neighbors(board, row, column)
            assert after[row, column] == (count == 3 or (bool(alive) and count == 2))


def test_connects_like_a_breadth_first_search() -> None:
    random = np.random.default_rng(0)
    found = []
    for _ in range(50):
        board = random.random((8, 8)) < 0.6
        queue = deque((row, 0) for row in range(8) if board[row, 0])
        seen = set(queue)
        while queue:
            y, x = queue.popleft()
            for i, j in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if 0 <= i < 8 and 0 <= j < 8 and board[i, j] and (i, j) not in seen:
                    seen.add((i, j))
                    queue.append((i, j))
        found.append(connects(board))
        assert found[-1] == any(column == 7 for _, column in seen)
    assert 0 < sum(found) < len(found)


def test_labels_of_three_images() -> None:
    classes = np.array([[0, 0, 1], [9, 9, 2], [0, 0, 0], [9, 9, 9], [3, 4, 5]])

    assert sums(classes).tolist() == [0, 19, -1, -1, 11]
    assert products(classes).tolist() == [0, 2, 0, 9, 0]


@pytest.mark.parametrize("name", ["game_of_life", "delays", "mazes"])
def test_generated_sets_have_separate_balanced_splits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unseen_sets.COUNTS", {"train": 200, "test": 40})
    (dataset,) = (own for own in UNSEEN if own.name == name)

    dataset.prepare(tmp_path, tmp_path / name)

    (train, labels), (test, answers) = (load_split(tmp_path / name, s) for s in ("train", "test"))
    assert (len(train), len(test)) == (len(labels), len(answers)) == (200, 40)
    assert train.dtype == np.float32
    assert not {x.tobytes() for x in train} & {x.tobytes() for x in test}
    assert np.bincount(labels).max() < 110


def test_equal_scores_share_a_rank() -> None:
    assert ranks([0.5, 0.9, 0.5, 0.1]) == [2.5, 1, 2.5, 4]
