"""The wheel contains all files, works in any folder and has complete metadata."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from warm_python import WarmPython

ROOT = Path(__file__).parents[1]
COMMANDS = ("find", "search", "retrain", "evaluate", "judge", "tune", "compare")
COMMANDS += ("device", "export", "genotypes", "predict", "report")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel of this checkout, built in a copy without files of earlier builds."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("darts", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("darts_nas-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run_python(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with the packages in ``site``."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_contains_every_module_template_and_yaml_file(unpacked: Path) -> None:
    for pattern, top in (("*.py", "darts"), ("templates/*", "darts"), ("*.yaml", "conf")):
        for file in (ROOT / top).rglob(pattern):
            inside = file.relative_to(ROOT)
            place = unpacked / (Path("darts") / inside if top == "conf" else inside)
            assert place.is_file(), inside
    assert (unpacked / "darts" / "py.typed").is_file()


def test_an_installed_command_runs_in_any_folder(
    unpacked: Path, warm_python: WarmPython, tmp_path: Path
) -> None:
    code = "from darts import config, search; print(config.conf_folder()); search.main()"
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    words = (code, "dataset=synthetic", "dry_run=true")
    done = warm_python.run("-c", *words, folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    folder, _, out = done.stdout.partition("\n")
    assert Path(folder) == unpacked / "darts" / "conf"
    assert "estimated_time" in out


def test_the_files_of_the_time_series_library_are_noticed(unpacked: Path, tmp_path: Path) -> None:
    mixture = tmp_path / "site"
    shutil.copytree(unpacked, mixture)
    (mixture / "darts" / "timeseries.py").touch()
    done = run_python(mixture, tmp_path, "-m", "darts.search")
    assert done.returncode != 0
    assert "install darts-nas in an environment of its own" in done.stderr.splitlines()[-1]


PROGRAM = """
import json, sys
import darts

print(darts.__file__)
for block in json.loads(sys.argv[1]):
    exec(block, {"__name__": "__main__"})
"""


@pytest.mark.slow
def test_the_programs_of_the_pages_run_from_the_wheel(unpacked: Path, tmp_path: Path) -> None:
    """The code blocks of README.md and docs/, as written, without the checkout."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    blocks = [
        block
        for page in pages
        for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    ]
    assert sum("darts.search(" in block for block in blocks) >= 2
    done = run_python(unpacked, tmp_path, "-W", "error", "-c", PROGRAM, json.dumps(blocks))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[0]).parent == unpacked / "darts"


def test_every_command_has_a_console_script() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].strip().splitlines()
    names = set()
    for script in scripts:
        name, target = (side.strip() for side in script.split("="))
        module, function = target.split(":")
        assert name == module.removesuffix(".__main__").replace(".", "-")
        assert callable(getattr(__import__(module, fromlist=[function]), function))
        names.add(name)
    assert names == {"darts", *(f"darts-{command}" for command in COMMANDS)}


DATA = """
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset

import darts

rng = torch.Generator().manual_seed(0)
labels = torch.arange(120) % 3
patterns = torch.rand(3, 3, 8, 8, generator=rng)
images = (patterns[labels] + 0.1 * torch.randn(120, 3, 8, 8, generator=rng)).clamp(0, 1)
train_dataset = TensorDataset(images[:90], labels[:90])
test_dataset = TensorDataset(images[90:], labels[90:])
for name, image in zip("ab", images):
    pixels = (image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    Image.fromarray(pixels).save(f"{name}.png")
"""
OWN_DATA = """
run = darts.search(
    space="cnn", data=(train_dataset, None), method="drnas", epochs=20, seed=0, out="runs/a"
)
assert len(run.history) == 20 and run.directory.name == "a" and run.genotype
net = run.network(channels=16, cells=8)
assert isinstance(net, nn.Module)
trained = darts.retrain(run.genotype, data=(train_dataset, test_dataset), epochs=50)
model = darts.load(trained.directory)
assert not model.training and model.classes == ("0", "1", "2") and model.transform
predictions = darts.predict(model, ["a.png", "b.png"])
assert len(predictions.classes) == 2 and predictions.probabilities.shape == (2, 3)
"""
OWN_MODEL = """
class MyNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.block1 = darts.Choice(
            {"conv3": self.conv(3), "conv5": self.conv(5), "skip": nn.Identity()}
        )
        self.block2 = darts.Choice(
            {"conv3": self.conv(3), "conv5": self.conv(5), "skip": nn.Identity()}, key="block1"
        )
        self.merge = darts.InputChoice(inputs=4, keep=2)
        self.depth = darts.Repeat(lambda: self.conv(3), min=1, max=4)
        self.head = nn.Linear(8, 3)

    @staticmethod
    def conv(size):
        return nn.Sequential(nn.Conv2d(8, 8, size, padding=size // 2), nn.ReLU())

    def forward(self, x):
        a = self.stem(x)
        b = self.block1(a)
        c = self.block2(b)
        return self.head(self.depth(self.merge(a, b, c, a + c)).mean((2, 3)))


result = darts.search(
    MyNet(), data=(train_dataset, None), loss=nn.CrossEntropyLoss(), method="gdas", epochs=3
)
plain = result.network()
own = [type(m) for m in plain.modules() if type(m).__module__.startswith("darts")]
assert set(own) <= {type(darts.InputChoice(2).chosen("0"))}, own  # the sum, without weights
assert plain(images).shape == (120, 3)
assert isinstance(result.network(weights="inherit"), nn.Module)
"""
FIND = """
if __name__ == "__main__":
    best = darts.find(data=train_dataset, minutes=0.5)
    assert best.summary["test_accuracy"] > 0.5
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [OWN_DATA, OWN_MODEL, FIND], ids=["data", "model", "find"])
def test_programs_with_own_data_run_from_the_wheel(
    program: str, unpacked: Path, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(DATA + program)
    done = run_python(unpacked, tmp_path, "program.py")
    assert done.returncode == 0, done.stderr
