"""The YAML files of ``conf``."""

from __future__ import annotations

from pathlib import Path

import darts
from darts.plugins import plugin_conf_folders


def conf_folder() -> Path:
    """Return the folder of the YAML files: ``darts/conf`` if installed, else ``conf``."""
    package = Path(darts.__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def conf_folders() -> list[Path]:
    """Return the folder of the YAML files and those of plug-ins."""
    return [conf_folder(), *plugin_conf_folders()]


def group_options(group: str) -> list[str]:
    """Return the names of a group's YAML files; a group is a folder of ``conf``."""
    return sorted({path.stem for f in conf_folders() for path in (f / group).glob("*.yaml")})
