"""The families of ``darts find``: search spaces with fixed sizes, and the baselines in them.

A baseline is a network that needs no search.

References:
    Residual networks: He et al., arXiv:1512.03385; as cells of NAS-Bench-201: arXiv:2001.00326.
    Plain convolutional networks: Simonyan and Zisserman, arXiv:1409.1556.
    Fast convolutional networks: Jordan, arXiv:2404.00498; ConvNeXt: Liu et al., arXiv:2201.03545.
    Fully connected networks with dropout: Kadra et al., arXiv:2106.11189; with members that share
    hidden layers: Gorishniy et al., arXiv:2410.24210; with embedded numbers: arXiv:2203.05556.
    LSTM language models: Zaremba et al., arXiv:1409.2329.
    Bags of words as text classifiers: Joulin et al., arXiv:1607.01759.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from darts.recipes.rules import Values
from darts.spaces import SPACES, AnyGenotype
from darts.spaces.lookup import find_genotype


@dataclass(frozen=True)
class Family:
    """Networks of one space and size.

    Attributes:
        name: Unique name.
        space: Name of the space.
        values: Settings by dotted key: the sizes of the space, settings of the data set that
            change the size of its samples, such as ``dataset.size`` or ``dataset.bins``, and
            hyperparameters that differ from the recipe.
        baselines: Genotypes as text by name, the most promising first.
        later: How many baselines of each other family come before its first one.
    """

    name: str
    space: str
    values: Values
    baselines: Mapping[str, str]
    later: int = 0

    @property
    def fine_tunes(self) -> bool:
        """Whether the networks begin with trained weights."""
        return SPACES[self.space].fine_tunes

    def genotypes(self) -> dict[str, AnyGenotype]:
        """Return the baselines by name."""
        return {name: find_genotype(text)[1] for name, text in self.baselines.items()}


RESNET_CELL = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
PLAIN_CELL = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)
# The plain cell with a residual connection from its input to its output.
RESIDUAL_CELL = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)


def _genotype(space: str, **operations: object) -> str:
    return json.dumps({"space": space, **operations})


_CELLS = {"resnet": RESNET_CELL, "residual_3x3": RESIDUAL_CELL}
_RECURRENT = {"ENAS_RNN": "ENAS_RNN", "DARTS_RNN_V2": "DARTS_RNN_V2"}
_ROWS = {
    "mlp_128": _genotype("mlp", layers=["relu_128"]),
    "linear": _genotype("mlp", layers=["identity_64"]),
    "mlp_256x2": _genotype("mlp", layers=["relu_256", "relu_256"]),
}
# Ensembles with shared hidden layers.
_TABM: Values = {"dataset.bins": 16, "space.members": 16, "space.normalization": "none"}
_WIDE: Values = {"space.widths": [32, 64, 128, 256], "space.cells": 3}
_TEXTS = {
    "lstm_1": _genotype("transformer", blocks=[("lstm", "identity")]),
    "lstm_2": _genotype("transformer", blocks=[("lstm", "identity")] * 2),
    "transformer": _genotype("transformer", blocks=[("attention_4", "gelu_4")] * 2),
}
_DOCUMENTS = {
    "bag_of_words": _genotype("transformer", blocks=[("identity", "identity")]),
    "word_vectors": _genotype("transformer", blocks=[("identity", "gelu_1")]),
    "convolution": _genotype("transformer", blocks=[("conv_3", "gelu_2")]),
    "transformer": _genotype("transformer", blocks=[("attention_4", "gelu_2")]),
}


def _network(width: int, stage: Sequence[str], *, head: str = "max_1") -> str:
    """Return a convolutional network of three equal stages as text."""
    shape = {"widths": [width, 4 * width, 4 * width], "heads": [head]}
    return _genotype("macro", blocks=[stage] * 3, shape=shape)


_PLAIN = ["conv_3x3"] * 2
_RESIDUAL = ["conv_3x3", "conv_3x3", "res_3x3"]
_CONVNETS = {
    "grid_32": _network(32, _PLAIN, head="max_3"),
    "plain_32": _network(32, _PLAIN),
    "residual_32": _network(32, _RESIDUAL),
    "plain_64": _network(64, _PLAIN),
    "plain_16": _network(16, _PLAIN),
    "convnext_32": _network(32, ["conv_3x3", "convnext_k7", "convnext_k7"]),
}


def _text(name: str, hidden: int, cells: int, known: Mapping[str, str], *baselines: str) -> Family:
    values: Values = {"space.hidden": hidden, "space.cells": cells}
    return Family(name, "transformer", values, {own: known[own] for own in baselines})


# The starting points of the search among convolutional networks, see ``Space.moves``.
#
# The residual network keeps the full resolution in its first stage, for details such as the cells
# of a board: on game_of_life, it has 99.5 % in five minutes, and the other networks have 52.6 %.
_IMAGES = (
    Family("convnet", "macro", {"space.skeleton": "fast"}, _CONVNETS),
    Family("resnet", "nas201", {"space.channels": 16, "space.cells": 1}, _CELLS, later=3),
)

# Options of spectrograms of half the default height and about a third of the default width.
# Trainings on them are several times as fast.
_HALF_SIZE: Values = {
    "dataset.mels": 32,
    "dataset.window": 64.0,
    "dataset.hop": 32.0,
    "dataset.frequency_width": 4,
    "dataset.time_width": 4,
    "dataset.shift": 2,
}

# The families by kind of data, the most promising first.
FAMILIES: Mapping[str, tuple[Family, ...]] = {
    "images": _IMAGES,
    "audio": tuple(replace(family, values={**family.values, **_HALF_SIZE}) for family in _IMAGES),
    "rows": (
        Family("mlp", "mlp", _WIDE, _ROWS),
        Family("mlp_bins", "mlp", {**_WIDE, "dataset.bins": 16}, _ROWS),
        Family("tabm", "mlp", {**_WIDE, **_TABM}, {"mlp_256x2": _ROWS["mlp_256x2"]}),
        Family("mlp_periodic", "mlp", {**_WIDE, "space.embedding": "periodic"}, _ROWS),
    ),
    "text": (
        _text("text_128", 128, 2, _TEXTS, "lstm_1", "lstm_2", "transformer"),
        _text("text_256", 256, 2, _TEXTS, "lstm_1", "lstm_2"),
    ),
    "documents": (
        _text("documents_64", 64, 1, _DOCUMENTS, "bag_of_words", "convolution", "transformer"),
        _text("documents_128", 128, 1, _DOCUMENTS, "word_vectors", "convolution"),
    ),
    "pairs": (
        Family("recurrent", "recurrent", {"space.embedding": 128, "space.hidden": 128}, _RECURRENT),
    ),
}

# The baselines by name of the space, if the user chooses the space.
BASELINES: Mapping[str, Mapping[str, str]] = {
    "nas201": {**_CELLS, "all_3x3": PLAIN_CELL},
    "mlp": _ROWS,
    "cnn": {"DARTS_V2": "DARTS_V2", "PC_DARTS_CIFAR": "PC_DARTS_CIFAR"},
    "recurrent": _RECURRENT,
}
