"""The defaults of tasks and data sets: ``conf/defaults/<task or data set>.yaml``.

The sections ``search`` and ``retrain`` of a file hold values for these commands. In a section, the
key ``spaces`` holds values for single spaces::

    search:
      epochs: 15
      spaces:
        cnn:
          space: {channels: 8, cells: 3}
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import yaml

from darts.config.conf_files import conf_folders
from darts.config.fields import one_of


def defaults_nodes(
    kinds: Mapping[str, Collection[str]], spaces: Collection[str]
) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Yield group, name and content of the options for Hydra.

    The group ``defaults/<command>/<kind>`` has an option per file. The defaults list of an option
    includes the values for the chosen space: ``defaults/<command>/<kind>/<file>/<space>``.

    Args:
        kinds: "task" and "dataset", each with the names of the files that belong to it.
        spaces: Names of all spaces.

    Raises:
        ConfigError: If a file has values for an unknown space.
    """
    files = {
        path.stem: yaml.safe_load(path.read_text("utf-8"))
        for folder in reversed(conf_folders())  # the files of this project come last and win
        for path in sorted((folder / "defaults").glob("*.yaml"))
    }
    for command in ("search", "retrain"):
        for kind, names in kinds.items():
            group = f"defaults/{command}/{kind}"
            for name in files.keys() & names:
                section = dict(files[name].get(command, {}))
                by_space = section.pop("spaces", {})
                # Hydra's key for the list of files that an option includes is "defaults", too.
                included = ["_self_", {f"optional {name}": "${space}"}]
                yield group, name, {"defaults": included, **section}
                for space, values in by_space.items():
                    one_of(f"conf/defaults/{name}.yaml: {command}.spaces", space, spaces)
                    yield f"{group}/{name}", space, values
