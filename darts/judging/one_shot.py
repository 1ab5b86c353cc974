"""Architectures scored with the weights that a supernet has learned.

References:
    Bender et al., "Understanding and Simplifying One-Shot Architecture Search", ICML 2018.
    Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
    arXiv:1904.00420, section 3.4: statistics of batch norm for each path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from darts.config import SearchConfig, rebuild
from darts.data_modules.data_module import make_data_module
from darts.searching.calibration import calibrate
from darts.searching.searcher import Searcher
from darts.spaces.mixture import path_of
from darts.training.checkpoint import load_checkpoint
from darts.training.device import resolve_device
from darts.training.distributed import Ranks
from darts.training.scoring import evaluate


class OneShot:
    """A searched supernet that scores genotypes of its space on the alphas' half of the data.

    Args:
        checkpoint: directory of the search, or its checkpoint.
        calibration: batches of the weights' half from which batch norm takes its statistics.

    Raises:
        ValueError: in one line, when it is the checkpoint of no search.
    """

    def __init__(self, checkpoint: Path, calibration: int) -> None:
        file = checkpoint / "checkpoint.pt" if checkpoint.is_dir() else checkpoint
        if not file.is_file():
            raise ValueError(
                f"evaluation.checkpoint={str(checkpoint)!r} is neither the directory of a search "
                "nor a checkpoint file"
            )
        state = load_checkpoint(file, "search")
        self.config = config = rebuild(SearchConfig, state["config"])
        self._device = resolve_device(config.device)
        ranks = Ranks(config.device)
        data_module = make_data_module(config, ranks)
        train, _, self._valid = data_module.searched()
        self._calibration = [train.batch(0, n) for n in range(min(calibration, len(train)))]
        self._objective = config.task.objective(data_module.names)
        self._searcher = Searcher(
            *(config, self._objective, ranks, data_module.sizes(config.space)),
            stage=state["searcher"]["stage"],
        )
        self._searcher.load_state_dict(state["searcher"])

    def scores(self, genotype: Any) -> dict[str, float]:
        """``valid_accuracy`` and the other scores of a genotype.

        Raises:
            ValueError: for a genotype of another space.
        """
        context, net = self._searcher.context, self._searcher.net
        if genotype.space != context.space.name:
            raise ValueError(
                f"the supernet is of space={context.space.name}, the genotype of {genotype.space}"
            )
        active = context.space.mask(genotype, context.candidates)
        mixture = path_of(active, net.shapes, self._device)

        def path(samples: Any, /, **more: Any) -> Any:
            return net(samples, mixture, **more)

        calibrate(
            *(net, path, self._calibration, self._objective),
            device=self._device,
            precision=self.config.precision,
        )
        found = evaluate(
            net,
            self._valid.epoch(0),
            self._objective,
            device=self._device,
            precision=self.config.precision,
            forward=path,
        )
        return {f"valid_{name}": value for name, value in found.items()}
