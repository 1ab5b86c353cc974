"""Path scores of a search, and drop path, which drops whole edges for single samples."""

from __future__ import annotations

import pytest
import torch
from oracles.comparing import slow_path_score
from tiny_search import make_batch, make_searcher
from torch import Tensor, nn

from darts.config import ConfigError, compose
from darts.recipes.checks import check_components
from darts.searching.paths import path_masks, path_score
from darts.spaces import cnn
from darts.spaces.cnn import edgewise
from darts.spaces.cnn.candidates import CANDIDATE_SETS
from darts.spaces.cnn.edgewise import EdgewiseSupernet
from darts.spaces.rank_dropout import drop_path


@pytest.mark.parametrize(
    ("schedule", "rates"), [("linear", (0.0, 0.2, 0.4)), ("constant", (0.4, 0.4, 0.4))]
)
def test_the_rate_of_each_epoch(schedule: str, rates: tuple[float, ...]) -> None:
    searcher = make_searcher("epochs=3", "drop_path=0.4", f"drop_path_schedule={schedule}")
    for epoch, rate in enumerate(rates):
        searcher.begin_epoch(epoch)
        assert searcher.net.drop_path == pytest.approx(rate)


def test_dropped_edges_are_zero_and_others_keep_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    factors: list[Tensor] = []

    def recorded(module: nn.Module, x: Tensor, rate: float) -> Tensor:
        y = drop_path(module, x, rate)
        factors.append(y.flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1))
        return y

    monkeypatch.setattr(edgewise, "drop_path", recorded)
    torch.manual_seed(0)
    net = EdgewiseSupernet(channels=2, cells=1, classes=3)
    state = torch.randn(32, 6, 8, 8)
    mixture = net.make_mixture(None).of_cell("normal", 0)
    net.cells[0](state, state, mixture, 0.0, 0.25)
    table = torch.stack(factors)  # (edges, samples)
    assert table.shape == (14, 32)
    dropped = table == 0
    torch.testing.assert_close(table[~dropped], torch.full_like(table[~dropped], 1 / 0.75))
    assert 0.15 < float(dropped.float().mean()) < 0.35
    assert len({tuple(row) for row in dropped.tolist()}) == 14  # each edge has draws of its own

    net.eval()
    net.cells[0](state, state, mixture, 0.0, 0.25)
    assert torch.equal(torch.stack(factors[14:]), torch.ones(14, 32))


def test_a_search_drops_edges_in_its_steps_but_not_in_scores() -> None:
    searcher = make_searcher("drop_path=0.5", "drop_path_schedule=constant", "space.cells=2")
    searcher.begin_epoch(0)
    batch = make_batch(0)
    with torch.no_grad():
        first, second = (searcher.net(batch[0]) for _ in range(2))
    assert not torch.allclose(first, second)
    assert searcher.score([batch]) == searcher.score([batch])
    searcher.net.train()
    searcher.search_step(batch, make_batch(1), update_alphas=True)


def test_without_drop_path_the_fast_supernet_runs() -> None:
    assert type(make_searcher().net) is not EdgewiseSupernet
    assert type(make_searcher("drop_path=0.1").net) is EdgewiseSupernet


def test_spaces_without_edges_to_drop_refuse_it() -> None:
    config = compose("search", ["dataset=synthetic", "space=macro", "drop_path=0.2"])
    with pytest.raises(ConfigError, match=r"drop_path=0\.2: the supernet of space=macro cannot"):
        check_components(config)
    with pytest.raises(ValueError, match="space=macro cannot drop edges"):
        config.space.droppable_supernet(classes=3, in_channels=3)


CALIBRATION = [make_batch(seed) for seed in (10, 11, 12)]
SCORED = [make_batch(seed, size=6) for seed in (20, 21)]


def test_path_scores_equal_those_of_the_edgewise_supernet() -> None:
    searcher = make_searcher("space.cells=2", "space.candidates=s2", "space.channels=2")
    searcher.begin_epoch(0)
    for seed in range(3):  # after these steps, the running statistics are those of the mixture
        searcher.arch_step(make_batch(seed), make_batch(seed + 5))
        searcher.weight_step(make_batch(seed))
    for alpha in searcher.net.alphas.values():
        nn.init.normal_(alpha)
    genotype = searcher.config.discretize.genotype(searcher.probabilities(), searcher.context)
    masks = path_masks(genotype, searcher.probabilities(), searcher.context)
    score = path_score(searcher, masks, CALIBRATION, SCORED)
    operations = CANDIDATE_SETS["s2"]
    net = cnn.EdgewiseSupernet(channels=2, cells=2, classes=3, operations=operations)
    net.load_state_dict(cnn.unfuse_state_dict(searcher.net.state_dict()))
    mixing = searcher.config.space.mask(genotype, searcher.context.candidates)
    weights = {group: mask.float() for group, mask in mixing.items()}
    accuracy, loss = slow_path_score(net, weights, CALIBRATION, SCORED)
    assert score["accuracy"] == pytest.approx(accuracy)
    assert score["loss"] == pytest.approx(loss, rel=1e-3)
    assert score["loss"] != pytest.approx(searcher.score(SCORED)["loss"], rel=1e-2)


def test_path_masks_keep_skipped_layers_in_their_positions() -> None:
    """The genotype of a fully connected network does not contain skipped layers."""
    searcher = make_searcher("space=mlp", "space.cells=3", "space.widths=[4]")
    with torch.no_grad():
        for alpha in searcher.net.alphas.values():
            alpha.zero_()
        searcher.net.alphas["first"][0, 0] = 1
        searcher.net.alphas["rest"][0, -1] = 1  # the second layer is skipped
        searcher.net.alphas["rest"][1, 0] = 1
    probabilities = searcher.probabilities()
    genotype = searcher.config.discretize.genotype(probabilities, searcher.context)
    assert len(genotype.layers) == 2
    masks = path_masks(genotype, probabilities, searcher.context)
    assert [row.nonzero().item() for row in masks["rest"]] == [masks["rest"].shape[1] - 1, 0]
    other = searcher.config.space.genotype.parse('{"layers": ["relu_4"]}')
    assert other.to_json() != genotype.to_json()
    assert int(path_masks(other, probabilities, searcher.context)["rest"][0].nonzero()) > 0
