"""The supernet of a model of your own: the model, whose choices mix their candidates."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from darts.spaces.module.genotype import Genotype, rows_of, with_chosen
from darts.spaces.network import NetworkBase
from darts.spaces.supernet import ParameterRows, SupernetBase


class Supernet(SupernetBase):
    """A model with alphas for its choices; maps a batch of samples to logits ``(B, classes)``."""

    space = "module"

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model, self.classes, self.rows = model, classes, rows_of(model)
        self.set_chain((row.group, row.names) for row in self.rows)
        self.alphas = self.make_alphas()

    def forward(self, samples: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return logits; for the mixing weights, see ``SupernetBase.make_mixture``."""
        for row, mixture in zip(self.rows, self.chain_weights(weights), strict=True):
            for choice in row.choices:
                choice.mix(*mixture)
        try:
            logits: Tensor = self.model(samples)
        finally:
            for row in self.rows:
                for choice in row.choices:
                    choice.mix(None)  # the graph of this pass must not outlive it
        return _checked(logits, samples, self.classes, self.model)

    def operation_rows(self) -> dict[str, list[ParameterRows]]:
        found: dict[str, list[ParameterRows]] = {}
        for row in self.rows:
            for number, choice in enumerate(row.choices):
                owned: set[nn.Parameter] = set()  # by a smaller number of blocks of a Repeat
                for name in choice.names:
                    own = [p for p in choice.chosen(name).parameters() if p not in owned]
                    owned.update(own)
                    weights = [ParameterRows(p, 0, len(p)) for p in own if p.ndim > 1]
                    if weights:
                        found[f"{row.key}.{number}.{name}"] = weights
        return found


class Network(NetworkBase):
    """The model of a genotype: each choice is replaced by its chosen candidate.

    The argument ``model`` must be new, because it is changed in place.
    """

    def __init__(self, genotype: Genotype, model: nn.Module, classes: int) -> None:
        super().__init__(genotype)
        rows, names = rows_of(model), dict(genotype.choices)
        require_keys(genotype, {row.key: row.names for row in rows})
        chosen = {id(choice): names[row.key] for row in rows for choice in row.choices}
        self.model, self.classes = with_chosen(model, chosen), classes

    def forward(
        self, samples: Tensor, auxiliary: bool = False
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        logits = _checked(self.model(samples), samples, self.classes, self.model)
        return (logits, None) if auxiliary else logits

    def plain(self) -> nn.Module:
        return self.model


def require_keys(genotype: Genotype, names: Mapping[str, tuple[str, ...]]) -> None:
    """Raise ValueError unless a genotype chooses one candidate of each choice.

    ``names`` has the names of the candidates by key.
    """
    chosen = dict(genotype.choices)
    if unknown := [key for key in chosen if key not in names]:
        raise ValueError(f"the model has no choice {unknown[0]!r}; it has {', '.join(names)}")
    for key, allowed in names.items():
        if key not in chosen:
            raise ValueError(f"the genotype chooses nothing for {key!r}")
        if chosen[key] not in allowed:
            raise ValueError(
                f"{chosen[key]!r} is not a candidate of {key!r}; choose from {', '.join(allowed)}"
            )


def _checked(logits: object, samples: Tensor, classes: int, model: nn.Module) -> Tensor:
    """Raise ValueError for outputs that are not logits of the classes of the data."""
    if not isinstance(logits, Tensor) or logits.shape != (len(samples), classes):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"{type(model).__name__} returns {found} for {len(samples)} samples, but the data has "
            f"{classes} classes; it must return logits ({len(samples)}, {classes})"
        )
    return logits
