"""Composition and start of commands by Hydra; the only module that imports it."""

from __future__ import annotations

import dataclasses
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.errors import OverrideParseException as OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from darts.config.fields import ConfigError, check_fields
from darts.config.groups import COMMANDS, TYPES, defaults_nodes
from darts.plugins import conf_folder, plugin_conf_folders
from darts.process import enable_keyboard_interrupt

C = TypeVar("C")
R = TypeVar("R")

MAX_FOLDER_NAME = 200  # bytes; file systems allow 255
_lock = threading.RLock()
COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException)


@dataclasses.dataclass(frozen=True)
class Invocation:
    """How a command was called."""

    directory: Path  # the run directory
    overrides: tuple[str, ...]  # of the command line
    numbered: bool = False  # whether the run may use directory_2, ... if the directory is taken


@dataclasses.dataclass(eq=False)
class HydraJob(Generic[C, R]):
    """The function that Hydra calls with each composed configuration."""

    command: str
    check: Callable[[C], None]
    function: Callable[[C, Invocation], R]
    recorded: Sequence[str] = ()  # overrides with which a resumed run began
    directories: list[Path] = dataclasses.field(default_factory=list)
    results: list[R] = dataclasses.field(default_factory=list)
    failure: Exception | None = None  # later jobs do not start

    def __call__(self, composed: DictConfig) -> None:
        if self.failure is not None:
            return
        call = HydraConfig.get()
        self.directories.append(Path(call.runtime.output_dir))
        # Without a choice of the user, the run directory is named after the run.
        is_chosen = any(item.startswith("hydra.run.dir=") for item in call.overrides.hydra)
        numbered = call.mode == RunMode.RUN and not is_chosen
        try:
            config: Any = OmegaConf.to_object(composed)
            check_fields(config)
            self.check(config)
            overrides = (*self.recorded, *call.overrides.task)
            enable_keyboard_interrupt()
            invocation = Invocation(self.directories[-1], overrides, numbered=numbered)
            self.results.append(self.function(config, invocation))
        except Exception as error:
            self.failure = error  # raised by the caller: Hydra would print its own lines


def run_job(job: HydraJob[C, R], resumed: DictConfig | None = None) -> None:
    """Compose the configurations that ``sys.argv`` describes, and call the job with each.

    ``resumed`` are the values of a run to resume; they replace the YAML files of the command.
    """
    _register()
    name = job.command if resumed is None else _register_resumed(job.command, resumed)
    start = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=name)
    start(job)()


def _register_resumed(command: str, values: DictConfig) -> str:
    """Store the values of a run to resume; return the name of the configuration to compose."""
    store, name = ConfigStore.instance(), f"resumed_{command}"
    store.store(name="resumed_values", node=values, package="_global_")
    defaults = [
        "resumed_values",
        "_self_",
        {"override hydra/job_logging": "none"},
        {"override hydra/hydra_logging": "none"},
    ]
    store.store(name=name, node={"defaults": defaults, "hydra": {"output_subdir": None}})
    return name


def compose_object(
    command: str, overrides: Sequence[str], resumed: DictConfig | None = None
) -> Any:
    """Return the dataclass of a command's configuration; its values are not checked.

    ``resumed`` is as for ``run_job``.
    """
    with _initialized():
        name = command if resumed is None else _register_resumed(command, resumed)
        return OmegaConf.to_object(hydra.compose(name, list(overrides)))


def values_of(key: str, arguments: Sequence[str]) -> list[str]:
    """Return the values that the arguments give a key, unquoted, interpolations unresolved."""
    matching = [argument for argument in arguments if argument.startswith(f"{key}=")]
    values = [override.value() for override in OverridesParser.create().parse_overrides(matching)]
    return ["" if value is None else str(value) for value in values]


@contextmanager
def _initialized() -> Iterator[None]:
    """Initialize Hydra with the folder ``conf``, also inside a command that Hydra has started.

    Threads wait for each other, because Hydra's state is global.
    """
    with _lock:
        _register()
        singleton = GlobalHydra.instance()
        outer, singleton.hydra = singleton.hydra, None
        try:
            with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
                yield
        finally:
            GlobalHydra.instance().hydra = outer


class TypeNodes(dict[str, ConfigNode]):
    """The types of a group in Hydra's ConfigStore, each of which is imported when it is needed.

    A command needs one type of each group, for example one space. The keys are names of files:
    ``cnn.yaml`` for the type ``cnn``.
    """

    def __init__(self, group: str) -> None:
        self._group = group

    def __contains__(self, file: object) -> bool:
        return str(file).removesuffix(".yaml") in TYPES[self._group]

    def __missing__(self, file: str) -> ConfigNode:
        node = OmegaConf.structured(TYPES[self._group][file.removesuffix(".yaml")])
        for name in node:
            if not OmegaConf.is_missing(node, name) and OmegaConf.get_type(node[name]) is dict:
                OmegaConf.set_struct(node[name], False)  # a mapping takes any names
        return self.setdefault(file, ConfigNode(file, node, f"schema/{self._group}", None, None))

    def keys(self) -> Any:  # a list is enough for Hydra
        return [f"{name}.yaml" for name in TYPES[self._group]]


class PluginFolders(SearchPathPlugin):
    """Lets Hydra find the YAML files of installed plug-ins of this project, after its own files."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in plugin_conf_folders():
            search_path.append("darts-plugin", str(folder))


@functools.cache
def _register() -> None:
    """Store the dataclasses in Hydra's ConfigStore, once per process."""
    Plugins.instance().register(PluginFolders)
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    store = ConfigStore.instance()
    # Hydra copies the whole store for each composition, although `load` copies the node that it
    # returns. Sharing the store makes a composition faster.
    vars(store)["__deepcopy__"] = lambda memo: store
    for name, node in COMMANDS.items():
        store.store(group="schema", name=name, node=node, package="_global_")
    store.repo["schema"].update({group: TypeNodes(group) for group in TYPES})
    for group, name, values in defaults_nodes():
        store.store(group=group, name=name, node=values, package="_global_")


def folder_name(name: object, default: str = "") -> str:
    """Return the name of a run, which names a folder; the default name needs no folder.

    Raise ConfigError if a folder could not have this name, or would be elsewhere.
    """
    text = str(name)
    if text == default:
        return "."
    is_path = any(separator in text for separator in ("/", os.sep, os.altsep) if separator)
    if is_path or not text.isprintable() or not text.strip(". "):
        raise ConfigError(f"name={text!r}: a folder gets this name; use letters, digits, - and _")
    if len(text.encode(errors="surrogateescape")) > MAX_FOLDER_NAME:
        raise ConfigError(f"name={text[:40]!r}...: must have at most {MAX_FOLDER_NAME} bytes")
    return text
