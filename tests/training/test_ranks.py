"""Devices, states of their generators, and ranks, which equal one process."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from oracles.comparing import HYPERGRADIENTS
from several_ranks import on_ranks
from torch import Tensor

from darts.data.loader import rank_slice
from darts.process import rank_and_size
from darts.spaces.cnn import PUBLISHED, EdgewiseSupernet, Network
from darts.spaces.rank_dropout import set_batch_share
from darts.tasks.task import TASKS, ObjectiveSpec
from darts.training.checkpoint import (
    CheckpointError,
    checkpoint_errors,
    load_checkpoint,
    save_checkpoint,
)
from darts.training.device import (
    check_precision,
    loss_scaler,
    precision_context,
    random_states,
    resolve_device,
    restore_random_states,
    round_robin_gpu,
    seed_everything,
)
from darts.training.distributed import Ranks
from darts.training.scoring import evaluate
from darts.training.steps import optimizer_steps

CPU = torch.device("cpu")


def fake_devices(monkeypatch: pytest.MonkeyPatch, *, cuda: int, mps: bool) -> None:
    """Make PyTorch report a number of CUDA devices and whether it has MPS."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_auto_prefers_cuda_then_mps_then_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, mps, expected in ((2, True, "cuda"), (0, True, "mps"), (0, False, "cpu")):
        fake_devices(monkeypatch, cuda=cuda, mps=mps)
        assert resolve_device("auto").type == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *(("cuda:2", "PyTorch sees 2 CUDA devices"), ("mps", "PyTorch sees no such device")),
        *((name, "is unknown") for name in ("tpu", "", "cuda:x", "0")),
        *((name, "is not supported") for name in ("meta", "xla")),
    ],
)
def test_missing_and_unknown_devices_are_refused(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_devices(monkeypatch, cuda=2, mps=False)
    with pytest.raises(ValueError, match=message) as caught:
        resolve_device(name)
    text = str(caught.value)
    assert repr(name) in text
    assert "choose from auto, cpu, cuda, cuda:N, mps" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("visible", "count", "expected"),
    [("3,5", 8, ["3", "5", "3"]), (None, 2, ["0", "1", "0"]), ("3", 8, [None] * 3)],
)
def test_child_processes_get_the_visible_gpus_in_turn(
    visible: str | None, count: int, expected: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_devices(monkeypatch, cuda=count, mps=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    variables = [round_robin_gpu(number) for number in range(3)]
    assert [own.get("CUDA_VISIBLE_DEVICES") for own in variables] == expected


def test_a_precision_sets_the_dtype_and_fp16_needs_a_gpu() -> None:
    x = torch.ones(2, 2)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        check_precision(name, CPU)
        with precision_context(name, CPU):
            assert (x @ x).dtype == dtype
    message = "precision=fp16: needs a GPU; choose fp32 or bf16 on the CPU"
    with pytest.raises(ValueError, match=message):
        check_precision("fp16", CPU)
    check_precision("fp16", torch.device("cuda"))
    assert not loss_scaler("bf16", CPU).is_enabled()
    assert not loss_scaler("fp32", CPU).is_enabled()


def test_one_seed_determines_all_global_generators() -> None:
    def draw() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    seed_everything(2**40 + 1)  # larger than NumPy accepts
    first = draw()
    seed_everything(2**40 + 1)
    assert draw() == first
    seed_everything(2**40 + 2)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_restored_generators_continue_their_sequences(tmp_path: Path) -> None:
    def draw() -> list[Any]:
        tensors = (torch.rand(3), torch.randn(5), torch.randperm(9))
        numbers = [np.random.rand(3).tolist(), np.random.standard_normal()]
        numbers += [np.random.randint(1 << 30), random.random(), random.gauss(0, 1)]
        return [*numbers, *(tensor.tolist() for tensor in tensors)]

    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    # Python and NumPy cache the second number of each pair of normal draws.
    random.gauss(0, 1), np.random.standard_normal(), torch.randn(1)
    save_checkpoint(tmp_path / "c.safetensors", "search", {"random": random_states(CPU)})
    expected = draw()
    random.seed(4)
    np.random.seed(5)
    torch.manual_seed(6)
    assert draw() != expected
    restore_random_states(load_checkpoint(tmp_path / "c.safetensors")["random"], CPU)
    assert draw() == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("python", None),
        ("python", (3, (1, 2), None)),
        ("python", (3, (-1,) * 625, None)),
        ("torch", torch.zeros(5056)),
        ("torch", torch.zeros(7, dtype=torch.uint8)),
        ("numpy", ("MT19937", [0] * 623, 0, 0, 0.0)),
        ("numpy", ("MT19937", [0] * 624, 625, 0, 0.0)),
        ("numpy", ("PCG64", [0] * 624, 0, 0, 0.0)),
    ],
)
def test_a_damaged_state_is_refused_in_one_line(key: str, value: Any) -> None:
    before: Any = random_states(CPU)
    try:
        with pytest.raises(CheckpointError) as caught, checkpoint_errors(Path("file")):
            restore_random_states({**before, key: value}, CPU)
    finally:
        restore_random_states(before, CPU)
    assert "\n" not in str(caught.value)


def test_only_the_generator_of_the_own_gpu_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of visible GPUs must not matter when the run resumes."""
    states = {torch.device("cuda:1"): torch.arange(16, dtype=torch.uint8)}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[device].clone())
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, device: states.update({device: state})
    )
    saved = random_states(torch.device("cuda:1"))
    only = torch.device("cuda:0")  # the same GPU, if it is the only visible one
    restore_random_states(saved, only)
    assert torch.equal(states[only], torch.arange(16, dtype=torch.uint8))
    restore_random_states(saved, CPU)  # ignores the state of the GPU


SAMPLES = 5  # three on the first rank, two on the second


def make_batch(seed: int, share: slice = slice(None)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(SAMPLES, 1, 8, 8, generator=generator, dtype=torch.float64)
    return images[share], torch.randint(3, (SAMPLES,), generator=generator)[share]


def alpha_gradients(ranks: Ranks) -> dict[str, Any]:
    """Return all hypergradients of a supernet after one weight step."""
    torch.manual_seed(ranks.rank)  # all ranks use the initial weights of rank 0
    net = EdgewiseSupernet(channels=2, cells=1, classes=3, in_channels=1, nodes=2).double()
    ranks.prepare(net, sync_batchnorm=True)
    share = rank_slice(SAMPLES, ranks.rank, ranks.size)
    train, valid = make_batch(1, share), make_batch(2, share)

    def loss_fn(net: Any, batch: Any) -> Tensor:
        return ranks.loss_share(F.cross_entropy(net(batch[0]), batch[1]), len(batch[1]))

    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    net.alphas.requires_grad_(False)
    loss = loss_fn(net, train)
    (norm,) = optimizer_steps(loss, [(optimizer, 0.5)], scaler, reduce=ranks.all_reduce)
    net.alphas.requires_grad_(True)
    results: dict[str, Any] = {"norm": norm}
    for name, (gradient, options) in HYPERGRADIENTS.items():
        options = {"reduce": ranks.all_reduce, **options}
        results[name] = gradient(net, loss_fn, train, valid, optimizer, **options)
    results["state"] = net.state_dict()
    return results


def scores(ranks: Ranks) -> dict[str, float]:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).double()
    images, labels = (torch.cat([make_batch(3)[i], make_batch(4)[i]]) for i in (0, 1))
    share = rank_slice(7, ranks.rank, ranks.size)
    images, labels = images[share], labels[share]
    batches = zip(images.split(2), labels.split(2), strict=True)
    objective = TASKS["classification"]().make_objective(ObjectiveSpec(tuple("abc")))
    return evaluate(net, batches, objective, device=ranks.device)


def drop_path_outputs(ranks: Ranks) -> Tensor:
    """Return the outputs of a network for equal images; they differ only by the dropped paths."""
    torch.manual_seed(0)
    genotype = PUBLISHED["DARTS_V2"].genotype
    net = Network(genotype, channels=2, cells=2, auxiliary=False, drop_path=0.5)
    set_batch_share(net, rank_slice(6, ranks.rank, ranks.size).start, 6)
    for module in net.modules():  # batch statistics would mix the samples
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    count = 6 if ranks.size == 1 else 3
    with torch.no_grad():
        return net(torch.ones(count, 3, 8, 8))


def collective_results(ranks: Ranks) -> dict[str, Any]:
    samples, loss = ranks.weighted_means(ranks.rank + 1, torch.tensor(float(ranks.rank)))
    own = f"rank {ranks.rank}"
    return {
        "rank": ranks.rank,
        "main": ranks.main,
        "samples": int(samples),
        "loss": float(loss),
        "max": ranks.all_reduce_max(15 * ranks.rank),
        "sum": ranks.all_reduce_sum(0.5 + ranks.rank),
        "broadcast": ranks.broadcast(own),
        "local_main_first": ranks.local_main_first(lambda: "done"),
    }


def averaged_statistics(ranks: Ranks) -> dict[str, Tensor]:
    """Return the running statistics of two networks, one of which no longer exists."""
    nets = [torch.nn.Sequential(torch.nn.BatchNorm2d(2)) for _ in range(2)]
    for net in nets:
        ranks.prepare(net, sync_batchnorm=False)
        net[0].running_mean += ranks.rank
        net[0].running_var *= 1 + ranks.rank
    kept = nets[1]
    del nets, net
    ranks.average_statistics()
    return kept.state_dict()


def compute_results() -> dict[str, Any]:
    ranks = Ranks("auto" if not torch.cuda.is_available() else "cpu")
    return {
        "alphas": alpha_gradients(ranks),
        "scores": scores(ranks),
        "drop_path": drop_path_outputs(ranks),
        "collectives": collective_results(ranks),
        "statistics": averaged_statistics(ranks),
    }


@pytest.fixture(scope="module")
def rank_results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return on_ranks(compute_results, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def expected_gradients() -> dict[str, Any]:
    """Hypergradients of one process with the whole batch."""
    return alpha_gradients(Ranks("cpu"))


def assert_close(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", HYPERGRADIENTS)
def test_hypergradients_equal_those_of_the_whole_batch(
    rank_results: Any, expected_gradients: Any, name: str
) -> None:
    # Float64 makes the finite difference, which divides rounding errors by a small step, accurate.
    for group, expected in expected_gradients[name].items():
        for rank in rank_results:
            assert_close(rank["alphas"][name][group], expected, 1e-9)
    assert float(torch.cat([g.flatten() for g in expected_gradients[name].values()]).norm()) > 1e-4


def test_a_weight_step_is_that_of_the_batch(rank_results: Any, expected_gradients: Any) -> None:
    for rank in rank_results:
        assert_close(rank["alphas"]["norm"], expected_gradients["norm"])
        for name, value in expected_gradients["state"].items():
            assert_close(rank["alphas"]["state"][name], value)
            first = rank_results[0]["alphas"]["state"][name]
            assert torch.equal(rank["alphas"]["state"][name], first)


def test_scores_equal_those_of_the_whole_split(rank_results: Any) -> None:
    expected = scores(Ranks("cpu"))
    for rank in rank_results:
        assert rank["scores"] == pytest.approx(expected, rel=1e-6)
    assert 0 < expected["accuracy"] < 1


def test_drop_path_draws_for_the_whole_batch(rank_results: Any) -> None:
    expected = drop_path_outputs(Ranks("cpu"))
    assert_close(torch.cat([rank["drop_path"] for rank in rank_results]), expected, 1e-6)
    assert len(expected.unique(dim=0)) > 3  # the samples lose different paths


def test_collective_operations_give_all_ranks_the_same_results(rank_results: Any) -> None:
    for rank in (0, 1):
        results = rank_results[rank]["collectives"]
        assert (results["rank"], results["main"]) == (rank, rank == 0)
        assert (results["samples"], results["loss"]) == (3, pytest.approx(2 / 3))
        assert (results["max"], results["sum"]) == (15, 2.0)
        assert (results["broadcast"], results["local_main_first"]) == ("rank 0", "done")


def test_running_statistics_of_separate_norms_are_averaged(rank_results: Any) -> None:
    for rank in rank_results:
        assert rank["statistics"]["0.running_mean"].tolist() == [0.5, 0.5]
        assert rank["statistics"]["0.running_var"].tolist() == [1.5, 1.5]


def test_ranks_and_devices_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert rank_and_size() == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert rank_and_size() == (0, 1)  # not set by torchrun
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("RANK", "3")
    assert rank_and_size() == (3, 4)
    monkeypatch.setenv("LOCAL_RANK", "1")
    ranks = Ranks("cpu")
    assert (ranks.rank, ranks.size, ranks.local_rank, ranks.main) == (3, 4, 1, False)
    for device in ("cuda:1", "mps", "tpu"):
        with pytest.raises(ValueError, match="auto, cpu, cuda"):
            Ranks(device)
    fake_devices(monkeypatch, cuda=2, mps=False)
    with pytest.raises(ValueError, match="4 processes on a machine with 2 GPUs"):
        Ranks("auto")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert Ranks("cuda").device == torch.device("cuda", 1)


def test_a_rank_that_sees_one_gpu_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"MASTER_ADDR": "localhost", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fake_devices(monkeypatch, cuda=1, mps=False)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    connected: dict[str, Any] = {}

    def connect(backend: str, **options: Any) -> None:
        connected.update(options, backend=backend)

    monkeypatch.setattr(dist, "init_process_group", connect)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    with Ranks("auto") as ranks:
        assert (ranks.rank, ranks.device) == (1, torch.device("cuda", 0))
    assert (connected["backend"], connected["device_id"]) == ("nccl", torch.device("cuda", 0))
