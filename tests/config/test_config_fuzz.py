"""Random command lines give a configuration or one line; fast compositions equal slow ones."""

from __future__ import annotations

import dataclasses
import json
import string
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from warm_python import WarmPython

from darts.config import ConfigError, SearchConfig, compose
from darts.spaces.lookup import find_genotype

FEW = settings(
    deadline=None,
    max_examples=12,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

VALID = (
    *("dataset=synthetic", "dataset.root='/tmp/with space'", "dataset={name: cifar10, root: x}"),
    *("+dataset.size=32", "++epochs=3", "~optimizer.clip", "space.cells=3", "method=darts_v2"),
    *("regularizer.name=anchor", "discretize.skip_limit=2"),
    *("stages=[{share: 1, keep: 0.5}, {fresh: true}]", "arch_optimizer.betas=[0.5,0.999]"),
    *("name=${dataset.name}-${oc.env:HOME}", "resume=null", "experiment=cifar10_cpu"),
    "hydra.run.dir='x'",
)
KEYS = (
    *("epochs", "dataset", "name", "optimizer.lr", "optimizer", "space", "method", "resume"),
    *("stages", "relaxation", "discretize", "regularizer.name"),
)
INTERPOLATIONS = (
    *("${oc.env:HOME}", "${oc.env:NO_SUCH_VARIABLE}", "${name}", "${epochs}", "${dataset}"),
    *("${nothing}", "${now:%Y}", "${hydra:run.dir}", "${oc.decode:'[1,2'}", "${oc.create:{a:1}}"),
    *("${foo:bar}", "${", "\\${name}"),
)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
symbols = st.text("[]{}()'\"\\=,:.$+~@* 01ae\n\t-", max_size=12)
nested = st.recursive(
    st.sampled_from(["1", "a", "null", "true", "1e400", "nan", "''"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | inner.map(lambda item: f"{{a:{item}}}")
    ),
    max_leaves=8,
)
values = st.one_of(
    texts,
    symbols,
    nested,
    st.sampled_from(INTERPOLATIONS),
    st.integers().map(str),
    st.floats().map(str),
)
keys = st.one_of(st.sampled_from(KEYS), texts, symbols)
written = st.builds("{}{}={}".format, st.sampled_from(["", "", "+", "++", "~"]), keys, values)


@st.composite
def mutated(draw: Any) -> str:
    """Insert, delete or replace a few characters of a valid override."""
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 3))):
        position = draw(st.integers(0, len(text)))
        deleted = draw(st.integers(0, 2))
        inserted = draw(st.text(string.printable + "ß→", max_size=2))
        text = text[:position] + inserted + text[position + deleted :]
    return text


overrides = st.lists(st.one_of(written, mutated(), texts, st.sampled_from(VALID)), max_size=3)


def compose_or_none(command: str, given: list[str]) -> Any:
    try:
        return compose(command, given)
    except ConfigError as error:
        message = str(error)
        assert message.strip()
        assert len(message.splitlines()) == 1, message
        return None


@FEW
@given(overrides)
@example(["=3"])
@example(["epochs=${oc.env:HOME}"])
@example(["name=${name}"])
@example(["dataset=${dataset}"])
@example(["dataset=[cifar10,digits]"])
@example(["dataset=../method/darts_v1"])
@example(["dataset/x=y"])
@example(["~dataset"])
@example(["epochs=1,2"])
@example(["name=" + "[" * 60 + "]" * 60])
@example(["optimizer.lr=1" + "0" * 400])
@example(["schema=search"])
@example(["hydra=null"])
@example(["hydra/launcher=foo"])
@example(["_self_=3"])
@example(["defaults=[]"])
@example(["\x00=\x00"])
@example(["name=\ud800"])
@example(["\ud800=1"])
def test_random_command_lines_of_a_search(given: list[str]) -> None:
    config = compose_or_none("search", given)
    if config is not None:
        assert isinstance(config, SearchConfig)
        assert isinstance(dataclasses.asdict(config)["epochs"], int)


@FEW
@given(
    st.sampled_from(["{", "Genotype(", "x = Genotype("]),
    st.text("'\"\\${}()[]:, =an0\n", max_size=16) | texts,
)
@example("{", "\\\\'")
@example("{", "\\\\")
@example("{", "\\${")
@example("{", "\\\\${oc.env:HOME}")
@example("{", "'${'")
@example("Genotype(", "${oc.env:HOME})")
@example("Genotype(", "'\\")
def test_genotype_text_reaches_the_command_unchanged(start: str, rest: str) -> None:
    """Hydra interprets no interpolation, quote or bracket of genotype text."""
    text = start + rest
    config = compose("retrain", [f"genotype={text}"])
    assert config.genotype.split() == text.split()
    with pytest.raises(ValueError, match=r"^.+$") as error:
        find_genotype(config.genotype)
    assert len(str(error.value).splitlines()) == 1


CALLS = [
    ["search", "dataset=synthetic"],
    ["search", "dataset=synthetic", "epochs=3", "seed=4"],
    ["search", "dataset=synthetic", "method=drnas", "optimizer.lr=0.5"],
    ["search", "experiment=nas201_cpu", "seed=1"],
    ["search", "dataset=synthetic"],
    ["retrain", "dataset=synthetic", "genotype=DARTS_V2", "space.cells=3"],
    ["tune", "parameters.epochs=[1, 2]", "strategy=random"],
    ["judge", "dataset=synthetic", "judge=naswot"],
    ["compare", "dataset=synthetic", "method=gdas"],
]
PROGRAM = """
import json, sys
from darts.config import compose

for command, *overrides in json.loads(sys.argv[1]):
    print(repr(compose(command, overrides)))
"""


@pytest.mark.slow
def test_configurations_equal_those_of_another_process(warm_python: WarmPython) -> None:
    done = warm_python.run("-c", PROGRAM, json.dumps(CALLS))
    assert done.returncode == 0, done.stderr
    ours = [repr(compose(command, overrides)) for command, *overrides in CALLS]
    assert done.stdout.splitlines() == ours
    assert ours[0] == ours[4] != ours[1]
