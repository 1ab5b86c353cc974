"""One-shot scores: validation scores of architectures with the weights of a supernet.

References:
    Bender et al., "Understanding and Simplifying One-Shot Architecture Search", ICML 2018.
    Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
    arXiv:1904.00420, section 3.4: batch norm statistics are recomputed for each path.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from darts.config import SearchConfig, rebuild
from darts.data_modules import make_data_module
from darts.reading import JsonObject
from darts.searching.paths import calibrate, path_score
from darts.searching.searcher import Searcher
from darts.spaces import AnyGenotype, NetworkBase
from darts.training.checkpoint import checkpoint_errors, find_checkpoint, load_checkpoint
from darts.training.distributed import Ranks
from darts.typed_values import entry


class OneShotScorer:
    """A trained supernet that scores genotypes on the validation subset of its search.

    ``checkpoint`` is the run directory or checkpoint file of the search. Batch norm statistics of
    each path are recomputed from ``calibration`` training batches.
    """

    def __init__(self, checkpoint: Path, calibration: int) -> None:
        file = find_checkpoint(str(checkpoint), "judge.checkpoint")
        state = load_checkpoint(file, "search")
        with checkpoint_errors(file):
            config = rebuild(SearchConfig, entry(state, "config", JsonObject))
        ranks = Ranks(config.device)
        data_module = make_data_module(config, ranks)
        train, _, self._valid = data_module.search_loaders()
        self._calibration = [train.batch(0, n) for n in range(min(calibration, len(train)))]
        objective, sizes = data_module.objective(), data_module.network_sizes(config.space)
        with checkpoint_errors(file):
            self._searcher = Searcher(config, objective, ranks, sizes, saved=state)
            self._searcher.load_state_dict(state["searcher"])

    def scores(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return the validation scores of a genotype, for example ``valid_accuracy``.

        A genotype that is not from the supernet's space raises ``ValueError``.
        """
        masks, batches = self._masks(genotype), self._valid.epoch(0)
        scores = path_score(self._searcher, masks, self._calibration, batches)
        return {f"valid_{name}": value for name, value in scores.items()}

    def network(self, genotype: AnyGenotype) -> NetworkBase:
        """Return the network of a genotype with the weights of the supernet.

        Its batch norm statistics come from the calibration. Raises ``ValueError`` for spaces
        whose networks cannot inherit weights, see ``darts.spaces.Space.inherit``.
        """
        searcher = self._searcher
        calibrate(searcher, self._masks(genotype), self._calibration)
        return searcher.context.space.inherit(genotype, searcher.net)

    def _masks(self, genotype: AnyGenotype) -> dict[str, Tensor]:
        """Return the masks of a genotype; ``ValueError`` if it is of another space."""
        context = self._searcher.context
        if genotype.space != context.space.name:
            raise ValueError(
                f"the supernet has space={context.space.name}, the genotype space={genotype.space}"
            )
        return context.space.mask(genotype, context.candidates)
