"""The searches of experiments/nas201_study.py: the published ones, all shortened by one rule."""

from __future__ import annotations

from dataclasses import dataclass

SHORTENING = 5
"""The published number of epochs, divided by the number of the study."""

IMAGES = 25_000
"""Images from which the weights learn in the published searches."""

STEPS_PER_EPOCH = 78
"""Weight steps per epoch of the study: 5,000 images in batches of 64."""


@dataclass(frozen=True)
class PublishedSearch:
    """What distinguishes the published search of a method from first-order DARTS.

    Attributes:
        epochs: Epochs of the authors on NAS-Bench-201; on CIFAR-10 in the space of DARTS if they
            have no search on NAS-Bench-201.
        batch: Their batch size, from which the number of their steps follows.
        alpha_lr: Their learning rate of the alphas.
        overrides: Overrides of ``darts.search`` in addition to the method. Numbers of epochs are
            divided by ``SHORTENING``, like ``epochs``.
        accuracy: Reported test accuracy on CIFAR-10 of the found cell in percent; "" if unknown.
    """

    epochs: int = 50
    batch: int = 64
    alpha_lr: float = 3e-4
    overrides: tuple[str, ...] = ()
    accuracy: str = ""

    @property
    def short_epochs(self) -> int:
        """The number of epochs of the study."""
        return self.epochs // SHORTENING

    @property
    def short_alpha_lr(self) -> float:
        """The learning rate of the alphas for which the sum over all steps is the published one."""
        steps = self.epochs * IMAGES / self.batch
        return self.alpha_lr * steps / (self.short_epochs * STEPS_PER_EPOCH)

    def arguments(self, method: str) -> list[str]:
        """Return the overrides of ``darts search experiment=nas201_study``."""
        return [
            f"method={method}",
            f"epochs={self.short_epochs}",
            f"arch_optimizer.lr={self.short_alpha_lr:.4g}",
            *self.overrides,
        ]


_UNROLLED = ("bilevel.hvp=finite_difference", "bilevel.epsilon=0.01")
_RADII = ("perturbation.radius=0.03", "perturbation.radius_end=0.3")

METHODS = {
    "darts_v1": PublishedSearch(accuracy="54.30"),
    "drnas": PublishedSearch(
        epochs=100,
        # Their search on the benchmark has neither partial channels nor stages.
        overrides=("relaxation.partial=1", "stages=[]", "arch_optimizer.warmup=0"),
        accuracy="94.36",
    ),
    "gdas": PublishedSearch(
        epochs=250,
        overrides=("relaxation.temperature=10", "relaxation.temperature_end=0.1"),
        accuracy="93.61",
    ),
    "pc_darts": PublishedSearch(
        batch=256, alpha_lr=6e-4, overrides=("arch_optimizer.warmup=0.3",), accuracy="93.41"
    ),
    "darts_minus": PublishedSearch(accuracy="93.80"),
    "beta_darts": PublishedSearch(
        epochs=100, overrides=("regularizer.weight=50", "regularizer.epochs=20"), accuracy="94.36"
    ),
    "lambda_darts": PublishedSearch(
        epochs=100, alpha_lr=1e-4, overrides=("regularizer.weight=0.25",)
    ),
    "sdarts_rs": PublishedSearch(epochs=100, overrides=_RADII),
    "fair_darts": PublishedSearch(
        batch=128, alpha_lr=3e-3, overrides=("arch_optimizer.betas=[0.9,0.999]",)
    ),
    "oles": PublishedSearch(overrides=("freezing.statistic=code", "freezing.threshold=0.4")),
    "p_darts": PublishedSearch(
        epochs=75,
        batch=96,
        alpha_lr=6e-4,
        # The stages have equal depth, and keep 5, 3 and 2 of the five operations. The limit of two
        # skip connections belongs to the cells of DARTS.
        overrides=(
            "arch_optimizer.warmup=0.4",
            "stages=[{share: 1},{share: 1, keep: 0.6, fresh: true, skip_dropout: 0.4},"
            "{share: 1, keep: 0.4, fresh: true, skip_dropout: 0.7}]",
            "discretize.skip_limit=null",
        ),
    ),
    "snas": PublishedSearch(
        epochs=150,
        overrides=("relaxation.temperature=0.99353", "relaxation.temperature_end=0.03"),
        accuracy="92.77",
    ),
    "random_sharing": PublishedSearch(
        epochs=150,
        # A fifth of 5,000 architectures, in the five published rounds.
        overrides=(
            "discretize.samples=1000",
            "discretize.batches=10",
            "discretize.rounds=5",
            "loader.eval_batch_size=64",  # of the ten batches
        ),
        accuracy="87.66",
    ),
    "darts_v2": PublishedSearch(overrides=_UNROLLED, accuracy="54.30"),
    "darts_es": PublishedSearch(
        # An eigenvalue per epoch instead of one in two epochs.
        overrides=(
            *_UNROLLED,
            "stopping.every=1",
            "stopping.window=2",
            "stopping.patience=2",
            "stopping.min_epoch=2",
        )
    ),
    # The third of the four weight decays of R-DARTS(L2), 3e-4 times 1, 3, 9 and 27.
    "r_darts": PublishedSearch(overrides=(*_UNROLLED, "optimizer.weight_decay=0.0027")),
    "darts_pt": PublishedSearch(
        epochs=100, overrides=("discretize.tune=1", "discretize.batches=0"), accuracy="88.11"
    ),
    "sdarts_adv": PublishedSearch(epochs=100, overrides=_RADII),
}
