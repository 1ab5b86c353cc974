"""Faster compositions of Hydra, which otherwise take as long as tiny runs.

Hydra reads and merges the same YAML files again for each composition. The functions here keep what
depends only on the command and the selected options of the groups; Hydra applies all other
overrides to a copy.
"""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import DefaultsList, Overrides
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from darts.plugins import conf_folder

CHANGING = "resumed_"  # start of the names that each resumed run stores anew


def compose_faster(patch: pytest.MonkeyPatch) -> None:
    """Keep parts of compositions in this process."""
    lists: dict[tuple[object, ...], DefaultsList] = {}
    merged: dict[tuple[object, ...], bytes] = {}
    store = ConfigStore.store
    create = config_loader_impl.create_defaults_list
    merge = ConfigLoaderImpl._compose_config_from_defaults_list

    def store_and_forget(
        self: ConfigStore, name: str, node: Any, group: str | None = None, **options: Any
    ) -> None:
        path = f"{group or ''}/{name}.yaml"
        before = self._open(path)
        store(self, name, node, group, **options)
        # Hydra stores its own nodes again for each command.
        if not name.startswith(CHANGING) and (before is None or self._open(path) != before):
            lists.clear()
            merged.clear()

    def create_once(
        repo: Any, config_name: str | None, overrides_list: list[Any], **options: Any
    ) -> DefaultsList:
        if _can_change(repo) or config_name is None or config_name.startswith(CHANGING):
            return create(repo, config_name, overrides_list, **options)
        values = Overrides(repo=repo, overrides_list=overrides_list).config_overrides
        lines = {id(override) for override in values}
        groups = (override.input_line for override in overrides_list if id(override) not in lines)
        key = (_place(repo), config_name, *options.items(), *groups)
        if key not in lists:
            lists[key] = create(repo, config_name, overrides_list, **options)
        return dataclasses.replace(lists[key], config_overrides=values)

    def merge_once(self: ConfigLoaderImpl, defaults: list[Any], repo: Any) -> DictConfig:
        names = [(entry.config_path, entry.package, entry.primary) for entry in defaults]
        if _can_change(repo) or any(name.startswith(CHANGING) for name, *_ in names):
            return merge(self, defaults, repo)
        key = (_place(repo), *names)
        if key not in merged:
            merged[key] = pickle.dumps(merge(self, defaults, repo))
        return pickle.loads(merged[key])  # noqa: S301 - our own

    patch.setattr(ConfigStore, "store", store_and_forget)
    patch.setattr(config_loader_impl, "create_defaults_list", create_once)
    patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", merge_once)
    # A composition before that of the run only looks for hydra.mode, which no test sets.
    patch.setattr(Hydra, "get_mode", lambda *_, **__: None)


def _place(repo: Any) -> tuple[str, ...]:
    return tuple(source.path for source in repo.get_sources())


def _can_change(repo: Any) -> bool:
    """Return whether a test may have written one of the folders with YAML files."""
    files = (source.path for source in repo.get_sources() if source.scheme() == "file")
    return any(path != str(conf_folder()) for path in files)
