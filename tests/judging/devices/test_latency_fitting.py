"""Fits recover latencies whose law is known, from features that equal counts over all paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_search import MS

from darts.judging.devices import load_model
from darts.judging.devices.cell_features import encode, is_connected, read_edges
from darts.judging.devices.fitting import Accuracy, count, fit_and_test, fit_latency
from darts.reading import FileError
from darts.spaces import SPACES, AnyGenotype
from darts.spaces.nas201 import Genotype, Nas201
from darts.training.cost import count_macs, count_parameters

CELLS: list[AnyGenotype] = [
    Genotype.from_index(int(index))
    for index in np.random.default_rng(0).choice(15625, 600, replace=False)
]


def latencies_of(cells: list[AnyGenotype], *, prunes: bool = False) -> NDArray[np.float64]:
    """Return the latencies of a device that runs all edges, or only the used ones."""
    running = ([e for e in read_edges(cell, "cell") if e.used or not prunes] for cell in cells)
    return np.array([3.0 + sum(MS[edge.operation] for edge in edges) for edges in running])


def test_the_additive_model_recovers_a_sum() -> None:
    latencies = latencies_of(CELLS)
    fits = fit_latency(CELLS[:150], latencies[:150], device="sum")
    model = fits["additive"].model
    predicted = [model.predict(cell) for cell in CELLS[150:]]
    assert predicted == pytest.approx(latencies[150:], abs=1e-6)
    assert min(model.weights.values()) >= 0
    assert model.intercept >= 0


def test_the_ridge_learns_that_a_device_prunes() -> None:
    latencies = latencies_of(CELLS, prunes=True)
    fits, accuracies = fit_and_test(CELLS, latencies, {}, train=200, device="pruning", seed=0)
    assert next(iter(fits)) == "ridge"
    assert fits["ridge"].model.encoding == "graph"
    assert accuracies["ridge"].spearman > 0.995
    assert accuracies["additive"].spearman < 0.96


@pytest.mark.slow
def test_other_networks_do_not_change_the_fit() -> None:
    latencies = latencies_of(CELLS, prunes=True)
    changed = latencies.copy()
    order = np.random.default_rng(5).permutation(len(CELLS))
    changed[order[200:]] = np.random.default_rng(6).random(len(CELLS) - 200)
    fits = [
        fit_and_test(CELLS, values, {}, train=200, device="d", seed=5)[0]
        for values in (latencies, latencies, changed)
    ]
    assert fits[0] == fits[1] == fits[2]
    assert fits[0]["ridge"].model.trained_on == [str(CELLS[n]) for n in order[:200]]


def test_counts_are_those_of_the_networks() -> None:
    space = Nas201(channels=4, cells=1)
    counts = count(space, CELLS[:5], classes=7, sample_shape=(1, 9, 8))
    for index, cell in enumerate(CELLS[:5]):
        net = space.network(cell, classes=7, in_channels=1)
        assert counts["parameters"][index] == count_parameters(net.parameters())
        assert counts["macs"][index] == 2 * count_macs(net, torch.zeros(1, 1, 9, 8))


def test_counts_become_milliseconds_by_a_line_through_the_training_networks() -> None:
    values = np.arange(600.0)
    _, found = fit_and_test(CELLS, 3 * values + 1, {"macs": values}, train=50, device="d", seed=0)
    assert found["macs"] == Accuracy(pytest.approx(1), pytest.approx(1), pytest.approx(0, abs=1e-9))


def test_accuracy_of_a_known_case() -> None:
    found = Accuracy.of(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0]))
    assert found.spearman == pytest.approx(0.5)
    assert found.kendall == pytest.approx(1 / 3)
    assert found.rmse_ms == pytest.approx(np.sqrt(5 / 3))


def test_a_model_survives_its_file(tmp_path: Path) -> None:
    latencies = latencies_of(CELLS, prunes=True)
    for fit in fit_latency(CELLS[:60], latencies[:60], device="my phone").values():
        fit.model.save(tmp_path / "model.json")
        model = load_model(tmp_path / "model.json")
        assert model == fit.model
        assert [model.predict(c) for c in CELLS[:9]] == [fit.model.predict(c) for c in CELLS[:9]]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ('"encoding": "pickle"', "encoding: Invalid enum value 'pickle'"),
        ('"intercept": 1e999', "too large"),
        ('"weights": {"a": true}', r"weights\[...\]: Expected float, got bool"),
    ],
)
def test_damaged_model_files_are_refused(change: str, named: str, tmp_path: Path) -> None:
    good = (
        '{"space": "nas201", "device": "d", "kind": "ridge", "encoding": "graph", '
        '"intercept": 1.0, "weights": {"a": 2.0}, "trained_on": []'
    )
    file = tmp_path / "model.json"
    file.write_text(good + "}")
    assert load_model(file).predict(CELLS[0]) == 1.0
    key = change.split(":")[0]
    fields = [field for field in good[1:].split(", ") if not field.startswith(key)]
    file.write_text("{" + ", ".join([*fields, change]) + "}")
    with pytest.raises(FileError, match=named) as caught:
        load_model(file)
    assert len(str(caught.value).splitlines()) == 1


Arc = tuple[int, int, str]


def paths(edges: list[Arc], start: int) -> Iterator[list[Arc]]:
    """Yield every path from a state, also the empty one; ``none`` blocks a path."""
    yield []
    for edge in edges:
        if edge[0] == start and edge[2] != "none":
            for rest in paths(edges, edge[1]):
                yield [edge, *rest]


def expected(genotype: AnyGenotype, cell: str) -> dict[str, float]:
    """Return the features of the encoding ``graph`` by enumeration."""
    edges, outputs = genotype.edges(cell), set(genotype.concat(cell))
    starts = range(genotype.inputs)
    space = SPACES[genotype.space]
    counts: Counter[str] = Counter()
    members: dict[str, list[Arc]] = {"count": [], "live": [], "used": []}
    for edge in edges:
        source, target, name = edge
        ends = [p[-1][1] if p else target for p in paths(edges, target)]
        live = name != "none" and bool(outputs & set(ends))
        reached = {p[-1][1] if p else start for start in starts for p in paths(edges, start)}
        fed = name != "none" and source in reached
        kinds = {"count": True, "live": live, "fed": fed, "used": live and fed}
        for kind, holds in kinds.items():
            counts[f"{kind}.{cell}.{name}"] += holds
            if kind in members and holds and name != "none":
                members[kind].append(edge)
    complete = [p for start in starts for p in paths(edges, start) if p and p[-1][1] in outputs]
    left_out = {"operations": space.skip_operations, "weights": space.weightless_operations}
    for name, ignored in left_out.items():
        lengths = [sum(edge[2] not in ignored for edge in path) for path in complete]
        counts[f"longest.{cell}.{name}"] = max(lengths, default=0)
    for kind, found in members.items():
        counts[f"sums.{cell}.{kind}"] = len(found) - len({edge[1] for edge in found})
    counts[f"connected.{cell}"] = int(bool(complete))
    return {name: float(value) for name, value in counts.items() if value}


@pytest.mark.parametrize("space", ["nas201", "cnn", "macro", "mlp"])
def test_features_equal_an_enumeration_of_paths(space: str) -> None:
    draw = torch.Generator().manual_seed(0)
    genotypes = [SPACES[space]().random(draw) for _ in range(60 if space == "nas201" else 8)]
    if space == "nas201":  # two convolutions in a row, without a path from the input
        cell = "|none~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_3x3~2|"
        genotypes.append(Genotype.parse(cell))
    for genotype in genotypes:
        features = {k: v for k, v in encode(genotype, "graph").items() if v}
        theirs: dict[str, float] = {}
        for cell in genotype.cells:
            theirs |= expected(genotype, cell)
        assert features == theirs
        connected = all(f"connected.{cell}" in theirs for cell in genotype.cells)
        assert is_connected(genotype) == connected


def test_places_have_one_operation_each() -> None:
    cell = Genotype.from_index(7777)
    names = [f"place.cell.{s}>{t}.{name}" for s, t, name in cell.edges()]
    assert encode(cell, "places") == dict.fromkeys(names, 1.0)
    assert encode(cell, "edges") == encode(cell, "graph") | encode(cell, "places")
