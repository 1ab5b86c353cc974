"""Plug-ins: installed packages that add components, data sets and YAML files.

A plug-in declares entry points in its own ``setup.cfg`` or ``pyproject.toml``. The value of an
entry point of ``darts.conf`` is a package that contains YAML files. The values of all other groups
(``darts.spaces``, ``methods``, ``tasks``, ``strategies``, ``datasets`` and ``trackers``) are
modules, which register their components when they are imported, or objects in modules.

This module is imported by every command, so it imports nothing but the standard library.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

CONF = "darts.conf"


class PluginError(ValueError):
    """A plug-in that cannot be used; the message has one line."""


def load_plugins(group: str) -> list[object]:
    """Import the entry points of a group, sorted by name; return their modules or objects."""
    loaded = []
    for entry in plugin_entries(group):
        try:
            loaded.append(entry.load())
        except Exception as error:  # code of strangers may raise anything
            message = " ".join(str(error).split())
            raise PluginError(f"{_title(entry)}: {type(error).__name__}: {message}") from error
    return loaded


def plugin_conf_folders() -> list[Path]:
    """Return the folders with the YAML files of all plug-ins; no plug-in is imported."""
    folders = []
    for entry in plugin_entries(CONF):
        top, *rest = entry.value.split(".")
        spec = importlib.util.find_spec(top)
        places = list(spec.submodule_search_locations or ()) if spec else []
        folder = next((p for p in (Path(place, *rest) for place in places) if p.is_dir()), None)
        if folder is None:
            raise PluginError(f"{_title(entry)}: the package {entry.value} has no folder")
        folders.append(folder)
    return folders


def conf_folder() -> Path:
    """Return the folder of the YAML files: ``darts/conf`` if installed, else ``conf``."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def conf_folders() -> list[Path]:
    """Return the folder of the YAML files and the folders of plug-ins."""
    return [conf_folder(), *plugin_conf_folders()]


def group_options(group: str) -> list[str]:
    """Return the names of a group's YAML files; a group is a folder of ``conf``."""
    return sorted({path.stem for f in conf_folders() for path in (f / group).glob("*.yaml")})


@cache
def plugin_entries(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, sorted by name; reading all packages takes a while."""
    return sorted(entry_points(group=group), key=lambda entry: entry.name)


def _title(entry: EntryPoint) -> str:
    distribution = entry.dist.name if entry.dist else "an unknown package"
    return f"plug-in {entry.name} ({entry.group}) of {distribution}"
