"""Search for an architecture: ``python -m darts.search dataset=cifar10``.

A supernet is trained on one part of the training images while its alphas follow the validation
loss on the other part; at the end a genotype is read out of the alphas.

References:
    Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", arXiv:1806.09055,
    algorithm 1.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable
from typing import Any

import torch

from darts.config import Invocation, SearchConfig, as_yaml, group_options, launch, one_of
from darts.data_modules.data_module import check_data, make_data_module
from darts.judging.truth import Truth
from darts.plotting.run import draw_search, show_alphas
from darts.searching.alphas import genotype_counts, means_of, named_history, scalars_of
from darts.searching.checks import check_parts
from darts.searching.decision import Decision
from darts.searching.diagnosis import Examination, Report, eigenvalue_of
from darts.searching.expected_cost import MEASURES, ExpectedCost, Penalty
from darts.searching.search_plan import plan_search
from darts.searching.searcher import Searcher
from darts.tracking import Console, closing_table, read_metrics
from darts.training.cost import count_macs, count_parameters
from darts.training.device import seed_everything
from darts.training.distributed import Ranks, distributed
from darts.training.interrupt import Interrupt
from darts.training.plan import check_budget
from darts.training.run_directory import Run, leave_if_asked
from darts.training.steps import Means, require_finite


def check(config: SearchConfig) -> None:
    """Refuse, before any data is read, what no type rules out."""
    check_data(config)
    check_budget(config)
    one_of("metric", config.metric, config.task.metrics)
    check_parts(config)


@distributed
def search(
    config: SearchConfig,
    call: Invocation,
    ranks: Ranks,
    watch: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Run a search; the returned summary is also in the run directory.

    Args:
        config: of the run.
        call: where it goes.
        ranks: who share the work.
        watch: is told each epoch, from 1, and its validation scores; it may raise to end the run.
    """
    device = ranks.device
    run = Run(
        "search",
        call.directory,
        dataclasses.asdict(config),
        config_text=as_yaml(config),
        overrides=call.overrides,
        resume=config.resume is not None,
        ranks=ranks,
    )
    seed_everything(config.seed)

    # Data: one part of the training images for the weights, the other for the alphas.
    data_module = make_data_module(config, ranks)
    train_batches, valid_batches, score_batches = loaders = data_module.searched()
    sizes = data_module.sizes(config.space)

    # The supernet with its optimizers, and the parts that make the method.
    objective = config.task.objective(data_module.names)
    one_of("metric", config.metric, objective.scores(device).metrics)  # some need many classes
    truth = Truth.of(config.benchmark, config.space.name)
    searcher = Searcher(
        *(config, objective, ranks, sizes),
        stage=0 if run.state is None else run.state["searcher"]["stage"],
    )
    context, discretize = searcher.context, config.discretize

    targets = {name: getattr(config.penalty, name) for name in MEASURES}
    targets = {name: target for name, target in targets.items() if target is not None}
    costs = {
        name: ExpectedCost.measured(
            config.space,
            context.candidates,
            classes=len(data_module.names),
            image=data_module.shape,
            measure=MEASURES[name],
            device=device,
        )
        for name in targets
    }
    penalty = Penalty(costs, targets, config.penalty.weight)
    searcher.alpha_cost = penalty if targets else None

    steps = len(train_batches)

    def cost() -> dict[str, int]:
        """Of the supernet, which a later stage may make larger."""
        parameters = count_parameters(searcher.net.weight_parameters())
        return {"parameters": parameters, "macs": count_macs(searcher.net, data_module.example())}

    if config.dry_run:
        return plan_search(searcher, loaders, cost)

    run.begin(data_module.parts, tracking=config.tracking)
    means, first_epoch, first_step = Means(), 0, 0
    scores: dict[str, float] = {}
    history: list[dict[str, torch.Tensor]] = []  # probabilities at the end of each epoch
    genotypes: list[str] = []  # what they stood for
    eigenvalues: list[float] = []
    doctor = Examination(searcher, train_batches, valid_batches, score_batches)
    decided: dict[str, Any] = {}  # by a rule that takes its time
    stopped: int | None = None  # the epoch that an early stop goes back to, from 0
    if run.state is not None:
        searcher.load_state_dict(run.state["searcher"])
        penalty.load_state_dict(run.state["penalty"])
        means.load_state_dict(run.state["means"])
        first_epoch, first_step = run.state["epoch"], run.state["step"]
        scores, history = run.state["scores"], run.state["history"]
        genotypes, eigenvalues = run.state["genotypes"], run.state["eigenvalues"]
        decided, stopped = run.state["decided"], run.state["stopped"]
        doctor.load_state_dict(run.state["doctor"])
        train_batches.load_state_dict(run.state["train_batches"])
        valid_batches.load_state_dict(run.state["valid_batches"])
    for name, text in data_module.files().items():
        run.write(name, text)

    def save(epoch: int, step: int) -> None:
        content = {
            "searcher": searcher.state_dict(),
            "penalty": penalty.state_dict(),
            "means": means.state_dict(),
            "epoch": epoch,
            "step": step,
            "scores": scores,
            "history": history,
            "genotypes": genotypes,
            "eigenvalues": eigenvalues,
            "doctor": doctor.state_dict(),
            "decided": decided,
            "stopped": stopped,
            "train_batches": train_batches.state_dict(),
            "valid_batches": valid_batches.state_dict(),
        }
        run.save(epoch * steps + step, content)

    genotype = discretize.genotype(searcher.expected(), context)
    total, done = config.epochs * steps, first_epoch * steps + first_step
    console = Console(total_steps=total, name="search", done=done)
    with run, console, Interrupt() as interrupt:
        console.say(f"{'resuming' if done else 'searching'} in {call.directory}")
        for epoch in range(first_epoch, config.epochs):
            if stopped is not None:
                break
            lr = searcher.begin_epoch(epoch)
            moves = searcher.updates_alphas(epoch)
            valid_stream = valid_batches.stream(epoch * steps + first_step)
            for step, batch in enumerate(train_batches.epoch(epoch, first_step), first_step):
                here = epoch * steps + step
                valid = next(valid_stream)
                report = searcher.report(here, batch, valid) if moves else {}
                if report:
                    # Numbered as the step it belongs to ends, so that a resumed run hides it.
                    run.log(here + 1, report, {f"bilevel/{k}": v for k, v in report.items()})
                arch_norm = searcher.arch_step(batch, valid) if moves else torch.zeros(())
                searcher.look(here, batch, valid)
                loss, outputs, norm = searcher.weight_step(batch)
                seen = {"loss": loss, **objective.seen(outputs, batch)}
                samples, shared = ranks.weighted_means(objective.samples(batch), *seen.values())
                # One transfer from the device for all numbers of the step.
                numbers = torch.stack([*shared, norm, arch_norm.to(device)]).tolist()
                value = require_finite(numbers[0], epoch, step)
                names = (*(f"train_{name}" for name in seen), "grad_norm", "arch_grad_norm")
                means.add(samples, **dict(zip(names, numbers, strict=True)))
                console.step(epoch=f"{epoch + 1}/{config.epochs}", loss=value)
                if ranks.all_reduce_max(bool(interrupt.received) or run.due(config.save_minutes)):
                    save(epoch, step + 1)
                    leave_if_asked(interrupt, run, console)
            first_step = 0

            # The end of an epoch: score the supernet, read the genotype, tell, save.
            with run.phase("validation"):
                scores, samples_told = searcher.score(score_batches.epoch(0)), objective.told()
            probabilities = searcher.expected()
            genotype = discretize.genotype(probabilities, context)
            history.append({group: p.cpu() for group, p in probabilities.items()})
            genotypes.append(genotype.to_json())
            known = penalty.expected(probabilities)
            if truth is not None:
                known |= truth.of_genotype(genotype)
            if config.stopping.needs_curvature:
                eigenvalues.append(eigenvalue_of(searcher, valid_batches.batch(epoch, 0)))
                known["eigenvalue"] = eigenvalues[-1]
                stopped = config.stopping.stop(eigenvalues)
            looked: Report | None = None
            if doctor.looks_at(epoch):
                with run.phase("doctor"):
                    looked = doctor.look(genotypes, scores, known.get("eigenvalue"))
                stopped = looked.back_to if stopped is None else stopped
            here, told = (epoch + 1) * steps, means.compute()
            counts, decisions = genotype_counts(genotype), scalars_of(probabilities, context)
            run.log(
                here,
                {
                    "epoch": epoch + 1,
                    "lr": lr,
                    **(seen_means := {n: v for n, v in told.items() if n.startswith("train_")}),
                    **{f"valid_{name}": score for name, score in scores.items()},
                    **{name: told[name] for name in ("grad_norm", "arch_grad_norm")},
                    **counts,
                    **known,
                    **({} if looked is None else {**means_of(decisions), **looked.row}),
                    "genotype": str(genotype),
                    **run.cost(),
                },
                {
                    "loss/train": told["train_loss"],
                    "loss/valid": scores["loss"],
                    **{f"valid/{name}": score for name, score in scores.items()},
                    **{
                        n.replace("_", "/", 1): v
                        for n, v in seen_means.items()
                        if n != "train_loss"
                    },
                    "lr/weights": lr,
                    "lr/alphas": config.arch_optimizer.lr if moves else 0.0,
                    "norm/gradient": told["grad_norm"],
                    "norm/arch_gradient": told["arch_grad_norm"],
                    "epoch": epoch + 1,
                    **counts,
                    **{f"known/{name}": value for name, value in known.items()},
                    **decisions,
                    **({} if looked is None else looked.scalars),
                },
            )
            every = config.tracking.figures_every
            if config.tracking.pictures and (
                epoch + 1 == config.epochs or (every and (epoch + 1) % every == 0)
            ):
                show_alphas(run.board, probabilities, genotype, context, epoch=epoch + 1, step=here)
            run.write("genotype.json", genotype.to_json())
            run.write("alphas.json", json.dumps(named_history(history, context)) + "\n")
            if samples_told:
                run.write("samples.md", samples_told)
                run.board.text("samples", samples_told, here)
            truths = ("true_accuracy", "true_rank")
            shown: dict[str, Any] = {name: known[name] for name in truths if name in known}
            if looked is not None:
                shown["doctor"] = looked.verdict
                run.board.text("doctor", looked.text, here)
                for line in looked.warnings:
                    console.warn(line)
            console.epoch(
                epoch + 1,
                config.epochs,
                loss=told["train_loss"],
                **{f"valid_{config.metric}": scores[config.metric]},
                **shown,
                genotype=genotype,
            )
            means = Means()
            save(epoch + 1, 0)
            leave_if_asked(interrupt, run, console)
            if watch is not None:
                watch(epoch + 1, scores)

        # The end: the rule that turns the supernet into a genotype, which may take its time.
        if stopped is not None:
            early = "stopped early: " if len(genotypes) < config.epochs else ""
            console.say(f"{early}the genotype is that of epoch {stopped + 1}")
            genotype = config.space.parse(genotypes[stopped])
        else:

            def save_decision() -> None:
                save(config.epochs, 0)
                leave_if_asked(interrupt, run, console)

            def pause_decision() -> None:
                if ranks.all_reduce_max(bool(interrupt.received) or run.due(config.save_minutes)):
                    save_decision()

            trained = Decision(
                searcher,
                train_batches,
                valid_batches,
                score_batches,
                state=decided,
                save=save_decision,
                pause=pause_decision,
                say=console.say,
            )
            with run.phase("discretization"):
                genotype = discretize.final(trained)
        run.write("genotype.json", genotype.to_json())

    if ranks.main and config.tracking.pictures:
        run.metrics.sync()
        draw_search(
            run.directory,
            history,
            genotype,
            context,
            read_metrics(run.metrics.path),
            title=f"{config.name}, seed {config.seed}",
        )
    summary = run.finish(
        {
            "command": "search",
            "name": config.name,
            "metric": config.metric,
            **{f"valid_{name}": score for name, score in scores.items()},
            **(size := cost()),
            "flops": 2 * size["macs"],
            "epochs": config.epochs,
            "seed": config.seed,
            "device": str(device),
            "genotype": str(genotype),
            "genotype_epoch": config.epochs if stopped is None else stopped + 1,
            **doctor.summary(),
            **genotype_counts(genotype),
            **penalty.expected(searcher.expected()),
            **({} if truth is None else truth.of_genotype(genotype)),
        }
    )
    keys = (
        f"valid_{config.metric}",
        "true_accuracy",
        "true_rank",
        "seconds",
        "joules",
        "joules_source",
        "gco2e",
        "parameters",
        "macs",
    )
    closing_table("search", {key: summary[key] for key in keys if key in summary})
    print(f"\n{genotype}\n\nTrain it from scratch:\n  {retrain_command(call, config)}")
    return summary


def retrain_command(call: Invocation, config: SearchConfig) -> str:
    """The command that trains what this search found, on the same data."""
    shared = tuple(f"space.{name}=" for name in config.space.kept)
    kept = [o for o in call.overrides if o.startswith(("dataset", "device=", "seed=", *shared))]
    given = dict(o.split("=", 1) for o in call.overrides if "=" in o)
    experiment = given.get("experiment/search")
    if experiment in group_options("experiment/retrain"):
        kept.insert(0, f"experiment={experiment}")
    elif "dataset" not in given:
        kept.insert(0, f"dataset={config.dataset.name}")
    if config.space.name != "cnn":
        kept.insert(0, f"space={config.space.name}")
    if config.task.name != "classification":
        kept.insert(0, f"task={config.task.name}")
    words = [f"genotype={call.directory}", *kept]
    return " ".join(["python -m darts.retrain", *(shlex.quote(word) for word in words)])


def main() -> None:
    """Entry point of ``darts-search``."""
    launch("search", check, search)


if __name__ == "__main__":
    main()
