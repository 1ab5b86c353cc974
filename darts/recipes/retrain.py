"""The retraining: train the network of a genotype from scratch and score it on the test split.

References:
    Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", arXiv:1806.09055,
    section 3.2 and appendix A.2.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from darts.config import ConfigError, Invocation, RetrainConfig, one_of
from darts.data import Batch
from darts.data_modules import DataModule, make_data_module
from darts.plotting.genotype import draw_genotype
from darts.plotting.run_figures import log_confusion, save_confusion
from darts.plotting.style import save_figure
from darts.reading import JsonObject
from darts.recipes.checks import check_retraining
from darts.recipes.retrain_command import evaluate_command
from darts.recipes.states import DataDescription, RetrainState, warm_start
from darts.recipes.temperature import divide_outputs, fit_temperature, save_temperature
from darts.reporting import read_run, render_model_card
from darts.searching.flaws import FlawFinder, chance_level
from darts.spaces import AnyGenotype, NetworkBase
from darts.spaces.averaging import average_mirror_images
from darts.spaces.lookup import find_genotype
from darts.spaces.network import FittingData, fit_layers
from darts.spaces.rank_dropout import set_batch_share
from darts.tasks.classification import Classification
from darts.tracking import print_lines, print_summary
from darts.tracking.optional import optional
from darts.training.averaging import STATISTICS_SAMPLES, Averaging, recompute_statistics
from darts.training.checkpoint import checkpoint_errors
from darts.training.cost import count_macs, count_parameters
from darts.training.device import loss_scaler, precision_context, seed_everything
from darts.training.distributed import Ranks, distributed
from darts.training.dry_run import estimate_cost, print_estimate
from darts.training.loop import EpochReport, Recipe, StepReport, TrainingLoop
from darts.training.restarts import ADVICE, LowerRateRestarts
from darts.training.run import TrainingRun
from darts.training.schedules import rate_of_epoch, stable_rate, warmup_cosine
from darts.training.scoring import evaluate, memorizes, predict_all
from darts.training.state import require_fitting_network
from darts.training.steps import Diverged, optimizer_steps, set_learning_rate, weight_optimizer
from darts.typed_values import entry

check = check_retraining

COST_KEYS = ("seconds", "joules", "joules_source", "gco2e")


@distributed
def retrain(config: RetrainConfig, invocation: Invocation, ranks: Ranks) -> JsonObject:
    """Train and score one network; return the summary, which is also in the run directory."""
    genotype_name, genotype = find_genotype(config.genotype)
    # Save the genotype itself: the file that it comes from may be deleted later.
    config = dataclasses.replace(config, genotype=str(genotype))
    overrides = [o for o in invocation.overrides if not o.startswith("genotype=")]
    overrides.append(f"genotype={genotype}")
    invocation = dataclasses.replace(invocation, overrides=tuple(overrides))
    with TrainingRun("retrain", invocation, config, ranks=ranks) as run:
        seed_everything(config.seed)
        assert isinstance(run.config, RetrainConfig)
        config = run.config  # may have the length of an earlier continuation
        recipe = Retraining(config, run, genotype)
        if config.dry_run:
            return recipe.dry_run()
        recipe.begin(genotype_name)
        with TrainingLoop(recipe, epochs=config.epochs, name="retrain") as loop:
            recipe.loop = loop
            loop.announce("training", recipe.data.describe())
            loop.fit()
        summary = recipe.finish()
    scores = f"valid_{config.metric}", f"test_{config.metric}"
    keys = (*scores, "epoch", *COST_KEYS, "parameters", "macs")
    print_summary("retrain", {key: summary[key] for key in keys if key in summary})
    if command := evaluate_command(run.path, config):
        print_lines("", "Score it again:", f"  {command}")
    return summary


class Retraining(Recipe):
    """One retraining: schedules, auxiliary head, selection of the best epoch."""

    config: RetrainConfig
    state: RetrainState
    restarts: LowerRateRestarts
    loop: TrainingLoop
    _deadline: float | None = None  # by time.monotonic
    _time_left = 1.0  # share of config.max_seconds

    def __init__(self, config: RetrainConfig, run: TrainingRun, genotype: AnyGenotype) -> None:
        self.config, self.run, self.ranks, self.genotype = config, run, run.ranks, genotype
        # Validation data is held out of the training split. Only ``finish`` uses the test split.
        self.data: DataModule = make_data_module(config, self.ranks)
        train_loader, valid_loader = self.data.retrain_loaders()
        self.score_loader = valid_loader
        device = self.ranks.device
        self.objective = self.data.objective(config.label_smoothing, config.auxiliary)
        # Some metrics need a minimum number of classes.
        one_of("metric", config.metric, self.objective.metrics)
        self.metric = self.objective.metrics[config.metric]
        self.calibrates = isinstance(config.task, Classification) and config.task.calibrate
        if self.calibrates and valid_loader is None:
            raise ConfigError("task.calibrate=true: needs validation data; set validation=0.1")
        description = DataDescription.of(self.data, config.space)
        build = partial(build_network, genotype, config, description.network_sizes)
        if run.saved is not None:  # its configuration may be untrusted and set huge sizes
            with checkpoint_errors(run.checkpoint):
                require_fitting_network(build, entry(run.saved, "net", dict[str, Tensor]), "net")
        net = build().to(device)
        # Convolutions run fastest in this memory format.
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.state = RetrainState(
            train_loader=train_loader,
            net=net,
            optimizer=weight_optimizer(net.parameters(), config.optimizer),
            scaler=loss_scaler(config.precision, device),
            averaging=Averaging(
                net, patience=config.averaging_patience, power=config.average_power
            ),
            **vars(description),
        )
        if run.saved is None and config.start is not None:
            warm_start(
                self.state,
                config.start,
                config.space,
                lambda parent: build_network(parent, config, description.network_sizes),
                best=config.start_epoch == "best",
            )
        self.restarts = LowerRateRestarts(self.state, config.restarts, net.parameters)
        if self.ranks.size > 1:
            for each in self.state.averaging.networks:
                self.ranks.prepare(each, sync_batchnorm=config.sync_batchnorm)
            set_batch_share(net, *train_loader.batch_share)
        auxiliary = [] if net.auxiliary is None else list(net.auxiliary.parameters())
        parameters = count_parameters(net.parameters()) - count_parameters(auxiliary)
        macs = count_macs(net, self.data.example_input())
        self.size = {"parameters": parameters, "macs": macs}

    def begin(self, genotype_name: str) -> None:
        """Begin the run, or continue from its checkpoint."""
        run = self.run
        run.restore(self.state, epochs=self.config.epochs)
        run.begin(self.data.subsets, self.data.extra_files())
        if run.saved is None and self.config.start is None:
            # Half of the time is left for training.
            seconds = math.inf if self.config.max_seconds is None else self.config.max_seconds / 2
            data = FittingData(self.state.train_loader, self.objective.supernet_loss, seconds)
            loss = fit_layers(self.state.net, data)
            self.ranks.share(self.state.net)
            if loss is not None:
                self.state.first_loss = self.ranks.all_reduce_max(loss)
                if self.score_loader is not None:
                    with run.phase("validation"):
                        scores = self.score(self.score_loader.epoch(0), self.state.net)
                    self.state.frozen_scores = scores
        if self.config.max_seconds is not None:
            left = self.config.max_seconds - self.ranks.all_reduce_max(run.cost()["seconds"])
            self._deadline = time.monotonic() + left
            self._time_left = left / self.config.max_seconds
        run.write("genotype.json", self.genotype.to_json())
        if run.saved is None and self.ranks.main and self.config.tracking.figures:
            run.board.log_text("genotype", f"`{self.genotype}`", 0)
            with optional(drawing := run.path / "genotype.svg"):
                figure = draw_genotype(self.genotype, title=genotype_name)
                save_figure(figure, drawing)
                run.board.log_figure("genotype", figure, 0)

    @property
    def out_of_time(self) -> bool:
        if self._deadline is None or self.config.max_seconds is None:
            return False
        over = self.ranks.all_reduce_max(time.monotonic() - self._deadline)
        self._time_left = -over / self.config.max_seconds
        return over >= 0

    # One epoch.

    def begin_epoch(self, epoch: int) -> None:
        """Prepare the network and set its drop path probability."""
        self._epoch = epoch
        self.state.net.drop_path = self.config.drop_path * epoch / self.config.epochs
        self.state.net.train()

    def learning_rate(self, epoch: int, step: int) -> float:
        """Return the learning rate of a step of an epoch, both from 0."""
        config, steps = self.config, len(self.state.train_loader)
        position = epoch * steps + step
        if config.optimizer.schedule == "stable":
            lr = stable_rate(
                config.optimizer,
                position,
                config.epochs,
                steps,
                time_left=self._time_left,
                slow_steps=self.state.slow_steps,
            )
        elif config.warmup == 0:  # the published schedules
            lr = rate_of_epoch(config.optimizer, epoch, config.epochs)
        else:
            high, low = config.optimizer.lr, config.optimizer.lr_min
            lr = warmup_cosine(position, config.epochs * steps, config.warmup, high, low)
        return self.restarts.lr_factor * lr

    def train_step(self, batch: Batch) -> StepReport:
        """Take one optimizer step on the loss of the network and its auxiliary head."""
        config, state, objective = self.config, self.state, self.objective
        set_learning_rate(state.optimizer, self.learning_rate(self._epoch, state.step))
        with precision_context(config.precision, self.ranks.device):
            loss, outputs = objective.network_loss(state.net, batch)
        num_samples = objective.num_samples(batch)
        (norm,) = optimizer_steps(
            self.ranks.loss_share(loss, num_samples),
            [(state.optimizer, config.optimizer.clip)],
            state.scaler,
            reduce=self.ranks.all_reduce,
        )
        state.averaging.step()
        metrics = {"loss": loss.detach(), **objective.train_metrics(outputs, batch)}
        return StepReport(num_samples, metrics, {"grad_norm": norm})

    def end_epoch(self, epoch: int) -> EpochReport:
        """Score on validation data; copy the weights if ``selection`` prefers this epoch."""
        config, state = self.config, self.state
        self.restarts.require_convergence()
        if state.averaging.scored_net is not state.net:
            self._recompute_statistics(epoch)
        state.scores = {}
        if self.score_loader is not None:
            with self.run.phase("validation"):
                state.scores = self.score(self.score_loader.epoch(0))
            self.restarts.require_valid_loss(state.scores.get("loss", 0.0))
        score = state.scores.get(config.metric, math.nan)
        best = None if state.best is None else state.best["scores"].get(config.metric)
        if config.selection == "last" or self.metric.prefers(score, best):
            weights = state.averaging.scored_net.state_dict()
            copies = {name: tensor.clone() for name, tensor in weights.items()}
            state.best = {"epoch": epoch + 1, "scores": state.scores, "net": copies}
        lr = self.learning_rate(epoch, len(state.train_loader) - 1)  # of the last step
        return EpochReport(lr=lr, row={"drop_path": state.net.drop_path})

    def _recompute_statistics(self, epoch: int) -> None:
        """Recompute the batch-norm statistics of averaged weights on the first training batches."""
        net, loader = self.state.averaging.scored_net, self.state.train_loader
        steps = min(math.ceil(STATISTICS_SAMPLES / self.config.loader.batch_size), len(loader))
        batches = (loader.batch(epoch, step) for step in range(steps))
        with precision_context(self.config.precision, self.ranks.device):
            recompute_statistics(net, batches, self.objective.predict)
        self.ranks.average_statistics()

    def write_epoch(self, epoch: int) -> None:
        """Write sample outputs and figures, and begin to average weights after a plateau."""
        config, state, run = self.config, self.state, self.run
        valid = {f"valid_{name}": score for name, score in state.scores.items()}
        if valid and not memorizes({**state.means.compute(), **valid}):
            state.slow_steps += state.step
        number, step = epoch + 1, (epoch + 1) * len(state.train_loader)
        if samples := self.objective.sample_outputs():
            run.write("samples.md", samples)
            run.board.log_text("samples", samples, step)
        every = config.tracking.figures_every
        if config.tracking.figures and state.scores and every and number % every == 0:
            names = self.data.target_names
            log_confusion(run.board, self.objective, names, epoch=number, step=step)
        score = state.scores.get(config.metric, math.nan)
        if state.averaging.end_epoch(score, self.metric):
            self.loop.console.info(
                f"valid_{config.metric} has plateaued: the weights are averaged from now on"
            )

    def score(self, batches: Iterable[Batch], net: nn.Module | None = None) -> dict[str, float]:
        """Return all metrics of a network; by default of the run's, or of its averaged weights."""
        return evaluate(
            net or self.state.averaging.scored_net,
            batches,
            self.objective,
            device=self.ranks.device,
            precision=self.config.precision,
        )

    # The end of the retraining.

    def finish(self) -> JsonObject:
        """Score the selected weights on the test split, once, and write the summary."""
        config, state, run, best = self.config, self.state, self.run, self.state.best
        if best is None:
            raise Diverged(f"valid_{config.metric} was not a number in any epoch", ADVICE)
        state.averaging.scored_net.load_state_dict(best["net"])
        if self.calibrates:
            self.calibrate()
        test_scores = self._test_scores()
        split, scores = ("valid", best["scores"]) if best["scores"] else ("test", test_scores)
        finder = FlawFinder(
            chance_level(self.data, self.objective, split) if scores else None, split
        )
        flaws = finder.find(scores, state.averaging.scored_net.state_dict())
        return run.finish(
            {
                "epoch": best["epoch"],
                **{f"valid_{name}": score for name, score in best["scores"].items()},
                **{f"test_{name}": score for name, score in test_scores.items()},
                **{f"frozen_valid_{name}": v for name, v in state.frozen_scores.items()},
                **self.size,
                "flops": 2 * self.size["macs"],
                "epochs": state.epoch,
                "restarts": state.restarts,
                "genotype": str(self.genotype),
                "worthless": "; ".join(flaws) or None,
            },
            self.write_card,
        )

    def calibrate(self) -> None:
        """Divide the outputs of the selected network by a temperature, also in the checkpoint."""
        assert self.score_loader is not None
        net, batches = self.state.averaging.scored_net, self.score_loader.epoch(0)
        device, precision = self.ranks.device, self.config.precision
        with self.run.phase("validation"):
            found = predict_all(net, batches, self.objective, device=device, precision=precision)
        temperature = fit_temperature(*found)
        if self.ranks.main:
            save_temperature(self.run.path, temperature)
        divide_outputs(net, temperature)

    def write_card(self, summary: JsonObject) -> None:
        """Write the model card."""
        with optional(self.run.path / "model_card.md"):
            record = dataclasses.replace(read_run(self.run.path), summary=summary)
            weights = self.config.space.weights_source
            exports = bool(self.state.input_specs)
            card = render_model_card(record, exports=exports, weights=weights)
            self.run.write("model_card.md", card)

    def _test_scores(self) -> dict[str, float]:
        if not self.config.evaluate_test:
            return {}
        loader, run = self.data.held_out_loader("test", self.data.subsets), self.run
        if loader is None:
            return {}
        with run.phase("test"):
            scores = self.score(loader.epoch(0))
        if samples := self.objective.sample_outputs():
            run.write("samples_test.md", samples)
        if self.ranks.main and self.config.tracking.figures:
            file = run.path / "confusion_test.svg"
            save_confusion(file, self.objective, self.data.target_names)
        return scores

    def dry_run(self) -> JsonObject:
        """Measure some steps and validation batches, and print the predicted cost of the run."""
        estimate = estimate_cost(
            self, {0: self.config.epochs}, valid_loader=self.score_loader, score=self.score
        )
        return print_estimate(self.size, estimate)


def build_network(
    genotype: AnyGenotype, config: RetrainConfig, sizes: Mapping[str, int]
) -> NetworkBase:
    """Return the untrained network of a retraining.

    ``sizes`` fit the network to the data, see ``DataModule.network_sizes``.
    """
    net = config.space.network(
        genotype, **sizes, auxiliary=config.auxiliary > 0, drop_path=config.drop_path
    )
    if config.mirror:
        average_mirror_images(net)
    return net
