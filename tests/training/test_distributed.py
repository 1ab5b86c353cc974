"""Two ranks compute what one process computes with the whole batch."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from several_ranks import on_ranks
from torch import Tensor

from darts.bilevel import compare_products, first_order, unrolled
from darts.config import rank_and_size
from darts.data import Augmentation, DiskImages, MemoryImages, SampleLoader, rank_slice
from darts.spaces.cnn import PUBLISHED, EdgewiseSupernet, Network
from darts.tasks.classification import ClassificationObjective
from darts.training.distributed import Ranks, distributed
from darts.training.interrupt import Interrupt
from darts.training.loop import TrainingLoop
from darts.training.scoring import evaluate
from darts.training.steps import optimizer_step

SAMPLES = 5  # three on one rank, two on the other
GRADIENTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "first_order": (first_order, {}),
    "finite_difference": (unrolled, {"hvp": "finite_difference"}),
    "exact": (unrolled, {"hvp": "exact"}),
}


def batch(seed: int, share: slice = slice(None)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(SAMPLES, 1, 8, 8, generator=generator, dtype=torch.float64)
    return images[share], torch.randint(3, (SAMPLES,), generator=generator)[share]


def alpha_gradients(ranks: Ranks) -> dict[str, Any]:
    """Each way to the gradient of the alphas, on a supernet after one step of its weights."""
    torch.manual_seed(ranks.rank)  # whatever a rank draws, the weights are those of the first
    net = EdgewiseSupernet(channels=2, cells=1, classes=3, in_channels=1, nodes=2).double()
    ranks.prepare(net)
    share = rank_slice(SAMPLES, ranks.rank, ranks.size)
    train, valid = batch(1, share), batch(2, share)

    def loss_fn(net: Any, given: Any) -> Tensor:
        return ranks.loss_share(F.cross_entropy(net(given[0]), given[1]), len(given[1]))

    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    net.alphas.requires_grad_(False)
    norm = optimizer_step(loss_fn(net, train), optimizer, scaler, clip=0.5, reduce=ranks.reduce)
    net.alphas.requires_grad_(True)
    found: dict[str, Any] = {"norm": norm}
    for name, (gradient, options) in GRADIENTS.items():
        found[name] = gradient(
            net, loss_fn, train, valid, optimizer, reduce=ranks.reduce, **options
        )
    report = compare_products(net, loss_fn, train, valid, optimizer, reduce=ranks.reduce)
    found["report"] = {name: torch.tensor(value) for name, value in report.items()}
    found["state"] = net.state_dict()
    return found


def scores(ranks: Ranks) -> dict[str, float]:
    """Of a fixed network on seven images, of which the ranks have four and three."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).double()
    images, labels = (torch.cat([batch(3)[i], batch(4)[i]]) for i in (0, 1))
    chosen = rank_slice(7, ranks.rank, ranks.size)
    images, labels = images[chosen], labels[chosen]
    batches = zip(images.split(2), labels.split(2), strict=True)
    return evaluate(net, batches, ClassificationObjective(3), device=ranks.device)


def dropped(ranks: Ranks) -> Tensor:
    """Whose samples a network drops, told from its output for equal images."""
    torch.manual_seed(0)
    net = Network(
        PUBLISHED["DARTS_V2"].genotype, channels=2, cells=2, auxiliary=False, drop_path=0.5
    )
    net.rows = None if ranks.size == 1 else (rank_slice(6, ranks.rank, ranks.size).start, 6)
    for module in net.modules():  # batch statistics would mix the samples
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    count = 6 if ranks.size == 1 else 3
    with torch.no_grad():
        return net(torch.ones(count, 3, 8, 8))


def small_talk(ranks: Ranks) -> dict[str, Any]:
    """The short messages between ranks."""
    samples, (loss,) = ranks.weighted_means(ranks.rank + 1, torch.tensor(float(ranks.rank)))
    with_output = Path(f"rank {ranks.rank}")
    return {
        "rank": ranks.rank,
        "main": ranks.main,
        "samples": samples,
        "loss": float(loss),
        "highest": ranks.all_reduce_max(15 * ranks.rank),
        "total": ranks.all_reduce_sum(0.5 + ranks.rank),
        "first": str(ranks.broadcast(with_output)),
        "in_turn": ranks.local_main_first(lambda: "done"),
    }


def leaving(ranks: Ranks) -> list[Any]:
    """How a run is left when nobody, then when the second rank alone, was asked to."""
    said: list[str] = []
    run: Any = SimpleNamespace(
        ranks=ranks, close=said.clear, path="here", command="search", save=lambda *_: None
    )
    loop = TrainingLoop.__new__(TrainingLoop)
    loop.run, loop.interrupt, loop.steps = run, Interrupt(), 1
    loop.console = cast(Any, SimpleNamespace(info=said.append))
    loop.state = cast(Any, SimpleNamespace(epoch=0, step=0, state_dict=dict))
    loop.save()
    loop.interrupt.received = 15 if ranks.rank == 1 else None
    try:
        loop.save()
    except SystemExit as error:
        return [error.code, *said]
    return []


def work() -> dict[str, Any]:
    ranks = Ranks("auto" if not torch.cuda.is_available() else "cpu")
    return {
        "alphas": alpha_gradients(ranks),
        "scores": scores(ranks),
        "dropped": dropped(ranks),
        "talk": small_talk(ranks),
        "leaving": leaving(ranks),
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return on_ranks(work, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return alpha_gradients(Ranks("cpu"))


def close(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", GRADIENTS)
def test_alpha_gradients_are_those_of_the_whole_batch(found: Any, alone: Any, name: str) -> None:
    # Equal within 1e-9 of the largest entry; the finite difference divides rounding by a small
    # step, but in float64 that leaves enough.
    for group, expected in alone[name].items():
        for rank in found:
            close(rank["alphas"][name][group], expected, 1e-9)
    assert float(torch.cat([g.flatten() for g in alone[name].values()]).norm()) > 1e-4


def test_products_are_compared_alike(found: Any, alone: Any) -> None:
    for name, expected in alone["report"].items():
        close(found[1]["alphas"]["report"][name], expected, 1e-5)


def test_a_weight_step_is_that_of_the_whole_batch(found: Any, alone: Any) -> None:
    for rank in found:
        close(rank["alphas"]["norm"], alone["norm"])
        for name, value in alone["state"].items():
            close(rank["alphas"]["state"][name], value)
            assert torch.equal(rank["alphas"]["state"][name], found[0]["alphas"]["state"][name])


def test_scores_are_those_of_the_whole_split(found: Any) -> None:
    expected = scores(Ranks("cpu"))
    for rank in found:
        assert rank["scores"] == pytest.approx(expected, rel=1e-6)
    assert 0 < expected["accuracy"] < 1


def test_drop_path_draws_for_the_whole_batch(found: Any) -> None:
    expected = dropped(Ranks("cpu"))
    close(torch.cat([rank["dropped"] for rank in found]), expected, 1e-6)
    assert len(expected.unique(dim=0)) > 3  # samples differ by what was dropped


def test_short_messages(found: Any) -> None:
    for rank in (0, 1):
        talk = found[rank]["talk"]
        assert (talk["rank"], talk["main"]) == (rank, rank == 0)
        assert (talk["samples"], talk["loss"]) == (3, pytest.approx(2 / 3))
        assert (talk["highest"], talk["total"]) == (15, 2.0)
        assert (talk["first"], talk["in_turn"]) == ("rank 0", "done")


def test_a_signal_to_one_rank_makes_all_leave(found: Any) -> None:
    for rank in found:
        code, line = rank["leaving"]
        assert code == 143
        assert "resume=here" in line


def test_one_process_keeps_everything_as_it_is() -> None:
    ranks = Ranks("cpu")
    loss, net = torch.tensor(2.0), torch.nn.Sequential(torch.nn.BatchNorm2d(2))
    with ranks as entered:
        assert entered is ranks
        assert not torch.distributed.is_initialized()
        assert (ranks.rank, ranks.size, ranks.main, ranks.reduce) == (0, 1, True, None)
        assert ranks.loss_share(loss, 3) is loss
        assert ranks.weighted_means(3, loss) == (3, [loss])
        ranks.prepare(net)
        assert type(net[0]) is torch.nn.BatchNorm2d
        assert (ranks.all_reduce_max(2), ranks.all_reduce_sum(2.5), ranks.broadcast("x")) == (
            2,
            2.5,
            "x",
        )


def test_the_environment_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert rank_and_size() == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert rank_and_size() == (0, 1)  # not torchrun's
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("RANK", "3")
    assert rank_and_size() == (3, 4)
    monkeypatch.setenv("LOCAL_RANK", "1")
    ranks = Ranks("cpu")
    assert (ranks.rank, ranks.size, ranks.local_rank, ranks.main) == (3, 4, 1, False)
    for device in ("cuda:1", "mps", "tpu"):
        with pytest.raises(ValueError, match="auto, cpu, cuda"):
            Ranks(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="4 processes on a machine with 2 GPUs"):
        Ranks("auto")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert Ranks("cuda").device == torch.device("cuda", 1)


def test_a_command_keeps_its_directory_in_one_process(tmp_path: Path) -> None:
    from darts.config import EvaluateConfig, Invocation

    @distributed
    def command(config: Any, call: Any, ranks: Ranks) -> Any:
        return call, ranks.device

    call = Invocation(tmp_path, ("a=b",))
    assert command(EvaluateConfig(device="cpu"), call) == (call, torch.device("cpu"))


def test_shares_are_contiguous_and_nearly_equal() -> None:
    for count in range(12):
        for ranks in range(1, 6):
            shares = [range(count)[rank_slice(count, rank, ranks)] for rank in range(ranks)]
            assert [i for share in shares for i in share] == list(range(count))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def batches(images: Any, rank: int = 0, ranks: int = 1, workers: int = 0, **other: Any) -> SampleLoader:
    options: dict[str, Any] = {
        "batch_size": 5,
        "seed": 3,
        "stream": "train",
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
        "augmentation": Augmentation(crop="pad", padding=1, flip=True, cutout=2),
        "shuffle": True,
        "drop_last": True,
        "device": "cpu",
    }
    options |= other
    indices = torch.arange(len(images))
    return SampleLoader(images, indices, rank=rank, ranks=ranks, workers=workers, **options)


def assert_shares_make_the_batch(images: Any, **options: Any) -> None:
    whole = batches(images, **options)
    parts = [batches(images, rank, 2, **options) for rank in range(2)]
    try:
        assert [len(part) for part in parts] == [len(whole)] * 2
        assert [part.rows for part in parts] == [(0, 5), (3, 5)]
        for epoch in range(2):
            for expected, *shares in zip(
                whole.epoch(epoch), *(part.epoch(epoch) for part in parts), strict=True
            ):
                assert [len(labels) for _, labels in shares] == [3, 2]
                for i in (0, 1):
                    assert torch.equal(torch.cat([share[i] for share in shares]), expected[i])
    finally:
        for part in [whole, *parts]:
            part.close()


def test_shares_of_batches_in_memory() -> None:
    pixels = torch.randint(256, (11, 3, 8, 8), dtype=torch.uint8)
    assert_shares_make_the_batch(MemoryImages(pixels, torch.arange(11)))


@pytest.mark.parametrize(("crop", "workers"), [("pad", 1), ("resized", 0)])
def test_shares_of_batches_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crop: str, workers: int
) -> None:
    """Each rank decodes what it needs, with the crops of the whole batch."""
    import numpy as np
    from PIL import Image

    files = []
    for number in range(11):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 10, 3), dtype=np.uint8)
        files.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(pixels).save(files[-1])
    images = DiskImages(files, torch.arange(11), size=8)
    assert_shares_make_the_batch(images, workers=workers, augmentation=Augmentation(crop=crop, padding=4, flip=True, cutout=0))
    if workers == 0:
        opened: list[int] = []
        real = DiskImages.path
        monkeypatch.setattr(
            DiskImages, "path", lambda self, index: opened.append(index) or real(self, index)
        )
        batches(images, 1, 2).batch(0, 0)
        assert len(opened) == 2


def test_a_batch_must_have_a_sample_for_each_rank() -> None:
    images = MemoryImages(torch.zeros(11, 3, 8, 8, dtype=torch.uint8), torch.arange(11))
    with pytest.raises(ValueError, match="batch of 5 samples cannot be shared by 6 ranks"):
        batches(images, 0, 6)
    with pytest.raises(ValueError, match="batch of 1 samples cannot be shared by 2 ranks"):
        batches(images, 0, 2, drop_last=False)
    assert len(batches(copy.copy(images), 4, 5)) == 2
