"""Random architectures, the best of them by a known score."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from made_up_supernet import Interrupted, MadeUp, Masks, done_by, told_by, worths

from darts.methods.discretization_sampling import Sampling


def value_of(worth: Masks) -> Callable[[Masks], float]:
    return lambda masks: float(sum((worth[g] * mask).sum() for g, mask in masks.items()))


def drawn(trained: MadeUp, count: int) -> list[Any]:
    """The architectures that the rule is going to draw."""
    state = torch.get_rng_state()
    found = [trained.context.space.random(torch.default_generator) for _ in range(count)]
    torch.set_rng_state(state)
    return found


def test_the_best_of_those_drawn() -> None:
    for space in ("cnn", "nas201"):
        value = value_of(worths(space, 0))
        trained = MadeUp(space, value)
        torch.manual_seed(1)
        genotypes = drawn(trained, 50)
        found = Sampling(samples=50).final_genotype(trained)
        candidates = trained.context.candidates
        scores = [value(trained.context.space.mask(genotype, candidates)) for genotype in genotypes]
        assert found == genotypes[scores.index(max(scores))]
        assert trained.context.masks == {}


def test_all_are_scored_on_few_batches_and_the_finalists_on_all() -> None:
    trained = MadeUp("cnn", value_of(worths("cnn", 0)))
    Sampling(samples=30, batches=3, finalists=4).final_genotype(trained)
    assert trained.log == [3] * 30 + [0] * 4 + ["save"]
    assert trained.pauses == 34


def test_the_second_score_decides_among_finalists() -> None:
    """On all data, the order of the best three is the other way round."""
    worth = worths("nas201", 0)

    class Turned(MadeUp):
        def score(self, batches: int = 0, only: Masks | None = None) -> float:
            score = super().score(batches, only)
            return score if batches else -score

    trained = Turned("nas201", value_of(worth))
    torch.manual_seed(2)
    genotypes = set(drawn(trained, 40))
    found = Sampling(samples=40, finalists=3).final_genotype(trained)
    masks = trained.context.space.mask
    ranked = sorted(genotypes, key=lambda g: -value_of(worth)(masks(g, trained.context.candidates)))
    assert found == ranked[2]


def test_an_architecture_drawn_twice_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = MadeUp("nas201", lambda masks: 0.0)
    same = drawn(trained, 1)[0]
    monkeypatch.setattr(trained.context.space, "random", lambda generator: same)
    assert Sampling(samples=20).final_genotype(trained) == same
    assert trained.log == [1, 0, "save"]


@pytest.mark.parametrize("leave", [1, 17, 30, 32])
def test_interrupted_and_resumed_it_ends_the_same(leave: int) -> None:
    """No score is computed twice, and nothing is drawn anew."""
    value = value_of(worths("cnn", 0))
    rule = Sampling(samples=30, finalists=4)
    torch.manual_seed(3)
    whole = MadeUp("cnn", value)
    wanted = rule.final_genotype(whole)
    torch.manual_seed(3)
    broken = MadeUp("cnn", value, leave=leave)
    with pytest.raises(Interrupted):
        rule.final_genotype(broken)
    resumed = MadeUp("cnn", value)
    resumed.state = copy.deepcopy(broken.state)
    torch.manual_seed(99)
    assert rule.final_genotype(resumed) == wanted
    assert resumed.state == whole.state
    assert broken.log + resumed.log == whole.log


def test_masks_are_put_back_when_a_score_fails() -> None:
    def failing(masks: Masks) -> float:
        raise FloatingPointError

    trained = MadeUp("nas201", failing)
    kept = {"cell": torch.ones(6, 5, dtype=torch.bool)}
    trained.context.masks.update(kept)
    with pytest.raises(FloatingPointError):
        Sampling(samples=2).final_genotype(trained)
    assert trained.context.masks == kept


@pytest.mark.parametrize("options", [{}, {"samples": 3}, {"samples": 20, "batches": 4}])
def test_what_it_says_that_it_does(options: dict[str, int]) -> None:
    rule = Sampling(**({"samples": 50} | options))
    trained = MadeUp("cnn", value_of(worths("cnn", 0)))  # so large a space repeats nothing
    said = told_by(rule, trained.context, 7)
    assert said == done_by(rule, trained, 7)
    works = rule.estimate_work(trained.context) or []
    masks = [work.masks() for work in works for _ in range(3)]
    assert all(mask.sum() == 8 for one in masks for mask in one.values())
    assert len({str(one) for one in masks}) > 1
