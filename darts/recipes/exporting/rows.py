"""The encoding of the rows of a table as operations on tensors, which a graph can contain."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
import torch
from torch import Tensor, nn

from darts.data import InputSpec
from darts.data.columns import DATE, DATE_PARTS
from darts.data.encodings import Encoding, RowEncoding

# Largest distance of adjacent float32 numbers, in deviations of a column.
MAX_ROUNDING = 0.01


def raw_columns(encoding: Encoding | None) -> RowEncoding | None:
    """Return the encoding of a graph that takes raw columns; None if a graph cannot take them.

    It is None for words, and for numbers that are too coarse or infinite in float32.
    """
    if not isinstance(encoding, RowEncoding):
        return None
    mean, deviation = (
        np.array([value for own in encoding.used for value in getattr(own, name)])
        for name in ("mean", "deviation")
    )
    with np.errstate(all="ignore"):
        distance = np.spacing((np.abs(mean) + deviation).astype(np.float32))  # NaN if infinite
    return encoding if (distance <= MAX_ROUNDING * deviation).all() else None


class RowEncoder(nn.Module):
    """The function from raw columns to the inputs of a network, as in ``RowEncoding``.

    Attributes:
        inputs: ``numbers`` ``(B, n)`` float32, in which NaN is a missing number, and ``categories``
            ``(B, m)`` int64, in which an index that is out of range is an unseen category. A table
            without numbers or without categories has only one of them.
        columns: What is at each position of the inputs, for network.json.
    """

    def __init__(self, encoding: RowEncoding) -> None:
        super().__init__()
        numeric = [own for own in encoding.used if own.parts]
        texts = [own for own in encoding.used if own.categories]
        starts = accumulate((own.parts for own in numeric), initial=0)
        placed = list(zip(starts, numeric, strict=False))
        # Standardized numbers, then bins: the position of the raw number, what is subtracted, the
        # divisor, and the result if the number is missing.
        terms = [
            (start + part, own.mean[part], own.deviation[part], 0.0)
            for start, own in placed
            for part in range(own.parts)
        ]
        bins = [
            (start, low, high - low, min(max((own.mean[0] - low) / (high - low), 0.0), 1.0))
            for start, own in placed
            for low, high in pairwise(own.edges)
        ]
        table = torch.tensor([*terms, *bins], dtype=torch.float64).reshape(-1, 4)
        self.source, self.fill = table[:, 0].long(), table[:, 3].float()
        # In two parts: the difference of close float32 numbers is exact, but a mean is rounded.
        self.center = table[:, 1].float()
        self.rest = (table[:, 1] - self.center).float()
        # Bins of tiny numbers become steps.
        self.scale = table[:, 2].float().clamp(min=torch.finfo(torch.float32).tiny)
        ends = [(*own.edges[:1], *own.edges[-1:]) or (torch.nan,) * 2 for own in numeric]
        ranges = [pair for own, pair in zip(numeric, ends, strict=True) for _ in range(own.parts)]
        self.low, self.high = torch.tensor(ranges, dtype=torch.float64).reshape(-1, 2).unbind(1)
        self.lacking = torch.tensor([start for start, own in placed if own.may_lack]).long()
        pairs = [
            (number, k) for number, own in enumerate(texts) for k in range(len(own.categories))
        ]
        self.column, self.index = torch.tensor(pairs).long().reshape(-1, 2).unbind(1)
        self.numbers, self.bins = len(terms), len(bins)
        self.width, self.categories = encoding.width, [len(own.categories) for own in texts]
        self.inputs, self.columns = list[InputSpec](), list[dict[str, object]]()
        if numeric:
            self.inputs.append(InputSpec("numbers", (2, self.numbers), {0: "batch"}))
            parts = {DATE: [f".{part}" for part in DATE_PARTS]}
            names = [own.name + part for own in numeric for part in parts.get(own.kind, [""])]
            self.columns.append({"columns": names})
        if texts:
            most = max(self.categories)
            self.inputs.append(InputSpec("categories", (2, len(texts)), {0: "batch"}, most))
            lists = [list(own.categories) for own in texts]
            self.columns.append({"columns": [own.name for own in texts], "categories": lists})

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the inputs ``(B, width, 1, 1)`` of the network."""
        blocks, last = list[Tensor](), list[Tensor]()
        if self.numbers:
            values = tensors[0].index_select(1, self.source)
            scaled = (values - self.center - self.rest) / self.scale
            scaled = torch.where(values.isnan(), self.fill, scaled)
            blocks.append(scaled[:, : self.numbers])
            if len(self.lacking):
                blocks.append(tensors[0].index_select(1, self.lacking).isnan().float())
            if self.bins:
                last.append(scaled[:, self.numbers :].clamp(0, 1))
        if self.categories:
            blocks.append((tensors[-1].index_select(1, self.column) == self.index).float())
        return torch.cat([*blocks, *last], 1)[:, :, None, None]

    def raw(self, samples: Tensor) -> list[Tensor]:
        """Return raw columns that are encoded as ``samples`` ``(B, width, 1, 1)``.

        The category of an input above 0.5 is known, and a number with such an input is missing, so
        that random samples also have raw columns.
        """
        sizes = [self.numbers, len(self.lacking), *self.categories, self.bins]
        scaled, lacking, *categories, bins = torch.split(samples.flatten(1), sizes, 1)
        tensors = []
        if count := self.numbers:
            center = self.center[:count].double() + self.rest[:count]
            numbers = center + scaled.double() * self.scale[:count]
            # Within the bins, they are more exact: the deviation may be much larger than a bin.
            parts = bins.double() * self.scale[count:]
            exact = torch.zeros_like(numbers).index_add(1, self.source[count:], parts) + self.low
            is_within = (self.low < numbers) & (numbers < self.high)  # false without bins
            numbers = torch.where(is_within, exact, numbers)
            missing = torch.zeros_like(scaled).index_copy(1, self.lacking, lacking)
            tensors.append(numbers.masked_fill(missing > 0.5, torch.nan).float())
        if categories:
            found = [own.max(1) for own in categories]
            indices = [torch.where(own.values > 0.5, own.indices, -1) for own in found]
            tensors.append(torch.stack(indices, 1))
        return tensors
