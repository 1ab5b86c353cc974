from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from unseen_sets import UNSEEN, connects, load_split, next_generation, products, sums
from ways import ranks


def test_next_generation_follows_the_rules_cell_by_cell() -> None:
    boards = np.random.default_rng(0).random((5, 7, 6)) < 0.4

    found = next_generation(boards)

    for board, after in zip(boards, found, strict=True):
        for (row, column), alive in np.ndenumerate(board):
            around = board[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            count = around.sum() - alive
            assert after[row, column] == (count == 3 or (bool(alive) and count == 2))


def test_a_maze_connects_if_one_area_reaches_both_sides() -> None:
    random = np.random.default_rng(0)
    found = []
    for _ in range(50):
        board = random.random((8, 8)) < 0.6
        areas, _ = ndimage.label(board)
        found.append(connects(board))
        assert found[-1] == bool({*areas[:, 0]} & {*areas[:, -1]} - {0})
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
