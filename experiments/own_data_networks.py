"""Networks of the plain baselines of ``own_data.py``."""

from __future__ import annotations

from torch import Tensor, nn

State = tuple[Tensor, Tensor]


class PlainConvNet(nn.Sequential):
    """Three blocks of 3x3 convolution, batch norm, ReLU and max pooling; one linear layer.

    The features are averaged to 4x4 positions, not to one, so that positions are distinguished.

    Args:
        channels: Channels of the images.
        classes: Number of classes.
    """

    def __init__(self, channels: int, classes: int) -> None:
        layers: list[nn.Module] = []
        for width in (32, 64, 64):
            layers += [
                nn.Conv2d(channels, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
            channels = width
        layers += [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.3)]
        super().__init__(*layers, nn.Linear(16 * channels, classes))


class PlainLstm(nn.Module):
    """A language model with one LSTM layer.

    By character it has embeddings of 64, a state of 256 (about 350,000 weights) and dropout of
    0.2. By word it has embeddings and a state of 128, which share their weights with the decoder,
    and dropout of 0.5.

    Args:
        vocab_size: Number of tokens.
        level: ``char`` or ``word``.
    """

    def __init__(self, vocab_size: int, level: str) -> None:
        super().__init__()
        width, hidden, dropout = (64, 256, 0.2) if level == "char" else (128, 128, 0.5)
        self.embedding = nn.Embedding(vocab_size, width)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.lstm = nn.LSTM(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.Linear(hidden, vocab_size)
        if width == hidden:
            self.decoder.weight = self.embedding.weight

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return logits ``(T, B, vocab_size)`` of the next tokens, and the state after them.

        Args:
            tokens: Token indices, ``(T, B)``.
            state: State after the previous tokens; None for zeros.
        """
        outputs, state = self.lstm(self.dropout(self.embedding(tokens)), state)
        return self.decoder(self.dropout(outputs)), state
