"""Train a genotype's network from scratch: ``python -m darts.retrain genotype=DARTS_V2``.

References:
    DARTS, arXiv:1806.09055, section 3.2 and appendix A.2.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import torch

from darts.config import ConfigError, Invocation, RetrainConfig, as_yaml, launch, one_of
from darts.data_modules.data_module import check_data, make_data_module
from darts.plotting.genotype import draw_genotype, save_genotype
from darts.plotting.run import draw_confusions, draw_training, show_confusion
from darts.reporting import model_card, read_record
from darts.spaces import space_of
from darts.spaces.find import find_genotype
from darts.tracking import Console, closing_table, read_metrics
from darts.training.averaging import Averaging, require_one_way
from darts.training.cost import count_macs, count_parameters
from darts.training.device import (
    autocast,
    check_precision,
    loss_scaler,
    resolve_device,
    seed_everything,
)
from darts.training.distributed import Ranks, distributed
from darts.training.dry_run import Span, dry_run
from darts.training.interrupt import Interrupt
from darts.training.plan import check_budget, plan_of, tell_plan
from darts.training.run_directory import Run, leave_if_asked
from darts.training.scoring import evaluate
from darts.training.steps import (
    Diverged,
    Means,
    cosine,
    optimizer_step,
    require_finite,
    set_learning_rate,
    weight_optimizer,
)


def check(config: RetrainConfig) -> None:
    """Refuse, before any data is read, what no type rules out."""
    check_data(config)
    check_budget(config)
    one_of("metric", config.metric, config.task.metrics)
    if config.optimizer.lr_min > config.optimizer.lr:
        raise ConfigError(
            f"optimizer.lr_min={config.optimizer.lr_min} is above optimizer.lr="
            f"{config.optimizer.lr}; the schedule goes down"
        )
    if config.choose == "best" and config.validation == 0:
        raise ConfigError(
            "choose=best needs validation data, and validation=0 leaves none; "
            "set validation above 0 or choose=last"
        )
    require_one_way(config.averaging, config.average_after)
    if config.average_after and config.validation == 0:
        raise ConfigError(
            f"average_after={config.average_after} needs validation data, and validation=0 leaves "
            "none; set validation above 0 or average_after=0"
        )
    _, genotype = find_genotype(config.genotype)
    space = space_of(genotype).name
    if space != config.space.name:
        raise ConfigError(
            f"genotype={config.genotype!r} is of the space {space}, not of "
            f"{config.space.name}; add space={space}"
        )
    check_precision(config.precision, resolve_device(config.device))


@distributed
def retrain(
    config: RetrainConfig,
    call: Invocation,
    ranks: Ranks,
    watch: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Train and score one network; the returned summary is also in the run directory.

    Args:
        config: of the run.
        call: where it goes.
        ranks: who share the work.
        watch: is told each epoch, from 1, and its validation scores; it may raise to end the run.
    """
    device = ranks.device
    genotype_name, genotype = find_genotype(config.genotype)
    # The run shall not depend on a file that may go: it keeps the genotype itself.
    plain = {**dataclasses.asdict(config), "genotype": str(genotype)}
    run = Run(
        "retrain",
        call.directory,
        plain,
        config_text=as_yaml(dataclasses.replace(config, genotype=str(genotype))),
        overrides=[
            *(o for o in call.overrides if not o.startswith("genotype=")),
            f"genotype={genotype}",
        ],
        resume=config.resume is not None,
        ranks=ranks,
    )
    seed_everything(config.seed)

    # Data: a validation part is held out of the training data; the test split waits for the end.
    data_module = make_data_module(config, ranks)
    train_batches, valid_batches = data_module.trained()

    # Network and optimizer.
    objective = config.task.objective(
        data_module.names, label_smoothing=config.label_smoothing, auxiliary=config.auxiliary
    )
    one_of("metric", config.metric, objective.scores(device).metrics)  # some need many classes
    metric = objective.metrics[config.metric]
    sizes = data_module.sizes(config.space)
    net = build_network(genotype, config, sizes)
    net = net.to(device, memory_format=torch.channels_last)  # what convolutions run fastest on
    optimizer = weight_optimizer(net.parameters(), config.optimizer)
    scaler = loss_scaler(config.precision, device)
    averaging = Averaging(net, decay=config.averaging, patience=config.average_after)
    if ranks.size > 1:
        ranks.prepare(net)
        net.rows = train_batches.rows  # drop path draws for the whole batch

    def train_step(batch: Any) -> tuple[torch.Tensor, Any, torch.Tensor]:
        with autocast(config.precision, device):
            loss, outputs = objective.network_loss(net, batch)
        loss_part = ranks.loss_share(loss, objective.samples(batch))
        clip = config.optimizer.clip
        norm = optimizer_step(loss_part, optimizer, scaler, clip=clip, reduce=ranks.reduce)
        averaging.step()
        return loss.detach(), outputs, norm

    def score(batches: Any) -> dict[str, float]:
        judged = averaging.judged
        return evaluate(judged, batches, objective, device=device, precision=config.precision)

    steps = len(train_batches)
    extra = [] if net.auxiliary is None else list(net.auxiliary.parameters())
    parameters = count_parameters(net.parameters()) - count_parameters(extra)
    macs = count_macs(net, data_module.example())
    size = {"parameters": parameters, "macs": macs}
    if config.dry_run:
        estimate = dry_run(
            [Span(config.epochs, lambda step: train_step(train_batches.batch(0, step)))],
            lambda: score([valid_batches.batch(0, 0)]) if valid_batches else None,
            steps=steps,
            score_batches=len(valid_batches) if valid_batches else 0,
            device=device,
            **plan_of(config, ranks),
        )
        return tell_plan(config, {**size, **estimate}, device)

    run.begin(data_module.parts, tracking=config.tracking)
    means, first_epoch, first_step = Means(), 0, 0
    scores: dict[str, float] = {}
    chosen: dict[str, Any] | None = None  # weights to be judged by: epoch, scores, state
    if run.state is not None:
        net.load_state_dict(run.state["net"])
        optimizer.load_state_dict(run.state["optimizer"])
        scaler.load_state_dict(run.state["scaler"])
        averaging.load_state_dict(run.state["averaging"])
        means.load_state_dict(run.state["means"])
        first_epoch, first_step = run.state["epoch"], run.state["step"]
        scores, chosen = run.state["scores"], run.state["chosen"]
        train_batches.load_state_dict(run.state["train_batches"])
    elif ranks.main:
        run.write("genotype.json", genotype.to_json())
        run.board.text("genotype", f"`{genotype}`", 0)
        if config.tracking.pictures:
            save_genotype(genotype, run.directory / "genotype.svg", title=genotype_name)
            run.board.figure("genotype", draw_genotype(genotype, title=genotype_name), 0)

    for name, text in data_module.files().items():
        run.write(name, text)

    def save(epoch: int, step: int) -> None:
        content = {
            "net": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict(),
            "averaging": averaging.state_dict(),
            "means": means.state_dict(),
            "epoch": epoch,
            "step": step,
            "scores": scores,
            "chosen": chosen,
            "names": list(data_module.names),
            "sizes": sizes,
            "inputs": [dataclasses.asdict(i) for i in data_module.inputs()],
            "train_batches": train_batches.state_dict(),
        }
        run.save(epoch * steps + step, content)

    total, done = config.epochs * steps, first_epoch * steps + first_step
    console = Console(total_steps=total, name="retrain", done=done)
    with run, console, Interrupt() as interrupt:
        console.say(f"{'resuming' if done else 'training'} in {call.directory}")
        for epoch in range(first_epoch, config.epochs):
            lr = cosine(epoch, config.epochs, config.optimizer.lr, config.optimizer.lr_min)
            set_learning_rate(optimizer, lr)
            net.drop_path = config.drop_path * epoch / config.epochs
            net.train()
            for step, batch in enumerate(train_batches.epoch(epoch, first_step), first_step):
                loss, outputs, norm = train_step(batch)
                seen = {"loss": loss, **objective.seen(outputs, batch)}
                samples, shared = ranks.weighted_means(objective.samples(batch), *seen.values())
                numbers = torch.stack([*shared, norm]).tolist()
                value = require_finite(numbers[0], epoch, step)
                names = (*(f"train_{name}" for name in seen), "grad_norm")
                means.add(samples, **dict(zip(names, numbers, strict=True)))
                console.step(epoch=f"{epoch + 1}/{config.epochs}", loss=value)
                if ranks.all_reduce_max(bool(interrupt.received) or run.due(config.save_minutes)):
                    save(epoch, step + 1)
                    leave_if_asked(interrupt, run, console)
            first_step = 0

            # The end of an epoch: score on validation data, keep the best, tell, save.
            with run.phase("validation"):
                scores = score(valid_batches.epoch(0)) if valid_batches is not None else {}
            steering = scores.get(config.metric, float("nan"))
            best = None if chosen is None else chosen["scores"].get(config.metric)
            if config.choose == "last" or metric.prefers(steering, best):
                judged = averaging.judged.state_dict()
                state = {name: value.clone() for name, value in judged.items()}
                chosen = {"epoch": epoch + 1, "scores": scores, "net": state}
            here, told = (epoch + 1) * steps, means.compute()
            run.log(
                here,
                {
                    "epoch": epoch + 1,
                    "lr": lr,
                    "drop_path": net.drop_path,
                    **(trained := {n: v for n, v in told.items() if n.startswith("train_")}),
                    **{f"valid_{name}": value for name, value in scores.items()},
                    "grad_norm": told["grad_norm"],
                    **run.cost(),
                },
                {
                    "loss/train": told["train_loss"],
                    "loss/valid": scores.get("loss"),
                    **{f"valid/{name}": value for name, value in scores.items()},
                    **{n.replace("_", "/", 1): v for n, v in trained.items() if n != "train_loss"},
                    "lr/weights": lr,
                    "norm/gradient": told["grad_norm"],
                    "epoch": epoch + 1,
                },
            )
            if text := objective.told():
                run.write("samples.md", text)
                run.board.text("samples", text, here)
            every = config.tracking.figures_every
            if config.tracking.pictures and scores and every and (epoch + 1) % every == 0:
                show_confusion(run.board, objective, data_module.names, epoch=epoch + 1, step=here)
            shown = {f"valid_{config.metric}": steering} if scores else {}
            console.epoch(epoch + 1, config.epochs, loss=told["train_loss"], **shown)
            if averaging.epoch(steering, metric):
                console.say(f"valid_{config.metric} has stopped to improve: weights are averaged")
            means = Means()
            save(epoch + 1, 0)
            leave_if_asked(interrupt, run, console)
            if watch is not None:
                watch(epoch + 1, scores)

    # The end: the chosen weights, and the one look at the test split.
    if chosen is None:
        with run:
            raise Diverged(
                f"valid_{config.metric} was a number in no epoch; try a smaller optimizer.lr"
            )
    averaging.judged.load_state_dict(chosen["net"])
    tested: dict[str, float] = {}
    if config.test and (test_batches := data_module.held("test", data_module.parts)) is not None:
        with run.phase("test"):
            tested = score(test_batches.epoch(0))
        if text := objective.told():
            run.write("samples_test.md", text)
        if ranks.main and config.tracking.pictures:
            draw_confusions(run.directory / "confusion_test.svg", objective, data_module.names)
    if ranks.main and config.tracking.pictures:
        run.metrics.sync()
        draw_training(run.directory, read_metrics(run.metrics.path), title=config.name)
    summary = run.finish(
        {
            "command": "retrain",
            "name": config.name,
            "metric": config.metric,
            "epoch": chosen["epoch"],
            **{f"valid_{name}": value for name, value in chosen["scores"].items()},
            **{f"test_{name}": value for name, value in tested.items()},
            **size,
            "flops": 2 * macs,
            "epochs": config.epochs,
            "seed": config.seed,
            "device": str(device),
            "genotype": str(genotype),
        }
    )
    if ranks.main:
        card = model_card(read_record(run.directory), exports=bool(data_module.inputs()))
        run.write("model_card.md", card)
    keys = (
        *(f"{part}_{config.metric}" for part in ("valid", "test")),
        *("epoch", "seconds", "joules", "joules_source", "gco2e", "parameters", "macs"),
    )
    closing_table("retrain", {key: summary[key] for key in keys if key in summary})
    word = shlex.quote(f"checkpoint={call.directory}")
    print(f"\nScore it again:\n  python -m darts.evaluate {word}")
    return summary


def build_network(genotype: Any, config: RetrainConfig, sizes: Mapping[str, int]) -> Any:
    """The discrete network of a retrain configuration; sizes are those of ``DataModule.sizes``."""
    return config.space.network(
        genotype,
        **sizes,
        auxiliary=config.auxiliary > 0,
        drop_path=config.drop_path,
    )


def main() -> None:
    """Entry point of ``darts-retrain``."""
    launch("retrain", check, retrain)


if __name__ == "__main__":
    main()
