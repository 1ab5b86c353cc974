"""The search: train a supernet by bilevel optimization and derive a genotype from its alphas.

docs/architecture.md describes how the parts of a search work together.

References:
    Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", arXiv:1806.09055,
    algorithm 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext

from torch import Tensor

from darts.config import Invocation, SearchConfig, one_of
from darts.data import Batch
from darts.data_modules import DataModule, make_data_module
from darts.plotting.genotype import save_genotype
from darts.plotting.run_figures import log_alphas
from darts.reading import JsonObject
from darts.recipes.checks import check_search, has_costs
from darts.recipes.inherited import Inherited, has_trained_networks
from darts.recipes.inspection import Inspection
from darts.recipes.retrain_command import RETRAINING, retrain_command, retrain_overrides
from darts.recipes.rules import DataFacts
from darts.recipes.search_callbacks import NETWORK, AlphaRate, SearchCallback
from darts.recipes.states import SearchState
from darts.searching.alphas import alpha_scalars, genotype_counts, named_history
from darts.searching.discretization import SupernetAdapter
from darts.searching.flaws import FlawFinder, uniform_alphas
from darts.searching.searcher import Searcher, epoch_kind
from darts.spaces import AnyGenotype
from darts.tracking import print_lines, print_summary
from darts.tracking.optional import optional
from darts.training.checkpoint import checkpoint_errors
from darts.training.cost import count_macs, count_parameters
from darts.training.device import seed_everything
from darts.training.distributed import Ranks, distributed
from darts.training.dry_run import estimate_cost, print_estimate
from darts.training.loop import EpochReport, Recipe, StepReport, TrainingLoop
from darts.training.restarts import LowerRateRestarts
from darts.training.run import TrainingRun

check = check_search

PRINTED_KEYS = ("true_accuracy", "true_rank", "seconds", "joules", "joules_source", "gco2e")


@distributed
def search(config: SearchConfig, invocation: Invocation, ranks: Ranks) -> JsonObject:
    """Run a search and return its summary, which is also in the run directory."""
    with TrainingRun("search", invocation, config, ranks=ranks) as run:
        assert isinstance(run.config, SearchConfig)
        config = run.config  # may have the budgets of an earlier continuation
        seed_everything(config.seed)
        recipe = Search(config, run)
        if config.dry_run:
            return recipe.dry_run()
        run.restore(recipe.state, epochs=config.epochs)
        run.begin(recipe.data.subsets, recipe.data.extra_files())
        with TrainingLoop(recipe, epochs=config.epochs, name="search") as loop:
            recipe.loop = loop
            notes = recipe.data.notes() if recipe.ranks.main else []
            loop.announce("searching", recipe.data.describe(), notes)
            for callback in recipe.callbacks:
                callback.start()
            loop.fit()
            genotype = recipe.derive_genotype()
        facts = DataFacts.read(config, recipe.data)
        overrides = retrain_overrides(invocation.overrides, config, facts)
        run.write(RETRAINING, json.dumps({"overrides": overrides}) + "\n")
        summary = recipe.finish(genotype)
    limited = [key for key in summary if key.startswith(NETWORK)]
    keys = (f"valid_{config.metric}", *PRINTED_KEYS, *limited, "parameters", "macs")
    print_summary("search", {key: summary[key] for key in keys if key in summary})
    for callback in recipe.callbacks:
        callback.print_results()
    command = retrain_command(run.path, overrides)
    print_lines("", str(genotype), "", "Train it from scratch:", f"  {command}")
    return summary


def configured_callbacks(search: Search) -> list[SearchCallback]:
    """Return the callbacks that the configuration of a search asks for.

    ``AlphaRate`` comes after ``Inspection``, because it reads whether that has ended the search.
    """
    config = search.config
    parts: list[tuple[type[SearchCallback], bool]] = []
    if has_costs(config):
        # Few searches have such settings, and this module imports all of darts.judging.
        from darts.recipes.cost_callbacks import cost_callbacks

        parts = cost_callbacks(config)
    has_checks = config.collapse.every > 0 and config.relaxation.uses_alphas
    parts += [
        (Inherited, has_trained_networks(config)),
        (Inspection, has_checks or config.stopping.needs_curvature),
        (AlphaRate, config.arch_optimizer.raises > 0 and config.relaxation.uses_alphas),
    ]
    return [part(search) for part, is_configured in parts if is_configured]


class Search(Recipe):
    """One search: weights learn on one subset of the training split, alphas on the other.

    Its callbacks are what a search does in addition: limits, a front, collapse checks and more.
    """

    config: SearchConfig
    state: SearchState
    restarts: LowerRateRestarts
    loop: TrainingLoop  # set by ``search``
    # Set by ``begin_epoch``.
    lr: float  # of the weights
    epoch_updates_alphas: bool
    _valid_batches: Iterator[Batch]
    genotype: AnyGenotype  # of the last epoch; set by ``end_epoch``

    def __init__(self, config: SearchConfig, run: TrainingRun) -> None:
        self.config, self.run, self.ranks = config, run, run.ranks
        self.data: DataModule = make_data_module(config, self.ranks)
        self.loaders = loaders = self.data.search_loaders()
        self.objective = self.data.objective()
        # Some metrics need a minimum number of classes.
        one_of("metric", config.metric, self.objective.metrics)
        # Without a checkpoint, an error has another cause, for example a model of the user's own.
        with nullcontext() if run.saved is None else checkpoint_errors(run.checkpoint):
            self.searcher = Searcher(
                config,
                self.objective,
                self.ranks,
                self.data.network_sizes(config.space),
                saved=run.saved,
                loader=loaders.for_weights,
            )
        self.context = self.searcher.context
        self.state = SearchState(
            train_loader=loaders.for_weights,
            valid_loader=loaders.for_alphas,
            searcher=self.searcher,
        )
        self.flaw_finder = FlawFinder.of_search(config, self.data, self.objective)
        # The validation loss has no bound: the whole mixture, which is scored, may have a high loss
        # although the paths that a method trains, one per step, converge.
        self.restarts = LowerRateRestarts(
            self.state,
            config.restarts,
            lambda: self.searcher.net.parameters(),
            valid_factor=math.inf,
        )
        self._sample_outputs = ""
        self.callbacks = configured_callbacks(self)

    @property
    def finished(self) -> bool:
        """Whether the stopping rule or a collapse check ended the search."""
        return self.state.stopped_epoch is not None

    # One epoch of algorithm 1.

    def begin_epoch(self, epoch: int) -> None:
        """Set learning rates, stage and progress; find the validation batch of the first step."""
        self.lr = self.searcher.begin_epoch(epoch, self.restarts.lr_factor)
        self.epoch_updates_alphas = self.searcher.updates_alphas_in(epoch)
        # One validation batch per training step, whatever the length of the validation loader.
        step = epoch * len(self.state.train_loader) + self.state.step
        self._valid_batches = self.state.valid_loader.stream(step)
        for callback in self.callbacks:
            callback.begin_epoch(epoch)

    def train_step(self, batch: Batch) -> StepReport:
        """Take an architecture step, then a weight step (DARTS, algorithm 1)."""
        # ``_take_step``, perhaps as a CUDA graph or after a report on the gradient of the alphas.
        return self._take_step(batch, next(self._valid_batches))

    def _take_step(self, batch: Batch, valid_batch: Batch) -> StepReport:
        done = self.searcher.search_step(
            batch, valid_batch, update_alphas=self.epoch_updates_alphas, step=self.state.global_step
        )
        return StepReport(
            self.objective.num_samples(batch),
            {"loss": done.loss, **self.objective.train_metrics(done.outputs, batch)},
            {"grad_norm": done.norm, "arch_grad_norm": done.arch_norm},
        )

    def end_epoch(self, epoch: int) -> EpochReport:
        """Score the supernet, and derive the genotype of the epoch."""
        state = self.state
        for callback in self.callbacks:
            callback.after_steps()
        self.restarts.require_convergence()
        with self.run.phase("validation"):
            state.scores = self.searcher.score(self.loaders.scoring.epoch(0))
            self._sample_outputs = self.objective.sample_outputs()
        self.restarts.require_valid_loss(state.scores.get("loss", 0.0))
        probabilities = self.searcher.probabilities()
        self.genotype = self.config.discretize.genotype(probabilities, self.context)
        report = self._report(probabilities)
        for callback in self.callbacks:
            callback.end_epoch(epoch, report)
        state.history.append({group: p.cpu() for group, p in probabilities.items()})
        state.genotypes.append(self.genotype.to_json())
        report.row["genotype"] = str(self.genotype)
        report.console["genotype"] = self.genotype
        return report

    def _report(self, probabilities: Mapping[str, Tensor]) -> EpochReport:
        """Return the values to log after an epoch."""
        arch_lr = self.searcher.arch_lr if self.epoch_updates_alphas else 0.0
        counts, measures = genotype_counts(self.genotype), self.measures(self.genotype)
        edges = self.config.tracking.edge_curves
        report = EpochReport(lr=self.lr, row={"arch_lr": arch_lr, **counts, **measures})
        report.scalars = {
            "lr/alphas": arch_lr,
            **counts,
            **{f"measured/{name}": value for name, value in measures.items()},
            **alpha_scalars(probabilities, self.context, edges=edges),
        }
        report.console = {name: measures[name] for name in PRINTED_KEYS if name in measures}
        return report

    def measures(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return what callbacks measure of a genotype, for example costs and the true accuracy."""
        measures = [callback.measures(genotype) for callback in self.callbacks]
        return {name: value for own in measures for name, value in own.items()}

    def write_epoch(self, epoch: int) -> None:
        """Write the genotype, the alphas and the figures of the epoch."""
        run, state, tracking = self.run, self.state, self.config.tracking
        step, last = (epoch + 1) * len(state.train_loader), epoch + 1 == self.config.epochs
        every = tracking.figures_every
        if tracking.figures and (last or (every and (epoch + 1) % every == 0)):
            probabilities = self.searcher.probabilities()
            log_alphas(
                run.board, probabilities, self.genotype, self.context, epoch=epoch + 1, step=step
            )
        run.write("genotype.json", self.genotype.to_json())
        run.write("alphas.json", json.dumps(named_history(state.history, self.context)) + "\n")
        if self._sample_outputs:
            run.write("samples.md", self._sample_outputs)
            run.board.log_text("samples", self._sample_outputs, step)

    # The end of the search.

    def derive_genotype(self) -> AnyGenotype:
        """Derive the genotype of the search; slow if the discretization trains or scores."""
        state, config, loop = self.state, self.config, self.loop
        with self.run.phase("discretization"):
            if state.stopped_epoch is not None:
                early = "stopped early: " if len(state.genotypes) < config.epochs else ""
                loop.console.info(f"{early}the genotype is from epoch {state.stopped_epoch + 1}")
                genotype = config.space.genotype.parse(state.genotypes[state.stopped_epoch])
            else:
                adapter = SupernetAdapter(self.searcher, self.loaders, loop, state.discretization)
                genotype = config.discretize.final_genotype(adapter)
            for callback in self.callbacks:
                callback.end_search(genotype)
        self.run.write("genotype.json", genotype.to_json())
        return genotype

    def finish(self, genotype: AnyGenotype) -> JsonObject:
        """Write a figure and the summary of the run."""
        run, state, config = self.run, self.state, self.config
        if self.ranks.main and config.tracking.figures:
            with optional(drawing := run.path / "genotype.svg"):
                save_genotype(genotype, drawing, title=f"{config.name}, seed {config.seed}")
        stopped = state.stopped_epoch
        probabilities = state.history[-1 if stopped is None else stopped]
        flaws = self.flaw_finder.find(state.scores, self.searcher.net.state_dict())
        undecided = uniform_alphas(probabilities) if self.flaw_finder.learns_alphas else None
        if undecided is not None:  # a short search is enough to try something out
            self.loop.console.warn(undecided)
        size = self.size()
        summary = {
            **{f"valid_{name}": score for name, score in state.scores.items()},
            **size,
            "flops": 2 * size["macs"],
            "epochs": config.epochs,
            "restarts": state.restarts,
            "arch_lr": self.searcher.arch_lr if config.bilevel.updates_alphas else 0.0,
            "genotype": str(genotype),
            "genotype_epoch": config.epochs if stopped is None else stopped + 1,
            "worthless": "; ".join(flaws) or None,
            "undecided": undecided,
            **genotype_counts(genotype),
            **self.measures(genotype),
        }
        for callback in self.callbacks:
            summary |= callback.summary([*flaws, *([undecided] if undecided else [])])
        return run.finish(summary)

    def size(self) -> dict[str, int]:
        """Return parameters and MACs of the supernet, which differ between stages."""
        parameters = count_parameters(self.searcher.net.weight_parameters())
        macs = count_macs(self.searcher.net, self.data.example_input())
        return {"parameters": parameters, "macs": macs}

    def dry_run(self) -> JsonObject:
        """Measure some steps and validation batches, and print the predicted cost of the run."""
        config, searcher = self.config, self.searcher
        kinds: dict[tuple[int, bool], list[int]] = {}  # by stage and whether the alphas learn
        for epoch in range(config.epochs):
            kinds.setdefault(epoch_kind(config, epoch, config.epochs), []).append(epoch)
        estimate = estimate_cost(
            self,
            {epochs[0]: len(epochs) for epochs in kinds.values()},
            valid_loader=self.loaders.scoring,
            score=searcher.score,
        )
        slow = [] if config.discretize.reads_alphas else [f"discretize={config.discretize.name}"]
        uncounted = [part for callback in self.callbacks for part in callback.uncounted()]
        return print_estimate(self.size(), estimate, not_counted=[*uncounted, *slow])
