"""Search for an architecture: ``python -m darts.search dataset=cifar10``.

A supernet is trained on one part of the training images while its alphas follow the validation
loss on the other part; at the end a genotype is read out of the alphas.

References:
    Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", arXiv:1806.09055,
    algorithm 1.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from darts.analysis.alphas import genotype_counts, scalars_of
from darts.analysis.cost import count_macs, count_parameters
from darts.analysis.run_pictures import draw_search, show_alphas
from darts.bilevel import GRADIENTS, compare_products
from darts.config import (
    ConfigError,
    Invocation,
    SearchConfig,
    as_yaml,
    group_options,
    launch,
    one_of,
)
from darts.discretize import DISCRETISERS
from darts.engine.architecture import architecture_step
from darts.engine.device import (
    autocast,
    check_compiler,
    check_precision,
    loss_scaler,
    resolve_device,
    seed_everything,
)
from darts.engine.distributed import Ranks, distributed, rank_and_size
from darts.engine.dry_run import dry_run
from darts.engine.evaluation import evaluate
from darts.engine.interrupt import Interrupt
from darts.engine.run import Run, leave_if_asked
from darts.engine.setup import Feeder, divide, load_source, training_indices
from darts.engine.training import Means, cosine, descend, require_finite, set_learning_rate
from darts.relaxations import RELAXATIONS
from darts.spaces import SPACES
from darts.tasks import TASKS
from darts.tracking import Console, closing_table, read_metrics


def check(config: SearchConfig) -> None:
    """Refuse, before any data is read, what no type rules out."""
    one_of("task", config.task, TASKS)
    one_of("metric", config.metric, TASKS[config.task].metrics)
    one_of("space.name", config.space.name, SPACES)
    one_of("relaxation.name", config.relaxation.name, RELAXATIONS)
    one_of("bilevel.name", config.bilevel.name, GRADIENTS)
    one_of("discretize.name", config.discretize.name, DISCRETISERS)
    if config.optimizer.lr_min > config.optimizer.lr:
        raise ConfigError(
            f"optimizer.lr_min={config.optimizer.lr_min} is above optimizer.lr="
            f"{config.optimizer.lr}; the schedule goes down"
        )
    if len(config.arch_optimizer.betas) != 2:
        raise ConfigError(f"arch_optimizer.betas={config.arch_optimizer.betas} must be two numbers")
    check_precision(config.precision, resolve_device(config.device))
    if config.compile:
        check_compiler(resolve_device(config.device), ranks=rank_and_size()[1])


@distributed
def search(config: SearchConfig, call: Invocation, ranks: Ranks) -> dict[str, Any]:
    """Run a search; the returned summary is also in the run directory."""
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
    source = ranks.in_turn(lambda: load_source(config.dataset))
    indices = training_indices(source, config.dataset.subset, config.seed)
    for_weights, for_alphas = divide(
        source, indices, config.split, seed=config.seed, key=f"split={config.split}"
    )
    feeder = Feeder(source, config.dataset, config.loader, seed=config.seed, ranks=ranks)
    train_batches = feeder.training(source.train, for_weights, "weights")
    valid_batches = feeder.training(source.train, for_alphas, "alphas")
    score_batches = feeder.evaluation(source.train, for_alphas)

    # Supernet, and the two optimisers: the alphas are in no list of the weights' optimiser.
    space = SPACES[config.space.name]
    task = TASKS[config.task](classes=len(source.classes))
    one_of("metric", config.metric, task.scores(device).metrics)  # some need many classes
    net = space.supernet(
        classes=len(source.classes),
        in_channels=source.channels,
        **{key: getattr(config.space, key) for key in space.options},
    ).to(device, memory_format=torch.channels_last)  # what convolutions run fastest on
    ranks.prepare(net)
    if config.memory == "checkpoint":
        net.recompute_cells()
    if config.compile:
        net.compile_regions()
    alphas = list(net.alphas.values())
    optimizer = torch.optim.SGD(
        net.weight_parameters(),
        lr=config.optimizer.lr,
        momentum=config.optimizer.momentum,
        weight_decay=config.optimizer.weight_decay,
    )
    arch_optimizer = torch.optim.Adam(
        alphas,
        lr=config.arch_optimizer.lr,
        betas=(config.arch_optimizer.betas[0], config.arch_optimizer.betas[1]),
        weight_decay=config.arch_optimizer.weight_decay,
    )
    scaler, arch_scaler = (loss_scaler(config.precision, device) for _ in range(2))

    # The parts that make the method.
    relax = RELAXATIONS[config.relaxation.name]
    discretize = DISCRETISERS[config.discretize.name]
    arch_gradient = GRADIENTS[config.bilevel.name]
    options = dataclasses.asdict(config.bilevel)
    del options["name"]
    check_every = options.pop("self_check", 0)

    def arch_loss(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        weights = relax(net.alphas)
        loss, logits = task.supernet_loss(lambda images: net(images, weights), batch)
        return ranks.part(loss, len(logits))

    def mixed_by(weights: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda images: net(images, weights)

    def arch_step(batch: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor]) -> Tensor:
        return architecture_step(
            *(net, arch_loss, batch, valid),
            gradient=arch_gradient,
            optimizer=optimizer,
            arch_optimizer=arch_optimizer,
            scaler=arch_scaler,
            precision=config.precision,
            device=device,
            reduce=ranks.reduce,
            **options,
        )

    def weight_step(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        # The alphas are constants here, or the backward pass would reach for them too.
        weights = relax({name: alpha.detach() for name, alpha in net.alphas.items()})
        with autocast(config.precision, device):
            loss, logits = task.supernet_loss(mixed_by(weights), batch)
        loss_part = ranks.part(loss, len(logits))
        clip = config.optimizer.clip
        norm = descend(loss_part, optimizer, scaler, clip=clip, reduce=ranks.reduce)
        return loss.detach(), logits.detach(), norm

    steps = len(train_batches)
    parameters = count_parameters(net.weight_parameters())
    image = torch.zeros(1, *source.train.shape, device=device)
    macs = count_macs(net, image)
    if config.dry_run:

        def one_step(step: int) -> None:
            batch = train_batches.batch(0, step)
            arch_step(batch, valid_batches.batch(0, step))
            weight_step(batch)

        def one_score() -> None:
            evaluate(net, [score_batches.batch(0, 0)], task, device=device)

        estimate = dry_run(
            one_step,
            one_score,
            steps=steps,
            score_batches=len(score_batches),
            epochs=config.epochs,
            device=device,
        )
        closing_table("dry run", {"parameters": parameters, "macs": macs, **estimate})
        return {"parameters": parameters, "macs": macs, **estimate}

    run.begin(
        {"weights": for_weights, "alphas": for_alphas},
        tensorboard=config.tracking.tensorboard,
        watts=config.tracking.watts_per_core,
    )
    means, first_epoch, first_step = Means(), 0, 0
    scores: dict[str, float] = {}
    history: list[dict[str, Tensor]] = []  # the mixing weights at the end of each epoch
    if run.state is not None:
        net.load_state_dict(run.state["net"])
        optimizer.load_state_dict(run.state["optimizer"])
        arch_optimizer.load_state_dict(run.state["arch_optimizer"])
        scaler.load_state_dict(run.state["scaler"])
        arch_scaler.load_state_dict(run.state["arch_scaler"])
        means.load_state_dict(run.state["means"])
        first_epoch, first_step = run.state["epoch"], run.state["step"]
        scores, history = run.state["scores"], run.state["history"]

    def save(epoch: int, step: int) -> None:
        content = {
            "net": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "arch_optimizer": arch_optimizer.state_dict(),
            "scaler": scaler.state_dict(),
            "arch_scaler": arch_scaler.state_dict(),
            "means": means.state_dict(),
            "epoch": epoch,
            "step": step,
            "scores": scores,
            "history": history,
        }
        run.save(epoch * steps + step, content)

    with torch.no_grad():
        genotype = discretize(relax(net.alphas))
    total, done = config.epochs * steps, first_epoch * steps + first_step
    console = Console(total_steps=total, name="search", done=done)
    with run, console, Interrupt() as interrupt:
        console.say(f"{'resuming' if done else 'searching'} in {call.directory}")
        for epoch in range(first_epoch, config.epochs):
            lr = cosine(epoch, config.epochs, config.optimizer.lr, config.optimizer.lr_min)
            set_learning_rate(optimizer, lr)
            net.train()
            valid_stream = valid_batches.stream(epoch * steps + first_step)
            for step, batch in enumerate(train_batches.epoch(epoch, first_step), first_step):
                here = epoch * steps + step
                valid = next(valid_stream)
                if check_every and here % check_every == 0:
                    report = compare_products(
                        *(net, arch_loss, batch, valid, optimizer),
                        epsilon=options["epsilon"],
                        reduce=ranks.reduce,
                    )
                    # Numbered as the step it belongs to ends, so that a resumed run hides it.
                    run.log(here + 1, report, {f"bilevel/{k}": v for k, v in report.items()})
                arch_norm = arch_step(batch, valid)
                loss, logits, norm = weight_step(batch)
                right = (logits.argmax(1) == batch[1]).float().mean()
                samples, (loss, right) = ranks.means(len(logits), loss, right)
                # One transfer from the device for all numbers of the step.
                numbers = torch.stack([loss, right, norm, arch_norm]).tolist()
                value = require_finite(numbers[0], epoch, step)
                names = ("loss", "accuracy", "grad_norm", "arch_grad_norm")
                means.add(samples, **dict(zip(names, numbers, strict=True)))
                console.step(epoch=f"{epoch + 1}/{config.epochs}", loss=value)
                if ranks.highest(bool(interrupt.received) or run.due(config.save_minutes)):
                    save(epoch, step + 1)
                    leave_if_asked(interrupt, run, console)
            first_step = 0

            # The end of an epoch: score the supernet, read the genotype, tell, save.
            with torch.no_grad():
                weights = relax(net.alphas)
                scores = evaluate(
                    net,
                    score_batches.epoch(0),
                    task,
                    device=device,
                    precision=config.precision,
                    forward=mixed_by(weights),
                )
            genotype = discretize(weights)
            history.append({name: weight.cpu() for name, weight in weights.items()})
            here, told = (epoch + 1) * steps, means.compute()
            counts = genotype_counts(genotype)
            run.log(
                here,
                {
                    "epoch": epoch + 1,
                    "lr": lr,
                    **{f"train_{name}": told[name] for name in ("loss", "accuracy")},
                    **{f"valid_{name}": score for name, score in scores.items()},
                    **{name: told[name] for name in ("grad_norm", "arch_grad_norm")},
                    **counts,
                    "genotype": str(genotype),
                    **run.cost(),
                },
                {
                    "loss/train": told["loss"],
                    "loss/valid": scores["loss"],
                    **{f"valid/{name}": score for name, score in scores.items()},
                    "train/accuracy": told["accuracy"],
                    "lr/weights": lr,
                    "lr/alphas": config.arch_optimizer.lr,
                    "norm/gradient": told["grad_norm"],
                    "norm/arch_gradient": told["arch_grad_norm"],
                    "epoch": epoch + 1,
                    **counts,
                    **scalars_of(weights, space.operations),
                },
            )
            every = config.tracking.figures_every
            if epoch + 1 == config.epochs or (every and (epoch + 1) % every == 0):
                show_alphas(
                    run.board, weights, genotype, space.operations, epoch=epoch + 1, step=here
                )
            run.write("genotype.json", genotype.to_json())
            console.epoch(
                epoch + 1,
                config.epochs,
                loss=told["loss"],
                **{f"valid_{config.metric}": scores[config.metric]},
                genotype=genotype,
            )
            means = Means()
            save(epoch + 1, 0)
            leave_if_asked(interrupt, run, console)

    if ranks.main:
        run.metrics.sync()
        draw_search(
            run.directory,
            history,
            genotype,
            space.operations,
            read_metrics(run.metrics.path),
            title=f"{config.name}, seed {config.seed}",
        )
    summary = run.finish(
        {
            "command": "search",
            "name": config.name,
            "metric": config.metric,
            **{f"valid_{name}": score for name, score in scores.items()},
            "parameters": parameters,
            "macs": macs,
            "flops": 2 * macs,
            "epochs": config.epochs,
            "seed": config.seed,
            "device": str(device),
            "genotype": str(genotype),
            **genotype_counts(genotype),
        }
    )
    keys = (f"valid_{config.metric}", "seconds", "joules", "joules_source", "parameters", "macs")
    closing_table("search", {key: summary[key] for key in keys})
    print(f"\n{genotype}\n\nTrain it from scratch:\n  {retrain_command(call, config.dataset.name)}")
    return summary


def retrain_command(call: Invocation, dataset: str) -> str:
    """The command that trains what this search found, on the same data."""
    kept = [o for o in call.overrides if o.startswith(("dataset", "device=", "seed="))]
    given = dict(o.split("=", 1) for o in call.overrides if "=" in o)
    experiment = given.get("experiment/search")
    if experiment in group_options("experiment/retrain"):
        kept.insert(0, f"experiment={experiment}")
    elif "dataset" not in given:
        kept.insert(0, f"dataset={dataset}")
    words = [f"genotype={call.directory}", *kept]
    return " ".join(["python -m darts.retrain", *(shlex.quote(word) for word in words)])


def main() -> None:
    """Entry point of ``darts-search``."""
    launch("search", check, search)


if __name__ == "__main__":
    main()
