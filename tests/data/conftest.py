"""Fixtures of class folders of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes ``counts[class]`` images, whose pixels depend on their path."""

    def make(
        where: str,
        counts: dict[str, int],
        *,
        size: tuple[int, int] = (12, 10),
        suffix: str = "png",
        mode: str = "RGB",
    ) -> Path:
        for kind, count in counts.items():
            folder = tmp_path / where / kind
            folder.mkdir(parents=True)
            for number in range(count):
                rng = np.random.default_rng([*f"{where}/{kind}/{number}".encode()])
                pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).convert(mode).save(folder / f"{number:04}.{suffix}")
        return tmp_path

    return make
