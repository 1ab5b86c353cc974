"""One-shot scores: validation scores of architectures with the weights of a supernet.

References:
    Bender et al., "Understanding and Simplifying One-Shot Architecture Search", ICML 2018.
    Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
    arXiv:1904.00420, section 3.4: batch norm statistics are recomputed for each path.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from darts.config import SearchConfig, rebuild
from darts.data_modules import make_data_module
from darts.reading import JsonObject
from darts.searching.paths import calibrate
from darts.searching.searcher import Searcher
from darts.spaces import AnyGenotype, NetworkBase
from darts.spaces.mixture import path_mixture
from darts.training.checkpoint import FILE, checkpoint_errors, load_checkpoint
from darts.training.device import resolve_device
from darts.training.distributed import Ranks
from darts.training.scoring import evaluate
from darts.typed_values import entry


class OneShotScorer:
    """A trained supernet that scores genotypes on the validation subset of its search.

    ``checkpoint`` is the run directory or checkpoint file of the search. Batch norm statistics of
    each path are recomputed from ``calibration`` training batches.
    """

    def __init__(self, checkpoint: Path, calibration: int) -> None:
        file = checkpoint / FILE if checkpoint.is_dir() else checkpoint
        if not file.is_file():
            raise ValueError(
                f"judge.checkpoint={str(checkpoint)!r} is neither the run directory of a "
                "search nor a checkpoint file"
            )
        state = load_checkpoint(file, "search")
        with checkpoint_errors(file):
            self.config = config = rebuild(SearchConfig, entry(state, "config", JsonObject))
        self._device = resolve_device(config.device)
        ranks = Ranks(config.device)
        data_module = make_data_module(config, ranks)
        train, _, self._valid = data_module.search_loaders()
        self._calibration = [train.batch(0, n) for n in range(min(calibration, len(train)))]
        self._objective = data_module.objective()
        sizes = data_module.network_sizes(config.space)
        with checkpoint_errors(file):
            self._searcher = Searcher(config, self._objective, ranks, sizes, saved=state)
            self._searcher.load_state_dict(state["searcher"])

    def scores(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return the validation scores of a genotype, for example ``valid_accuracy``.

        A genotype that is not from the supernet's space raises ``ValueError``.
        """
        net, forward = self._searcher.net, self._calibrated(genotype)
        scores = evaluate(
            net,
            self._valid.epoch(0),
            self._objective,
            device=self._device,
            precision=self.config.precision,
            forward=forward,
        )
        return {f"valid_{name}": value for name, value in scores.items()}

    def network(self, genotype: AnyGenotype) -> NetworkBase:
        """Return the network of a genotype with the weights of the supernet.

        Its batch norm statistics come from the calibration. Raises ``ValueError`` for spaces
        whose networks cannot inherit weights, see ``darts.spaces.Space.inherit``.
        """
        self._calibrated(genotype)
        return self._searcher.context.space.inherit(genotype, self._searcher.net)

    def _calibrated(self, genotype: AnyGenotype) -> Callable[..., Tensor]:
        """Recompute the batch norm statistics for a genotype; return the forward pass."""
        context, net = self._searcher.context, self._searcher.net
        if genotype.space != context.space.name:
            raise ValueError(
                f"the supernet has space={context.space.name}, the genotype space={genotype.space}"
            )
        active = context.space.mask(genotype, context.candidates)
        mixture = path_mixture(active, net.shapes, self._device)

        def forward(samples: Tensor, /, **options: object) -> Tensor:
            outputs: Tensor = net(samples, mixture, **options)
            return outputs

        objective, device, precision = self._objective, self._device, self.config.precision
        calibrate(net, forward, self._calibration, objective, device=device, precision=precision)
        return forward
