"""Nothing in the database of a study runs as code; one that cannot be read is refused."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from damage import Call
from fake_runs import NUMBERS, SlowJudge
from slow_cases import slow_except

from darts.config import compose
from darts.hpo.study import StudyPlan, make_plan, read_trials
from darts.hpo.supervisor import Supervisor
from darts.hpo.worker import Worker
from darts.strategies import STRATEGIES


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> StudyPlan:
    """Return the plan of a study that has finished four of its eight trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options = ("strategy=tpe", "strategy.startup=2", "budget.trials=4")
    config = compose("tune", [*NUMBERS, "executor=inline", *options])
    plan = make_plan(config, tmp_path_factory.mktemp("original"))
    plan.config.judge = SlowJudge(seconds=0)
    study = plan.open()
    Supervisor(plan, study, lambda trial: None).run()
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    return dataclasses.replace(plan, max_trials=8)


@pytest.fixture
def plan_copy(original: StudyPlan, tmp_path: Path) -> StudyPlan:
    """Return the plan of a copy of the study, which a test may damage."""
    shutil.copyfile(database(original), tmp_path / "study.db")
    storage = f"sqlite:///{tmp_path}/study.db"
    config = dataclasses.replace(original.config)
    return dataclasses.replace(original, config=config, directory=tmp_path, storage=storage)


def database(plan: StudyPlan) -> Path:
    return plan.directory / "study.db"


def execute(plan: StudyPlan, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(database(plan))) as connection, connection:
        assert connection.execute(statement, values).rowcount


def read(plan: StudyPlan) -> list[Any]:
    """Open and read a study as the command does when it resumes."""
    study = plan.open(existing=True)
    try:
        return read_trials(plan, study)
    finally:
        study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def refusal(plan: StudyPlan) -> str:
    """Return the line with which a study is refused."""
    with pytest.raises(ValueError, match="storage=") as caught:
        read(plan)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE trial_params SET param_name='hydra.run.dir' WHERE param_id=3", "outside the"),
        ("DELETE FROM studies", "the study 'tune' .* is missing"),
        ("UPDATE study_user_attributes SET value_json='5'", "has no valid window|cannot be read"),
        ("UPDATE trial_user_attributes SET value_json='['", "cannot be read"),
        ("UPDATE alembic_version SET version_num='v9'", "cannot be opened"),
        ("UPDATE trial_user_attributes SET value_json='[]'", "cannot be read: trial 0"),
    ],
)
def test_a_study_that_cannot_be_read_is_refused(
    plan_copy: StudyPlan, statement: str, message: str
) -> None:
    with closing(sqlite3.connect(database(plan_copy))) as connection:
        connection.executescript(statement)
    line = refusal(plan_copy)
    assert re.search(message, line), line


def test_a_journal_which_may_name_files_to_delete_is_refused(plan_copy: StudyPlan) -> None:
    Path(f"{database(plan_copy)}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" * 100)
    assert "the creation of the study was interrupted; delete it and" in refusal(plan_copy)


@pytest.mark.parametrize("strategy", slow_except(STRATEGIES, ("tpe",)))
def test_a_pickle_is_never_loaded(plan_copy: StudyPlan, tmp_path: Path, strategy: str) -> None:
    """The attributes of a trial and of the study have a pickle that would create a folder."""
    trap = tmp_path / "trap"
    text = pickle.dumps(Call(os.mkdir, str(trap))).hex()
    for kind, number in (("trial", 4), ("study", 1)):
        columns = f"{kind}_system_attributes ({kind}_id, key, value_json)"
        for name in ("cma:optimizer:0", "NSGAIISampler:generation", "pickle"):
            values = (number, name, f'"{text}"')
            execute(plan_copy, f"INSERT INTO {columns} VALUES (?, ?, ?)", *values)
    plan_copy.config.strategy = STRATEGIES[strategy]()
    study = plan_copy.open(existing=True)
    worker = Worker(plan_copy, study)
    while worker.step():
        pass
    assert len(study.trials) == 8
    assert not trap.exists()
