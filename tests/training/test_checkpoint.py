"""Checkpoints, which never execute code, and states that are restored from them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from end_states import identical
from fake_loader import FakeLoader
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from darts.data import InputSpec
from darts.training import checkpoint
from darts.training.checkpoint import (
    FORMATS,
    CheckpointError,
    checkpoint_errors,
    load_checkpoint,
    save_checkpoint,
)
from darts.training.device import random_states
from darts.training.state import TrainState, load_optimizer, require_fitting_network
from darts.typed_values import Misfit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


def example_state() -> dict[str, Any]:
    """Return a checkpoint with all kinds of values: tensors, numbers, text, lists and None."""
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    adam = torch.optim.Adam(net.parameters(), lr=0.1, betas=(0.5, 0.999))
    net(torch.ones(2, 1, 4, 4)).square().sum().backward()
    optimizer.step()
    adam.step()
    return {
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "arch_optimizer": adam.state_dict(),
        "epoch": 3,
        "scores": {"accuracy": 0.1 + 0.2, "loss": float("inf")},
        "chosen": None,
        "config": {"genotype": "Genotype(...)", "betas": [0.5, 0.999], "flip": True},
        "random": random_states(torch.device("cpu")),
    }


def assert_refused(path: Path, match: str, *kinds: str) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        load_checkpoint(path, *kinds)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_saved_state_is_loaded_unchanged(tmp_path: Path) -> None:
    path, state = tmp_path / "run" / "checkpoint.safetensors", example_state()
    save_checkpoint(path, "search", state)
    for kinds in (("search",), ("retrain", "search"), ()):
        loaded = load_checkpoint(path, *kinds)
        assert identical({key: loaded[key] for key in state}, state)
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.safetensors"]
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["darts"])["epoch"] == 3
        assert file.get_tensor("net.1.running_var").shape == (2,)


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor([True, False]),
        torch.arange(3),
        torch.randn(4).bfloat16(),
        torch.randn(4, dtype=torch.float64),
        torch.tensor(2.5),
        torch.zeros(0, 3),
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.randn(4, 3).t(),
        torch.zeros(1).expand(5),
        torch.nn.Parameter(torch.randn(3)),
        [0, -1, 2**62, -(2**63), 2**63, 0.1, 5e-324, float("-inf"), float("nan")],
        {"a": [], "b": {}, "c": "ü\ud800\n", "d": None, "e": {"f": [True, False]}},
    ],
    ids=lambda value: str(getattr(value, "dtype", "plain")),
)
def test_each_value_is_loaded_unchanged(path: Path, value: Any) -> None:
    save_checkpoint(path, "search", {"value": value})
    assert identical(load_checkpoint(path)["value"], value)


def test_tied_weights_stay_tied_and_other_views_are_copied(path: Path) -> None:
    weight = torch.randn(4, 3)
    net = {"encoder": weight, "decoder": weight, "row": weight[1], "transposed": weight.t()}
    save_checkpoint(path, "search", {"net": net, "empty": [torch.zeros(0), torch.zeros(0)]})
    loaded = load_checkpoint(path)["net"]
    assert loaded["encoder"] is loaded["decoder"]
    assert identical(loaded, net)
    with safe_open(path, "pt") as file:
        assert sorted(file.keys()) == ["empty.0", "net.encoder", "net.row", "net.transposed"]


def test_any_flipped_bit_is_detected(path: Path) -> None:
    save_checkpoint(path, "search", {"weights": torch.arange(40.0), "epoch": 7})
    data = path.read_bytes()
    draw = random.Random(0)
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        assert_refused(path, ".", "search")


def test_a_truncated_file_is_refused(path: Path) -> None:
    save_checkpoint(path, "search", example_state())
    data = path.read_bytes()
    for length in (0, 1, 8, 10, len(data) // 2, len(data) - 30, len(data) - 1):
        path.write_bytes(data[:length])
        assert_refused(path, "is damaged, or not a checkpoint of darts-nas")
    path.write_bytes(data + b"\0")
    assert_refused(path, "is damaged, or not a checkpoint of darts-nas")


def with_text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(save({}, {"darts": text, "crc32": "0"}))


FOREIGN: dict[str, Callable[[Path], object]] = {
    "other metadata": lambda path: path.write_bytes(save({}, {"format": "pt"})),
    "huge header": lambda path: path.write_bytes(b"\xff" * 8 + b"{}"),
    "nested header": lambda path: path.write_bytes((2**20).to_bytes(8, "little") + b"[" * 2**20),
    "no kind": with_text('{"format": 1}'),
    "unknown kind": with_text('{"format": 1, "kind": "holiday"}'),
    "no such tensor": with_text(
        json.dumps({"format": FORMATS["search"], "kind": "search", "net": {"$tensor": "a"}})
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_that_are_not_checkpoints_are_refused(path: Path, name: str) -> None:
    FOREIGN[name](path)
    assert_refused(path, "is damaged, or not a checkpoint of darts-nas")


def test_a_missing_file_is_refused(tmp_path: Path, path: Path) -> None:
    for missing in (path, tmp_path, path / "below"):
        assert_refused(missing, "no checkpoint at")


def test_a_checkpoint_of_another_command_is_refused(path: Path) -> None:
    save_checkpoint(path, "search", {"epoch": 1})
    assert_refused(path, "was written by search, not by retrain", "retrain")
    assert load_checkpoint(path, "search")["epoch"] == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_another_format_is_refused_with_its_number(
    path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    version = FORMATS[kind]
    with monkeypatch.context() as patch:
        patch.setitem(checkpoint.FORMATS, kind, 99)
        save_checkpoint(path, kind, {})
    assert_refused(path, rf"another version of darts-nas: format 99, not {version}$")
    save_checkpoint(path, kind, {})
    assert load_checkpoint(path) == {"format": version, "kind": kind}


def test_errors_of_using_a_checkpoint_name_the_file_in_one_line(path: Path) -> None:
    errors = (Misfit("epoch is -1"), RuntimeError("size\nmismatch"), KeyError("x"), ValueError("y"))
    for error in errors:
        with pytest.raises(CheckpointError) as caught, checkpoint_errors(path):
            raise error
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    for unrelated in (torch.OutOfMemoryError("full"), OSError(5, "input/output error")):
        with pytest.raises(type(unrelated)), checkpoint_errors(path):
            raise unrelated


@dataclass(kw_only=True)
class ExampleState(TrainState):
    net: nn.Module
    history: list[int] = field(default_factory=list)
    best: dict[str, Any] | None = None
    specs: list[InputSpec] = field(default_factory=list)
    threshold: Tensor | None = None


def make_state(delivered: int = 0) -> ExampleState:
    loader: Any = FakeLoader(5, delivered)
    return ExampleState(train_loader=loader, net=nn.Linear(2, 1))


def test_stateful_fields_are_restored_in_place_and_others_replaced(tmp_path: Path) -> None:
    saved = make_state(delivered=7)
    saved.epoch, saved.step, saved.scores = 3, 2, {"accuracy": 0.5}
    saved.history, saved.best, saved.threshold = [1, 2], {"epoch": 2}, torch.tensor(0.25)
    saved.means.add(4, train_loss=2.0)
    saved.specs = [InputSpec("samples", (2, 3), {0: "batch"}, mean=(0.5,), std=(1.0,))]
    save_checkpoint(tmp_path / "checkpoint.safetensors", "search", saved.state_dict())

    restored = make_state()
    objects = restored.train_loader, restored.net
    restored.load_state_dict(load_checkpoint(tmp_path / "checkpoint.safetensors"))
    assert (restored.train_loader, restored.net) == objects
    loader: Any = restored.train_loader
    assert loader.delivered == 7
    torch.testing.assert_close(restored.net.state_dict(), saved.net.state_dict(), rtol=0, atol=0)
    assert restored.means.compute() == {"train_loss": 2.0}
    assert (restored.epoch, restored.step, restored.scores) == (3, 2, {"accuracy": 0.5})
    assert (restored.history, restored.best) == ([1, 2], {"epoch": 2})
    assert restored.specs == saved.specs
    assert restored.threshold.equal(torch.tensor(0.25))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epoch", -1, "epoch: Expected int >= 0"),
        ("epoch", 2.0, "epoch: Expected int, got float"),
        ("scores", {"accuracy": "0.5"}, r"scores\[...\]: Expected float, got str"),
        ("means", {"sums": [1.0]}, "means.sums: Expected object"),
        ("history", [1, None], r"history\[1\]: Expected int, got null"),
        ("specs", [{"name": "samples"}], r"specs\[0\]: Object missing required field shape"),
        ("threshold", 0.5, "threshold: Expected Tensor"),
        ("net", {}, "Missing key"),
        ("net", {"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}, "size mismatch for weight"),
        ("net", 7, "dict-like"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(name: str, value: Any, message: str) -> None:
    state = make_state()
    with pytest.raises(CheckpointError, match=message), checkpoint_errors(Path("file")):
        make_state().load_state_dict(state.state_dict() | {name: value})


def test_a_missing_entry_is_named() -> None:
    complete = make_state().state_dict()
    for name in complete:
        partial = {key: value for key, value in complete.items() if key != name}
        with pytest.raises(Misfit, match=f"^{name} is missing$"):
            make_state().load_state_dict(partial)


sgd = partial(SGD, lr=0.1, momentum=0.9)
plain_sgd = partial(SGD, lr=0.1)
adamw = partial(AdamW, lr=0.1)


def trained(make: Callable[[Any], Optimizer]) -> tuple[nn.Module, Optimizer]:
    """Return a network in the memory format of a training run, and its optimizer after a step."""
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Conv2d(2, 4, 1))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make(net.parameters())
    step(net, optimizer)
    return net, optimizer


def step(net: nn.Module, optimizer: Optimizer) -> None:
    net(torch.linspace(-1, 1, 96).view(2, 3, 4, 4)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def strides(optimizer: Optimizer) -> list[tuple[int, ...]]:
    return [
        value.stride()
        for buffers in optimizer.state.values()
        for value in buffers.values()
        if isinstance(value, torch.Tensor)
    ]


@pytest.mark.parametrize("make", [sgd, plain_sgd, adamw])
def test_a_restored_optimizer_continues(tmp_path: Path, make: Callable[[Any], Optimizer]) -> None:
    net, optimizer = trained(make)
    optimizer.param_groups[0]["lr"] = 0.05
    other = copy.deepcopy(net)
    restored = make(other.parameters())
    save_checkpoint(tmp_path / "file", "search", {"optimizer": optimizer.state_dict()})
    load_optimizer(restored, load_checkpoint(tmp_path / "file")["optimizer"], "optimizer")
    assert restored.param_groups[0]["lr"] == 0.05
    assert strides(restored) == strides(optimizer)
    step(net, optimizer)
    step(other, restored)
    assert all(a.equal(b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_how_a_step_is_computed_may_change() -> None:
    """A run on a GPU saves ``capturable``, and may resume on the CPU."""
    _, optimizer = trained(adamw)
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0].update(capturable=True, foreach=True, fused=True)
    _, restored = trained(adamw)
    load_optimizer(restored, state, "optimizer")
    group = restored.param_groups[0]
    assert (group["capturable"], group["foreach"], group["fused"]) == (False, None, None)


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda s: s["state"][0].update(exp_avg=torch.zeros(2)), "the shape of a buffer exp_avg"),
        (lambda s: s["state"].update(x={}), "key in optimizer.state: Expected int"),
        (lambda s: s.update(param_groups=s["param_groups"] * 2), "zip"),
        (lambda s: s["param_groups"][0].pop("lr"), "lr is missing"),
        (lambda s: s.update(SGD([torch.zeros(1)], lr=1.0).state_dict()), "of another kind"),
    ],
)
def test_a_wrong_optimizer_state_is_refused(alter: Callable[[Any], Any], message: str) -> None:
    _, optimizer = trained(adamw)
    state = copy.deepcopy(optimizer.state_dict())
    alter(state)
    with pytest.raises(ValueError, match=message):
        load_optimizer(trained(adamw)[1], state, "optimizer")


@pytest.mark.parametrize(
    "saved",
    [
        {"weight": torch.zeros(4, 2), "bias": torch.zeros(4)},
        {},
        {"weight": torch.zeros(4, 2).double()},
    ],
)
def test_a_large_network_is_refused_without_being_allocated(saved: Any) -> None:
    with pytest.raises(Misfit, match="net: the weights do not fit the network, in weight"):
        require_fitting_network(lambda: nn.Linear(10**9, 10**6), saved, "net")


def test_a_deep_network_is_refused_while_it_is_built() -> None:
    built = []

    def endless() -> nn.Module:
        while True:
            built.append(nn.Linear(4, 2))

    with pytest.raises(Misfit, match="net has 2 tensors; the network has more than 1020"):
        require_fitting_network(endless, nn.Linear(4, 2).state_dict(), "net")
    assert len(built) == 510
    require_fitting_network(lambda: nn.Linear(4, 2), nn.Linear(4, 2).state_dict(), "net")
