"""Data modules: from a configured data set to the loaders of a run."""

from darts.data_modules.compatibility import check_data_kind as check_data_kind
from darts.data_modules.data_module import DataModule as DataModule
from darts.data_modules.data_module import load_options as load_options
from darts.data_modules.data_module import make_data_module as make_data_module
