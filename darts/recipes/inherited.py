"""Networks of a finished search with the weights of its supernet, as trained networks."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from darts.config import RetrainConfig, SearchConfig, compose
from darts.data import save_split
from darts.recipes.retrain_command import retrain_overrides
from darts.recipes.rules import DataFacts
from darts.recipes.search_callbacks import SearchCallback
from darts.recipes.states import DataDescription
from darts.searching.paths import calibrate, preserved_state
from darts.spaces import AnyGenotype
from darts.tracking import print_lines
from darts.training.checkpoint import FILE, NETWORK, save_checkpoint
from darts.writing import write_atomically

if TYPE_CHECKING:
    from darts.recipes.search import Search

FOLDER = "network"


def has_trained_networks(config: SearchConfig) -> bool:
    """Return whether networks are good with the weights of the supernet of a search."""
    return config.space.inherits and not config.relaxation.uses_alphas


class Inherited(SearchCallback):
    """Writes the network of the answer with the weights of the supernet."""

    def end_search(self, genotype: AnyGenotype) -> None:
        write_inherited(self.search, genotype, self.search.run.path / FOLDER, {})

    def print_results(self) -> None:
        checkpoint = shlex.quote(f"checkpoint={self.search.run.path / FOLDER}")
        title = "Its network with the weights of the supernet:"
        print_lines("", title, f"  darts evaluate {checkpoint}")


def write_inherited(
    search: Search, genotype: AnyGenotype, target: Path, scores: Mapping[str, float]
) -> None:
    """Write a checkpoint that ``darts evaluate``, ``predict``, ``export`` and ``load`` accept.

    The network has the weights of the supernet. The statistics of its batch norms come from
    training samples.

    Args:
        search: The finished search.
        genotype: The architecture.
        target: Directory of the checkpoint; made if it is missing.
        scores: Validation scores of the network.
    """
    config, searcher = search.config, search.searcher
    batches = search.loaders.calibration(config.collapse.calibration)
    masks = config.space.mask(genotype, search.context.candidates)
    with preserved_state(searcher.net):
        calibrate(searcher, masks, batches)
        net = config.space.inherit(genotype, searcher.net)
    if not search.ranks.main:
        return
    facts = DataFacts.read(config, search.data)
    words = retrain_overrides(search.run.overrides, config, facts)
    composed: RetrainConfig = compose("retrain", [f"genotype={target}", *words])
    retraining = dataclasses.replace(
        composed, genotype=str(genotype), space=config.space, auxiliary=0.0
    )
    content = {
        "config": dataclasses.asdict(retraining),
        **DataDescription.of(search.data, config.space).entries(),
        "best": {"epoch": config.epochs, "scores": dict(scores), "net": net.state_dict()},
    }
    subsets = search.data.subsets  # the samples that gave the scores are validation data
    save_split(target / "split.npz", {"train": subsets["weights"], "valid": subsets["alphas"]})
    save_checkpoint(target / FILE, NETWORK, content)
    write_atomically(target / "genotype.json", genotype.to_json())
