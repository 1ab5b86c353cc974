"""The commands, the config groups, and the dataclasses that type them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import yaml

from darts import keys
from darts.config import commands, datasets, many_runs
from darts.config.fields import one_of
from darts.config.many_runs import EXECUTORS
from darts.methods.bilevel import GRADIENTS
from darts.methods.discretization import DISCRETIZATIONS
from darts.methods.freezing import FREEZING
from darts.methods.perturbation import PERTURBATIONS
from darts.methods.regularizer import REGULARIZERS
from darts.methods.relaxation import RELAXATIONS
from darts.methods.stopping import STOPPING
from darts.plugins import conf_folders, group_options
from darts.registry import Registry
from darts.spaces import SPACES
from darts.strategies import STRATEGIES
from darts.strategies.judges import JUDGES
from darts.strategies.pruners import PRUNERS
from darts.tasks import TASKS

_CLASSES = vars(commands) | vars(many_runs)
COMMANDS: dict[str, type] = {name: _CLASSES[f"{name.title()}Config"] for name in keys.COMMANDS}

DATASETS: dict[str, type] = {
    name.removesuffix("Config").lower(): kind
    for name, kind in vars(datasets).items()
    if name.endswith("Config") and kind is not datasets.DatasetConfig
}

# The YAML of an option names its type by `- /schema/<group>/<type>@_here_`. The type of a component
# has the component's name. Several data sets share a type, which is named after its class.
REGISTRIES: tuple[Registry[object], ...] = (
    TASKS, SPACES, RELAXATIONS, GRADIENTS, PERTURBATIONS, REGULARIZERS, STOPPING, FREEZING,
    DISCRETIZATIONS, STRATEGIES, PRUNERS, JUDGES,
)  # fmt: skip
TYPES: dict[str, Mapping[str, type]] = {
    **{registry.group: registry for registry in REGISTRIES},
    "dataset": DATASETS,
    "executor": EXECUTORS,
}


def defaults_nodes() -> Iterator[tuple[str, str, dict[str, object]]]:
    """Yield group, name and content of the defaults of tasks and data sets, as options for Hydra.

    The sections ``search`` and ``retrain`` of ``conf/defaults/<task or data set>.yaml`` hold values
    for these commands. In a section, the key ``spaces`` holds values for single spaces::

        search:
          epochs: 15
          spaces:
            cnn:
              space: {channels: 8, cells: 3}

    The group ``defaults/<command>/<kind>`` has an option per file. The defaults list of an option
    includes the values for the chosen space: ``defaults/<command>/<kind>/<file>/<space>``.
    """
    spaces = group_options("space")
    files = {
        path.stem: yaml.safe_load(path.read_text("utf-8"))
        for folder in reversed(conf_folders())  # the files of this project come last and win
        for path in sorted((folder / "defaults").glob("*.yaml"))
    }
    for command in ("search", "retrain"):
        for kind in ("task", "dataset"):
            group = f"defaults/{command}/{kind}"
            for name in files.keys() & group_options(kind):
                section = dict(files[name].get(command, {}))
                by_space = section.pop("spaces", {})
                # Hydra's key for the list of files that an option includes is also "defaults".
                included = ["_self_", {f"optional {name}": "${space}"}]
                yield group, name, {"defaults": included, **section}
                for space, values in by_space.items():
                    one_of(f"conf/defaults/{name}.yaml: {command}.spaces", space, spaces)
                    yield f"{group}/{name}", space, values
