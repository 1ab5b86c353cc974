"""Text as windows of a stream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from darts.data import Corpus, WindowLoader
from darts.data_modules.data_module import DataModule, InputSpec, SearchLoaders
from darts.training.distributed import Ranks

TEST_COLUMNS = 1  # the test split is read from its beginning to its end, with the state that it has


class TextDataModule(DataModule):
    """Windows of a ``Corpus``: weights learn from its training part, alphas from the other.

    Of the parts it keeps the first token's place and that behind the last, in the file of the part.
    """

    source: Corpus
    target_noun: ClassVar[str] = "tokens"

    def __init__(self, config: Any, ranks: Ranks) -> None:
        if ranks.size > 1:
            raise ValueError(
                f"task={config.task.name} runs in one process, since its networks carry a state "
                "from window to window; leave torchrun out"
            )
        super().__init__(config, ranks)
        self.target_names = self.source.vocabulary

    def network_sizes(self, space: Any) -> dict[str, int]:
        """``vocabulary``: how many tokens there are."""
        return {"vocabulary": len(self.target_names)}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """A token has none."""
        return ()

    def example_input(self) -> Tensor:
        """One token, ``(1, 1)``."""
        return torch.zeros(1, 1, dtype=torch.int64, device=self.ranks.device)

    def input_specs(self) -> list[InputSpec]:
        """Tokens of a window, ``(T, B)``."""
        return [
            InputSpec("tokens", (self.config.task.window, 2), {1: "batch"}, len(self.target_names))
        ]

    def search_loaders(self) -> SearchLoaders:
        """The weights learn from the training part, the alphas from the validation part."""
        train = self._train()
        self.subsets = {"weights": _whole(train), "alphas": _whole(self.source.valid)}
        return SearchLoaders(
            self._training(train, "weights"),
            self._training(self.source.valid, "alphas"),
            self._evaluation(self.source.valid, self.config.loader.eval_batch_size),
        )

    def retrain_loaders(self) -> tuple[WindowLoader, WindowLoader | None]:
        """The training part, and the validation part unless ``validation=0``."""
        if self.config.cutout:
            raise ValueError(
                f"cutout={self.config.cutout} erases a part of an image, and a text is none; "
                "set cutout=0"
            )
        train = self._train()
        self.subsets = {"train": _whole(train)}
        if not self.config.validation > 0:
            return self._training(train, "train"), None
        self.subsets["valid"] = _whole(self.source.valid)
        return self._training(train, "train"), self.held_out_loader("valid", self.subsets)

    def held_out_loader(self, split: str, subsets: Mapping[str, Tensor]) -> WindowLoader:
        """The test part, read in one column, or the validation part."""
        if split == "test":
            return self._evaluation(self.source.test, TEST_COLUMNS)
        return self._evaluation(self.source.valid, self.config.loader.eval_batch_size)

    def extra_files(self) -> dict[str, str]:
        """``vocabulary.json``, a list of tokens in the order of their numbers."""
        return {
            "vocabulary.json": json.dumps(self.target_names, ensure_ascii=False, indent=0) + "\n"
        }

    def _train(self) -> Tensor:
        """The tokens to learn from: all, or the first so many."""
        subset, tokens = self.config.dataset.subset, self.source.train
        if subset is not None and subset > len(tokens):
            raise ValueError(
                f"dataset.subset={subset} is more than the {len(tokens)} training tokens of "
                f"{self.source.name}"
            )
        return tokens[:subset]

    def _training(self, tokens: Tensor, stream: str) -> WindowLoader:
        size = self.config.loader.batch_size
        return self._windows(tokens, size, stream, shift=True)

    def _evaluation(self, tokens: Tensor, columns: int) -> WindowLoader:
        return self._windows(tokens, columns, "evaluation", shift=False)

    def _windows(self, tokens: Tensor, columns: int, stream: str, *, shift: bool) -> WindowLoader:
        return WindowLoader(
            tokens,
            columns=columns,
            length=self.config.task.window,
            seed=self.config.seed,
            stream=stream,
            shift=shift,
            device=self.ranks.device,
        )


def _whole(tokens: Tensor) -> Tensor:
    return torch.tensor([0, len(tokens)])
