"""Find a network for pictures, and use it.

    python examples/own_pictures.py [FOLDER] [MINUTES]

FOLDER contains a folder of pictures for each class. Without it, the digits of scikit-learn are
written as pictures to a new folder.
"""

import sys
import tempfile
from pathlib import Path

import darts


def write_digits(folder: Path) -> Path:
    """Write the digits of scikit-learn as one folder of pictures for each class."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        file = folder / str(label) / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray((pixels * 15).astype("uint8")).save(file)
    return folder


folder = Path(sys.argv[1]) if len(sys.argv) > 1 else write_digits(Path(tempfile.mkdtemp()))
minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0

best = darts.find(folder, minutes=minutes)
print(best)
print(best.leaderboard.head())

pictures = sorted(file for file in folder.glob("**/*.*") if file.is_file())[:3]
predicted = darts.predict(best.model(), pictures)
for picture, name, row in zip(pictures, predicted.classes, predicted.probabilities, strict=True):
    print(f"{picture.parent.name}/{picture.name}: {name} ({row.max():.1%})")
