"""Recipes: the values that a task or a data set needs, in ``conf/recipe``.

A file is named after a task or a data set. Its sections ``search`` and ``retrain`` hold overrides
of that command, and their key ``spaces`` holds more overrides for single spaces::

    search:
      epochs: 15
      spaces:
        cnn:
          space: {channels: 8, cells: 3}
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import yaml

from darts.config.conf_files import conf_folder, group_options
from darts.config.fields import one_of

COMMANDS_WITH_RECIPES = ("search", "retrain")


def recipe_nodes(
    kinds: Mapping[str, Collection[str]], spaces: Collection[str]
) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Yield the recipes as options of Hydra's config groups.

    The groups are ``recipe/<command>/<kind>`` with an option per recipe. The defaults list of a
    recipe includes the section of the chosen space: ``recipe/<command>/<kind>/<recipe>/<space>``.

    Args:
        kinds: "task" and "dataset", and the names that a recipe of this kind may have.
        spaces: names of all spaces.

    Yields:
        Group, name of the option, content.

    Raises:
        ConfigError: if a recipe names a space that does not exist.
    """
    recipes = {
        name: yaml.safe_load((conf_folder() / "recipe" / f"{name}.yaml").read_text("utf-8"))
        for name in group_options("recipe")
    }
    for command in COMMANDS_WITH_RECIPES:
        for kind, names in kinds.items():
            group = f"recipe/{command}/{kind}"
            for name in recipes.keys() & names:
                section = dict(recipes[name].get(command, {}))
                by_space = section.pop("spaces", {})
                defaults = ["_self_", {f"optional {name}": "${space}"}]
                yield group, name, {"defaults": defaults, **section}
                for space, overrides in by_space.items():
                    one_of(f"conf/recipe/{name}.yaml: {command}.spaces", space, spaces)
                    yield f"{group}/{name}", space, overrides
