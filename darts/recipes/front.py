"""The front of a search: one genotype for each budget, with its cost and its score."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from darts.judging.limits import Budgets
from darts.judging.pareto import pareto_front
from darts.plotting.scores import draw_front
from darts.plotting.style import save_figure
from darts.reading import JsonObject
from darts.recipes.search_callbacks import SearchCallback
from darts.searching.paths import path_masks, path_score
from darts.spaces import AnyGenotype
from darts.tracking import format_value, print_lines
from darts.tracking.metrics import write_table
from darts.tracking.optional import optional

if TYPE_CHECKING:
    from darts.recipes.search import Search

FOLDER = "front"
TABLE = "front.csv"
FIGURE = "front.svg"


@dataclass(frozen=True)
class FrontPoint:
    """A genotype of the front."""

    budget: float  # the smallest one that the genotype was found for
    cost: float  # at most the budget
    score: float  # of its path in the supernet, on the validation data of the search
    genotype: AnyGenotype


class Front(SearchCallback):
    """Finds the genotypes of a front with the trained supernet, and writes them.

    The penalty of the budgets is a term of the loss of the alphas.
    """

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._budgets = Budgets(search.config, search.context, search.data)
        search.searcher.alpha_costs.append(self._budgets.penalty())
        self._points: list[FrontPoint] = []
        self._rows: list[JsonObject] = []  # of the table

    def end_search(self, genotype: AnyGenotype) -> None:
        """Find the distinct genotypes of the budgets, small budgets first.

        The genotype of a budget is the most probable one that was found between it and the next
        smaller budget, if there is one, or else below it. Without the smaller budget, the genotypes
        of several budgets are often the same, far below the larger budgets. Budgets without a
        genotype within the limits of the search are left out.
        """
        with self.search.run.phase("discretization"):
            self._find()

    def _find(self) -> None:
        search, budgets = self.search, self._budgets
        config, context = search.config, search.context
        searcher, loaders = search.searcher, search.loaders
        count = min(config.collapse.calibration, len(loaders.weights))
        calibration = [loaders.weights.batch(0, step) for step in range(count)]
        found: dict[str, FrontPoint] = {}
        shares = budgets.shares()
        for share, smaller in zip(shares, [None, *shares], strict=False):
            limit = budgets.limit_at(share, smaller)
            if limit is None:
                continue
            limited = dataclasses.replace(context, limit=limit)
            with context.at_budget(share):
                probabilities = searcher.probabilities()
            genotype = config.discretize.genotype(probabilities, limited)
            if genotype.function in found:
                continue
            search.loop.save_if_due()  # exits after a signal
            masks = path_masks(genotype, probabilities, limited)
            scores = path_score(searcher, masks, calibration, loaders.scoring.epoch(0))
            found[genotype.function] = FrontPoint(
                budgets.at(share), budgets.cost(genotype), scores[config.metric], genotype
            )
        self._points = list(found.values())

    def summary(self, flaws: Sequence[str]) -> JsonObject:
        """Write a table, a figure, and a file for each genotype; return their number."""
        config, run = self.search.config, self.search.run
        cost, metric = config.front.cost, f"valid_{config.metric}"
        higher = self.search.objective.metrics[config.metric].higher_is_better
        self._rows = rows = [
            {
                "point": number,
                "budget": point.budget,
                cost: point.cost,
                metric: point.score,
                "genotype": str(point.genotype),
            }
            for number, point in enumerate(self._points, 1)
        ]
        best = pareto_front(rows, {metric: higher, cost: False})
        for number, row in enumerate(rows):
            row["on_front"] = number in best
        if rows and run.ranks.main:
            (run.path / FOLDER).mkdir(exist_ok=True)
            for number, point in enumerate(self._points, 1):
                run.write(f"{FOLDER}/{number}.json", point.genotype.to_json())
            write_table(run.path / TABLE, rows)
            if config.tracking.figures:
                with optional(run.path / FIGURE):
                    title = f"{config.name}, seed {config.seed}"
                    save_figure(draw_front(rows, metric, cost, title=title), run.path / FIGURE)
        return {"front_points": len(rows)}

    def uncounted(self) -> list[str]:
        return ["the front"]

    def print_results(self) -> None:
        print_lines("", *front_lines(self._rows))


def front_lines(rows: Sequence[JsonObject]) -> list[str]:
    """Return lines with cost and score of each genotype of a front."""
    shown = [
        [
            f"front/{row['point']}.json",
            *(
                f"{name} {format_value(name, value)}"
                for name, value in row.items()
                if name not in ("point", "budget", "genotype", "on_front")
            ),
            "" if row["on_front"] else "dominated",
        ]
        for row in rows
    ]
    if not shown:
        return ["warning: the front is empty: no genotype is within the budgets and the limits"]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [
        "Front, scored with the weights of the supernet:",
        *(
            "  ".join(
                f"{text:{width}}" for text, width in zip(["", *own], [0, *widths], strict=True)
            ).rstrip()
            for own in shown
        ),
        "To train one of them, put its file into the command below.",
    ]
