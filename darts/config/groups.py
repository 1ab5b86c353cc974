"""The commands, the config groups, and the dataclasses that type them."""

from __future__ import annotations

from collections.abc import Mapping

from darts.config import commands, datasets
from darts.methods.bilevel import GRADIENTS
from darts.methods.discretization import DISCRETIZATIONS
from darts.methods.freezing import FREEZING
from darts.methods.perturbation import PERTURBATIONS
from darts.methods.regularizer import REGULARIZERS
from darts.methods.relaxation import RELAXATIONS
from darts.methods.stopping import STOPPING
from darts.spaces import SPACES
from darts.strategies import STRATEGIES
from darts.strategies.judges import JUDGES
from darts.strategies.pruners import PRUNERS
from darts.tasks import TASKS

COMMANDS: dict[str, type] = {
    "search": commands.SearchConfig,
    "retrain": commands.RetrainConfig,
    "judge": commands.JudgeConfig,
    "find": commands.FindConfig,
    "tune": commands.TuneConfig,
    "compare": commands.CompareConfig,
    "evaluate": commands.EvaluateConfig,
    "predict": commands.PredictConfig,
    "export": commands.ExportConfig,
    "genotypes": commands.GenotypesConfig,
    "device": commands.DeviceConfig,
    "report": commands.ReportConfig,
}

DATASETS: dict[str, type] = {
    "images": datasets.ImagesConfig,
    "arrays": datasets.ArraysConfig,
    "synthetic": datasets.SyntheticConfig,
    "table": datasets.TableConfig,
    "text": datasets.TextConfig,
    "published_text": datasets.PublishedTextConfig,
    "sentences": datasets.SentencesConfig,
    "pairs": datasets.PairsConfig,
    "documents": datasets.DocumentsConfig,
    "spoken_digits": datasets.SpokenDigitsConfig,
    "audiofolder": datasets.AudioFolderConfig,
}

# The YAML of an option names its type by `- /schema/<group>/<type>@_here_`. The type of a component
# has the component's name; several data sets share a type.
TYPES: dict[str, Mapping[str, type]] = {
    "dataset": DATASETS,
    "task": TASKS,
    "space": SPACES,
    "relaxation": RELAXATIONS,
    "bilevel": GRADIENTS,
    "perturbation": PERTURBATIONS,
    "regularizer": REGULARIZERS,
    "stopping": STOPPING,
    "freezing": FREEZING,
    "discretize": DISCRETIZATIONS,
    "strategy": STRATEGIES,
    "pruner": PRUNERS,
    "judge": JUDGES,
}
