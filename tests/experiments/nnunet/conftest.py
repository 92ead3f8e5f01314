"""Stand-ins for nnU-Net's commands: they write what nnU-Net writes, and note how they were called."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.experiments.nnunet.program import PLAN, PREDICT, PYTHON, TRAIN, Program

# One program under four names. `behaviour.json` beside it may tell a command to fail; `answers` holds its masks.
_STAND_IN = """#!{python} -S
import json, os, shutil, sys, zipfile
from pathlib import Path

here, name, arguments = Path(__file__).parent, Path(__file__).name, sys.argv[1:]
with (here / "calls.jsonl").open("a") as calls:
    environment = {{k: v for k, v in os.environ.items() if k.startswith(("nnUNet", "PYTHON"))}}
    calls.write(json.dumps({{"command": name, "arguments": arguments, "environment": environment}}) + "\\n")
behaviour = json.loads((here / "behaviour.json").read_text()).get(name, {{}})
print(name, "says hello")

def option(flag):
    return arguments[arguments.index(flag) + 1]

def checkpoint(folder, which, text):
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"checkpoint_{{which}}.pth", "w") as archive:
        archive.writestr("data", text)

if name == "nnUNetv2_plan_and_preprocess":
    raw, made = (Path(os.environ[f"nnUNet_{{k}}"], "Dataset001_Liver") for k in ("raw", "preprocessed"))
    made.mkdir(parents=True)
    shutil.copy(raw / "dataset.json", made)
    (made / "cases.json").write_text(json.dumps(sorted(file.name for file in (raw / "labelsTr").iterdir())))
elif name == "nnUNetv2_train":
    prepared, results = (Path(os.environ[f"nnUNet_{{k}}"], "Dataset001_Liver") for k in ("preprocessed", "results"))
    model = results / f"{{option('-tr')}}__{{option('-p')}}__{{arguments[1]}}"
    checkpoint(model / "fold_0", "best", "best")
    shutil.copy(prepared / "dataset.json", model)
    shutil.copy(prepared / "splits_final.json", here)
    (model / "fold_0" / "debug.json").write_text("{{}}")
    if not behaviour.get("cut"):
        checkpoint(model / "fold_0", "final", str(arguments))
        (model / "fold_0" / "validation").mkdir()
        (model / "fold_0" / "validation" / "summary.json").write_text("{{}}")
elif name == "python":
    epochs = [dict(epoch=k, loss=1.0 / k, val_loss=1.0, val_score=0.1 * k, seconds=2) for k in (1, 2)]
    facts = {{"parameters": 1234, "gflops": 5.5, "image_size": 48, "epochs": epochs, "packages": {{}}}}
    Path(arguments[-1]).write_text(json.dumps(facts))
elif name == "nnUNetv2_predict_from_modelfolder":
    cases = sorted({{file.name[: -len("_0000.nii.gz")] for file in Path(option("-i")).iterdir()}})
    (here / "predicted.json").write_text(json.dumps(cases))
    for case in cases:
        answer = here / "answers" / f"{{case}}.nii.gz"
        if answer.exists():
            shutil.copy(answer, option("-o"))
if "say" in behaviour:
    print(behaviour["say"])
sys.exit(behaviour.get("code", 0))
"""


class StandIn:
    """A folder of stand-in commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "answers").mkdir(parents=True)
        self.behave({})
        for name in (PLAN, TRAIN, PREDICT, PYTHON):
            (folder / name).write_text(_STAND_IN.format(python=sys.executable))
            (folder / name).chmod(0o755)

    def behave(self, how: dict[str, Any]) -> None:
        """Tell commands by name to end with a ``code``, to ``say`` something, or to be ``cut``."""
        (self.folder / "behaviour.json").write_text(json.dumps(how))

    def answer(self, case: str, mask: Path) -> None:
        """Let the prediction of a case be this mask."""
        (self.folder / "answers" / f"{case}.nii.gz").write_bytes(mask.read_bytes())

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Every call so far."""
        file = self.folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def commands(self) -> list[str]:
        """Their names."""
        return [call["command"] for call in self.calls]

    def read(self, name: str) -> Any:
        """What a command noted in a file of its own."""
        return json.loads((self.folder / name).read_text())


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    """Commands that behave as nnU-Net's."""
    return StandIn(tmp_path / "bin")


@pytest.fixture
def program(stand_in: StandIn, tmp_path: Path) -> Callable[..., Program]:
    """Makes the program that runs them for an output folder."""

    def make(output: Path = tmp_path / "out", workers: int = 1) -> Program:
        return Program(stand_in.folder, output / "nnunet", workers=workers)

    return make


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("nnUNet")]:
        monkeypatch.delenv(name)
