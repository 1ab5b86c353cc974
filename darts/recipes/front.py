"""The front of a search: one genotype for each budget, with its cost and its score."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from darts.config import SearchConfig
from darts.data_modules import DataModule, SearchLoaders
from darts.judging.limits import Budgets
from darts.judging.pareto import pareto_front
from darts.plotting.scores import draw_front
from darts.plotting.style import save_figure
from darts.reading import JsonObject
from darts.searching.diagnosis import path_masks, path_score
from darts.searching.searcher import Searcher
from darts.spaces import AnyGenotype
from darts.tracking import format_value, print_lines
from darts.tracking.metrics import write_table
from darts.tracking.optional import optional
from darts.training.run import TrainingRun

FOLDER = "front"
TABLE = "front.csv"
FIGURE = "front.svg"


@dataclass(frozen=True)
class FrontPoint:
    """A genotype of the front.

    Attributes:
        budget: Smallest budget that the genotype was found for.
        cost: Its cost, at most the budget.
        score: Score of its path in the supernet on the validation data of the search.
        genotype: The genotype.
    """

    budget: float
    cost: float
    score: float
    genotype: AnyGenotype


class Front:
    """Finds the genotypes of a front with a trained supernet, and writes them.

    Args:
        config: Configuration of the search.
        searcher: Its supernet and alphas.
        budgets: Its budgets.
        loaders: Its batches: those that train the weights set the batch norm statistics of each
            path, and the validation batches score it.
    """

    def __init__(
        self, config: SearchConfig, searcher: Searcher, budgets: Budgets, loaders: SearchLoaders
    ) -> None:
        self._config, self._searcher, self._budgets = config, searcher, budgets
        self._loaders = loaders
        self._points: list[FrontPoint] = []
        self.rows: list[JsonObject] = []  # of the table, once it is written

    @classmethod
    def of_search(
        cls, config: SearchConfig, searcher: Searcher, data: DataModule, loaders: SearchLoaders
    ) -> Front | None:
        """Return the front of a search; None if it looks for none.

        The penalty of the budgets becomes a term of the loss of the alphas.

        Raises:
            ConfigError: If the range of the budgets is empty.
        """
        if not config.front.enabled:
            return None
        budgets = Budgets(config, searcher.context, data)
        searcher.alpha_costs.append(budgets.penalty())
        return cls(config, searcher, budgets, loaders)

    def find(self, save_if_due: Callable[[], None]) -> None:
        """Find the distinct genotypes of the budgets, those of small budgets first.

        The genotype of a budget is the most probable one that was found between it and the next
        smaller budget, if there is one, or else below it. Without the smaller budget, the genotypes
        of several budgets are often the same, far below the larger budgets. Budgets without a
        genotype within the limits of the search are left out.

        Args:
            save_if_due: Called before each score; exits after a signal.
        """
        searcher, budgets = self._searcher, self._budgets
        context, metric = searcher.context, self._config.metric
        train_loader = self._loaders.weights
        count = min(self._config.collapse.calibration, len(train_loader))
        calibration = [train_loader.batch(0, step) for step in range(count)]
        found: dict[str, FrontPoint] = {}
        shares = budgets.shares()
        for share, smaller in zip(shares, [None, *shares], strict=False):
            limit = budgets.limit_at(share, smaller)
            if limit is None:
                continue
            limited = dataclasses.replace(context, limit=limit)
            with context.at_budget(share):
                probabilities = searcher.probabilities()
            genotype = self._config.discretize.genotype(probabilities, limited)
            if genotype.function in found:
                continue
            save_if_due()
            masks = path_masks(genotype, probabilities, limited)
            scores = path_score(searcher, masks, calibration, self._loaders.scoring.epoch(0))
            found[genotype.function] = FrontPoint(
                budgets.at(share), budgets.cost(genotype), scores[metric], genotype
            )
        self._points = list(found.values())

    def write(self, run: TrainingRun) -> None:
        """Write a table, a figure, and a file for each genotype; set ``rows``."""
        points = self._points
        config, metric = self._config, f"valid_{self._config.metric}"
        higher = self._searcher.objective.metrics[config.metric].higher_is_better
        self.rows = rows = [
            {
                "point": number,
                "budget": point.budget,
                config.front.cost: point.cost,
                metric: point.score,
                "genotype": str(point.genotype),
            }
            for number, point in enumerate(points, 1)
        ]
        best = pareto_front(rows, {metric: higher, config.front.cost: False})
        for number, row in enumerate(rows):
            row["on_front"] = number in best
        if not rows or not run.ranks.main:
            return
        (run.path / FOLDER).mkdir(exist_ok=True)
        for number, point in enumerate(points, 1):
            run.write(f"{FOLDER}/{number}.json", point.genotype.to_json())
        write_table(run.path / TABLE, rows)
        if config.tracking.figures:
            with optional(run.path / FIGURE):
                title = f"{config.name}, seed {config.seed}"
                figure = draw_front(rows, metric, config.front.cost, title=title)
                save_figure(figure, run.path / FIGURE)


def print_front(front: Front | None) -> None:
    """Print the genotypes of a search for a front; nothing for another search."""
    if front is not None:
        print_lines("", *front_lines(front.rows))


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
