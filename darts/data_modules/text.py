"""Running text, read in windows."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor

from darts.config import RetrainConfig, SearchConfig
from darts.data import Corpus, InputSpec, WindowLoader
from darts.data_modules.data_module import DATA_MODULES, DataModule, SearchLoaders
from darts.spaces import Space
from darts.tasks.language_model import LanguageModel
from darts.training.distributed import Ranks

TEST_COLUMNS = 1
"""Columns of the test split: one, so that the state carries through the whole text."""


@DATA_MODULES.register
class TextDataModule(DataModule):
    """Windows of a ``Corpus``.

    A search trains the weights on the training split and the alphas on the validation split.
    ``subsets`` holds ``[0, N]`` for a loader that reads the tokens 0 to N - 1 of its split.
    """

    name = "text"
    data_kinds = ("text",)
    target_noun = "tokens"
    sample_noun = "tokens"
    source: Corpus

    def __init__(
        self, config: SearchConfig | RetrainConfig, ranks: Ranks, source: object | None = None
    ) -> None:
        if ranks.size > 1:
            raise ValueError(
                f"task={config.task.name} runs in one process, because its networks carry a state "
                "from window to window; start it without torchrun"
            )
        super().__init__(config, ranks, source)
        self.target_names = self.source.vocabulary
        assert isinstance(config.task, LanguageModel)
        self.window = config.task.window

    def network_sizes(self, space: Space) -> dict[str, int]:
        """Return ``vocab_size``, the number of different tokens."""
        return {"vocab_size": len(self.target_names)}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Empty: a token is a scalar."""
        return ()

    def example_input(self) -> Tensor:
        """Return one token, ``(1, 1)``."""
        return torch.zeros(1, 1, dtype=torch.int64, device=self.ranks.device)

    def input_specs(self) -> list[InputSpec]:
        """Return the tokens of a window, ``(T, B)``."""
        return [InputSpec("tokens", (self.window, 2), {1: "batch"}, len(self.target_names))]

    def search_loaders(self) -> SearchLoaders:
        """Return loaders; the validation split trains the alphas and gives the scores."""
        assert isinstance(self.config, SearchConfig)
        self.refuse_cutout(self.config.cutout)
        train, valid = self._training_tokens(), self.source.valid
        self.subsets = {"weights": _token_range(train), "alphas": _token_range(valid)}
        return SearchLoaders(
            self._loader(train, "weights"),
            self._loader(valid, "alphas"),
            self.held_out_loader("valid", {}),
        )

    def retrain_loaders(self) -> tuple[WindowLoader, WindowLoader | None]:
        """Return the training loader and, unless ``validation=0``, the validation loader."""
        config = self.config
        assert isinstance(config, RetrainConfig)
        self.refuse_cutout(config.cutout)
        self.refuse_fold(config.validation_fold)
        train = self._training_tokens()
        self.subsets = {"train": _token_range(train)}
        loader = self._loader(train, "train")
        if not config.validation > 0:
            return loader, None
        self.subsets["valid"] = _token_range(self.source.valid)
        return loader, self.held_out_loader("valid", self.subsets)

    def held_out_loader(self, split: str, subsets: Mapping[str, Tensor]) -> WindowLoader:
        """Return a loader of the test split in one column, or of the validation split."""
        if split == "test":
            return self._loader(self.source.test, "evaluation", TEST_COLUMNS)
        return self._loader(self.source.valid, "evaluation", self.config.loader.eval_batch_size)

    def scored_targets(self, split: str) -> Tensor:
        """Return the tokens of a split except the first, which is never a target."""
        return (self.source.test if split == "test" else self.source.valid)[1:]

    def subset_sizes(self) -> dict[str, int]:
        """Return the number of tokens of each subset; the subset of N tokens is ``[0, N]``."""
        return {name: int(limits[-1]) for name, limits in self.subsets.items()}

    def extra_files(self) -> dict[str, str]:
        """Return ``vocabulary.json``, the tokens by index."""
        text = json.dumps(self.target_names, ensure_ascii=False, indent=0)
        return {"vocabulary.json": text + "\n"}

    def _training_tokens(self) -> Tensor:
        """Return all training tokens or the first ``dataset.subset``, ``(N,)`` int64."""
        return self.source.train[: self.subset_size(len(self.source.train))]

    def _loader(self, tokens: Tensor, name: str, columns: int | None = None) -> WindowLoader:
        """Return windows for training, or for evaluation if ``columns`` is given."""
        return WindowLoader(
            tokens,
            columns=columns or self.config.loader.batch_size,
            length=self.window,
            seed=self.config.seed,
            name=name,
            shift=columns is None,
            device=self.ranks.device,
        )


def _token_range(tokens: Tensor) -> Tensor:
    return torch.tensor([0, len(tokens)])
