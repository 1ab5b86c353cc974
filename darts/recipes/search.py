"""The search: train a supernet by bilevel optimization and derive a genotype from its alphas.

References:
    Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", arXiv:1806.09055,
    algorithm 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial

import torch

from darts.config import Invocation, SearchConfig, one_of
from darts.data import Batch
from darts.data_modules import DataModule, check_training, make_data_module
from darts.judging.benchmark import Benchmark
from darts.judging.limits import check_front, check_limits, predicted_costs, search_limits
from darts.methods.stages import stage_position
from darts.plotting.run_figures import log_alphas
from darts.reading import JsonObject
from darts.recipes import search_report
from darts.recipes.alpha_rate import AlphaRate
from darts.recipes.divergence import LowerRateRestarts
from darts.recipes.facts import DataFacts
from darts.recipes.first_samples import first_samples
from darts.recipes.front import Front, print_front
from darts.recipes.latency_models import keep_latency_models
from darts.recipes.retrain_command import retrain_command
from darts.recipes.search_state import SearchState
from darts.searching.alphas import named_history
from darts.searching.checks import check_components, graphed_step
from darts.searching.diagnosis import CheckInterrupted, Diagnosis, DiagnosisReport
from darts.searching.discretization import SupernetAdapter
from darts.searching.expected_cost import Penalty
from darts.searching.flaws import FlawFinder
from darts.searching.searcher import Searcher
from darts.spaces import AnyGenotype
from darts.tracking import Console, print_lines
from darts.training.checkpoint import checkpoint_errors
from darts.training.cost import count_macs, count_parameters
from darts.training.device import random_states, restore_random_states, seed_everything
from darts.training.distributed import Ranks, distributed
from darts.training.dry_run import check_budget, estimate_cost, print_estimate
from darts.training.loop import EpochCallback, EpochReport, Recipe, StepReport, TrainingLoop
from darts.training.run import TrainingRun
from darts.training.steps import set_learning_rate


def check(config: SearchConfig) -> None:
    """Refuse invalid combinations before any data is read.

    Raises:
        ConfigError: In one line that names the key, the value and what to do.
    """
    check_training(config)
    check_budget(config)
    check_components(config)
    check_limits(config)
    check_front(config)


@distributed
def search(
    config: SearchConfig,
    invocation: Invocation,
    ranks: Ranks,
    on_epoch: EpochCallback | None = None,
) -> JsonObject:
    """Run a search and return its summary, which is also in the run directory.

    Args:
        config: Configuration of the search.
        invocation: Run directory and overrides.
        ranks: Processes of the run.
        on_epoch: Called after each epoch; may raise to end the run.

    Raises:
        Diverged: If a training loss is not finite, and no restart is left.
        Interrupted: After a signal; a checkpoint is saved.
    """
    with TrainingRun("search", invocation, config, ranks=ranks) as run:
        latency_models = keep_latency_models(run, config)
        seed_everything(config.seed)
        recipe = Search(config, run)
        if config.dry_run:
            return recipe.dry_run()
        recipe.begin(latency_models)
        with TrainingLoop(recipe, epochs=config.epochs, name="search", on_epoch=on_epoch) as loop:
            recipe.loop = loop
            loop.announce("searching", recipe.data.describe())
            recipe.update.connect(loop.console.info)
            loop.fit()
            genotype = recipe.derive_genotype(loop)
        summary = recipe.finish(genotype)
    search_report.print_search(summary, config.metric)
    print_front(recipe.front)
    facts = DataFacts.read(config, recipe.data)
    command = retrain_command(run.path, invocation.overrides, config, facts)
    print_lines("", str(genotype), "", "Train it from scratch:", f"  {command}")
    return summary


class Search(Recipe):
    """One search: weights learn on one subset of the training split, alphas on the other."""

    config: SearchConfig
    state: SearchState
    restarts: LowerRateRestarts
    loop: TrainingLoop

    def __init__(self, config: SearchConfig, run: TrainingRun) -> None:
        self.config, self.run, self.ranks = config, run, run.ranks
        self.data: DataModule = make_data_module(config, self.ranks)
        loaders = self.data.search_loaders()
        self.score_loader = loaders.scoring
        objective = self.data.objective()
        # Some metrics need a minimum number of classes.
        one_of("metric", config.metric, objective.scores(self.ranks.device).metric_names)
        self.objective = objective
        self.benchmark = Benchmark.from_config(config.benchmark, config.space)
        sizes = self.data.network_sizes(config.space)
        # Without a checkpoint, an error has another cause, for example a model of the user's own.
        with nullcontext() if run.saved is None else checkpoint_errors(run.checkpoint):
            samples = partial(first_samples, loaders.weights)
            self.searcher = Searcher(
                config, objective, self.ranks, sizes, saved=run.saved, samples=samples
            )
        self.context = self.searcher.context
        self.context.limit = self.limit = search_limits(config, self.context, self.data)
        known = predicted_costs(config, self.context, self.data)
        self.penalty = Penalty.measured(config.penalty, self.context, self.data, known)
        self.flaw_finder = FlawFinder.of_search(config, self.data, objective)
        if self.penalty.targets:
            self.searcher.alpha_costs.append(self.penalty)
        self.front = Front.of_search(config, self.searcher, self.data, loaders)
        self.state = SearchState(
            train_loader=loaders.weights,
            valid_loader=loaders.alphas,
            searcher=self.searcher,
            penalty=self.penalty,
            diagnosis=Diagnosis(
                self.searcher,
                loaders.weights,
                loaders.alphas,
                self.score_loader,
                self.flaw_finder,
                self._poll,
            ),
        )
        self.alpha_rate = AlphaRate(self.state, config)
        self.restarts = LowerRateRestarts(
            self.state, config.restarts, lambda: self.searcher.net.parameters(), math.inf
        )
        self.update = graphed_step(self._update, config, self.ranks)
        self._collapse_report: DiagnosisReport | None = None
        self._sample_outputs = ""

    def begin(self, texts: Mapping[str, str]) -> None:
        """Begin the run with further text files, or continue from its checkpoint."""
        self.run.restore(self.state, epochs=self.config.epochs)
        self.run.begin(self.data.subsets, {**self.data.extra_files(), **texts})

    @property
    def finished(self) -> bool:
        """Whether the stopping rule or a collapse check ended the search."""
        return self.state.stopped_epoch is not None

    # One epoch of algorithm 1.

    def begin_epoch(self, epoch: int) -> None:
        """Set learning rates, stage and progress; find the validation batch of the first step."""
        self.lr = self.restarts.lr_factor * self.searcher.begin_epoch(epoch)
        set_learning_rate(self.searcher.optimizer, self.lr)
        set_learning_rate(self.searcher.arch_optimizer, self.alpha_rate.lr)
        self.updates_alphas = self.searcher.updates_alphas(epoch)
        self._step = epoch * len(self.state.train_loader) + self.state.step
        self._valid_batches = self.state.valid_loader.stream(self._step)
        self.update.discard()

    def train_step(self, batch: Batch) -> StepReport:
        """Take an architecture step, then a weight step (DARTS, algorithm 1)."""
        searcher, step = self.searcher, self._step
        valid_batch = next(self._valid_batches)
        if self.updates_alphas and not searcher.bilevel.joins_weight_step:
            diagnostics = searcher.gradient_diagnostics(step, batch, valid_batch)
            if diagnostics and not self.config.dry_run:
                # A row of its own, so that a run that resumes at an earlier step discards it.
                scalars = {f"bilevel/{name}": value for name, value in diagnostics.items()}
                self.run.log(step + 1, diagnostics, scalars)
        report = self.update(batch, valid_batch)  # calls _update, or replays it as a CUDA graph
        self._step += 1
        return report

    def _update(self, batch: Batch, valid_batch: Batch) -> StepReport:
        """Update the alphas, then the weights."""
        searcher = self.searcher
        arch_norm = torch.zeros((), device=self.ranks.device)
        joint = searcher.bilevel.joins_weight_step
        if self.updates_alphas and not joint:
            # 1. Update the alphas by a gradient step on the validation loss.
            arch_norm = searcher.arch_step(batch, valid_batch)
        searcher.observe_gradients(self._step, batch, valid_batch)  # for the freezing rule
        # 2. Update the weights by a gradient step on the training loss.
        done = searcher.weight_step(batch, updates_alphas=self.updates_alphas and joint)
        return StepReport(
            self.objective.num_samples(batch),
            {"loss": done.loss, **self.objective.train_metrics(done.outputs, batch)},
            {"grad_norm": done.norm, "arch_grad_norm": done.arch_norm if joint else arch_norm},
        )

    def end_epoch(self, epoch: int) -> EpochReport:
        """Score the supernet, derive the epoch's genotype and check for collapse."""
        state, config, device = self.state, self.config, self.ranks.device
        self.update.discard()  # frees the memory of the graph
        random = random_states(device)
        self.restarts.require_convergence()
        with self.run.phase("validation"):
            state.scores = self.searcher.score(self.score_loader.epoch(0))
            self._sample_outputs = self.objective.sample_outputs()
        self.restarts.require_valid_loss(state.scores.get("loss", 0.0))
        probabilities = self.searcher.probabilities()
        self.genotype = config.discretize.genotype(probabilities, self.context)
        genotypes = [*state.genotypes, self.genotype.to_json()]
        try:
            eigenvalue = self._inspect(epoch, genotypes)
        except CheckInterrupted:
            restore_random_states(random, device)
            self.loop.save()  # exits; a resumed search repeats the end of the epoch
            raise
        state.history.append({group: p.cpu() for group, p in probabilities.items()})
        state.genotypes = genotypes
        measures = self.measures(self.genotype)
        if eigenvalue is not None:
            measures["eigenvalue"] = eigenvalue
        arch_lr = self.alpha_rate.lr if self.updates_alphas else 0.0
        results = search_report.SearchedEpoch(
            self.genotype, probabilities, measures, self.lr, arch_lr, self._collapse_report
        )
        report = results.report(self.context, edge_curves=config.tracking.edge_curves)
        if not self.finished and (line := self.alpha_rate.raise_if_slow(epoch, probabilities)):
            report.warnings.append(line)
        return report

    def _inspect(self, epoch: int, genotypes: Sequence[str]) -> float | None:
        """Run the collapse check if one is due; return the eigenvalue that the stopping rule uses.

        The eigenvalue is None if the rule needs none.

        Raises:
            CheckInterrupted: If a signal arrives; the state is then unchanged.
        """
        state, stopping = self.state, self.config.stopping
        eigenvalue, report = None, None
        try:
            with self.run.phase("collapse"):
                if stopping.is_due(epoch):
                    eigenvalue = state.diagnosis.eigenvalue(epoch)
                if state.diagnosis.is_due(epoch):
                    report = state.diagnosis.check(genotypes, state.scores, eigenvalue)
        finally:
            self.loop.console.status("")
        if eigenvalue is not None:
            state.eigenvalues.append(eigenvalue)
            state.stopped_epoch = stopping.stop_epoch(state.eigenvalues)
        if report is not None and state.stopped_epoch is None:
            state.stopped_epoch = report.stop_at
        self._collapse_report = report
        return eigenvalue

    def _poll(self, measurement: str) -> None:
        """Show which measurement of a collapse check is running; called by all ranks together.

        Raises:
            CheckInterrupted: If any rank has received a signal.
        """
        if self.ranks.all_reduce_max(bool(self.loop.interrupt.received)):
            raise CheckInterrupted
        self.loop.console.status(f"collapse check: {measurement}")

    def measures(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return expected costs, limited costs and, from a benchmark table, accuracy and rank."""
        costs = self.penalty.expected(self.searcher.probabilities())
        costs |= search_report.limited_costs(self.limit, genotype)
        return costs | ({} if self.benchmark is None else self.benchmark.scores(genotype))

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
        if self._collapse_report is not None:
            run.board.log_text("collapse", self._collapse_report.text, step)

    # The end of the search.

    def derive_genotype(self, loop: TrainingLoop) -> AnyGenotype:
        """Derive the genotype of the search; slow if the discretization trains or scores."""
        state, config = self.state, self.config
        if state.stopped_epoch is not None:
            early = "stopped early: " if len(state.genotypes) < config.epochs else ""
            loop.console.info(f"{early}the genotype is that of epoch {state.stopped_epoch + 1}")
            genotype = config.space.parse(state.genotypes[state.stopped_epoch])
        else:
            adapter = SupernetAdapter(
                self.searcher,
                state.train_loader,
                state.valid_loader,
                self.score_loader,
                state=state.discretization,
                save=loop.save,
                save_if_due=loop.save_if_due,
                info=loop.console.info,
            )
            with self.run.phase("discretization"):
                genotype = config.discretize.final_genotype(adapter)
                if self.front is not None:
                    self.front.find(loop.save_if_due)
        search_report.require_limits(self.limit, genotype)
        self.run.write("genotype.json", genotype.to_json())
        return genotype

    def finish(self, genotype: AnyGenotype) -> JsonObject:
        """Write the front, the figures and the summary of the run."""
        run, state, config = self.run, self.state, self.config
        search_report.write_results(run, state, genotype, self.context, self.front)
        probabilities = state.history[-1 if state.stopped_epoch is None else state.stopped_epoch]
        flaws = self.flaw_finder.find(state.scores, self.searcher.net.state_dict(), probabilities)
        return run.finish(
            search_report.search_summary(
                config,
                state,
                genotype,
                self.measures(genotype),
                size=self.size(),
                arch_lr=self.alpha_rate.lr if config.bilevel.updates_alphas else 0.0,
                device=self.ranks.device,
                flaws=flaws,
                front_points=len(self.front.rows) if self.front else None,
            )
        )

    def size(self) -> dict[str, int]:
        """Return parameters and MACs of the supernet, which differ between stages."""
        parameters = count_parameters(self.searcher.net.weight_parameters())
        macs = count_macs(self.searcher.net, self.data.example_input())
        return {"parameters": parameters, "macs": macs}

    def dry_run(self) -> JsonObject:
        """Measure some steps and validation batches, and print the predicted cost of the run."""
        config, diagnosis, searcher = self.config, self.state.diagnosis, self.searcher
        kinds: dict[tuple[int, bool], list[int]] = {}  # by stage and whether the alphas learn
        for epoch in range(config.epochs):
            stage = stage_position(epoch, config.epochs, searcher.stages).stage
            kinds.setdefault((stage, searcher.updates_alphas(epoch)), []).append(epoch)
        estimate = estimate_cost(
            self,
            {epochs[0]: len(epochs) for epochs in kinds.values()},
            valid_loader=self.score_loader,
            score=searcher.score,
            show=Console(total_steps=0, name="dry run").info,
        )
        parts = {
            "collapse checks": any(map(diagnosis.is_due, range(config.epochs))),
            f"eigenvalues (stopping={config.stopping.name})": config.stopping.needs_curvature,
            f"discretize={config.discretize.name}": not config.discretize.reads_alphas,
            "the front": self.front is not None,
        }
        return print_estimate(
            config,
            self.size(),
            estimate,
            self.ranks.device,
            not_counted=[part for part, exists in parts.items() if exists],
        )
