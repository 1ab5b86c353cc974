"""The recurrent space.

The parameters of an architecture are the activation and the source of each node. Node 1 can only
read state 0, so its source is not a parameter. Each genotype is exactly one point.

References:
    DARTS, arXiv:1806.09055, sections 2.4, 3.1 and 3.3 and appendices A.1.2 and A.2.2; the uniform
    distribution over cells is its random-search baseline, section 3.2. Results of published cells
    are the papers' claims for Penn Treebank, table 2, not measurements of this code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from darts.registry import number
from darts.spaces.any_genotype import AnyGenotype, PublishedGenotype, read_published
from darts.spaces.deriving import (
    ByGroup,
    Candidates,
    allowed,
    check_candidate,
    check_subset,
    checked_rows,
    draw,
    edge_mask,
    subset_masks,
)
from darts.spaces.network import NetworkPiece
from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.recurrent.cell import FUNCTIONS, DropoutRates, ModelSettings, highway
from darts.spaces.recurrent.encoder_decoder import TranslationSettings
from darts.spaces.recurrent.genotype import (
    ACTIVATIONS,
    CLASSIC_PATTERN,
    GROUP,
    PRIMITIVES,
    Genotype,
    edges_of,
)
from darts.spaces.recurrent.network import Network, TranslationNetwork
from darts.spaces.recurrent.supernet import Supernet, TranslationSupernet
from darts.spaces.space import SPACES, Space
from darts.spaces.transformer.frame import Embedding

PUBLISHED = read_published(__file__, "test perplexity", Genotype.parse)


@SPACES.register
@dataclass
class Recurrent(Space):
    """A recurrent cell in a language model or an encoder-decoder.

    The defaults are the published settings of the search.

    Attributes:
        cells: Number of cells in a language model; always 1.
        nodes: Number of nodes of the searched cell after state 0. A genotype defines its own
            number.
        tied: Whether the output layer shares the weights of the (target) embedding.
        copy: Whether an encoder-decoder can copy words of the source.
        weight_dropout: Dropout rate of the hidden-to-hidden weights, in the discrete network only.
        candidates: Operations to choose from; [] for all operations of the space.
    """

    notation: ClassVar[str | None] = CLASSIC_PATTERN
    name: str = "recurrent"
    genotype: ClassVar[type[AnyGenotype]] = Genotype
    fan_in: ClassVar[int | None] = 1
    skip_operation: ClassVar[str | None] = None
    supports_skip_dropout: ClassVar[bool] = False
    clips_virtual_step: ClassVar[bool] = True  # gradients through time can be huge
    retrain_keys: ClassVar[tuple[str, ...]] = ("tied", "copy")
    size_keys: ClassVar[tuple[str, ...]] = ("embedding", "hidden")
    data_kinds: ClassVar[tuple[str, ...]] = ("text", "pairs")
    # "identity" is an activation; its edge has weights like all others.
    skip_operations: ClassVar[tuple[str, ...]] = ("none",)
    weightless_operations: ClassVar[tuple[str, ...]] = ("none",)
    published: ClassVar[Mapping[str, PublishedGenotype[AnyGenotype]]] = PUBLISHED
    cells: int = number(1, low=1, high=1)
    nodes: int = number(8, low=1, high=64)
    embedding: int = number(300, low=1)
    hidden: int = number(300, low=1)
    tied: bool = True
    copy: bool = False
    word_dropout: float = number(0.0, low=0, below=1)
    embedding_dropout: float = number(0.2, low=0, below=1)
    input_dropout: float = number(0.75, low=0, below=1)
    hidden_dropout: float = number(0.25, low=0, below=1)
    output_dropout: float = number(0.75, low=0, below=1)
    weight_dropout: float = number(0.0, low=0, below=1)
    candidates: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_subset(self.candidates, {"an edge": PRIMITIVES, "a node": ACTIVATIONS})

    @property
    def _activations(self) -> tuple[str, ...]:
        return allowed(ACTIVATIONS, self.candidates)

    @property
    def dropouts(self) -> DropoutRates:
        names = [rate.name for rate in fields(DropoutRates)]
        return DropoutRates(**{name: getattr(self, f"{name}_dropout") for name in names})

    def supernet(self, **options: Any) -> Supernet | TranslationSupernet:
        """Build a language model (size ``vocab_size``), or an encoder-decoder.

        An encoder-decoder has the sizes ``sources``, ``targets`` and optionally ``joint``.
        """
        if self.weight_dropout > 0:
            raise ValueError(
                f"space.weight_dropout={self.weight_dropout}: the supernet of the recurrent space "
                "does not support weight dropout; set it to 0"
            )
        sizes = self.supported(options, depth=1, partial=1, auxiliary_skip=0)
        settings = self._settings(sizes)
        if isinstance(settings, TranslationSettings):
            return TranslationSupernet(settings, self.nodes)
        return Supernet(sizes["vocab_size"], settings, self.nodes)

    def network(self, genotype: Genotype, **options: Any) -> Network | TranslationNetwork:
        sizes = self.supported(options, auxiliary=0, drop_path=0)
        settings = self._settings(sizes)
        if isinstance(settings, TranslationSettings):
            return TranslationNetwork(genotype, settings)
        return Network(genotype, sizes["vocab_size"], settings)

    def _settings(self, sizes: Mapping[str, Any]) -> ModelSettings:
        shared = self.embedding, self.hidden, self.dropouts, self.tied
        if "vocab_size" not in sizes:
            return TranslationSettings(*shared, **sizes, copy=self.copy)
        if self.copy:
            raise ValueError(
                "space.copy=true: a language model has no source to copy words from; "
                "set space.copy=false"
            )
        return ModelSettings(*shared)

    @classmethod
    def reference(cls, genotype: Genotype) -> Recurrent:
        return cls(nodes=genotype.nodes(), embedding=850, hidden=850)

    def derive(self, probabilities: ByGroup, candidates: Candidates) -> Genotype:
        """Keep the strongest edge into each node, and its strongest activation.

        The strength of an edge is the probability of its most probable candidate other than
        ``none``. ``none`` is included in the softmax, so a probable ``none`` weakens its edge. The
        output is the mean of all nodes.
        """
        rows, names = checked_rows(probabilities, candidates)[GROUP], candidates[GROUP]
        nodes: dict[int, tuple[float, str, int]] = {}
        for (source, node), row, operations in zip(edges_of(self.nodes), rows, names, strict=True):
            for value, name in zip(row, operations, strict=True):
                if name != "none" and (node not in nodes or value > nodes[node][0]):
                    nodes[node] = value, name, source
        return Genotype([(name, source) for _, name, source in nodes.values()], [*nodes])

    def initial_masks(self, candidates: Candidates) -> dict[str, Tensor]:
        return subset_masks(candidates, self.candidates)

    def random(self, generator: torch.Generator) -> Genotype:
        nodes = range(1, self.nodes + 1)
        pairs = [(draw(generator, self._activations), draw(generator, range(n))) for n in nodes]
        return Genotype(pairs, nodes)

    def parameters(self) -> list[Parameter]:
        result: list[Parameter] = []
        for node in range(1, self.nodes + 1):
            if node > 1:
                result.append(Parameter(f"node{node}.source", Choice(tuple(range(node)))))
            result.append(Parameter(f"node{node}.activation", Choice(self._activations)))
        return result

    def encode(self, genotype: Genotype) -> Point:
        if genotype.nodes() != self.nodes or len(genotype.outputs) != self.nodes:
            raise ValueError(
                f"the genotype must have space.nodes={self.nodes} nodes, and its output must be "
                "the mean of all of them"
            )
        point: Point = {}
        for source, node, activation in genotype.edges():
            check_candidate(activation, self._activations, f"node {node}")
            if node > 1:
                point[f"node{node}.source"] = source
            point[f"node{node}.activation"] = activation
        return point

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        nodes = range(1, self.nodes + 1)
        pairs = [
            (str(point[f"node{node}.activation"]), int(point.get(f"node{node}.source") or 0))
            for node in nodes
        ]
        return Genotype(pairs, nodes)

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        layout = edges_of(self.nodes)
        return {GROUP: edge_mask(genotype.edges(), layout, candidates[GROUP], GROUP)}

    def pieces(self, *, classes: int, sample_shape: Sequence[int] = ()) -> Iterator[NetworkPiece]:
        """Yield the modules of the language model, with every candidate; costs are per token.

        Every node has one matrix product of the same size, whatever its source and activation. All
        cells with the same number of nodes therefore have the same parameters and MACs; their
        latencies differ slightly.
        """
        if not self.tied:
            yield NetworkPiece(partial(Embedding, classes, self.embedding), ())
        inputs = self.embedding + self.hidden
        yield NetworkPiece(partial(CellState, inputs, self.hidden, "tanh"), (inputs,))
        for edge in range(len(edges_of(self.nodes))):
            for column, name in enumerate(PRIMITIVES):
                if name != "none":
                    make = partial(CellState, self.hidden, self.hidden, name)
                    yield NetworkPiece(make, (self.hidden,), (GROUP, edge, column))
        yield NetworkPiece(partial(nn.Linear, self.hidden, classes), (self.hidden,))

    def expected_usage(self, probabilities: ByGroup, candidates: Candidates) -> dict[str, Tensor]:
        """Return for each candidate the probability that its node uses it.

        The probabilities of all candidates into a node, except ``none``, are normalized to sum to
        one, because a genotype keeps one candidate per node and never ``none``.
        """
        usable = torch.tensor([[name != "none" for name in row] for row in candidates[GROUP]])
        p = probabilities[GROUP]
        p = p * usable.to(p.device)
        fan_ins = list(range(1, self.nodes + 1))  # edges into each node
        normalized = [rows / rows.sum().clamp_min(1e-12) for rows in torch.split(p, fan_ins)]
        return {GROUP: torch.cat(normalized)}


class CellState(nn.Module):
    """The computation of one state of a cell, ``(B, inputs)`` -> ``(B, hidden)``."""

    def __init__(self, inputs: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.activation, self.hidden = activation, hidden
        self.weight = nn.Parameter(torch.zeros(inputs, 2 * hidden))

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, {self.activation}"

    def forward(self, x: Tensor) -> Tensor:
        gate, new = (x @ self.weight).chunk(2, dim=1)
        new = FUNCTIONS[self.activation](new)
        return highway(x[:, -self.hidden :], new, torch.sigmoid(gate))
