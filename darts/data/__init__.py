"""Data sets, splits, augmentation and loaders.

This package has the names that many modules use; import all others from their modules. Example::

    from darts.data.augment import Augmentation
    from darts.data.loader import LoaderOptions
    from darts.data.split import stratified_split

    source = load("cifar10", root="data")
    train, valid = stratified_split(source.train.labels, (0.5, 0.5), seed=0)
    device = torch.device("cpu")
    loader = SampleLoader(
        source.train, train,
        LoaderOptions(64, seed=0, name="train", shuffle=True, drop_last=True, device=device),
        mean=source.mean, std=source.std,
        augmentation=Augmentation(crop="pad", padding=4, flip=True, cutout=0),
    )
    for images, labels in loader.epoch(0):
        ...
"""

from darts.data.catalog import load as load
from darts.data.catalog import sources as sources
from darts.data.images import MemoryImages as MemoryImages
from darts.data.loader import Batch as Batch
from darts.data.loader import Loader as Loader
from darts.data.loader import PairBatch as PairBatch
from darts.data.loader import SampleBatch as SampleBatch
from darts.data.loader import Window as Window
from darts.data.sample_loader import SampleLoader as SampleLoader
from darts.data.source import InputSpec as InputSpec
from darts.data.split import count_folds as count_folds
from darts.data.split import load_split as load_split
from darts.data.split import save_split as save_split
from darts.data.window_loader import IGNORE_INDEX as IGNORE_INDEX
from darts.data.window_loader import WindowLoader as WindowLoader
