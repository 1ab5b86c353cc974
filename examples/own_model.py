"""Search in a model of your own: put choices where the search should decide.

python examples/own_model.py [EPOCHS]
"""

import sys

from torch import Tensor, nn

import darts


def conv(size: int) -> nn.Sequential:
    """Return a convolution that keeps the size of an image, with norm and ReLU."""
    return nn.Sequential(nn.Conv2d(16, 16, size, padding=size // 2), nn.BatchNorm2d(16), nn.ReLU())


class MyNet(nn.Module):
    """A network of images with two choices: the operations, and the number of blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.first = darts.Choice({"conv3": conv(3), "conv5": conv(5), "skip": nn.Identity()})
        self.blocks = darts.Repeat(lambda: conv(3), min=1, max=3)
        self.head = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(B, 10)`` of images ``(B, 1, 8, 8)``."""
        return self.head(self.blocks(self.first(self.stem(images))).mean((2, 3)))


epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
run = darts.search(MyNet(), data="digits", epochs=epochs)
print(run.genotype)
trained = darts.retrain(run, epochs=2 * epochs)
print(trained)
print(run.network())  # an ordinary MyNet, without choices
