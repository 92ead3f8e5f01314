"""The run id ``training`` of ``nnunet.yaml``: nnU-Net plans, preprocesses and trains on our part of the dataset."""

from __future__ import annotations

import csv
import json
import logging
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ...domain.classes import NO_LESION
from ...domain.entry import entry_point
from ...domain.errors import CheckpointError, ConfigurationError
from ...domain.switches import is_on
from ...domain.writing import replace_when_written
from ...engines.weights import load_weights, save_atomically
from ...studies.case import Case
from ...studies.integrity import check
from ...studies.layout import read_dataset, training_part, validation_part
from ...studies.reading import read_study
from ..readers import normalised_curve
from . import model_facts
from .network import FACTS, FINAL, NNUNet, digest
from .program import PLAN, PYTHON, TRAIN, Program
from .raw_folder import DATASET, DATASET_ID, lay_out_training

DEFAULT_EPOCHS = 1000
TRAINERS = {DEFAULT_EPOCHS: "nnUNetTrainer", 1: "nnUNetTrainer_1epoch"} | {
    epochs: f"nnUNetTrainer_{epochs}epochs" for epochs in (5, 10, 20, 50, 100, 250, 500, 750, 2000, 4000, 8000)
}
"""nnU-Net's built-in trainers by their number of epochs, of 250 batches each; there are no others."""

PLANS = {"ExperimentPlanner": "nnUNetPlans"} | {
    f"nnUNetPlannerResEnc{size}": f"nnUNetResEncUNet{size}Plans" for size in ("M", "L", "XL")
}
"""What each of nnU-Net's planners calls its plans."""

CONFIGURATION = model_facts.CONFIGURATION
SPLITS = "splits_final.json"

logger = logging.getLogger(__name__)


@entry_point
def train_nnunet(
    program: Program,
    dataset_dir: str,
    output_dir: str,
    *,
    fold: int | None,
    seed: int = 0,
    max_epochs: int | None = None,
    trainer: str | None = None,
    planner: str = "nnUNetPlannerResEncM",
    device: str = "cpu",
    resume: bool | str = False,
    check_dataset: bool | str = True,
) -> None:
    """Train nnU-Net on the training part of a fold; what is finished of it is skipped.

    Writes ``model.pt``, ``training_log.csv`` and the folder ``nnunet`` with nnU-Net's results.

    Args:
        program: nnU-Net's commands.
        dataset_dir: in the nnU-Net raw layout.
        output_dir: of the run.
        fold: held out; None trains on split train and validates on split val.
        seed: recorded only. nnU-Net draws from unseeded generators, so runs of several seeds are repetitions.
        max_epochs: a key of ``TRAINERS``; None is nnU-Net's own 1000.
        trainer: name of any other trainer class that nnU-Net finds, instead of ``max_epochs``.
        planner: a key of ``PLANS``.
        device: cpu or cuda.
        resume: go on from nnU-Net's last checkpoint.
        check_dataset: whether to check the dataset's integrity first.

    Raises:
        SystemExit: nnU-Net is not installed or fails, the dataset has faults, or the folder holds another training.
    """
    program.require()
    trainer = trainer or trainer_of(max_epochs)
    plans = _plans_of(planner)
    if is_on(check_dataset):
        check(dataset_dir)
    cases = read_dataset(dataset_dir)
    parts = training_part(cases, fold), validation_part(cases, fold)
    output, model = Path(output_dir), program.results / DATASET / f"{trainer}__{plans}__{CONFIGURATION}"
    _require_one_training(program, parts, resume=is_on(resume))
    if _is_finished(output, model):
        logger.info("nothing left to do; give another --max_epochs and --output_dir to train longer")
        _clear(program, model)
        return
    logger.info("seed %d: nnU-Net has no seeds, so this is a repetition rather than a replay", seed)
    if not _is_validated(model):
        _prepare(program, parts, planner)
        _train(program, model, trainer, plans, device)
    facts = _facts_of(program, model)
    _write_log(facts["epochs"], output / "training_log.csv")
    network = NNUNet()
    network.mean_curve.copy_(_mean_curve(parts[0]))
    network.checkpoint.copy_(digest(model / FINAL))
    save_atomically(network.state_dict(), output / "model.pt")
    _clear(program, model)


def trainer_of(max_epochs: int | None) -> str:
    """nnU-Net's trainer of so many epochs.

    Raises:
        ConfigurationError: it has none.
    """
    epochs = DEFAULT_EPOCHS if max_epochs is None else max_epochs
    if epochs not in TRAINERS:
        known = ", ".join(map(str, sorted(TRAINERS)))
        msg = f"max_epochs is {max_epochs!r}, and nnU-Net has trainers for {known} only. Give one of these"
        raise ConfigurationError(msg)
    return TRAINERS[epochs]


def _plans_of(planner: str) -> str:
    if planner not in PLANS:
        msg = f"planner {planner!r} is unknown. Use one of {', '.join(PLANS)}"
        raise ConfigurationError(msg)
    return PLANS[planner]


def _require_one_training(program: Program, parts: tuple[Sequence[Case], Sequence[Case]], *, resume: bool) -> None:
    """Refuse a folder with another training in it, and note the parts of this one.

    Raises:
        CheckpointError: it has checkpoints, and they are not to be resumed.
        ConfigurationError: they were trained on other cases, or the folder is not ours.
    """
    noted = program.work / SPLITS
    if not noted.is_file() and any(program.work.glob("[!.]*")):
        msg = f"{program.work} holds other things than a training of this command. Give another --output_dir"
        raise ConfigurationError(msg)
    if not resume and any(program.results.glob("*/*/fold_0/checkpoint_*.pth")):
        msg = (
            f"{program.work} holds checkpoints of an earlier run. Go on with --resume true, "
            "or start a new run with another --output_dir"
        )
        raise CheckpointError(msg)
    splits = [{"train": [case.case for case in parts[0]], "val": [case.case for case in parts[1]]}]
    if resume and noted.is_file() and json.loads(noted.read_text()) != splits:
        msg = f"{program.work} was trained on other cases. Give the fold and dataset of then, or another --output_dir"
        raise ConfigurationError(msg)
    if not resume:
        shutil.rmtree(program.work, ignore_errors=True)
    _write_json(splits, noted)


def _is_finished(output: Path, model: Path) -> bool:
    weights, checkpoint = output / "model.pt", model / FINAL
    if not (weights.is_file() and checkpoint.is_file()):
        return False
    named = load_weights(weights).get("checkpoint")
    return named is not None and torch.equal(named, digest(checkpoint))


def _is_validated(model: Path) -> bool:
    """Whether nnU-Net's training came to its very end, which is a validation of its own."""
    return (model / FINAL).is_file() and (model / "fold_0" / "validation" / "summary.json").is_file()


def _prepare(program: Program, parts: tuple[Sequence[Case], Sequence[Case]], planner: str) -> None:
    """Plan and preprocess once, and give nnU-Net our parts instead of its own folds."""
    prepared = program.work / "prepared.json"
    if not prepared.is_file() or json.loads(prepared.read_text()) != {"planner": planner}:
        for folder in (program.raw, program.preprocessed):
            shutil.rmtree(folder, ignore_errors=True)
        lay_out_training([*parts[0], *parts[1]], program.raw)
        program.preprocessed.mkdir(parents=True)
        processes = program.workers
        program.run(PLAN, "-d", DATASET_ID, "-c", CONFIGURATION, "-pl", planner, "-npfp", processes, "-np", processes)
        _write_json({"planner": planner}, prepared)
    shutil.copyfile(program.work / SPLITS, program.preprocessed / DATASET / SPLITS)


def _train(program: Program, model: Path, trainer: str, plans: str, device: str) -> None:
    for checkpoint in (model / "fold_0").glob("checkpoint_*.pth"):
        # A kill while it was written leaves half a file, on which nnU-Net would stop every time.
        if not zipfile.is_zipfile(checkpoint):
            logger.warning("%s is damaged and was removed: the training goes on from the one before", checkpoint)
            checkpoint.unlink()
    resumed = ["--c"] if any((model / "fold_0").glob("checkpoint_*.pth")) else []
    program.run(TRAIN, DATASET_ID, CONFIGURATION, 0, "-tr", trainer, "-p", plans, "-device", device, *resumed)


def _facts_of(program: Program, model: Path) -> Mapping[str, Any]:
    facts = program.work / FACTS
    with replace_when_written(facts) as aside:
        program.run(PYTHON, Path(model_facts.__file__).resolve(), model, aside)
    return json.loads(facts.read_text())


def _write_log(epochs: Sequence[Mapping[str, Any]], path: Path) -> None:
    with replace_when_written(path) as aside, aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(epochs[0]))
        writer.writeheader()
        writer.writerows(epochs)


def _mean_curve(cases: Sequence[Case]) -> torch.Tensor:
    """``(4,)`` mean over the subjects with a lesion of their mean normalised curve; 0 for a phase that none has."""
    with_lesion = [case for case in cases if case.tumour_class != NO_LESION]
    curves = [normalised_curve(read_study(case)) for case in tqdm(with_lesion, desc="mean curve", unit="study")]
    return torch.from_numpy(np.ma.masked_invalid(curves).mean(axis=0).filled(0.0)).float()


def _clear(program: Program, model: Path) -> None:
    """Remove what only the training needed, gigabytes in hundreds of runs, and the file that names the machine."""
    for folder in (program.raw, program.preprocessed):
        shutil.rmtree(folder, ignore_errors=True)
    (program.work / "prepared.json").unlink(missing_ok=True)
    for name in ("checkpoint_best.pth", "checkpoint_latest.pth", "debug.json"):
        (model / "fold_0" / name).unlink(missing_ok=True)


def _write_json(content: Any, path: Path) -> None:
    with replace_when_written(path) as aside:
        aside.write_text(json.dumps(content, indent=1) + "\n")
