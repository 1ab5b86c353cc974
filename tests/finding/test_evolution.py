"""An evolution proposes architectures by scores of untrained networks."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from darts.config import ConfigError, RetrainConfig, compose
from darts.finding.evolution import Evolution, Proposal, Sizes, propose
from darts.finding.scorer import UntrainedScorer
from darts.hpo.score_file import ScoreFile
from darts.judging.limits import CostMeter
from darts.recipes.commands import trial_config
from darts.spaces import SPACES, AnyGenotype, Space, parse_genotype
from darts.spaces.cnn import Cnn
from darts.spaces.macro import Macro
from darts.spaces.mlp import Mlp

Callback = Callable[[int], None]


class FakeScorer:
    """Two scores that grow with the number of parameters equal to those of a hidden optimum.

    The costs grow with the number of edges that have an operation of the second half of the
    vocabulary.
    """

    names = ("near", "nearer")

    def __init__(self, space: Space, fail_at: int | None = None) -> None:
        self.space = space
        self.optimum = space.encode(space.random(torch.Generator().manual_seed(99)))
        self.calls: list[AnyGenotype] = []
        self.fail_at = fail_at

    def nearness(self, genotype: AnyGenotype) -> int:
        point = self.space.encode(genotype)
        return sum(point.get(name) == value for name, value in self.optimum.items())

    def costs(self, genotype: AnyGenotype) -> dict[str, float]:
        names = [name for cell in genotype.cells for _, _, name in genotype.edges(cell)]
        macs = sum(sum(map(ord, name)) % 5 for name in names)
        return {"macs": float(macs), "parameters": float(10 * macs)}

    def __call__(self, genotype: AnyGenotype, limits: CostMeter) -> dict[str, float]:
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        costs = self.costs(genotype)
        if limits.excess(costs) > 1:
            return costs
        self.calls.append(genotype)
        near = float(self.nearness(genotype))
        return {**costs, "near": near, "nearer": near**3 - 5}


def evolve(
    scorer: FakeScorer,
    file: Path,
    *,
    evaluations: int = 60,
    seed: int = 0,
    limits: CostMeter | None = None,
    start: Sequence[AnyGenotype] = (),
    stop_after: int | None = None,
) -> Evolution:
    """Run an evolution that stops after ``stop_after`` new scores."""
    scored = ScoreFile(file, "plan")
    scored.load()
    sizes = Sizes.of(evaluations)
    found = Evolution(scorer.space, scorer, scored, limits or CostMeter(), sizes, seed)
    counts: list[int] = []
    try:
        found.run(evaluations, start, counts.append, lambda: len(counts) == stop_after)
    finally:
        scored.save()
    return found


def genotypes(proposals: Sequence[Proposal]) -> list[str]:
    return [str(proposal.genotype) for proposal in proposals]


@pytest.mark.parametrize("space", [Cnn(), Macro()], ids=["cnn", "macro"])
def test_the_evolution_finds_better_architectures_than_random_draws(
    space: Space, tmp_path: Path
) -> None:
    scorer = FakeScorer(space)
    generator = torch.Generator().manual_seed(1)
    for seed in range(3):
        best = evolve(scorer, tmp_path / f"{seed}.json", evaluations=200, seed=seed).best(1)[0]
        drawn = [scorer.nearness(space.random(generator)) for _ in range(200)]
        assert scorer.nearness(best.genotype) >= max(drawn) + 2


def test_the_best_are_those_with_the_largest_sum_of_logarithms_of_ranks(tmp_path: Path) -> None:
    scorer = FakeScorer(Cnn())
    noise = random.Random(0)

    def noisy(genotype: AnyGenotype, limits: CostMeter) -> dict[str, float]:
        return {**scorer.costs(genotype), "near": noise.random(), "nearer": noise.random()}

    noisy.names = scorer.names  # type: ignore[attr-defined]
    scored = ScoreFile(tmp_path / "scores.json", "plan")
    sizes = Sizes(initial=10, population=10, tournament=3, distance=1)
    found = Evolution(scorer.space, noisy, scored, CostMeter(), sizes, seed=0)  # type: ignore[arg-type]
    found.run(30, (), lambda number: None, lambda: False)
    rows = {key: row["scores"] for key, row in scored.rows.items()}
    columns = {name: sorted(row[name] or 0.0 for row in rows.values()) for name in scorer.names}
    sums = {
        key: sum(np.log(columns[name].index(row[name] or 0.0) + 1) for name in scorer.names)
        for key, row in rows.items()
    }
    expected = sorted(sums, key=lambda key: -sums[key])
    assert [str(p.genotype.canonical()) for p in found.best(30)] == expected
    assert found.best(5) == found.best(30)[:5]


@pytest.mark.parametrize(
    "limits",
    [
        CostMeter({"macs": 30}),
        CostMeter({"parameters": 280}),
        CostMeter({"macs": 20, "parameters": 190}),
    ],
    ids=["macs", "parameters", "tight"],
)
def test_architectures_beyond_the_limits_are_neither_scored_nor_proposed(
    limits: CostMeter, tmp_path: Path
) -> None:
    scorer = FakeScorer(Cnn())
    found = evolve(scorer, tmp_path / "scores.json", limits=limits)
    assert len(found.best(100)) == len(scorer.calls) == 60
    for genotype in [*scorer.calls, *(p.genotype for p in found.best(100))]:
        costs = scorer.costs(genotype)
        assert all(costs[name] <= limit for name, limit in limits.limits.items())


def test_impossible_limits_are_reported(tmp_path: Path) -> None:
    scorer = FakeScorer(Macro(skeleton="nasbench"))
    with pytest.raises(ConfigError, match=r"space=macro is within limit\.macs=0\.5"):
        evolve(scorer, tmp_path / "scores.json", limits=CostMeter({"macs": 0.5}))


def test_a_stopped_evolution_continues_identically(tmp_path: Path) -> None:
    limits = CostMeter({"macs": 30})
    whole = evolve(FakeScorer(Cnn()), tmp_path / "whole.json", limits=limits)
    scores = ScoreFile(tmp_path / "whole.json", "plan")
    scores.load()
    for count in (*range(1, 12), 25, 42, 59):
        file = tmp_path / f"{count}.json"
        first, second = FakeScorer(Cnn()), FakeScorer(Cnn())
        partial = evolve(first, file, limits=limits, stop_after=count)
        assert len(partial.members) == count
        resumed = evolve(second, file, limits=limits)
        assert resumed.best(60) == whole.best(60)
        assert len(first.calls) + len(second.calls) == 60


def test_a_failed_evolution_continues_identically(tmp_path: Path) -> None:
    whole = evolve(FakeScorer(Cnn()), tmp_path / "whole.json")
    for count in (0, 7, 31):
        file = tmp_path / f"{count}.json"
        with pytest.raises(KeyboardInterrupt):
            evolve(FakeScorer(Cnn(), fail_at=count), file)
        assert evolve(FakeScorer(Cnn()), file).best(60) == whole.best(60)


def test_a_pilot_run_shortens_the_run_with_the_same_file(tmp_path: Path) -> None:
    whole = evolve(FakeScorer(Cnn()), tmp_path / "whole.json")
    evolve(FakeScorer(Cnn()), tmp_path / "scores.json", evaluations=8)
    scorer = FakeScorer(Cnn())
    assert evolve(scorer, tmp_path / "scores.json").best(60) == whole.best(60)
    assert len(scorer.calls) == 60 - 8


def test_the_evolution_scores_no_operations_without_effect(tmp_path: Path) -> None:
    scorer = FakeScorer(SPACES["nas201"]())
    limits = CostMeter({"macs": 6})
    proposals = evolve(scorer, tmp_path / "scores.json", limits=limits).best(5)
    assert len(proposals) == 5
    for genotype in [*scorer.calls, *(proposal.genotype for proposal in proposals)]:
        assert genotype.simplified() == genotype
    functions = [genotype.function for genotype in scorer.calls]
    assert len(functions) == len(set(functions))


def test_seeds_give_different_evolutions(tmp_path: Path) -> None:
    found = [evolve(FakeScorer(Cnn()), tmp_path / f"{s}.json", seed=s).best(60) for s in (0, 1)]
    assert genotypes(found[0]) != genotypes(found[1])


@pytest.mark.parametrize("space", [Cnn(), Macro()], ids=["cnn", "macro"])
def test_equal_architectures_are_scored_once(space: Space, tmp_path: Path) -> None:
    scorer = FakeScorer(space)
    evolve(scorer, tmp_path / "scores.json", evaluations=150)
    assert len({genotype.canonical() for genotype in scorer.calls}) == len(scorer.calls) == 150


def test_a_space_with_few_architectures_is_exhausted(tmp_path: Path) -> None:
    space = Mlp(cells=2, widths=[4], activations=["relu", "tanh"])
    known = {str(space.random(torch.Generator().manual_seed(n)).canonical()) for n in range(200)}
    scorer = FakeScorer(space)
    found = evolve(scorer, tmp_path / "scores.json", evaluations=100)
    assert {str(g.canonical()) for g in scorer.calls} == known
    assert len(found.best(100)) == len(known) < 100


def test_given_architectures_are_scored_first(tmp_path: Path) -> None:
    space = Cnn()
    published = [parse_genotype(str(genotype)) for genotype in _published(space)]
    scorer = FakeScorer(space)
    evolve(scorer, tmp_path / "scores.json", start=[*published, published[0]], evaluations=20)
    assert scorer.calls[: len(published)] == published
    assert len(scorer.calls) == 20
    scorer, limits = FakeScorer(space), CostMeter({"macs": 25})
    evolve(scorer, tmp_path / "limited.json", start=published, evaluations=20, limits=limits)
    allowed = [genotype for genotype in published if scorer.costs(genotype)["macs"] <= 25]
    assert scorer.calls[: len(allowed)] == allowed
    with pytest.raises(ValueError, match="is a genotype of space=nas201"):
        evolve(scorer, tmp_path / "x.json", start=[SPACES["nas201"]().random(torch.Generator())])


def _published(space: Space) -> list[AnyGenotype]:
    """Return two architectures in the notation that users give."""
    generator = torch.Generator().manual_seed(5)
    return [space.random(generator), space.random(generator)]


def test_an_architecture_without_a_point_is_scored_and_never_mutated(tmp_path: Path) -> None:
    space = Mlp(cells=2, widths=[4, 8, 16], activations=["relu", "tanh"])
    other = space.parse('{"space": "mlp", "layers": ["gelu_5", "gelu_5"]}')
    with pytest.raises(ValueError, match="gelu"):
        space.encode(other)

    class Favoring(FakeScorer):
        def nearness(self, genotype: AnyGenotype) -> int:
            return 100 if genotype == other else super().nearness(genotype)

    found = evolve(Favoring(space), tmp_path / "scores.json", start=[other], evaluations=20)
    assert found.best(1)[0].genotype == other
    assert len(found.best(20)) == 20


def test_neighbors_differ_in_one_parameter(tmp_path: Path) -> None:
    space = SPACES["nas201"]()
    found = evolve(FakeScorer(space), tmp_path / "scores.json", evaluations=1)
    genotype = space.random(torch.Generator())
    point = space.encode(genotype)
    neighbors = found.neighbors(genotype)
    sizes = [len(p.domain.grid(1)) - 1 for p in space.parameters()]
    assert len({str(neighbor) for neighbor in neighbors}) == len(neighbors) == sum(sizes)
    for neighbor in neighbors:
        other = space.encode(neighbor)
        assert sum(other[name] != value for name, value in point.items()) == 1


def test_the_best_neighbors_alternate_with_the_best_of_all_others(tmp_path: Path) -> None:
    space = Cnn()
    found = evolve(FakeScorer(space), tmp_path / "scores.json", evaluations=1)
    near = found.neighbors(space.random(torch.Generator()))[:20]
    found = evolve(FakeScorer(space), tmp_path / "scores.json", evaluations=80, start=near)
    names = {str(genotype) for genotype in near}
    apart = genotypes(found.best(80))
    assert not names.isdisjoint(apart)
    mixed = genotypes(found.best(40, near))
    assert [name in names for name in mixed] == [True, False] * 20
    scorer = found.scorer
    scores = [scorer.nearness(space.parse(name)) for name in mixed]  # type: ignore[attr-defined]
    assert scores[::2] == sorted(scores[::2], reverse=True)


@pytest.mark.parametrize("distance", [1, 3])
def test_proposals_differ_in_several_parameters(distance: int, tmp_path: Path) -> None:
    space = Cnn()
    found = evolve(FakeScorer(space), tmp_path / "scores.json", evaluations=150)
    found.sizes = Sizes(10, 10, 3, distance)
    points = [space.encode(proposal.genotype) for proposal in found.best(6)]
    differences = [
        sum(a.get(name) != b.get(name) for name in {*a, *b})
        for n, a in enumerate(points)
        for b in points[:n]
    ]
    assert min(differences) >= distance
    assert len(found.best(150)) == 150


def _words(folder: Path) -> list[str]:
    draw = random.Random(0)
    for split in ("train", "valid", "test"):
        lines = [" ".join(draw.choices("abcdef", k=6)) for _ in range(200)]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return ["task=language_model", "dataset=text", f"dataset.root={folder}", "task.window=6"]


def _images(folder: Path) -> list[str]:
    return ["dataset=synthetic", "dataset.size=8", "dataset.samples=100"]


def configuration(overrides: Sequence[str]) -> RetrainConfig:
    declared = compose("retrain", [*overrides, "genotype=DARTS_V2"])
    assert isinstance(declared, RetrainConfig)
    example = declared.space.random(torch.Generator().manual_seed(0))
    config = trial_config("retrain", [*overrides, f"genotype={example}"])
    assert isinstance(config, RetrainConfig)
    return config


@pytest.mark.parametrize(
    ("data", "overrides"),
    [
        (_images, ["space=nas201", "space.channels=2", "space.cells=1"]),
        (_images, ["space=mlp"]),
        pytest.param(
            _images, ["space=cnn", "space.channels=2", "space.cells=2"], marks=pytest.mark.slow
        ),
        pytest.param(_images, ["space=macro", "space.channels=4"], marks=pytest.mark.slow),
        pytest.param(
            _words,
            ["space=recurrent", "space.nodes=2", "space.embedding=8", "space.hidden=8"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            _words, ["space=transformer", "space.cells=1", "space.hidden=8"], marks=pytest.mark.slow
        ),
    ],
    ids=["nas201", "mlp", "cnn", "macro", "recurrent", "transformer"],
)
def test_every_space_has_an_evolution(
    data: Callable[[Path], list[str]], overrides: list[str], tmp_path: Path
) -> None:
    config = configuration([*data(tmp_path), *overrides, "device=cpu"])
    counts: list[int] = []

    def found(name: str, stop_after: int | None = None) -> list[Proposal]:
        return propose(
            config,
            evaluations=10,
            count=3,
            seed=0,
            file=tmp_path / name,
            limits=CostMeter(),
            on_score=counts.append,
            stopping=lambda: len(counts) == stop_after,
        )

    whole = found("whole.json")
    assert len(counts) == 10 or config.space.name == "transformer"  # which may have fewer
    assert len({str(p.genotype) for p in whole}) == 3
    assert all(p.macs > 0 and p.parameters > 0 and "zico" in p.scores for p in whole)
    counts.clear()
    found("stopped.json", stop_after=5)
    assert counts == [1, 2, 3, 4, 5]
    assert found("stopped.json") == whole


def test_scores_of_other_networks_are_refused(tmp_path: Path) -> None:
    def search(channels: int) -> None:
        sizes = ["space=nas201", f"space.channels={channels}", "space.cells=1", "device=cpu"]
        propose(
            configuration([*_images(tmp_path), *sizes]),
            evaluations=2,
            count=1,
            seed=0,
            file=tmp_path / "scores.json",
            limits=CostMeter(),
            on_score=lambda number: None,
            stopping=lambda: False,
        )

    search(channels=2)
    with pytest.raises(ConfigError, match="cannot resume"):
        search(channels=4)


def test_small_data_sets_get_smaller_batches(tmp_path: Path) -> None:
    sizes = ["space=nas201", "space.channels=2", "space.cells=1", "device=cpu", "dataset.size=8"]
    small = configuration(["dataset=synthetic", "dataset.samples=80", "validation=0.7", *sizes])
    scores = UntrainedScorer(small)(small.space.random(torch.Generator()), CostMeter())
    assert np.isfinite(scores["zico"])
