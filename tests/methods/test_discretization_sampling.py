"""Sampling on a supernet with a known score."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from fake_supernet import FakeSupernet, Interrupted, Masks, additive, random_values

from darts.methods.discretization import Sampling


def upcoming_samples(trained: FakeSupernet, count: int) -> list[Any]:
    state = torch.get_rng_state()
    actual = [trained.context.space.random(torch.default_generator) for _ in range(count)]
    torch.set_rng_state(state)
    return actual


def test_best_sample_is_returned() -> None:
    for space in ("cnn", "nas201"):
        value = additive(random_values(space, 0))
        trained = FakeSupernet(space, value)
        torch.manual_seed(1)
        genotypes = upcoming_samples(trained, 50)
        actual = Sampling(samples=50).final_genotype(trained)
        candidates = trained.context.candidates
        scores = [value(trained.context.space.mask(genotype, candidates)) for genotype in genotypes]
        assert actual == genotypes[scores.index(max(scores))]
        assert trained.context.masks == {}


def test_duplicate_samples_are_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = FakeSupernet("nas201", lambda masks: 0.0)
    same = upcoming_samples(trained, 1)[0]
    monkeypatch.setattr(trained.context.space, "random", lambda generator: same)
    assert Sampling(samples=20).final_genotype(trained) == same
    assert trained.log == [1, 0, "save"]


@pytest.mark.parametrize("leave", [1, 17, 30, 32])
def test_resumed_sampling_ends_like_an_uninterrupted_one(leave: int) -> None:
    """No score is computed twice and nothing is sampled again."""
    value = additive(random_values("cnn", 0))
    rule = Sampling(samples=30, finalists=4)
    torch.manual_seed(3)
    whole = FakeSupernet("cnn", value)
    wanted = rule.final_genotype(whole)
    torch.manual_seed(3)
    broken = FakeSupernet("cnn", value, interrupt_at=leave)
    with pytest.raises(Interrupted):
        rule.final_genotype(broken)
    resumed = FakeSupernet("cnn", value)
    resumed.state = copy.deepcopy(broken.state)
    torch.manual_seed(99)
    assert rule.final_genotype(resumed) == wanted
    assert resumed.state == whole.state
    assert broken.log + resumed.log == whole.log


def test_each_round_has_its_own_finalists() -> None:
    """The best three of eight architectures are in the first round, which has two finalists."""

    class Ranked(FakeSupernet):
        """First scores fall in the order of sampling; final scores rise."""

        calls = 0

        def score(self, batches: int = 0, only: Masks | None = None) -> float:
            super().score(batches, only)
            self.calls += 1
            return -self.calls if batches else self.calls

    trained = Ranked("cnn", lambda masks: 0.0)
    torch.manual_seed(4)
    samples = upcoming_samples(trained, 8)
    actual = Sampling(samples=8, finalists=2, rounds=2).final_genotype(trained)
    assert trained.log == [1] * 8 + [0] * 4 + ["save"]
    assert actual == samples[5]  # the second of the second round, scored last
