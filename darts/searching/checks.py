"""What a search refuses before it reads any data: parts that do not go together."""

from __future__ import annotations

from typing import Any

from darts.training.device import check_compiler, check_precision, resolve_device
from darts.training.distributed import rank_and_size


def check_parts(config: Any) -> None:
    """Refuse, before any data is read, what no type rules out."""
    if config.optimizer.lr_min > config.optimizer.lr:
        raise ValueError(
            f"optimizer.lr_min={config.optimizer.lr_min} is above optimizer.lr="
            f"{config.optimizer.lr}; the schedule goes down"
        )
    if len(config.arch_optimizer.betas) != 2:
        raise ValueError(f"arch_optimizer.betas={config.arch_optimizer.betas} must be two numbers")
    if not config.relaxation.uses_alphas and (
        config.bilevel.updates_alphas or config.stopping.needs_curvature
    ):
        raise ValueError(
            f"relaxation={config.relaxation.name} does not go by the alphas, so that there is no "
            f"gradient for bilevel={config.bilevel.name} stopping={config.stopping.name}; "
            "choose bilevel=frozen stopping=never"
        )
    check_doctor(config)
    if config.bilevel.mirrors_sgd and config.optimizer.kind != "sgd":
        raise ValueError(
            f"bilevel={config.bilevel.name} mirrors a step of SGD, and optimizer.kind="
            f"{config.optimizer.kind}; choose optimizer.kind=sgd or bilevel=first_order"
        )
    check_precision(config.precision, resolve_device(config.device))
    limit = getattr(config.discretize, "skip_limit", None)
    if config.space.skip is None and limit is not None:
        raise ValueError(
            f"discretize.skip_limit={limit}: space={config.space.name} has no skip connections; "
            "leave it out"
        )
    if any(stage.skip_dropout for stage in config.stages) and not config.space.drops_skips:
        raise ValueError(
            f"space={config.space.name} has no skip connections whose outputs could be dropped; "
            "set skip_dropout=0 in all stages"
        )
    if config.compile and not config.space.compiles:
        raise ValueError(f"compile=true: space={config.space.name} has nothing to compile")
    if config.compile:
        check_compiler(resolve_device(config.device), ranks=rank_and_size()[1])


def check_doctor(config: Any) -> None:
    """Refuse an action that nothing could ever lead to."""
    doctor = config.doctor
    if doctor.action == "warn":
        return
    key = f"doctor.action={doctor.action}"
    if not config.relaxation.uses_alphas:
        raise ValueError(
            f"{key}: relaxation={config.relaxation.name} does not go by the alphas, so that there "
            "is nothing to judge; choose doctor.action=warn"
        )
    if not 0 < doctor.every <= config.epochs:
        raise ValueError(
            f"{key}, but doctor.every={doctor.every} looks at none of epochs={config.epochs}; "
            f"choose doctor.every from 1 to {config.epochs}, or doctor.action=warn"
        )
