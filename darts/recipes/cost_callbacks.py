"""Parts of a search for costs and true scores: limits, penalties, a front, a benchmark table."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from darts.config import ConfigError, SearchConfig
from darts.judging.benchmark import Benchmark
from darts.judging.devices.lookup_table import info_file
from darts.judging.limits.costs import describe_limits, find_model_file
from darts.judging.limits.front_budgets import Budgets
from darts.judging.limits.of_search import predicted_costs, search_limits
from darts.judging.rankings import pareto_front
from darts.methods.discretization_evolution import best_within
from darts.plotting.figures import draw_front
from darts.plotting.style import save_figure
from darts.reading import JsonObject
from darts.recipes.inherited import has_trained_networks, write_inherited
from darts.recipes.search_callbacks import NETWORK, SearchCallback
from darts.searching.expected_cost import Penalty
from darts.searching.paths import path_masks, path_score
from darts.spaces import AnyGenotype
from darts.tracking import format_value, print_lines
from darts.tracking.formats import aligned
from darts.tracking.metrics import write_table
from darts.tracking.optional import optional
from darts.typed_values import Misfit, typed

if TYPE_CHECKING:
    from darts.recipes.search import Search

FOLDER = "front"
TABLE = "front.csv"
FIGURE = "front.svg"


def cost_callbacks(config: SearchConfig) -> list[tuple[type[SearchCallback], bool]]:
    """Return the callbacks for costs and true scores, and whether a configuration asks for each."""
    penalty = config.penalty
    return [
        (LatencyModels, bool(config.limit.device or config.front.device)),
        (Table, config.benchmark.table is not None),
        (Limits, bool(config.limit.values())),
        (Penalties, (penalty.flops, penalty.parameters, penalty.latency) != (None, None, None)),
        (Front, config.front.enabled),
    ]


class LatencyModels(SearchCallback):
    """Raises an error if the file of a latency model has changed when a search is resumed.

    The files belong to the user and may be replaced in between. The genotypes of both parts of the
    search would then keep different limits. A checkpoint contains what penalties need.
    """

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        config = search.config
        devices = {"limit.device": config.limit.device, "front.device": config.front.device}
        self._devices = {key: device for key, device in devices.items() if device is not None}
        self._digests = {key: _digest(device) for key, device in self._devices.items()}
        search.state.parts["latency_models"] = self

    def state_dict(self) -> dict[str, str]:
        return self._digests

    def load_state_dict(self, state: object) -> None:
        saved = typed(dict[str, str], state, "latency_models")
        for key, digest in self._digests.items():
            if saved.get(key) != digest:
                raise Misfit(
                    f"the file of {key}={self._devices[key]} has changed since the run began; "
                    "restore it, or start a new run"
                )


def _digest(device: str) -> str:
    """Return a hash of the files of a latency model."""
    file = find_model_file(device)
    content = file.read_bytes()
    if file.suffix == ".csv":
        content += info_file(file).read_bytes()
    return hashlib.sha256(content).hexdigest()


class Table(SearchCallback):
    """Looks up the true accuracy and rank of genotypes in a benchmark table."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._benchmark = Benchmark.from_config(search.config.benchmark, search.config.space)

    def measures(self, genotype: AnyGenotype) -> dict[str, float]:
        return {} if self._benchmark is None else self._benchmark.scores(genotype)


class Limits(SearchCallback):
    """Keeps the costs of genotypes within hard limits."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._limit = search_limits(search.config, search.context, search.data)
        search.context.limit = self._limit

    def measures(self, genotype: AnyGenotype) -> dict[str, float]:
        return {f"{NETWORK}{name}": cost for name, cost in self._limit.costs(genotype).items()}

    def end_search(self, genotype: AnyGenotype) -> None:
        if not self._limit.allows(genotype):
            raise ConfigError(
                f"the discretization returned a genotype beyond "
                f"{describe_limits(self._limit.limits)}; choose discretize=argmax"
            )


class Penalties(SearchCallback):
    """Adds expected costs above their targets to the loss of the alphas."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        config, context, data = search.config, search.context, search.data
        known = predicted_costs(config, context, data)
        self._penalty = Penalty.measured(config.penalty, context, data, known)
        search.searcher.alpha_costs.append(self._penalty)
        search.state.parts["penalty"] = self._penalty

    def measures(self, genotype: AnyGenotype) -> dict[str, float]:
        return self._penalty.expected(self.search.searcher.probabilities())


class Front(SearchCallback):
    """Finds the genotypes of a front with the trained supernet, and writes them.

    The penalty of the budgets is a term of the loss of the alphas.
    """

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        budgets = self._budgets = Budgets(search.config, search.context, search.data)
        if search.config.learns_budgets:
            search.searcher.alpha_costs.append(budgets.penalty())
        else:
            limits = [budgets.limit_at(share) for share in budgets.shares()]
            search.context.budgets = [limit for limit in limits if limit is not None]
        # The front, small budgets first: each genotype, and its row of the table.
        self._found: dict[str, tuple[AnyGenotype, JsonObject]] = {}

    def end_search(self, genotype: AnyGenotype) -> None:
        """Find the distinct genotypes of the budgets, small budgets first.

        With an evolution, the genotype of a budget is the best one within it. Otherwise, it is the
        most probable one between it and the next smaller budget, if there is one, or else below it.
        Without the smaller budget, the genotypes of several budgets are often the same, far below
        the larger budgets. Budgets without a genotype within the limits of the search are left out.
        Genotypes are scored with the weights of the supernet, on the validation data of the search.
        """
        search, budgets = self.search, self._budgets
        config, context = search.config, search.context
        if search.ranks.main:  # a finished search may continue with other budgets
            shutil.rmtree(search.run.path / FOLDER, ignore_errors=True)
            for name in (TABLE, FIGURE):
                (search.run.path / name).unlink(missing_ok=True)
        searcher, loaders = search.searcher, search.loaders
        calibration = loaders.calibration(config.collapse.calibration)
        shares = budgets.shares()
        for share, smaller in zip(shares, [None, *shares], strict=False):
            limit = budgets.limit_at(share, smaller if config.learns_budgets else None)
            if limit is None:
                continue
            limited = dataclasses.replace(context, limit=limit)
            with context.changed(budget=share):
                probabilities = searcher.probabilities()
            if config.learns_budgets:
                found = config.discretize.genotype(probabilities, limited)
                masks = path_masks(found, probabilities, limited)
            else:
                found = best_within(limit, search.state.discretization, config.space)
                masks = config.space.mask(found, context.candidates)
            if found.function in self._found:
                continue
            search.loop.save_if_due()  # exits after a signal
            scores = path_score(searcher, masks, calibration, loaders.scoring.epoch(0))
            row: JsonObject = {
                "point": len(self._found) + 1,
                "budget": budgets.at(share),
                config.front.cost: budgets.cost(found),
                f"valid_{config.metric}": scores[config.metric],
                "genotype": str(found),
            }
            self._found[found.function] = (found, row)
            if has_trained_networks(config):
                folder = search.run.path / FOLDER / str(row["point"])
                write_inherited(search, found, folder, scores)

    def summary(self, flaws: Sequence[str]) -> JsonObject:
        """Write a table, a figure, and a file for each genotype; return their number."""
        config, run = self.search.config, self.search.run
        cost, metric = config.front.cost, f"valid_{config.metric}"
        higher = self.search.objective.metrics[config.metric].higher_is_better
        rows = [row for _, row in self._found.values()]
        best = pareto_front(rows, {metric: higher, cost: False})
        for number, row in enumerate(rows):
            row["on_front"] = number in best
        if rows and run.ranks.main:
            (run.path / FOLDER).mkdir(exist_ok=True)
            for genotype, row in self._found.values():
                run.write(f"{FOLDER}/{row['point']}.json", genotype.to_json())
            write_table(run.path / TABLE, rows)
            if config.tracking.figures:
                with optional(run.path / FIGURE):
                    title = f"{config.name}, seed {config.seed}"
                    save_figure(draw_front(rows, metric, cost, title=title), run.path / FIGURE)
        return {"front_points": len(rows)}

    def uncounted(self) -> list[str]:
        return ["the front"]

    def print_results(self) -> None:
        config, rows = self.search.config, [row for _, row in self._found.values()]
        if not rows:
            line = "warning: the front is empty: no genotype is within the budgets and the limits"
            print_lines("", line)
            return
        names = (config.front.cost, f"valid_{config.metric}")
        cells = [
            [
                f"  front/{row['point']}.json",
                *(f"{name} {format_value(name, row[name])}" for name in names),
                "" if row["on_front"] else "dominated",
            ]
            for row in rows
        ]
        trained = has_trained_networks(config)
        example = shlex.quote(f"checkpoint={self.search.run.path / FOLDER / '1'}")
        print_lines(
            *("", "Front, scored with the weights of the supernet:"),
            *aligned(cells),
            *([f"Their networks are trained: darts evaluate {example}"] if trained else []),
            "To train one of them from scratch, put its file into the command below.",
        )
