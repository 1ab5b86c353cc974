"""The space of a model of one's own."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from own_models import (
    ANSWER,
    Planted,
    Scale,
    SmallNet,
    planted_data,
    require_mixture,
    search_planted,
)
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from warm_python import WarmPython

import darts
from darts.api import SearchRun
from darts.reading import read_json
from darts.spaces import SearchContext, parse_genotype
from darts.spaces.module import Module
from darts.spaces.module.genotype import Genotype
from darts.spaces.module.space import Network, Supernet
from darts.spaces.module.targets import passed

KEYS = ("first", "second", "second.candidates.nested", "shared")
QUIET = ["tracking.figures=false", "tracking.tensorboard=false", "loader.batch_size=16"]


@pytest.fixture
def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(SmallNet(), 3).double()


@pytest.fixture
def small_net() -> Iterator[None]:
    with passed(SmallNet()):
        yield


def by_hand(model: SmallNet, x: Tensor, tables: dict[str, Tensor]) -> Tensor:
    """Return the logits of a mixture that is written out."""
    first, second, shared = tables["choices2"].unbind()
    (nested,) = tables["choices3"].unbind()
    c = model.first.candidates
    x = model.stem(x)
    x = first[0] * c["conv1"](x) + first[1] * c["conv3"](x)
    y = 0
    for _ in range(2):
        inner = (nested[0] * 0.1 + nested[1] * 1.0 + nested[2]) * x
        y = y + second[0] * inner + second[1] * model.second.candidates["conv"](x)
    left = shared[0] * y + shared[1] * 0.5 * y
    right = shared[0] * y + shared[1] * 2.0 * y
    return model.classifier((left + right).mean((2, 3)))


def test_logits_and_gradients_equal_those_of_a_mixture_written_by_hand(supernet: Supernet) -> None:
    require_mixture(supernet, by_hand)


@pytest.mark.usefixtures("small_net")
def test_inactive_candidates_do_not_run(supernet: Supernet) -> None:
    space = Module(target="own_models:SmallNet")
    genotype = space.random(torch.Generator().manual_seed(0))
    context = SearchContext.from_supernet(space, supernet)
    from darts.spaces.mixture import path_mixture

    mask = space.mask(genotype, context.candidates)
    mixture = path_mixture(mask, supernet.shapes, torch.device("cpu"))
    ran: list[nn.Module] = []
    for module in supernet.modules():
        if isinstance(module, Scale):
            module.register_forward_hook(lambda module, *_: ran.append(module))
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    logits = supernet(x, mixture.with_weights({g: w.double() for g, w in mixture.items()}))
    network = Network(genotype, copy.deepcopy(supernet.model), 3)
    torch.testing.assert_close(network(x), logits)
    assert not any(isinstance(module, darts.Choice) for module in network.modules())
    chosen = dict(genotype.choices)
    assert len(ran) == 2 * (chosen["shared"] == "b") + 2 * (
        chosen["second"] == "nested" and chosen["second.candidates.nested"] != "skip"
    )


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("darts_v1", []),
        # With gdas, each step runs one candidate.
        pytest.param("gdas", ["epochs=80", "arch_optimizer.lr=0.01"], marks=pytest.mark.slow),
        ("drnas", ["relaxation.partial=1", "stages=[]", "arch_optimizer.warmup=0"]),
        pytest.param("fair_darts", ["epochs=16"], marks=pytest.mark.slow),
        ("darts_pt", ["discretize.tune=0"]),
        pytest.param("darts_v2", [], marks=pytest.mark.slow),
        pytest.param("oles", ["freezing.window=2"], marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("cwd")
def test_a_search_finds_the_planted_answer(method: str, more: list[str]) -> None:
    torch.manual_seed(0)
    planted = Planted(noisy=method in ("gdas", "darts_pt"))
    assert search_planted(planted, method, more) == ANSWER


@pytest.mark.usefixtures("cwd")
def test_a_model_is_searched_retrained_and_loaded() -> None:
    data = TensorDataset(*planted_data())
    model = SmallNet()
    run = darts.search(model, data=(data, data), epochs=1, out="a", overrides=QUIET)
    plain = run.network()
    assert type(plain) is SmallNet
    assert not any(isinstance(module, darts.Choice) for module in plain.modules())
    assert plain(torch.zeros(2, 3, 8, 8)).shape == (2, 3)
    trained = darts.retrain(run, epochs=2, out="b", overrides=QUIET)
    predictions = darts.predict(trained.model(), planted_data()[0])
    assert predictions.probabilities.shape == (120, 3)
    assert darts.load("b", base=SmallNet()).classes == ("0", "1", "2")


@pytest.mark.usefixtures("cwd")
def test_a_network_can_inherit_the_weights_of_the_supernet() -> None:
    images, labels = planted_data()
    data = TensorDataset(images, labels)
    keys = ["optimizer.lr=0.05", "arch_optimizer.lr=0.1", "dataset.padding=0", *QUIET]
    torch.manual_seed(0)
    run = darts.search(SmallNet(), data=(data, data), epochs=20, out="a", overrides=keys)
    inherited, fresh = run.network(weights="inherit"), run.network()
    assert not any(isinstance(module, darts.Choice) for module in inherited.modules())
    assert inherited.state_dict().keys() == fresh.state_dict().keys()
    pixels = (255 * images).round() / 255
    x = (pixels - pixels.mean((0, 2, 3), keepdim=True)) / pixels.std((0, 2, 3), keepdim=True)
    found = (net.eval()(x).argmax(1) for net in (inherited, fresh))
    accuracy = [float((own == labels).float().mean()) for own in found]
    assert accuracy[0] > 0.8 > 0.6 > accuracy[1]
    with pytest.raises(ValueError, match=r"cannot have other \['channels'\]"):
        run.network(weights="inherit", channels=3)
    small = ["dataset.samples=48", "space.channels=4", "space.cells=2", *QUIET]
    cells = darts.search(data="synthetic", epochs=1, out="b", overrides=small)
    with pytest.raises(ValueError, match="space=cnn cannot inherit the weights"):
        cells.network(weights="inherit")


@pytest.mark.slow
@pytest.mark.usefixtures("cwd")
def test_a_run_directory_cannot_start_code(warm_python: WarmPython) -> None:
    """Another process imports the class only if the user names it on the command line."""
    data = TensorDataset(*planted_data(60))
    darts.search(SmallNet(), data=(data, data), epochs=1, out="a", overrides=QUIET)
    call = ["-m", "darts.retrain", "genotype=a", "epochs=1", "dataset=synthetic"]
    call += ["space=module", "dataset.classes=3", "dataset.samples=96", *QUIET, "hydra.run.dir=b"]
    named = [*call, "space.target=own_models:SmallNet"]
    done = warm_python.run(*named, environment=ENVIRONMENT)
    assert done.returncode in (0, 3), done.stderr  # 3: the result is worthless
    printed = done.stdout.splitlines()[-1].split()
    assert printed[:2] == ["darts", "evaluate"]
    again = ["-m", "darts.evaluate", "checkpoint=b"]
    refused = warm_python.run(*again, environment=ENVIRONMENT)
    assert refused.returncode == 2
    assert "a run directory cannot start code" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    done = warm_python.run("-m", "darts.evaluate", *printed[2:], environment=ENVIRONMENT)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("cwd")
def test_models_of_one_class_are_not_mixed_up() -> None:
    """Each result keeps the model that was passed; nothing remains after a call."""
    data = TensorDataset(*planted_data(60))
    models = {name: SmallNet() for name in "ab"}  # with different weights
    runs = {
        name: darts.search(model, data=(data, data), epochs=1, out=name, overrides=QUIET)
        for name, model in models.items()
    }
    stems = {name: model.stem[0].weight for name, model in models.items()}  # type: ignore[index]
    assert not stems["a"].equal(stems["b"])
    for name, run in runs.items():
        copied: Any = run.network()
        assert copied.stem[0].weight.equal(stems[name])
    with pytest.raises(ValueError, match="a run directory cannot start code"):
        SearchRun(runs["a"].directory).network()


@pytest.fixture
def run_own(warm_python: WarmPython) -> Callable[..., Any]:
    """Runs a command on the model of own_models.py; returns what it printed."""

    def run(command: str, folder: Path, *arguments: str) -> Any:
        call = ["-m", f"darts.{command}", *arguments, f"hydra.run.dir={folder}"]
        return warm_python.run(*call, environment=ENVIRONMENT | {"HOME": str(folder)}, timeout=300)

    return run


ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parent), "PATH": "", "OMP_NUM_THREADS": "1"}
OWN = ["space.target=own_models:SmallNet", "dataset=synthetic", "dataset.classes=3"]
OWN += ["dataset.samples=96"]


@pytest.mark.slow
def test_the_choices_of_an_own_model_are_tuned_by_a_worker_process(
    tmp_path: Path, run_own: Callable[..., Any]
) -> None:
    folder = tmp_path / "study"
    genotype = "parameters.genotype={space: module}"
    more = ["epochs=1", "budget.trials=2", "workers=1"]
    study = run_own("tune", folder, genotype, *OWN, *more)
    assert study.returncode == 0, study.stderr
    summary = read_json(folder / "summary.json")
    assert summary["complete"] == 2
    assert '"space": "module"' in (folder / "genotype.json").read_text()
    (folder / "summary.json").unlink()  # as if it had been killed at its end
    refused = run_own("tune", folder, f"resume={folder}")
    assert refused.returncode == 2
    assert "a run directory cannot start code" in refused.stderr
    resumed = run_own("tune", folder, f"resume={folder}", OWN[0])
    assert resumed.returncode == 0, resumed.stderr


@pytest.mark.slow
def test_own_models_are_judged_and_compared(tmp_path: Path, run_own: Callable[..., Any]) -> None:
    words = ("space=module", *OWN, "judge=naswot", "architectures=3")
    judged = run_own("judge", tmp_path / "judge", *words)
    assert judged.returncode == 0, judged.stderr
    assert read_json(tmp_path / "judge" / "summary.json")["architectures"] == 3
    sizes = ["searches=1", "retrainings=1", "baselines=[random]", "epochs=1"]
    compared = run_own("compare", tmp_path / "c", "space=module", *OWN, *sizes)
    assert compared.returncode == 0, compared.stderr
    assert (tmp_path / "c" / "report.md").exists()
    (tmp_path / "c" / "summary.json").unlink()  # as if it had been killed at its end
    refused = run_own("compare", tmp_path / "c", f"resume={tmp_path / 'c'}")
    assert refused.returncode == 2
    assert "a run directory cannot start code" in refused.stderr


@pytest.mark.slow
def test_find_rejects_own_models(tmp_path: Path, run_own: Callable[..., Any]) -> None:
    done = run_own("find", tmp_path, *OWN)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "darts find: space.target: darts find chooses the space itself; use darts tune for a model "
        "of your own"
    ]


class Wrong(nn.Module):
    def __init__(self, one: nn.Module, two: nn.Module) -> None:
        super().__init__()
        self.choice = darts.Choice({"one": one, "two": two})
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * self.choice(x.flatten(1))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(2, 2), "Linear contains no darts.Choice"),
        (Wrong(nn.Identity(), nn.Unflatten(1, (3, 64))), r"of one shape, not one \(.*\), two \("),
        (Wrong(nn.Identity(), nn.LSTM(192, 8)), "must be tensors of one shape, not .*, two tuple"),
        (Wrong(nn.Identity(), nn.Identity()), r"Wrong returns .* the data has 3 classes"),
    ],
)
@pytest.mark.usefixtures("cwd")
def test_models_that_cannot_be_searched_end_in_one_line(model: nn.Module, message: str) -> None:
    data = TensorDataset(*planted_data(60))
    with pytest.raises(ValueError, match=message) as caught:
        darts.search(model, data=(data, data), epochs=1, overrides=QUIET)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("order", [("act", "other"), ("other", "act")])
def test_a_choice_can_share_the_alphas_of_the_one_at_a_place(order: tuple[str, str]) -> None:
    choices = {
        "act": darts.Choice({"a": nn.Identity(), "b": nn.Identity()}),
        "other": darts.Choice({"a": nn.ReLU(), "b": nn.Tanh()}, key="act"),
    }
    net = Supernet(nn.Sequential(OrderedDict((name, choices[name]) for name in order)), 3)
    assert [row.key for row in net.rows] == ["act"]
    chosen = Network(Genotype((("act", "b"),)), net.model, 3).plain()
    assert {type(module) for module in chosen} == {nn.Identity, nn.Tanh}


@pytest.mark.parametrize("kind", [list, tuple, nn.ModuleList])
def test_the_names_of_a_list_of_candidates_are_their_positions(kind: Any) -> None:
    net = Supernet(nn.Sequential(darts.Choice(kind([nn.ReLU(), nn.Tanh()]), key="act")), 3)
    assert net.rows[0].names == ("0", "1")
    genotype = parse_genotype('{"space": "module", "choices": {"act": "1"}}')
    assert isinstance(genotype, Genotype)
    assert isinstance(Network(genotype, net.model, 3).plain()[0], nn.Tanh)
    with pytest.raises(ValueError, match="needs at least two candidates, got 1"):
        darts.Choice(kind([nn.ReLU()]))


def test_wrong_choices_are_rejected() -> None:
    with pytest.raises(ValueError, match="needs at least two candidates, got 1"):
        darts.Choice({"one": nn.Identity()})
    with pytest.raises(ValueError, match=r"the name 'a\.b' must be an identifier"):
        darts.Choice({"a.b": nn.Identity(), "c": nn.Identity()})
    with pytest.raises(ValueError, match=r"Choice\(keys, c\): attribute 'keys' already exists"):
        darts.Choice({"keys": nn.Identity(), "c": nn.Identity()})
    not_modules: Any = {"a": 3, "c": nn.Identity()}
    with pytest.raises(ValueError, match=r"Choice\(a, c\): int is not a Module subclass"):
        darts.Choice(not_modules)
    one: Any = nn.Identity()
    with pytest.raises(TypeError, match="candidates must be a mapping or a list of modules"):
        darts.Choice(one)
    with pytest.raises(TypeError, match="must be a function that returns a new block"):
        darts.Repeat(one, min=1, max=2)
    pairs = ({"a": nn.Identity(), name: nn.Identity()} for name in "bc")
    different = nn.ModuleList(darts.Choice(own, key="k") for own in pairs)
    with pytest.raises(ValueError, match="key 'k' have different candidates: a, b and a, c"):
        Supernet(different, 3)


@pytest.mark.usefixtures("small_net")
def test_damaged_genotypes_are_rejected() -> None:
    with pytest.raises(ValueError, match="must be a key and a name"):
        parse_genotype('{"space": "module", "choices": {"a": 1}}')
    space = Module(target="own_models:SmallNet")
    for choices in ({"first": "conv1"}, {**ANSWER}, dict.fromkeys(KEYS, "conv1")):
        genotype = Genotype(tuple(choices.items()))
        with pytest.raises(ValueError, match=r"choice|candidate|chooses"):
            space.encode(genotype)
